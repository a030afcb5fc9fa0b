"""Integrity: what in an APDB contradicts itself. Every check gives a count and examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from hitsduck import schema
from hitsduck.agreement import (
    APART_ARCSEC,
    detectors_lacked,
    standing_for_visits,
    visits_apart,
)
from hitsduck.crossmatch import match_images
from hitsduck.errors import InstrumentError, MatchError, RerunNameError
from hitsduck.evidence import Problems
from hitsduck.limits import shown
from hitsduck.sides import Side
from hitsduck.sky_fit import sky_offsets, visit_offsets

if TYPE_CHECKING:
    from polars._typing import PolarsDataType

    from hitsduck.reruns import Reruns
    from hitsduck.results import Result

#: Examples given of each kind of problem.
EXAMPLES = 5
#: A sky position farther than this from where the image's other sources put the pixel
#: position is outside; distortion within one detector is a few arcsec.
OUTSIDE_ARCSEC = 30.0
#: The same of a whole image against the other images of its visit, and of a source on an
#: image with too few; optical distortion over a focal plane is up to an arcmin.
OUTSIDE_VISIT_ARCSEC = 300.0
#: Two detections of one image closer than this are one thing detected twice: no PSF of a
#: ground-based survey is narrower.
REPEATED_ARCSEC = 0.3
_NO_PIXELS = "DiaSource has no pixel positions (x, y) to compare with"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check on one rerun.

    Attributes
    ----------
    count : int or None
        How many; None where the check cannot be made.
    examples : tuple of str
        The first few.
    reason : str or None
        Why the check cannot be made, or what to know about the count.
    """

    count: int | None
    examples: tuple[str, ...] = ()
    reason: str | None = None


T = TypeVar("T")
Check = Callable[["Reruns", str, Side], Finding]
#: What is kept of a rerun to be compared with the others; a finding where nothing can be.
Kept = pl.DataFrame | Finding
Keep = Callable[["Reruns", str, Side], Kept]
Compare = Callable[[pl.DataFrame, Mapping[str, pl.DataFrame]], Finding]


def check_integrity(reruns: Reruns, names: Sequence[str] | None = None) -> Result:
    """Look for what contradicts itself in some reruns.

    Parameters
    ----------
    reruns : Reruns
    names : sequence of str, optional
        Of reruns, at least one; all by default.

    Returns
    -------
    Result
        One row per rerun and check, in the order of `CHECKS` and, of several reruns,
        `CHECKS_BETWEEN`: ``rerun``, ``check``, ``count`` (NULL where the check cannot be
        made), ``examples`` (up to five, as text), ``reason`` (why it cannot be made, or
        what to know about the count). All rows behind a count: the view named in `CHECKS`.

    Raises
    ------
    RerunNameError
        No rerun of such a name, or none at all is named.
    """
    from hitsduck.results import Result

    if names is not None and (isinstance(names, str) or not isinstance(names, Iterable)):
        raise RerunNameError(f"names is {shown(names)}; a list of reruns is wanted, [...]")
    named = reruns.names if names is None else [reruns.attached(name).name for name in names]
    if names is not None and not named:
        raise RerunNameError("the list of names is empty; name a rerun, or leave it out for all")
    asked = list(dict.fromkeys(named))
    findings: dict[str, dict[str, Finding]] = {}
    kept: dict[str, dict[str, Kept]] = {check: {} for check in CHECKS_BETWEEN}
    for name in asked:
        side = Side(reruns, name)
        findings[name] = {
            check: _looked(look, reruns, name, side) for check, (_, look) in CHECKS.items()
        }
        if len(asked) > 1:
            for check, (_, keep, _) in CHECKS_BETWEEN.items():
                kept[check][name] = _looked(keep, reruns, name, side)
    if len(asked) > 1:
        for check, (_, _, compare) in CHECKS_BETWEEN.items():
            for name in asked:
                findings[name][check] = _compared(compare, kept[check], name)
    rows = [
        {
            "rerun": name,
            "check": check,
            "count": found.count,
            "examples": list(found.examples),
            "reason": found.reason,
        }
        for name, of_rerun in findings.items()
        for check, found in of_rerun.items()
    ]
    kinds: dict[str, PolarsDataType] = {
        "rerun": pl.String,
        "check": pl.String,
        "count": pl.Int64,
        "examples": pl.List(pl.String),
        "reason": pl.String,
    }
    # Not by pyarrow.Table.from_pylist, which imports pandas where it is installed: Altair,
    # drawing in another thread meanwhile, then takes it for complete.
    return Result(pl.DataFrame(rows, schema=kinds).to_arrow())


