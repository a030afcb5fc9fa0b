"""Visits and nights: densities, seeing, and where the sources of each visit lie."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from hitsduck.charts import raster, theme

#: Tiles are of this size, and larger where so few of them would fill no width.
_TILE_PX, _FEW_TILES_PX = 62, 480
_MOST_TILE_PX = 240
#: Points of so few visits are large.
_FEW_VISITS = 20
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")


def visits(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw sources per square degree and median seeing of every visit, in order of time.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.visits`: one row per rerun and visit. Of very many visits
        neighbours are put together.

    Returns
    -------
    altair.VConcatChart
    """
    if frame.is_empty():
        return theme.empty("No visit.")
    names = frame["rerun"].unique(maintain_order=True).to_list()
    has_density = frame["density_deg2"].is_not_null().any()
    shown, together = _fewer(frame, len(names))
    # The reruns stand side by side, or equal ones would hide each other.
    aside = {name: (i - (len(names) - 1) / 2) * 0.6 / len(names) for i, name in enumerate(names)}
    shown = shown.with_columns(
        (pl.col("place") + pl.col("rerun").replace_strict(aside, return_dtype=pl.Float64)).alias(
            "shown_place"
        )
    )
    last = theme.extreme(shown, "place", "max")
    x = alt.X(
        "shown_place:Q",
        title="visit, in order of time" + (f" ({together} together)" if together > 1 else ""),
        scale=alt.Scale(domain=[0.5, last + 0.5], nice=False),
        axis=alt.Axis(format=",d", grid=False, values=_places(last)),
    )
    tooltip = [
        alt.Tooltip("rerun:N"),
        alt.Tooltip("visit:N"),
        alt.Tooltip("night:N"),
        alt.Tooltip("band:N"),
        alt.Tooltip("n:Q", format=",", title="sources"),
        alt.Tooltip("n_images:Q", format=",", title="images"),
        alt.Tooltip("density_deg2:Q", format=",.1f", title="per deg²"),
        alt.Tooltip("median_seeing_arcsec:Q", format=".2f", title="seeing (arcsec)"),
    ]
    nights = _night_borders(shown)
    panels: list[Any] = []
    for column, title, height in (
        ("density_deg2" if has_density else "n", None, 230),
        ("median_seeing_arcsec", "median seeing (arcsec)", 150),
    ):
        y_title = title or ("sources per deg²" if has_density else "sources")
        points = (
            alt.Chart(shown.filter(pl.col(column).is_not_null()))
            .mark_point(filled=True, size=24 if last > _FEW_VISITS else 70, opacity=1)
            .encode(
                x=x if column == "median_seeing_arcsec" else _bare(x),
                y=alt.Y(f"{column}:Q", title=y_title, scale=alt.Scale(zero=False, padding=6)),
                color=alt.Color(
                    "rerun:N",
                    title=None,
                    sort=names,
                    scale=theme.colour_scale(names),
                    legend=alt.Legend(orient="top", columns=6),
                ),
                shape=alt.Shape(
                    "rerun:N",
                    title=None,
                    sort=names,
                    scale=alt.Scale(
                        domain=names, range=[_SHAPES[i % len(_SHAPES)] for i in range(len(names))]
                    ),
                ),
                tooltip=tooltip,
            )
        )
        borders = (
            alt.Chart(nights)
            .mark_rule(color=theme.NEUTRAL, strokeDash=[5, 3], strokeWidth=1)
            .encode(x=alt.X("place:Q"))
        )
        panels.append(alt.layer(borders, points).properties(width=theme.WIDTH_PX, height=height))
    lowest, highest = frame.select(
        pl.min("median_seeing_arcsec").alias("low"), pl.max("median_seeing_arcsec").alias("high")
    ).row(0)
    told = f" Seeing from {lowest:.2f} to {highest:.2f} arcsec." if lowest is not None else ""
    n_visits = frame["visit"].n_unique()
    return theme.finished(
        alt.vconcat(*panels, spacing=12).resolve_scale(x="shared"),
        description=(
            f"Sources per square degree, and median seeing, of {theme.many(n_visits)} visits in "
            f"order of time for {', '.join(names)}; dashed lines part the nights.{told}"
        ),
    )


