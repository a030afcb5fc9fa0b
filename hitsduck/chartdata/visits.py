"""Visits and nights: densities, seeing, and where the sources of each visit lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from hitsduck.chartdata.asking import chosen, in_order, of_each

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: A chart of more visits than this puts neighbours together.
MOST_VISITS = 1_000
#: Bins along a tile of `visit_grid`: fewer where there are few sources.
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
    """Return the sources of each visit in bins of the sky, around the middle of the visit.

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
        One row per visit and filled bin, in order of visit, x and y, of the views
        ``visit_tile`` and ``visit_tile_bin``, which have the first 196 visits in order of
        time: ``rerun``, ``tile`` (of the visit, from 0), ``visit`` (as text), ``x_bin``
        (from 0, towards growing ra), ``y_bin`` (towards growing dec), ``n``,
        ``n_visit`` (sources of the visit), ``n_visits`` (of the rerun), ``bin_deg``,
        ``n_bins`` (along a tile: 64, or 32 where a visit in the middle has fewer than 500
        sources). Tiles are as large as the box of the sources, good or not, of the widest
        of those visits, and lie around the middle of each one's box.
    """
    (name,) = chosen(reruns, name or reruns.names[-1])
    column = "n_good_dia_sources" if good else "n_dia_sources"
    tiles = of_each(
        reruns,
        "visit_tile",
        f"""
        select
            visit,
            {column} as n_visit,
            bin_deg
        from {{view}}
        where {column} > 0
        order by tile
        """,
        names=[name],
        where=where,
    ).with_row_index("tile")
    bins = of_each(
        reruns,
        "visit_tile_bin",
        f"select visit, x_bin, y_bin, {column} as n from {{view}} where {column} > 0",
        names=[name],
        where=where,
    )
    n_bins, bin_deg = TILE_BINS, tiles["bin_deg"][0] if tiles.height else 1.0
    if tiles.select(pl.median("n_visit").fill_null(0)).item() < _FEW_SOURCES:
        n_bins, bin_deg = n_bins // 2, bin_deg * 2
        bins = bins.group_by("visit", pl.col("x_bin", "y_bin") // 2).agg(pl.sum("n"))
    told = tiles.select(
        pl.col("tile").cast(pl.Int64),
        "visit",
        pl.col("visit").cast(pl.String).alias("text"),
        "n_visit",
    )
    return (
        in_order(bins, "visit", "x_bin", "y_bin")
        .join(told, on="visit", how="left", maintain_order="left")
        .select(
            pl.lit(name).alias("rerun"),
            "tile",
            pl.col("text").alias("visit"),
            "x_bin",
            "y_bin",
            "n",
            "n_visit",
            pl.lit(tiles.height, dtype=pl.Int64).alias("n_visits"),
            pl.lit(bin_deg).alias("bin_deg"),
            pl.lit(n_bins, dtype=pl.Int32).alias("n_bins"),
        )
    )
