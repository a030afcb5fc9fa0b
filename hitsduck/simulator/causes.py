"""Planted causes: the ways in which a rerun can differ from the one it is based on.

Each function returns a :class:`Cause`; a rerun takes any number of them, and they
compose. In a preset a cause is a table such as
``{ kind = "edge_excess", within_px = 64, fraction = 0.08 }``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hitsduck.errors import SimulationError

#: Number of equal parts of a detector's columns in a column band.
COLUMN_BANDS = 16

#: Every cause that can be planted, and what it does.
CAUSE_KINDS: Mapping[str, str] = {
    "none": "nothing: the null pair",
    "excess": "new detections everywhere",
    "edge_excess": "new detections within within_px of a CCD's edge",
    "ccd": "new (fraction > 0) or lost (fraction < 0) detections on one CCD",
    "night": "new or lost detections in one night",
    "column_band": f"new or lost detections in one of {COLUMN_BANDS} bands of columns",
    "flag_rate": "a flag set (rate > 0) or cleared (rate < 0) on a share of the sources",
    "flux_loss": "faint detections lost, with a probability that falls with S/N",
    "zero_point": "all fluxes scaled by 10 ** (-0.4 * mag)",
    "duplicates": "a share of the detections is there twice",
    "association_radius": "sources associated within another radius",
    "missing_images": "n whole (visit, detector) images missing",
}

_REGIONS = ("excess", "edge_excess", "ccd", "night", "column_band")


@dataclass(frozen=True)
class Cause:
    """One planted cause; use the functions of this module to make one.

    Attributes
    ----------
    kind : str
        One of `CAUSE_KINDS`.
    fraction : float
        Of the sources of the rerun it is based on: how many are new. Below zero:
        which share of the sources in that place is lost.
    good_fraction : float
        Share of good ones among the new detections.
    within_px : float
        Width of the edge (pixel).
    detector, night, band : int or None
        The CCD; the night (0 is the first); the band of columns (0 to 15).
    flag : str
        Canonical name, such as ``pixelFlags_suspect``.
    rate : float
        Share of the sources (flag_rate, duplicates) or the largest probability of
        loss (flux_loss).
    snr_knee : float
        S/N at which the probability of loss has fallen to half of `rate`.
    mag : float
        Zero-point shift (mag).
    arcsec : float
        Association radius (arcsec).
    n : int
        Number of missing images.
    fill_bad, fill_good, fill_existing, fill_loss : float
        Where the rerun has targets: this cause's share of the new bad-only objects,
        of the new good objects, of the new detections of existing objects, and of
        the detections to lose.
    """

    kind: str
    fraction: float = 0.0
    good_fraction: float = 0.34
    within_px: float = 64.0
    detector: int | None = None
    night: int | None = None
    band: int | None = None
    flag: str = ""
    rate: float = 0.0
    snr_knee: float = 8.0
    mag: float = 0.0
    arcsec: float = 0.0
    n: int = 0
    fill_bad: float = 0.0
    fill_good: float = 0.0
    fill_existing: float = 0.0
    fill_loss: float = 0.0

    @property
    def is_region(self) -> bool:
        """Whether the cause adds or removes detections in a part of the data."""
        return self.kind in _REGIONS


def none() -> Cause:
    """Return the cause that changes nothing."""
    return _checked(Cause("none"))


def excess(fraction: float, *, good_fraction: float = 0.34) -> Cause:
    """Return an excess everywhere of `fraction` of the sources."""
    return _checked(Cause("excess", fraction=fraction, good_fraction=good_fraction))


def edge_excess(
    within_px: float = 64.0, fraction: float = 0.05, *, good_fraction: float = 0.34
) -> Cause:
    """Return an excess of `fraction` of the sources within `within_px` of CCD edges."""
    return _checked(
        Cause("edge_excess", fraction, within_px=within_px, good_fraction=good_fraction)
    )


def ccd(detector: int, fraction: float = 0.02, *, good_fraction: float = 0.34) -> Cause:
    """Return a change on one CCD: new detections, or (fraction < 0) lost ones."""
    return _checked(Cause("ccd", fraction, detector=detector, good_fraction=good_fraction))


def night(index: int, fraction: float = 0.05, *, good_fraction: float = 0.34) -> Cause:
    """Return a change in one night (0 is the first): new detections, or lost ones."""
    return _checked(Cause("night", fraction, night=index, good_fraction=good_fraction))


def column_band(index: int, fraction: float = 0.03, *, good_fraction: float = 0.34) -> Cause:
    """Return a change in one of 16 equal bands of detector columns (0 to 15)."""
    return _checked(Cause("column_band", fraction, band=index, good_fraction=good_fraction))


def flag_rate(flag: str, rate: float) -> Cause:
    """Return a flag set on (rate > 0), or cleared from, a share of the sources.

    Above zero `rate` is the share of those without the flag that get it; below zero
    the share of those with the flag that lose it.
    """
    return _checked(Cause("flag_rate", flag=flag, rate=rate))


def flux_loss(rate: float = 0.5, *, snr_knee: float = 8.0) -> Cause:
    """Return a loss with probability ``rate / (1 + exp(S/N - snr_knee))``."""
    return _checked(Cause("flux_loss", rate=rate, snr_knee=snr_knee))


def zero_point(mag: float) -> Cause:
    """Return a shift of the zero point: fluxes times ``10 ** (-0.4 * mag)``."""
    return _checked(Cause("zero_point", mag=mag))


def duplicates(rate: float) -> Cause:
    """Return detections repeated: a share `rate` of the sources is there twice."""
    return _checked(Cause("duplicates", rate=rate))


def association_radius(arcsec: float) -> Cause:
    """Return another association radius (arcsec)."""
    return _checked(Cause("association_radius", arcsec=arcsec))


def missing_images(n: int) -> Cause:
    """Return `n` whole (visit, detector) images missing."""
    return _checked(Cause("missing_images", n=n))


def cause_from_mapping(values: Mapping[str, Any], where: str = "cause") -> Cause:
    """Return the cause that a preset's table describes.

    Raises
    ------
    SimulationError
        The kind or a parameter is unknown, or a value is impossible.
    """
    known = {f.name for f in dataclasses.fields(Cause)}
    unknown = sorted(set(values) - known)
    if unknown or "kind" not in values:
        raise SimulationError(
            f"{where}: a cause has kind and {', '.join(sorted(known - {'kind'}))}; "
            f"found {', '.join(map(str, values))}"
        )
    return _checked(Cause(**values), where)


def _checked(cause: Cause, where: str = "cause") -> Cause:
    filled = cause.fill_bad + cause.fill_good + cause.fill_existing + cause.fill_loss > 0
    problem = ""
    if cause.kind not in CAUSE_KINDS:
        problem = f"is unknown; known: {', '.join(CAUSE_KINDS)}"
    elif cause.is_region and not filled and not -1 <= cause.fraction <= 5:
        problem = f"fraction {cause.fraction} must lie between -1 and 5"
    elif cause.kind == "edge_excess" and not cause.within_px > 0:
        problem = f"within_px {cause.within_px} must be positive"
    elif cause.kind == "ccd" and cause.detector is None:
        problem = "needs detector"
    elif cause.kind == "night" and cause.night is None:
        problem = "needs night (0 is the first)"
    elif cause.kind == "column_band" and cause.band not in range(COLUMN_BANDS):
        problem = f"needs band, 0 to {COLUMN_BANDS - 1}"
    elif cause.kind == "flag_rate" and not (cause.flag and -1 <= cause.rate <= 1):
        problem = "needs flag, and rate between -1 and 1"
    elif cause.kind in ("flux_loss", "duplicates") and not 0 <= cause.rate <= 1:
        problem = f"rate {cause.rate} must lie between 0 and 1"
    elif cause.kind == "association_radius" and not 0 < cause.arcsec <= 2:
        problem = f"arcsec {cause.arcsec} must lie between 0 and 2"
    elif cause.kind == "missing_images" and cause.n < 0:
        problem = f"n {cause.n} must not be negative"
    if problem:
        raise SimulationError(f"{where}: cause {cause.kind!r} {problem}")
    return cause
