"""Stores reruns in columns: workspaces (one DuckDB file) and folders of Parquet files.

Each APDB is read once, in parallel, under the names of schema 10.0.0. What was read is
checked against SQLite's own count and sums before anything gets its final name.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import duckdb

import hitsduck
from hitsduck import attaching, canary, columnar, ready, schema, suggestions, views
from hitsduck.attaching import STAGED, AttachedRerun
from hitsduck.columnar import MANIFEST, WORKSPACE_SCHEMA, ColumnarRerun, Manifest, Origin
from hitsduck.connection import ENGINE_VERSION, Connection
from hitsduck.errors import EngineError, OutputError, QueryError, RerunChangedError
from hitsduck.inspection import SIMULATED_MARK, ApdbFile, FileState
from hitsduck.quoting import quote_identifier, quote_text
from hitsduck.views import ViewMaker

#: What no table can do without: keys, positions, validity; flags are always stored.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "DiaSource": ("diaSourceId", "diaObjectId", "visit", "detector", "ccdVisitId", "ra", "dec"),
    "DiaObject": ("diaObjectId", "validityStartMjdTai", "validityEndMjdTai"),
    "DiaForcedSource": ("diaObjectId", "visit", "detector", "ccdVisitId"),
    "DetectorVisitProcessingSummary": ("visit", "detector"),
}
#: What rows are ordered by, so that a question about a visit reads few of them.
_ORDER: Mapping[str, tuple[str, ...]] = {
    "DiaSource": ("visit", "ccdVisitId", "detector", "diaSourceId"),
    "DiaObject": ("diaObjectId", "validityStartMjdTai"),
    "DiaForcedSource": ("visit", "ccdVisitId", "detector", "diaObjectId"),
    "DetectorVisitProcessingSummary": ("visit", "detector"),
}
#: Rows of a Parquet file's groups.
_GROUP_ROWS = 262_144
#: Relative difference of two sums of the same numbers in another order.
_SUM_TOLERANCE = 1e-9
_PARTIAL = ".hitsduck-partial"
#: What the system says where no more can be written.
_FULL = ("No space left", "Disk quota exceeded", "File too large", "disk is full")


class Settings(TypedDict, total=False):
    """The engine's settings."""

    threads: int | None
    memory_limit: str | None
    temp_directory: str | os.PathLike[str] | None


#: Told after each table: rerun, table, rows done, rows in all.
Progress = Callable[[str, str, int, int], None]


@dataclass(frozen=True)
class StoredRerun:
    """What a workspace says of one of its reruns.

    Attributes
    ----------
    rerun : str
    path : str
        The APDB that it was read from.
    state : str
        ``current``, ``changed`` (the APDB is another than was read), or ``gone``.
    generation : str
        Of the APDB's DiaSource.
    n_rows : dict of str to int
        Rows of each table.
    columns : str
        What was stored: ``all``, ``notebook`` or names.
    versions : dict of str to str
        Of hitsduck and DuckDB when it was stored.
    """

    rerun: str
    path: str
    state: str
    generation: str
    n_rows: dict[str, int]
    columns: str
    versions: dict[str, str]


