"""The one door to DuckDB: settings, the SQLite extension, and ``execute``.

What protects the answers here, and why, is written down in docs/engine.md.
"""

from __future__ import annotations

import importlib.util
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

import duckdb

from hitsduck import canary
from hitsduck.errors import (
    BadValueError,
    EngineError,
    HitsduckError,
    InstrumentError,
    LeftOutError,
    NotAnApdbError,
    QueryError,
    RerunLockedError,
    SchemaError,
)
from hitsduck.quoting import quote_identifier, quote_text

EXTENSION_PACKAGE = "duckdb-extension-sqlite-scanner"
#: Of DuckDB.
ENGINE_VERSION: str = duckdb.__version__
_EXTENSION_MODULE = "duckdb_extension_sqlite_scanner"

#: The settings that keep DuckDB's answers over SQLite files right (docs/engine.md).
#: Global, or the cursor of another thread would be without them.
PROTECTIONS = (
    "set global disabled_optimizers = 'common_subplan,cte_inlining'",
    canary.LONE_SCANS,
)

#: Errors that a view raises with error('hitsduck <kind>: <message>').
_RAISED_BY_VIEWS: Mapping[str, type[HitsduckError]] = {
    "instrument": InstrumentError,
    "schema": SchemaError,
    "value": BadValueError,
    "left out": LeftOutError,
}
_RAISED = re.compile(r"hitsduck (instrument|schema|value|left out): (.*)", re.DOTALL)
#: How DuckDB says that a text is no number, date or the like.
_NOT_CONVERTED = re.compile(
    r"Could not convert string '(?P<text>.*)' to (?P<kind>\w+)"
    r"|invalid (?P<format>\w+) field format: \"(?P<stamp>.*?)\"",
    re.DOTALL,
)
#: Set while columns that a store left out are NULL instead of an error.
LEFT_OUT_IS_NULL = "hitsduck_left_out_is_null"

#: The oldest DuckDB that reads our files. In the form for still older ones the distinct values
#: of every column are converted at each attaching, which takes most of its time.
STORAGE_VERSION = "v1.1.0"

#: In which DuckDB tells its memory.
_BINARY_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")

#: What is said of a text that cannot be read.
NO_UTF8 = "no UTF-8"

Parameters = Mapping[str, Any] | Sequence[Any] | None
Tracer = Callable[[str, Parameters], None]


def _extension_file() -> Path | None:
    """Return the packaged extension's file, or None where the package is missing."""
    spec = importlib.util.find_spec(_EXTENSION_MODULE)
    if spec is None or not spec.submodule_search_locations:
        return None
    for folder in spec.submodule_search_locations:
        files = sorted(Path(folder).rglob("sqlite_scanner.duckdb_extension"))
        matching = [file for file in files if duckdb.__version__ in str(file.parent)]
        if matching or files:
            return (matching or files)[0]
    return None


def _open(database: str, config: Mapping[str, str | int]) -> tuple[duckdb.DuckDBPyConnection, str]:
    """Open a database with the SQLite reader, and say where that came from.

    DuckDB checks the signature of the reader's 35 MB each time, which takes longer than
    all other opening. Here it is checked once for each file, time and size.
    """
    file = _extension_file()
    problems = []
    if file is None:
        problems.append(f"the package {EXTENSION_PACKAGE} is not installed")
    else:
        stat = file.stat()
        checked = f"signature of {file}, {stat.st_size} bytes of {stat.st_mtime_ns}"
        for is_checked in dict.fromkeys((canary.remembers(checked), False)):
            unsigned = {"allow_unsigned_extensions": "true"} if is_checked else {}
            connection = duckdb.connect(database, config={**config, **unsigned})
            try:
                connection.execute(f"load {quote_text(file)}")
            except duckdb.Error as error:
                connection.close()
                problems.append(f"the packaged one ({file}): {str(error).splitlines()[0]}")
                continue
            if not is_checked:
                canary.remember(checked)
            return connection, f"{EXTENSION_PACKAGE} ({file.parent.name})"
    connection = duckdb.connect(database, config=dict(config))
    try:
        connection.execute("load sqlite_scanner")
        return connection, "an installed sqlite_scanner"
    except duckdb.Error as error:
        connection.close()
        problems.append(f"an installed one: {str(error).splitlines()[0]}")
    raise EngineError(
        f"DuckDB {duckdb.__version__} has no SQLite reader; the packages duckdb and "
        f"{EXTENSION_PACKAGE} must have the same version, here {duckdb.__version__} "
        f"(tried: {'; '.join(problems)})"
    )