def nights(frame: pl.DataFrame, *, good: bool = True) -> theme.AnyChart:
    """Draw the mean number of sources per visit, and the visits, of every night.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.nights`: one row per rerun and night.
    good : bool
        Good sources.

    Returns
    -------
    altair.VConcatChart
    """
    if frame.is_empty():
        return theme.empty("No night.")
    names = frame["rerun"].unique(maintain_order=True).to_list()
    kind = "good_" if good else ""
    mean, error = f"mean_{kind}dia_sources_per_visit", f"stderr_{kind}dia_sources_per_visit"
    shown = frame.select(
        "rerun",
        pl.col("night").cast(pl.String),
        "n_visits",
        pl.col(mean).alias("mean"),
        pl.col(error).alias("error"),
        (pl.col(mean) - pl.col(error).fill_null(0)).alias("low"),
        (pl.col(mean) + pl.col(error).fill_null(0)).alias("high"),
    )
    n_nights = shown["night"].n_unique()
    first, last = shown.select(pl.min("night").alias("first"), pl.max("night").alias("last")).row(0)
    width = min(max(90 * n_nights, 260), theme.WIDTH_PX)
    axis = alt.Axis(labelAngle=0 if n_nights <= width // 90 else -45, grid=False)
    colour = alt.Color(
        "rerun:N",
        title=None,
        sort=names,
        scale=theme.colour_scale(names),
        legend=alt.Legend(orient="top", columns=6),
    )
    base = alt.Chart(shown).encode(
        x=alt.X("night:N", title=None, axis=None),
        xOffset=alt.XOffset("rerun:N", sort=names, scale=alt.Scale(padding=0.5)),
        color=colour,
    )
    tooltip = [
        alt.Tooltip("rerun:N"),
        alt.Tooltip("night:N"),
        alt.Tooltip("mean:Q", format=",.1f", title="mean per visit"),
        alt.Tooltip("error:Q", format=",.1f", title="standard error"),
        alt.Tooltip("n_visits:Q", format=",", title="visits"),
    ]
    means = alt.layer(
        base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            y=alt.Y(
                "mean:Q",
                title=("good " if good else "") + "sources per visit",
                scale=alt.Scale(zero=False),
            ),
            tooltip=tooltip,
        ),
    ).properties(width=width, height=220)
    most = int(theme.extreme(shown, "n_visits", "max"))
    bars = (
        alt.Chart(shown)
        .mark_bar()
        .encode(
            x=alt.X("night:N", title="night (date of the evening)", axis=axis),
            xOffset=alt.XOffset("rerun:N", sort=names),
            y=alt.Y(
                "n_visits:Q",
                title="visits",
                axis=alt.Axis(
                    format=",d",
                    tickCount=3,
                    values=[0, most] if most < 4 else alt.Undefined,
                ),
            ),
            color=colour,
            tooltip=tooltip,
        )
        .properties(width=width, height=90)
    )
    return theme.finished(
        alt.vconcat(means, bars, spacing=10),
        description=(
            f"Mean number of {'good ' if good else ''}sources per visit with its standard error, "
            f"and number of visits, in {n_nights} nights from {first} to "
            f"{last}, for {', '.join(names)}."
        ),
    )


