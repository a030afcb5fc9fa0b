"""The pictures of a report, each with what it shows and by which definition."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hitsduck.errors import InstrumentError, ResultNotFoundError, SchemaError, TooLargeError
from hitsduck.gallery import Wanted, picture
from hitsduck.page import Figure, Text

#: What merely cannot be told of these files, and is said on the page.
UNTOLD = (InstrumentError, SchemaError, ResultNotFoundError, TooLargeError)

_MAPS = "Drag moves the map, Alt and the wheel zoom, a double click goes back."
#: Captions; {good} is "good " where only good sources count, {name} the rerun,
#: {left} and {right} the compared ones.
CAPTIONS = {
    "counts": "Numbers of DIA sources and of current DIA objects. A good object is a current one "
    "with at least one good source.",
    "trend": "The same numbers against those of the first rerun.",
    "edge_distances": "Sources per area of detector by distance from the nearest edge of the CCD, "
    "relative to the same sources spread evenly over their CCDs. Matched: {left} and {right} both "
    "have it; new: {left} has nothing there. {Good}sources on images of both reruns; thin lines "
    "are 95% Poisson intervals.",
    "explanation": "Sources with each of these marks changed by so many more (or fewer) than their "
    "share of the whole change; thin lines are 95% intervals. Those that merely follow from a "
    "stronger cause are pale.",
    "dashboard": "Matched, new and gone {good}sources per 10^6 pixels of the images of both "
    "reruns. A click on bars or on a CCD shows the other two pictures for these alone, another "
    "click on the same lets go; the lists do the same without a mouse.",
    "matched_pairs": "Separations of the matched pairs of {left} and {right}, and their flux "
    "differences over the errors of both added in square: a zero-point shift would move the peak.",
    "sky_difference": "{Good}sources of {right} minus those of {left} in bins on the sky. " + _MAPS,
    "sky_overplot": "{Good}objects of {left} and {right} over each other: grey where both have "
    "one. " + _MAPS,
    "sky_zoom": "A window in the middle of the first field, {good}objects one by one: rings "
    "without a cross are in {left} alone, crosses without a ring in {right} alone. " + _MAPS,
    "sky_map": "{Good}sources of {name} on the sky; one panel for each group of overlapping "
    "fields, right ascension to the left. " + _MAPS,
    "focal_plane": "{Good}sources of {name} in the focal plane, a pixel of the picture being 64 "
    "pixels of the CCD. Focal-plane y runs to the left and x downwards. " + _MAPS,
    "detector_density": "{Good}sources of {name} per square degree and processed image on every "
    "CCD; images that were not processed do not count.",
    "detector_frame": "{Good}sources on the detector, all CCDs stacked, a pixel of the picture "
    "being 16 pixels of the CCD: an excess beside the edges, or bad columns, show as lines.",
    "visits": "{Good}sources per square degree of processed images, and median seeing, of every "
    "visit. Dashed lines part the nights.",
    "nights": "Mean of {good}sources per visit with its standard error, and visits, in every "
    "night. A night is cut at local noon and named by its evening.",
    "seeing": "FWHM of the PSF, the median of each visit.",
    "visit_grid": "{Good}sources of {name} around the middle of each visit; north is up, east "
    "left.",
    "flags": "How often each flag is set, among all sources. Those with a cross make a source bad.",
    "distributions": "{Good}sources by flux, magnitude and signal-to-noise. A difference flux of "
    "zero or less has no magnitude and is counted beside the axis.",
    "sources_per_object": "Current objects of {name} by their number of sources, good or not.",
    "objects_on_sky": "Objects of {name} with many sources, none of which has a bad flag. " + _MAPS,
    "object_sources": "The sources around the object of {name} that has the most sources, all of "
    "them good. The dashed circle is the PSF's full width at half maximum.",
    "light_curve": "Difference fluxes of the same object of {name}, detected and forced.",
}


def figures(wanted: Wanted, names: Iterable[str]) -> list[Figure | Text]:
    """Return pictures; where one cannot be drawn, a sentence that says why, once."""
    parts: list[Figure | Text] = []
    untold: dict[str, list[str]] = {}
    for name in names:
        drawn = picture(name)
        try:
            data = drawn.data(wanted)
            chart = drawn.draw(data, wanted)
        except UNTOLD as error:
            untold.setdefault(str(error), []).append(drawn.purpose)
            continue
        parts.append(Figure(name.replace("_", "-"), chart, _caption(wanted, name), data))
    for reason, purposes in untold.items():
        parts.append(Text(f"Not shown: {'; '.join(purposes)}. {reason}", is_missing=True))
    return parts


def _caption(wanted: Wanted, name: str) -> str:
    caption = CAPTIONS[name]
    good = "good " if wanted.good else ""
    words = {"good": good, "Good": good.capitalize(), "name": wanted.name}
    if "{left}" in caption or "{right}" in caption:
        words["left"], words["right"] = wanted.pair
    # In one pass, so that braces in a rerun's name stay what they are.
    caption = re.sub(r"\{(\w+)\}", lambda found: words[found[1]], caption)
    return caption[:1].upper() + caption[1:]
