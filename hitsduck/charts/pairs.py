"""Pairs of a comparison, what the change is made of, and the linked dashboard."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from hitsduck.charts import raster, theme
from hitsduck.charts.focal_plane import focal_axes
from hitsduck.wording import phrase

#: What a value of an explanation is, and its colour; the last ones say why it is no cause.
_KINDS = {
    "cause": theme.VERMILLION,
    "follows from a cause": "#e8b48a",
    "significant, but no cause of its own": theme.PURPLE,
    "not zero, but too small to matter": "#8fb8d6",
    "not more than chance": "#b9c0c7",
    "chance cannot be told": "#a7b0b8",
}
_NORMAL_95 = 1.96
#: The false discovery rate of `hitsduck.explanation.explain`.
_ALPHA = 0.05
_STATUS_COLOURS = {"matched": theme.BLUE, "new": theme.VERMILLION, "gone": theme.GREEN}


def matched_pairs(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw the separations of the matched pairs, and their flux differences over the errors.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.matched_pairs`: one row per quantity and bin.

    Returns
    -------
    altair.HConcatChart
    """
    if frame.is_empty() or not frame["n_pairs"][0]:
        return theme.empty("No matched pair.")
    titles = {
        "separation": "separation (arcsec)",
        "pull": "flux difference (right - left) over its error",
    }
    panels: list[Any] = []
    told = []
    for quantity, title in titles.items():
        part = frame.filter(pl.col("quantity") == quantity)
        outside, without = int(part["n_outside"][0]), int(part["n_without"][0])
        aside = [
            words
            for n, words in (
                (outside, f"{theme.many(outside)} beyond"),
                (without, f"{theme.many(without)} without"),
            )
            if n
        ]
        note = f" ({', '.join(aside)})" if aside else ""
        told.append(f"{title}{note}")
        panels.append(
            alt.Chart(part.with_columns(pl.col("low", "high").round(4), pl.lit(0).alias("none")))
            .mark_rect(color=theme.BLUE, stroke="white", strokeWidth=0.4)
            .encode(
                x=alt.X(
                    "low:Q",
                    title=title + note,
                    scale=alt.Scale(nice=False, zero=False),
                    axis=alt.Axis(grid=False, tickCount=5),
                ),
                x2=alt.X2("high:Q"),
                y=alt.Y(
                    "n:Q",
                    title="pairs",
                    axis=alt.Axis(
                        format=",d", values=theme.whole_ticks(0, theme.extreme(part, "n", "max"))
                    ),
                ),
                y2=alt.Y2("none:Q"),
                tooltip=[
                    alt.Tooltip("low:Q", title="from"),
                    alt.Tooltip("high:Q", title="to"),
                    alt.Tooltip("n:Q", format=",", title="pairs"),
                ],
            )
            .properties(width=330, height=240)
        )
    return theme.finished(
        alt.hconcat(*panels, spacing=24),
        description=(
            f"Distributions over {theme.many(int(frame['n_pairs'][0]))} matched pairs of "
            f"{' and of '.join(told)}."
        ),
    )