def seeing(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw the distribution of the seeing over the visits, in arcsec and in pixels.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.seeing`: one row per rerun and visit.

    Returns
    -------
    altair.HConcatChart
    """
    if frame.is_empty():
        return theme.empty("The seeing is not known: the files hold no usable ixxPSF.")
    names = frame["rerun"].unique(maintain_order=True).to_list()
    panels = []
    for column, title in (
        ("seeing_arcsec", "seeing FWHM (arcsec)"),
        ("seeing_px", "seeing FWHM (px)"),
    ):
        values = frame.filter(pl.col(column).is_not_null())
        if not values.is_empty():
            panels.append(_steps(_histogram(values, column), names, title, "visits", 330))
    median = theme.extreme(frame, "seeing_arcsec", "median")
    return theme.finished(
        alt.hconcat(*panels, spacing=24),
        description=(
            f"Distribution of the seeing (FWHM of the PSF, median of each visit) of "
            f"{', '.join(names)}: median {median:.2f} arcsec over "
            f"{theme.many(frame['visit'].n_unique())} visits."
        ),
    )


def visit_grid(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw the sky of every visit as a small tile.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.visit_grid`: one row per visit and filled bin.

    Returns
    -------
    altair.LayerChart
    """
    if frame.is_empty():
        return theme.empty("No visit with sources on the sky.")
    tiles = frame.group_by("tile").agg(pl.first("visit", "n_visit")).sort("tile")
    n_bins = int(frame["n_bins"][0])
    n_across = min(math.ceil(math.sqrt(tiles.height * 1.5)), 12, tiles.height)
    n_down = math.ceil(tiles.height / n_across)
    # A border between the tiles, and room for the number above.
    border, above = n_bins // 16, n_bins * 5 // 32
    across, down = n_bins + border, n_bins + border + above
    column, row = pl.col("tile") % n_across, pl.col("tile") // n_across
    placed = frame.with_columns(
        # East is left.
        (column * across + (n_bins - 1 - pl.col("x_bin").clip(0, n_bins - 1))).alias("x"),
        (row * down + above + (n_bins - 1 - pl.col("y_bin").clip(0, n_bins - 1))).alias("y"),
    )
    picture = np.zeros((n_down * down, n_across * across), dtype=np.uint8)
    scale = raster.CountScale.of(frame["n"])
    for tile in tiles["tile"]:
        top, left = (tile // n_across) * down + above, (tile % n_across) * across
        picture[top : top + n_bins, left : left + n_bins] = raster.N_STEPS + 1
    picture[placed["y"].to_numpy(), placed["x"].to_numpy()] = scale.index(placed["n"])
    grid = raster.Grid(
        x_low=0,
        y_low=0,
        x_size=1,
        y_size=1,
        n_x=n_across * across,
        n_y=n_down * down,
        y_reversed=True,
    )
    labels = tiles.with_columns(
        (column * across + n_bins / 2).alias("x"), (row * down + above / 2).alias("y")
    )
    words = (
        alt.Chart(labels)
        .mark_text(fontSize=10, baseline="middle")
        .encode(
            x=alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, n_across * across], nice=False)),
            y=alt.Y(
                "y:Q",
                axis=None,
                scale=alt.Scale(domain=[0, n_down * down], reverse=True, nice=False),
            ),
            text=alt.Text("visit:N"),
            tooltip=[
                alt.Tooltip("visit:N"),
                alt.Tooltip("n_visit:Q", format=",", title="sources"),
            ],
        )
    )
    tile_px = min(max(_TILE_PX, _FEW_TILES_PX // n_across), _MOST_TILE_PX)
    n_visits, extent = int(frame["n_visits"][0]), frame["bin_deg"][0] * n_bins
    bin_arcmin = frame["bin_deg"][0] * 60
    told = theme.shown_of(tiles.height, n_visits)
    return theme.finished(
        alt.layer(
            # The picture has its rows from the top already.
            raster.image_layer(
                picture, [*raster.ramp(scale.colours), raster.TILE], grid, has_axes=False
            ),
            words,
            raster.count_legend(scale, raster.of_bins("sources", f"{bin_arcmin:.2g}", "arcmin")),
        ).properties(
            width=min(n_across * tile_px, theme.WIDTH_PX),
            height=round(
                min(n_across * tile_px, theme.WIDTH_PX) / across / n_across * down * n_down
            ),
        ),
        description=(
            f"The sky of each visit of {frame['rerun'][0]} as a tile of {extent:.2f} deg, north "
            f"up and east left, in order of time: {told} visits."
        ),
    )


def _bare(x: alt.X) -> alt.X:
    """Return an axis without words, above one that has them."""
    return alt.X(
        "shown_place:Q",
        title=None,
        scale=x["scale"],
        axis=alt.Axis(labels=False, grid=False, values=x["axis"]["values"]),
    )


def _places(last: float) -> list[int]:
    """Return the ticks of places that are counted from 1."""
    step = next(
        step * 10**power
        for power in range(9)
        for step in (1, 2, 5)
        if last / (step * 10**power) <= 18
    )
    return sorted({1, *range(step, int(last) + 1, step)} - ({2} if step > 2 else set()))


def _fewer(frame: pl.DataFrame, n_names: int) -> tuple[pl.DataFrame, int]:
    """Put neighbouring visits together where there are more than can be drawn."""
    n_places = int(theme.extreme(frame, "place", "max"))
    together = math.ceil(2 * n_places * n_names / (theme.MAX_MARKS - 500))
    columns = ["rerun", "visit", "night", "band", "place", "n", "n_images"]
    measured = ["density_deg2", "median_seeing_arcsec"]
    rows = frame.with_columns(pl.col("night").cast(pl.String)).select(*columns, *measured)
    if together > 1:
        rows = (
            rows.with_columns(((pl.col("place") - 1) // together).alias("group"))
            .group_by("rerun", "group", maintain_order=True)
            .agg(
                pl.format("{} to {}", pl.first("visit"), pl.last("visit")).alias("visit"),
                pl.first("night", "band"),
                pl.mean("place"),
                pl.sum("n", "n_images"),
                pl.median(*measured),
            )
            .drop("group")
        )
    return rows.with_columns(pl.col(measured).round(4)), together


def _night_borders(shown: pl.DataFrame) -> pl.DataFrame:
    first = shown.group_by("night").agg(pl.min("place")).filter(pl.col("night").is_not_null())
    return (
        first.sort("place")
        .slice(1)
        .select((pl.col("place").cast(pl.Float64) - 0.5).alias("place"))
        .head(200)
    )


def _histogram(values: pl.DataFrame, column: str, n_bins: int = 24) -> pl.DataFrame:
    low, high = (theme.extreme(values, column, which) for which in theme.ENDS)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    sides = np.linspace(low, high, n_bins + 1)
    parts = []
    for (name,), part in values.group_by("rerun", maintain_order=True):
        counts, _ = np.histogram(part[column].to_numpy(), sides)
        parts.append(
            pl.DataFrame(
                {"rerun": [name] * n_bins, "low": sides[:-1], "high": sides[1:], "n": counts}
            )
        )
    return pl.concat(parts)


def _steps(
    bins: pl.DataFrame, names: list[str], x_title: str, y_title: str, width: int
) -> alt.Chart:
    """Draw histograms of some reruns as lines in steps."""
    most = theme.extreme(bins, "n", "max")
    closed = pl.concat(
        [
            bins.select("rerun", "low", pl.col("n").cast(pl.Int64), "high"),
            # The last step ends where its bin ends.
            bins.group_by("rerun", maintain_order=True)
            .agg(
                pl.last("high").alias("low"), pl.lit(0, dtype=pl.Int64).alias("n"), pl.last("high")
            )
            .select("rerun", "low", "n", "high"),
        ]
    )
    chart: alt.Chart = (
        alt.Chart(closed)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("low:Q", title=x_title, scale=alt.Scale(zero=False, nice=False)),
            y=alt.Y(
                "n:Q", title=y_title, axis=alt.Axis(format=",d", values=theme.whole_ticks(0, most))
            ),
            color=alt.Color(
                "rerun:N",
                title=None,
                sort=names,
                scale=theme.colour_scale(names),
                legend=alt.Legend(orient="top", columns=6, symbolType="stroke", symbolSize=400),
            ),
            strokeDash=theme.dashes("rerun", names),
            order=alt.Order("low:Q"),
            tooltip=[
                alt.Tooltip("rerun:N"),
                alt.Tooltip("low:Q", format=".3f", title="from"),
                alt.Tooltip("high:Q", format=".3f", title="to"),
                alt.Tooltip("n:Q", format=",", title=y_title),
            ],
        )
        .properties(width=width, height=240)
    )
    return chart
