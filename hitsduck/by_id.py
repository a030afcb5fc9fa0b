"""Rows by id as SQLite gives them, computed by the views' twins in ``sql/by_id/``.

To bind a view of 130 columns takes DuckDB longer than SQLite takes to find, compute and
hand over the few rows of an id. The views over DuckDB stay the definition: of a row with a
cell that SQLite would take and DuckDB would not, or that the two would compute otherwise,
nothing is given here, and `hitsduck.lookup` asks DuckDB.
"""

from __future__ import annotations

import math
import re
import sqlite3
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime
from operator import itemgetter
from typing import Any

from hitsduck import attaching, inspection, schema, views
from hitsduck.attaching import AttachedRerun
from hitsduck.definitions import definition as definition_of
from hitsduck.inspection import ApdbFile
from hitsduck.quoting import quote_identifier
from hitsduck.results import Result

#: View -> staged relation, and the computed column that tells which of the rows are the view's.
_STAGED = {
    "dia_source": ("staged_dia_source", None),
    "dia_object": ("staged_dia_object", "is_current"),
    "dia_forced_source": ("staged_dia_forced_source", None),
}
#: In order of which columns the rows are given, by view.
_ORDER = {
    "dia_source": ("midpointMjdTai", "diaSourceId"),
    "dia_forced_source": ("midpointMjdTai",),
}
#: Types of the columns that views compute; those of an APDB table are in columns.csv.
_COMPUTED = {
    "rerun": "VARCHAR",
    "is_good": "BOOLEAN",
    "psf_snr": "DOUBLE",
    "psf_fwhm_arcsec": "DOUBLE",
    "night": "DATE",
}

#: Declared types, without a length, of which DuckDB's reader and SQLite think alike ->
#: what a cell then is in Python.
_CELLS: Mapping[str, type] = {
    **dict.fromkeys(("BIGINT", "INTEGER", "INT", "SMALLINT", "BOOLEAN"), int),
    **dict.fromkeys(("DOUBLE", "DOUBLE PRECISION", "FLOAT", "REAL"), float),
    **dict.fromkeys(("CHAR", "VARCHAR", "TEXT"), str),
    "BLOB": bytes,
    # As `_tai_to_mjd_tai` gives it.
    "TIMESTAMP": float,
}
#: What a cell has to be for each canonical type.
_WANTED: Mapping[str, type] = {
    "BIGINT": int,
    "INTEGER": int,
    "BOOLEAN": int,
    "DOUBLE": float,
    "FLOAT": float,
    "VARCHAR": str,
    "BLOB": bytes,
}
_NONE = type(None)
_TRUTHS: Mapping[int | None, bool | None] = {0: False, 1: True, None: None}
#: One beyond the largest of a 32-bit integer.
_BEYOND_INTEGER = 2**31
_SIGNATURES_KEPT = 1000

#: The one form in which SQLAlchemy, and so dax_apdb, writes a time into SQLite.
_STAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-2][0-9]:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?", re.ASCII
)
_UNIX_EPOCH = datetime(1970, 1, 1)
_FIRST_STAMP = datetime(1971, 1, 1)
#: date.fromordinal counts from this many days before the MJD's zero, 1858-11-17.
_ORDINAL_OF_MJD_0 = date(1858, 11, 17).toordinal()


