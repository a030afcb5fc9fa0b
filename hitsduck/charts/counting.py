"""Counts of sources and objects."""

from __future__ import annotations

import altair as alt
import polars as pl

from hitsduck.charts import theme

#: With more bars than this the numbers on them would run into each other.
_MOST_NUMBERED_BARS = 16


def counts(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw the counts of some reruns as grouped bars.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.counts`: one row per rerun and quantity.

    Returns
    -------
    altair.LayerChart
    """
    if frame.is_empty():
        return theme.empty("No rerun to count.")
    names = frame["rerun"].unique(maintain_order=True).to_list()
    quantities = frame["quantity"].unique(maintain_order=True).to_list()
    shown = frame.with_columns(
        (pl.col("n") - pl.col("n_first")).alias("change"),
        pl.when(pl.col("n_first") > 0)
        .then(pl.col("n") / pl.col("n_first") - 1)
        .alias("change_part"),
    )
    most = theme.extreme(frame, "n", "max")
    base = alt.Chart(shown).encode(
        x=alt.X(
            "quantity:N",
            sort=quantities,
            title=None,
            axis=alt.Axis(labelAngle=0, labelFontSize=13, ticks=False, labelPadding=8),
            scale=alt.Scale(paddingInner=0.15, paddingOuter=0.1),
        ),
        xOffset=alt.XOffset("rerun:N", sort=names, scale=alt.Scale(paddingInner=0.08)),
        y=alt.Y(
            "n:Q",
            title="number",
            scale=alt.Scale() if most else alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format=",d", tickCount=5, values=theme.whole_ticks(0, max(most, 1))),
        ),
    )
    bars = base.mark_bar(cornerRadiusTopLeft=2, cornerRadiusTopRight=2).encode(
        color=alt.Color(
            "rerun:N",
            scale=theme.colour_scale(names),
            sort=names,
            title=None,
            legend=alt.Legend(orient="top", symbolType="square", columns=6),
        ),
        tooltip=[
            alt.Tooltip("rerun:N"),
            alt.Tooltip("quantity:N"),
            alt.Tooltip("n:Q", format=",", title="number"),
            alt.Tooltip("change:Q", format="+,", title=f"against {names[0]}"),
            alt.Tooltip("change_part:Q", format="+.1%", title="the same in percent"),
        ],
    )
    layers: list[alt.Chart] = [bars]
    if shown.height <= _MOST_NUMBERED_BARS:
        layers.append(base.mark_text(dy=-7, fontSize=10).encode(text=alt.Text("n:Q", format=",")))
    first = [f"{q} {theme.many(n)}" for q, n in frame.head(len(quantities))["quantity", "n"].rows()]
    return theme.finished(
        alt.layer(*layers).properties(width=theme.WIDTH_PX, height=theme.HEIGHT_PX),
        description=(
            f"Grouped bars: numbers of DIA sources and objects, all and good, of "
            f"{', '.join(names)}. {names[0]}: {', '.join(first)}."
        ),
    )


def trend(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw the counts of a series of reruns against those of the first.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.counts`: one row per rerun and quantity.

    Returns
    -------
    altair.LayerChart
    """
    if frame["rerun"].n_unique() < 2:
        return theme.empty("A trend takes two reruns or more.")
    names = frame["rerun"].unique(maintain_order=True).to_list()
    quantities = frame["quantity"].unique(maintain_order=True).to_list()
    shown = frame.filter(pl.col("n_first") > 0).with_columns(
        (pl.col("n") / pl.col("n_first") - 1).round(6).alias("change")
    )
    if shown.is_empty():
        return theme.empty(f"{names[0]} is empty, so nothing can be counted against it.")
    width = min(max(120 * len(names), 300), theme.WIDTH_PX)
    base = alt.Chart(shown).encode(
        x=alt.X(
            "rerun:N",
            sort=names,
            title=None,
            axis=alt.Axis(labelAngle=0 if len(names) <= 8 else -45, grid=False, labelLimit=110),
            scale=alt.Scale(type="point", padding=0.3),
        ),
        y=alt.Y(
            "change:Q",
            title=f"change since {names[0]}",
            axis=alt.Axis(labelExpr="datum.value ? format(datum.value, '+~%') : '0'"),
        ),
        color=alt.Color(
            "quantity:N",
            title=None,
            sort=quantities,
            scale=theme.colour_scale(quantities),
            legend=alt.Legend(orient="right", symbolType="stroke", symbolSize=500),
        ),
        tooltip=[
            alt.Tooltip("rerun:N"),
            alt.Tooltip("quantity:N"),
            alt.Tooltip("n:Q", format=",", title="number"),
            alt.Tooltip("change:Q", format="+.2%"),
        ],
    )
    zero = (
        alt.Chart(pl.DataFrame({"zero": [0.0]}))
        .mark_rule(color=theme.NEUTRAL, strokeWidth=1)
        .encode(y=alt.Y("zero:Q"))
    )
    lines = base.mark_line(strokeWidth=2.5).encode(strokeDash=theme.dashes("quantity", quantities))
    last = shown.filter(pl.col("rerun") == names[-1])["quantity", "change"].rows()
    return theme.finished(
        alt.layer(zero, lines, base.mark_point(filled=True, size=60, opacity=1)).properties(
            width=width, height=280
        ),
        description=(
            f"Counts of {', '.join(names)} against {names[0]}; in {names[-1]} "
            f"{', '.join(f'{quantity} {change:+.1%}' for quantity, change in last)}."
        ),
    )
