"""What the commands print: whole tables, JSON, and which definition and file."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitsduck.outputs import written_whole

if TYPE_CHECKING:
    import polars as pl

    from hitsduck.reruns import Reruns


#: Tables of more cells are set by us: rich takes a minute for 800,000.
_MOST_RICH_CELLS = 20_000


def json_text(value: Any) -> str:
    """Return JSON; NaN and infinity, which JSON does not have, become null.

    A decimal, such as the sum of a column of counts, is a number, unless a float would round it.
    """
    return json.dumps(_finite(value), indent=2, default=str, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            return int(value)
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json_text(value))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: int = 1,
    left_again: int | None = None,
) -> None:
    """Print a table in full, however wide.

    Parameters
    ----------
    columns, rows : sequences of str
    right : int
        Number of the first column that is set to the right.
    left_again : int, optional
        Number of the first column after those that is set to the left again.
    """
    is_right = [
        number >= right and (left_again is None or number < left_again)
        for number in range(len(columns))
    ]
    if len(columns) * len(rows) > _MOST_RICH_CELLS:
        click.echo("\n".join(_aligned(columns, rows, is_right)))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    for column, to_the_right in zip(columns, is_right, strict=True):
        table.add_column(
            column, justify="right" if to_the_right else "left", no_wrap=True, overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=100_000)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _aligned(
    columns: Sequence[str], rows: Sequence[Sequence[str]], is_right: Sequence[bool]
) -> Iterator[str]:
    """Go through the lines of a table of many cells, for which rich takes a minute."""
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        cells = (
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(line, widths, is_right, strict=True)
        )
        yield "   ".join(cells).rstrip()
        if number == 0:
            yield "─" * (sum(widths) + 3 * (len(widths) - 1))


def cell_text(value: Any) -> str:
    """Return a value as the text of a table's cell."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def csv_text(frame: pl.DataFrame) -> str:
    """Return a frame as CSV; a list, a struct or bytes, which CSV does not have, as JSON."""
    import polars

    def text(value: Any) -> str | None:
        if value is None:
            return None
        plain = value.to_list() if isinstance(value, polars.Series) else value
        return json.dumps(_finite(plain), default=str, ensure_ascii=False)

    other = [n for n, kind in frame.schema.items() if kind.is_nested() or kind == polars.Binary]
    texts = [
        polars.Series(name, [text(value) for value in frame[name]], polars.String) for name in other
    ]
    return frame.with_columns(texts).write_csv()


def footer_text(reruns: Reruns, where: str | None) -> str:
    """Return by which definition, under which condition and from which files numbers are."""
    bad = ", ".join(flag.removeprefix("pixelFlags_") for flag in reruns.bad_flags)
    lines = [
        f"good source: none of {bad} ({reruns.flag_set}); "
        "good object: current, with at least one good source"
    ]
    if where is not None:
        lines.append(f"where: {where}")
    return "\n".join([*lines, files_text(reruns)])


def files_text(reruns: Reruns) -> str:
    """Return which file each rerun is read from; of a store also the APDB behind it."""
    lines = []
    for name in reruns:
        origin = reruns.attached(name).file.origin_path
        behind = f" (stored from {origin})" if origin is not None else ""
        lines.append(f"{name}: {reruns[name].path}{behind}")
    return "\n".join(lines)


def write_text(output: Path | None, text: str) -> None:
    """Print a text, or write it to a file that appears whole or not at all."""
    if output is None:
        click.echo(text, nl=False)
        return
    with written_whole(output) as partial:
        partial.write_text(text, encoding="utf-8")
