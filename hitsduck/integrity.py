"""Integrity: what in an APDB contradicts itself. Every check gives a count and examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from hitsduck import schema
from hitsduck.crossmatch import match_images
from hitsduck.errors import InstrumentError, MatchError
from hitsduck.evidence import Problems
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


Check = Callable[["Reruns", str, Side], Finding]


def check_integrity(reruns: Reruns, names: Sequence[str] | None = None) -> Result:
    """Look for what contradicts itself in some reruns.

    Parameters
    ----------
    reruns : Reruns
    names : sequence of str, optional
        Of reruns; all by default.

    Returns
    -------
    Result
        One row per rerun and check, in the order of `CHECKS`: ``rerun``, ``check``,
        ``count`` (NULL where the check cannot be made), ``examples`` (up to five, as
        text), ``reason`` (why it cannot be made, or what to know about the count).
        All rows behind a count: the view named in `CHECKS`.

    Raises
    ------
    RerunNameError
        No rerun of such a name.
    """
    from hitsduck.results import Result

    rows: list[dict[str, Any]] = []
    for name in reruns.names if names is None else names:
        side = Side(reruns, name)
        for check, (_, look) in CHECKS.items():
            try:
                found = look(reruns, name, side)
            except (InstrumentError, MatchError) as error:
                found = Finding(None, reason=str(error))
            rows.append(
                {
                    "rerun": name,
                    "check": check,
                    "count": found.count,
                    "examples": list(found.examples),
                    "reason": found.reason,
                }
            )
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
            f"{missing.height} images; images are known from their sources alone, so that one "
            "without any source counts as missing"
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
        return Finding(None, reason="DiaSource has no pixel positions (x, y) to compare with")
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


def _repeated(reruns: Reruns, name: str, side: Side) -> Finding:
    sources = side.frame("diaSourceId", "visit", "detector", "ra", "dec")
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


def _unset_flags(reruns: Reruns, name: str, side: Side) -> Finding:
    unset = _rows(reruns, name, "integrity_unset_flag").sort(
        "is_bad", "flag", descending=[True, False]
    )
    examples = tuple(unset["flag"].head(EXAMPLES).to_list())
    n_bad = int(unset["is_bad"].sum())
    reason = f"{n_bad} of them make a source bad" if n_bad else None
    return Finding(unset.height, examples, reason)


#: Every check: what is counted, and how.
CHECKS: dict[str, tuple[str, Check]] = {
    "duplicate_dia_source_ids": (
        "ids that more than one source has (view integrity_duplicate_dia_source)",
        _of_view("integrity_duplicate_dia_source"),
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
        "which all lack is not noticed (view integrity_missing_detector)",
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
