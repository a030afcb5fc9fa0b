"""Sources near the edges of their detectors."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from hitsduck.charts import theme

_COLOURS = {
    "matched": theme.BLUE,
    "new": theme.VERMILLION,
    "gone": theme.GREEN,
    "reflagged": theme.PURPLE,
}
#: The kinds differ in the dashes as well, for eyes and printers without colour.
_DASHES = {"matched": [1, 0], "new": [6, 2], "gone": [2, 2], "reflagged": [10, 2, 2, 2]}


def edge_distances(
    frame: pl.DataFrame, *, kinds: Sequence[str] = ("matched", "new")
) -> theme.AnyChart:
    """Draw how densely sources lie at each distance from the edge, an even spread being 1.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.edge_distances`: one row per kind and bin.
    kinds : sequence of str
        Which of ``matched``, ``new``, ``reflagged`` and ``gone``.

    Returns
    -------
    altair.LayerChart
    """
    binned = frame.filter(pl.col("edge_low_px").is_not_null(), pl.col("kind").is_in(list(kinds)))
    totals = dict(binned.group_by("kind").agg(pl.sum("n")).rows())
    present = [kind for kind in kinds if totals.get(kind, 0) > 0]
    if not present:
        return theme.empty(f"No {' and no '.join(kinds)} sources on a detector's pixels.")
    labels = {kind: f"{kind} ({theme.many(totals[kind])} sources)" for kind in present}
    shown = binned.filter(
        pl.col("kind").is_in(present), pl.col("ratio").is_not_null()
    ).with_columns(
        pl.col("kind").replace_strict(labels, return_dtype=pl.String).alias("sources"),
        _middle(present).alias("middle_px"),
    )
    # Wide intervals of few sources are cut, or they alone would be seen.
    highest = min(
        1.35 * theme.extreme(shown, "ratio", "max"),
        1.05 * theme.extreme(shown, "ratio_high", "max"),
    )
    farthest = theme.extreme(shown, "edge_high_px", "max")
    x = alt.X(
        "edge_low_px:Q",
        title="distance to the nearest edge of the CCD (px)",
        # A square root gives room to the narrow bins beside the edge and keeps zero.
        scale=alt.Scale(type="sqrt", domain=[0, farthest], nice=False),
        axis=alt.Axis(values=[0, 16, 32, 64, 128, 256, 512, 1024, 2048], grid=False),
    )
    y = alt.Y(
        "ratio:Q",
        title="density relative to an even spread",
        scale=alt.Scale(domain=[0, max(highest, 2.0)], nice=True),
        axis=alt.Axis(tickCount=6),
    )
    scale = alt.Scale(
        domain=[labels[kind] for kind in present], range=[_COLOURS[kind] for kind in present]
    )
    dashes = alt.Scale(
        domain=[labels[kind] for kind in present], range=[_DASHES[kind] for kind in present]
    )
    base = alt.Chart(shown)
    even = (
        alt.Chart(pl.DataFrame({"even": [1]}))
        .mark_rule(color=theme.NEUTRAL, strokeWidth=1.5)
        .encode(y=alt.Y("even:Q"))
    )
    intervals = base.mark_rule(strokeWidth=1.5, clip=True).encode(
        x=alt.X("middle_px:Q"),
        y=alt.Y("ratio_low:Q"),
        y2=alt.Y2("ratio_high:Q"),
        color=alt.Color("sources:N", scale=scale),
    )
    steps = base.mark_rule(strokeWidth=4, clip=True).encode(
        x=x,
        x2=alt.X2("edge_high_px:Q"),
        y=y,
        color=alt.Color(
            "sources:N",
            scale=scale,
            title=None,
            legend=alt.Legend(
                orient="top",
                symbolType="stroke",
                symbolSize=600,
                symbolStrokeWidth=4,
                symbolOpacity=1,
            ),
        ),
        strokeDash=alt.StrokeDash("sources:N", scale=dashes, title=None),
        tooltip=[
            alt.Tooltip("sources:N", title="kind"),
            alt.Tooltip("edge_low_px:Q", format=",", title="from (px)"),
            alt.Tooltip("edge_high_px:Q", format=",", title="to (px)"),
            alt.Tooltip("n:Q", format=",", title="sources"),
            alt.Tooltip("n_expected:Q", format=",.1f", title="spread evenly"),
            alt.Tooltip("ratio:Q", format=".2f"),
            alt.Tooltip("ratio_low:Q", format=".2f", title="95% from"),
            alt.Tooltip("ratio_high:Q", format=".2f", title="95% to"),
            alt.Tooltip("density_per_mpx:Q", format=",.3~r", title="sources per Mpx"),
        ],
    )
    nearest = shown.filter(pl.col("edge_low_px") == 0)["kind", "ratio"].rows()
    words = "; ".join(f"{kind} {ratio:.2f} beside the edge" for kind, ratio in nearest)
    return theme.finished(
        alt.layer(even, intervals, steps).properties(width=theme.WIDTH_PX, height=theme.HEIGHT_PX),
        description=(
            "Density of sources against their distance to the nearest edge of the CCD, an even "
            f"spread being 1, with 95 percent intervals: {words}."
        ),
    )


def _middle(present: Sequence[str]) -> pl.Expr:
    """Return where a bin's interval is drawn: about its middle, the kinds side by side.

    The middle is that of the square roots, as the axis has it.
    """
    low, high = pl.col("edge_low_px").sqrt(), pl.col("edge_high_px").sqrt()
    places = {
        kind: (number + 1) / (len(present) + 1) * 0.4 + 0.3 for number, kind in enumerate(present)
    }
    place = pl.col("kind").replace_strict(places, return_dtype=pl.Float64)
    return (low + (high - low) * place) ** 2
