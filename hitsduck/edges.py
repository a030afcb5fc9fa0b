"""Edge excess: are new sources concentrated at the edges of the detectors, and how sure.

Frames in, numbers out; the areas come from the geometry, not from the sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl

from hitsduck.errors import MatchError, SchemaError
from hitsduck.limits import check_number, shown
from hitsduck.resampling import (
    Floats,
    Ints,
    RatioIntervals,
    Units,
    double_ratios,
    resampling_units,
    two_way_widening,
    units_of_kind,
)
from hitsduck.results import frame_html

By = Literal["edge_side", "detector"]

SIDES = ("left", "right", "bottom", "top")
#: The ends of a 95% interval are the 3rd lowest and the 3rd highest of so many.
FEWEST_RESAMPLES = 100
_NEEDED = ("side", "status", "visit", "detector", "edge_distance_px")
_GEOMETRY = ("detector", "left_px", "right_px", "bottom_px", "top_px")
_JSON_KEYS = (
    "within_px",
    "n_new",
    "n_new_within",
    "share_of_new",
    "area_share",
    "share_of_increase",
    "density_ratio_new",
    "density_ratio_matched",
    "excess_ratio",
    "ci_low",
    "ci_high",
)


@dataclass(frozen=True)
class EdgeExcess:
    """How much denser new sources are near an edge, against matched ones.

    Attributes
    ----------
    within_px : float
        Sources nearer to a side of their detector than this are "within" (pixel).
    n_new : int
        Sources that only the right rerun has, not reflagged, on images of both.
    n_new_within : int
        Of them, within.
    share_of_new : float or None
        n_new_within / n_new.
    area_share : float
        Part of the images' area that lies within.
    share_of_increase : float or None
        (right within - left within) / (right - left), all sources compared; None
        when there is no increase.
    density_ratio_new, density_ratio_matched : float or None
        Surface density within over that in the interior. None without interior, or
        without a source in it.
    excess_ratio : float or None
        density_ratio_new / density_ratio_matched: 1 when new sources lie like others.
    ci_low, ci_high : float or None
        95% interval of `excess_ratio`.
    p_value : float or None
        Two-sided, of `excess_ratio` being 1, from the same resampling.
    resampling_unit : str
        ``visit`` or ``image``.
    n_units : int
        Units there are.
    reason : str or None
        Why interval and p-value are None.
    """

    within_px: float
    n_new: int
    n_new_within: int
    share_of_new: float | None
    area_share: float
    share_of_increase: float | None
    density_ratio_new: float | None
    density_ratio_matched: float | None
    excess_ratio: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    resampling_unit: str
    n_units: int
    reason: str | None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the numbers, keys ``within_px`` to ``ci_high`` (``compare --json``)."""
        return {key: getattr(self, key) for key in _JSON_KEYS}

    def _repr_html_(self) -> str:
        numbers = {**self.to_dict(), "p_value": self.p_value, "n_units": self.n_units}
        told = {
            name: "not told"
            if value is None
            else f"{value:,.4g}"
            if isinstance(value, float)
            else f"{value:,}"
            for name, value in numbers.items()
        }
        frame = pl.DataFrame({"quantity": list(told), "value": list(told.values())})
        why = f"; {self.reason}" if self.reason else ""
        return frame_html(frame, f"New sources near an edge, by {self.resampling_unit}{why}")


def check_within(within_px: float) -> None:
    """Refuse what is no distance to an edge.

    Raises
    ------
    MatchError
    """
    wanted = "give a number of pixels above 0 (--edge-within)"
    check_number("within_px", within_px, wanted, lambda x: 0 < x < math.inf)


def edge_areas(geometry: pl.DataFrame, *, within_px: float) -> pl.DataFrame:
    """Return the area within `within_px` of each side, and inside, of every detector.

    A side's part of a detector is where that side is the nearest: a trapezoid for the
    long sides, a triangle or trapezoid for the short ones. With d = min(w, shorter / 2)
    the part of a side of length s within d of it has area d * (s - d); the whole part is
    that for d = shorter / 2. The four within-parts add up to W H - (W - 2 d)(H - 2 d).

    Parameters
    ----------
    geometry : polars.DataFrame
        One row per detector: ``detector``, ``left_px``, ``right_px``, ``bottom_px``,
        ``top_px`` (view ``detector_geometry``).
    within_px : float
        Positive.

    Returns
    -------
    polars.DataFrame
        One row per detector and side, in that order: ``detector``, ``edge_side``,
        ``area_within_px2``, ``area_interior_px2``.
    """
    _require(geometry, _GEOMETRY, "the geometry")
    check_within(within_px)
    width = (geometry["right_px"] - geometry["left_px"]).to_numpy().astype(np.float64)
    height = (geometry["top_px"] - geometry["bottom_px"]).to_numpy().astype(np.float64)
    half = np.minimum(width, height) / 2
    depth = np.minimum(within_px, half)
    parts = []
    for code, side in enumerate(SIDES):
        length = height if side in ("left", "right") else width
        within = depth * (length - depth)
        parts.append(
            pl.DataFrame(
                {
                    "detector": geometry["detector"],
                    "edge_side": [side] * geometry.height,
                    "_side": [code] * geometry.height,
                    "area_within_px2": within,
                    "area_interior_px2": half * (length - half) - within,
                }
            )
        )
    return pl.concat(parts).sort("detector", "_side").drop("_side")