#: How DuckDB says that somebody pressed Ctrl-C.
_INTERRUPTED = re.compile(r"Query interrupted|INTERRUPT Error")


class Settings(TypedDict, total=False):
    """The engine's settings."""

    threads: int | None
    memory_limit: str | None
    temp_directory: str | os.PathLike[str] | None


class Connection:
    """A DuckDB database with SQLite files attached read-only.

    Parameters
    ----------
    database : path-like, optional
        The file of a new workspace; in memory where there is none.
    threads : int, optional
    memory_limit : str, optional
        As DuckDB takes it, ``"2GB"`` say.
    temp_directory : path-like, optional
        Where DuckDB spills.
    tracer : callable, optional
        Called with every statement and its parameters.
    """

    def __init__(
        self,
        *,
        database: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        memory_limit: str | None = None,
        temp_directory: str | os.PathLike[str] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        config: dict[str, str | int] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
        }
        if database is not None:
            config["storage_compatibility_version"] = STORAGE_VERSION
        if threads is not None:
            config["threads"] = threads
        if memory_limit is not None:
            config["memory_limit"] = memory_limit
        if temp_directory is not None:
            if not isinstance(temp_directory, str | os.PathLike):
                raise EngineError(f"temp_directory is {temp_directory!r}; a path is wanted")
            place = Path(temp_directory).absolute()
            if not (place if place.exists() else place.parent).is_dir():
                raise EngineError(
                    f"temp_directory (--temp-directory) {temp_directory}: there is no such folder; "
                    "make it first"
                )
            config["temp_directory"] = os.fspath(temp_directory)
        try:
            self._root, self.extension = _open(os.fspath(database or ":memory:"), config)
        except (duckdb.Error, ValueError) as error:
            given = ("threads (--threads)", "memory_limit (--memory-limit)", "temp_directory")
            values = (threads, memory_limit, temp_directory)
            said = [f"{n} {v!r}" for n, v in zip(given, values, strict=True) if v is not None]
            hint = "; give the memory with its unit, 2GB say" if "emory" in str(error) else ""
            raise EngineError(
                f"DuckDB refuses {', '.join(said)}: {str(error).splitlines()[0]}{hint}"
            ) from error
        self._tracer = tracer
        self._local = threading.local()
        self._lock = threading.Lock()
        self._cursors: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        self._home = "main"
        self._local.cursor = self._root
        for setting in PROTECTIONS:
            self.execute(setting)
        # One thread loses no row where several do: ask for each number of threads.
        canary.ask_once(
            self._root,
            f"duckdb {duckdb.__version__}, {self.extension}, {self.n_threads()} threads",
        )

    def take_over(self) -> None:
        """Let this thread, not the one that connected, ask without a cursor of its own."""
        self._local.cursor = self._root

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return this thread's own cursor (one connection is not safe across threads)."""
        cursor = getattr(self._local, "cursor", None)
        if cursor is None:
            with self._lock:
                cursor = self._root.cursor()
                self._cursors.add(cursor)
            cursor.execute(f"set schema = {quote_text(quote_identifier(self._home))}")
            self._local.cursor = cursor
        return cursor

    def execute(self, sql: str, parameters: Parameters = None) -> duckdb.DuckDBPyConnection:
        """Run one statement with bound values; every statement passes here."""
        if self._tracer is not None:
            self._tracer(sql, parameters)
        try:
            return self.cursor().execute(sql, parameters)
        except (duckdb.Error, RuntimeError) as error:
            raise _of_the_query(error, sql, parameters) or translated(error) from error

    def use_schema(self, schema: str) -> None:
        """Make `schema` the one that unqualified names mean, for new threads too."""
        self._home = schema
        self.execute(f"set schema = {quote_text(quote_identifier(schema))}")

    @contextmanager
    def within(self, schema: str) -> Iterator[None]:
        """Let unqualified names mean `schema` for a while, in this thread alone."""
        self.execute(f"set schema = {quote_text(quote_identifier(schema))}")
        try:
            yield
        finally:
            self.execute(f"set schema = {quote_text(quote_identifier(self._home))}")

    @contextmanager
    def left_out_as_null(self) -> Iterator[None]:
        """Let what a store left out be NULL for a while, in this thread alone."""
        self.execute(f"set variable {LEFT_OUT_IS_NULL} = true")
        try:
            yield
        finally:
            self.execute(f"reset variable {LEFT_OUT_IS_NULL}")

    def attach(self, path: Path, catalog: str) -> None:
        """Attach an SQLite file read-only under the name `catalog`."""
        self.execute(
            f"attach {quote_text(path)} as {quote_identifier(catalog)} (type sqlite, read_only)"
        )

    def database(self) -> str:
        """Return the name of the database that the connection was opened with."""
        row = self._root.execute("select current_database()").fetchone()
        assert row is not None
        return str(row[0])

    def n_threads(self) -> int:
        """Return how many threads DuckDB works with."""
        row = self._root.execute("select current_setting('threads')").fetchone()
        assert row is not None
        return int(row[0])

    def memory_limit_bytes(self) -> int:
        """Return DuckDB's limit of memory in bytes, as it rounds it."""
        row = self._root.execute("select current_setting('memory_limit')").fetchone()
        assert row is not None
        number, unit = str(row[0]).split()
        return int(float(number) * 1024 ** _BINARY_UNITS.index(unit))

    def share_scans(self) -> None:
        """Let several threads read one SQLite table.

        Only for files whose tables all `can_be_sliced`: of others the last row is lost.
        """
        self.execute(canary.SHARED_SCANS)

    def close(self) -> None:
        """Close the database and every cursor of it."""
        with self._lock:
            for cursor in list(self._cursors):
                cursor.close()
            self._root.close()


