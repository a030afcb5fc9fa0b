"""Where on the sky sources and objects lie, in bins, by groups of overlapping fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hitsduck.chartdata.asking import chosen, of_each
from hitsduck.chartdata.binning import BinCounter
from hitsduck.chartdata.keeping import relation
from hitsduck.components import connected_components
from hitsduck.errors import InstrumentError, QueryError

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: A map has so many bins along its longer side: few sources would be lost in many.
_FEWEST_BINS, _MOST_BINS = 100, 420
_BINS_PER_ROOT = 2.2
_MOST_PANELS = 6
#: Of a panel at least, that one source alone has some sky around it.
_LEAST_DEG = 1 / 60
#: Points that are drawn one by one.
MOST_POINTS = 4_000
_POSITIONS = {"sources": "dia_source", "objects": "dia_object"}
_GOOD_POSITIONS = {"sources": "good_dia_source", "objects": "good_dia_object"}
#: The fields of reruns that are open, by their names and the condition: every map asks for them.
_FIELDS: WeakKeyDictionary[Reruns, dict[tuple[tuple[str, ...], str | None], pl.DataFrame]] = (
    WeakKeyDictionary()
)
#: Where a position can be drawn; NaN, to DuckDB the greatest of numbers, is in no range.
USABLE = "ra between 0 and 360 and dec between -90 and 90"
_BIN_SCHEMA = {
    "rerun": pl.String,
    "panel": pl.Int64,
    "ra_bin": pl.Int64,
    "dec_bin": pl.Int64,
    "n": pl.Int64,
    "n_total": pl.Int64,
}


def sky_panels(
    reruns: Reruns,
    names: Sequence[str] | str | None = None,
    *,
    window: Sequence[float] | None = None,
    where: str | None = None,
) -> pl.DataFrame:
    """Find the groups of overlapping fields, from where the visits' sources lie.

    Two visits belong together when the boxes of their sources overlap, so that fields
    that share a rim are drawn in one panel.

    Parameters
    ----------
    names : sequence of str, optional
        The reruns; all by default.
    window : (float, float, float, float), optional
        Instead of the groups one window: lowest and highest ra, lowest and highest dec
        (deg). ra may pass 360.
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per group, at most six, those with the most sources, from high to low
        ra, as they lie on the sky: ``panel``, ``ra_low``, ``ra_high`` (deg; may be below
        0 where a group lies across ra 0), ``dec_low``, ``dec_high``, ``bin_deg`` (height
        of a bin; its width in ra is ``bin_deg / cos(dec)``), ``ra_bin_deg``, ``n_groups``
        (there are in all).
    """
    wanted = chosen(reruns, names)
    if window is not None:
        groups = pl.DataFrame([_window(window)], schema=_GROUP, orient="row")
    else:
        groups = _fields(reruns, wanted, where)
    middle = (pl.col("dec_low") + pl.col("dec_high")) / 2
    cos = middle.radians().cos().clip(0.01)
    height = pl.col("dec_high") - pl.col("dec_low")
    width = (pl.col("ra_high") - pl.col("ra_low")) * cos
    n_sources = float(groups["n_sources"].sum()) / max(len(wanted), 1)
    n_bins = min(max(_BINS_PER_ROOT * math.sqrt(n_sources), _FEWEST_BINS), _MOST_BINS)
    size = pl.max_horizontal(height, width).max() / n_bins
    return (
        groups.with_columns(pl.len().alias("n_groups"))
        .sort("n_sources", descending=True)
        .head(_MOST_PANELS)
        .sort("ra_low", descending=True)
        .with_columns(size.alias("bin_deg"))
        .with_columns((pl.col("bin_deg") / cos).alias("ra_bin_deg"))
        .with_row_index("panel")
        .cast({"panel": pl.Int64})
        .drop("n_sources")
    )


def sky_map(
    reruns: Reruns,
    names: Sequence[str] | str | None = None,
    *,
    panels: pl.DataFrame,
    table: str = "sources",
    good: bool = True,
    where: str | None = None,
) -> pl.DataFrame:
    """Bin the sources or objects of some reruns on the sky.

    Parameters
    ----------
    names : sequence of str, optional
        The reruns; all by default.
    panels : polars.DataFrame
        Of `sky_panels`.
    table : {"sources", "objects"}
    good : bool
        Only good sources, or current objects with at least one good source.
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per rerun, panel and filled bin: ``rerun``, ``panel``, ``ra_bin``,
        ``dec_bin`` (bin k covers ``ra_low + k * ra_bin_deg`` and on, and so in dec),
        ``n``, ``n_total`` (all of the rerun, also those outside of the panels).
    """
    if table not in _POSITIONS:
        raise QueryError(f"table is {table!r}; it is one of {', '.join(_POSITIONS)}")
    view = (_GOOD_POSITIONS if good else _POSITIONS)[table]
    drawn = [_Panel(**row) for row in panels.select(_PANEL).iter_rows(named=True)]
    parts = [pl.DataFrame(schema=_BIN_SCHEMA)]
    for name in chosen(reruns, names):
        counters = [BinCounter() for _ in drawn]

        def take(batch: dict[str, NDArray[Any]], counters: Sequence[BinCounter] = counters) -> None:
            for panel, counter in zip(drawn, counters, strict=True):
                panel.count(batch["ra"], batch["dec"], counter)

        n_total = reruns.stream(f"select ra, dec from {relation(reruns, name, view, where)}", take)
        parts += [
            counter.frame("dec_bin", "ra_bin").select(
                pl.lit(name).alias("rerun"),
                pl.lit(panel.panel).alias("panel"),
                "ra_bin",
                "dec_bin",
                "n",
                pl.lit(n_total).alias("n_total"),
            )
            for panel, counter in zip(drawn, counters, strict=True)
        ]
    return pl.concat([part.cast(_BIN_SCHEMA) for part in parts])  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Panel:
    """A part of the sky and its bins, as `sky_panels` gives it."""

    panel: int
    ra_low: float
    ra_high: float
    dec_low: float
    dec_high: float
    bin_deg: float
    ra_bin_deg: float

    def count(self, ra: NDArray[Any], dec: NDArray[Any], counter: BinCounter) -> None:
        """Count the positions that lie in the panel; `USABLE` ones, as NaN is nowhere."""
        usable = (ra >= 0) & (ra <= 360)
        usable &= (dec >= max(self.dec_low, -90.0)) & (dec <= min(self.dec_high, 90.0))
        ra, dec = ra[usable], dec[usable]
        # Whole turns that bring ra into the panel, which may lie across 0.
        turned = ra + 360 * np.ceil((self.ra_low - ra) / 360)
        inside = turned <= self.ra_high
        turned, dec = turned[inside], dec[inside]
        counter.add(
            np.floor((dec - self.dec_low) / self.bin_deg),
            np.floor((turned - self.ra_low) / self.ra_bin_deg),
        )


_PANEL = [member.name for member in fields(_Panel)]


def sky_points(
    reruns: Reruns,
    names: Sequence[str] | str | None = None,
    *,
    window: Sequence[float],
    table: str = "objects",
    good: bool = True,
    where: str | None = None,
) -> pl.DataFrame:
    """Return the sources or objects inside a small window one by one.

    Parameters
    ----------
    window : (float, float, float, float)
        Lowest and highest ra, lowest and highest dec (deg).

    Returns
    -------
    polars.DataFrame
        One row per point, in order of the id: ``rerun``, ``id`` (as text), ``ra``, ``dec``.

    Raises
    ------
    QueryError
        There are more than 4,000; take a smaller window, or `sky_map` of this one.
    """
    ra_low, ra_high, dec_low, dec_high, _ = _window(window)
    view = (_GOOD_POSITIONS if good else _POSITIONS)[table]
    wanted = chosen(reruns, names)
    key = "diaObjectId" if table == "objects" else "diaSourceId"
    points = of_each(
        reruns,
        view,
        f"""
        select
            cast({key} as varchar) as id,
            ra,
            dec
        from {{view}}
        where {USABLE} and dec between $dec_low and $dec_high
            and ra + 360 * ceil(($ra_low - ra) / 360) <= $ra_high
        order by {key}
        """,
        names=wanted,
        where=where,
        parameters={
            "ra_low": ra_low,
            "ra_high": ra_high,
            "dec_low": dec_low,
            "dec_high": dec_high,
        },
    )
    if points.height > MOST_POINTS:
        raise QueryError(
            f"the window {tuple(window)} holds {points.height:,} {table}; at most "
            f"{MOST_POINTS:,} are drawn one by one: take a smaller window"
        )
    return points


_GROUP = {
    "ra_low": pl.Float64,
    "ra_high": pl.Float64,
    "dec_low": pl.Float64,
    "dec_high": pl.Float64,
    "n_sources": pl.Int64,
}

#: Columns of ``visit_extent`` -> what a group calls them.
_SIDES = {
    "ra_low_deg": "ra_low",
    "ra_high_deg": "ra_high",
    "dec_low_deg": "dec_low",
    "dec_high_deg": "dec_high",
    "n_dia_sources": "n_sources",
}


def _window(window: Sequence[float]) -> tuple[float, float, float, float, int]:
    ra_low, ra_high, dec_low, dec_high = (float(side) for side in window)
    if not (ra_low < ra_high <= ra_low + 360 and -90 <= dec_low < dec_high <= 90):
        raise QueryError(
            f"window {tuple(window)} is empty; it is (lowest ra, highest ra, lowest dec, "
            "highest dec) in degrees"
        )
    return ra_low, ra_high, dec_low, dec_high, 0


def _fields(reruns: Reruns, names: Sequence[str], where: str | None) -> pl.DataFrame:
    """Return the groups of overlapping fields of some reruns, found once."""
    known = _FIELDS.setdefault(reruns.original, {})
    key = (tuple(names), where)
    with reruns.watching():
        if key not in known:
            boxes = pl.concat([_boxes_of(reruns, name, where) for name in names])
            known[key] = _widened(_groups(boxes))
        return known[key]


def _boxes_of(reruns: Reruns, name: str, where: str | None) -> pl.DataFrame:
    """Return the box of every visit's sources; one box of all where visits are not known."""
    sides = "ra_low_deg, ra_high_deg, dec_low_deg, dec_high_deg, n_dia_sources"
    try:
        boxes = of_each(
            reruns, "visit_extent", f"select {sides} from {{view}}", names=[name], where=where
        )
    except InstrumentError:  # visits are not known: one box of all sources
        boxes = of_each(
            reruns,
            "dia_source",
            f"""
            select
                ra_middle + min((ra - ra_middle + 540) % 360 - 180) as ra_low_deg,
                ra_middle + max((ra - ra_middle + 540) % 360 - 180) as ra_high_deg,
                min(dec) as dec_low_deg,
                max(dec) as dec_high_deg,
                count(*) as n_dia_sources
            from {{view}}
            cross join (
                select
                    (degrees(atan2(avg(sin(radians(ra))), avg(cos(radians(ra))))) + 360) % 360
                    as ra_middle
                from {{view}}
                where {USABLE}
            ) as middle
            where {USABLE}
            group by ra_middle
            """,
            names=[name],
            where=where,
        )
    return boxes.drop("rerun").rename(_SIDES).cast(_GROUP)  # type: ignore[arg-type]