def edge_excess(
    sources: pl.DataFrame,
    *,
    geometry: pl.DataFrame,
    images: pl.DataFrame,
    within_px: float = 32.0,
    n_resamples: int = 2000,
    seed: int = 0,
) -> EdgeExcess | None:
    """Measure the concentration of new sources within `within_px` of detector edges.

    The interval is that of resampling whole visits (`hitsduck.resampling.double_ratios`),
    widened for what a detector shares over all visits (`two_way_widening`).

    Parameters
    ----------
    sources : polars.DataFrame
        One row per source of either rerun on an image that both have: ``side``
        (``left``, ``right``), ``status`` (``matched``, ``new``, ``gone``,
        ``reflagged``), ``visit``, ``detector``, ``edge_distance_px``. Matched sources
        are counted where the right rerun saw them. With a column ``n_sources`` a row
        stands for so many.
    geometry : polars.DataFrame
        As for :func:`edge_areas`.
    images : polars.DataFrame
        One row per image that both have: ``visit``, ``detector``.
    within_px : float
        Distance to the nearest side (pixel).
    n_resamples, seed : int
        100 or more, and 0 or more. The same seed gives the same interval.

    Returns
    -------
    EdgeExcess or None
        None when no image lies on a detector of the geometry. Images of unknown
        detectors, and sources without a distance, are in ``n_new`` but nowhere else.

    Raises
    ------
    SchemaError
        Columns are missing.
    MatchError
        An option is impossible, or a source lies on none of the images.
    """
    return _measure(sources, geometry, images, within_px, None, n_resamples, seed).get(None)


