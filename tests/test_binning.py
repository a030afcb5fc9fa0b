"""Counting points by bin, batch by batch, against collections.Counter."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hitsduck.chartdata import binning
from hitsduck.chartdata.binning import FARTHEST_BIN, BinCounter


@pytest.mark.parametrize("at_once", [1, 700, 10**9])
def test_batches_count_as_all_points_together(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(binning, "_COUNTED_AT_ONCE", at_once)
    numbers = np.random.default_rng(25125)
    row, column = numbers.integers(-40, 40, 5_000), numbers.integers(-3, 3, 5_000)
    counter = BinCounter()
    for part in range(0, 5_000, 500):
        # As floats, which is what np.floor gives.
        counter.add(row[part : part + 500].astype(float), column[part : part + 500].astype(float))
    frame = counter.frame("y", "x")
    truth = Counter(zip(row.tolist(), column.tolist(), strict=True))
    assert {(y, x): n for y, x, n in frame.rows()} == truth
    assert frame.rows() == sorted(frame.rows())


def test_the_farthest_bins_keep_their_signs() -> None:
    ends = np.array([-FARTHEST_BIN, -1, 0, 1, FARTHEST_BIN - 1])
    row, column = (side.ravel() for side in np.meshgrid(ends, ends))
    counter = BinCounter()
    counter.add(row, column)
    found = counter.frame("y", "x")
    assert found["n"].to_list() == [1] * 25
    assert set(found["y", "x"].rows()) == {(y, x) for y in ends.tolist() for x in ends.tolist()}


def test_without_a_point_there_is_no_bin() -> None:
    counter = BinCounter()
    counter.add(np.empty(0), np.empty(0))
    assert counter.frame("y", "x").is_empty()
