"""Rows by id, through SQLite's own indexes.

DuckDB's SQLite reader uses no index: one object of a 465 MB file costs it seconds.
So sqlite3 fetches the few rows. It computes them too where it can (`hitsduck.by_id`);
otherwise the same views that normalise a whole rerun stand over a small table that
holds just these.
"""

from __future__ import annotations

import itertools
import operator
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import duckdb

from hitsduck import attaching, leftout, schema
from hitsduck.attaching import AttachedRerun
from hitsduck.by_id import RowsById
from hitsduck.columnar import ColumnarRerun
from hitsduck.connection import Connection, translated
from hitsduck.errors import QueryError, ResultNotFoundError
from hitsduck.quoting import quote_identifier
from hitsduck.results import Result
from hitsduck.views import OWN_PREFIX, Select, ViewMaker

_TABLES = {
    "dia_source": "DiaSource",
    "dia_object": "DiaObject",
    "dia_forced_source": "DiaForcedSource",
}
_ORDER = {"dia_source": "midpointMjdTai, diaSourceId", "dia_forced_source": "midpointMjdTai"}
#: Of one statement: each takes as long as many rows, and each row binds a hundred values.
_ROWS_AT_ONCE = 32


def whole_number(value: object, what: str) -> int:
    """Return an id as a whole number; a text of digits, as CSV files hold ids, is one too.

    Raises
    ------
    QueryError
        It is another thing; of a number with a fraction the last digits would be lost.
    """
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value, re.ASCII):
        return int(value)
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise QueryError(
            f"{what} is {value!r} ({type(value).__name__}); a whole number is wanted"
        ) from None


def column_names(columns: Sequence[str] | str | None) -> list[str]:
    """Return the columns that are named, one or several, each once.

    Raises
    ------
    QueryError
        A name is no text.
    """
    listed = [columns] if isinstance(columns, str) else list(columns or ())
    wrong = [name for name in listed if not isinstance(name, str)]
    if wrong:
        raise QueryError(f"{wrong[0]!r} ({type(wrong[0]).__name__}) is no name of a column")
    return list(dict.fromkeys(listed))


def selected_columns(columns: Sequence[str] | str | None) -> str:
    """Return the columns of a SELECT: those that `column_names` gives, ``*`` for none."""
    return ", ".join(map(quote_identifier, column_names(columns))) or "*"


class Lookup:
    """Rows of one rerun by id.

    Parameters
    ----------
    connection : Connection
    rerun : AttachedRerun
    definitions : mapping
        Of the rerun, as `Definitions.given` gives them.
    """

    def __init__(
        self, connection: Connection, rerun: AttachedRerun, definitions: Mapping[str, Select]
    ) -> None:
        self._connection = connection
        self._rerun = rerun
        self._definitions = definitions
        self._lock = threading.Lock()
        self._schema = f"{OWN_PREFIX}rows_{rerun.number}"
        self._by_id = RowsById(rerun)
        self._made: ViewMaker | None = None

    def close(self) -> None:
        """Close what is kept open; twice does no harm."""
        with self._lock:
            self._by_id.close()

    def _physical(self, table: str) -> str:
        return f"{quote_identifier(self._schema)}.{quote_identifier('physical_' + table)}"

    @property
    def _maker(self) -> ViewMaker:
        """What makes the views in DuckDB, over tables that are made when first needed."""
        if self._made is None:
            self._made = self._create()
        return self._made

    def _create(self) -> ViewMaker:
        connection, rerun = self._connection, self._rerun
        connection.execute(f"create schema {quote_identifier(self._schema)}")
        relations: dict[str, str | None] = dict.fromkeys(attaching.STAGED.values())
        for table in _TABLES.values():
            if table in rerun.file.tables:
                relations[table] = self._physical(table)
                connection.execute(
                    f"create table {relations[table]} as "
                    f"select * from {rerun.physical(table)} limit 0"
                )
        staged = {
            view: attaching.staged_sql(rerun, table, relations[table], refuses_left_out=True)
            for view, table in attaching.STAGED.items()
        }
        return ViewMaker(connection, self._schema, {**staged, **self._definitions})

    def many(
        self,
        view: str,
        column: str,
        value: int | str,
        columns: Sequence[str] | str | None = None,
        *,
        good: bool = False,
    ) -> Result:
        """Return the rows of `view` whose `column` is `value`, in order of time.

        Raises
        ------
        QueryError
            A column does not exist, or `value` is no whole number.
        """
        number = whole_number(value, column)
        names = column_names(columns)
        with self._lock:
            found = self._by_id.find(view, column, number, names, good=good)
        if found is not None:
            return found
        return leftout.answered(
            self._connection,
            lambda: self.through_views(view, column, number, names, good=good),
            asks_for_all=not names,
        )

    def through_views(
        self, view: str, column: str, value: int, columns: Sequence[str], *, good: bool = False
    ) -> Result:
        """Return what `many` returns, from the views over DuckDB, which are the definition.

        Parameters
        ----------
        view, column : str
        value : int
        columns : sequence of str
            Each once; none for all.
        good : bool
        """
        table = _TABLES[view]
        physical = self._rerun.file.tables.get(table, {})
        # The views make diaObjectId 0, which stands for no object, a NULL.
        kept = f" where {quote_identifier(column)} is not null{' and is_good' if good else ''}"
        ordered = f" order by {_ORDER[view]}" if view in _ORDER else ""
        name = schema.physical_name(table, column, physical)
        with self._lock:
            self._maker.ensure(view)
            if name is not None:
                self._fill(table, name, value)
            relation = f"{quote_identifier(self._schema)}.{view}"
            sql = f"select {selected_columns(columns)} from {relation}{kept}{ordered}"
            try:
                return Result(self._connection.execute(sql).to_arrow_table())
            except duckdb.Error as error:
                raise translated(error) from error

    def _fill(self, table: str, column: str, value: int) -> None:
        file = self._rerun.file
        target = self._physical(table)
        self._connection.execute(f"delete from {target}")
        if value.bit_length() >= 64:  # neither SQLite nor a store holds a larger number
            return
        condition = f"where {quote_identifier(column)} = ?"
        if isinstance(file, ColumnarRerun):
            self._connection.execute(
                f"insert into {target} select * from {self._rerun.physical(table)} {condition}",
                [value],
            )
            return
        with file.reading() as sqlite:
            name = quote_identifier(file.table_name(table))
            rows = sqlite.execute(f"select * from {name} {condition}", (value,)).fetchall()
        with closing(self._connection.cursor().cursor()) as cursor:
            try:
                for first in range(0, len(rows), _ROWS_AT_ONCE):
                    some = rows[first : first + _ROWS_AT_ONCE]
                    marks = ", ".join([f"({', '.join('?' * len(some[0]))})"] * len(some))
                    values = list(itertools.chain.from_iterable(some))
                    cursor.execute(f"insert into {target} values {marks}", values)
            except duckdb.Error as error:
                raise translated(error) from error

    def one(
        self,
        view: str,
        column: str,
        value: int | str,
        columns: Sequence[str] | str | None = None,
    ) -> dict[str, Any]:
        """Return the one row of `view` whose `column` is `value`.

        Raises
        ------
        ResultNotFoundError
            There is none.
        QueryError
            `value` is no whole number.
        """
        rows = self.many(view, column, value, columns).rows()
        if not rows:
            raise ResultNotFoundError(
                f"rerun {self._rerun.name!r} ({self._rerun.file.path}): no {view} has "
                f"{column} {value}"
            )
        return rows[0]
