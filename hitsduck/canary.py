"""A small known question, asked of the engine before it is trusted.

DuckDB's SQLite reader has answered two questions wrongly without a word: it lost
the last row where the rowids span a multiple of 122,880, and it gave the first of
two same-shaped tables for both (docs/engine.md). Tiny SQLite files made on the spot
are counted by DuckDB, with the settings that hitsduck uses, and by sqlite3. The
outcome is remembered per engine version.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import duckdb
import platformdirs

from hitsduck.errors import EngineError
from hitsduck.inspection import SLICE_MARGIN, SLICE_ROWS
from hitsduck.quoting import quote_identifier, quote_text

#: Raise when the questions below change, so that they are asked again.
_EDITION = 2
_LEFT = ((1, 1), (SLICE_ROWS, 2))
_RIGHT = ((1, 1), (2, 3), (3, 4))
#: The shortest and the longest span of two slices that several threads may share.
_SHARED = (
    ((1, 1), (SLICE_ROWS + SLICE_MARGIN + 1, 2)),
    ((1, 1), (2 * SLICE_ROWS - SLICE_MARGIN - 1, 2)),
)
#: One thread reads a table, which loses no row; or several, where none can be lost.
LONE_SCANS = "set global sqlite_disable_multithreaded_scans = true"
SHARED_SCANS = "set global sqlite_disable_multithreaded_scans = false"


def _memory_file() -> Path:
    return platformdirs.user_cache_path("hitsduck") / "canary.json"


def _write(path: Path, rows: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma journal_mode = off")
        connection.execute("pragma synchronous = off")
        connection.execute("create table DiaSource (diaSourceId integer primary key, flags bigint)")
        connection.executemany("insert into DiaSource values (?, ?)", rows)
        n_rows, total = connection.execute("select count(*), sum(flags) from DiaSource").fetchone()
    return int(n_rows), int(total)


def ask(connection: duckdb.DuckDBPyConnection) -> None:
    """Ask `connection` the known questions; return when it answers rightly.

    Its settings are afterwards as `LONE_SCANS` has them.

    Raises
    ------
    EngineError
        The engine answers wrongly, with its settings as they are, or where threads
        share the scan of tables that `inspection.can_be_sliced` calls safe.
    """
    with _attached(connection, (_LEFT, _RIGHT)) as (names, truth):
        _compare(connection, names, truth)
    connection.execute(SHARED_SCANS)
    try:
        with _attached(connection, _SHARED) as (names, truth):
            _compare(connection, names, truth)
    finally:
        connection.execute(LONE_SCANS)


@contextmanager
def _attached(
    connection: duckdb.DuckDBPyConnection,
    contents: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]],
) -> Iterator[tuple[tuple[str, str], list[tuple[int, int]]]]:
    """Attach two new small files; give their names and what sqlite3 says of them."""
    names = ("hitsduck_canary_left", "hitsduck_canary_right")
    with tempfile.TemporaryDirectory(prefix="hitsduck-canary-") as folder:
        truth = []
        for name, rows in zip(names, contents, strict=True):
            path = Path(folder) / f"{name}.db"
            truth.append(_write(path, rows))
            connection.execute(
                f"attach {quote_text(path)} as {quote_identifier(name)} (type sqlite, read_only)"
            )
        try:
            yield names, truth
        finally:
            for name in names:
                connection.execute(f"detach {quote_identifier(name)}")


def _compare(
    connection: duckdb.DuckDBPyConnection,
    names: tuple[str, str],
    truth: list[tuple[int, int]],
) -> None:
    left, right = (f"{quote_identifier(name)}.DiaSource" for name in names)
    both = (
        f"select count(*), sum(flags) from {left} "
        f"union all select count(*), sum(flags) from {right}"
    )
    answers = [(int(n), int(total)) for n, total in connection.execute(both).fetchall()]
    if sorted(answers) != sorted(truth):
        raise EngineError(
            f"DuckDB {duckdb.__version__} counts two small SQLite files wrongly ({answers} where "
            f"sqlite3 says {truth}), so none of its answers can be trusted; install the tested "
            "pair duckdb and duckdb-extension-sqlite-scanner of pyproject.toml"
        )
    twice = (
        f"with narrow as (select flags from {right}) "
        "select * from narrow union all select * from narrow limit 4"
    )
    try:
        n_rows = len(connection.execute(twice).fetchall())
    except duckdb.Error as error:
        raise EngineError(
            f"DuckDB {duckdb.__version__} fails on a query that uses one SQLite table twice "
            f"({str(error).splitlines()[0]}); install the tested pair duckdb and "
            "duckdb-extension-sqlite-scanner of pyproject.toml"
        ) from error
    if n_rows != min(4, 2 * truth[1][0]):
        raise EngineError(f"DuckDB {duckdb.__version__} gives {n_rows} of 4 rows under a limit")


def ask_once(
    connection: duckdb.DuckDBPyConnection,
    version: str,
    *,
    question: Callable[[duckdb.DuckDBPyConnection], None] = ask,
) -> bool:
    """Ask unless this engine version has answered rightly before.

    Returns
    -------
    bool
        True when the question was asked now.
    """
    key = f"{version} edition {_EDITION}"
    if remembers(key):
        return False
    question(connection)
    remember(key)
    return True


def remembers(key: str) -> bool:
    """Return whether `remember` was called with `key` on this machine."""
    return _memory().get(key) == "right"


def remember(key: str) -> None:
    """Keep for later processes that what `key` names was found right."""
    memory = _memory_file()
    with suppress(OSError):  # a home that cannot be written: it is found out again next time
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial = memory.with_name(f"{memory.name}.{os.getpid()}")
        partial.write_text(json.dumps(_memory() | {key: "right"}), encoding="utf-8")
        partial.replace(memory)


def _memory() -> dict[str, str]:
    try:
        known = json.loads(_memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