def _tai_to_mjd_tai(stamp: object) -> float | bytes | None:
    """Return what the macro of this name gives; of an unusual stamp a thing of no column."""
    if stamp is None:
        return None
    if not isinstance(stamp, str) or not _STAMP.fullmatch(stamp):
        return b""
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:  # the 31st of February
        return b""
    # DuckDB takes 24:00:00, some versions of Python do so too.
    if moment < _FIRST_STAMP or stamp[11:13] == "24":
        return b""
    since = moment - _UNIX_EPOCH
    n_microseconds = (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
    # The order of the macro's operations: the last bit depends on it.
    return n_microseconds / 86400e6 + 40587


def _null_or(function: Callable[[float], float]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else function(value)


#: Not every build of SQLite has its mathematical functions.
_MATHS: Mapping[str, Callable[[Any], Any]] = {
    "sqrt": _null_or(math.sqrt),
    "ln": _null_or(math.log),
    "floor": _null_or(math.floor),
}


def add_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that the twins use and that it lacks."""
    connection.create_function("tai_to_mjd_tai", 1, _tai_to_mjd_tai, deterministic=True)
    for name, function in _MATHS.items():
        try:
            connection.execute(f"select {name}(1.0)").close()
        except sqlite3.OperationalError:
            connection.create_function(name, 1, function, deterministic=True)


def _cell_type(declared: str) -> type | None:
    """Return what a regular cell of a declared type is in Python, None where that is not sure."""
    return _CELLS.get(re.sub(r"\s*\(.*\)$", "", declared.strip().upper()))


def _result_types(view: str, table: str, rerun: AttachedRerun) -> dict[str, str]:
    """Return {column of a view: its DuckDB type}."""
    types: dict[str, str] = {}
    canonical = {column.name: column.type for column in schema.columns(table)}
    for name in views.documented_columns(views.view_named(view)):
        if name == "good_definition_bits":
            types[name] = schema.good_definition_type(rerun.bad_flags)
        else:
            kind = canonical.get(name) or _COMPUTED[name]
            types[name] = "DOUBLE" if kind == "FLOAT" else kind
    return types


def _takes_dia_object_last(rerun: AttachedRerun, table: str) -> bool:
    """Return whether versions of objects end where others begin, which other rows tell."""
    return table == "DiaObject" and "DiaObjectLast" in rerun.file.tables


def _has_problem(rerun: AttachedRerun, table: str) -> bool:
    """Return whether the view raises an error about the instrument, for some columns."""
    definition = definition_of(rerun)
    problems = ["site_problem", "seeing_problem"] if table == "DiaSource" else []
    if table != "DiaObject" and "ccdVisitId" in rerun.file.tables.get(table, {}):
        problems.append("id_problem")
    return any(definition[problem] is not None for problem in problems)


class _Staged:
    """The SELECT that gives the raw rows of an id their canonical names, in SQLite's dialect.

    Parameters
    ----------
    rerun : AttachedRerun
    table : str
        Plain name of the APDB table.
    needed : str
        The SQL over it: columns that the file lacks are left out unless they occur here.
    """

    def __init__(self, rerun: AttachedRerun, table: str, needed: str) -> None:
        self._rerun = rerun
        self._table = table
        physical = rerun.file.tables[table]
        expressions = schema.projection(table, physical, casts=False)
        #: Of cells as they are stored: {column: type of a regular cell}.
        self.cells: dict[str, type] = {}
        #: Whether each declared type is one of which the two engines think alike.
        self.is_plain = True
        # A third of all columns are in no file of some generations.
        words = set(re.findall(r"\w+", needed))
        self._terms = [
            f"{expression} as {quote_identifier(name)}"
            for name, expression in expressions.items()
            if expression != "null" or name in words
        ]
        for column in schema.columns(table):
            source = schema.physical_name(table, column.name, physical)
            if source is None:
                continue
            cell = _cell_type(physical[source])
            self.is_plain &= cell is _WANTED[column.type]
            # Both or neither: a text of a time in a column of numbers is a case for DuckDB.
            is_stamp = physical[source].upper().startswith("TIMESTAMP")
            self.is_plain &= is_stamp == ("tai_to_mjd_tai(" in expressions[column.name])
            self.cells[column.name] = _WANTED[column.type]
        self._terms.append(":rerun as rerun")
        if table == "DiaSource":
            bits = schema.good_definition_bits(physical, rerun.bad_flags, casts=False)
            self._terms.append(f"{bits} as good_definition_bits")
        # What no view reads is looked at too: DuckDB would refuse it.
        for number, name in enumerate(schema.unread_columns(table, physical)):
            quoted, declared = quote_identifier(name), physical[name]
            cell = _cell_type(declared)
            is_stamp = declared.upper().startswith("TIMESTAMP")
            self._terms.append(
                f"{f'tai_to_mjd_tai({quoted})' if is_stamp else quoted} as unread_{number}"
            )
            self.is_plain &= cell is not None
            self.cells[f"unread_{number}"] = cell or _NONE

    def sql(self, column: str) -> str:
        """Return the SELECT of the rows whose physical `column` is ``:id``."""
        name = quote_identifier(self._rerun.file.table_name(self._table))
        listed = ",\n    ".join(self._terms)
        return f"select\n    {listed}\nfrom {name}\nwhere {quote_identifier(column)} = :id"


class _Statement:
    """One view's rows by one column: its SQL, and how a row of it becomes a row of the view.

    Parameters
    ----------
    rerun : AttachedRerun
    view, table : str
    column : str
        The physical name of the id.
    """

    def __init__(self, rerun: AttachedRerun, view: str, table: str, column: str) -> None:
        relation, self._kept_by = _STAGED[view]
        twin = views.twin(view).body
        staged = _Staged(rerun, table, twin)
        self.is_plain = staged.is_plain
        self.sql = f"with {relation} as (\n{staged.sql(column)}\n)\n{twin}"
        self._order = _ORDER.get(view, ())
        self.types = _result_types(view, table, rerun)
        self._cells = staged.cells
        definition = definition_of(rerun)
        to_check = definition["detectors_to_check"] if table == "DiaSource" else None
        self._known_detectors = None if to_check is None else frozenset((None, *to_check))
        self._positions: dict[str, int] = {}
        self._regular: set[tuple[type, ...]] = set()
        self._all: Callable[[Sequence[Any]], tuple[Any, ...]] | None = None

    def describe(self, names: Sequence[str]) -> None:
        """Take over the names of the statement's columns, once it has run."""
        if self._positions:
            return
        # A computed column comes after the staged one that it replaces.
        self._positions = {name: number for number, name in enumerate(names)}
        wanted: list[type | None] = [None] * len(names)
        for number, name in enumerate(names):
            if name in self._cells and name not in names[:number]:
                wanted[number] = self._cells[name]
        self._wanted = wanted
        truths = self._of_type("BOOLEAN")
        self._truths = _getter([self._positions[name] for name in truths])
        self._integers = _getter([self._positions[name] for name in self._of_type("INTEGER")])
        self._night = self._positions.get("night")
        self._is_regular_at = self._positions.get("is_regular")
        self._detector = self._positions.get("detector", -1)
        # Truths and dates, which SQLite does not have, are put behind its columns.
        self._positions |= {name: len(names) + number for number, name in enumerate(truths)}
        if self._night is not None:
            self._positions["night"] = len(names) + len(truths)
        # Behind them all stands a NULL, for the columns that the file lacks.
        self._positions = dict.fromkeys(self.types, -1) | self._positions

    def _of_type(self, kind: str) -> list[str]:
        """Return the columns of a type that the statement gives."""
        return [name for name in self.types if self.types[name] == kind and name in self._positions]

    def getter(self, columns: Sequence[str]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """Return what takes some columns of the view, or all, out of a row of `rows`."""
        if columns:
            return _getter([self._positions[name] for name in columns])
        if self._all is None:
            self._all = _getter([self._positions[name] for name in self.types])
        return self._all

    def is_kept_at(self, *, good: bool) -> int | None:
        """Return where a row of `rows` says that it is one of those that are asked for."""
        name = "is_good" if good else self._kept_by
        return None if name is None else self._positions[name]

    def rows(self, found: Sequence[tuple[Any, ...]]) -> list[list[Any]] | None:
        """Return rows with truths and dates behind them, None where one is not regular."""
        rows: list[list[Any]] = []
        for row in found:
            signature = tuple(map(type, row))
            if signature not in self._regular and not self._learns(signature):
                return None
            if self._is_regular_at is not None and row[self._is_regular_at] != 1:
                return None
            for number in self._integers(row):
                if number is not None and not -_BEYOND_INTEGER <= number < _BEYOND_INTEGER:
                    return None
            if self._known_detectors and row[self._detector] not in self._known_detectors:
                return None
            try:
                whole = [*row, *map(_TRUTHS.__getitem__, self._truths(row))]
            except KeyError:
                return None
            if self._night is not None:
                night = row[self._night]
                whole.append(None if night is None else date.fromordinal(night + _ORDINAL_OF_MJD_0))
            whole.append(None)
            rows.append(whole)
        if len(rows) > 1 and self._order:
            rows.sort(key=self._ordering)
        return rows

    def _ordering(self, row: Sequence[Any]) -> tuple[tuple[bool, Any], ...]:
        """Return what a row is sorted by: NULLs last, as DuckDB has them."""
        values = [row[self._positions[name]] for name in self._order]
        return tuple((value is None, 0 if value is None else value) for value in values)

    def _learns(self, signature: tuple[type, ...]) -> bool:
        """Return whether cells of these types are what their columns are declared to hold."""
        for found, wanted in zip(signature, self._wanted, strict=True):
            if wanted is not None and found is not wanted and found is not _NONE:
                return False
        if len(self._regular) >= _SIGNATURES_KEPT:
            self._regular.clear()
        self._regular.add(signature)
        return True


def _getter(positions: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return what takes the values at some positions, always as a tuple."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda row: tuple(row[position] for position in positions)


class RowsById:
    """Regular rows of one rerun by id, out of SQLite alone.

    Keeps one read-only connection, which reads nothing and locks nothing between two
    questions. Not for several threads at once.

    Parameters
    ----------
    rerun : AttachedRerun
    """

    def __init__(self, rerun: AttachedRerun) -> None:
        self._rerun = rerun
        self._statements: dict[tuple[str, str], _Statement | None] = {}
        self._connection: sqlite3.Connection | None = None
        self._finalizer: weakref.finalize[..., RowsById] | None = None
        definition = definition_of(rerun)
        self._values: dict[str, Any] = {
            "rerun": rerun.name,
            "visit_id_factor": definition["visit_id_factor"],
            "moments_scale_arcsec": _float(definition["moments_scale_arcsec"]),
            "is_iyy_psf_ixy_psf": definition["is_iyy_psf_ixy_psf"],
            "longitude_deg": _float(definition["longitude_deg"]),
            # Each bit stands for one flag.
            "bad_bits": sum(map(schema.flag_number, rerun.bad_flags)),
        }

    def close(self) -> None:
        """Close the connection; twice does no harm."""
        if self._finalizer is not None:
            self._finalizer()
        self._connection = self._finalizer = None

    def find(
        self, view: str, column: str, value: int, columns: Sequence[str], *, good: bool
    ) -> Result | None:
        """Return the rows of `view` whose `column` is `value`, in order of time.

        Parameters
        ----------
        view, column : str
        value : int
        columns : sequence of str
            Of the result, each once; none for all.
        good : bool
            Only good sources.

        Returns
        -------
        Result or None
            None where DuckDB has to answer.

        Raises
        ------
        RerunLockedError
        """
        # 0 stands for no object; no larger number is in a file.
        if value == 0 or value.bit_length() >= 64:
            return None
        statement = self._statement(view, column)
        if statement is None:
            return None
        types = statement.types
        if columns:
            if not types.keys() >= set(columns):
                return None
            types = {name: types[name] for name in columns}
        found = self._fetched(statement, value)
        whole = None if found is None else statement.rows(found)
        if whole is None:
            return None
        taken, is_kept_at = statement.getter(columns), statement.is_kept_at(good=good)
        rows = [taken(row) for row in whole if is_kept_at is None or row[is_kept_at]]
        return Result.of_tuples(types, rows)

    def _statement(self, view: str, column: str) -> _Statement | None:
        key = (view, column)
        if key not in self._statements:
            self._statements[key] = self._compiled(view, column)
        return self._statements[key]

    def _compiled(self, view: str, column: str) -> _Statement | None:
        """Return the statement, None where DuckDB has to answer whatever the rows."""
        rerun = self._rerun
        table = attaching.STAGED[_STAGED[view][0]]
        physical = rerun.file.tables.get(table, {})
        name = schema.physical_name(table, column, physical)
        if (
            not isinstance(rerun.file, ApdbFile)
            or name is None
            or _takes_dia_object_last(rerun, table)
            or _has_problem(rerun, table)
        ):
            return None
        statement = _Statement(rerun, view, table, name)
        return statement if statement.is_plain else None

    def _fetched(self, statement: _Statement, value: int) -> list[tuple[Any, ...]] | None:
        """Return what SQLite finds, None where it complains of a cell."""
        file = self._rerun.file
        assert isinstance(file, ApdbFile)
        try:
            # Closing the cursor ends its reading, after an error too.
            with closing(self._connected(file).cursor()) as cursor:
                cursor.execute(statement.sql, {**self._values, "id": value})
                statement.describe([column[0] for column in cursor.description])
                return cursor.fetchall()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise inspection.in_plain_words(file.path, error) from error
            return None

    def _connected(self, file: ApdbFile) -> sqlite3.Connection:
        if self._connection is None:
            connection = file.connect()
            # Where nobody calls close(), Python would complain of an open connection.
            self._finalizer = weakref.finalize(self, connection.close)
            add_functions(connection)
            self._connection = connection
        return self._connection


def _float(value: float | None) -> float | None:
    """Return a number as a float: SQLite divides whole numbers without a fraction."""
    return None if value is None else float(value)
