"""Maps of the sky: right ascension to the left, and true in their proportions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from hitsduck.charts import raster, theme

_WIDTH_PX, _HEIGHT_PX = 660, 480
_Layout = tuple[dict[str, Any], dict[str, Any], int, int]
#: A plus sign, for Vega's own cross of that size closes to a blot.
_PLUS = "M-1,0L1,0M0,-1L0,1"
_SIGNED = "datum.value ? format(datum.value, '+,d') : '0'"
#: Colours of a difference: fewer, as many, more.
_LESS, _SAME, _MORE = theme.BLUE, "#d9dde1", theme.VERMILLION


def sky_map(frame: pl.DataFrame, *, panels: pl.DataFrame, what: str = "sources") -> theme.AnyChart:
    """Draw where on the sky the sources or objects of one rerun lie.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.sky_map`, of one rerun.
    panels : polars.DataFrame
        Of `hitsduck.chartdata.sky_panels`.
    what : str
        What is counted, in words.

    Returns
    -------
    altair.HConcatChart
    """
    if frame.is_empty():
        return theme.empty(f"No {what} with a position on the sky.")
    scale = raster.CountScale.of(frame["n"])
    size = panels["bin_deg"][0]
    legend = raster.count_legend(scale, raster.of_bins(what, *_angle(size).split()))
    palette = raster.ramp(scale.colours)
    charts = _panels(frame, panels, lambda part: scale.index(part["n"]), palette, legend)
    name, shown, total = frame["rerun"][0], int(frame["n"].sum()), int(frame["n_total"][0])
    return theme.finished(
        charts,
        description=(
            f"Sky map of {theme.shown_of(shown, total)} {what} of {name} in {panels.height} "
            f"panels: {_told(panels)}. Right ascension grows to the left."
        ),
    )


def sky_overplot(
    frame: pl.DataFrame, *, panels: pl.DataFrame, what: str = "objects"
) -> theme.AnyChart:
    """Draw several reruns over each other: where only one has something, in its colour.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.sky_map`, of two reruns or more.
    panels : polars.DataFrame
        Of `hitsduck.chartdata.sky_panels`.
    what : str
        What is drawn, in words.

    Returns
    -------
    altair.HConcatChart
    """
    names = frame["rerun"].unique(maintain_order=True).to_list()
    if not names:
        return theme.empty(f"No {what} with a position on the sky.")
    categories = [f"only {name}" for name in names]
    # Two as in a difference: colours that stand out from the grey in the dark as well.
    shades = [_LESS, _MORE] if len(names) == 2 else theme.colours(names)
    if len(names) > 1:
        categories.append("all of them" if len(names) > 2 else "both")
        shades.append("#d0d6dc")
    if len(names) > 2:
        categories.append("some of them")
        shades.append("#7b8794")
    order = {name: number for number, name in enumerate(names)}
    bins = (
        frame.with_columns(pl.col("rerun").replace_strict(order, return_dtype=pl.Int64).alias("at"))
        .group_by("panel", "ra_bin", "dec_bin")
        .agg(pl.col("at").n_unique().alias("n_reruns"), pl.col("at").first())
        .with_columns(
            pl.when(pl.col("n_reruns") == 1)
            .then(pl.col("at"))
            .when(pl.col("n_reruns") == len(names))
            .then(len(names))
            .otherwise(len(names) + 1)
            .alias("category")
        )
    )
    charts = _panels(
        bins,
        panels,
        lambda part: (1 + part["category"].to_numpy()).astype(np.uint8),
        shades,
        _category_legend(categories, shades),
    )
    n_bins = dict(bins.group_by("category").len().rows())
    told = ", ".join(
        f"{words} {theme.many(n_bins.get(i, 0))}" for i, words in enumerate(categories)
    )
    return theme.finished(
        charts,
        description=(
            f"Sky map of the {what} of {', '.join(names)} over each other, in bins of "
            f"{panels['bin_deg'][0] * 3600:.0f} arcsec. Bins with {what} of {told}."
        ),
    )


def sky_difference(
    frame: pl.DataFrame, *, panels: pl.DataFrame, left: str, right: str, what: str = "sources"
) -> theme.AnyChart:
    """Draw where the right rerun has more or fewer than the left one.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.sky_map`, of both.
    panels : polars.DataFrame
        Of `hitsduck.chartdata.sky_panels`.
    left, right : str
        The reruns.
    what : str
        What is counted, in words.

    Returns
    -------
    altair.HConcatChart
    """
    sign = pl.when(pl.col("rerun") == right).then(1).otherwise(-1)
    coarse = _coarser(frame.filter(pl.col("rerun").is_in([left, right])), panels)
    bins = (
        coarse[0]
        .group_by("panel", "ra_bin", "dec_bin")
        .agg((pl.col("n") * sign).sum().alias("change"))
    )
    if bins.is_empty():
        return theme.empty(f"No {what} of {left} or {right} with a position on the sky.")
    panels = coarse[1]
    extent = max(float(bins["change"].abs().quantile(0.995) or 1), 1.0)
    half = raster.N_STEPS // 2
    palette = raster.ramp((_LESS, _SAME, _MORE))

    def index(part: pl.DataFrame) -> raster.Indices:
        places = np.clip(part["change"].to_numpy() / extent, -1, 1) * half
        return (1 + half + np.round(places)).astype(np.uint8)

    legend = (
        alt.Chart(pl.DataFrame({"shown": [-extent, extent]}))
        .mark_point(opacity=0, size=0)
        .encode(
            color=alt.Color(
                "shown:Q",
                title=[f"{what}", f"{right} - {left}"],
                scale=alt.Scale(
                    domain=[-extent, 0, extent], range=[_LESS, _SAME, _MORE], interpolate="rgb"
                ),
                legend=alt.Legend(
                    orient="right",
                    gradientLength=180,
                    labelExpr=_SIGNED,
                    tickCount=5,
                    values=theme.whole_ticks(-extent, extent),
                ),
            )
        )
    )
    more, fewer = int((bins["change"] > 0).sum()), int((bins["change"] < 0).sum())
    return theme.finished(
        _panels(bins, panels, index, palette, legend),
        description=(
            f"Sky map of the difference in {what}, {right} minus {left}, in bins of "
            f"{_angle(panels['bin_deg'][0])}: more in {theme.many(more)} bins, fewer in "
            f"{theme.many(fewer)}."
        ),
    )


def sky_zoom(
    frame: pl.DataFrame, *, window: Sequence[float], what: str = "objects"
) -> theme.AnyChart:
    """Draw the sources or objects of a small window one by one, each rerun in its own way.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.sky_points`: one row per point.
    window : (float, float, float, float)
        As there (deg).
    what : str
        What is drawn, in words.

    Returns
    -------
    altair.Chart
    """
    if frame.is_empty():
        return theme.empty(f"No {what} in this window of the sky.")
    names = frame["rerun"].unique(maintain_order=True).to_list()
    numbers = dict(frame.group_by("rerun").len().rows())
    labels = {name: f"{name} ({theme.many(numbers[name])})" for name in names}
    turned = frame.with_columns(
        (pl.col("ra") + 360.0 * ((window[0] - pl.col("ra")) / 360.0).ceil()).alias("ra_turned"),
        pl.col("rerun").replace_strict(labels, return_dtype=pl.String).alias("label"),
        pl.col("ra", "dec").round(7),
    )
    kinds = [labels[name] for name in names]
    shapes = ["circle", _PLUS, "square", "triangle-up", "diamond", "stroke"]
    panel = dict(zip(("ra_low", "ra_high", "dec_low", "dec_high"), window, strict=True))
    ra_axis, dec_axis, width, height = _axes(panel, 440 / (window[3] - window[2]))
    # Later reruns are drawn smaller, so that the earlier show around them.
    sizes = [70 / (1 + number) ** 0.7 for number in range(len(names))]
    chart = (
        alt.Chart(turned)
        .mark_point(filled=False, strokeWidth=1.4, opacity=1, clip=True)
        .encode(
            x=alt.X("ra_turned:Q", **ra_axis),
            y=alt.Y("dec:Q", **dec_axis),
            color=alt.Color(
                "label:N",
                title=None,
                sort=kinds,
                scale=alt.Scale(domain=kinds, range=theme.colours(names)),
                legend=alt.Legend(orient="top", columns=4, symbolStrokeWidth=2),
            ),
            shape=alt.Shape(
                "label:N",
                title=None,
                sort=kinds,
                scale=alt.Scale(
                    domain=kinds, range=[shapes[i % len(shapes)] for i in range(len(kinds))]
                ),
            ),
            size=alt.Size(
                "label:N", title=None, scale=alt.Scale(domain=kinds, range=sizes), sort=kinds
            ),
            tooltip=[
                alt.Tooltip("rerun:N"),
                alt.Tooltip("id:N", title=f"id of the {what.rstrip('s')}"),
                alt.Tooltip("ra:Q", format=".6f", title="ra (deg)"),
                alt.Tooltip("dec:Q", format=".6f", title="dec (deg)"),
            ],
        )
        .properties(width=width, height=height)
        .add_params(raster.zoom("sky_zoom"))
    )
    return theme.finished(
        chart,
        description=(
            f"Window of the sky, ra {window[0]:.2f} to {window[1]:.2f}, dec {window[2]:.2f} to "
            f"{window[3]:.2f} deg, with the {what} of {', '.join(kinds)}."
        ),
    )


def sky_axes(panels: pl.DataFrame) -> list[tuple[dict[str, Any], _Layout]]:
    """Return every panel with its axes and its size on the screen, all to one scale."""
    rows = panels.rows(named=True)
    widths = [
        (row["ra_high"] - row["ra_low"])
        * max(math.cos(math.radians((row["dec_low"] + row["dec_high"]) / 2)), 0.01)
        for row in rows
    ]
    tallest = max(row["dec_high"] - row["dec_low"] for row in rows)
    scale = min((_WIDTH_PX - 60 * (len(rows) - 1)) / sum(widths), _HEIGHT_PX / tallest)
    return [(row, _axes(row, scale)) for row in rows]


def _axes(panel: dict[str, Any], px_per_deg: float) -> _Layout:
    """Return the axes of one panel, and its size on the screen."""
    cos = math.cos(math.radians((panel["dec_low"] + panel["dec_high"]) / 2))
    width = (panel["ra_high"] - panel["ra_low"]) * max(cos, 0.01) * px_per_deg
    height = (panel["dec_high"] - panel["dec_low"]) * px_per_deg
    ra = {
        "title": "ra (deg)",
        "scale": alt.Scale(
            domain=[panel["ra_low"], panel["ra_high"]], reverse=True, nice=False, zero=False
        ),
        "axis": alt.Axis(
            grid=False,
            tickCount=max(2, round(width / 80)),
            labelExpr="format((datum.value % 360 + 360) % 360, '.9~r')",
        ),
    }
    dec = {
        "title": "dec (deg)",
        "scale": alt.Scale(domain=[panel["dec_low"], panel["dec_high"]], nice=False, zero=False),
        "axis": alt.Axis(grid=False, tickCount=max(2, round(height / 60)), format=".9~r"),
    }
    return ra, dec, max(round(width), 20), max(round(height), 20)


def _panels(
    bins: pl.DataFrame,
    panels: pl.DataFrame,
    index: Any,
    palette: Sequence[str],
    legend: alt.Chart,
) -> alt.HConcatChart:
    """Draw one picture for each panel, side by side, to the same scale."""
    charts: list[Any] = []
    for number, (row, (ra, dec, width, height)) in enumerate(sky_axes(panels)):
        part = bins.filter(pl.col("panel") == row["panel"])
        grid = raster.Grid(
            x_low=row["ra_low"],
            y_low=row["dec_low"],
            x_size=row["ra_bin_deg"],
            y_size=row["bin_deg"],
            n_x=max(math.ceil((row["ra_high"] - row["ra_low"]) / row["ra_bin_deg"]), 1) + 1,
            n_y=max(math.ceil((row["dec_high"] - row["dec_low"]) / row["bin_deg"]), 1) + 1,
            x_reversed=True,
        )
        picture = grid.image(part["ra_bin"], part["dec_bin"], index(part))
        corner = pl.DataFrame({"ra": [row["ra_low"]], "dec": [row["dec_low"]]})
        axes = (
            alt.Chart(corner)
            .mark_point(opacity=0, size=0)
            .encode(
                x=alt.X("ra:Q", **ra),
                y=alt.Y("dec:Q", **(dec if number == 0 else {**dec, "title": None})),
            )
            .add_params(raster.zoom(f"sky_zoom_{number}"))
        )
        layers = [axes, raster.image_layer(picture, palette, grid)]
        if number == panels.height - 1:
            layers.append(legend)
        charts.append(
            alt.layer(*layers).properties(
                width=width, height=height, view=alt.ViewConfig(fill=raster.PANEL)
            )
        )
    return alt.hconcat(*charts, spacing=20)


def _coarser(
    frame: pl.DataFrame, panels: pl.DataFrame, factor: int = 6
) -> tuple[pl.DataFrame, ...]:
    """Put several bins together, for few counts in a bin differ by chance alone."""
    bins = frame.with_columns(pl.col("ra_bin") // factor, pl.col("dec_bin") // factor)
    return bins, panels.with_columns(pl.col("bin_deg") * factor, pl.col("ra_bin_deg") * factor)


def _category_legend(categories: Sequence[str], shades: Sequence[str]) -> alt.Chart:
    legend: alt.Chart = (
        alt.Chart(pl.DataFrame({"shown": list(categories)}))
        .mark_point(filled=True, opacity=0, size=0)
        .encode(
            color=alt.Color(
                "shown:N",
                title=None,
                sort=list(categories),
                scale=alt.Scale(domain=list(categories), range=list(shades)),
                legend=alt.Legend(orient="right", symbolType="square", symbolOpacity=1),
            )
        )
    )
    return legend


def _angle(degrees: float) -> str:
    """Return the size of a bin in the unit in which it is a handy number."""
    return f"{degrees * 60:.2g} arcmin" if degrees * 60 >= 0.1 else f"{degrees * 3600:.2g} arcsec"


def _told(panels: pl.DataFrame) -> str:
    return "; ".join(
        f"ra {row['ra_low'] % 360:.2f} to {row['ra_high'] % 360:.2f}, dec {row['dec_low']:.2f} to "
        f"{row['dec_high']:.2f} deg"
        for row in panels.iter_rows(named=True)
    )
