"""The one line of a comparison: parts that add up, and shares that are parts of a whole."""

from __future__ import annotations

from typing import Any

import pytest

from hitsduck.verdict import Decomposition, unmatched_parts, verdict

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


def test_the_parts_are_a_table_in_a_notebook():
    # 11,000 more sources: 12,000 new and 1,000 gone, of the gone 400 reflagged.
    counts = summary(90_000, 101_000, 1_000, 12_000, n_left_only_reflagged=400)
    told = Decomposition.of(counts)._repr_html_()
    for name, n in (("detection", "+11,400"), ("reflagged", "-400"), ("net", "+11,000")):
        assert f"<td>{name}</td><td>{n}</td>" in told


def test_the_percentages_are_of_the_new_sources_and_add_up():
    counts = summary(
        100,
        130,
        20,
        50,
        n_left_only_reflagged=4,
        n_right_only_reflagged=10,
        coverage={"n_sources_left_only": 1, "n_sources_right_only": 12},
    )
    # of 50 new: 10 reflagged (20%), 12 on other images (24%), 3 without a position (6%), 25 left
    assert unmatched_parts(counts, "right", 3) == {
        "not detected before": 25,
        "reflagged": 10,
        "coverage": 12,
        "without a usable position": 3,
    }
    assert verdict(counts, unusable={"left": 1, "right": 3}) == (
        # 50 - 3 new, 20 - 1 gone; of 47: 25 (53.2%), 10 (21.3%) and 12 (25.5%)
        "+30 good sources (+30.0%): 47 new, 19 gone; 1 and 3 without a usable position; "
        "of the new 53% not detected before, 21% reflagged, 26% coverage"
    )


def test_percentages_are_rounded_to_a_hundred_in_all():
    counts = summary(
        10, 13, 0, 3, n_right_only_reflagged=1,
        coverage={"n_sources_left_only": 0, "n_sources_right_only": 1},
    )  # fmt: skip
    # a third each: 33.33, of which the first is rounded up
    assert verdict(counts).endswith(
        "of the new 34% not detected before, 33% reflagged, 33% coverage"
    )


def test_sources_matched_more_than_once_are_a_part_of_their_own():
    # best1: two sources of left share one of right, so that nothing is unmatched
    change = Decomposition.of(summary(2, 1, 0, 0))
    assert (change.net, change.pairing) == (-1, -1)
    assert verdict(summary(2, 1, 0, 0)) == (
        "-1 good sources (-50.0%): nothing new, nothing gone; 2 matched with 1, some of "
        "them more than once"
    )


def test_a_decrease_tells_of_the_sources_that_are_gone():
    counts = summary(200, 150, 55, 5, good=False, n_left_only_reflagged=11)
    # 11 of 55
    assert verdict(counts) == (
        "-50 sources (-25.0%): 5 new, 55 gone; of the gone 80% no longer detected, 20% reflagged"
    )


def test_parts_of_opposite_signs_never_give_more_than_a_hundred_percent():
    # one more by net, of 40 flagged anew and 41 more detected: of the net 4100% and -4000%
    counts = summary(100, 101, 50, 51, n_left_only_reflagged=40)
    assert verdict(counts) == (
        "+1 good sources (+1.0%): 51 new, 50 gone; of the new 100% not detected before"
    )


def test_no_net_change_tells_what_came_and_went():
    counts = summary(100, 100, 8, 8, n_right_only_reflagged=2)
    assert verdict(counts) == (
        "no net change in good sources (100): 8 new, 8 gone; "
        "of the new 75% not detected before, 25% reflagged"
    )
    counts = summary(100, 100, 0, 0, same_file=True)
    assert verdict(counts) == (
        "no net change in good sources (100): nothing new, nothing gone; "
        "both names are the same file"
    )


def test_a_rerun_without_sources_gives_no_percentage_of_change():
    assert verdict(summary(0, 3, 0, 3)) == (
        "+3 good sources: 3 new, nothing gone; of the new 100% not detected before"
    )


def test_reruns_of_other_images_are_told_so():
    apart = {"n_sources_left_only": 4, "n_sources_right_only": 7}
    assert verdict(summary(4, 7, 4, 7, coverage=apart), shares_images=False) == (
        "+3 good sources (+75.0%): 7 new, 4 gone; the reruns share no image"
    )


EDGE = {
    "within_px": 32.0,
    "area_share": 0.0464,
    "share_of_increase": 0.461,
    "share_of_new": 0.3,
    "n_new": 10,
}
NEW = "; 30% of the 10 not detected before within 32 px of an edge (4.6% of the area)"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "; 46% of the increase within 32 px of an edge (4.6% of the area)"),
        ({"share_of_increase": None}, NEW),
        # more at the edge than in all, or fewer at the edge: no share of anything
        ({"share_of_increase": 1.2}, NEW),
        ({"share_of_increase": -0.1}, NEW),
        ({"share_of_increase": None, "share_of_new": None}, ""),
    ],
)
def test_the_edge_comes_last(change: dict[str, Any], words: str):
    line = verdict(summary(100, 110, 0, 10), EDGE | change)
    assert (
        line
        == ("+10 good sources (+10.0%): 10 new, nothing gone; of the new 100% not detected before")
        + words
    )


@pytest.mark.parametrize("n_right", [100, 90])
def test_without_an_increase_no_share_of_it_is_told(n_right: int):
    line = verdict(summary(100, n_right, 110 - n_right, 10), EDGE | {"share_of_increase": None})
    assert "increase" not in line
    assert line.endswith(NEW)


def test_with_coverage_the_increase_is_that_on_shared_images():
    covered = {"n_sources_left_only": 0, "n_sources_right_only": 5}
    line = verdict(summary(100, 110, 0, 10, coverage=covered), EDGE)
    assert line.endswith(
        "; 46% of the increase on shared images within 32 px of an edge (4.6% of the area)"
    )


def test_reruns_that_match_nothing_are_asked_about():
    edge = {"within_px": 32.0, "share_of_increase": 0.5, "n_new": 9, "area_share": 0.05}
    assert verdict(summary(9, 12, 9, 12), edge) == (
        "+3 good sources (+33.3%): 12 new, 9 gone; nothing matched: are these the same images?"
    )
    # without a single source there is nothing to match
    assert "matched" not in verdict(summary(0, 12, 0, 12))
