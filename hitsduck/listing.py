"""The lists of a comparison: columns to count by, files for other tools, SQL relations."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import polars as pl

from hitsduck import suggestions
from hitsduck.columnar import parquet_sql
from hitsduck.connection import Connection
from hitsduck.errors import OutputError, QueryError, RerunNameError
from hitsduck.limits import shown
from hitsduck.outputs import check_output
from hitsduck.pairing import COUNTS
from hitsduck.quoting import quote_identifier

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from hitsduck.reruns import Reruns
    from hitsduck.sides import Side

_FORMS = ("parquet", "csv")
#: What the sort of a list holds in memory where the user sets no limit.
_SORT_MEMORY = "2GB"
#: Rows that then come back at once.
_SORTED_AT_ONCE = 1_000_000


def values_of(side: Side, key: str | pl.Expr) -> pl.Series:
    """Return a column or an expression, one value per source of one rerun.

    Parameters
    ----------
    side : Side
    key : str or polars.Expr
        A column that `Side.frame` knows, a Polars expression over such columns, or
        a text that is one SQL expression on them.

    Raises
    ------
    QueryError
        It is none of these, or gives no value per source.
    """
    if isinstance(key, pl.Expr):
        roots = tuple(dict.fromkeys(key.meta.root_names()))
        if not roots:
            raise QueryError(f"the expression {key} names no column to count by")
        frame = side.frame(*roots)
        found = frame.select(key)
        if found.width != 1 or found.height != frame.height:
            raise QueryError(f"the expression {key} does not give one value per source")
        return found.to_series()
    if not isinstance(key, str):
        raise QueryError(f"{key!r} is neither a column's name nor an expression to count by")
    if key in side.column_names():
        return side.frame(key).to_series()
    try:
        return side.values(key)
    except QueryError as error:
        if not key.isidentifier():
            why = str(error).removeprefix(f"the condition {key!r}: ")
            raise QueryError(f"{key!r} is no expression on the sources' columns: {why}") from error
        raise QueryError(suggestions.unknown_column(key, side.column_names())) from error


def is_row_by_row(key: pl.Expr) -> bool:
    """Return whether an expression gives each row its value from that row alone."""
    waiting = [key]
    while waiting:
        part = waiting.pop()
        try:
            if not part.meta.is_row_separable():
                return False
        except pl.exceptions.PolarsError:  # a function of Python's: nobody knows
            return False
        waiting += part.meta.pop()
    return True


def values_by(side: Side, keys: Sequence[str | pl.Expr]) -> pl.DataFrame:
    """Return columns or expressions to count by, one row per source of one rerun.

    Raises
    ------
    QueryError
        One is none (`values_of`), or its name is that of another, or of a count.
    """
    values = [values_of(side, key) for key in keys]
    names = [column.name for column in values]
    for place, name in enumerate(names):
        if name in COUNTS or name in names[:place]:
            whose = "a count of the result" if name in COUNTS else "another key"
            raise QueryError(
                f"by(): {whose} is called {name} already; leave it out, or give the expression "
                'another name, .alias("...")'
            )
    return pl.DataFrame(values)


def checked_columns(columns: object, option: str = "columns") -> tuple[str, ...]:
    """Return names of columns, given as an option; one text is one name.

    Raises
    ------
    QueryError
        Something else.
    """
    if isinstance(columns, str):
        return (columns,)
    if not isinstance(columns, Iterable):
        raise QueryError(f"{option} is {shown(columns)}; names of columns are wanted")
    names = tuple(columns)
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        kind = type(wrong[0]).__name__
        raise QueryError(f"{option}: {shown(wrong[0])} ({kind}) is no name of a column")
    return names


def write_lists(
    lists: Mapping[str, pl.DataFrame], folder: str | os.PathLike[str], *, form: str = "parquet"
) -> dict[str, Path]:
    """Write lists of sources, each under its own name, by falling ``psf_snr``.

    Parameters
    ----------
    lists : mapping of str to polars.DataFrame
        Sorted by ``psf_snr``, or ``psf_snr_right`` where there is no such column.
    folder : path-like
    form : {"parquet", "csv"}

    Returns
    -------
    dict of str to Path

    Raises
    ------
    QueryError
        An unknown format.
    OutputError
        The folder cannot be made, or is no path.
    """
    _check_form(form)
    target = _made(folder)
    with _together(target) as writers:
        for name, frame in lists.items():
            snr, others = _order(frame.columns)
            ordered = frame.sort(
                pl.col(snr).fill_nan(None),
                *others,
                descending=[True, *[False] * len(others)],
                nulls_last=True,
            )
            writers[name] = _Writer(target / f"{name}.{form}", form)
            writers[name].add(ordered)
    return {name: writer.path for name, writer in writers.items()}


def _order(columns: Sequence[str]) -> tuple[str, list[str]]:
    """Return the column by which a list falls, and those by which equals rise.

    Ids first; what else tells sources apart where ids are there twice.
    """
    snr = "psf_snr" if "psf_snr" in columns else "psf_snr_right"
    rising = ("diaSourceId", "visit", "detector", "ra", "dec", "psfFlux")
    others = [f"{name}{side}" for name in rising for side in ("", "_left", "_right")]
    return snr, [column for column in others if column in columns]


class Lists:
    """Lists of sources too large to hold, added part by part; a context manager.

    At the end each is sorted as `write_lists` sorts, on disk where it takes more than the
    memory there is. Nothing bears the names of the lists before all is written.

    Parameters
    ----------
    folder : path-like
    form : {"parquet", "csv"}
    memory_limit : str, optional
        What a sort may hold, ``"2GB"`` by default.

    Raises
    ------
    QueryError
        An unknown format.
    OutputError
        The folder cannot be made, or is no path.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        form: str = "parquet",
        memory_limit: str | None = None,
    ) -> None:
        _check_form(form)
        self._folder, self._form = _made(folder), form
        self._memory_limit = memory_limit or _SORT_MEMORY
        try:
            parts = tempfile.mkdtemp(prefix=".hitsduck_lists_", dir=self._folder)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written to: {error.strerror}") from error
        self._parts = Path(parts)
        self._writers: dict[str, _Writer] = {}
        #: The file of each list, when all is written.
        self.paths: dict[str, Path] = {}

    def add(self, lists: Mapping[str, pl.DataFrame]) -> None:
        """Append to each list."""
        for name, frame in lists.items():
            if name not in self._writers:
                self._writers[name] = _Writer(self._parts / name, "parquet")
            self._writers[name].add(frame)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Sort and name the lists; after an error leave nothing."""
        try:
            for writer in self._writers.values():
                writer.close()
            if kind is None:
                with _together(self._folder) as sorted_lists:
                    for name in self._writers:
                        path = self._folder / f"{name}.{self._form}"
                        sorted_lists[name] = _Writer(path, self._form)
                        self._sort(name, sorted_lists[name])
                self.paths = {name: writer.path for name, writer in sorted_lists.items()}
        finally:
            shutil.rmtree(self._parts, ignore_errors=True)

    def _sort(self, name: str, into: _Writer) -> None:
        connection = Connection(memory_limit=self._memory_limit, temp_directory=self._parts)
        try:
            part = parquet_sql([self._writers[name].partial])
            columns = [row[0] for row in connection.execute(f"describe from {part}").fetchall()]
            snr, others = _order(columns)
            terms = [f"nullif({quote_identifier(snr)}, 'nan'::double) desc nulls last"]
            terms += [quote_identifier(column) for column in others]
            reader = connection.execute(
                f"select * from {part} order by {', '.join(terms)}"
            ).to_arrow_reader(_SORTED_AT_ONCE)
            for batch in reader:
                into.add(pl.DataFrame(batch))
            if into.is_empty:
                into.add(pl.DataFrame(reader.schema.empty_table()))
        finally:
            connection.close()


class _Writer:
    """One file that grows by frames, under another name than it is to bear."""

    def __init__(self, path: Path, form: str) -> None:
        self.path, self._form = path, form
        self.partial = path.with_name(f"{path.name}.part")
        self.is_empty = True
        self._parquet: pq.ParquetWriter | None = None

    def add(self, frame: pl.DataFrame) -> None:
        if self._form == "parquet":
            table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            if self._parquet is None:
                import pyarrow.parquet as pq

                self._parquet = pq.ParquetWriter(self.partial, table.schema, compression="zstd")
            self._parquet.write_table(table)
        else:
            with self.partial.open("wb" if self.is_empty else "ab") as file:
                _as_text(frame).write_csv(
                    file, include_header=self.is_empty, quote_style="non_numeric"
                )
        self.is_empty = False

    def close(self) -> None:
        if self._parquet is not None:
            self._parquet.close()


@contextmanager
def _together(folder: Path) -> Iterator[dict[str, _Writer]]:
    """Give all files their names at the end, or after an error none."""
    writers: dict[str, _Writer] = {}
    try:
        yield writers
        for writer in writers.values():
            writer.close()
            check_output(writer.path)
        for writer in writers.values():
            writer.partial.replace(writer.path)
    except OutputError:
        raise
    except OSError as error:
        where = error.filename or folder
        raise OutputError(f"{where}: cannot be written: {error.strerror or error}") from error
    finally:
        for writer in writers.values():
            writer.close()
            writer.partial.unlink(missing_ok=True)


def _check_form(form: str) -> None:
    if form not in _FORMS:
        raise QueryError(f"the format is {form!r}; it is one of {', '.join(_FORMS)}")


def _made(folder: str | os.PathLike[str]) -> Path:
    if not isinstance(folder, str | os.PathLike):
        raise OutputError(f"{shown(folder)} is no path; name the folder to write into")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error
    return Path(folder)


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame as CSV can hold it: ids as text, so that no reader rounds them."""
    ids = [name for name in frame.columns if name.startswith(("diaSourceId", "diaObjectId"))]
    lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
    return frame.with_columns(
        pl.col(ids).cast(pl.String), *(pl.col(name).list.join(";") for name in lists)
    )


