"""Counts points by the bin of a picture that they lie in, batch by batch.

A picture has 100,000 bins and more. The engine makes a hash table of them, which takes it
longer than all else of the question; sorting the numbers of the bins does not. No more is held
than a batch of points and the bins that are filled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Rows and columns that can be counted are nearer to 0 than this.
FARTHEST_BIN = 2**31
_COLUMN_BITS = 32
#: Points that wait until they are counted.
_COUNTED_AT_ONCE = 2_000_000


class BinCounter:
    """Counts points by row and column, two whole numbers of 32 bits each."""

    def __init__(self) -> None:
        self._cells = np.empty(0, dtype=np.int64)
        self._n = np.empty(0, dtype=np.int64)
        self._pending: list[NDArray[np.int64]] = []
        self._n_pending = 0

    def add(self, row: NDArray[Any], column: NDArray[Any]) -> None:
        """Count some points.

        Parameters
        ----------
        row, column : ndarray, shape (n,)
            Whole numbers within 32 bits, whatever their type.
        """
        cells = row.astype(np.int64)
        cells <<= _COLUMN_BITS
        # From 0 on, so that the numbers of cells are in the order of row and column.
        cells += column.astype(np.int64) + FARTHEST_BIN
        self._pending.append(cells)
        self._n_pending += cells.size
        if self._n_pending >= _COUNTED_AT_ONCE:
            self._count()

    def _count(self) -> None:
        if not self._pending:
            return
        cells, n = _counted(np.concatenate(self._pending))
        self._pending, self._n_pending = [], 0
        if self._cells.size:
            every = np.concatenate([self._cells, cells])
            counts = np.concatenate([self._n, n])
            cells, place = np.unique(every, return_inverse=True)
            n = np.zeros(cells.size, dtype=np.int64)
            np.add.at(n, place, counts)
        self._cells, self._n = cells, n

    def frame(self, row: str, column: str) -> pl.DataFrame:
        """Return one row per filled bin, in order: `row`, `column`, ``n``."""
        self._count()
        return pl.DataFrame(
            {
                row: self._cells >> _COLUMN_BITS,
                column: (self._cells & (2**_COLUMN_BITS - 1)) - FARTHEST_BIN,
                "n": self._n,
            }
        )


def _counted(cells: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort some numbers in place; return each once, ascending, and how often it is there."""
    cells.sort()
    is_first = np.ones(cells.size, dtype=bool)
    np.not_equal(cells[1:], cells[:-1], out=is_first[1:])
    first = np.flatnonzero(is_first)
    return cells[first], np.diff(first, append=cells.size)
