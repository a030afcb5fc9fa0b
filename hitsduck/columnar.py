"""Reruns stored in columns: in a workspace file, or as a folder of Parquet files.

Both hold the tables of an APDB under the names of schema 10.0.0 and a manifest that
says where the rows came from. What is here reads them; `hitsduck.storing` writes them.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from hitsduck.connection import Connection
from hitsduck.errors import (
    HitsduckError,
    NotAnApdbError,
    QueryError,
    RerunChangedError,
    RerunNotFoundError,
)
from hitsduck.inspection import (
    SAMPLE_ROWS,
    SIMULATED_MARK,
    ApdbFile,
    FileState,
    change_counter,
    find_apdb,
)
from hitsduck.outputs import database_kind
from hitsduck.quoting import quote_identifier, quote_text

#: Name of the file that makes a folder of Parquet files a rerun.
MANIFEST = "manifest.json"
#: Schema of a workspace that holds one manifest for each rerun.
WORKSPACE_SCHEMA = "hitsduck_workspace"
#: Raised when a workspace of today cannot be read by the hitsduck of yesterday.
LAYOUT = 1
_DUCKDB_MAGIC = b"DUCK"
#: Places of a table where rows are looked at: each takes longer than the rows there.
_SAMPLE_PLACES = 5
#: Workspaces whose contents are remembered.
_MOST_KNOWN = 8
#: Path, bytes, mtime and ctime in ns, inode and number of names of some files.
_State = tuple[tuple[str, int, int, int, int, int], ...]


@dataclass(frozen=True)
class Origin:
    """The APDB file that stored rows came from.

    Attributes
    ----------
    path : str
    parts : tuple of (str, int, int)
        Suffix, bytes and mtime in ns of the file and those beside it, as `FileState`.
    prefix : str
    tables : dict of str to dict of str to str
        Its columns and their declared types, which tell its generation.
    change_counter : int or None
        As its header said; None where it was not noted.
    """

    path: str
    parts: tuple[tuple[str, int, int], ...]
    prefix: str
    tables: dict[str, dict[str, str]]
    change_counter: int | None = None

    @property
    def state(self) -> str:
        """``current``, ``changed`` (another file than was read) or ``gone``, as it is now."""
        path = Path(self.path)
        parts = FileState.of(path).parts
        if not parts:
            return "gone"
        is_same = parts == self.parts and self.change_counter in (None, change_counter(path))
        return "current" if is_same else "changed"


@dataclass(frozen=True)
class Manifest:
    """What a store says of one rerun.

    Attributes
    ----------
    name : str
        Of the rerun.
    rows : dict of str to int
        Rows of each table.
    files : dict of str to list of str
        Parquet files of each table, below the folder; empty in a workspace.
    metadata : dict of str to str
        Rows of the APDB's metadata table, or what the simulator says of itself.
    origin : Origin or None
        None where no APDB was read, as in the simulator's Parquet folders.
    columns : str
        Which columns were stored: ``all``, ``notebook``, or names with commas.
    versions : dict of str to str
        Of hitsduck and its engine when the rows were stored.
    ready : str or None
        What the views follow from that were computed when the rerun was stored
        (`hitsduck.ready`); None where none were.
    looks : dict of str to list of list
        What each opening asks the rows, asked when they were stored: `look_key` -> the
        values of each column.
    """

    name: str
    rows: dict[str, int]
    files: dict[str, list[str]]
    metadata: dict[str, str]
    origin: Origin | None
    columns: str
    versions: dict[str, str]
    ready: str | None = None
    looks: dict[str, list[list[Any]]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the manifest as JSON."""
        document: dict[str, Any] = {
            "layout": LAYOUT,
            "name": self.name,
            "columns": self.columns,
            "versions": self.versions,
            "metadata": self.metadata,
            "tables": {
                table: {"rows": rows, "files": self.files.get(table, [])}
                for table, rows in self.rows.items()
            },
        }
        if self.ready is not None:
            document["ready"] = self.ready
        if self.looks:
            document["looks"] = self.looks
        if self.origin is not None:
            document["origin"] = {
                "path": self.origin.path,
                "parts": [list(part) for part in self.origin.parts],
                "prefix": self.origin.prefix,
                "tables": self.origin.tables,
                "change_counter": self.origin.change_counter,
            }
        return json.dumps(document, indent=None if self.looks else 1)

    @classmethod
    def of_json(cls, text: str, *, where: str, name: str) -> Manifest:
        """Read a manifest.

        Raises
        ------
        NotAnApdbError
            It is none of ours, or of a newer hitsduck.
        """
        try:
            document = json.loads(text)
            layout = int(document.get("layout", LAYOUT))
            tables = document["tables"]
            told = document.get("origin")
            origin = told and Origin(
                told["path"],
                tuple((str(part[0]), int(part[1]), int(part[2])) for part in told["parts"]),
                told["prefix"],
                told["tables"],
                told.get("change_counter"),
            )
            manifest = cls(
                name=document.get("name", name),
                rows={table: int(of_table["rows"]) for table, of_table in tables.items()},
                files={
                    table: list(of_table.get("files", [])) for table, of_table in tables.items()
                },
                metadata=_metadata(document),
                origin=origin,
                columns=document.get("columns", "all"),
                versions=document.get("versions", {}),
                ready=document.get("ready"),
                looks=document.get("looks", {}),
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise NotAnApdbError(f"{where}: its manifest cannot be read ({error!r})") from error
        if layout > LAYOUT:
            raise NotAnApdbError(
                f"{where}: was written by a newer hitsduck (layout {layout}); install that one"
            )
        return manifest


def _metadata(document: Mapping[str, Any]) -> dict[str, str]:
    if "metadata" in document:
        return {str(key): str(value) for key, value in document["metadata"].items()}
    # The simulator's own manifest holds its marks and the instrument beside the tables.
    plain = {key: value for key, value in document.items() if isinstance(value, str)}
    return {key: value for key, value in plain.items() if key != "columns"}


@dataclass(frozen=True)
class Look:
    """A connection where a store is attached, and under which name.

    Attributes
    ----------
    connection : Connection
    catalog : str
    """

    connection: Connection
    catalog: str


class Door:
    """The connection through which some reruns are read, made when it is first needed.

    A workspace that is looked into stays attached under the name that its reruns are
    read by later: to attach it takes as long as most else at an opening.

    Parameters
    ----------
    connect : callable
        Makes the connection.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._coming: Future[Connection] | None = None
        self._connection: Connection | None = None
        self._n_attached = 0
        self._catalogs: dict[Path, tuple[str, _State]] = {}

    def begin(self) -> None:
        """Begin to connect in another thread, while this one looks into files.

        Where no thread can be had, it is connected when it is needed.
        """
        if self._connection is None:
            pool = ThreadPoolExecutor(1)
            with suppress(RuntimeError):
                self._coming = pool.submit(self._connect)
            pool.shutdown(wait=False)

    @property
    def connection(self) -> Connection:
        """The connection."""
        if self._connection is None and self._coming is not None:
            self._connection = self._coming.result()
            self._connection.take_over()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def catalog(self, store: Path) -> str:
        """Return the name under which a workspace is attached; it is attached when needed."""
        place = Path(os.path.realpath(store))
        if place not in self._catalogs:
            self._n_attached += 1
            name = f"hitsduck_store_{self._n_attached}"
            state = _state([store.absolute()])
            self.connection.execute(
                f"attach {quote_text(place)} as {quote_identifier(name)} (read_only)"
            )
            self._catalogs[place] = (name, state)
        return self._catalogs[place][0]

    def state(self, store: Path) -> _State:
        """Return a workspace's `_state` from before it was attached, or that of now.

        Who takes its place later is noticed: what is attached stays the file of before.
        """
        attached = self._catalogs.get(Path(os.path.realpath(store)))
        return attached[1] if attached else _state([store.absolute()])

    def leave(self, store: Path) -> None:
        """Detach a workspace, so that another can be written in its place."""
        attached = self._catalogs.pop(Path(os.path.realpath(store)), None)
        if attached:
            self.connection.execute(f"detach {quote_identifier(attached[0])}")

    def close(self) -> None:
        """Close the connection, where one was made; twice does no harm."""
        if self._connection is not None:
            self._connection.close()
        elif self._coming is not None:
            self._coming.add_done_callback(_close)  # nobody waits for what nobody needs
            self._coming = None


def _close(coming: Future[Connection]) -> None:
    if coming.exception() is None:
        coming.result().close()


@dataclass(frozen=True)
class ColumnarRerun:
    """One rerun in a store; it answers what `inspection.ApdbFile` answers.

    Attributes
    ----------
    path : Path
        As it is opened: ``WORKSPACE:RERUN``, or the folder of Parquet files.
    store : Path
        The workspace file, or the folder.
    manifest : Manifest
    tables : dict of str to dict of str to str
        Table -> {column of schema 10.0.0: DuckDB type}.
    schema : str or None
        Where the tables lie in the workspace; None for Parquet files.
    files : dict of str to tuple of Path
        Table -> its Parquet files; empty for a workspace.
    state : tuple of (str, int, int, int, int, int)
        Path, bytes, mtime and ctime in ns, inode and number of names of every file that is
        read, at opening.
    """

    path: Path
    store: Path
    manifest: Manifest
    tables: dict[str, dict[str, str]]
    schema: str | None
    files: dict[str, tuple[Path, ...]]
    state: _State

    #: Threads may share a scan: the rows lie in DuckDB's own format.
    can_be_sliced: ClassVar[bool] = True
    prefix: ClassVar[str] = ""
    #: Nothing is copied.
    is_private_copy: ClassVar[bool] = False

    @property
    def metadata(self) -> dict[str, str]:
        """Rows of the APDB's metadata table."""
        return self.manifest.metadata

    @property
    def origin_tables(self) -> dict[str, dict[str, str]]:
        """Columns of the APDB that the rows came from."""
        origin = self.manifest.origin
        return self.tables if origin is None else origin.tables

    @property
    def folder(self) -> Path | None:
        """The folder of Parquet files; None for a workspace."""
        return self.store if self.schema is None else None

    @property
    def is_simulated(self) -> bool:
        """Whether hitsduck's simulator wrote what the store was made from."""
        return SIMULATED_MARK in self.metadata

    @property
    def origin_path(self) -> Path | None:
        """The APDB that the rows came from; None where none was read."""
        origin = self.manifest.origin
        return None if origin is None else Path(origin.path)

    @property
    def is_stale(self) -> bool:
        """Whether the APDB that the rows came from is another now; False where it is gone."""
        origin = self.manifest.origin
        return origin is not None and origin.state == "changed"

    @property
    def folder_of_origin(self) -> Path:
        """The folder of the APDB that the rows came from, beside which catalogues lie."""
        origin = self.manifest.origin
        return self.store.absolute() if origin is None else Path(origin.path).parent

    def read_from(self) -> tuple[Path, tuple[object, ...]]:
        """Return the file that the rows come from, the APDB, and what it was when it was read."""
        origin = self.manifest.origin
        return (self.path, self.state) if origin is None else (Path(origin.path), origin.parts)

    def size_and_mtime(self) -> tuple[int, float]:
        """Return the bytes of the store, and when it was last changed (Unix seconds)."""
        now = _state([Path(part[0]) for part in self.state])
        return sum(part[1] for part in now), max(part[2] for part in now) / 1e9

    def table_name(self, table: str) -> str:
        """Return the name of `table` in the store."""
        return table

    def attach_sql(self, catalog: str) -> str | None:
        """Return the statement that attaches the workspace; None for Parquet files."""
        if self.folder is not None:
            return None
        return f"attach {quote_text(self.store)} as {quote_identifier(catalog)} (read_only)"

    def attach(self, door: Door) -> str | None:
        """Return the name under which the workspace is attached; None for Parquet files."""
        return None if self.folder is not None else door.catalog(self.store)

    def relation(self, table: str, catalog: str) -> str:
        """Return a table as SQL."""
        if self.schema is None:
            return parquet_sql(self.files[table])
        return ".".join(quote_identifier(part) for part in (catalog, self.schema, table))

    @contextmanager
    def reading(self) -> Iterator[Look]:
        """Open the store for a look."""
        with closing(Door(Connection)) as door:
            yield Look(door.connection, self.attach(door) or "")

    def count_rows(self) -> dict[str, int]:
        """Return the rows of each table."""
        with self.reading() as look:
            return {
                table: _first(
                    look.connection, f"select count(*) from {self.relation(table, look.catalog)}"
                )
                for table in self.tables
            }

    def n_rows_at_most(self, table: str) -> int:
        """Return the rows of `table`, as the manifest tells them."""
        return self.manifest.rows.get(table, 0)

    def distinct_or_sample(
        self, look: Look, table: str, columns: Sequence[str]
    ) -> tuple[list[tuple[object, ...]], bool]:
        """Return the distinct values of `columns`, without NULLs; always complete."""
        kept = self.manifest.looks.get(look_key("distinct", table, columns))
        if kept is not None:
            return list(zip(*kept, strict=True)), True
        listed = ", ".join(quote_identifier(column) for column in columns)
        present = " and ".join(f"{quote_identifier(column)} is not null" for column in columns)
        relation = self.relation(table, look.catalog)
        if len(columns) == 1:
            # Rows that repeat the one before them add nothing, in whatever order they come;
            # they lie in order of visit, so that few are left to make distinct.
            relation = f"(select {listed}, lag({listed}) over () as the_one_before from {relation})"
            present += f" and {listed} is distinct from the_one_before"
        rows = look.connection.execute(
            f"select distinct {listed} from {relation} where {present} order by all"
        ).fetchall()
        return rows, True

    def sample(
        self, look: Look, table: str, columns: Sequence[str]
    ) -> tuple[list[tuple[object, ...]], bool]:
        """Return `columns` of at most `SAMPLE_ROWS` rows, spread over the table."""
        kept = self.manifest.looks.get(look_key("sample", table, columns))
        if kept is not None:
            return list(zip(*kept, strict=True)), self.manifest.rows[table] <= SAMPLE_ROWS
        listed = ", ".join(quote_identifier(column) for column in columns)
        relation, connection = self.relation(table, look.catalog), look.connection
        n_rows = _first(connection, f"select count(*) from {relation}")
        if n_rows <= SAMPLE_ROWS:
            return connection.execute(f"select {listed} from {relation}").fetchall(), True
        if self.schema is not None:
            n_each = SAMPLE_ROWS // _SAMPLE_PLACES
            firsts = [
                (n_rows - n_each) * place // (_SAMPLE_PLACES - 1) for place in range(_SAMPLE_PLACES)
            ]
            rows = connection.execute(
                " union all ".join(
                    f"select {listed} from {relation} "
                    f"where rowid between {first:d} and {first + n_each - 1:d}"
                    for first in firsts
                )
            ).fetchall()
            if len(rows) == SAMPLE_ROWS:
                return rows, False
        rows = connection.execute(
            f"select {listed} from {relation} using sample reservoir({SAMPLE_ROWS:d} rows) "
            "repeatable (25125)"
        ).fetchall()
        return rows, False

    def check_readable(self) -> None:
        """Do nothing: DuckDB checks its own files as it reads them."""

    def check_unchanged(self, rerun: str) -> None:
        """Raise `RerunChangedError` when the store is not what it was at opening."""
        try:
            now = _state([Path(part[0]) for part in self.state])
        except OSError as error:
            raise RerunChangedError(f"rerun {rerun!r}: {self.path} went away: {error}") from error
        if _is_other(self.state, now):
            raise RerunChangedError(
                f"rerun {rerun!r}: {self.path} changed while it was open, so numbers from before "
                "and after would be mixed; open it again"
            )


def parquet_sql(files: Sequence[Path]) -> str:
    """Return the rows of some Parquet files as SQL.

    What is in the files counts, and nothing that a folder above them is called: by
    itself DuckDB takes ``band=g`` in a path for a column of every row.
    """
    listed = ", ".join(quote_text(file) for file in files)
    return f"read_parquet([{listed}], hive_partitioning = false)"


def look_key(kind: str, table: str, columns: Sequence[str]) -> str:
    """Return the key of `Manifest.looks` for columns of a table, ``distinct`` or a ``sample``."""
    return f"{kind} {table} {' '.join(columns)}"


#: What a rerun may be read from.
RerunFile = ApdbFile | ColumnarRerun


def _first(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _state(paths: Sequence[Path]) -> _State:
    found = []
    for path in paths:
        stat = os.stat(path)
        times = stat.st_mtime_ns, stat.st_ctime_ns
        found.append((str(path), stat.st_size, *times, stat.st_ino, stat.st_nlink))
    return tuple(found)


def _is_other(was: _State, now: _State) -> bool:
    """Return whether files are others; one more name of a file, or one less, is no change.

    Of several processes that fill a cache each gives its file the common name, and the one
    that was the first keeps it.
    """
    for (*file, ctime, inode, n_names), (*old_file, old_ctime, old_inode, old_n_names) in zip(
        now, was, strict=True
    ):
        if file != old_file or inode != old_inode:
            return True
        if ctime != old_ctime and n_names == old_n_names:
            return True
    return False


def is_workspace(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is a DuckDB database file."""
    try:
        with Path(path).open("rb") as file:
            return file.read(12)[8:] == _DUCKDB_MAGIC
    except OSError:
        return False


def parted(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Return the file and the rerun of ``WORKSPACE:RERUN``; a path as it is else."""
    place = Path(path)
    if not place.exists():
        file, colon, rerun = os.fspath(path).rpartition(":")
        if colon and rerun and is_workspace(file):
            return Path(file), rerun
    return place, None


def find(path: str | os.PathLike[str], door: Door) -> ColumnarRerun | None:
    """Return the stored rerun that `path` means, or None where it means an SQLite file.

    Parameters
    ----------
    path : path-like
        A workspace that holds one rerun, ``WORKSPACE:RERUN``, or a folder of Parquet files.
    door : Door
        Where a store is looked into.

    Raises
    ------
    RerunNotFoundError
        The workspace has no rerun of this name, or several and none is named.
    NotAnApdbError
        The store is damaged, or none of ours.
    """
    if not os.fspath(path):
        return None
    try:
        place, rerun = parted(path)
        is_store = is_workspace(place)
        is_folder = place.is_dir() and (place / MANIFEST).is_file() and not _holds_apdb(place)
    except OSError:  # what cannot be looked at is no store; `inspect` says why
        return None
    if is_store:
        return _of_workspace(place, rerun, door)
    return _of_folder(place, door) if is_folder else None


def _holds_apdb(place: Path) -> bool:
    """Return whether a folder itself holds an APDB; `find_apdb` looks above it too."""
    try:
        return find_apdb(place).parent == place
    except (RerunNotFoundError, NotAnApdbError):
        return False


def manifests(path: Path, door: Door | None = None) -> dict[str, Manifest]:
    """Return the manifests of a workspace, by rerun, in the order of storing.

    Parameters
    ----------
    path : Path
    door : Door, optional
        Where the workspace is looked into, if reruns of it are to be read after that.

    Raises
    ------
    NotAnApdbError
        It is a DuckDB file but no workspace, or damaged.
    """
    if door is not None:
        found = _contents(path, door.state(path), door)
    else:
        with closing(Door(Connection)) as own:
            found = _contents(path, own.state(path), own)
    return {name: manifest for name, (manifest, _) in found.items()}


_Tables = dict[str, dict[str, str]]
_Contents = dict[str, tuple[Manifest, _Tables]]

_known: dict[_State, _Contents] = {}
_known_lock = threading.Lock()


def _contents(path: Path, state: _State, door: Door) -> _Contents:
    """Return manifest and tables of every rerun of a workspace, as it was at `state`.

    To attach a workspace takes longer the more columns it has, so that it is done once.
    """
    with _known_lock:
        if state in _known:
            return _known[state]
    found = _look_into(path, door)
    with _known_lock:
        _known[state] = found
        for old in list(_known)[:-_MOST_KNOWN]:
            del _known[old]
    return found


def _look_into(path: Path, door: Door) -> _Contents:
    if not is_workspace(path):
        raise NotAnApdbError(
            f"{path}: is {database_kind(path) or 'no database'} and no workspace of hitsduck; make "
            "one with `hitsduck workspace create`"
        )
    try:
        catalog = quote_identifier(door.catalog(path))
        rows = door.connection.execute(
            f"select rerun, manifest from {catalog}.{WORKSPACE_SCHEMA}.rerun_manifest "
            "order by number"
        ).fetchall()
        found: _Contents = {}
        for name, text in rows:
            manifest = Manifest.of_json(text, where=f"{path}, rerun {name!r}", name=name)
            found[name] = (manifest, {table: {} for table in manifest.rows})
        _add_columns(door.connection, catalog, found)
        return found
    except NotAnApdbError:
        raise
    except QueryError as error:
        raise NotAnApdbError(
            f"{path}: is a DuckDB database but no workspace of hitsduck; make one with "
            "`hitsduck workspace create`"
        ) from error
    except HitsduckError as error:
        raise NotAnApdbError(
            f"{path}: cannot be read as a workspace ({error}); make it again"
        ) from error


def _add_columns(connection: Connection, catalog: str, found: _Contents) -> None:
    """Fill in the columns of every stored table: one statement, quicker than DESCRIBE of each."""
    asked = []
    for rerun, (_, tables) in found.items():
        for table in tables:
            relation = f"{catalog}.{quote_identifier(rerun)}.{quote_identifier(table)}"
            if '""' in relation:  # pragma_table_info takes no name that holds a quotation mark
                tables[table] = _columns(connection, relation)
            else:
                asked.append((rerun, table, relation))
    if not asked:
        return
    rows = connection.execute(
        " union all ".join(
            f"select {number:d} as number, cid, name, type from "
            f"pragma_table_info({quote_text(relation)})"
            for number, (_, _, relation) in enumerate(asked)
        )
        + " order by number, cid"
    ).fetchall()
    for number, _, column, kind in rows:
        rerun, table, _ = asked[number]
        found[rerun][1][table][str(column)] = str(kind)


def _columns(connection: Connection, relation: str) -> dict[str, str]:
    rows = connection.execute(f"describe select * from {relation}").fetchall()
    return {str(name): str(kind) for name, kind, *_ in rows}


def _of_workspace(path: Path, rerun: str | None, door: Door) -> ColumnarRerun:
    state = door.state(path)
    found = _contents(path, state, door)
    if rerun is None and len(found) == 1:
        rerun = next(iter(found))
    if rerun is None or rerun not in found:
        asked = "name one" if rerun is None else f"no {rerun!r}"
        raise RerunNotFoundError(
            f"{path}: a workspace of {len(found)} reruns, {asked} of "
            f"{', '.join(f'{path}:{name}' for name in found)}"
        )
    named = path.with_name(f"{path.name}:{rerun}")
    manifest, tables = found[rerun]
    # The state is the one from before the file was looked into: what changes it later is seen.
    return _complete(ColumnarRerun(named, path, manifest, tables, rerun, {}, state))


def _of_folder(folder: Path, door: Door) -> ColumnarRerun:
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    manifest = Manifest.of_json(text, where=str(folder), name=folder.absolute().name)
    absolute = folder.absolute()
    files = {
        table: tuple(absolute / name for name in names)
        for table, names in manifest.files.items()
        if names
    }
    every = [absolute / MANIFEST, *(file for of_table in files.values() for file in of_table)]
    lost = [file for file in every if not file.is_file()]
    if lost:
        raise NotAnApdbError(f"{folder}: {lost[0]} of its manifest is missing; copy it again")
    bare = ColumnarRerun(folder, folder, manifest, {}, None, files, _state(every))
    try:
        tables = {table: _columns(door.connection, bare.relation(table, "")) for table in files}
    except HitsduckError as error:
        raise NotAnApdbError(f"{folder}: cannot be read ({error}); make it again") from error
    return _complete(replace(bare, tables=tables))


def _complete(rerun: ColumnarRerun) -> ColumnarRerun:
    if not {"DiaSource", "DiaObject"} <= set(rerun.tables):
        raise NotAnApdbError(f"{rerun.path}: holds no tables DiaSource and DiaObject")
    return rerun