def register(
    reruns: Reruns, parts: Iterable[Mapping[str, pl.DataFrame]], schema: str | None = None
) -> str:
    """Make native tables of some frames in a schema of their own; after an error none.

    Parameters
    ----------
    reruns : Reruns
    parts : iterable of mapping of str to polars.DataFrame
        Rows of each table; held one part after another.
    schema : str, optional
        ``comparison_1``, ``comparison_2`` ... by default, the first that is free.

    Returns
    -------
    str
        The schema.

    Raises
    ------
    RerunNameError
        The schema exists.
    """
    connection = reruns.connection
    rows = connection.execute("select schema_name from duckdb_schemas()").fetchall()
    taken = {str(name).casefold() for (name,) in rows}
    if schema is None:
        number = 1
        while f"comparison_{number}" in taken:
            number += 1
        schema = f"comparison_{number}"
    elif not isinstance(schema, str):
        raise RerunNameError(f"{schema!r} cannot be the name of a schema; give a text")
    elif schema.casefold() in taken:
        raise RerunNameError(f"a schema {schema!r} exists already; give the comparison another")
    quoted = quote_identifier(schema)
    connection.execute(f"create schema {quoted}")
    try:
        for number, part in enumerate(parts):
            for name, frame in part.items():
                table = f"{quoted}.{quote_identifier(name)}"
                _insert(connection, table, frame, is_new=number == 0)
    except BaseException:
        connection.execute(f"drop schema {quoted} cascade")
        raise
    return schema


def _insert(connection: Connection, table: str, frame: pl.DataFrame, *, is_new: bool) -> None:
    cursor = connection.cursor()
    cursor.register("hitsduck_incoming", frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
    begin = f"create table {table} as" if is_new else f"insert into {table}"
    try:
        connection.execute(f"{begin} select * from hitsduck_incoming")
    finally:
        cursor.unregister("hitsduck_incoming")
