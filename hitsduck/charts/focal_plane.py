"""Maps of the focal plane and of the detectors.

The focal plane is drawn as the seed analysis drew it: focal-plane y runs to the left,
x downwards. Its pictures named both axes x; here each has its own name.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from hitsduck.charts import raster, theme

_MAP_PX = 560
#: Empty room around the focal plane, as a part of its size.
_MARGIN = 0.02
#: Of a larger part of the CCDs than this the map shows the whole focal plane.
_FEW_DETECTORS = 0.2


def focal_axes(
    outlines: pl.DataFrame, side_px: int = _MAP_PX
) -> tuple[dict[str, Any], dict[str, Any], int, int]:
    """Return the axes of a focal plane, and its width and height on the screen."""
    ends = []
    for column in ("focal_y_mm", "focal_x_mm"):
        low, high = outlines.select(
            pl.col(column).min().alias("low"), pl.col(column).max().alias("high")
        ).row(0)
        margin = _MARGIN * (high - low)
        ends.append((low - margin, high + margin))
    (y_low, y_high), (x_low, x_high) = ends
    per_px = max(y_high - y_low, x_high - x_low) / side_px
    across = {
        "title": "focal-plane y (mm)",
        "scale": alt.Scale(domain=[y_low, y_high], reverse=True, nice=False, zero=False),
        "axis": alt.Axis(grid=False, tickCount=6),
    }
    down = {
        "title": "focal-plane x (mm)",
        "scale": alt.Scale(domain=[x_low, x_high], reverse=True, nice=False, zero=False),
        "axis": alt.Axis(grid=False, tickCount=6),
    }
    return across, down, round((y_high - y_low) / per_px), round((x_high - x_low) / per_px)


def focal_plane(frame: pl.DataFrame, *, outlines: pl.DataFrame) -> theme.AnyChart:
    """Draw where in the focal plane the sources of a rerun lie, over the CCD outlines.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.focal_plane`: one row per filled bin.
    outlines : polars.DataFrame
        Of `hitsduck.chartdata.detector_outlines`.

    Returns
    -------
    altair.LayerChart
    """
    if frame.is_empty():
        return theme.empty("No sources with a place in the focal plane.")
    size = frame["bin_mm"][0]
    x_bin, y_bin = frame["x_bin"], frame["y_bin"]
    x_first, y_first = _lowest(x_bin), _lowest(y_bin)
    # The screen runs along focal-plane y, so that is the picture's x.
    grid = raster.Grid(
        x_low=y_first * size,
        y_low=x_first * size,
        x_size=size,
        y_size=size,
        n_x=_lowest(-y_bin) * -1 - y_first + 1,
        n_y=_lowest(-x_bin) * -1 - x_first + 1,
        x_reversed=True,
        y_reversed=True,
    )
    scale = raster.CountScale.of(frame["n"])
    picture = grid.image(y_bin - y_first, x_bin - x_first, scale.index(frame["n"]))
    n_detectors = outlines["detector"].n_unique()
    outlines = _filled(outlines, x_bin, y_bin, size)
    n_shown = outlines["detector"].n_unique()
    across, down, width, height = focal_axes(outlines)
    lines = (
        alt.Chart(outlines.drop("name").with_columns(pl.col("focal_x_mm", "focal_y_mm").round(3)))
        .mark_line(color=theme.NEUTRAL, strokeWidth=0.7, clip=True)
        .encode(
            x=alt.X("focal_y_mm:Q", **across),
            y=alt.Y("focal_x_mm:Q", **down),
            detail=alt.Detail("detector:N"),
            order=alt.Order("corner:Q"),
        )
        .add_params(raster.zoom("focal_plane_zoom"))
    )
    shown, total = int(frame["n"].sum()), int(frame["n_total"][0])
    name = frame["rerun"][0]
    return theme.finished(
        alt.layer(
            raster.image_layer(picture, raster.ramp(scale.colours), grid),
            lines,
            raster.count_legend(scale, raster.of_bins("sources", f"{size:.2g}", "mm")),
        ).properties(width=width, height=height, view=alt.ViewConfig(fill=raster.PANEL)),
        description=(
            f"Map of the focal plane: {theme.shown_of(shown, total)} sources of {name}, in bins "
            f"of {size:.2f} mm, at most {theme.extreme(frame, 'n', 'max'):,.0f} in one, over the "
            "CCD outlines."
            + (
                f" Shown are only the CCDs with sources, {n_shown} of {n_detectors}."
                if n_shown < n_detectors
                else ""
            )
        ),
    )


def _filled(
    outlines: pl.DataFrame, x_bin: pl.Series, y_bin: pl.Series, size: float
) -> pl.DataFrame:
    """Return the outlines of the CCDs that hold bins, where these are few; else all."""
    x, y = (((bins + 0.5) * size).to_numpy() for bins in (x_bin, y_bin))
    kept = []
    for (detector,), corners in outlines.group_by("detector", maintain_order=True):
        (x_low, x_high), (y_low, y_high) = (
            [theme.extreme(corners, column, end) for end in theme.ENDS]
            for column in ("focal_x_mm", "focal_y_mm")
        )
        if ((x >= x_low) & (x <= x_high) & (y >= y_low) & (y <= y_high)).any():
            kept.append(detector)
    if not kept or len(kept) > _FEW_DETECTORS * outlines["detector"].n_unique():
        return outlines
    return outlines.filter(pl.col("detector").is_in(kept))


def detector_density(
    frame: pl.DataFrame, *, outlines: pl.DataFrame, per: str = "image"
) -> theme.AnyChart:
    """Draw the density of sources on every CCD in the focal plane, each with its number.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.detector_density`: one row per detector.
    outlines : polars.DataFrame
        Of `hitsduck.chartdata.detector_outlines`.
    per : {"image", "visit"}
        Over the processed images of the detector, or, as in the seed analysis, over all
        visits.

    Returns
    -------
    altair.LayerChart
    """
    column = "density_deg2" if per == "image" else "density_per_visit_deg2"
    known = frame.filter(pl.col(column).is_not_null())
    if known.is_empty():
        return theme.empty("No detector with processed images.")
    name = frame["rerun"][0]
    corners = outlines.join(known, on="detector", how="left").select(
        "detector",
        "name",
        "corner",
        pl.col("focal_x_mm", "focal_y_mm").round(3),
        pl.col(column).round(3).alias("density"),
        "n",
        "n_images",
    )
    middles = (
        corners.filter(pl.col("corner") < 4)
        .group_by("detector", maintain_order=True)
        .agg(
            pl.mean("focal_x_mm", "focal_y_mm"),
            pl.first("name", "density", "n", "n_images"),
        )
    )
    lowest, highest = theme.extreme(known, column, "min"), theme.extreme(known, column, "max")
    has_zero = lowest < 0.5 * highest
    first = 0.0 if has_zero else lowest
    middles = middles.with_columns(
        (pl.col("density") > first + 0.5 * (highest - first)).fill_null(False).alias("is_dark")
    )
    across, down, width, height = focal_axes(outlines)
    x, y = alt.X("focal_y_mm:Q", **across), alt.Y("focal_x_mm:Q", **down)
    missing = (
        alt.Chart(
            corners.filter(pl.col("density").is_null()).drop("density", "name", "n", "n_images")
        )
        .mark_line(color=theme.NEUTRAL, strokeWidth=0.7, strokeDash=[3, 3])
        .encode(x=x, y=y, detail=alt.Detail("detector:N"), order=alt.Order("corner:Q"))
    )
    ccds = (
        alt.Chart(corners.filter(pl.col("density").is_not_null()).drop("name", "n", "n_images"))
        .mark_line(interpolate="linear-closed", stroke=theme.NEUTRAL, strokeWidth=0.7, clip=True)
        .encode(
            x=x,
            y=y,
            detail=alt.Detail("detector:N"),
            order=alt.Order("corner:Q"),
            fill=alt.Fill(
                "density:Q",
                title=["sources per", "deg² and image" if per == "image" else "deg² and visit"],
                scale=alt.Scale(range=list(raster.COUNT_RAMP), zero=has_zero, interpolate="rgb"),
                legend=alt.Legend(orient="right", gradientLength=180, format=",~r", tickCount=5),
            ),
        )
    )
    numbers = (
        alt.Chart(middles)
        .mark_text(fontSize=12 if middles.height < 100 else 8, fontWeight=600)
        .encode(
            x=x,
            y=y,
            text=alt.Text("detector:N"),
            color=alt.condition("datum.is_dark", alt.value("#ffffff"), alt.value("#000000")),
            tooltip=[
                alt.Tooltip("detector:N"),
                alt.Tooltip("name:N"),
                alt.Tooltip("density:Q", format=",.1f", title="per deg²"),
                alt.Tooltip("n:Q", format=",", title="sources"),
                alt.Tooltip("n_images:Q", format=",", title="images"),
            ],
        )
    )
    densest = known.sort(column, descending=True).row(0, named=True)
    return theme.finished(
        alt.layer(missing, ccds, numbers).properties(
            width=width, height=height, view=alt.ViewConfig(fill=raster.PANEL)
        ),
        description=(
            f"CCDs of {name} in the focal plane, coloured by sources per square degree and {per}: "
            f"from {lowest:,.1f} to {highest:,.1f}, the highest on CCD {densest['detector']}."
        ),
    )


def detector_frame(frame: pl.DataFrame, *, most_panels: int = 4) -> theme.AnyChart:
    """Draw where on the detector sources lie, one panel for each rerun.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.detector_frame`: one row per rerun and filled bin.
    most_panels : int
        Of more reruns the first and the last are drawn.

    Returns
    -------
    altair.HConcatChart
    """
    names = frame["rerun"].unique(maintain_order=True).to_list()
    if not names:
        return theme.empty("No sources with a place on a detector.")
    panels = theme.ends(names, most_panels)
    size = frame["bin_px"][0]
    width_px, height_px = frame.select(pl.max("width_px", "height_px")).row(0)
    counts = raster.CountScale.of(frame.filter(pl.col("rerun").is_in(panels))["n"])
    scale = min(250 / width_px, 480 / height_px, 640 / len(panels) / width_px)
    charts: list[Any] = []
    told = []
    for number, name in enumerate(panels):
        part = frame.filter(pl.col("rerun") == name)
        x_first, y_first = min(_lowest(part["x_bin"]), 0), min(_lowest(part["y_bin"]), 0)
        grid = raster.Grid(
            x_low=x_first * size,
            y_low=y_first * size,
            x_size=size,
            y_size=size,
            n_x=_lowest(-part["x_bin"]) * -1 - x_first + 1,
            n_y=_lowest(-part["y_bin"]) * -1 - y_first + 1,
        )
        picture = grid.image(
            part["x_bin"] - x_first, part["y_bin"] - y_first, counts.index(part["n"])
        )
        outline = pl.DataFrame({"x": [0.0], "x2": [width_px], "y": [0.0], "y2": [height_px]})
        frame_layer = (
            alt.Chart(outline)
            .mark_rect(filled=False, stroke=theme.NEUTRAL, strokeWidth=1)
            .encode(
                x=alt.X(
                    "x:Q",
                    title="x from the left side (px)",
                    scale=alt.Scale(domain=[0, width_px], nice=False),
                    axis=alt.Axis(grid=False, tickCount=4, format="d"),
                ),
                x2=alt.X2("x2:Q"),
                y=alt.Y(
                    "y:Q",
                    title="y from the bottom side (px)" if number == 0 else None,
                    scale=alt.Scale(domain=[0, height_px], nice=False),
                    axis=alt.Axis(
                        grid=False, tickCount=8, format="d", labels=number == 0, labelFlush=True
                    ),
                ),
                y2=alt.Y2("y2:Q"),
            )
            .add_params(raster.zoom(f"detector_zoom_{number}"))
        )
        layers = [raster.image_layer(picture, raster.ramp(counts.colours), grid), frame_layer]
        if number == len(panels) - 1:
            layers.append(raster.count_legend(counts, raster.of_bins("sources", f"{size}", "px")))
        shown = int(part["n"].sum())
        told.append(f"{theme.shown_of(shown, int(part['n_total'][0]))} sources of {name}")
        charts.append(
            alt.layer(*layers).properties(
                width=round(width_px * scale),
                height=round(height_px * scale),
                view=alt.ViewConfig(fill=raster.PANEL),
                title=alt.Title(name, anchor="middle", fontSize=13, fontWeight=500, limit=240),
            )
        )
    return theme.finished(
        alt.hconcat(*charts, spacing=16).resolve_scale(color="shared"),
        description=(
            f"Maps of the detector, all CCDs stacked, in bins of {size} px: {'; '.join(told)}; "
            f"at most {theme.extreme(frame, 'n', 'max'):,.0f} in one bin."
        ),
    )


def _lowest(bins: pl.Series) -> int:
    lowest = bins.min()
    return int(lowest) if isinstance(lowest, int) else 0
