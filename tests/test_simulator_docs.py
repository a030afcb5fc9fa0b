"""docs/simulator.md: its Python runs, its SQL runs in plain duckdb or sqlite3, as it says.

HITSDUCK_WRITE_DOCS=1 writes the answers into the page.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from hitsduck.simulator.causes import CAUSE_KINDS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "simulator.md"
BLOCK = re.compile(r"```(python|sql)\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)


def answer(sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return names and rows of the last statement, by sqlite3 where it attaches files."""
    if not sql.startswith("attach"):
        relation = duckdb.connect().sql(sql)
        return relation.columns, relation.fetchall()
    with closing(sqlite3.connect(":memory:")) as connection:
        *first, last = [part for part in sql.split(";\n") if part.strip()]
        for statement in first:
            connection.execute(statement)
        cursor = connection.execute(last)
        return [d[0] for d in cursor.description], cursor.fetchall()


def table(names: list[str], rows: list[tuple[Any, ...]]) -> str:
    cells = [names, *[["" if c is None else str(c) for c in row] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = (
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
    )
    return "\n".join(lines) + "\n"


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text("utf-8")
    written: list[tuple[str, str]] = []
    scope: dict[str, Any] = {}
    for language, code, shown in BLOCK.findall(text):
        if language == "python":
            exec(code, scope)
            continue
        names, rows = answer(code)
        assert rows
        written.append((shown, table(names, rows)))
    assert len(written) == 2 * len(CAUSE_KINDS) + 3
    if os.environ.get("HITSDUCK_WRITE_DOCS"):
        answers = iter(written)
        for match in reversed(list(BLOCK.finditer(text))):
            if match[1] == "sql":
                text = text[: match.start(3)] + "@" + text[match.end(3) :]
        text = re.sub(r"(?<=```text\n)@", lambda _: next(answers)[1], text)
        PAGE.write_text(text, "utf-8")
        return
    for shown, found in written:
        # the numbers may differ in a digit on another processor; the form may not
        assert shown.splitlines()[0].split() == found.splitlines()[0].split()
        assert len(shown.splitlines()) == len(found.splitlines())


def test_the_page_has_every_cause():
    text = PAGE.read_text("utf-8")
    assert all(f"`{kind}`" in text for kind in CAUSE_KINDS)