def _looked(
    look: Callable[[Reruns, str, Side], T], reruns: Reruns, name: str, side: Side
) -> T | Finding:
    """Return what a look at one rerun gives, or why it gives nothing."""
    try:
        return look(reruns, name, side)
    except (InstrumentError, MatchError) as error:
        return Finding(None, reason=str(error))


def _compared(compare: Compare, kept: Mapping[str, Kept], name: str) -> Finding:
    """Return what contradicts the other reruns, as far as they can be looked at."""
    own = kept[name]
    if isinstance(own, Finding):
        return own
    others = {n: f for n, f in kept.items() if n != name and not isinstance(f, Finding)}
    if not others:
        return Finding(None, reason="none of the other reruns can be looked at")
    return compare(own, others)


def _rows(reruns: Reruns, name: str, view: str) -> pl.DataFrame:
    """Return all rows of an integrity view of one rerun, sorted."""
    relation = reruns.scope(name, view)
    frame = reruns.query(f"select * exclude (rerun) from {relation}").polars()
    return frame.sort(frame.columns, nulls_last=True)


def _of_view(view: str) -> Check:
    """Return the check that counts the rows of a view."""

    def look(reruns: Reruns, name: str, side: Side) -> Finding:
        return _found(_rows(reruns, name, view))

    return look


def _found(frame: pl.DataFrame, reason: str | None = None) -> Finding:
    return Finding(frame.height, tuple(_texts(frame.head(EXAMPLES))), reason)


def _texts(frame: pl.DataFrame) -> Iterator[str]:
    for row in frame.iter_rows(named=True):
        yield ", ".join(
            f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.items()
        )


def _n_dia_sources(reruns: Reruns, name: str, side: Side) -> Finding:
    file = reruns.attached(name).file
    if schema.physical_name("DiaObject", "nDiaSources", file.tables["DiaObject"]) is None:
        return Finding(None, reason="DiaObject has no column nDiaSources")
    relation = reruns.scope(name, "dia_object")
    recorded = reruns.query(
        f"select count(*) as n, max(nDiaSources) as most from {relation}"
    ).rows()[0]
    if recorded["n"] and not recorded["most"]:
        return Finding(None, reason="nDiaSources is 0 or NULL in every row: it was never filled")
    return _found(_rows(reruns, name, "integrity_n_dia_sources"))


def _missing_detectors(reruns: Reruns, name: str, side: Side) -> Finding:
    missing = _rows(reruns, name, "integrity_missing_detector")
    visits = (
        missing.sort("visit", "detector")
        .group_by("visit", maintain_order=True)
        .agg(pl.col("detector").cast(pl.String).str.join(", "))
    )
    examples = tuple(
        f"visit {visit}: detector {detectors}"
        for visit, detectors in visits.head(EXAMPLES).iter_rows()
    )
    summary = reruns.scope(name, "processing_summary")
    recorded = reruns.query(f"select count(*) as n from {summary}").rows()[0]["n"]
    reason = None
    if not recorded and visits.height:
        reason = (
            f"{missing.height} images; images are known from sources and forced sources alone, so "
            "that one without any counts as missing"
        )
    return Finding(visits.height, examples, reason)


def _without_image(reruns: Reruns, name: str, side: Side) -> Finding:
    sources = side.frame("diaSourceId", "visit", "detector")
    without = sources.filter(pl.col("visit").is_null() | pl.col("detector").is_null())
    reason = None
    if without.height and without.height == sources.height:
        reason = "all sources: nothing of this rerun can be matched"
    return _found(without.sort("diaSourceId"), reason)


