"""Stores reruns in a workspace: one DuckDB file, in columns.

Each APDB is read once, under the names of schema 10.0.0 (`hitsduck.importing`). What was stored
is checked against SQLite's own count and sums before anything gets its final name.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import duckdb

import hitsduck
from hitsduck import attaching, canary, columnar, definitions, detection, ready, schema, views
from hitsduck.attaching import STAGED, AttachedRerun
from hitsduck.columnar import WORKSPACE_SCHEMA, ColumnarRerun, Look, Manifest, Origin
from hitsduck.connection import ENGINE_VERSION, Connection, Settings
from hitsduck.errors import EngineError, NotAnApdbError, OutputError, QueryError
from hitsduck.importing import Importer, stored_columns
from hitsduck.inspection import SIMULATED_MARK, ApdbFile
from hitsduck.outputs import database_kind
from hitsduck.quoting import quote_identifier, quote_text
from hitsduck.views import ViewMaker

#: Ends the name of what is not complete yet.
_PARTIAL = ".hitsduck-partial"
#: Ends the name of the folder where DuckDB spills what belongs to a database file.
_SPILLED = ".tmp"


#: Told after each table, and before a rerun's views: rerun, table or "views", rows done, in all.
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
    views : str
        Computed when it was stored: ``current``, ``earlier`` (those of another hitsduck, so
        that each question computes them until the workspace is refreshed) or ``none``.
    """

    rerun: str
    path: str
    state: str
    generation: str
    n_rows: dict[str, int]
    columns: str
    versions: dict[str, str]
    views: str


