"""How far from the sides of their detectors sources lie, against an even spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from hitsduck.errors import InstrumentError

if TYPE_CHECKING:
    from hitsduck.comparison import Comparison

#: Sides of the bins in pixels, finest where an effect of the sides would be; the last
#: bin reaches to the middle of the largest detector.
FINE_BINS_PX = (0, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072)
#: The bins of few sources.
COARSE_BINS_PX = (0, 32, 64, 128, 256, 512, 1024, 2048, 3072)
_FEW_SOURCES = 1_500
#: What is told apart -> the rerun whose positions are taken.
KINDS = {"matched": "right", "new": "right", "reflagged": "right", "gone": "left"}
#: Two-sided 95 percent, in standard deviations.
_SIGMAS = 1.959964

_BIN_SCHEMA = {
    "kind": pl.String,
    "rerun": pl.String,
    "edge_low_px": pl.Float64,
    "edge_high_px": pl.Float64,
    "n": pl.Int64,
    "n_expected": pl.Float64,
    "area_mpx": pl.Float64,
    "density_per_mpx": pl.Float64,
    "ratio": pl.Float64,
    "ratio_low": pl.Float64,
    "ratio_high": pl.Float64,
}


def poisson_interval(n: int) -> tuple[float, float]:
    """Return the central 95 percent interval of a Poisson mean, of which `n` were counted.

    The approximations of Gehrels 1986 (ApJ 303, 336), equations 9 and 12: good to a few
    percent from n = 0 on.

    Examples
    --------
    >>> [round(limit, 1) for limit in poisson_interval(10)]
    [4.8, 18.4]
    """
    upper = (n + 1) * (1 - 1 / (9 * (n + 1)) + _SIGMAS / (3 * math.sqrt(n + 1))) ** 3
    if n == 0:
        return 0.0, upper
    return max(n * (1 - 1 / (9 * n) - _SIGMAS / (3 * math.sqrt(n))) ** 3, 0.0), upper


def edge_distances(
    comparison: Comparison, *, bins_px: Sequence[float] | None = None
) -> pl.DataFrame:
    """Bin the sources of a comparison by their distance to the nearest side.

    The distance is `dia_source_edge`'s: from the centroid to the nearest side of the
    detector's pixel area. Only images that both reruns have are looked at.

    Parameters
    ----------
    comparison : Comparison
    bins_px : sequence of float, optional
        Sides of the bins from 0 on; by default narrow ones beside the edge, fewer of
        them where there are few sources.

    Returns
    -------
    polars.DataFrame
        One row per kind and bin, in order of distance: ``kind`` (``matched``: where the
        right rerun has it; ``new``: the left rerun has nothing there; ``reflagged``: in
        the left rerun too, but not good; ``gone``: the right rerun has nothing there),
        ``rerun`` (whose positions), ``edge_low_px``, ``edge_high_px``, ``n``,
        ``n_expected`` (the sources of every detector spread evenly over its pixels),
        ``area_mpx`` (detector area at that distance over all images of both, 10^6 px),
        ``density_per_mpx`` (n over it), ``ratio`` (n over n_expected: an even spread is
        1) and its 95 percent interval ``ratio_low``, ``ratio_high`` (of the count
        alone). Sources outside of the pixel area are in a row without ``edge_low_px``,
        sources without a place on a detector in one without both; so n adds up to the
        sources of the kind.

    Raises
    ------
    InstrumentError
        The camera is not known, or a file has no x and y.
    """
    sources = comparison_edges(comparison)
    geometry = detector_sides(comparison)
    n_images = comparison.shared_images.group_by("detector").len("n_images")
    n_of = {kind: _of_kind(sources, kind).height for kind in KINDS}
    if bins_px is None:
        is_few = min(n_of["matched"], n_of["new"]) < _FEW_SOURCES
        bins_px = COARSE_BINS_PX if is_few else FINE_BINS_PX
    rows = []
    for kind, side in KINDS.items():
        name = getattr(comparison, side)
        rows += _binned(kind, name, _of_kind(sources, kind), geometry, n_images, bins_px)
    return pl.DataFrame(rows, schema=_BIN_SCHEMA)


def comparison_edges(comparison: Comparison) -> pl.DataFrame:
    """Return `hitsduck.evidence.edge_evidence` of a comparison, or say why there is none.

    Raises
    ------
    InstrumentError
    """
    if comparison.edge_problem is not None and not comparison.shared_images.is_empty():
        raise InstrumentError(comparison.edge_problem)
    return comparison.evidence.edge


def detector_sides(comparison: Comparison) -> pl.DataFrame:
    """Return the size (px) of every detector: ``detector``, ``width_px``, ``height_px``."""
    side = pl.col("left_px", "right_px", "bottom_px", "top_px").cast(pl.Float64)
    return comparison.evidence.geometry.with_columns(side).select(
        pl.col("detector").cast(pl.Int64),
        (pl.col("right_px") - pl.col("left_px")).alias("width_px"),
        (pl.col("top_px") - pl.col("bottom_px")).alias("height_px"),
    )


def area_deeper(distance_px: float | pl.Expr) -> pl.Expr:
    """Return the area (px) of a detector that lies deeper inside than a distance."""
    width, height = (pl.col(side) - 2 * distance_px for side in ("width_px", "height_px"))
    return pl.when((width > 0) & (height > 0)).then(width * height).otherwise(0.0)


def _of_kind(sources: pl.DataFrame, kind: str) -> pl.DataFrame:
    return sources.filter(pl.col("side") == KINDS[kind], pl.col("status") == kind)


def _binned(
    kind: str,
    name: str,
    sources: pl.DataFrame,
    geometry: pl.DataFrame,
    n_images: pl.DataFrame,
    bins_px: Sequence[float],
) -> list[dict[str, Any]]:
    inside = sources.filter(pl.col("edge_distance_px") >= 0)
    n_inside = inside.group_by("detector").len("n_inside")
    detectors = (
        geometry.join(n_images.cast({"detector": pl.Int64}), on="detector", how="left")
        .join(n_inside.cast({"detector": pl.Int64}), on="detector", how="left")
        .with_columns(pl.col("n_images", "n_inside").fill_null(0))
        .filter((pl.col("n_images") > 0) | (pl.col("n_inside") > 0))
    )
    # No pixel lies deeper than the middle of the largest detector.
    deepest = detectors.select(pl.min_horizontal("width_px", "height_px").max() / 2).item() or 0.0
    sides = [*(side for side in bins_px if side < deepest), deepest]
    rows = []
    for low, high in pairwise(sides):
        closed: Literal["both", "left"] = "both" if high == deepest else "left"
        n = inside.filter(pl.col("edge_distance_px").is_between(low, high, closed=closed)).height
        ring = area_deeper(low) - area_deeper(high)
        area_px, n_expected = detectors.select(
            (ring * pl.col("n_images")).sum().alias("area"),
            (ring / area_deeper(0) * pl.col("n_inside")).sum().alias("expected"),
        ).row(0)
        rows.append(_bin(kind, name, low, high, n, n_expected, area_px / 1e6))
    n_outside = sources.filter(pl.col("edge_distance_px") < 0).height
    n_unplaced = sources["edge_distance_px"].null_count()
    if n_outside:
        rows.append({"kind": kind, "rerun": name, "edge_high_px": 0.0, "n": n_outside})
    if n_unplaced:
        rows.append({"kind": kind, "rerun": name, "n": n_unplaced})
    return rows


def _bin(
    kind: str, name: str, low: float, high: float, n: int, n_expected: float, area_mpx: float
) -> dict[str, Any]:
    fewest, most = poisson_interval(n)
    return {
        "kind": kind,
        "rerun": name,
        "edge_low_px": float(low),
        "edge_high_px": float(high),
        "n": n,
        "n_expected": n_expected,
        "area_mpx": area_mpx,
        "density_per_mpx": n / area_mpx if area_mpx else None,
        "ratio": n / n_expected if n_expected else None,
        "ratio_low": fewest / n_expected if n_expected else None,
        "ratio_high": most / n_expected if n_expected else None,
    }
