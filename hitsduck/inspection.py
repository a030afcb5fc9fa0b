"""What one SQLite file is, asked of SQLite itself before DuckDB attaches it.

Nothing here scans a table: the file's header is read, the table definitions,
distinct ids over an index (or a spread sample of rows), and that is all.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from hitsduck.errors import (
    HitsduckError,
    IncompleteWarning,
    NotAnApdbError,
    RerunChangedError,
    RerunCopyWarning,
    RerunLockedError,
    RerunNotFoundError,
)
from hitsduck.outputs import database_kind
from hitsduck.quoting import quote_identifier, quote_text

_MAGIC = b"SQLite format 3\x00"
#: Seconds that a reader waits for a writer's lock before it says so.
LOCK_TIMEOUT_S = 1.0
#: Rows looked at where no index gives the distinct values.
SAMPLE_ROWS = 1000

#: Rows that DuckDB's SQLite reader takes in one slice of a scan.
SLICE_ROWS = 122_880
#: Row ids kept clear of the end of a slice, on both sides, where slices are read at once.
SLICE_MARGIN = 16

#: `application_id` in the header of a file that hitsduck's simulator wrote: "HDSM".
SIMULATED_ID = 0x4844534D
#: The row of a metadata table, or of a store's, that says the same.
SIMULATED_MARK = "simulated"
#: Beside simulated reruns lies a note of this name, which begins so.
SIMULATED_NOTE, SIMULATED_NOTE_BEGINS = "SIMULATED.txt", "SIMULATED DATA"
#: File names that an error lists at most.
_MOST_NAMES = 6

#: Tables of an APDB that hitsduck reads, under their plain names.
APDB_TABLES = (
    "DiaSource",
    "DiaObject",
    "DiaForcedSource",
    "DiaObjectLast",
    "SSObject",
    "SSSource",
    "DetectorVisitProcessingSummary",
    "metadata",
)


@dataclass(frozen=True)
class FileState:
    """Size and modification time of a database and of the files beside it.

    Attributes
    ----------
    parts : tuple of (str, int, int)
        Suffix, bytes and mtime in ns of each.
    changes : tuple of (int, int)
        The inode of each, and when the system last noted a change of it, in ns, whatever the
        mtime was set to; a new link or other rights count too.
    """

    parts: tuple[tuple[str, int, int], ...]
    changes: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Look at the file, its -wal and its -journal now."""
        parts, changes = [], []
        plain = os.fspath(path)
        for suffix in ("", "-wal", "-journal"):
            name = plain + suffix
            # Mostly there is no such file, and each look-up by id asks four times: an error
            # takes three times as long as an answer.
            if suffix and not os.access(name, os.F_OK):
                continue
            try:
                stat = os.stat(name)
            except FileNotFoundError:
                continue
            parts.append((suffix, stat.st_size, stat.st_mtime_ns))
            changes.append((stat.st_ino, stat.st_ctime_ns))
        return cls(tuple(parts), tuple(changes))


@dataclass(frozen=True)
class WatchedFile:
    """An APDB that must not change as long as numbers of it are given.

    Attributes
    ----------
    path : Path
        The file that the user named.
    state : FileState
        Of `path` when it was opened.
    change_counter : int or None
        As `change_counter` read it then.
    """

    path: Path
    state: FileState
    change_counter: int | None

    @classmethod
    def of(cls, path: Path) -> WatchedFile:
        """Look at a file now."""
        return cls(path, FileState.of(path), change_counter(path))

    def check_unchanged(self, rerun: str) -> None:
        """Raise `RerunChangedError` when the file is not what it was at opening."""
        try:
            now = FileState.of(self.path)
        except OSError as error:
            raise RerunChangedError(f"rerun {rerun!r}: {self.path} went away: {error}") from error
        if now != self.state and not self._is_touched_only(now):
            raise RerunChangedError(
                f"rerun {rerun!r}: {self.path} changed while it was open, so numbers from before "
                "and after would be mixed; open it again when its writer is done"
            )

    def _is_touched_only(self, now: FileState) -> bool:
        """Return whether a file of the same size and mtime holds what it held."""
        has_wal = any(suffix == "-wal" for suffix, *_ in now.parts)
        inodes = [[inode for inode, _ in state.changes] for state in (now, self.state)]
        is_same = now.parts == self.state.parts and inodes[0] == inodes[1] and not has_wal
        return is_same and change_counter(self.path) == self.change_counter