def explanation(frame: pl.DataFrame, *, most: int = 15) -> theme.AnyChart:
    """Draw what the change is made of by rank, causes marked, with 95% intervals.

    A value whose interval leaves out zero need not be significant: that is tested
    against the least excess that matters (`hitsduck.explanation.explain`), not zero.

    Parameters
    ----------
    frame : polars.DataFrame
        `hitsduck.explanation.Explanation.frame`: one row per value of a dimension.
    most : int
        Rows that are drawn.

    Returns
    -------
    altair.LayerChart
    """
    tested = frame.filter(pl.col("excess").is_finite())
    if tested.is_empty():
        return theme.empty("Nothing to explain: no source changed.")
    if tested.filter((pl.col("change") != 0) | (pl.col("excess") != 0)).is_empty():
        return theme.empty(
            f"Nothing to explain: none of {theme.many(tested.height)} values has more or fewer "
            "sources."
        )
    kept = tested.sort("rank").head(most)
    error = pl.col("error").fill_null(0).fill_nan(0)
    names = list(_KINDS)
    kind = (
        pl.when("is_cause")
        .then(pl.lit(names[0]))
        .when(pl.col("consequence_of").is_not_null())
        .then(pl.lit(names[1]))
        .when(pl.col("p_value").is_null())
        .then(pl.lit(names[5]))
        .when(pl.col("q_value") < _ALPHA)
        .then(pl.lit(names[2]))
        .when(pl.col("excess").abs() > _NORMAL_95 * error)
        .then(pl.lit(names[3]))
        .otherwise(pl.lit(names[4]))
    )
    words = [
        f"{row['rank']}. {phrase(row['dimension'], row['value'])}"
        for row in kept.iter_rows(named=True)
    ]
    shown = kept.select(
        pl.Series("label", words),
        "change",
        pl.col("excess").round(2),
        pl.col("expected").round(2),
        (pl.col("excess") - _NORMAL_95 * error).round(2).alias("low"),
        (pl.col("excess") + _NORMAL_95 * error).round(2).alias("high"),
        (100 * pl.col("share_of_change")).round(2).alias("share"),
        kind.alias("kind"),
    )
    order = shown["label"].to_list()
    present = set(shown["kind"])
    kinds = [name for name in _KINDS if name in present]
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=330, grid=False))
    base = alt.Chart(shown)
    bars = base.mark_bar(height={"band": 0.6}).encode(
        y=y,
        x=alt.X(
            "excess:Q",
            title="sources more than its share of the change",
            axis=alt.Axis(format=",d", labelFlush=False),
        ),
        color=alt.Color(
            "kind:N",
            title=None,
            sort=kinds,
            scale=alt.Scale(domain=kinds, range=[_KINDS[name] for name in kinds]),
            legend=alt.Legend(orient="top", symbolType="square", columns=3),
        ),
        tooltip=[
            alt.Tooltip("label:N", title="sources with"),
            alt.Tooltip("kind:N"),
            alt.Tooltip("change:Q", format="+,", title="change"),
            alt.Tooltip("expected:Q", format="+,.1f", title="its share"),
            alt.Tooltip("excess:Q", format="+,.1f", title="excess"),
            alt.Tooltip("low:Q", format="+,.1f", title="95% from"),
            alt.Tooltip("high:Q", format="+,.1f", title="95% to"),
            alt.Tooltip("share:Q", format=".1f", title="percent of the change"),
        ],
    )
    told = shown.filter(pl.col("kind") != names[5])
    errors = (
        alt.Chart(told)
        .mark_rule(color=theme.NEUTRAL, strokeWidth=1.5)
        .encode(y=y, x=alt.X("low:Q"), x2=alt.X2("high:Q"))
    )
    first = kept.row(0, named=True)
    return theme.finished(
        alt.layer(bars, *([] if told.is_empty() else [errors])).properties(
            width=theme.WIDTH_PX - 240, height=max(26 * kept.height, 60)
        ),
        description=(
            f"The {kept.height} values ranked highest of {tested.height} by how much more they "
            f"changed than their share; first sources "
            f"{phrase(first['dimension'], first['value'])}, "
            f"{first['excess']:+,.0f} sources."
        ),
    )


