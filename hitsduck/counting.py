"""Sources of both reruns, counted by resampling unit and value of every dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from hitsduck.dimensions import Dimension
from hitsduck.significance import CELL, Cells, Counts

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """What is counted, one element per source of either rerun.

    Attributes
    ----------
    cell : numpy.ndarray
        ``side * n_units + unit``, side 0 for left and 1 for right.
    unmatched : numpy.ndarray
        Which sources have no partner.
    pairs : numpy.ndarray
        ``(n_pairs, 2)``: row of the left and of the right source of each pair known.
    n_units : int
    """

    cell: Ints
    unmatched: Bools
    pairs: Ints
    n_units: int

    def of(self, chosen: Bools) -> Rows:
        """Return a part of the rows, with the pairs that lie in it."""
        number = np.cumsum(chosen) - 1
        inside = chosen[self.pairs[:, 0]] & chosen[self.pairs[:, 1]]
        return Rows(
            self.cell[chosen], self.unmatched[chosen], number[self.pairs[inside]], self.n_units
        )

    def with_partners(self, chosen: Bools) -> Bools:
        """Return the chosen rows, and the other source of every pair that has one of them."""
        whole = chosen.copy()
        either = chosen[self.pairs].any(axis=1)
        whole[self.pairs[either]] = True
        return whole


@dataclass(frozen=True, eq=False)
class Value:
    """One value: of one dimension, or of two together."""

    places: tuple[tuple[int, int], ...]
    dimension: str
    value: str
    weight: float

    @property
    def name(self) -> str:
        """Dimension and value in one text."""
        return f"{self.dimension}={self.value}"


def single_values(dimensions: Sequence[Dimension]) -> list[Value]:
    """Return the values of all dimensions, in order."""
    return [
        Value(((d, k),), dimension.name, label, dimension.weight)
        for d, dimension in enumerate(dimensions)
        for k, label in enumerate(dimension.labels)
    ]


def pair_values(
    dimensions: Sequence[Dimension], rows: Rows, counts: Counts, *, fewest: int
) -> tuple[list[list[Value]], list[Counts]]:
    """Return the pairs of values that at least `fewest` sources have, and their counts.

    Two dimensions after another, as all pairs in one table would be there twice while it
    is put together.

    Parameters
    ----------
    counts : Counts
        Of :func:`single_values`. A pair that holds the same sources as one of its two
        values alone says nothing new, and is left out.
    """
    size = counts.n_left + counts.n_right
    first = np.cumsum([0, *(len(d.labels) for d in dimensions)])
    values: list[list[Value]] = []
    parts: list[Counts] = []
    for a, b in combinations(range(len(dimensions)), 2):
        one, two = dimensions[a], dimensions[b]
        found = _count_pair(one, two, rows)
        here = found.n_left + found.n_right
        i, j = np.divmod(np.arange(len(here)), len(two.labels))
        keep = here >= fewest
        keep &= (here < size[first[a] + i]) & (here < size[first[b] + j])
        if keep.any():
            parts.append(found.columns(np.flatnonzero(keep)))
            values.append(
                [
                    Value(
                        ((a, int(i[k])), (b, int(j[k]))),
                        f"{one.name} & {two.name}",
                        f"{one.labels[i[k]]} & {two.labels[j[k]]}",
                        min(one.weight, two.weight),
                    )
                    for k in np.flatnonzero(keep)
                ]
            )
    return values, parts


def count_singles(dimensions: Sequence[Dimension], rows: Rows) -> Counts:
    """Count the sources by unit and value, of all dimensions side by side."""
    nothing = _count(np.full(len(rows.cell), -1, dtype=np.int8), 0, rows)
    return _joined(
        [nothing, *(_count(d.codes, len(d.labels), rows, nested=d.nested) for d in dimensions)]
    )


def count_pairs(dimensions: Sequence[Dimension], values: Sequence[Value], rows: Rows) -> Counts:
    """Count the sources of some pairs `values` of the same two dimensions."""
    (a, _), (b, _) = values[0].places
    one, two = dimensions[a], dimensions[b]
    columns = [i * len(two.labels) + j for (_, i), (_, j) in (v.places for v in values)]
    return _count_pair(one, two, rows).columns(np.array(columns))


def rows_of(value: Value, dimensions: Sequence[Dimension]) -> Bools:
    """Return which rows have a value."""
    found = [dimensions[d].rows_of(k) for d, k in value.places]
    return found[0] if len(found) == 1 else found[0] & found[1]


def _joined(parts: Sequence[Counts]) -> Counts:
    return Counts(
        np.concatenate([p.left for p in parts], axis=1),
        np.concatenate([p.right for p in parts], axis=1),
        parts[0].left_all,
        parts[0].right_all,
        np.concatenate([p.unmatched for p in parts]),
        parts[0].unmatched_all,
    )


def _count_pair(one: Dimension, two: Dimension, rows: Rows) -> Counts:
    k = len(two.labels)
    codes = np.where((one.codes < 0) | (two.codes < 0), -1, one.codes * np.int32(k) + two.codes)
    found = _count(codes, len(one.labels) * k, rows)
    if not (one.nested or two.nested):
        return found

    def nest(table: Cells) -> Cells:
        shape = table.shape
        table = table.reshape(-1, len(one.labels), k)
        if one.nested:
            table = np.cumsum(table, axis=1)
        if two.nested:
            table = np.cumsum(table, axis=2)
        return table.reshape(shape)

    return Counts(
        nest(found.left),
        nest(found.right),
        found.left_all,
        found.right_all,
        nest(found.unmatched).astype(np.float64),
        found.unmatched_all,
    )


def _count(
    codes: npt.NDArray[np.int32], n_values: int, rows: Rows, *, nested: bool = False
) -> Counts:
    n_units = rows.n_units
    if n_values == 1:
        table = np.bincount(rows.cell[codes == 0], minlength=2 * n_units)[:, None]
    else:
        # rows without a value are counted in a column of their own, which is dropped
        at = rows.cell * (n_values + 1) + (codes + 1)
        table = np.bincount(at, minlength=2 * n_units * (n_values + 1))
        table = table.reshape(2 * n_units, n_values + 1)[:, 1:]
    alone = [codes[rows.unmatched]]
    before, after = codes[rows.pairs[:, 0]], codes[rows.pairs[:, 1]]
    moved = np.flatnonzero(before != after)
    alone += [before[moved], after[moved]]
    unmatched = np.bincount(np.concatenate(alone) + 1, minlength=n_values + 1)[1:]
    if nested:
        table, unmatched = np.cumsum(table, axis=1), np.cumsum(unmatched)
    everything = np.bincount(rows.cell, minlength=2 * n_units).astype(np.float64)
    return Counts(
        table[:n_units].astype(CELL),
        table[n_units:].astype(CELL),
        everything[:n_units],
        everything[n_units:],
        unmatched.astype(np.float64),
        float(np.count_nonzero(rows.unmatched)),
    )
