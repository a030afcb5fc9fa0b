"""What a query gives back, in the form that the user's next tool takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

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
        self._table = table

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]]) -> Result:
        """Return rows of the same columns as a result."""
        import pyarrow

        return cls(pyarrow.Table.from_pylist(list(rows)))

    @property
    def columns(self) -> list[str]:
        """Column names, in order."""
        return list(self._table.column_names)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Go through the rows as dicts."""
        return iter(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as a list of dicts."""
        rows: list[dict[str, Any]] = self._table.to_pylist()
        return rows

    def arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self._table

    def polars(self) -> pl.DataFrame:
        """Return the rows as a Polars frame."""
        import polars

        frame = polars.from_arrow(self._table)
        assert isinstance(frame, polars.DataFrame)
        return frame

    def pandas(self) -> pd.DataFrame:
        """Return the rows as a pandas frame (pandas must be installed)."""
        frame: pd.DataFrame = self._table.to_pandas()
        return frame

    def astropy(self) -> astropy.table.Table:
        """Return the rows as an astropy Table; NULLs are masked."""
        import numpy as np
        from astropy.table import MaskedColumn, Table

        frame = self.polars()
        columns = []
        for name in frame.columns:
            series = frame[name]
            mask = series.is_null().to_numpy()
            if mask.any():
                filled = series.drop_nulls()
                values = np.zeros(
                    len(series), dtype=filled.to_numpy().dtype if len(filled) else "f8"
                )
                if len(filled):
                    values[~mask] = filled.to_numpy()
                columns.append(MaskedColumn(values, name=name, mask=mask))
            else:
                columns.append(MaskedColumn(series.to_numpy(), name=name))
        return Table(columns)

    def __repr__(self) -> str:
        """Return the number of rows and the column names."""
        return f"<Result: {len(self)} rows of {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        return str(self.polars()._repr_html_())