def import_ahead() -> None:
    """Import what DuckDB imports with the first value that it binds: pandas, where it is installed.

    Called before threads share some work: one of them would take half of it for all of it.
    """
    with suppress(ImportError):
        import_module("pandas")


def _of_the_query(error: Exception, sql: str, parameters: Parameters) -> QueryError | None:
    """Return the complaint about a text that the query itself compares with what is no text.

    None where the text is not its own, but some file's.
    """
    found = _NOT_CONVERTED.search(str(error))
    if found is None or not isinstance(error, duckdb.ConversionException):
        return None
    text = found["text"] if found["stamp"] is None else found["stamp"]
    kind = (found["kind"] or found["format"]).upper()
    values = parameters if isinstance(parameters, Mapping) else {}
    named = [f"${name}" for name, value in values.items() if value == text]
    if not named and (not text or quote_text(text) not in sql):
        return None
    are = "is" if len(named) == 1 else "are"
    where = f"{' and '.join(named)} {are} {text!r}" if named else f"the query has {text!r}"
    return QueryError(f"{where} where {kind} is wanted")


def translated(error: Exception) -> HitsduckError:
    """Return a DuckDB error as ours, in the user's words."""
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, RuntimeError | duckdb.InterruptException) and _INTERRUPTED.search(first):
        raise KeyboardInterrupt from error  # the user's, which DuckDB has turned into its own
    raised = _RAISED.search(text)
    if raised:
        return _RAISED_BY_VIEWS[raised[1]](raised[2].strip())
    if isinstance(error, UnicodeDecodeError):
        return BadValueError(f"a text cell holds bytes that are {NO_UTF8} ({first})")
    if "Invalid unicode" in first:
        return BadValueError(f"a text cell holds bytes that are {NO_UTF8}")
    is_unreadable = "Mismatch Type" in first or "Unimplemented SQLite type" in first
    if is_unreadable or isinstance(error, duckdb.ConversionException):
        return BadValueError(first)
    if isinstance(
        error,
        duckdb.ParserException
        | duckdb.BinderException
        | duckdb.CatalogException
        | duckdb.InvalidInputException
        | duckdb.PermissionException,
    ):
        return QueryError(_one_line(text))
    if "Unable to transform python value" in first:
        return QueryError(first)
    if "database is locked" in text:
        return RerunLockedError(f"an APDB is locked by a process that writes it: {first}")
    if "malformed" in first or "file is not a database" in first or "disk I/O error" in first:
        return NotAnApdbError(f"an APDB is damaged or cut off: {first}")
    if isinstance(error, duckdb.OutOfMemoryException):
        return EngineError(
            f"{first}; raise memory_limit (--memory-limit) or give a temp_directory with room"
        )
    return EngineError(_one_line(text))


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("LINE ", "^"))]
    return " ".join(kept[:3])
