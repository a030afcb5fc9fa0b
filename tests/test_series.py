"""Many reruns: against a baseline, and step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck.errors import IncompleteWarning, MatchError, QueryError, RerunNameError


def sources(*numbers: int, **cells: Any) -> list[dict[str, Any]]:
    return [
        {"diaSourceId": n, "diaObjectId": n, "visit": 1, "detector": 5, "ra": 10 + n / 60,
         "dec": 0.0, "x": 1000.0, "y": 2000.0} | cells
        for n in numbers
    ]  # fmt: skip


@pytest.fixture
def reruns(tmp_path: Path):
    # May has one more than April; June lacks two of May's and has three of its own
    rows = {
        "Apr": sources(1, 2, 3, timeProcessedMjdTai=300.0),
        "May": sources(1, 2, 3, 4, timeProcessedMjdTai=100.0),
        "Jun": sources(3, 4, 5, 6, 7, timeProcessedMjdTai=200.0),
    }
    paths = {name: make_apdb(tmp_path / f"{name}.db", sources=s) for name, s in rows.items()}
    with hitsduck.open_reruns(paths, instrument="DECam") as opened:
        yield opened


COLUMNS = ("left", "right", "change", "n_matched", "n_left_only", "n_right_only", "is_largest")


def test_each_step_is_compared_and_the_largest_is_named(reruns: hitsduck.Reruns):
    found = reruns.series()
    assert found.table().select(COLUMNS).rows() == [
        ("Apr", "May", 1, 3, 0, 1, False),
        ("May", "Jun", 1, 2, 2, 3, True),
    ]
    # of 4 + 5 sources 5 found no partner
    assert found.table()["turnover_percent"].to_list() == pytest.approx([100 / 7, 500 / 9])
    assert found.table()["change_percent"].to_list() == pytest.approx([100 / 3, 25.0])
    assert found.verdict() == f"May to Jun changed most of 2: {found[1].verdict()}"
    assert len(found) == 2
    assert "Apr to May, May to Jun" in repr(found)


def test_every_rerun_is_compared_with_the_baseline(reruns: hitsduck.Reruns):
    found = reruns.compare_all(baseline="May")
    assert found.table().select(COLUMNS).rows() == [
        ("May", "Apr", -1, 3, 1, 0, False),
        ("May", "Jun", 1, 2, 2, 3, True),
    ]
    first = reruns.compare_all(good=False, how="all", radius_arcsec=1.0)
    assert [(c.left, c.right) for c in first.comparisons] == [("Apr", "May"), ("Apr", "Jun")]
    assert first[0].how == "all"


def test_a_series_gives_what_single_comparisons_give(reruns: hitsduck.Reruns):
    for comparison in (*reruns.series().comparisons, *reruns.compare_all().comparisons):
        alone = reruns.compare(comparison.left, comparison.right)
        assert comparison.summary() == alone.summary()
        assert comparison.matched.equals(alone.matched)


def test_the_order_is_that_of_opening_of_processing_or_as_said(reruns: hitsduck.Reruns):
    def steps(**order: Any) -> list[tuple[str, str]]:
        return [(c.left, c.right) for c in reruns.series(**order).comparisons]

    assert steps(order="time") == [("May", "Jun"), ("Jun", "Apr")]
    assert steps(order=["Jun", "Apr"]) == [("Jun", "Apr")]
    with pytest.raises(QueryError, match="opening, time"):
        steps(order="weekly")
    with pytest.raises(RerunNameError, match="Aug"):
        steps(order=["Jun", "Aug"])
    assert steps(order=iter(["Jun", "Apr"])) == [("Jun", "Apr")]
    for twice in (["Apr", "Apr"], ["May", "Apr", "Jun", "Apr"]):
        with pytest.raises(RerunNameError, match="names 'Apr' twice"):
            steps(order=twice)
    with pytest.raises(QueryError, match="opening, time"):
        steps(order={"Apr", "Jun"})  # a set is in no order


def test_a_file_that_records_no_processing_time_cannot_be_ordered_by_it(tmp_path: Path):
    paths = {
        n: make_apdb(tmp_path / f"{n}.db", generation="2020", sources=sources(1)) for n in "ab"
    }
    with (
        hitsduck.open_reruns(paths, instrument="DECam") as reruns,
        pytest.raises(QueryError, match=r"a\.db.*timeProcessedMjdTai"),
    ):
        reruns.series(order="time")


def test_one_rerun_is_no_series(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", sources=sources(1))
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        for ask in (reruns.series, reruns.compare_all):
            with pytest.raises(RerunNameError, match="at least two"):
                ask()


def test_equal_reruns_have_no_largest_step(tmp_path: Path):
    paths = {name: make_apdb(tmp_path / f"{name}.db", sources=sources(1, 2)) for name in "abc"}
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        found = reruns.series()
        assert not found.table()["is_largest"].any()
        assert found.verdict() == "nothing new and nothing gone in 2 comparisons"


def test_a_pair_that_cannot_be_compared_is_told_and_the_others_are(tmp_path: Path):
    rows = {
        "a": sources(1, 2),
        "b": sources(1, 2, 3),
        "c": [*sources(1), *sources(2, diaSourceId=None)],
        "d": sources(1),
    }
    paths = {
        name: make_apdb(tmp_path / f"{name}.db", sources=s, constraints=False)
        for name, s in rows.items()
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        with pytest.warns(IncompleteWarning, match="cannot be compared") as given:
            found = reruns.series()
        assert len(given) == 2
        assert given[0].filename == __file__
        table = found.table()
        assert table.select("left", "right", "change", "is_largest").rows() == [
            ("a", "b", 1, True),
            ("b", "c", None, False),
            ("c", "d", None, False),
        ]
        assert ["NULL" in (problem or "") for problem in table["problem"]] == [False, True, True]
        assert [(pair.left, pair.right) for pair in found.uncompared] == [("b", "c"), ("c", "d")]
        assert len(found) == 1
        assert found.verdict().startswith("a to b changed most of 1: +1 good sources")
        assert "; b to c cannot be compared: rerun 'c' (" in found.verdict()
        assert "b to c (not comparable)" in repr(found)
        # where no pair can be compared there is nothing to tell
        with pytest.raises(MatchError):
            reruns.series(order=["b", "c"])
