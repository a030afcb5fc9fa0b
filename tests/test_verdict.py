"""The one line of a comparison: parts that add up, in percent or in counts."""

from __future__ import annotations

from typing import Any

import pytest

from hitsduck.verdict import Decomposition, verdict

NO_COVERAGE = {"n_sources_left_only": 0, "n_sources_right_only": 0}


def summary(n_left: int, n_right: int, gone: int, new: int, **more: Any) -> dict[str, Any]:
    return {
        "n_left": n_left,
        "n_right": n_right,
        "n_left_only": gone,
        "n_right_only": new,
        "n_left_only_reflagged": 0,
        "n_right_only_reflagged": 0,
        "good": True,
        "coverage": NO_COVERAGE,
    } | more


def test_the_parts_add_up_to_the_net_change():
    counts = summary(
        100,
        130,
        20,
        50,
        n_left_only_reflagged=4,
        n_right_only_reflagged=10,
        coverage={"n_sources_left_only": 1, "n_sources_right_only": 12},
    )
    change = Decomposition.of(counts, unusable=2)
    # net 30; reflagged 10 - 4, coverage 12 - 1, unusable 2; the rest of 50 - 20 was detected
    assert vars(change) == {
        "net": 30,
        "detection": 30 - 6 - 11 - 2,
        "reflagged": 6,
        "coverage": 11,
        "unusable": 2,
        "pairing": 0,
    }
    assert sum(vars(change).values()) - change.net == change.net
    # 11/30 = 36.67, 6/30 = 20, 11/30 = 36.67, 2/30 = 6.67: rounded to 100 in all
    assert verdict(counts, change) == (
        "+30 good sources (+30.0%): 37% not detected before, 20% reflagged, 37% coverage, "
        "6% without a usable position"
    )


def test_sources_matched_more_than_once_are_a_part_of_their_own():
    # best1: two sources of left share one of right, so that nothing is unmatched
    change = Decomposition.of(summary(2, 1, 0, 0))
    assert (change.net, change.pairing) == (-1, -1)
    assert verdict(summary(2, 1, 0, 0), change) == (
        "-1 good sources (-50.0%): 100% matched more than once"
    )


def test_a_decrease_is_told_as_no_longer_detected():
    counts = summary(200, 150, 55, 5, good=False)
    assert verdict(counts, Decomposition.of(counts)) == (
        "-50 sources (-25.0%): 100% no longer detected"
    )


def test_parts_of_opposite_signs_are_percentages_that_still_add_up():
    counts = summary(100, 110, 10, 20, n_left_only_reflagged=2)
    # 12 detected more, 2 fewer by flags
    assert verdict(counts, Decomposition.of(counts)) == (
        "+10 good sources (+10.0%): 120% not detected before, -20% reflagged"
    )


def test_parts_far_larger_than_the_change_are_counts():
    counts = summary(100, 101, 50, 51, n_left_only_reflagged=40)
    assert verdict(counts, Decomposition.of(counts)) == (
        "+1 good sources (+1.0%): +41 not detected before, -40 reflagged"
    )


def test_no_net_change_tells_what_came_and_went():
    counts = summary(100, 100, 7, 7, n_right_only_reflagged=3)
    assert verdict(counts, Decomposition.of(counts)) == (
        "no net change in good sources (100): 7 new, 7 gone: -3 no longer detected, +3 reflagged"
    )
    counts = summary(100, 100, 0, 0, same_file=True)
    assert verdict(counts, Decomposition.of(counts)) == (
        "no net change in good sources (100): nothing new, nothing gone; "
        "both names are the same file"
    )


def test_a_rerun_without_sources_gives_no_percentage():
    counts = summary(0, 3, 0, 3)
    assert verdict(counts, Decomposition.of(counts)) == (
        "+3 good sources: 100% not detected before"
    )


EDGE = {"within_px": 32.0, "area_share": 0.0464, "share_of_increase": 0.461, "share_of_new": 0.3}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "; 46% within 32 px of an edge (4.6% of the area)"),
        (
            {"share_of_increase": None},
            "; 30% of the new ones within 32 px of an edge (4.6% of the area)",
        ),
        ({"share_of_increase": None, "share_of_new": None}, ""),
    ],
)
def test_the_edge_comes_last(change: dict[str, Any], words: str):
    counts = summary(100, 110, 0, 10)
    line = verdict(counts, Decomposition.of(counts), EDGE | change)
    assert line == "+10 good sources (+10.0%): 100% not detected before" + words
