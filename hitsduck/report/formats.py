"""A report as HTML, Markdown, JSON or PDF."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from hitsduck.errors import OutputError
from hitsduck.page import Cell, Facts, Figure, Page, Part, Section, Table, Text, html

FORMS = ("html", "md", "json", "pdf")
#: Suffixes of HTML, beside none at all.
_AS_HTML = ("htm", "xhtml")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: Frames of more rows (those of maps) are described in the JSON, not listed.
_MOST_ROWS = 5_000


def chosen_form(file: Path, form: str | None) -> str:
    """Return the form of a report: as asked for, else by the file's suffix.

    Raises
    ------
    OutputError
        There is no such form.
    """
    if form is None:
        suffix = file.suffix.lower().lstrip(".")
        if suffix and suffix not in FORMS and suffix not in _AS_HTML:
            raise OutputError(
                f"{file}: no form of a report is known by .{suffix}; call it "
                f"{', '.join('.' + known for known in FORMS)}, or state the form (form=, --format)"
            )
        return suffix if suffix in FORMS else "html"
    if form not in FORMS:
        raise OutputError(f"a report has no form {form!r}; there are: {', '.join(FORMS)}")
    return form


def rendered(page: Page, form: str) -> str | bytes:
    """Return a page in one of the forms.

    Raises
    ------
    OutputError
        PDF without a Chromium.
    """
    if form == "md":
        return markdown(page)
    if form == "json":
        return json.dumps(as_dict(page), indent=1, ensure_ascii=False, default=str) + "\n"
    return pdf(html(page, is_unfolded=True)) if form == "pdf" else html(page)


def as_dict(page: Page) -> dict[str, Any]:
    """Return every number of a page: its findings, tables, and the data of its charts.

    A cell that shows several numbers (an interval, a position) is a list of them, one
    that shows none where a number belongs is null. Of a map of very many bins, which is
    a picture, there are totals; see `_numbers`.
    """
    return {
        "title": page.title,
        "verdict": page.verdict,
        "subtitle": page.subtitle,
        "findings": list(page.findings),
        "sections": [
            {
                "name": section.name,
                "title": section.title,
                "missing": section.missing,
                "parts": [_part(part) for part in section.parts],
            }
            for section in page.sections
        ],
        "version": page.version,
        "made_at": page.made_at,
    }


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"kind": part.kind, "text": part.text}
    if isinstance(part, Facts):
        return {
            "kind": part.kind,
            "title": part.title,
            "facts": [list(pair) for pair in part.pairs],
        }
    if isinstance(part, Table):
        return {
            "kind": part.kind,
            "caption": part.caption,
            "columns": [column.title for column in part.columns],
            "rows": [[_value(cell) for cell in row] for row in part.rows],
            "notes": [[cell.note for cell in row] for row in part.rows],
            "links": [[dict(cell.links) for cell in row] for row in part.rows],
        }
    return {
        "kind": part.kind,
        "name": part.name,
        "caption": part.caption,
        "alternative": part.alternative,
        "data": None if part.data is None else _numbers(part.data),
    }


def _value(cell: Cell) -> Any:
    if cell.values:
        return list(cell.values)
    if cell.value is not None:
        return cell.value
    return None if cell.text == "-" else cell.text


def _numbers(data: pl.DataFrame) -> list[dict[str, Any]] | dict[str, Any]:
    """Return the rows behind a chart; of a map of very many bins what they add up to.

    Its totals are the bins and the sum of their ``n``, of every rerun.
    """
    if data.height <= _MOST_ROWS:
        return data.to_dicts()
    by = [name for name in ("rerun",) if name in data.columns]
    sums = [pl.len().alias("n_bins")]
    if "n" in data.columns:
        sums.append(pl.col("n").sum())
    totals = data.group_by(by, maintain_order=True).agg(sums) if by else data.select(sums)
    return {
        "not_listed": f"{data.height:,} bins of a picture, more than {_MOST_ROWS:,}; "
        "chart_data in Python returns them all",
        "n_rows": data.height,
        "columns": data.columns,
        "totals": totals.to_dicts(),
    }


def markdown(page: Page) -> str:
    """Return a page as Markdown: its words and tables; of a chart what it says."""
    lines = [f"# {_plain(page.title)}", ""]
    if page.verdict:
        lines += [f"**{_plain(page.verdict)}**", ""]
    lines += [_plain(page.subtitle), ""]
    lines += [f"- {_plain(finding)}" for finding in page.findings]
    for section in page.sections:
        lines += ["", *_markdown_section(section)]
    lines += ["", f"Made by hitsduck {page.version} on {page.made_at}.", ""]
    return "\n".join(lines)


def _markdown_section(section: Section) -> list[str]:
    lines = [f"## {_plain(section.title)}", ""]
    if section.missing:
        lines += [f"> {_plain(section.missing)}", ""]
    for part in section.parts:
        if isinstance(part, Text):
            lines += [_plain(part.text), ""]
        elif isinstance(part, Figure):
            lines += [f"*{_plain(part.alternative)}*", "", _plain(part.caption), ""]
        elif isinstance(part, Facts):
            lines += [f"### {_plain(part.title)}", ""] if part.title else []
            lines += [f"- {_plain(name)}: {_plain(value)}" for name, value in part.pairs]
            lines.append("")
        else:
            lines += [*_markdown_table(part), ""]
    return lines[:-1]


def _markdown_table(table: Table) -> list[str]:
    heads = [_plain(column.title) for column in table.columns]
    rules = ["---:" if column.is_number else "---" for column in table.columns]
    rows: list[Sequence[str]] = [[_cell(cell) for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in (heads, rules, *rows)]
    return [_plain(table.caption), "", *lines]


def _plain(text: str) -> str:
    """Return text that Markdown takes for nothing else, and HTML in it for no tag."""
    escaped = text.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for character in "*_`[]#|":
        escaped = escaped.replace(character, f"\\{character}")
    return " ".join(escaped.split())


def _cell(cell: Cell) -> str:
    words = _plain(cell.text + (f" ({cell.note})" if cell.note else ""))
    return " ".join([*([words] if words else []), *(f"[{_plain(w)}]({u})" for w, u in cell.links)])


def pdf(page: str) -> bytes:
    """Print an HTML page with a Chromium.

    Raises
    ------
    OutputError
        There is no Chromium, or it fails.
    """
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise OutputError(
            "a report as PDF is printed by a Chromium, and there is none on the PATH; install "
            "one (Debian: chromium), or write HTML and print it from a browser"
        )
    with tempfile.TemporaryDirectory(prefix="hitsduck-") as folder:
        source, target = Path(folder) / "report.html", Path(folder) / "report.pdf"
        source.write_text(page, encoding="utf-8")
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder}/profile",
            "--virtual-time-budget=60000",
            "--no-pdf-header-footer",
            f"--print-to-pdf={target}",
            source.as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=300, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutputError(f"{browser} did not print the report: {error}") from error
        if not target.is_file():
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise OutputError(f"{browser} did not print the report: {' '.join(last)}")
        return target.read_bytes()