def _outside(reruns: Reruns, name: str, side: Side) -> Finding:
    columns = ("diaSourceId", "visit", "detector", "ra", "dec", "x", "y")
    sources = side.frame(*columns)
    if sources.height and sources["x"].null_count() == sources.height:
        return Finding(None, reason=_NO_PIXELS)
    offset = sky_offsets(sources)
    in_range = pl.col("ra").is_finite() & pl.col("dec").is_finite() & pl.col("x").is_finite()
    unknown = sources.select((in_range & offset.is_null()).fill_null(False)).to_series()
    # an image in the wrong place as a whole agrees with itself, but not with its visit
    reasons = []
    problem = Problems.of(reruns, name).position
    if problem is None:
        focal = side.frame("focal_x_mm", "focal_y_mm").rename(
            {"focal_x_mm": "x", "focal_y_mm": "y"}
        )
        placed = pl.concat([sources.drop("x", "y"), focal], how="horizontal")
        of_visit, n_undecided = visit_offsets(placed, offset, farthest=OUTSIDE_VISIT_ARCSEC)
        offset = pl.select(
            pl.when((of_visit > OUTSIDE_VISIT_ARCSEC).fill_null(False) | unknown)
            .then(of_visit)
            .otherwise(offset)
        ).to_series()
        limit = pl.select(
            pl.when(unknown).then(OUTSIDE_VISIT_ARCSEC).otherwise(OUTSIDE_ARCSEC)
        ).to_series()
        is_outside = (offset > limit).fill_null(False)
        unknown &= of_visit.is_null()
        if n_undecided:
            reasons.append(
                f"{n_undecided} visits whose images do not lie as in the focal plane: which of "
                "them are wrong cannot be told"
            )
    else:
        is_outside = (offset > OUTSIDE_ARCSEC).fill_null(False)
        reasons.append(f"images are not compared with their visit: {problem}")
    found = sources.with_columns(offset.alias("offset_arcsec")).filter(is_outside)
    found = found.sort("offset_arcsec", "diaSourceId", descending=[True, False])
    if n_unknown := int(unknown.sum()):
        reasons.insert(0, f"{n_unknown} sources are not checked: too few on their images to tell")
    return _found(
        found.select("diaSourceId", "visit", "detector", "ra", "dec", "offset_arcsec"),
        "; ".join(reasons) or None,
    )


def _duplicate_ids(reruns: Reruns, name: str, side: Side) -> Finding:
    ids = side.frame("diaSourceId").to_series()
    # In order: where no two beside each other are equal, the view finds nothing.
    if not ids.eq_missing(ids.shift()).any():
        return Finding(0)
    return _found(_rows(reruns, name, "integrity_duplicate_dia_source"))


def _repeated(reruns: Reruns, name: str, side: Side) -> Finding:
    sources = side.frame("diaSourceId", "visit", "detector", "ra", "dec")
    sources = sources[_beside_another(sources, REPEATED_ARCSEC)]
    pairs = match_images(sources, sources, radius_arcsec=REPEATED_ARCSEC, how="all").pairs
    pairs = pairs.filter(pl.col("left_index") < pl.col("right_index"))
    ids = sources["diaSourceId"]
    found = pl.DataFrame(
        {
            "diaSourceId": ids.gather(pairs["left_index"]),
            "and": ids.gather(pairs["right_index"]),
            "sep_arcsec": pairs["sep_arcsec"],
        }
    )
    return _found(found)


def _beside_another(sources: pl.DataFrame, radius_arcsec: float) -> pl.Series:
    """Return the rows of sources near whose declination another of their image lies.

    Only these can be within the radius of another; of crowded images they are a seventh.
    """
    image = ("visit", "detector")
    placed = sources.select(*image, "dec").with_row_index("row").drop_nulls()
    placed = placed.filter(pl.col("dec").is_finite()).sort(*image, "dec")
    # a little more than the radius, for positions are rounded when they are matched
    is_near = pl.col("dec").diff() * 3600.0 <= radius_arcsec * 1.01
    is_same_image = pl.all_horizontal(pl.col(key) == pl.col(key).shift() for key in image)
    follows = placed.select((is_near & is_same_image).fill_null(False)).to_series()
    return placed["row"].filter(follows | follows.shift(-1, fill_value=False)).sort()


def _unset_flags(reruns: Reruns, name: str, side: Side) -> Finding:
    unset = _rows(reruns, name, "integrity_unset_flag").sort(
        "is_bad", "flag", descending=[True, False]
    )
    examples = tuple(unset["flag"].head(EXAMPLES).to_list())
    n_bad = int(unset["is_bad"].sum())
    reason = f"{n_bad} of them make a source bad" if n_bad else None
    return Finding(unset.height, examples, reason)


def _standing(reruns: Reruns, name: str, side: Side) -> Kept:
    sources = side.frame("visit", "detector", "ra", "dec", "x", "y")
    if sources.height and sources["x"].null_count() == sources.height:
        return Finding(None, reason=_NO_PIXELS)
    return standing_for_visits(sources)


def _elsewhere(own: pl.DataFrame, others: Mapping[str, pl.DataFrame]) -> Finding:
    """Count the visits that lie elsewhere than in most of the other reruns that have them."""
    parts = [
        visits_apart(own, other).with_columns(pl.lit(name).alias("other"))
        for name, other in others.items()
    ]
    is_apart = pl.col("sep_arcsec") > APART_ARCSEC
    measured = pl.concat(parts).with_columns(pl.len().over("visit").alias("n_others"))
    told = measured.filter((is_apart.mean() > 0.5).over("visit")).filter(is_apart)
    first = told.unique("visit", keep="first", maintain_order=True).sort("visit")
    examples = tuple(
        f"visit {row['visit']}: ra {row['ra_left']:.5f}, dec {row['dec_left']:.5f}, but in "
        f"{row['other']} ra {row['ra_right']:.5f}, dec {row['dec_right']:.5f}"
        for row in first.head(EXAMPLES).iter_rows(named=True)
    )
    n_open = first.filter(pl.col("n_others") == 1).height
    reason = "of two reruns which one is wrong cannot be told"
    if n_open < first.height:
        reason = f"of {n_open} visits that only two reruns have, which one is wrong cannot be told"
    return Finding(first.height, examples, reason if n_open else None)


