"""The search for causes: take the strongest, take its sources out, test the rest again.

Sources are taken out in whole pairs: a matched source that has the value in one rerun alone
goes with its partner, which would otherwise count as a change of everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np

from hitsduck.counting import (
    Bools,
    Floats,
    Rows,
    Value,
    count_pairs,
    count_singles,
    pair_values,
    rows_of,
    single_values,
)
from hitsduck.dimensions import Dimension
from hitsduck.significance import Counts, Tests, false_discovery_rates, score_values

#: A pair of values that fewer sources have is not looked at.
FEWEST_IN_PAIR = 20
# With fewer siblings than this a value is judged by its own scatter.
_FEWEST_SIBLINGS = 5
# Cells of (unit, value) that are tested in one go.
_BLOCK_CELLS = 1_000_000


class Search:
    """The forward selection of causes.

    Attributes
    ----------
    values : list of Value
        All values looked at; the arrays below have one element each.
    tests : Tests
        Of all sources.
    q_value : numpy.ndarray
        Of `tests`.
    q_nonzero : numpy.ndarray
        Of `tests`, for any excess at all.
    p_conditional, q_conditional, excess_conditional, error_conditional : numpy.ndarray
        For a cause, when it was chosen; for the others, after the last cause was taken
        out. NaN where no source is left.
    causes : list of int
        Positions in `values`, strongest first.
    consequence_of : numpy.ndarray
        Position in `causes` of the one after which a value was no longer significant; -1
        for none.
    weight : numpy.ndarray
        How telling a value's dimension is.
    """

    def __init__(
        self,
        dimensions: list[Dimension],
        rows: Rows,
        *,
        depth: int,
        min_change: float,
        min_share: float,
        alpha: float,
        most_causes: int,
        chance: bool,
    ) -> None:
        self._dimensions, self._rows = dimensions, rows
        self._singles = single_values(dimensions)
        # Single values, and then the pairs of two dimensions after another.
        self._pairs: list[list[Value]] = []
        counts = [count_singles(dimensions, rows)]
        if depth > 1:
            self._pairs, more = pair_values(dimensions, rows, counts[0], fewest=FEWEST_IN_PAIR)
            counts += more
        pairs = [pair for of_two in self._pairs for pair in of_two]
        first_of = np.cumsum([0, *(len(d.labels) for d in dimensions)])
        self._parents = np.array(
            [[first_of[d] + k for d, k in v.places] for v in pairs], dtype=np.int64
        ).reshape(-1, 2)
        # the dimension of each single value whose siblings are expected to scatter alike
        self._siblings = np.array(
            [d if dimensions[d].alike else -1 for v in self._singles for d, _ in v.places],
            dtype=np.int64,
        )
        self._min_change, self._chance = min_change, chance
        self._margin_sources = min_share * float(counts[0].left_all.sum())
        self.values = [*self._singles, *pairs]
        self.weight = np.array([v.weight for v in self.values])
        self.tests = self._test(counts)
        self.q_value = false_discovery_rates(self.tests.p_value)
        self.q_nonzero = false_discovery_rates(self.tests.p_nonzero)
        self.p_conditional, self.q_conditional = self.tests.p_value.copy(), self.q_value.copy()
        self.excess_conditional = self.tests.excess.copy()
        self.error_conditional = self.tests.error.copy()
        self.causes: list[int] = []
        self.consequence_of = np.full(len(self.values), -1)
        self._select(counts, alpha, most_causes)

    def _select(self, counts: list[Counts], alpha: float, most_causes: int) -> None:
        tests, q_value = self.tests, self.q_value
        remaining = np.ones(len(self._rows.cell), dtype=bool)
        is_open = np.ones(len(self.values), dtype=bool)
        # what shows only once other sources are gone is no cause of the change there is
        shows = self.tests.p_value < alpha
        while len(self.causes) < most_causes:
            same_way = tests.excess * self.tests.excess > 0
            leading = np.flatnonzero((q_value < alpha) & tests.leads & is_open & shows & same_way)
            if not len(leading):
                break
            cause = int(leading[np.argmax(tests.gain[leading] * self.weight[leading])])
            self.causes.append(cause)
            is_open[cause] = False
            has_value = rows_of(self.values[cause], self._dimensions)
            chosen = remaining & self._rows.with_partners(has_value)
            remaining &= ~chosen
            for place, part in enumerate(self._counted(chosen)):
                counts[place] = counts[place].minus(part)
            was = q_value < alpha
            tests = self._test(counts)
            q_value = false_discovery_rates(tests.p_value)
            now = q_value < alpha
            self.consequence_of[was & ~now] = len(self.causes) - 1
            self.consequence_of[now] = -1
            empty = tests.n_left + tests.n_right == 0
            self.p_conditional[is_open] = np.where(empty, np.nan, tests.p_value)[is_open]
            self.q_conditional[is_open] = np.where(empty, np.nan, q_value)[is_open]
            self.excess_conditional[is_open] = np.where(empty, np.nan, tests.excess)[is_open]
            self.error_conditional[is_open] = np.where(empty, np.nan, tests.error)[is_open]
        self.consequence_of[self.causes] = -1

    def change_of(self, chosen: Bools) -> Floats:
        """Return the change of every value in a part of the sources."""
        return np.concatenate([part.n_right - part.n_left for part in self._counted(chosen)])

    def _counted(self, chosen: Bools) -> Iterator[Counts]:
        """Count a part of the sources by unit and value: single values, then pairs."""
        dimensions, rows = [d.part(chosen) for d in self._dimensions], self._rows.of(chosen)
        yield count_singles(dimensions, rows)
        for of_two in self._pairs:
            yield count_pairs(dimensions, of_two, rows)

    def _test(self, counts: Sequence[Counts]) -> Tests:
        """Test all values, single ones first: pairs scatter as their two values do."""
        spread, pooled = self._spread(counts[0])
        found = [self._score(counts[0], spread, pooled)]
        own = np.where(pooled, spread, found[0].dispersion)
        start = 0
        for part in counts[1:]:
            parents = self._parents[start : start + len(part.unmatched)]
            start += len(parents)
            found.append(
                self._score(part, own[parents].max(axis=1), np.asarray(pooled[parents].all(axis=1)))
            )
        tests = _side_by_side(found)
        if not self._chance:
            tests.p_value[:] = tests.p_nonzero[:] = np.nan
        return tests

    def _spread(self, singles: Counts) -> tuple[Floats, Bools]:
        """Return the dispersion that siblings share, and for which values it is known.

        The median over the siblings: a value that stands out in a few units does not
        hide behind the scatter that it makes itself.
        """
        n_singles = len(self._singles)
        raw = self._score(singles, np.ones(n_singles), np.zeros(n_singles, dtype=bool)).dispersion
        present = singles.n_left + singles.n_right > 0
        spread = np.ones(len(self._singles))
        pooled = np.zeros(len(self._singles), dtype=bool)
        for dimension in np.unique(self._siblings[self._siblings >= 0]):
            siblings = (self._siblings == dimension) & present
            if siblings.sum() >= _FEWEST_SIBLINGS:
                spread[siblings] = np.median(raw[siblings])
                pooled |= siblings
        return spread, pooled

    def _score(self, counts: Counts, dispersion: Floats, pooled: Bools) -> Tests:
        """Test some values, so many at a time that what is worked out stays small."""
        step = max(1, _BLOCK_CELLS // max(1, len(counts.left)))
        starts = range(0, max(len(pooled), 1), step)
        blocks = [slice(start, start + step) for start in starts]
        return _side_by_side(
            [
                score_values(
                    counts.columns(block),
                    min_change=self._min_change,
                    margin_sources=self._margin_sources,
                    dispersion=dispersion[block],
                    pooled=pooled[block],
                )
                for block in blocks
            ]
        )


def _side_by_side(parts: Sequence[Tests]) -> Tests:
    names = [field.name for field in fields(Tests)]
    return Tests(**{name: np.concatenate([getattr(t, name) for t in parts]) for name in names})
