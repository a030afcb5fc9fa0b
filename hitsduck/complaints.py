"""What the engine complains of, in the user's words: which file, table, column and cells."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping

from hitsduck import attaching, schema, suggestions
from hitsduck.attaching import AttachedRerun
from hitsduck.connection import NO_UTF8
from hitsduck.errors import (
    BadValueError,
    HitsduckError,
    LeftOutError,
    NotAnApdbError,
    QueryError,
    RerunLockedError,
)
from hitsduck.inspection import ApdbFile, garbled_text, offending_cells, suspects


def explained(
    reruns: Mapping[str, AttachedRerun], error: HitsduckError, read: Iterable[str] = ()
) -> HitsduckError:
    """Name the file, and the cells, that the engine's complaint is about.

    Parameters
    ----------
    reruns : mapping of str to AttachedRerun
        Those that the query may have read.
    error : HitsduckError
    read : iterable of str
        Views that the query reads.

    Returns
    -------
    HitsduckError
        A better one, or `error` where nothing more can be said.
    """
    if isinstance(error, LeftOutError):
        return error
    if isinstance(error, BadValueError):
        return _located(reruns, error)
    if isinstance(error, QueryError):
        return suggestions.query_refused(error, reruns, read)
    if isinstance(error, NotAnApdbError | RerunLockedError):
        for rerun in reruns.values():
            try:
                rerun.file.check_readable()
            except HitsduckError as found:
                return found
    for name, rerun in reruns.items():  # views know the name alone
        plain = f"rerun {name}: "
        if str(error).startswith(plain):
            where = f"rerun {name!r} ({rerun.file.path}): "
            return type(error)(where + str(error).removeprefix(plain))
    return error


def _located(reruns: Mapping[str, AttachedRerun], error: BadValueError) -> HitsduckError:
    """Say in which file, table, column and rows the unreadable cells are."""
    column = re.search(r'column "([^"]+)"|when casting from source column (\w+)', str(error))
    is_text = NO_UTF8 in str(error)
    stamp = re.search(r'timestamp field [^:]*: "([^"]*)"', str(error))
    for name, rerun in reruns.items():
        if not isinstance(rerun.file, ApdbFile):  # a store has no cell of another type
            continue
        with rerun.file.reading() as connection:
            for table in attaching.STAGED.values():
                columns = rerun.file.tables.get(table, {})
                if column and not is_text:
                    called = column[1] or column[2]
                    names = {called, schema.physical_name(table, called, columns)}
                    columns = {name: kind for name, kind in columns.items() if name in names}
                found = _unreadable_cells(
                    connection,
                    rerun.file.table_name(table),
                    columns,
                    stamp[1] if stamp else None,
                    is_text=is_text,
                )
                if found:
                    return BadValueError(f"rerun {name!r} ({rerun.file.path}): {found}")
    if "Conversion Error" in str(error):  # a cast in the query itself
        return QueryError(f"a value of the query or condition cannot be converted: {error}")
    files = ", ".join(str(rerun.file.path) for rerun in reruns.values())
    return BadValueError(f"{error} (in one of {files})")


def _unreadable_cells(
    connection: sqlite3.Connection,
    table: str,
    columns: Mapping[str, str],
    stamp: str | None,
    *,
    is_text: bool,
) -> str | None:
    """Describe the cells of one table that their column's declared type cannot hold.

    Parameters
    ----------
    columns : mapping
        {column: declared type} of those to look at.
    stamp : str or None
        A text in a TIMESTAMP column that the engine could not read.
    is_text : bool
        Look for texts that are no UTF-8, too.
    """
    asked = {
        name: (_storage_classes(declared), stamp if _is_timestamp(declared) else None)
        for name, declared in columns.items()
    }
    # One pass finds where to look: one for each of a hundred columns takes minutes.
    for name in suspects(connection, table, asked, is_text=is_text):
        garbled = garbled_text(connection, table, name) if is_text else None
        if garbled:
            where = f"rowid {garbled[0]}: {garbled[1]!r}"
            return f"{table}.{name} holds a text that is {NO_UTF8} ({where})"
        declared, (allowed, refused) = columns[name], asked[name]
        n_cells, examples = offending_cells(connection, table, name, allowed, refused)
        if n_cells:
            rows = ", ".join(f"rowid {i}: {value!r}" for i, value in examples)
            cells = "1 cell that is" if n_cells == 1 else f"{n_cells} cells that are"
            return (
                f"{table}.{name} is declared {declared} and holds {cells} nothing of the kind "
                f"({rows}); mend them in a copy of the file"
            )
    return None


def _is_timestamp(declared: str) -> bool:
    return "TIME" in declared.upper() or "DATE" in declared.upper()


def _storage_classes(declared: str) -> tuple[str, ...]:
    """Return SQLite's storage classes that DuckDB reads from a declared type."""
    kind = declared.upper()
    if _is_timestamp(kind):
        return ("text",)
    if any(word in kind for word in ("FLOA", "REAL", "DOUB")):
        return ("integer", "real")
    if "INT" in kind or "BOOL" in kind:
        return ("integer",)
    if "BLOB" in kind:
        return ("integer", "real", "text", "blob")
    return ("integer", "real", "text")