def _images(reruns: Reruns, name: str, side: Side) -> pl.DataFrame:
    relation = reruns.scope(name, "image")
    images = reruns.query(f"select visit, detector from {relation}").polars()
    counted = side.frame("visit", "detector").group_by("visit", "detector").len("n_dia_sources")
    joined = images.join(counted, on=("visit", "detector"), how="left")
    return joined.with_columns(pl.col("n_dia_sources").fill_null(0).cast(pl.Int64))


def _lacked(own: pl.DataFrame, others: Mapping[str, pl.DataFrame]) -> Finding:
    """Count the detectors that this rerun has in no visit, and another in most of them."""
    parts = [
        detectors_lacked(own, other).with_columns(pl.lit(name).alias("other"))
        for name, other in others.items()
    ]
    first = pl.concat(parts).unique("detector", keep="first", maintain_order=True).sort("detector")
    examples = tuple(
        f"detector {row['detector']}: in {row['other']} {row['n_visits_with_detector']} of the "
        f"{row['n_visits']} visits of both have it"
        for row in first.head(EXAMPLES).iter_rows(named=True)
    )
    return Finding(first.height, examples)


#: Every check of one rerun: what is counted, and how.
CHECKS: dict[str, tuple[str, Check]] = {
    "duplicate_dia_source_ids": (
        "ids that more than one source has (view integrity_duplicate_dia_source)",
        _duplicate_ids,
    ),
    "duplicate_object_versions": (
        "versions of one object that begin at the same time "
        "(view integrity_duplicate_object_version)",
        _of_view("integrity_duplicate_object_version"),
    ),
    "several_current_versions": (
        "objects with more than one current version (view integrity_several_current_versions)",
        _of_view("integrity_several_current_versions"),
    ),
    "sources_without_object": (
        "sources whose object does not exist (view integrity_source_without_object)",
        _of_view("integrity_source_without_object"),
    ),
    "objects_without_sources": (
        "current objects that no source belongs to (view integrity_object_without_source)",
        _of_view("integrity_object_without_source"),
    ),
    "wrong_n_dia_sources": (
        "current objects whose nDiaSources is not the number of sources there are "
        "(view integrity_n_dia_sources)",
        _n_dia_sources,
    ),
    "sources_without_image": (
        "sources whose visit or detector is NULL, which are never matched",
        _without_image,
    ),
    "visits_with_missing_detectors": (
        "visits that lack a detector which more than half of the visits have, so that one "
        "which all lack is not noticed; detectors_only_elsewhere counts those "
        "(view integrity_missing_detector)",
        _missing_detectors,
    ),
    "unusable_positions": (
        "sources whose ra or dec is NULL, not finite or out of range (view integrity_bad_position)",
        _of_view("integrity_bad_position"),
    ),
    "outside_detector_area": (
        f"sources whose ra and dec lie more than {OUTSIDE_ARCSEC:g} arcsec from where x, y and "
        f"the other sources of the image put them, or more than {OUTSIDE_VISIT_ARCSEC:g} arcsec "
        "from where most images of the visit put the whole image",
        _outside,
    ),
    "repeated_detections": (
        f"pairs of sources of one image closer than {REPEATED_ARCSEC:g} arcsec, which are one "
        "thing detected twice",
        _repeated,
    ),
    "flags_never_set": (
        "flags that the file holds and no source has set (view integrity_unset_flag)",
        _unset_flags,
    ),
}

#: Every check between reruns: what is counted, what is kept of each rerun, and how one is
#: compared with the others.
CHECKS_BETWEEN: dict[str, tuple[str, Keep, Compare]] = {
    "detectors_only_elsewhere": (
        "detectors without an image in any visit, which another opened rerun has in more than "
        "half of the visits of both",
        _images,
        _lacked,
    ),
    "visits_elsewhere_on_the_sky": (
        f"visits whose pixels lie more than {APART_ARCSEC:g} arcsec from where more than half of "
        "the other opened reruns put them",
        _standing,
        _elsewhere,
    ),
}
