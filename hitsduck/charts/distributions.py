"""Distributions: sources per object, flags, fluxes, magnitudes, signal-to-noise."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from hitsduck.charts import theme

#: Ticks of a count on a logarithmic axis that has a zero.
_COUNT_TICKS = [0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000]
_FLUX_TICKS = [-1e6, -1e5, -1e4, -1e3, -100, 0, 100, 1e3, 1e4, 1e5, 1e6]
_PARTS = [0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1]
_TITLES = {
    "flux": "psfFlux (nJy)",
    "magnitude": "AB magnitude of positive psfFlux",
    "psf_snr": "psf_snr = |psfFlux| / psfFluxErr",
}


def count_axis(title: str, column: str = "n") -> alt.Y:
    """Return a logarithmic axis of counts that has room for zero."""
    return alt.Y(
        f"{column}:Q",
        title=title,
        scale=alt.Scale(type="symlog", constant=1, domainMin=0, nice=False),
        axis=alt.Axis(values=_COUNT_TICKS, format=",d"),
    )


def sources_per_object(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw how many objects have how many sources, all objects over good ones.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.sources_per_object`.

    Returns
    -------
    altair.LayerChart
    """
    if frame.is_empty():
        return theme.empty("No object.")
    totals = dict(frame.group_by("kind").agg(pl.sum("n_objects")).rows())
    labels = {
        "all": f"all objects ({theme.many(totals.get('all', 0))})",
        "good": f"good objects ({theme.many(totals.get('good', 0))})",
    }
    most = max(int(theme.extreme(frame, "n_sources_to", "max")), 1)
    is_wide = most > 150
    fewest = 0 if theme.extreme(frame, "n_sources", "min") == 0 else 1
    shown = frame.select(
        pl.col("kind").replace_strict(labels, return_dtype=pl.String).alias("objects"),
        (pl.col("n_sources") - 0.5).clip(0.5 if is_wide else -0.5).alias("low"),
        (pl.col("n_sources_to") + 0.5).alias("high"),
        "n_sources",
        "n_sources_to",
        "n_objects",
        pl.lit(0).alias("none"),
    )
    kinds = list(labels.values())
    x_scale = (
        alt.Scale(type="log", domain=[0.5, most + 0.5], nice=False)
        if is_wide
        else alt.Scale(
            domain=[min(0.5, theme.extreme(shown, "low", "min")), most + 0.5], nice=False
        )
    )
    base = alt.Chart(shown).encode(
        x=alt.X(
            "low:Q",
            title="sources of the object",
            scale=x_scale,
            axis=alt.Axis(format=",d", grid=False, values=theme.whole_ticks(fewest, most)),
        ),
        x2=alt.X2("high:Q"),
        y=count_axis("objects", "n_objects"),
        y2=alt.Y2("none:Q"),
        color=alt.Color(
            "objects:N",
            title=None,
            sort=kinds,
            scale=alt.Scale(domain=kinds, range=["#b9c6d2", theme.BLUE]),
            legend=alt.Legend(orient="top", symbolType="square"),
        ),
        tooltip=[
            alt.Tooltip("objects:N", title="kind"),
            alt.Tooltip("n_sources:Q", format=",", title="sources from"),
            alt.Tooltip("n_sources_to:Q", format=",", title="to"),
            alt.Tooltip("n_objects:Q", format=",", title="objects"),
        ],
    )
    layers = [
        base.transform_filter(alt.datum.objects == label).mark_rect(stroke="white", strokeWidth=0.4)
        for label in kinds
    ]
    return theme.finished(
        alt.layer(*layers).properties(width=theme.WIDTH_PX, height=theme.HEIGHT_PX),
        description=(
            f"Number of objects of {frame['rerun'][0]} by their number of sources, counts "
            f"logarithmic: {', '.join(kinds)}; at most {theme.many(most)} sources in one object."
        ),
    )