def definitions_stored(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Return by what the views of a workspace were made.

    Parameters
    ----------
    path : path-like
        A workspace.

    Returns
    -------
    dict of str to dict
        {rerun: {``instrument``, ``moments``: each a name or None, ``bad_flags``: sorted names}}.
    """
    found: dict[str, dict[str, Any]] = {}
    with closing(columnar.Door(Connection)) as door:
        connection, catalog = door.connection, quote_identifier(door.catalog(as_path(path)))
        for stored in status(path):
            home = f"{catalog}.{quote_identifier(stored.rerun)}"
            asked = f"select instrument, moments_unit from {home}.rerun"
            instrument, moments = connection.execute(asked).fetchall()[0]
            flags = connection.execute(f"select flag from {home}.good_definition order by flag")
            found[stored.rerun] = {
                "instrument": instrument,
                "moments": moments,
                "bad_flags": [flag for (flag,) in flags.fetchall()],
            }
    return found


def create_workspace(
    path: str | os.PathLike[str],
    reruns: Sequence[AttachedRerun],
    *,
    columns: str | Sequence[str] | Mapping[str, str] = "all",
    overwrite: bool = False,
    progress: Progress | None = None,
    **settings: Unpack[Settings],
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
        DiaSource and DiaObject; what views, comparisons and pictures ask for, and the
        flags, are always there. A mapping says it for
        each rerun; those of a workspace are taken over as they are.
    overwrite : bool
        Whether a file of this name may be replaced.
    progress : callable, optional
        Called after each table.
    **settings
        The engine's: ``threads``, ``memory_limit``, ``temp_directory``.

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
    target = Path(os.path.realpath(as_path(path)))
    _check_free(target, overwrite=overwrite)
    alike = [rerun.name for rerun in reruns if rerun.name.casefold() == target.stem.casefold()]
    if alike:
        raise OutputError(
            f"{target}: is called like its rerun {alike[0]!r}, so that DuckDB could not tell file "
            "and rerun apart; give the file another name"
        )
    with partial_of(target) as partial:
        with ExitStack() as stack:
            connection = Connection(database=partial, **settings)
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
            total = Total(reruns, progress)
            for rerun in reruns:
                asked = columns.get(rerun.name, "all") if isinstance(columns, Mapping) else columns
                if isinstance(rerun.file, ColumnarRerun) and isinstance(columns, Mapping):
                    writer.take_over(rerun)
                else:
                    writer.add(rerun, asked_columns(asked), total)
            writer.finish(total)
        _give_name(partial, target, overwrite=overwrite)
    return Path(path)


def _check_free(target: Path, *, overwrite: bool) -> None:
    """Refuse a name that something bears, unless it is a workspace that may be replaced.

    Raises
    ------
    OutputError
    """
    if target.exists():
        _check_replaceable(target)
        if not overwrite:
            raise OutputError(
                f"{target}: is there already; refresh it (`hitsduck workspace refresh {target}`), "
                "or allow it to be overwritten (--overwrite, overwrite=True)"
            )


def _give_name(partial: Path, target: Path, *, overwrite: bool) -> None:
    """Let what is written bear its name; another file may have come to bear it meanwhile."""
    if not overwrite:
        # A link, unlike a new name, takes the place of nothing.
        with suppress(OSError):
            os.link(partial, target)
            return
    _check_free(target, overwrite=overwrite)
    os.replace(partial, target)


def _check_replaceable(target: Path) -> None:
    """Refuse to put a workspace in the place of anything but a workspace.

    Raises
    ------
    OutputError
    """
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; name the file of the workspace")
    kind = database_kind(target) or "a file of another kind"
    try:
        is_workspace = columnar.is_workspace(target) and bool(columnar.manifests(target))
    except NotAnApdbError:
        is_workspace = False
    if not is_workspace:
        raise OutputError(
            f"{target}: is {kind} and no workspace that can be read, over which none is ever "
            "written; name a new file for the workspace"
        )


@contextmanager
def partial_of(target: Path) -> Iterator[Path]:
    """Give a name beside `target` to write under; what is left under it goes."""
    folder = target.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{target}: there is no folder {folder}; make it first")
    _sweep(folder)
    try:
        handle, name = tempfile.mkstemp(
            dir=folder, prefix=f".hitsduck_{target.name}.{os.getpid()}.", suffix=_PARTIAL
        )
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
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
        shutil.rmtree(f"{partial}{_SPILLED}", ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what processes that are gone have left half written."""
    for rest in folder.glob(f".*{_PARTIAL}*"):
        name = rest.name.removesuffix(".wal").removesuffix(_SPILLED)
        parts = name.removesuffix(_PARTIAL).rsplit(".", 2)
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


def asked_columns(columns: str | Sequence[str]) -> str:
    """Return the columns to store as one text."""
    if isinstance(columns, str):
        return columns
    if not isinstance(columns, Sequence) or not all(isinstance(name, str) for name in columns):
        raise QueryError(f"columns is {columns!r}; it is all, notebook, or a list of names")
    return ",".join(columns)


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return where to write."""
    if not isinstance(path, str | os.PathLike):
        raise OutputError(f"{path!r} is no path; name the file or folder to write")
    return Path(path)


class Total:
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
        """Say that a table is done."""
        self._done += self.rows[rerun].get(table, 0)
        self.said(rerun, table)

    def said(self, rerun: str, what: str) -> None:
        """Say what is done now."""
        if self._progress is not None:
            self._progress(rerun, what, self._done, self._all)


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
        origin = Origin(
            str(file.path.absolute()),
            file.state.parts,
            file.prefix,
            file.tables,
            file.change_counter,
        )
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
        self._importer = Importer(connection)
        self._stored: dict[str, tuple[AttachedRerun, Manifest]] = {}

    def _attach(self, rerun: AttachedRerun) -> AttachedRerun:
        """Attach one rerun's file under a name of its own."""
        told = replace(rerun, catalog=f"hitsduck_read_{len(self._stored)}")
        statement = told.file.attach_sql(told.catalog)
        if statement is not None:
            self._connection.execute(statement)
        return told

    def add(self, rerun: AttachedRerun, columns: str, total: Total) -> None:
        """Read one rerun."""
        told = self._attach(rerun)
        self._connection.execute(scans(told.file.can_be_sliced))
        home = quote_identifier(rerun.name)
        self._connection.execute(f"create schema if not exists {home}")
        rows = {}
        for table in STAGED.values():
            if table not in rerun.file.tables:
                continue
            stored = f"{home}.{quote_identifier(table)}"

            def write(select: str, stored: str = stored) -> str:
                self._connection.execute(f"create or replace table {stored} as {select}")
                return stored

            self._importer.store(told, table, columns, write)
            rows[table] = total.rows[rerun.name][table]
            total.told(rerun.name, table)
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

    def finish(self, total: Total) -> None:
        """Lay the views over the tables, write the manifests and close the file."""
        connection = self._connection
        for name, (rerun, manifest) in self._stored.items():
            here = _as_stored(rerun, manifest)
            connection.use_schema(name)
            total.said(name, "views")
            definitions.create_tables(connection, here)
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
            digest = ready.store(connection, here)
            assert isinstance(here.file, ColumnarRerun)
            looks = detection.looks(here.file, Look(connection, connection.database()))
            self._stored[name] = (rerun, replace(manifest, ready=digest, looks=looks))
            given = staged | (ready.beside(here) if digest else {})
            maker = ViewMaker(connection, name, given)
            for view in views.view_names():
                maker.ensure(view)
        self._lay_unions()
        # As JSON: binding a value would make DuckDB import pandas (docs/engine.md).
        rows = [
            {"number": number, "rerun": name, "manifest": manifest.to_json()}
            for number, (name, (_, manifest)) in enumerate(self._stored.items())
        ]
        listed = self._folder / "manifests.json"
        listed.write_text(json.dumps(rows), encoding="utf-8")
        connection.execute(
            f"insert into {WORKSPACE_SCHEMA}.rerun_manifest by name select * from "
            f"read_json({quote_text(listed)}, format = 'array', maximum_object_size = "
            f"{max(listed.stat().st_size, 1):d}, "
            "columns = {number: 'integer', rerun: 'varchar', manifest: 'varchar'})"
        )
        connection.use_schema("main")
        connection.execute("checkpoint")

    def _lay_unions(self) -> None:
        connection = self._connection
        connection.execute(f"create schema {attaching.ALL_RERUNS}")
        for name in (*definitions.DEFINITION_TABLES, *views.view_names()):
            connection.execute(
                f"create view {attaching.ALL_RERUNS}.{quote_identifier(name)} as "
                f"{views.union_sql(name, self._stored)}"
            )


def scans(can_be_sliced: bool) -> str:
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
            state=manifest.origin.state if manifest.origin else "current",
            generation=schema.generation("DiaSource", manifest.origin.tables["DiaSource"])
            if manifest.origin
            else "unknown",
            n_rows=manifest.rows,
            columns=manifest.columns,
            versions=manifest.versions,
            views=ready.state(manifest),
        )
        for name, manifest in columnar.manifests(Path(path)).items()
    ]