@dataclass(frozen=True)
class ApdbFile(WatchedFile):
    """One APDB file as SQLite describes it.

    Attributes
    ----------
    path, state, change_counter
        As of a `WatchedFile`.
    readable_path : Path
        The file that is read: `path`, or a private copy of a WAL database.
    prefix : str
        Put before every table name (``apdb-cli --prefix``), often empty.
    tables : dict of str to dict of str to str
        Plain table name -> {column: declared SQLite type}.
    metadata : dict of str to str
        Rows of the ``metadata`` table, empty where there is none.
    can_be_sliced : bool
        Whether several threads read every table of it without losing a row
        (`can_be_sliced`); holds as long as `state` does.
    is_simulated : bool
        Whether it bears the mark of hitsduck's simulator: no telescope took any of it.
    """

    readable_path: Path
    prefix: str
    tables: dict[str, dict[str, str]]
    metadata: dict[str, str]
    can_be_sliced: bool
    is_simulated: bool

    #: Of Parquet files that the engine may open.
    folder: ClassVar[Path | None] = None

    @property
    def is_private_copy(self) -> bool:
        """Whether a copy is read that is ours alone, of a WAL database."""
        return self.readable_path != self.path

    @property
    def origin_path(self) -> Path | None:
        """None: the file is the APDB itself."""
        return None

    @property
    def folder_of_origin(self) -> Path:
        """The folder of the file, in or below which catalogues lie."""
        return self.path.absolute().parent

    @property
    def origin_tables(self) -> dict[str, dict[str, str]]:
        """The columns that the pipeline wrote, which tell the generation: `tables`."""
        return self.tables

    def read_from(self) -> tuple[Path, tuple[object, ...]]:
        """Return the file that the rows come from, and what it was: its `FileState`'s parts."""
        return self.path, self.state.parts

    def size_and_mtime(self) -> tuple[int, float]:
        """Return the bytes of the file, and when it was last changed (Unix seconds)."""
        stat = self.path.stat()
        return stat.st_size, stat.st_mtime

    def table_name(self, table: str) -> str:
        """Return the physical name of `table` in this file."""
        return self.prefix + table

    def attach_sql(self, catalog: str) -> str:
        """Return the statement with which DuckDB attaches the file."""
        name = quote_identifier(catalog)
        return f"attach {quote_text(self.readable_path)} as {name} (type sqlite, read_only)"

    def relation(self, table: str, catalog: str) -> str:
        """Return the attached `table` as SQL."""
        return f"{quote_identifier(catalog)}.{quote_identifier(self.table_name(table))}"

    def count_rows(self) -> dict[str, int]:
        """Return the rows of each table, as SQLite counts them."""
        with self.reading() as connection:
            return {
                table: int(
                    connection.execute(
                        f"select count(*) from {quote_identifier(self.table_name(table))}"
                    ).fetchone()[0]
                )
                for table in self.tables
            }

    def n_rows_at_most(self, table: str) -> int:
        """Return a number that the rows of `table` do not exceed, without a scan.

        That of the row ids where the table has them; 0 where there is no such table.
        """
        if table not in self.tables:
            return 0
        name = quote_identifier(self.table_name(table))
        with self.reading() as connection:
            try:
                first, last = connection.execute(
                    f"select (select min(rowid) from {name}), (select max(rowid) from {name})"
                ).fetchone()
            except sqlite3.OperationalError:  # a table WITHOUT ROWID, or a view
                (last,) = connection.execute(f"select count(*) from {name}").fetchone()
                first = 1
        return last - first + 1 if isinstance(first, int) and isinstance(last, int) else 0

    def distinct_or_sample(
        self, connection: sqlite3.Connection, table: str, columns: Sequence[str]
    ) -> tuple[list[tuple[object, ...]], bool]:
        """Return distinct values of `columns` of a table, as the function of this name."""
        return distinct_or_sample(connection, self.table_name(table), columns)

    def sample(
        self, connection: sqlite3.Connection, table: str, columns: Sequence[str]
    ) -> tuple[list[tuple[object, ...]], bool]:
        """Return `columns` of some rows of a table, as the function of this name."""
        return sample(connection, self.table_name(table), columns)

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open the file read-only with sqlite3; complaints name `path`."""
        return reading(self.readable_path, called=self.path)

    def connect(self) -> sqlite3.Connection:
        """Open the file read-only with sqlite3, to be closed by the caller."""
        return _connect(self.readable_path)

    def check_readable(self) -> None:
        """Read the whole file once, to find out which of several is locked or damaged.

        Raises
        ------
        NotAnApdbError, RerunLockedError
        """
        with self.reading() as connection:
            (answer,) = connection.execute("pragma quick_check(1)").fetchone()
        if answer != "ok":
            problem = " ".join(str(answer).split())
            raise NotAnApdbError(f"{self.path}: is damaged ({problem}); copy it again")


def find_apdb(path: str | os.PathLike[str]) -> Path:
    """Return the APDB file meant by `path`: a file, or a folder that holds one.

    A folder holds ``association.db`` (or the folder above does, as ap_verify
    leaves it), or exactly one SQLite file that is an APDB.

    Raises
    ------
    RerunNotFoundError
        Nothing there, or a folder with no APDB or with several.
    RerunLockedError
        A folder or file that may not be read.
    """
    if not isinstance(path, str | os.PathLike):
        raise RerunNotFoundError(f"{path!r} is no path; give the path of a file or folder")
    if not os.fspath(path):
        raise RerunNotFoundError("the path of a rerun is empty")
    try:
        return _find_apdb(Path(path))
    except HitsduckError:
        raise
    except PermissionError as error:
        raise _unreadable(Path(path), error) from error
    except OSError as error:  # a name that no file can have, a loop of links
        raise RerunNotFoundError(f"{os.fspath(path)}: {error.strerror or error}") from error


def _unreadable(path: Path, error: PermissionError) -> RerunLockedError:
    return RerunLockedError(f"{path}: cannot be read: {error.strerror}")


def _find_apdb(place: Path) -> Path:
    if place.is_file():
        return place
    if not place.exists():
        raise RerunNotFoundError(f"{place}: no such file or folder")
    if not place.is_dir():
        raise RerunNotFoundError(f"{place}: neither a file nor a folder")
    if (place / "association.db").is_file():
        return place / "association.db"
    found = [file for file in sorted(place.iterdir()) if _looks_like_apdb(file)]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise RerunNotFoundError(
            f"{place}: holds {len(found)} APDB files ({', '.join(f.name for f in found)}); "
            "name one of them"
        )
    above = place.resolve().parent / "association.db"
    if above.is_file():
        return above
    # The tables of a new file may still be in its -wal alone, which only a copy shows.
    new = [file for file in sorted(place.iterdir()) if _is_sqlite(file) and _has_wal(file)]
    if len(new) == 1:
        return new[0]
    raise RerunNotFoundError(
        f"{place}: a folder without association.db (nor has the folder above) and without any "
        f"other APDB file; it holds {_listed(place)}; name the SQLite file itself"
    )


def _listed(folder: Path) -> str:
    """Return what a folder holds, and whose -wal or -journal lies there alone."""
    names = sorted(file.name for file in folder.iterdir())
    listed = ", ".join(names[:_MOST_NAMES]) or "nothing"
    listed += f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    for name in names:
        database, _, kind = name.rpartition("-")
        if kind in ("wal", "shm", "journal") and database not in names:
            return f"{listed} ({name} is of use only beside {database}, which is missing)"
    return listed


def _has_wal(path: Path) -> bool:
    return Path(f"{path}-wal").exists()


def _is_sqlite(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(16) == _MAGIC
    except OSError:
        return False


def _looks_like_apdb(path: Path) -> bool:
    if not _is_sqlite(path):
        return False
    try:
        with closing(_connect(path, immutable=True)) as connection:
            return bool(_prefixes(connection))
    except (OSError, sqlite3.Error):
        return False


def check_header(path: Path) -> bool:
    """Check the first bytes of a database; return whether it is in WAL mode.

    Raises
    ------
    NotAnApdbError
        Empty, not SQLite, or shorter than its own header says.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
            size = os.fstat(file.fileno()).st_size
    except PermissionError as error:
        raise _unreadable(path, error) from error
    except OSError as error:
        raise NotAnApdbError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not header:
        raise NotAnApdbError(f"{path}: is empty (0 bytes); the run that wrote it left nothing")
    if header[:16] != _MAGIC and (kind := database_kind(path)):
        raise NotAnApdbError(
            f"{path}: is {kind}, no APDB (an SQLite file); a workspace of hitsduck is opened by "
            "its own path"
        )
    if header[:16] != _MAGIC:
        raise NotAnApdbError(
            f"{path}: is no SQLite database (its first 16 bytes say otherwise): encrypted, "
            "compressed or another kind of file"
        )
    if len(header) < 100:
        raise NotAnApdbError(f"{path}: is cut off ({size} bytes); copy it again")
    is_wal = header[18] == 2 or header[19] == 2
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    n_pages = int.from_bytes(header[28:32], "big")
    header_is_current = header[24:28] == header[92:96] and n_pages > 0
    if header_is_current and not is_wal and size < n_pages * page_size:
        raise NotAnApdbError(
            f"{path}: is cut off: {size} bytes where its header says {n_pages * page_size}; "
            "copy it again"
        )
    return is_wal