def _groups(boxes: pl.DataFrame) -> pl.DataFrame:
    """Join boxes that overlap."""
    # The same pointing again and again: one box for all that share a hundredth of a degree.
    boxes = (
        boxes.with_columns(
            pl.col("ra_low", "ra_high", "dec_low", "dec_high").round(2).name.suffix("_key")
        )
        .group_by("ra_low_key", "ra_high_key", "dec_low_key", "dec_high_key")
        .agg(
            pl.min("ra_low"),
            pl.max("ra_high"),
            pl.min("dec_low"),
            pl.max("dec_high"),
            pl.sum("n_sources"),
        )
        .sort("ra_low", "dec_low")
        .select(*_GROUP)
    )
    if boxes.is_empty():
        return boxes
    ra_low, ra_high, dec_low, dec_high, _ = (boxes[name].to_numpy() for name in _GROUP)
    ra_middle, half = (ra_low + ra_high) / 2, (ra_high - ra_low) / 2
    first, second = [], []
    for row in range(boxes.height):
        apart = np.abs((ra_middle - ra_middle[row] + 180) % 360 - 180)
        overlapping = np.flatnonzero(
            (apart <= half + half[row]) & (dec_low <= dec_high[row]) & (dec_high >= dec_low[row])
        )
        first.append(np.full(overlapping.size, row))
        second.append(overlapping)
    group = connected_components(boxes.height, np.concatenate(first), np.concatenate(second))
    rows = []
    for number in range(int(group.max()) + 1):
        of_group = boxes.filter(pl.Series(group == number))
        origin = of_group["ra_low"][0]
        # Whole turns, so that boxes on both sides of ra 0 lie side by side.
        turned = of_group.with_columns(
            (360.0 * ((pl.col("ra_low") - origin) / 360.0).round()).alias("turn")
        )
        rows.append(
            turned.select(
                (pl.col("ra_low") - pl.col("turn")).min(),
                (pl.col("ra_high") - pl.col("turn")).max(),
                pl.min("dec_low"),
                pl.max("dec_high"),
                pl.sum("n_sources"),
            )
        )
    margin = 1e-6 + 0.01 * (pl.col("dec_high") - pl.col("dec_low"))
    return pl.concat(rows).with_columns(
        pl.col("ra_low") - margin,
        pl.col("ra_high") + margin,
        (pl.col("dec_low") - margin).clip(-90, 90),
        (pl.col("dec_high") + margin).clip(-90, 90),
    )