def dashboard(
    frame: pl.DataFrame, *, outlines: pl.DataFrame, left: str, right: str
) -> theme.AnyChart:
    """Draw edge zones, detectors and fields of a comparison, linked: a click filters the rest.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.dashboard`: one row per detector, zone and field.
    outlines : polars.DataFrame
        Of `hitsduck.chartdata.detector_outlines`.
    left, right : str
        The reruns.

    Returns
    -------
    altair.VConcatChart
    """
    if frame.is_empty():
        return theme.empty("No image that both reruns processed.")
    picked = {
        name: alt.selection_point(name=f"picked_{name}", fields=[name], toggle="true")
        for name in ("zone", "detector", "field")
    }
    zones = frame.select("zone", "zone_px").unique().sort("zone_px")["zone"].to_list()
    source = alt.Chart(frame.with_columns(pl.col("area_mpx").round(4)).drop("zone_px"))
    statuses = list(_STATUS_COLOURS)
    status_scale = alt.Scale(domain=statuses, range=list(_STATUS_COLOURS.values()))

    def counted(by: str, chart: alt.Chart) -> alt.Chart:
        """Sum what the other pickers leave."""
        for name, picker in picked.items():
            if name != by:
                chart = chart.transform_filter(picker)
        return chart

    def bars(by: str, order: list[str] | None, title: str, *, has_legend: bool = True) -> alt.Chart:
        drawn: alt.Chart = (
            counted(by, source)
            .transform_fold(["n_matched", "n_new", "n_gone"], as_=["key", "n"])
            .transform_calculate(status="slice(datum.key, 2)")
            .transform_aggregate(n="sum(n)", area="sum(area_mpx)", groupby=[by, "status"])
            .transform_calculate(density="datum.n / datum.area")
            .mark_bar()
            .encode(
                x=alt.X(
                    f"{by}:N",
                    sort=order,
                    title=title,
                    axis=alt.Axis(labelAngle=0, labelLimit=90),
                    scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1),
                ),
                xOffset=alt.XOffset(
                    "status:N", sort=statuses, scale=alt.Scale(domain=statuses, paddingInner=0.05)
                ),
                y=alt.Y("density:Q", title="sources per Mpx"),
                color=alt.Color(
                    "status:N",
                    title=None,
                    sort=statuses,
                    scale=status_scale,
                    legend=alt.Legend(orient="top", symbolType="square") if has_legend else None,
                ),
                opacity=alt.condition(picked[by], alt.value(1), alt.value(0.25)),
                tooltip=[
                    alt.Tooltip(f"{by}:N"),
                    alt.Tooltip("status:N"),
                    alt.Tooltip("n:Q", format=",", title="sources"),
                    alt.Tooltip("density:Q", format=".3~g", title="per Mpx"),
                ],
            )
            .add_params(picked[by])
        )
        return drawn

    boxes = (
        outlines.group_by("detector")
        .agg(
            pl.min("focal_x_mm").alias("x_low"),
            pl.max("focal_x_mm").alias("x_high"),
            pl.min("focal_y_mm").alias("y_low"),
            pl.max("focal_y_mm").alias("y_high"),
        )
        .with_columns(
            ((pl.col("x_low") + pl.col("x_high")) / 2).alias("x_middle"),
            ((pl.col("y_low") + pl.col("y_high")) / 2).alias("y_middle"),
        )
        .with_columns(pl.col(pl.Float64).round(2))
        .sort("detector")
    )
    across, down, width, height = focal_axes(outlines, 340)
    # None at all is pale, and one detector alone has no ends of its own.
    ends: dict[str, Any] = {}
    if not frame["n_new"].sum():
        ends = {"domain": [0, 1]}
    elif frame["detector"].n_unique() == 1:
        ends = {"domainMin": 0}
    detectors = (
        counted("detector", source)
        .transform_aggregate(
            new="sum(n_new)",
            matched="sum(n_matched)",
            gone="sum(n_gone)",
            area="sum(area_mpx)",
            groupby=["detector"],
        )
        .transform_calculate(density="datum.new / datum.area")
        .transform_lookup(
            lookup="detector",
            from_=alt.LookupData(boxes, key="detector", fields=boxes.columns[1:]),
        )
    )
    squares = (
        detectors.mark_rect(stroke=theme.NEUTRAL, strokeWidth=0.6)
        .encode(
            x=alt.X("y_low:Q", **across),
            x2=alt.X2("y_high:Q"),
            y=alt.Y("x_low:Q", **down),
            y2=alt.Y2("x_high:Q"),
            color=alt.Color(
                "density:Q",
                title=["new per", "Mpx"],
                scale=alt.Scale(range=list(raster.COUNT_RAMP), interpolate="rgb", **ends),
                legend=alt.Legend(orient="right", gradientLength=140),
            ),
            opacity=alt.condition(picked["detector"], alt.value(1), alt.value(0.25)),
            tooltip=[
                alt.Tooltip("detector:N"),
                alt.Tooltip("new:Q", format=","),
                alt.Tooltip("matched:Q", format=","),
                alt.Tooltip("gone:Q", format=","),
                alt.Tooltip("density:Q", format=".3~g", title="new per Mpx"),
            ],
        )
        .add_params(picked["detector"])
    )
    words = detectors.encode(
        x=alt.X("y_middle:Q", **across), y=alt.Y("x_middle:Q", **down), text=alt.Text("detector:N")
    )
    size = 9 if frame["detector"].n_unique() < 100 else 6
    # A light rim, or dark numbers could not be read on dark detectors.
    rims = words.mark_text(
        fontSize=size, stroke="white", strokeWidth=2.5, strokeJoin="round", opacity=0.8
    )
    numbers = words.mark_text(fontSize=size, color="#1f2933")
    others = (
        alt.Chart(boxes.select("x_low", "x_high", "y_low", "y_high"))
        .mark_rect(filled=False, stroke=theme.NEUTRAL, strokeWidth=0.6, strokeDash=[3, 3])
        .encode(
            x=alt.X("y_low:Q", **across),
            x2=alt.X2("y_high:Q"),
            y=alt.Y("x_low:Q", **down),
            y2=alt.Y2("x_high:Q"),
        )
    )
    top = bars("zone", zones, "distance to the nearest edge (px)").properties(width=600, height=190)
    below = alt.hconcat(
        alt.layer(others, squares, rims, numbers).properties(
            width=width, height=height, view=alt.ViewConfig(fill=raster.PANEL)
        ),
        bars("field", None, "field (ra dec, deg)", has_legend=False).properties(
            width=min(80 * frame["field"].n_unique(), 220), height=height
        ),
        spacing=24,
    ).resolve_scale(color="independent", xOffset="independent")
    n_new, n_gone, n_matched = frame.select(pl.sum("n_new", "n_gone", "n_matched")).row(0)
    return theme.finished(
        alt.vconcat(top, below, spacing=18).resolve_scale(
            color="independent", xOffset="independent"
        ),
        description=(
            f"Matched ({theme.many(n_matched)}), new ({theme.many(n_new)}) and gone "
            f"({theme.many(n_gone)}) sources per million pixels, {left} against {right}, by "
            f"distance to the edge, by detector in the focal plane, and by field. A click on a "
            "bar or a detector filters the other two pictures."
        ),
    )