def change_counter(path: Path) -> int | None:
    """Return how often a database was written, as its header says; None where there is none.

    Which a copy keeps, and no change leaves as it is, but those that are in a -wal.
    SQLite's file format: bytes 24 to 27.
    """
    try:
        with path.open("rb") as file:
            header = file.read(28)
    except OSError:
        return None
    return int.from_bytes(header[24:28], "big") if header[:16] == _MAGIC else None


def _connect(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    # SQLite's URI needs ?, # and % of a path escaped; an absolute path keeps "//" out of it.
    uri = f"file:{quote(str(path.resolve()))}?mode=ro" + ("&immutable=1" if immutable else "")
    return sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S, check_same_thread=False)


@contextmanager
def reading(path: Path, *, called: Path | None = None) -> Iterator[sqlite3.Connection]:
    """Open `path` read-only and put SQLite's complaints into the user's words.

    Parameters
    ----------
    path : Path
    called : Path, optional
        The file as the user named it, where `path` is a private copy of it.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path)
        yield connection
    except sqlite3.Error as error:
        raise in_plain_words(called or path, error) from error
    finally:
        if connection is not None:
            connection.close()


def in_plain_words(path: Path, error: sqlite3.Error) -> HitsduckError:
    """Return what SQLite complains of `path` in the user's words."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return RerunLockedError(
            f"{path}: is locked by a process that writes it; wait until that run is done, "
            "or copy the file and open the copy"
        )
    if "malformed" in text or "not a database" in text or "disk I/O" in text:
        return NotAnApdbError(f"{path}: is damaged or cut off ({text}); copy it again")
    if "readonly" in text or "unable to open" in text:
        return RerunLockedError(
            f"{path}: cannot be opened for reading where it lies ({text}): a writer has crashed "
            "and left a journal, or the folder cannot be read; run `sqlite3 FILE .tables` as its "
            "owner, or copy the file together with its -journal or -wal and open the copy"
        )
    return NotAnApdbError(f"{path}: SQLite says: {text}")


