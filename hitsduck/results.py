"""What a query gives back, in the form that the user's next tool takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hitsduck.connection import NO_UTF8
from hitsduck.errors import BadValueError, MissingPackageError, QueryError

if TYPE_CHECKING:
    import astropy.table
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class Result:
    """The complete rows of one query, held as an Arrow table.

    Nothing is cut off: what the query gave is all here. Row order is the query's,
    so it is guaranteed only where the query orders.
    """

    def __init__(self, table: pa.Table) -> None:
        self._given: pa.Table | None = table
        self._rows: list[dict[str, Any]] | None = None
        self._types: Mapping[str, str] = {}
        self._tuples: list[tuple[Any, ...]] | None = None

    @classmethod
    def of_rows(cls, rows: Sequence[dict[str, Any]]) -> Result:
        """Return some rows as a result.

        Parameters
        ----------
        rows : sequence of dict
            At least one, of whole numbers and texts. pyarrow, whose import takes as
            long as a count of a large file, is imported only when a table is asked for.
        """
        result = cls.__new__(cls)
        result._given, result._rows = None, list(rows)
        result._types, result._tuples = {}, None
        return result

    @classmethod
    def of_tuples(cls, types: Mapping[str, str], rows: list[tuple[Any, ...]]) -> Result:
        """Return some rows, or none, as a result.

        Parameters
        ----------
        types : mapping of str to str
            Column -> its DuckDB type, one of those that `_arrow_table` knows.
        rows : list of tuple
            Of the values of a row in this order. As in `of_rows`, pyarrow waits.
        """
        result = cls.__new__(cls)
        result._given, result._rows = None, None
        result._types, result._tuples = types, rows
        return result

    @property
    def _table(self) -> pa.Table:
        if self._given is None:
            import pyarrow

            if self._tuples is None:
                self._given = pyarrow.Table.from_pylist(self._rows)
            else:
                self._given = _arrow_table(self._types, self._tuples)
        return self._given

    @property
    def columns(self) -> list[str]:
        """Column names, in order."""
        if self._tuples is not None:
            return list(self._types)
        return list(self._rows[0]) if self._rows else list(self._table.column_names)

    def __len__(self) -> int:
        """Return the number of rows."""
        if self._tuples is not None:
            return len(self._tuples)
        return len(self._rows) if self._rows else int(self._table.num_rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Go through the rows as dicts."""
        return iter(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as a list of dicts."""
        if self._tuples is not None:
            names = tuple(self._types)
            # A dict of the right size is filled in half the time that one takes to grow.
            sized = dict.fromkeys(names)
            dicts: list[dict[str, Any]] = [sized.copy() for _ in self._tuples]
            for row, values in zip(dicts, self._tuples, strict=True):
                row.update(zip(names, values, strict=True))
            return dicts
        if self._rows:
            return [dict(row) for row in self._rows]
        rows: list[dict[str, Any]] = self._table.to_pylist()
        return rows

    def arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self._table

    def polars(self) -> pl.DataFrame:
        """Return the rows as a Polars frame.

        Raises
        ------
        QueryError
            A column is an interval, which Polars does not have.
        """
        import polars
        import pyarrow

        intervals = [f.name for f in self._table.schema if pyarrow.types.is_interval(f.type)]
        if intervals:
            raise QueryError(
                f"column {', '.join(intervals)} is an interval, which only .arrow(), .pandas() and "
                "JSON hold; epoch(...) in the query gives its seconds"
            )
        frame = polars.from_arrow(self._table)
        assert isinstance(frame, polars.DataFrame)
        return frame

    def pandas(self) -> pd.DataFrame:
        """Return the rows as a pandas frame (pandas must be installed).

        Whole numbers with a NULL among them become a nullable integer column: as
        floats, which pandas would make of them, large ids lose their last digits.

        Raises
        ------
        MissingPackageError
            pandas, which hitsduck itself does not need, is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingPackageError(
                "the package pandas is not installed; `python -m pip install pandas`, or take "
                ".polars(), .arrow() or .astropy()"
            ) from error
        import pyarrow

        nullable = {
            pyarrow.type_for_alias(kind.name.lower()): kind
            for kind in (
                pandas.Int8Dtype(),
                pandas.Int16Dtype(),
                pandas.Int32Dtype(),
                pandas.Int64Dtype(),
                pandas.UInt8Dtype(),
                pandas.UInt16Dtype(),
                pandas.UInt32Dtype(),
                pandas.UInt64Dtype(),
            )
        }
        frame: pd.DataFrame = self._table.to_pandas(integer_object_nulls=True)
        for position, column in enumerate(self._table.columns):
            if column.null_count and column.type in nullable:
                frame.isetitem(position, column.to_pandas(types_mapper=nullable.get))
        return frame

    def astropy(self) -> astropy.table.Table:
        """Return the rows as an astropy Table; NULLs are masked.

        Texts become fixed-width ones and dates ISO texts, as FITS files hold them.
        """
        import numpy as np
        import polars
        from astropy.table import MaskedColumn, Table

        columns = []
        for series in self.polars():
            plain = series.cast(polars.String) if series.dtype == polars.Date else series
            known = plain.drop_nulls().to_numpy()
            if plain.dtype == polars.String:
                known = known.astype(str)
            mask = plain.is_null().to_numpy()
            values = np.zeros(len(plain), dtype=known.dtype)
            values[~mask] = known
            columns.append(MaskedColumn(values, name=plain.name, mask=mask))
        return Table(columns)

    def __repr__(self) -> str:
        """Return the number of rows and the column names."""
        return f"<Result: {len(self)} rows of {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        return frame_html(self.polars())


def _arrow_table(types: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Return rows as the Arrow table that DuckDB would give."""
    import pyarrow as pa

    kinds = {
        "BIGINT": pa.int64(),
        "BLOB": pa.binary(),
        "BOOLEAN": pa.bool_(),
        "DATE": pa.date32(),
        "DOUBLE": pa.float64(),
        "INTEGER": pa.int32(),
        "VARCHAR": pa.string(),
    }
    columns = zip(*rows, strict=True) if rows else ((),) * len(types)
    arrays = [
        pa.array(column, kinds[types[name]]) for name, column in zip(types, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=list(types))


#: Whole numbers that name something, besides what ends in Id: they are not counted.
_NAMING = ("visit", "detector", "ccdVisitId")
_SHOWN_ROWS = 20


def frame_html(frame: pl.DataFrame, caption: str = "", *, digits: int | None = None) -> str:
    """Return a frame as a table for a notebook: counts with separators, ids as they are.

    Parameters
    ----------
    frame : polars.DataFrame
        Of more than 20 rows the first and the last ten are shown, under their number.
    caption : str
        A line above it.
    digits : int, optional
        Of fractions, after the point.
    """
    import re
    from html import escape

    import polars

    naming = [
        name
        for name, kind in frame.schema.items()
        if kind.is_integer() and (name in _NAMING or name.lower().endswith("id"))
    ]
    shown = frame.with_columns(polars.col(naming).cast(polars.String))
    with polars.Config(
        thousands_separator=",",
        tbl_rows=_SHOWN_ROWS,
        tbl_cols=-1,
        fmt_str_lengths=120,
        float_precision=digits,
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=frame.height <= _SHOWN_ROWS,
    ):
        table = str(shown._repr_html_())
    # Polars quotes texts, which in a cell of a table are none but themselves.
    table = re.sub(r"<td>&quot;(.*?)&quot;</td>", r"<td>\1</td>", table)
    return (f"<p>{escape(caption)}</p>\n" if caption else "") + table


def readable(table: pa.Table) -> pa.Table:
    """Return a table of the engine, which does not look whether texts are UTF-8.

    Raises
    ------
    BadValueError
        A text is not.
    """
    import pyarrow

    for name, column in zip(table.column_names, table.columns, strict=True):
        if "string" in str(column.type):
            try:
                column.validate(full=True)
            except pyarrow.ArrowInvalid as error:
                raise BadValueError(f'column "{name}" holds a text that is {NO_UTF8}') from error
    return table


def plain_value(value: Any) -> Any:
    """Return a numpy scalar or array as Python values."""
    return value.tolist() if hasattr(value, "tolist") else value
