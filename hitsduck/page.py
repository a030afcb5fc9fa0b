"""The parts of a report, and how they become one self-contained HTML page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from hitsduck.charts.theme import AnyChart
from hitsduck.outputs import write_atomically


@dataclass(frozen=True)
class Text:
    """A paragraph; ``is_missing`` where it says what cannot be shown."""

    text: str
    is_missing: bool = False
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Column:
    """The head of a column; numbers stand right."""

    title: str
    is_number: bool = True


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text : str
        What is shown.
    value : float, int, str or None
        The value behind it, by which the table is sorted.
    note : str or None
        Small print below.
    links : sequence of (str, str)
        Words and URLs.
    values : sequence of float or int
        All numbers behind the text where it shows several, an interval say.
    """

    text: str
    value: float | int | str | None = None
    note: str | None = None
    links: Sequence[tuple[str, str]] = ()
    values: Sequence[float | int] = ()


@dataclass(frozen=True)
class Table:
    """A table; of every row the first cell is its head.

    Attributes
    ----------
    caption : str
    columns : sequence of Column
    rows : sequence of sequence of Cell
    is_sortable : bool
    folded : str or None
        The words that unfold a table which is not shown at first.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    is_sortable: bool = True
    folded: str | None = None
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Figure:
    """A chart, what it shows, and the numbers behind it; ``name`` is its id on the page."""

    name: str
    chart: AnyChart
    caption: str
    data: pl.DataFrame | None = None
    kind: str = field(default="figure", init=False)

    def spec(self) -> dict[str, Any]:
        """Return the Vega-Lite specification; the page paints its own background."""
        spec: dict[str, Any] = self.chart.to_dict(validate=False)
        spec.setdefault("config", {})["background"] = "transparent"
        return spec

    @property
    def alternative(self) -> str:
        """What the chart says, in words."""
        words = getattr(self.chart, "description", None)
        return words if isinstance(words, str) else self.caption


@dataclass(frozen=True)
class Facts:
    """Names and values, under a small heading."""

    title: str | None
    pairs: Sequence[tuple[str, str]]
    kind: str = field(default="facts", init=False)


Part = Text | Table | Figure | Facts


@dataclass(frozen=True)
class Section:
    """A section; ``missing`` says what it cannot show, and how to get it."""

    name: str
    title: str
    parts: Sequence[Part] = ()
    missing: str | None = None


@dataclass(frozen=True)
class Page:
    """A whole report; ``verdict`` is its first line."""

    title: str
    verdict: str | None
    subtitle: str
    findings: Sequence[str]
    sections: Sequence[Section]
    version: str
    made_at: str

    def figures(self) -> list[Figure]:
        """Return every figure, in order."""
        parts = (part for section in self.sections for part in section.parts)
        return [part for part in parts if isinstance(part, Figure)]


def html(page: Page, *, is_unfolded: bool = False) -> str:
    """Return a page as one HTML text that needs nothing else.

    Every name, path and number passes the template's escaping; inside the embedded
    JSON the characters that could end the script are written as escapes.

    Parameters
    ----------
    page : Page
    is_unfolded : bool
        Whether every table is open, as on paper.
    """
    specs = {figure.name: figure.spec() for figure in page.figures()}
    return _rendered("report.html.j2", specs, page=page, is_unfolded=is_unfolded)


def chart_html(chart: AnyChart) -> str:
    """Return one chart as an HTML text that needs nothing else."""
    figure = Figure("chart", chart, "")
    return _rendered("chart.html.j2", {"chart": figure.spec()}, figure=figure)


def _rendered(template: str, specs: dict[str, Any], **context: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(
        specs=Markup(script_json(specs)) if specs else "",
        vega=Markup(vega_javascript()) if specs else "",
        **context,
    )


def script_json(value: Any) -> str:
    r"""Return JSON that can stand inside a script element.

    Examples
    --------
    >>> script_json({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def vega_javascript() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script.

    Bundling it takes seconds, so it is kept in the user's cache, by the version of the
    package that it comes from.
    """
    import vl_convert

    package = version("vl-convert-python")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    kept = Path(base).expanduser() / "hitsduck" / f"vega-{package}.js"
    try:
        return kept.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        pass
    # The text would end the script element that it is written into.
    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace(
        "</script", "<\\/script"
    )
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, bundle)
    except OSError:
        pass  # A cache that cannot be kept costs time, nothing else.
    return bundle