def _prefixes(connection: sqlite3.Connection) -> list[str]:
    names = {
        str(row[0])
        for row in connection.execute(
            "select name from sqlite_master where type in ('table', 'view')"
        )
    }
    return sorted(
        name.removesuffix("DiaSource")
        for name in names
        if name.endswith("DiaSource") and name.removesuffix("DiaSource") + "DiaObject" in names
    )


def inspect(path: str | os.PathLike[str], *, copy_folder: Path | None = None) -> ApdbFile:
    """Open one APDB file for a look: its tables, columns and metadata.

    Parameters
    ----------
    path : path-like
        A file, or a folder as `find_apdb` takes it.
    copy_folder : Path, optional
        Where a private copy of a WAL database is put; a new temporary folder
        otherwise, which the caller has to remove.

    Raises
    ------
    RerunNotFoundError, NotAnApdbError, RerunLockedError
    """
    file = find_apdb(path)
    is_wal = check_header(file)
    watched = WatchedFile.of(file)
    readable = _private_copy(file, copy_folder) if is_wal else file
    with reading(readable, called=file) as connection:
        prefixes = _prefixes(connection)
        if not prefixes:
            raise NotAnApdbError(
                f"{file}: is an SQLite database but no APDB: it has no tables DiaSource and "
                f"DiaObject (it has: {_table_list(connection)})"
            )
        if "" not in prefixes and len(prefixes) > 1:
            raise NotAnApdbError(
                f"{file}: holds several APDBs, with the table prefixes {', '.join(prefixes)}; "
                "give each a file of its own"
            )
        prefix = "" if "" in prefixes else prefixes[0]
        if len(prefixes) > 1 and not _is_view(connection, "DiaSource"):
            others = ", ".join(f"{other}DiaSource" for other in prefixes if other)
            warnings.warn(
                f"{file}: its tables DiaSource and DiaObject are read; {others} and what belongs "
                "to it are not; give each APDB a file of its own",
                IncompleteWarning,
                stacklevel=2,
            )
        tables = {}
        for table in APDB_TABLES:
            columns = _columns(connection, prefix + table)
            if columns:
                tables[table] = columns
        metadata = _metadata(connection, prefix + "metadata") if "metadata" in tables else {}
        sliced = all(can_be_sliced(span) for span in _rowid_spans(connection))
        (mark,) = connection.execute("pragma application_id").fetchone()
    return ApdbFile(
        **vars(watched),
        readable_path=readable,
        prefix=prefix,
        tables=tables,
        metadata=metadata,
        can_be_sliced=sliced,
        is_simulated=mark == SIMULATED_ID,
    )


