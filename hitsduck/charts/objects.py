"""Objects: on the sky by their sources, one of them from near, its light curve."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from hitsduck.charts import raster, theme
from hitsduck.charts.sky import sky_axes

_SIDE_PX = 420
#: Bands from blue to red, and what else a file may call a band.
_BAND_COLOURS = {
    "u": theme.PURPLE,
    "g": theme.GREEN,
    "r": theme.VERMILLION,
    "i": theme.ORANGE,
    "z": theme.BLUE,
    "y": theme.SKY,
}


def objects_on_sky(frame: pl.DataFrame, *, panels: pl.DataFrame) -> theme.AnyChart:
    """Draw the objects with many flawless sources, sized and coloured by their number.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.objects_on_sky`: one row per object.
    panels : polars.DataFrame
        Of `hitsduck.chartdata.sky_panels`.

    Returns
    -------
    altair.HConcatChart
    """
    if frame.is_empty():
        return theme.empty("No object all of whose sources are good.")
    # Big ones first, so that the small ones lie above them.
    fewest, most = (theme.extreme(frame, "n_sources", which) for which in theme.ENDS)
    ticks = theme.whole_ticks(fewest, most)
    shown_total = theme.shown_of(frame.height, int(frame["n_total"][0]))
    charts: list[Any] = []
    for number, (panel, layout) in enumerate(sky_axes(panels)):
        ra, dec, width, height = layout
        turned = pl.col("ra") + 360.0 * ((panel["ra_low"] - pl.col("ra")) / 360.0).ceil()
        part = (
            frame.with_columns(turned.alias("ra_turned"))
            .filter(
                pl.col("ra_turned").is_between(panel["ra_low"], panel["ra_high"]),
                pl.col("dec").is_between(panel["dec_low"], panel["dec_high"]),
            )
            .select("id", pl.col("ra", "ra_turned", "dec").round(5), "n_sources")
        )
        charts.append(
            alt.Chart(part)
            .mark_circle(stroke="white", strokeWidth=0.4, opacity=0.9, clip=True)
            .encode(
                x=alt.X("ra_turned:Q", **ra),
                y=alt.Y("dec:Q", **(dec if number == 0 else {**dec, "title": None})),
                size=alt.Size(
                    "n_sources:Q",
                    title="sources",
                    scale=alt.Scale(domain=[fewest, most], range=[12, 220], zero=False),
                    legend=alt.Legend(orient="right", format=",d", tickCount=4, values=ticks),
                ),
                color=alt.Color(
                    "n_sources:Q",
                    title="sources",
                    scale=alt.Scale(
                        domain=[fewest, most],
                        range=list(raster.COUNT_RAMP[1:]),
                        interpolate="rgb",
                    ),
                    legend=alt.Legend(orient="right", format=",d", tickCount=4, values=ticks),
                ),
                tooltip=[
                    alt.Tooltip("id:N", title="diaObjectId"),
                    alt.Tooltip("n_sources:Q", format=",", title="sources"),
                    alt.Tooltip("ra:Q", format=".5f", title="ra (deg)"),
                    alt.Tooltip("dec:Q", format=".5f", title="dec (deg)"),
                ],
            )
            .properties(width=width, height=height, view=alt.ViewConfig(fill=raster.PANEL))
            .add_params(raster.zoom(f"object_zoom_{number}"))
        )
    return theme.finished(
        alt.hconcat(*charts, spacing=20),
        description=(
            f"Sky map of {shown_total} objects of {frame['rerun'][0]} with at least "
            f"{frame['min_sources'][0]} sources, none of them with a bad flag; at most "
            f"{theme.many(most)} sources in one."
        ),
    )


def object_sources(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw the sources of one object around it, good and bad apart, with the PSF's size.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.object_sources`: one row per source.

    Returns
    -------
    altair.LayerChart
    """
    known = frame.filter(pl.all_horizontal(pl.col("east_arcsec", "north_arcsec").is_finite()))
    if known.is_empty():
        return theme.empty("This object has no source with a position.")
    shown = known.head(theme.MAX_MARKS - 500)
    fwhm = _median(known, "psf_fwhm_arcsec")
    farthest = float(
        known.select(pl.max_horizontal(pl.col("east_arcsec", "north_arcsec").abs()).max()).item()
    )
    half = 1.15 * max(farthest, (fwhm or 0.0) / 2, 0.1)
    scale = alt.Scale(domain=[-half, half], nice=False)
    x = alt.X(
        "east_arcsec:Q",
        title="east of the object (arcsec)",
        scale=alt.Scale(domain=[-half, half], nice=False, reverse=True),
        axis=alt.Axis(tickCount=6),
    )
    y = alt.Y(
        "north_arcsec:Q",
        title="north of the object (arcsec)",
        scale=scale,
        axis=alt.Axis(tickCount=6),
    )
    n_good = int(known["is_good"].sum())
    labels = {True: f"good ({n_good})", False: f"bad ({known.height - n_good})"}
    kinds = [labels[True], labels[False]]
    points = (
        alt.Chart(
            shown.with_columns(
                pl.col("is_good")
                .fill_null(False)
                .replace_strict(labels, return_dtype=pl.String)
                .alias("kind"),
                pl.col("east_arcsec", "north_arcsec", "psf_snr").round(4),
            ).drop("rerun", "object")
        )
        .mark_point(filled=True, size=55, opacity=0.85, clip=True)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "kind:N",
                title=None,
                sort=kinds,
                scale=alt.Scale(domain=kinds, range=[theme.BLUE, theme.VERMILLION]),
                legend=alt.Legend(orient="top"),
            ),
            shape=alt.Shape(
                "kind:N",
                title=None,
                sort=kinds,
                scale=alt.Scale(domain=kinds, range=["circle", "cross"]),
            ),
            tooltip=[
                alt.Tooltip("id:N", title="diaSourceId"),
                alt.Tooltip("visit:N"),
                alt.Tooltip("psf_snr:Q", format=".1f"),
                alt.Tooltip("east_arcsec:Q", format=".3f", title="east (arcsec)"),
                alt.Tooltip("north_arcsec:Q", format=".3f", title="north (arcsec)"),
            ],
        )
        .add_params(raster.zoom("object_sources_zoom"))
    )
    cross = (
        alt.Chart(pl.DataFrame({"east_arcsec": [0.0], "north_arcsec": [0.0]}))
        .mark_point(shape="cross", size=250, color=theme.NEUTRAL, strokeWidth=1.2, filled=False)
        .encode(x=x, y=y)
    )
    layers = [cross, points]
    if fwhm:
        angles = np.linspace(0, 2 * math.pi, 73)
        circle = pl.DataFrame(
            {
                "east_arcsec": fwhm / 2 * np.cos(angles),
                "north_arcsec": fwhm / 2 * np.sin(angles),
                "angle": angles,
            }
        )
        layers.insert(
            0,
            alt.Chart(circle)
            .mark_line(color=theme.NEUTRAL, strokeDash=[4, 3], strokeWidth=1.2, clip=True)
            .encode(x=x, y=y, order=alt.Order("angle:Q")),
        )
    size = f"; the dashed circle is the PSF, {fwhm:.2f} arcsec FWHM" if fwhm else ""
    return theme.finished(
        alt.layer(*layers).properties(width=_SIDE_PX, height=_SIDE_PX),
        description=(
            f"Sources of object {frame['object'][0]} of {frame['rerun'][0]} around it, north up "
            f"and east left: {theme.shown_of(shown.height, frame.height)} sources, {n_good} of "
            f"them good{size}."
        ),
    )


def light_curve(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw the difference fluxes of one object over time, by band, with their errors.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.light_curve`: one row per measurement.

    Returns
    -------
    altair.LayerChart
    """
    known = frame.filter(
        pl.col("psfFlux").is_not_null() & pl.col("midpointMjdTai").is_not_null()
    ).with_columns(pl.col("band").fill_null("no band"))
    if known.is_empty():
        return theme.empty("This object has no flux with a time.")
    shown = (
        known.head((theme.MAX_MARKS - 500) // 2)
        .with_columns(
            (pl.col("psfFlux") - pl.col("psfFluxErr").fill_null(0)).round(2).alias("low"),
            (pl.col("psfFlux") + pl.col("psfFluxErr").fill_null(0)).round(2).alias("high"),
            pl.col("psfFlux", "psfFluxErr").round(2),
            pl.when(pl.col("is_good").fill_null(True))
            .then("kind")
            .otherwise(pl.format("bad {}", "kind"))
            .alias("kind"),
        )
        .drop("rerun", "object", "is_good")
    )
    bands = shown["band"].unique().sort().to_list()
    bands.sort(key=lambda band: list(_BAND_COLOURS).index(band) if band in _BAND_COLOURS else 99)
    kinds = ["DIA source", "bad DIA source", "forced"]
    present = [kind for kind in kinds if kind in set(shown["kind"])]
    shapes = dict(zip(kinds, ("circle", "cross", "diamond"), strict=True))
    x = alt.X(
        "midpointMjdTai:Q",
        title="midpointMjdTai (d)",
        scale=alt.Scale(zero=False, padding=12),
        axis=alt.Axis(format=".6~f", tickCount=7),
    )
    colour = alt.Color(
        "band:N",
        title="band",
        sort=bands,
        scale=alt.Scale(
            domain=bands, range=[_BAND_COLOURS.get(band, theme.NEUTRAL) for band in bands]
        ),
    )
    base = alt.Chart(shown)
    zero = (
        alt.Chart(pl.DataFrame({"zero": [0.0]}))
        .mark_rule(color=theme.NEUTRAL, strokeWidth=1)
        .encode(y=alt.Y("zero:Q"))
    )
    errors = base.mark_rule(strokeWidth=1, opacity=0.6).encode(
        x=x, y=alt.Y("low:Q", title="psfFlux (nJy)"), y2=alt.Y2("high:Q"), color=colour
    )
    points = [
        base.transform_filter(alt.datum.kind == kind)
        # Forced fluxes lie where those of the sources lie: a rim around, so that both show.
        .mark_point(
            size=130 if kind == "forced" else 45,
            opacity=1,
            filled=kind != "forced",
            strokeWidth=1.2,
        )
        .encode(
            x=x,
            y=alt.Y("psfFlux:Q", title="psfFlux (nJy)", axis=alt.Axis(format=",d")),
            color=colour,
            shape=alt.Shape(
                "kind:N",
                title="flux of",
                sort=present,
                legend=alt.Legend(symbolFillColor=theme.NEUTRAL, symbolStrokeColor=theme.NEUTRAL),
                scale=alt.Scale(domain=present, range=[shapes[kind] for kind in present]),
            ),
            tooltip=[
                alt.Tooltip("kind:N"),
                alt.Tooltip("id:N"),
                alt.Tooltip("band:N"),
                alt.Tooltip("midpointMjdTai:Q", format=".5f", title="MJD (TAI)"),
                alt.Tooltip("psfFlux:Q", format=",.1f", title="psfFlux (nJy)"),
                alt.Tooltip("psfFluxErr:Q", format=",.1f", title="error (nJy)"),
            ],
        )
        for kind in present
    ]
    points[0] = points[0].add_params(raster.zoom("light_curve_zoom"))
    return theme.finished(
        alt.layer(zero, errors, *points).properties(width=theme.WIDTH_PX - 60, height=320),
        description=(
            f"Light curve of object {frame['object'][0]} of {frame['rerun'][0]}: "
            f"{theme.shown_of(shown.height, frame.height)} difference fluxes in band "
            f"{', '.join(bands)}, from "
            f"{theme.extreme(shown, 'low', 'min'):,.0f} to "
            f"{theme.extreme(shown, 'high', 'max'):,.0f} nJy."
        ),
    )


def _median(frame: pl.DataFrame, column: str) -> float | None:
    median: float | None = frame.select(pl.col(column).cast(pl.Float64).median()).item()
    return median