def edge_excess_by(
    sources: pl.DataFrame,
    *,
    by: By,
    geometry: pl.DataFrame,
    images: pl.DataFrame,
    within_px: float = 32.0,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pl.DataFrame:
    """Measure the edge excess of every side, or of every detector, by itself.

    Parameters
    ----------
    by : {"edge_side", "detector"}
        A side's part of a detector is where that side is nearest; needs the column
        ``edge_side``.
    sources, geometry, images, within_px, n_resamples, seed
        As for :func:`edge_excess`.

    Returns
    -------
    polars.DataFrame
        One row per side (left, right, bottom, top) or detector (ascending) with
        images: `by`, then the attributes of :class:`EdgeExcess`.
    """
    if by not in get_args(By):
        raise MatchError(f"by is {shown(by)}; it is one of {', '.join(get_args(By))}")
    found = _measure(sources, geometry, images, within_px, by, n_resamples, seed)
    rows = [{by: key, **vars(value)} for key, value in found.items()]
    numbers = {
        name: pl.Float64
        for name in (*_JSON_KEYS, "p_value")
        if name not in ("n_new", "n_new_within")
    }
    texts = {"resampling_unit": pl.String, "reason": pl.String}
    return pl.DataFrame(rows, schema_overrides={**numbers, **texts}, infer_schema_length=None)


def _measure(
    sources: pl.DataFrame,
    geometry: pl.DataFrame,
    images: pl.DataFrame,
    within_px: float,
    by: By | None,
    n_resamples: int,
    seed: int,
) -> dict[int | str | None, EdgeExcess]:
    _require(sources, _NEEDED if by is None else (*_NEEDED, by), "the sources")
    _require(images, ("visit", "detector"), "the images")
    areas = edge_areas(geometry, within_px=within_px)
    wanted = f"give a whole number from {FEWEST_RESAMPLES} on"
    check_number("n_resamples", n_resamples, wanted, lambda n: n >= FEWEST_RESAMPLES, whole=True)
    check_number("seed", seed, "give a whole number from 0 on", lambda n: n >= 0, whole=True)
    images = images.select("visit", "detector").unique()
    per_detector = images.group_by("detector").len("n_images")
    areas = areas.join(
        per_detector.with_columns(pl.col("detector").cast(areas.schema["detector"])),
        on="detector",
        maintain_order="left",
    )
    if areas.is_empty():
        return {}
    units = resampling_units(images)
    group, keys = _groups(sources, areas, by)
    distance = sources["edge_distance_px"].to_numpy().astype(np.float64)
    known = np.isfinite(distance) & np.isin(
        sources["detector"].to_numpy(), areas["detector"].unique().to_numpy()
    )
    within = known & (distance < within_px)
    right = (sources["side"] == "right").to_numpy()
    is_new = right & (sources["status"] == "new").to_numpy()
    is_matched = right & (sources["status"] == "matched").to_numpy()
    weight = sources["n_sources"].to_numpy() if "n_sources" in sources.columns else None

    def sums(at: Ints, rows: np.ndarray, size: int) -> Ints:
        kept = rows & (group >= 0)
        weights = None if weight is None else weight[kept]
        # Sums of whole numbers, exact far beyond any number of sources.
        return np.bincount(at[kept], weights=weights, minlength=size).astype(np.int64)

    def count(rows: np.ndarray) -> Ints:
        return sums(group, rows, len(keys))

    def cells_of(units: Units) -> Floats:
        """Return the four counts of every unit and group."""
        shape = (len(units), len(keys))
        at = units.of(sources) * len(keys) + group
        rows = (
            is_new & within,
            is_new & known & ~within,
            is_matched & within,
            is_matched & known & ~within,
        )
        counted = [sums(at, r, shape[0] * shape[1]).reshape(shape) for r in rows]
        return np.stack(counted, axis=-1).astype(np.float64)

    cells = cells_of(units)
    by_detector, by_image = (cells_of(units_of_kind(images, of)) for of in ("detector", "image"))
    widening = two_way_widening(cells, by_detector, by_image)
    ratios = double_ratios(
        cells, widening=widening, reason=units.reason, n_resamples=n_resamples, seed=seed
    )
    n_new = count(is_new)
    more = count(right) - count(~right)
    more_within = count(right & within) - count(~right & within)
    results: dict[int | str | None, EdgeExcess] = {}
    for g, key in enumerate(keys):
        part = areas if by is None else areas.filter(pl.col(by) == key)
        area_within = float((part["area_within_px2"] * part["n_images"]).sum())
        area_inside = float((part["area_interior_px2"] * part["n_images"]).sum())
        results[key] = EdgeExcess(
            within_px=float(within_px),
            n_new=int(n_new[g]),
            n_new_within=int(cells[:, g, 0].sum()),
            share_of_new=_share(cells[:, g, 0].sum(), n_new[g]),
            area_share=area_within / (area_within + area_inside),
            share_of_increase=_share(more_within[g], more[g]) if more[g] > 0 else None,
            **_ratios_of(cells[:, g].sum(axis=0), area_within, area_inside, ratios, g),
            resampling_unit=units.kind,
            n_units=len(units),
            reason=_reason(units, area_inside, ratios, g),
        )
    return results


def _groups(
    sources: pl.DataFrame, areas: pl.DataFrame, by: By | None
) -> tuple[Ints, Sequence[int | str | None]]:
    """Return the group of every source (-1: none) and what the groups are."""
    if by is None:
        return np.zeros(sources.height, dtype=np.int64), [None]
    keys: Sequence[int | str]
    keys = SIDES if by == "edge_side" else areas["detector"].unique().sort().to_list()
    code = sources[by].replace_strict(
        list(keys), list(range(len(keys))), default=-1, return_dtype=pl.Int64
    )
    return code.fill_null(-1).to_numpy(), keys


def _ratios_of(
    total: Floats, area_within: float, area_inside: float, ratios: RatioIntervals, group: int
) -> dict[str, float | None]:
    """Return density ratios, their ratio and its interval.

    (n within / area within) / (n inside / area inside), for new and for matched; the
    areas cancel in the ratio of the two.
    """
    by_area = area_inside / area_within
    return {
        "density_ratio_new": _share(total[0] * by_area, total[1]),
        "density_ratio_matched": _share(total[2] * by_area, total[3]),
        "excess_ratio": _number(ratios.ratio[group]),
        "ci_low": _number(ratios.low[group]),
        "ci_high": _number(ratios.high[group]),
        "p_value": _number(ratios.p_value[group]),
    }


def _reason(units: Units, area_inside: float, ratios: RatioIntervals, group: int) -> str | None:
    if area_inside <= 0:
        return "no interior: every pixel is within that distance of an edge"
    return units.reason or ratios.reasons[group]


def _share(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _require(frame: pl.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise SchemaError(f"{what} lack {', '.join(missing)}; they have {', '.join(frame.columns)}")