def can_be_sliced(span: tuple[int, int] | None) -> bool:
    """Return whether DuckDB's reader loses no row of a table when threads share its scan.

    The reader cuts the row ids from the first to the last into slices of `SLICE_ROWS`
    and drops the last row where the slices end just there (docs/engine.md). Tables
    whose last row lies within `SLICE_MARGIN` of such an end, and those that begin
    below row id 1, are read by one thread.

    Parameters
    ----------
    span : tuple of int, or None
        First and last row id; None where the table has no rows.
    """
    if span is None:
        return True
    first, last = span
    beyond = (last - first + 1) % SLICE_ROWS
    is_one_slice = last - first + 1 < SLICE_ROWS - SLICE_MARGIN
    return first >= 1 and (is_one_slice or SLICE_MARGIN < beyond < SLICE_ROWS - SLICE_MARGIN)


def _rowid_spans(connection: sqlite3.Connection) -> Iterator[tuple[int, int] | None]:
    """Go through the first and last row id of every table, without a scan.

    A view, a table without whole numbers for row ids and one that cannot be read count
    as (0, 0), which no threads share.
    """
    listed = "select name, type from sqlite_master where type in ('table', 'view')"
    for table, kind in connection.execute(listed).fetchall():
        name = quote_identifier(table)
        first = last = 0
        if kind == "table":
            with suppress(sqlite3.DatabaseError):
                first, last = connection.execute(
                    f"select (select min(rowid) from {name}), (select max(rowid) from {name})"
                ).fetchone()
        if first is None:
            yield None
        else:
            yield (first, last) if isinstance(first, int) and isinstance(last, int) else (0, 0)


def _is_view(connection: sqlite3.Connection, name: str) -> bool:
    found = connection.execute("select type from sqlite_master where name = ?", (name,)).fetchone()
    return found is not None and found[0] == "view"


def _table_list(connection: sqlite3.Connection) -> str:
    rows = connection.execute("select name from sqlite_master where type = 'table' order by name")
    return ", ".join(str(row[0]) for row in rows) or "no table at all"


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    rows = connection.execute("select name, type from pragma_table_info(?)", (table,))
    return {str(name): str(declared) for name, declared in rows}


