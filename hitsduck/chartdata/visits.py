"""Visits and nights: densities, seeing, and where the sources of each visit lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hitsduck.chartdata.asking import chosen, of_each
from hitsduck.chartdata.binning import BinCounter
from hitsduck.chartdata.keeping import relation
from hitsduck.chartdata.sky import USABLE

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: A chart of more visits than this puts neighbours together.
MOST_VISITS = 1_000
#: Tiles of `visit_grid`, and the bins along one of them: fewer where there are few sources.
MOST_TILES = 196
TILE_BINS = 64
_FEW_SOURCES = 500


def visits(
    reruns: Reruns,
    names: Sequence[str] | str | None = None,
    *,
    good: bool = True,
    where: str | None = None,
) -> pl.DataFrame:
    """Return density and seeing of every visit in order of time.

    Parameters
    ----------
    names : sequence of str, optional
        The reruns; all by default.
    good : bool
        Only good sources.
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per rerun and visit: ``rerun``, ``visit`` (as text), ``place`` (of the
        visit among all visits of all reruns in order of time, from 1),
        ``midpoint_mjd_tai`` (d), ``night``, ``band``, ``n_images``, ``n``,
        ``density_deg2`` (sources per square degree; NULL where the camera is not
        known), ``median_seeing_arcsec``.
    """
    rows = pl.concat(
        [_visits_of(reruns, name, good=good, where=where) for name in chosen(reruns, names)]
    )
    number = {name: place for place, name in enumerate(reruns.names)}
    order = (
        rows.group_by("visit")
        .agg(pl.min("midpoint_mjd_tai"))
        .sort("midpoint_mjd_tai", "visit", nulls_last=True)
        .select("visit")
        .with_row_index("place", offset=1)
    )
    return (
        rows.join(order, on="visit")
        .with_columns(pl.col("place").cast(pl.Int64), pl.col("visit").cast(pl.String))
        .sort(pl.col("rerun").replace_strict(number, return_dtype=pl.Int64), "place")
    )


def _visits_of(reruns: Reruns, name: str, *, good: bool, where: str | None) -> pl.DataFrame:
    """Return the visits of one rerun; what the instrument would tell is NULL without it."""
    kind = "good_" if good else ""
    known = {
        "night": reruns.attached(name).instrument.site_problem is None,
        f"{kind}density_deg2": reruns.attached(name).instrument.geometry_problem is None,
    }
    night, density = (column if is_known else "null" for column, is_known in known.items())
    return of_each(
        reruns,
        "visit_summary",
        f"""
        select
            visit,
            midpoint_mjd_tai,
            cast({night} as date) as night,
            band,
            n_images,
            n_{kind}dia_sources as n,
            cast({density} as double) as density_deg2,
            median_seeing_arcsec
        from {{view}}
        where visit is not null
        """,
        names=[name],
        where=where,
    )


def nights(
    reruns: Reruns, names: Sequence[str] | str | None = None, *, where: str | None = None
) -> pl.DataFrame:
    """Return the mean number of sources per visit, and the visits, of every night.

    Returns
    -------
    polars.DataFrame
        One row per rerun and night (local mean noon to noon): the columns of the view
        ``night_summary``, ``rerun`` first.

    Raises
    ------
    InstrumentError
        The site is not known.
    """
    return of_each(
        reruns,
        "night_summary",
        "select * exclude (rerun) from {view} where night is not null order by night",
        names=chosen(reruns, names),
        where=where,
    )


def seeing(
    reruns: Reruns, names: Sequence[str] | str | None = None, *, where: str | None = None
) -> pl.DataFrame:
    """Return the seeing of every visit, in arcsec and in pixels.

    Returns
    -------
    polars.DataFrame
        One row per rerun and visit that has a seeing: ``rerun``, ``visit`` (as text),
        ``seeing_arcsec`` (median FWHM of the PSF), ``seeing_px`` (NULL where the camera
        is not known).
    """
    parts = []
    for name in chosen(reruns, names):
        camera = reruns[name].camera
        scale = camera.pixel_scale_arcsec if camera else None
        parts.append(
            of_each(
                reruns,
                "dia_source",
                """
                select
                    cast(visit as varchar) as visit,
                    median(psf_fwhm_arcsec) as seeing_arcsec
                from {view}
                group by visit
                having median(psf_fwhm_arcsec) is not null
                order by visit
                """,
                names=[name],
                where=where,
            ).with_columns(
                (
                    pl.col("seeing_arcsec") / scale if scale else pl.lit(None, dtype=pl.Float64)
                ).alias("seeing_px")
            )
        )
    return pl.concat(parts)


def visit_grid(
    reruns: Reruns, name: str | None = None, *, good: bool = True, where: str | None = None
) -> pl.DataFrame:
    """Bin the sources of each visit on the sky, around the middle of the visit.

    Parameters
    ----------
    name : str, optional
        The rerun; the last by default.
    good : bool
        Only good sources.
    where : str, optional
        One expression on ``dia_source``.

    Returns
    -------
    polars.DataFrame
        One row per visit and filled bin, for at most the first 196 visits in order of
        time: ``rerun``, ``tile`` (of the visit, from 0), ``visit`` (as text), ``x_bin``
        (from 0, towards growing ra), ``y_bin`` (towards growing dec), ``n``,
        ``n_visit`` (sources of the visit), ``n_visits`` (of the rerun), ``bin_deg``,
        ``n_bins`` (along a tile). Tiles are as large as the box of the widest visit's
        sources, good or not, and lie around the middle of each one's box.
    """
    (name,) = chosen(reruns, name or reruns.names[-1])
    # Of good sources too the box of all: its middle and size need no pass over them.
    tiles = of_each(
        reruns,
        "visit_extent",
        f"""
        with tiles as (
            select
                visit,
                {"n_good_dia_sources" if good else "n_dia_sources"} as n_visit,
                row_number() over (order by first_mjd_tai, visit) - 1 as tile,
                count(*) over () as n_visits,
                (ra_low_deg + ra_high_deg) / 2 as ra_middle,
                (dec_low_deg + dec_high_deg) / 2 as dec_middle,
                cos(radians(dec_middle)) as cos_dec,
                greatest((ra_high_deg - ra_low_deg) * cos_dec, dec_high_deg - dec_low_deg) as side,
                case
                    when median(n_visit) over () >= {_FEW_SOURCES} then {TILE_BINS}
                    else {TILE_BINS // 2}
                end as n_bins
            from {{view}}
            where visit is not null and n_visit > 0
        )

        select
            tile,
            visit,
            n_visit,
            n_visits,
            ra_middle,
            dec_middle,
            cos_dec,
            1.00005 * greatest(max(side) over (), 0.002) / n_bins as bin_deg,
            n_bins
        from tiles
        where tile < {MOST_TILES}
        """,
        names=[name],
        where=where,
    )
    counter = _TileCounter(tiles)
    if not tiles.is_empty():
        view = relation(reruns, name, "dia_source", where)
        condition = "is_good" if good else "true"
        reruns.stream(
            f"select visit, ra, dec from {view} "
            f"where {condition} and visit is not null and {USABLE}",
            counter.take,
        )
    return counter.frame()


class _TileCounter:
    """Counts sources by visit and by the bin of its tile."""

    def __init__(self, tiles: pl.DataFrame) -> None:
        """Take the tiles, one row per visit."""
        self._tiles = tiles.sort("tile").select(
            "tile", pl.col("visit").cast(pl.String), "n_visit", "rerun", "n_visits"
        )
        # The same for all; without a visit there is no tile.
        self._n_bins, self._bin_deg = (
            (int(tiles["n_bins"][0]), float(tiles["bin_deg"][0])) if tiles.height else (1, 1.0)
        )
        self._visit, self._tile, self._ra_middle, self._dec_middle, self._cos_dec = (
            tiles.sort("visit")[column].to_numpy()
            for column in ("visit", "tile", "ra_middle", "dec_middle", "cos_dec")
        )
        self._bins = BinCounter()

    def take(self, batch: dict[str, NDArray[Any]]) -> None:
        """Count the sources whose visit has a tile."""
        place = np.searchsorted(self._visit, batch["visit"])
        place = np.minimum(place, self._visit.size - 1)
        has_tile = self._visit[place] == batch["visit"]
        place, ra, dec = place[has_tile], batch["ra"][has_tile], batch["dec"][has_tile]
        east = ra - self._ra_middle[place]
        east = (east - 360 * np.floor(east / 360 + 0.5)) * self._cos_dec[place]
        north = dec - self._dec_middle[place]
        x_bin, y_bin = (
            np.floor(offset / self._bin_deg) + self._n_bins // 2 for offset in (east, north)
        )
        self._bins.add(self._tile[place] * self._n_bins + y_bin, x_bin)

    def frame(self) -> pl.DataFrame:
        """Return the rows of `visit_grid`."""
        bins = self._bins.frame("row", "x_bin")
        tile = bins["row"] // self._n_bins
        of_tile = self._tiles[tile]  # they are numbered from 0
        return of_tile.select(
            "rerun",
            "tile",
            "visit",
            bins["x_bin"].cast(pl.Int32),
            (bins["row"] - tile * self._n_bins).cast(pl.Int32).alias("y_bin"),
            bins["n"],
            "n_visit",
            "n_visits",
            pl.lit(self._bin_deg).alias("bin_deg"),
            pl.lit(self._n_bins).alias("n_bins"),
        )