def create_workspace(
    path: str | os.PathLike[str],
    reruns: Sequence[AttachedRerun],
    *,
    columns: str | Sequence[str] | Mapping[str, str] = "all",
    overwrite: bool = False,
    threads: int | None = None,
    memory_limit: str | None = None,
    temp_directory: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a workspace of some reruns.

    Parameters
    ----------
    path : path-like
        The file; nothing bears this name before all is there.
    reruns : sequence of AttachedRerun
        To be read from their APDBs (or another store).
    columns : str or sequence of str
        ``all``, ``notebook`` (what the analysis of 2020 reads), or columns of
        DiaSource and DiaObject; keys and flags are always there. A mapping says it for
        each rerun; those of a workspace are taken over as they are.
    overwrite : bool
        Whether a file of this name may be replaced.
    threads, memory_limit, temp_directory
        The engine's settings.
    progress : callable, optional
        Called after each table.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        It cannot be written: there is one already, the disk is full.
    RerunChangedError
        An APDB changed while it was read, or SQLite counts or sums otherwise.
    """
    target = _path(path)
    if target.exists() and not overwrite:
        raise OutputError(
            f"{target}: is there already; refresh it (`hitsduck workspace refresh {target}`), "
            "or allow it to be overwritten (--overwrite, overwrite=True)"
        )
    alike = [rerun.name for rerun in reruns if rerun.name.casefold() == target.stem.casefold()]
    if alike:
        raise OutputError(
            f"{target}: is called like its rerun {alike[0]!r}, so that DuckDB could not tell file "
            "and rerun apart; give the file another name"
        )
    with _partial(target) as partial:
        with ExitStack() as stack:
            connection = Connection(
                database=partial,
                threads=threads,
                memory_limit=memory_limit,
                temp_directory=temp_directory,
            )
            stack.callback(connection.close)
            connection.execute("set global preserve_insertion_order = false")
            for statement in views.macros():
                connection.execute(statement)
            connection.execute(f"create schema {WORKSPACE_SCHEMA}")
            connection.execute(
                f"create table {WORKSPACE_SCHEMA}.rerun_manifest "
                "(number integer, rerun varchar, manifest varchar)"
            )
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitsduck-")))
            writer = _WorkspaceWriter(connection, folder)
            total = _Total(reruns, progress)
            for rerun in reruns:
                asked = columns.get(rerun.name, "all") if isinstance(columns, Mapping) else columns
                if isinstance(rerun.file, ColumnarRerun) and isinstance(columns, Mapping):
                    writer.take_over(rerun)
                else:
                    writer.add(rerun, _asked(asked), total)
            writer.finish()
        os.replace(partial, target)
    return target


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Give a name beside `target` to write under; what is left under it goes."""
    folder = target.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{target}: there is no folder {folder}; make it first")
    _sweep(folder)
    handle, name = tempfile.mkstemp(
        dir=folder, prefix=f".hitsduck_{target.name}.{os.getpid()}.", suffix=_PARTIAL
    )
    os.close(handle)
    partial = Path(name)
    partial.unlink()  # DuckDB makes its own
    try:
        yield partial
    except (EngineError, duckdb.Error, OSError) as error:
        if "No space left" in str(error) or ("disk" in str(error) and "full" in str(error)):
            raise OutputError(
                f"{target}: the disk of {folder} is full; nothing was written: {error}"
            ) from error
        raise
    finally:
        for rest in (partial, Path(f"{partial}.wal")):
            rest.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what processes that are gone have left half written."""
    for rest in folder.glob(f".*{_PARTIAL}*"):
        parts = rest.name.removesuffix(".wal").removesuffix(_PARTIAL).rsplit(".", 2)
        with suppress(ValueError, OSError):
            owner = int(parts[1])
            if not _is_alive(owner):
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _asked(columns: str | Sequence[str]) -> str:
    if isinstance(columns, str):
        return columns
    if not isinstance(columns, Sequence) or not all(isinstance(name, str) for name in columns):
        raise QueryError(f"columns is {columns!r}; it is all, notebook, or a list of names")
    return ",".join(columns)


def _path(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise OutputError(f"{path!r} is no path; name the file or folder to write")
    return Path(path)


def _chosen(columns: str) -> Mapping[str, frozenset[str]] | None:
    """Return {table: columns that are stored}; None stands for all.

    Raises
    ------
    QueryError
        A column does not exist.
    """
    if columns == "all":
        return None
    flags = frozenset(schema.flag_names())
    if columns == "notebook":
        wanted = {table: frozenset(names) for table, names in schema.NOTEBOOK_COLUMNS.items()}
    else:
        names = frozenset(part.strip() for part in columns.split(",") if part.strip())
        known = {
            table: {column.name for column in schema.columns(table)}
            for table in ("DiaSource", "DiaObject")
        }
        unknown = sorted(names - set().union(*known.values()))
        if unknown:
            every = sorted(set().union(*known.values()))
            meant = [suggestions.column_meant(name, every) for name in unknown]
            hint = f"did you mean {', '.join(filter(None, meant))}? " if any(meant) else ""
            raise QueryError(
                f"no column {', '.join(unknown)} in DiaSource or DiaObject; {hint}say all, "
                'notebook, or columns of the views (hitsduck sql RERUN "describe dia_source")'
            )
        wanted = {table: names & of_table for table, of_table in known.items()}
    return {
        table: wanted[table] | set(_REQUIRED[table]) | (flags if table == "DiaSource" else set())
        for table in wanted
    }


class _Total:
    """How much has been read, and whom to tell."""

    def __init__(self, reruns: Sequence[AttachedRerun], progress: Progress | None) -> None:
        self._progress = progress
        self._done = 0
        self.rows = {
            rerun.name: {
                table: n for table, n in rerun.file.count_rows().items() if table in STAGED.values()
            }
            for rerun in reruns
        }
        self._all = sum(n for of_rerun in self.rows.values() for n in of_rerun.values())

    def told(self, rerun: str, table: str) -> None:
        self._done += self.rows[rerun].get(table, 0)
        if self._progress is not None:
            self._progress(rerun, table, self._done, self._all)


def stored_columns(rerun: AttachedRerun, table: str, columns: str) -> dict[str, str]:
    """Return {canonical column: SQL over the physical table} of what is stored of a table.

    Columns that the generation lacks are not stored: the views give NULL for them.
    """
    physical = rerun.file.tables[table]
    chosen = _chosen(columns)
    flags = set(schema.flags_in_file(physical)) if table == "DiaSource" else set()
    expressions = attaching.staged_expressions(rerun, table, has_rows=True)
    return {
        name: expression
        for name, expression in expressions.items()
        if (schema.physical_name(table, name, physical) is not None or name in flags)
        and (chosen is None or table not in chosen or name in chosen[table])
    }


class _Reader:
    """Reads tables of reruns into temporary tables, and checks what it has read."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def staged(self, rerun: AttachedRerun, table: str, columns: str) -> str:
        """Read one table; return its stored form as SELECT, floats narrowed and in order.

        Raises
        ------
        RerunChangedError
            The file changed, or SQLite does not agree with what was read.
        """
        rerun.file.check_unchanged(rerun.name)
        expressions = stored_columns(rerun, table, columns)
        terms = ", ".join(f"{sql} as {quote_identifier(n)}" for n, sql in expressions.items())
        self.connection.execute("drop table if exists temp.hitsduck_stage")
        with ThreadPoolExecutor(1) as pool:
            theirs: Future[dict[str, float]] | None = None
            if isinstance(rerun.file, ApdbFile):
                theirs = pool.submit(_sqlite_sums, rerun.file, table, list(expressions))
            self.connection.execute(
                f"create temp table hitsduck_stage as select {terms} from {rerun.physical(table)}"
            )
            if theirs is not None:
                self._agree(rerun, table, theirs.result())
        rerun.file.check_unchanged(rerun.name)
        narrow = self._narrow(table, list(expressions))
        listed = ", ".join(
            f"cast({quote_identifier(n)} as float) as {quote_identifier(n)}"
            if n in narrow
            else quote_identifier(n)
            for n in expressions
        )
        order = [quote_identifier(name) for name in _ORDER[table] if name in expressions]
        ordered = f" order by {', '.join(order)}" if order else ""
        return f"select {listed} from temp.hitsduck_stage{ordered}"

    def _agree(self, rerun: AttachedRerun, table: str, theirs: Mapping[str, float]) -> None:
        """Compare the rows and the sum of each column with SQLite's own."""
        names = [name for name in theirs if name]
        terms = "".join(
            f", sum(cast({quoted} as double)), sum(abs(cast({quoted} as double)))"
            for quoted in map(quote_identifier, names)
        )
        row = self.connection.execute(f"select count(*){terms} from temp.hitsduck_stage").fetchone()
        assert row is not None
        problems = []
        if row[0] != theirs[""]:
            problems.append(f"{row[0]} rows where SQLite counts {theirs['']:.0f}")
        for number, name in enumerate(names):
            total, size = row[1 + 2 * number] or 0.0, row[2 + 2 * number] or 0.0
            is_sum = math.isclose(total, theirs[name], rel_tol=0, abs_tol=_SUM_TOLERANCE * size)
            if math.isfinite(theirs[name]) and math.isfinite(total) and not is_sum:
                problems.append(f"{name}: a sum of {total} where SQLite has {theirs[name]}")
        if problems:
            raise RerunChangedError(
                f"rerun {rerun.name!r} ({rerun.file.path}): {table} was read otherwise than SQLite "
                f"counts it ({'; '.join(problems[:3])}); is it being written? Nothing was stored"
            )

    def _narrow(self, table: str, names: Sequence[str]) -> set[str]:
        """Return the columns of 32-bit floats whose every value such a float can hold."""
        kinds = {column.name: column.type for column in schema.columns(table)}
        floats = [name for name in names if kinds[name] == "FLOAT"]
        if not floats:
            return set()
        terms = ", ".join(
            f"coalesce(bool_and(coalesce(cast(try_cast({quoted} as float) as double) = {quoted}, "
            f"{quoted} is null)), true)"
            for quoted in map(quote_identifier, floats)
        )
        row = self.connection.execute(f"select {terms} from temp.hitsduck_stage").fetchone()
        assert row is not None
        return {name for name, holds in zip(floats, row, strict=True) if holds}


def _sqlite_sums(file: ApdbFile, table: str, canonical: Sequence[str]) -> dict[str, float]:
    """Return {column: its sum} as SQLite has it; under "" the number of rows.

    Only of columns that are stored as they are: numbers under an older or the same name.
    """
    names = {}
    kinds = {column.name: column.type for column in schema.columns(table)}
    for name in canonical:
        physical = schema.physical_name(table, name, file.tables[table])
        is_number = kinds[name] not in ("VARCHAR", "BLOB")
        if physical is not None and is_number and not _is_time(file.tables[table][physical]):
            names[name] = physical
    terms = "".join(f", total({quote_identifier(physical)})" for physical in names.values())
    with file.reading() as connection:
        row = connection.execute(
            f"select count(*){terms} from {quote_identifier(file.table_name(table))}"
        ).fetchone()
    return dict(zip(["", *names], map(float, row), strict=True))


def _is_time(declared: str) -> bool:
    return "TIME" in declared.upper() or "DATE" in declared.upper()


def _versions() -> dict[str, str]:
    return {"hitsduck": hitsduck.__version__, "duckdb": ENGINE_VERSION}


def manifest_of(
    rerun: AttachedRerun, rows: Mapping[str, int], columns: str, files: Mapping[str, list[str]]
) -> Manifest:
    """Return the manifest of a rerun that is stored now."""
    file = rerun.file
    metadata = dict(file.metadata)
    if isinstance(file, ApdbFile) and file.is_simulated:
        metadata[SIMULATED_MARK] = "true"  # a file without metadata says it in its header alone
    if isinstance(file, ColumnarRerun):
        origin = file.manifest.origin
        columns = columns if columns != "all" else file.manifest.columns
    else:
        origin = Origin(str(file.path.absolute()), file.state.parts, file.prefix, file.tables)
    return Manifest(
        name=rerun.name,
        rows=dict(rows),
        files={table: list(names) for table, names in files.items()},
        metadata=metadata,
        origin=origin,
        columns=columns,
        versions=_versions(),
    )


class _WorkspaceWriter:
    """Fills a workspace that nobody sees yet."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self._reader = _Reader(connection)
        self._stored: dict[str, tuple[AttachedRerun, Manifest]] = {}

    def _attach(self, rerun: AttachedRerun) -> AttachedRerun:
        """Attach one rerun's file under a name of its own."""
        told = replace(rerun, catalog=f"hitsduck_read_{len(self._stored)}")
        statement = told.file.attach_sql(told.catalog)
        if statement is not None:
            self._connection.execute(statement)
        return told

    def add(self, rerun: AttachedRerun, columns: str, total: _Total) -> None:
        """Read one rerun."""
        told = self._attach(rerun)
        self._connection.execute(_scans(told.file.can_be_sliced))
        home = quote_identifier(rerun.name)
        self._connection.execute(f"create schema if not exists {home}")
        rows = {}
        for table in STAGED.values():
            if table not in rerun.file.tables:
                continue
            select = self._reader.staged(told, table, columns)
            self._connection.execute(f"create table {home}.{quote_identifier(table)} as {select}")
            rows[table] = total.rows[rerun.name][table]
            total.told(rerun.name, table)
        self._connection.execute("drop table if exists temp.hitsduck_stage")
        if told.file.attach_sql(told.catalog) is not None:
            self._connection.execute(f"detach {quote_identifier(told.catalog)}")
        self._stored[rerun.name] = (rerun, manifest_of(rerun, rows, columns, {}))

    def take_over(self, rerun: AttachedRerun) -> None:
        """Copy a rerun of an earlier workspace, as it is."""
        assert isinstance(rerun.file, ColumnarRerun)
        told = self._attach(rerun)
        home = quote_identifier(rerun.name)
        self._connection.execute(f"create schema if not exists {home}")
        for table in rerun.file.tables:
            self._connection.execute(
                f"create table {home}.{quote_identifier(table)} as "
                f"select * from {told.physical(table)} order by rowid"
            )
        self._connection.execute(f"detach {quote_identifier(told.catalog)}")
        self._stored[rerun.name] = (rerun, rerun.file.manifest)

    def finish(self) -> None:
        """Lay the views over the tables, write the manifests and close the file."""
        connection = self._connection
        for name, (rerun, manifest) in self._stored.items():
            here = _as_stored(rerun, manifest)
            connection.use_schema(name)
            attaching.create_definition_tables(connection, here, self._folder)
            staged = {
                view: attaching.staged_sql(
                    here,
                    table,
                    # Without its schema: the view finds it beside itself, whatever the file
                    # is called where it is attached.
                    quote_identifier(table) if table in here.file.tables else None,
                )
                for view, table in STAGED.items()
            }
            maker = ViewMaker(connection, name, staged)
            for view in views.view_names():
                maker.ensure(view)
            self._stored[name] = (rerun, replace(manifest, ready=ready.store(connection, here)))
        self._lay_unions()
        for number, (name, (_, manifest)) in enumerate(self._stored.items()):
            connection.execute(
                f"insert into {WORKSPACE_SCHEMA}.rerun_manifest values (?, ?, ?)",
                [number, name, manifest.to_json()],
            )
        connection.use_schema("main")
        connection.execute("checkpoint")

    def _lay_unions(self) -> None:
        connection = self._connection
        connection.execute(f"create schema {attaching.ALL_RERUNS}")
        for name in (*attaching.DEFINITION_TABLES, *views.view_names()):
            connection.execute(
                f"create view {attaching.ALL_RERUNS}.{quote_identifier(name)} as "
                f"{views.union_sql(name, self._stored)}"
            )


def _scans(can_be_sliced: bool) -> str:
    """Return the setting with which a file's tables are read."""
    return canary.SHARED_SCANS if can_be_sliced else canary.LONE_SCANS


def _as_stored(rerun: AttachedRerun, manifest: Manifest) -> AttachedRerun:
    """Return the rerun as its stored tables make it."""
    if isinstance(rerun.file, ColumnarRerun) and rerun.file.manifest is manifest:
        return rerun
    tables = {
        table: dict.fromkeys(stored_columns(rerun, table, manifest.columns), "DOUBLE")
        for table in manifest.rows
    }
    file = ColumnarRerun(rerun.file.path, rerun.file.path, manifest, tables, rerun.name, {}, ())
    return replace(rerun, file=file)


def status(path: str | os.PathLike[str]) -> list[StoredRerun]:
    """Say what a workspace holds, and whether its APDBs are still what was read.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    list of StoredRerun
        In the order of storing.

    Raises
    ------
    NotAnApdbError
        It is no workspace.
    """
    return [
        StoredRerun(
            rerun=name,
            path=manifest.origin.path if manifest.origin else "",
            state=_state_of(manifest),
            generation=schema.generation("DiaSource", manifest.origin.tables["DiaSource"])
            if manifest.origin
            else "unknown",
            n_rows=manifest.rows,
            columns=manifest.columns,
            versions=manifest.versions,
        )
        for name, manifest in columnar.manifests(Path(path)).items()
    ]


def _state_of(manifest: Manifest) -> str:
    if manifest.origin is None:
        return "current"
    found = FileState.of(Path(manifest.origin.path)).parts
    if not found:
        return "gone"
    return "current" if found == manifest.origin.parts else "changed"


def export_parquet(
    rerun: AttachedRerun,
    folder: str | os.PathLike[str],
    *,
    columns: str | Sequence[str] = "all",
    overwrite: bool = False,
    threads: int | None = None,
    memory_limit: str | None = None,
    temp_directory: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write one rerun as a folder of Parquet files with a manifest.

    Parameters
    ----------
    rerun : AttachedRerun
    folder : path-like
        New, empty, or where `overwrite` says so an earlier export.
    overwrite : bool
        Whether an earlier export may be replaced.
    columns, threads, memory_limit, temp_directory, progress
        As for `create_workspace`.

    Returns
    -------
    Path
        The folder, which can be opened as a rerun.

    Raises
    ------
    OutputError, RerunChangedError
    """
    target = _path(folder)
    if target.exists() and not _is_replaceable(target):
        raise OutputError(
            f"{target}: is there and no earlier export; name a new folder, or empty this one"
        )
    if target.exists() and any(target.iterdir()) and not overwrite:
        raise OutputError(
            f"{target}: holds an earlier export already; name a new folder, or allow it to be "
            "overwritten (--overwrite, overwrite=True)"
        )
    asked = _asked(columns)
    with _partial(target) as partial:
        try:
            partial.mkdir()
            connection = Connection(
                threads=threads, memory_limit=memory_limit, temp_directory=temp_directory
            )
            try:
                connection.execute("set global preserve_insertion_order = false")
                manifest = _write_parquet(connection, rerun, partial, asked, progress)
            finally:
                connection.close()
            (partial / MANIFEST).write_text(manifest.to_json() + "\n", encoding="utf-8")
            if target.exists():
                shutil.rmtree(target)
            os.replace(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _is_replaceable(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = {entry.name for entry in folder.iterdir()}
    return names <= {MANIFEST, *STAGED.values()}


def _write_parquet(
    connection: Connection,
    rerun: AttachedRerun,
    folder: Path,
    columns: str,
    progress: Progress | None,
) -> Manifest:
    for statement in views.macros():
        connection.execute(statement)
    connection.execute(_scans(rerun.file.can_be_sliced))
    told = replace(rerun, catalog="hitsduck_read")
    attached = told.file.attach_sql(told.catalog)
    if attached is not None:
        connection.execute(attached)
    total = _Total([rerun], progress)
    reader = _Reader(connection)
    rows, files = {}, {}
    for table in STAGED.values():
        if table not in rerun.file.tables:
            continue
        select = reader.staged(told, table, columns)
        (folder / table).mkdir()
        file = folder / table / "part-0000.parquet"
        connection.execute(
            f"copy ({select}) to {quote_text(file)} "
            f"(format parquet, compression zstd, row_group_size {_GROUP_ROWS:d})"
        )
        rows[table] = total.rows[rerun.name][table]
        files[table] = [f"{table}/{file.name}"]
        total.told(rerun.name, table)
    return manifest_of(rerun, rows, columns, files)