def _metadata(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    columns = _columns(connection, table)
    if not {"name", "value"} <= set(columns):
        return {}
    rows = connection.execute(f"select name, value from {quote_identifier(table)}")
    return {str(name): str(value) for name, value in rows}


def _private_copy(file: Path, folder: Path | None) -> Path:
    """Copy a WAL database (reading one leaves -wal and -shm files beside it)."""
    folder = Path(tempfile.mkdtemp(prefix="hitsduck-")) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{len(list(folder.iterdir()))}-{file.name}"
    wal = Path(f"{file}-wal")
    for _ in range(3):
        before = FileState.of(file)
        try:
            shutil.copyfile(file, target)
            if wal.exists():
                shutil.copyfile(wal, f"{target}-wal")
        except OSError as error:
            raise RerunLockedError(
                f"{file}: is in WAL mode, and no private copy can be made in {folder} "
                f"({error.strerror or error}); point TMPDIR to a folder with room"
            ) from error
        if FileState.of(file) == before:
            warnings.warn(
                f"{file} is in WAL mode, where reading leaves files beside it; a private copy "
                f"({target.stat().st_size / 1e6:.0f} MB) is read instead. To avoid the copy: "
                "sqlite3 FILE 'pragma journal_mode = delete'",
                RerunCopyWarning,
                stacklevel=2,
            )
            _fold_wal(target, called=file)
            return target
        Path(f"{target}-wal").unlink(missing_ok=True)
    raise RerunLockedError(
        f"{file}: is being written (WAL mode, it changed during three attempts to copy it); "
        "wait until that run is done"
    )


def _fold_wal(copy: Path, *, called: Path) -> None:
    """Move the pages of the -wal of a private copy into it, and leave WAL mode.

    Python's SQLite and DuckDB's know nothing of one another, and what they lock counts as
    one process's: of a WAL file that both have open the one cuts off shared memory that
    the other reads, and the process dies.
    """
    try:
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("pragma journal_mode = delete").fetchall()
    except sqlite3.Error as error:
        raise in_plain_words(called, error) from error


def lies_beside_simulated(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is no rerun, but the simulator's note beside some, or a page there."""
    place = Path(path)
    if place.name != SIMULATED_NOTE and not (place.suffix == ".html" and place.is_file()):
        return False
    try:
        with place.with_name(SIMULATED_NOTE).open(encoding="utf-8", errors="replace") as file:
            return file.readline().startswith(SIMULATED_NOTE_BEGINS)
    except OSError:
        return False


def distinct_or_sample(
    connection: sqlite3.Connection, table: str, columns: Sequence[str]
) -> tuple[list[tuple[object, ...]], bool]:
    """Return the distinct values of `columns`, or those of a spread sample of rows.

    Distinct values come from an index that begins with the columns, by skipping
    from value to value, so that no table is scanned.

    Returns
    -------
    rows : list of tuple
        Distinct, without NULLs.
    is_complete : bool
        False where only a sample of the table was looked at.
    """
    if len(columns) == 1 and _has_index(connection, table, columns[0]):
        name, column = quote_identifier(table), quote_identifier(columns[0])
        step = f"""
            with recursive step (value) as (
                select min({column}) from {name}
                union all
                select (
                    select {column} from {name} where {column} > step.value
                    order by {column} limit 1
                )
                from step where step.value is not null
            )
        """
        # As one text where all are whole: each of thousands of rows would wait for other threads.
        listed, n_others = connection.execute(
            f"{step} select group_concat(value) filter (where typeof(value) = 'integer'), "
            "total(typeof(value) <> 'integer') from step where value is not null"
        ).fetchone()
        if n_others:
            query = f"{step} select value from step where value is not null"
            return connection.execute(query).fetchall(), True
        return list(zip(map(int, listed.split(",") if listed else ()), strict=False)), True
    rows, is_complete = sample(connection, table, columns)
    return sorted({row for row in rows if None not in row}, key=repr), is_complete


def sample(
    connection: sqlite3.Connection, table: str, columns: Sequence[str]
) -> tuple[list[tuple[object, ...]], bool]:
    """Return `columns` of at most `SAMPLE_ROWS` rows, spread over the table.

    Returns
    -------
    rows : list of tuple
    is_complete : bool
        True where every row of the table was looked at.
    """
    name = quote_identifier(table)
    listed = ", ".join(quote_identifier(column) for column in columns)

    def beginning() -> tuple[list[tuple[object, ...]], bool]:
        rows = connection.execute(f"select {listed} from {name} limit {SAMPLE_ROWS + 1}").fetchall()
        return rows[:SAMPLE_ROWS], len(rows) <= SAMPLE_ROWS

    (n_rows,) = connection.execute(
        f"select count(*) from (select 1 from {name} limit {SAMPLE_ROWS + 1})"
    ).fetchone()
    if n_rows <= SAMPLE_ROWS:
        return beginning()
    try:
        # Both in one aggregate would scan the table.
        low, high = connection.execute(
            f"select (select min(rowid) from {name}), (select max(rowid) from {name})"
        ).fetchone()
    except sqlite3.OperationalError:  # a table WITHOUT ROWID, or a view
        return beginning()
    step = max((high - low) // SAMPLE_ROWS, 1)
    rowids = [low + step * k for k in range(SAMPLE_ROWS)]
    marks = ", ".join("?" * len(rowids))
    rows = list(connection.execute(f"select {listed} from {name} where rowid in ({marks})", rowids))
    return (rows, False) if len(rows) >= SAMPLE_ROWS // 10 else beginning()


def _has_index(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return any(
        str(row[0]) == column
        for row in connection.execute(
            "select info.name from pragma_index_list(?) as list, pragma_index_info(list.name) "
            "as info where info.seqno = 0 and list.partial = 0",
            (table,),
        )
    )


def garbled_text(
    connection: sqlite3.Connection, table: str, column: str
) -> tuple[int, bytes] | None:
    """Return row id and bytes of the first text of a column that is no UTF-8, None without."""
    name, quoted = quote_identifier(table), quote_identifier(column)
    rows = connection.execute(
        f"select min(rowid), cast({quoted} as blob) from {name} where typeof({quoted}) = 'text' "
        "group by 2 order by 1"
    )
    for rowid, content in rows:
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return int(rowid), content
    return None


def suspects(
    connection: sqlite3.Connection,
    table: str,
    columns: Mapping[str, tuple[Sequence[str], str | None]],
    *,
    is_text: bool,
) -> list[str]:
    """Return the columns in which cells may be found, from one pass over the table.

    Parameters
    ----------
    columns : mapping
        {column: its allowed storage classes, its refused text}, as of `offending_cells`.
    is_text : bool
        Columns that hold any text are wanted too, for `garbled_text`.
    """
    terms: list[str] = []
    values: list[str] = []
    for name, (allowed, refused) in columns.items():
        condition, bound = _offending(quote_identifier(name), allowed, refused)
        also = f" or typeof({quote_identifier(name)}) = 'text'" if is_text else ""
        terms.append(f"max({condition}{also})")
        values += bound
    if not terms:
        return []
    query = f"select {', '.join(terms)} from {quote_identifier(table)}"
    found = connection.execute(query, values).fetchone()
    return [name for name, is_there in zip(columns, found, strict=True) if is_there]


def _offending(
    quoted: str, allowed: Sequence[str], refused: str | None
) -> tuple[str, tuple[str, ...]]:
    """Return the condition of `offending_cells` and its values."""
    condition = f"typeof({quoted}) not in ('null', {', '.join('?' * len(allowed))})"
    if refused is None:
        return condition, tuple(allowed)
    return f"({condition} or {quoted} = ?)", (*allowed, refused)


def offending_cells(
    connection: sqlite3.Connection,
    table: str,
    column: str,
    allowed: Sequence[str],
    refused: str | None = None,
) -> tuple[int, list[tuple[int, object]]]:
    """Count the cells of `column` whose storage class is none of `allowed`.

    The text `refused`, where one is given, is counted too.

    Returns
    -------
    n_cells : int
    examples : list of (rowid, value)
        At most five, by rowid.
    """
    name, quoted = quote_identifier(table), quote_identifier(column)
    condition, values = _offending(quoted, allowed, refused)
    (n_cells,) = connection.execute(
        f"select count(*) from {name} where {condition}", values
    ).fetchone()
    examples = connection.execute(
        f"select rowid, {quoted} from {name} where {condition} order by rowid limit 5", values
    )
    return int(n_cells), [(int(rowid), value) for rowid, value in examples]
