"""A report as HTML, Markdown, JSON or PDF."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hitsduck.errors import OutputError
from hitsduck.page import Facts, Figure, Page, Part, Section, Table, Text, html

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
    return pdf(html(page)) if form == "pdf" else html(page)


def as_dict(page: Page) -> dict[str, Any]:
    """Return every number of a page: its findings, tables, and the data of its charts."""
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
            "rows": [
                [cell.text if cell.value is None else cell.value for cell in row]
                for row in part.rows
            ],
            "notes": [[cell.note for cell in row] for row in part.rows],
        }
    data = part.data
    numbers: Any = None
    if data is not None:
        is_small = data.height <= _MOST_ROWS
        numbers = data.to_dicts() if is_small else {"n_rows": data.height, "columns": data.columns}
    return {
        "kind": part.kind,
        "name": part.name,
        "caption": part.caption,
        "alternative": part.alternative,
        "data": numbers,
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
    heads = [_cell(column.title) for column in table.columns]
    rules = ["---:" if column.is_number else "---" for column in table.columns]
    rows: list[Sequence[str]] = [
        [_cell(cell.text + (f" ({cell.note})" if cell.note else "")) for cell in row]
        for row in table.rows
    ]
    lines = [f"| {' | '.join(row)} |" for row in (heads, rules, *rows)]
    return [_plain(table.caption), "", *lines]


def _plain(text: str) -> str:
    """Return text that Markdown takes for nothing else, and HTML in it for no tag."""
    escaped = text.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for character in "*_`[]#|":
        escaped = escaped.replace(character, f"\\{character}")
    return " ".join(escaped.split())


def _cell(text: str) -> str:
    return _plain(text)


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