def _widened(groups: pl.DataFrame) -> pl.DataFrame:
    """Return the groups, small ones widened on all sides to the least extent."""
    middle = (pl.col("dec_low") + pl.col("dec_high")) / 2
    cos = middle.radians().cos().clip(0.01)
    wide = (_LEAST_DEG / cos - (pl.col("ra_high") - pl.col("ra_low"))).clip(0.0) / 2
    high = (_LEAST_DEG - (pl.col("dec_high") - pl.col("dec_low"))).clip(0.0) / 2
    return groups.with_columns(
        pl.col("ra_low") - wide,
        pl.col("ra_high") + wide,
        (pl.col("dec_low") - high).clip(-90, 90),
        (pl.col("dec_high") + high).clip(-90, 90),
    )


def middle_window(
    panels: pl.DataFrame, *, n_points: int, side_deg: float = 0.67
) -> tuple[float, float, float, float]:
    """Return a window in the middle of the first panel that holds about 1,000 points.

    Parameters
    ----------
    panels : polars.DataFrame
        Of `sky_panels`.
    n_points : int
        Points of all reruns in all panels.
    side_deg : float
        Its side at most; the seed analysis took 0.67 deg.
    """
    if panels.is_empty():
        return 0.0, side_deg, 0.0, side_deg
    first = panels.row(0, named=True)
    ra = (first["ra_low"] + first["ra_high"]) / 2
    dec = (first["dec_low"] + first["dec_high"]) / 2
    cos = max(math.cos(math.radians(dec)), 0.01)
    area_deg2 = sum(
        (row["ra_high"] - row["ra_low"]) * cos * (row["dec_high"] - row["dec_low"])
        for row in panels.iter_rows(named=True)
    )
    half = min(side_deg, math.sqrt(1_000 * area_deg2 / max(n_points, 1))) / 2
    return ra - half / cos, ra + half / cos, max(dec - half, -90.0), min(dec + half, 90.0)
