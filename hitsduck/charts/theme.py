"""What all charts share: colours, sizes, number formats, and the honest empty chart."""

from __future__ import annotations

import base64
import math
import sys
from collections.abc import Sequence
from typing import Any, Literal

import altair as alt
import polars as pl

#: What a chart function returns: a chart alone, or several together.
AnyChart = (
    alt.Chart
    | alt.LayerChart
    | alt.HConcatChart
    | alt.VConcatChart
    | alt.ConcatChart
    | alt.FacetChart
)

#: The colours of Okabe and Ito (jfly.uni-koeln.de/color), which all kinds of colour
#: vision tell apart, in an order in which neighbours differ in lightness as well, so
#: that they hold in grey; black is left out because it is invisible in the dark.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B3A600")
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW = PALETTE
#: Reads on white and on black.
NEUTRAL = "#808080"

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
WIDTH_PX = 720
HEIGHT_PX = 320
#: No chart holds more marks than this, whatever the size of a rerun.
MAX_MARKS = 5_000

_RENDERER = "hitsduck"
_NOTEBOOK_SCALE = 1.5
_INK = "#1f2933"
_SOFT_INK = "#52606d"
_GRID = "#e4e7eb"


def config() -> dict[str, Any]:
    """Return the Vega-Lite config of every chart.

    It is made for white paper; a page in the dark changes text and grid by the SVG
    classes of the axes, so that charts are drawn once only.
    """
    axis = {
        "labelColor": _SOFT_INK,
        "titleColor": _INK,
        "gridColor": _GRID,
        "domainColor": _SOFT_INK,
        "tickColor": _SOFT_INK,
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": 500,
        "titlePadding": 10,
        "labelPadding": 5,
        "labelLimit": 240,
    }
    words = {
        "labelColor": _SOFT_INK,
        "titleColor": _INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 500,
        "labelLimit": 320,
        "titleLimit": 320,
    }
    return {
        "background": "white",
        "font": FONT,
        "view": {"stroke": None},
        "axis": axis,
        "legend": {**words, "symbolSize": 120, "symbolStrokeWidth": 2},
        "header": {**words, "labelFontSize": 13, "labelFontWeight": 500},
        "title": {"color": _INK, "subtitleColor": _SOFT_INK, "anchor": "start", "fontSize": 15},
        "text": {"color": _SOFT_INK, "font": FONT},
        "range": {"category": list(PALETTE)},
    }


def finished(chart: AnyChart, *, description: str) -> AnyChart:
    """Return a chart with the theme, and with words for those who cannot see it."""
    _show_without_network()
    # Not by properties() and configure(), which copy every part of the chart.
    styled: AnyChart = chart.copy(deep=False)
    styled.description, styled.config = description, alt.Config(**config())
    return styled


def _show_without_network() -> None:
    """Let a notebook show charts without a network, unless a renderer was chosen there.

    Altair's default loads its scripts from a server.
    """
    ipython = sys.modules.get("IPython")
    if ipython is None or alt.renderers.active != "default" or ipython.get_ipython() is None:
        return
    alt.renderers.register(_RENDERER, _picture_and_spec)
    alt.renderers.enable(_RENDERER)


def _picture_and_spec(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Return a chart as a picture, and as what JupyterLab draws by itself, which it prefers."""
    import vl_convert

    png = vl_convert.vegalite_to_png(spec, scale=_NOTEBOOK_SCALE)
    return {
        f"application/vnd.vegalite.v{alt.SCHEMA_VERSION[1]}+json": spec,
        "image/png": base64.b64encode(png).decode("ascii"),
        "text/plain": spec.get("description", ""),
    }


def empty(
    message: str, *, width: int = WIDTH_PX, height: int = 120, description: str | None = None
) -> AnyChart:
    """Return a chart that says why there is nothing to draw."""
    chart = (
        alt.Chart(pl.DataFrame({"message": [message]}))
        .mark_text(fontSize=14, color=NEUTRAL, limit=width - 20)
        .encode(text=alt.Text("message:N"))
        .properties(width=width, height=height)
    )
    return finished(chart, description=description or message)


def colours(names: Sequence[str]) -> list[str]:
    """Return one colour per name: the palette, or steps of a scale where it is too short."""
    if len(names) <= len(PALETTE):
        return list(PALETTE[: len(names)])
    # From the viridis scale (Smith and van der Walt 2015), without its palest end.
    stops = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (190, 215, 60))
    picked = []
    for number in range(len(names)):
        place = number / (len(names) - 1) * (len(stops) - 1)
        low = min(int(place), len(stops) - 2)
        part = place - low
        mixed = [round(a + (b - a) * part) for a, b in zip(stops[low], stops[low + 1], strict=True)]
        picked.append("#{:02x}{:02x}{:02x}".format(*mixed))
    return picked


def colour_scale(names: Sequence[str]) -> alt.Scale:
    """Return the colour scale of some names, in their order."""
    return alt.Scale(domain=list(names), range=colours(names))


def many(number: float) -> str:
    """Return a count with thousands separators.

    Examples
    --------
    >>> many(671170)
    '671,170'
    """
    return f"{number:,.0f}"


ENDS: tuple[Literal["min"], Literal["max"]] = ("min", "max")


def extreme(
    frame: pl.DataFrame, column: str, which: Literal["min", "max", "sum", "median"]
) -> float:
    """Return the least, largest, summed or middle value of a column, 0 of nothing."""
    value: float | None = frame.select(getattr(pl.col(column), which)()).item()
    return 0.0 if value is None else float(value)


def whole_ticks(low: float, high: float) -> list[int] | alt.UndefinedType:
    """Return the whole numbers between two ends, where they are so few that halves would come.

    Of a longer axis Vega chooses whole ticks by itself.
    """
    return list(range(math.ceil(low), math.floor(high) + 1)) if high - low < 8 else alt.Undefined


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers between two positive ends, evenly apart on a logarithmic axis.

    Examples
    --------
    >>> log_ticks(1, 40)
    [1, 2, 5, 10, 20]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**power for power in powers for step in steps]
        ticks = [int(tick) if tick >= 1 else tick for tick in found if low <= tick <= high]
        if len(ticks) <= most:
            break
    return ticks


def shown_of(shown: int, total: int) -> str:
    """Return how many of how many are drawn, in words."""
    return many(total) if shown == total else f"{many(shown)} of {many(total)}"


def ends(names: Sequence[str], most: int) -> list[str]:
    """Return at most `most` names: all, or the first and the last ones."""
    if len(names) <= most:
        return list(names)
    return [names[0], *names[len(names) - most + 1 :]]


def dashes(field: str, names: Sequence[str]) -> alt.StrokeDash:
    """Return dashes that tell reruns apart without colour."""
    kinds = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [12, 4], [4, 1, 1, 1])
    scale = alt.Scale(domain=list(names), range=[kinds[i % len(kinds)] for i in range(len(names))])
    return alt.StrokeDash(f"{field}:N", title=None, sort=list(names), scale=scale)