def flags(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw how often each flag is set, those of the good definition marked.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.flags`: one row per rerun and flag. Flags that are never
        set are only counted.

    Returns
    -------
    altair.Chart
    """
    ever = frame.group_by("flag").agg(pl.max("n_set"), pl.col("is_bad").any())
    kept = ever.filter((pl.col("n_set") > 0) | pl.col("is_bad"))
    if kept.is_empty():
        return theme.empty("No flag is ever set.")
    names = frame["rerun"].unique(maintain_order=True).to_list()
    if not theme.extreme(kept, "n_set", "max"):
        n_sources = theme.extreme(
            frame.group_by("rerun").agg(pl.max("n_dia_sources")), "n_dia_sources", "sum"
        )
        return theme.empty(
            f"None of {ever.height} flags is set in any of {theme.many(n_sources)} DIA sources."
            if n_sources
            else "No DIA source that could have a flag."
        )
    mark = pl.when(pl.col("is_bad")).then(pl.lit("✕ ")).otherwise(pl.lit(""))
    shown = (
        frame.drop("is_bad")
        .join(kept.select("flag", "is_bad"), on="flag")
        .select(
            "rerun",
            (mark + pl.col("flag")).alias("label"),
            "is_bad",
            "n_set",
            pl.col("fraction_set").fill_null(0).round(6),
        )
    )
    order = (
        shown.group_by("label")
        .agg(pl.max("fraction_set"), pl.any("is_bad"))
        .sort("is_bad", "fraction_set", "label", descending=[True, True, False])["label"]
        .to_list()
    )
    height = max(len(order) * (9 * min(len(names), 4) + 8), 60)
    chart = (
        alt.Chart(shown)
        .mark_bar()
        .encode(
            y=alt.Y(
                "label:N",
                sort=order,
                title=None,
                axis=alt.Axis(
                    labelLimit=320,
                    labelFontWeight=alt.condition(
                        "indexof(datum.value, '✕') == 0", alt.value("bold"), alt.value("normal")
                    ),
                ),
                scale=alt.Scale(paddingInner=0.25),
            ),
            yOffset=alt.YOffset("rerun:N", sort=names),
            x=alt.X(
                "fraction_set:Q",
                title="part of all DIA sources with the flag (square-root axis)",
                # Rare flags show, and a flag that is never set is a bar of no length.
                scale=alt.Scale(type="sqrt", zero=True),
                axis=alt.Axis(format="~%", values=_PARTS),
            ),
            color=alt.Color(
                "rerun:N",
                title=None,
                sort=names,
                scale=theme.colour_scale(names),
                legend=alt.Legend(orient="top", symbolType="square", columns=6),
            ),
            tooltip=[
                alt.Tooltip("rerun:N"),
                alt.Tooltip("label:N", title="flag"),
                alt.Tooltip("n_set:Q", format=",", title="sources"),
                alt.Tooltip("fraction_set:Q", format=".3%", title="part"),
            ],
        )
        .properties(width=theme.WIDTH_PX - 260, height=height)
    )
    never = ever.height - kept.height
    return theme.finished(
        chart,
        description=(
            f"How often each of {kept.height} flags is set in {', '.join(names)}; a cross marks "
            f"those that make a source bad. {never} more flags are never set."
        ),
    )


def distributions(frame: pl.DataFrame) -> theme.AnyChart:
    """Draw the distributions of flux, magnitude and signal-to-noise of some reruns.

    Parameters
    ----------
    frame : polars.DataFrame
        Of `hitsduck.chartdata.distributions`: one row per rerun, quantity and bin.

    Returns
    -------
    altair.VConcatChart
    """
    quantities = frame["quantity"].unique(maintain_order=True).to_list()
    if not quantities:
        return theme.empty("No source with a flux.")
    names = frame["rerun"].unique(maintain_order=True).to_list()
    panels: list[Any] = []
    told = []
    for quantity in quantities:
        part = frame.filter(pl.col("quantity") == quantity)
        panels.append(_distribution(part, quantity, names))
        n = theme.extreme(part, "n", "sum")
        without = theme.extreme(
            part.group_by("rerun").agg(pl.first("n_without")), "n_without", "sum"
        )
        told.append(
            f"{_TITLES[quantity]}: {theme.many(n)} sources"
            + (f", {theme.many(without)} have none" if without else "")
        )
    return theme.finished(
        alt.vconcat(*panels, spacing=22),
        description=f"Distributions in {', '.join(names)}, counts logarithmic. {'; '.join(told)}.",
    )


def _distribution(part: pl.DataFrame, quantity: str, names: list[str]) -> alt.Chart:
    scales = {
        "flux": alt.Scale(type="symlog", constant=100, nice=False, **_flux_ends(part)),
        "magnitude": alt.Scale(zero=False, nice=False),
        "psf_snr": alt.Scale(type="log", nice=False),
    }
    axes = {
        "flux": alt.Axis(values=_FLUX_TICKS, format=",d", grid=False, labelOverlap=True),
        "magnitude": alt.Axis(grid=False, tickCount=10),
        "psf_snr": alt.Axis(grid=False, format=",~r", tickCount=6),
    }
    without = dict(part.group_by("rerun").agg(pl.first("n_without")).rows())
    missing = ", ".join(
        f"{name} {theme.many(without[name])}" for name in names if without.get(name)
    )
    title = _TITLES[quantity] + (f"    (without: {missing})" if missing else "")
    chart: alt.Chart = (
        alt.Chart(_closed(part))
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("low:Q", title=title, scale=scales[quantity], axis=axes[quantity]),
            y=count_axis("sources"),
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
                alt.Tooltip("low:Q", format=",.4~g", title="from"),
                alt.Tooltip("high:Q", format=",.4~g", title="to"),
                alt.Tooltip("n:Q", format=",", title="sources"),
            ],
        )
        .properties(width=theme.WIDTH_PX, height=170)
    )
    return chart


def _flux_ends(part: pl.DataFrame) -> dict[str, Any]:
    """Return the ends of an axis of fluxes, where few of them lie between no two ticks."""
    low, high = theme.extreme(part, "low", "min"), theme.extreme(part, "high", "max")
    if sum(low <= tick <= high for tick in _FLUX_TICKS) >= 2:
        return {}
    return {
        "domain": [
            max((tick for tick in _FLUX_TICKS if tick <= low), default=low),
            min((tick for tick in _FLUX_TICKS if tick >= high), default=high),
        ]
    }


def _closed(part: pl.DataFrame) -> pl.DataFrame:
    """Return bins as the corners of steps: empty bins between, and after the last, are zero."""
    rows = []
    for (name,), bins in part.sort("low").group_by("rerun", maintain_order=True):
        last = None
        for low, high, n in bins["low", "high", "n"].rows():
            if last is not None and abs(last - low) > 1e-6 * max(abs(low), 1.0):
                rows.append((name, last, low, 0))
            rows.append((name, low, high, n))
            last = high
        rows.append((name, last, last, 0))
    schema = {"rerun": pl.String, "low": pl.Float64, "high": pl.Float64, "n": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("low", "high").round_sig_figs(6)
    )
