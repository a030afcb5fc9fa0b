"""Two reruns compared source by source: tiny files, expected values by hand."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck.comparison import SUMMARY_COLUMNS, Comparison
from hitsduck.errors import InstrumentError, MatchError, QueryError, RerunNameError
from hitsduck.pairing import COUNTS
from hitsduck.sides import Side

#: Opens reruns of these sources: opened(a=[...], b=[...]).
Opened = Callable[..., "hitsduck.Reruns"]
Row = dict[str, Any]
HOWS = ("mutual", "best1", "best2", "all")
ARCSEC = 1 / 3600
SUMMARY_KEYS = [
    "left",
    "right",
    "radius_arcsec",
    "n_left",
    "n_right",
    "n_matched",
    "n_left_only",
    "n_right_only",
    "match",
    "n_ambiguous",
    "n_left_only_reflagged",
    "n_right_only_reflagged",
    "same_file",
    "coverage",
    "edge",
]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    with ExitStack() as stack:

        def open_reruns(
            *,
            opening: dict[str, Any] | None = None,
            files: dict[str, Any] | None = None,
            **rows: Any,
        ) -> hitsduck.Reruns:
            paths = {
                name: make_apdb(tmp_path / name / "a.db", sources=sources, **(files or {}))
                for name, sources in rows.items()
            }
            how = {"instrument": "DECam"} | (opening or {})
            return stack.enter_context(hitsduck.open_reruns(paths, **how))

        yield open_reruns


def source(number: int, ra_arcsec: float = 0.0, **cells: Any) -> Row:
    """Return a good source, so many arcsec east of (150, 0)."""
    return {
        "diaSourceId": number,
        "diaObjectId": number,
        "visit": 410985,
        "detector": 5,
        "ra": 150.0 + ra_arcsec * ARCSEC,
        "dec": 0.0,
        "x": 1000.0,
        "y": 2000.0,
        "psfFlux": 100.0,
        "psfFluxErr": 10.0,
        "midpointMjdTai": 57070.1,
        "band": "g",
    } | cells


def ids(frame: pl.DataFrame) -> list[int]:
    return frame["diaSourceId"].to_list()


def pair_ids(comparison: Comparison) -> list[tuple[int, int]]:
    return comparison.matched.select("diaSourceId_left", "diaSourceId_right").rows()


# -- what is matched, and how ----------------------------------------------------

#: Left at 0 and 0.3, right at 0.1 and 5 arcsec east: 0 is nearest to 0.1 (0.1 away), 0.3 is
#: 0.2 away from it.
LEFT = [source(1, 0.0), source(2, 0.3)]
RIGHT = [source(11, 0.1), source(12, 5.0)]
PAIRS = {
    "mutual": [(1, 11)],
    "best1": [(1, 11), (2, 11)],
    "best2": [(1, 11)],
    "all": [(1, 11), (2, 11)],
}


@pytest.mark.parametrize("how", HOWS)
def test_each_rule_matches_what_its_name_says(opened: Opened, how: str):
    found = opened(a=LEFT, b=RIGHT).compare("a", "b", how=how)
    assert pair_ids(found) == PAIRS[how]
    matched = {left for left, _ in PAIRS[how]}
    assert ids(found.left_only) == [number for number in (1, 2) if number not in matched]
    assert ids(found.right_only) == [12]
    # 11 has two neighbours within the radius, so that every pair of it is ambiguous
    assert found.n_ambiguous == len(PAIRS[how])
    summary = found.summary()
    assert summary["match"] == how
    assert summary["n_left_only"] == found.left_only.height


def test_the_radius_is_inclusive_and_images_are_kept_apart(opened: Opened):
    reruns = opened(
        a=[source(1), source(2, detector=6), source(3, 100, visit=7)],
        b=[source(1, 0.5), source(2, detector=7), source(3, 100, visit=8)],
    )
    found = reruns.compare("a", "b", radius_arcsec=0.5)
    assert pair_ids(found) == [(1, 1)]
    assert found.matched["sep_arcsec"][0] == pytest.approx(0.5, abs=1e-9)
    assert reruns.compare("a", "b", radius_arcsec=0.499).n_matched == 0


def test_differences_are_right_less_left_in_the_units_of_their_names(opened: Opened):
    left = source(1, ra=359.9999, dec=60.0, x=10.0, y=20.0, psfFlux=-50.0)
    right = source(9, ra=0.0001, dec=60.0001, x=11.5, y=18.0, psfFlux=25.0)
    (row,) = opened(a=[left], b=[right]).compare("a", "b", radius_arcsec=2.0).matched.to_dicts()
    # 0.0002 deg * 3600 * cos(60.00005 deg) = 0.72 * 0.499999 = 0.359999
    assert row["delta_ra_arcsec"] == pytest.approx(0.36, rel=1e-4)
    assert row["delta_dec_arcsec"] == pytest.approx(0.36, rel=1e-6)
    assert (row["delta_x_px"], row["delta_y_px"]) == (1.5, -2.0)
    assert row["delta_psf_flux_njy"] == 75.0
    assert row["psf_flux_ratio"] == -0.5
    assert (row["visit"], row["detector"]) == (410985, 5)
    assert (row["psf_snr_left"], row["psf_snr_right"]) == (5.0, 2.5)


def test_a_ratio_to_a_flux_of_zero_is_null(opened: Opened):
    found = opened(a=[source(1, psfFlux=0.0)], b=[source(1, psfFlux=3.0)]).compare("a", "b")
    assert found.matched["psf_flux_ratio"].to_list() == [None]


def test_pixels_are_matched_where_a_radius_in_pixels_is_given(opened: Opened):
    # 3-4-5 triangle in pixels; on the sky the two are 10 arcsec apart
    reruns = opened(a=[source(1, 0.0)], b=[source(1, 10.0, x=1003.0, y=2004.0)])
    found = reruns.compare("a", "b", radius_px=5.0)
    assert found.matched["sep_px"].to_list() == [5.0]
    assert found.summary()["radius_arcsec"] is None
    assert found.summary()["radius_px"] == 5.0
    assert reruns.compare("a", "b", radius_px=4.9).n_matched == 0
    assert "5.0 px" in repr(found)


def test_sources_without_a_position_are_counted_and_never_matched(opened: Opened):
    rows = [source(1), source(2, ra=None), source(3, dec=95.0), source(4, 50)]
    reruns = opened(a=rows, b=rows, files={"constraints": False})
    found = reruns.compare("a", "b")
    assert (found.n_matched, found.n_left_unusable, found.n_right_unusable) == (2, 2, 2)
    assert found.left_only.select("diaSourceId", "why").rows() == [(2, "unusable"), (3, "unusable")]
    change = found.decomposition()
    assert (change.net, change.detection, change.unusable) == (0, 0, 0)


def test_rows_in_any_order_give_the_same_lists(opened: Opened):
    rows = [source(number, 3.0 * number) for number in range(1, 8)]
    reruns = opened(a=rows, b=rows[::-1], c=rows[3:] + rows[:3])
    for name in ("b", "c"):
        found = reruns.compare("a", name)
        assert pair_ids(found) == [(number, number) for number in range(1, 8)]


def test_differences_are_summed_up_with_an_error_from_whole_visits(opened: Opened):
    # 12 visits of 3 sources: fluxes 10% brighter in b, positions 0.2 arcsec further east but
    # for one visit that is 0.5 off
    numbers = [(visit, k) for visit in range(1, 13) for k in range(3)]
    left, right = (
        [
            source(10 * visit + k, 5.0 * k + shift * (2.5 if visit == 7 else 1.0), visit=visit,
                   psfFlux=flux + k)
            for visit, k in numbers
        ]
        for shift, flux in ((0.0, 100.0), (0.2, 110.2))
    )  # fmt: skip
    rows = {
        row["quantity"]: row
        for row in opened(a=left, b=right).compare("a", "b").differences().to_dicts()
    }
    flux = rows["psf_flux_ratio"]
    # (110.2, 111.2, 112.2) / (100, 101, 102): the middle one in every visit
    assert (flux["n_pairs"], flux["median"]) == (36, pytest.approx(111.2 / 101))
    assert flux["error"] == 0.0
    assert flux["n_sigma"] is None
    assert rows["delta_ra_arcsec"]["median"] == pytest.approx(0.2, abs=1e-6)
    assert rows["delta_x_px"]["median"] == 0.0


def test_empty_reruns_compare_without_complaint(opened: Opened, tmp_path: Path):
    reruns = opened(a=[], b=[], c=[source(1)])
    both = reruns.compare("a", "b")
    assert both.verdict() == "no net change in good sources (0): nothing new, nothing gone"
    assert (both.matched.height, both.by("detector").height, both.coverage().height) == (0, 0, 0)
    assert both.differences()["median"].null_count() == 5
    one = reruns.compare("a", "c")
    assert one.verdict() == ("+1 good sources: 1 new, nothing gone; the reruns share no image")
    assert one.summary()["edge"] is None
    assert one.edge_problem == "no image of a known detector is in both reruns"
    assert ids(one.right_only) == [1]
    one.write(tmp_path / "lists", form="csv")
    assert reruns.sql(f"select count(*) as n from {one.register()}.left_only").rows() == [{"n": 0}]


def test_columns_named_beforehand_come_with_the_first_pass_over_the_files(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
):
    reruns = opened(a=LEFT, b=RIGHT)
    read: list[tuple[str, ...]] = []
    read_one = Side._read
    monkeypatch.setattr(
        Side,
        "_read",
        lambda self, view, terms: (read.append(tuple(terms)), read_one(self, view, terms))[1],
    )
    plain = reruns.compare("a", "b")
    assert len(read) == 2
    assert "x" not in read[0]
    answer = plain.summary()
    assert len(read) > 2
    read.clear()
    assert reruns.compare("a", "b", columns=SUMMARY_COLUMNS).summary() == answer
    assert len(read) == 2
    assert set(SUMMARY_COLUMNS) <= set(read[0])


# -- masking or detection ----------------------------------------------------------


def test_an_unmatched_good_source_is_reflagged_or_absent(opened: Opened):
    bad, suspect = {"pixelFlags_bad": True}, {"pixelFlags_suspect": True}
    found = opened(
        a=[source(1), source(2, 10), source(3, 20, **bad), source(4, 30)],
        b=[source(1, **bad, **suspect), source(3, 20), source(4, 30)],
    ).compare("a", "b")
    columns = ("diaSourceId", "why", "differing_flags")
    assert found.left_only.select(columns).rows() == [
        (1, "reflagged", ["pixelFlags_bad", "pixelFlags_suspect"]),
        (2, "absent", None),
    ]
    assert found.right_only.select(columns).rows() == [(3, "reflagged", ["pixelFlags_bad"])]
    summary = found.summary()
    assert (summary["n_left_only_reflagged"], summary["n_right_only_reflagged"]) == (1, 1)
    # a has 1, 2, 4 and b has 3, 4: -1 = (0 new - 1 gone) + (1 - 1 reflagged)
    change = found.decomposition()
    assert (change.net, change.detection, change.reflagged, change.coverage) == (-1, -1, 0, 0)


def test_the_partner_of_another_source_makes_no_reflagged_one(opened: Opened):
    # The bad source of b lies at 0.3 arcsec; among all sources of a the bad one at 0.35 is
    # its nearest, so that the good one at 0 is not its partner by the same rule.
    found = opened(
        a=[source(1, 0.0), source(2, 0.35, pixelFlags_bad=True)],
        b=[source(12, 0.3, pixelFlags_bad=True)],
    ).compare("a", "b")
    assert found.left_only["why"].to_list() == ["absent"]


def test_with_all_sources_nothing_is_reflagged(opened: Opened):
    reruns = opened(a=[source(1), source(2, 10)], b=[source(1, pixelFlags_bad=True)])
    found = reruns.compare("a", "b", good=False)
    assert found.n_matched == 1
    assert found.left_only["why"].to_list() == ["absent"]
    assert found.summary()["n_left_only_reflagged"] == 0


def test_a_partner_with_a_null_flag_reflags_without_naming_it(opened: Opened):
    null = source(1, pixelFlags_bad=None)
    reruns = opened(a=[source(1)], b=[null], files={"constraints": False})
    found = reruns.compare("a", "b").left_only
    assert found.select("why", "differing_flags").rows() == [("reflagged", None)]


@pytest.mark.parametrize("how", HOWS)
def test_reflagging_follows_the_rule_of_the_comparison(opened: Opened, how: str):
    # b has two bad sources near the good one of a: all rules see one of them at least
    reruns = opened(
        a=[source(1)],
        b=[source(11, 0.1, pixelFlags_bad=True), source(12, 0.2, pixelFlags_suspect=True)],
    )
    found = reruns.compare("a", "b", how=how).left_only
    assert found.select("why", "differing_flags").rows() == [("reflagged", ["pixelFlags_bad"])]


# -- coverage ----------------------------------------------------------------------


def test_coverage_lists_the_images_that_only_one_rerun_has(opened: Opened):
    reruns = opened(
        a=[source(1), source(2, 9, detector=6), source(3, 9, detector=6, pixelFlags_bad=True)],
        b=[source(1), source(2, visit=410999), source(3, 5)],
    )
    found = reruns.compare("a", "b")
    assert found.coverage().rows() == [
        # visit, detector, side, sources, good ones, part of left_only or right_only, why and
        # how sure: b has twice as many sources on the image of both, so that finding none
        # where a has 2 has the probability min((1 - 1/2)^2, exp(-2 * 2)) = exp(-4) = 0.018;
        # of 2 images 1 has none: (1 - e)(1 - f) = e + (1 - e) f, f = (1 - 2 e) / (2 (1 - e))
        # is the part missing that makes it likeliest, f / (f + (1 - f) e) the odds
        (410985, 6, "left", 2, 1, 1, "no source, and hardly by chance",
         pytest.approx(1 - 2 * math.exp(-4) / 2 / (1 - math.exp(-4)), abs=1e-6)),
        (410999, 5, "right", 1, 1, 1, "nothing of the visit", None),
    ]  # fmt: skip
    assert found.summary()["coverage"] == {
        "left_only": 1,
        "right_only": 1,
        "n_sources_left_only": 1,
        "n_sources_right_only": 1,
    }
    assert found.shared_images.rows() == [(410985, 5)]
    # on the shared image b has one more; edges and explanations see no other image
    change = found.decomposition()
    assert (change.net, change.detection, change.coverage) == (1, 1, 0)
    evidence = found.evidence.edge
    assert evidence.select("side", "status").rows() == [
        ("left", "matched"),
        ("right", "matched"),
        ("right", "new"),
    ]


def test_an_image_without_sources_counts_where_it_is_recorded(tmp_path: Path):
    rows = [source(1), source(2, detector=6)]
    seen = {(row["visit"], row["detector"]) for row in rows}
    recorded = [{"visit": visit, "detector": detector} for visit, detector in seen]
    paths = {
        # forced photometry, and the processing summary, both know of detector 6
        "forced": make_apdb(
            tmp_path / "f.db",
            sources=rows[:1],
            forced=[{"diaObjectId": 1, **recorded[0]}, {"diaObjectId": 1, **recorded[1]}],
        ),
        "summary": make_apdb(tmp_path / "s.db", sources=rows[:1], summary=recorded),
        "neither": make_apdb(tmp_path / "n.db", sources=rows[:1]),
        "full": make_apdb(tmp_path / "a.db", sources=rows),
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        for name in ("forced", "summary"):
            assert reruns.compare(name, "full").coverage().is_empty()
            assert reruns.compare(name, "full").presumed_images.is_empty()
        for name in paths:
            images = reruns.sql(f'select visit, detector from "{name}".image order by all').polars()
            own = reruns.compare(name, name).shared_images
            assert own.rows() == images.rows()


def test_an_image_without_sources_may_be_chance_unless_the_images_are_recorded(tmp_path: Path):
    rows = [source(1), source(2, detector=6)]
    listed = [{"visit": 410985, "detector": detector} for detector in (5, 6)]
    paths = {
        "neither": make_apdb(tmp_path / "n.db", sources=rows[:1]),
        "listed": make_apdb(tmp_path / "l.db", sources=rows[:1], summary=listed[:1]),
        "full": make_apdb(tmp_path / "a.db", sources=rows),
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        presumed, missing = (reruns.compare(name, "full") for name in ("neither", "listed"))
        # one source on one image is soon overlooked: it counts as not detected
        assert presumed.coverage().is_empty()
        assert presumed.shared_images.rows() == [(410985, 5), (410985, 6)]
        assert presumed.presumed_images.select("visit", "detector", "side").rows() == [
            (410985, 6, "left")
        ]
        assert presumed.summary()["n_presumed_images"] == 1
        change = presumed.decomposition()
        assert (change.detection, change.coverage) == (1, 0)
        # the same file with a processing summary says that it has no such image
        assert missing.coverage().select("visit", "detector", "rule", "p_missing").rows() == [
            (410985, 6, "not in DetectorVisitProcessingSummary", None)
        ]
        change = missing.decomposition()
        assert (change.detection, change.coverage) == (0, 1)


def test_a_condition_on_sources_takes_no_image_away(opened: Opened):
    # detector 6 has 9 faint sources in a, of which b has none; on 5 b has all of a's
    rows = [source(k, 9 * k, psfFlux=100.0) for k in range(1, 10)]
    faint = [source(10 + k, 9 * k, detector=6, psfFlux=1.0) for k in range(1, 10)]
    found = opened(a=rows + faint, b=rows).compare("a", "b", where="psfFlux > 50")
    assert (found.n_left, found.n_right, found.n_matched) == (9, 9, 9)
    columns = ("visit", "detector", "side", "n_dia_sources", "n_only")
    assert found.coverage().select(columns).rows() == [(410985, 6, "left", 0, 0)]


# -- counting by a column ------------------------------------------------------------


def test_sources_are_counted_by_any_column_or_expression(opened: Opened):
    reruns = opened(
        a=[source(1), source(2, 10, detector=6), source(3, 20, detector=6)],
        b=[source(1, psfFlux=300.0), source(2, 10, detector=6), source(4, 30, band=None)],
    )
    found = reruns.compare("a", "b")
    names = ("n_left", "n_right", "n_matched", "n_left_only", "n_right_only", "change")
    assert found.by("detector").rows() == [(5, 1, 2, 1, 0, 1, 1), (6, 2, 1, 1, 1, 0, -1)]
    assert found.by("detector").columns == ["detector", *names]
    assert found.by("band").rows() == [("g", 3, 2, 2, 1, 0, -1), (None, 0, 1, 0, 0, 1, 1)]
    # source 1 has S/N 10 in a and 30 in b: matched, but with another value
    bright = [(False, 3, 2, 1, 1, 1, -1), (True, 0, 1, 0, 0, 0, 1)]
    assert found.by(pl.col("psf_snr") > 20).rows() == bright
    assert found.by("psf_snr > 20").rows() == bright
    assert found.by("visit", "detector").height == 2
    # columns that no list carries: a flag, and one of another view
    assert found.by("pixelFlags_edge").rows() == [(False, 3, 3, 2, 1, 1, 0)]
    assert found.by("edge_side").columns[0] == "edge_side"


@pytest.mark.parametrize("rows_at_once", [None, 1])
@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (["detector", "detector"], "detector"),
        (["detector", pl.col("visit").alias("detector")], "detector"),
        *(([pl.col("detector").alias(name)], name) for name in COUNTS),
    ],
)
def test_a_name_that_another_column_of_the_counts_has_is_refused(
    opened: Opened, rows_at_once: int | None, keys: list[str | pl.Expr], name: str
):
    rows = [source(1), source(2, 10, visit=410986)]
    found = opened(a=rows, b=rows).compare("a", "b", rows_at_once=rows_at_once)
    with pytest.raises(QueryError, match=f"is called {name} already"):
        found.by(*keys)


def test_any_other_name_may_be_counted_by(opened: Opened):
    rows = [source(1), source(2, 10, detector=6)]
    found = opened(a=rows, b=rows[:1]).compare("a", "b")
    for name in ("is_only", "n_right_right", "left"):
        counted = found.by(pl.col("detector").alias(name))
        assert counted.columns == [name, *COUNTS]
        assert counted.rows() == [(5, 1, 1, 1, 0, 0, 0), (6, 1, 0, 0, 1, 0, -1)]


def test_a_text_sees_the_columns_of_every_view_with_one_row_per_source(opened: Opened):
    # The left side of a detector lies at x = -0.5: x = 10 is 10.5 px from it.
    places = [source(1, x=10.0), source(2, 10, x=40.0), source(3, 20, x=1000.0)]
    reruns = opened(a=places, b=[*places, source(4, 30, x=11.0)])
    found = reruns.compare("a", "b")
    near = [(False, 2, 2, 2, 0, 0, 0), (True, 1, 2, 1, 0, 1, 1)]
    assert found.by("edge_distance_px < 32").rows() == near
    assert found.by("EDGE_DISTANCE_PX < 32").rows() == near
    assert found.by(pl.col("edge_distance_px") < 32).rows() == near
    # of three views at once
    both = "dia_source.edge_distance_px < 32 and focal_x_mm is not null and ra > 150.001"
    assert found.by(both).rows() == [(False, 3, 3, 3, 0, 0, 0), (True, 0, 1, 0, 0, 1, 1)]
    one = reruns.compare("a", "b", where="diaSourceId = 2").by("edge_distance_px < 41")
    assert one.rows() == [(True, 1, 1, 1, 0, 0, 0)]
    told = found.explain(extra={"near edge": "edge_distance_px < 32"}).frame
    ours = told.filter(pl.col("dimension") == "near edge").sort("value")
    assert ours.select("value", "n_left", "n_right").rows() == [("false", 2, 2), ("true", 1, 2)]
    with pytest.raises(QueryError, match="no expression"):
        found.by("max(edge_distance_px)")
    with pytest.raises(QueryError, match="edge_distance_pxx"):
        found.by("edge_distance_pxx + edge_distance_px")


@pytest.mark.parametrize("is_bad", [False, True])
def test_sources_without_an_id_are_told_with_their_rerun_and_their_number(
    opened: Opened, tmp_path: Path, is_bad: bool
):
    lost = {"diaSourceId": None, "pixelFlags_bad": is_bad}
    reruns = opened(
        files={"constraints": False},
        a=[source(1), source(2, 10)],
        b=[source(1), source(2, 10) | lost, source(3, 20) | lost],
    )
    told = (
        f"rerun 'b' ({tmp_path / 'b' / 'a.db'}): diaSourceId is NULL in 2 of 3 rows of DiaSource; "
        "sources without an id cannot be matched: give each its own in a copy of the file"
    )
    with pytest.raises(MatchError) as caught:
        reruns.compare("a", "b", good=False)
    assert str(caught.value) == told
    paths = [str(tmp_path / name / "a.db") for name in "ab"]
    command = ["compare", f"a={paths[0]}", f"b={paths[1]}", "--instrument", "DECam"]
    done = subprocess.run(
        [sys.executable, "-m", "hitsduck", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"error: {told}\n"


def test_a_text_on_plain_columns_needs_no_camera(opened: Opened):
    rows = [source(1), source(2, 10, psfFlux=300.0)]
    found = opened(opening={"instrument": None}, a=rows, b=rows).compare("a", "b")
    assert found.by("psf_snr > 20").rows() == [(False, 1, 1, 1, 0, 0, 0), (True, 1, 1, 1, 0, 0, 0)]
    with pytest.raises(InstrumentError, match="rerun 'a'"):
        found.by("edge_distance_px < 32")


def test_an_unknown_column_or_a_statement_is_refused_with_what_there_is(opened: Opened):
    rows = [source(1), source(2, 10)]
    found = opened(a=rows, b=rows).compare("a", "b")
    with pytest.raises(QueryError, match=r"psfFluxx.*psfFlux"):
        found.by("psfFluxx")
    with pytest.raises(QueryError):
        found.by("detector; drop table dia_source")
    with pytest.raises(QueryError, match="one value per source"):
        found.by(pl.col("detector").max())
    with pytest.raises(QueryError, match="names no column"):
        found.by(pl.lit(1))


# -- summary, verdict, lists -----------------------------------------------------------


def test_the_summary_has_the_promised_keys_and_is_json(opened: Opened):
    summary = opened(a=LEFT, b=RIGHT).compare("a", "b").summary()
    assert list(summary)[: len(SUMMARY_KEYS)] == SUMMARY_KEYS
    assert list(summary["coverage"]) == [
        "left_only",
        "right_only",
        "n_sources_left_only",
        "n_sources_right_only",
    ]
    assert summary["edge"]["within_px"] == 32.0
    json.dumps(summary, allow_nan=False)


def test_one_file_under_two_names_is_said_and_a_copy_is_not(opened: Opened, tmp_path: Path):
    path = make_apdb(tmp_path / "one.db", sources=[source(1)])
    os.link(path, tmp_path / "hard.db")
    (tmp_path / "soft.db").symlink_to(path)
    shutil.copy(path, tmp_path / "copy.db")
    paths = {name: tmp_path / f"{name}.db" for name in ("one", "hard", "soft", "copy")}
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        same = {name: reruns.compare("one", name).summary()["same_file"] for name in paths}
        assert same == {"one": True, "hard": True, "soft": True, "copy": False}
        assert (
            reruns.compare("one", "hard")
            .verdict()
            .startswith(
                "no net change in good sources (1): nothing new, nothing gone; "
                "both names are the same file"
            )
        )


def test_the_lists_are_relations_of_the_database(opened: Opened):
    reruns = opened(a=LEFT, b=RIGHT)
    mutual, everything = reruns.compare("a", "b"), reruns.compare("a", "b", how="all")
    assert [mutual.register(), everything.register()] == ["comparison_1", "comparison_2"]
    assert mutual.register() == "comparison_1"
    query = "select count(*) as n from {}.matched"
    counts = [reruns.sql(query.format(f"comparison_{k}")).rows()[0]["n"] for k in (1, 2)]
    assert counts == [1, 2]
    why = reruns.sql("select diaSourceId, why, differing_flags from comparison_1.left_only")
    assert why.rows() == [{"diaSourceId": 2, "why": "absent", "differing_flags": None}]
    assert reruns.compare("a", "b").register('april; "june"') == 'april; "june"'
    with pytest.raises(RerunNameError, match="exists already"):
        mutual.register("a")


def test_lists_are_written_strongest_first_with_ids_as_text(opened: Opened, tmp_path: Path):
    big = 2**62 + 1
    found = opened(
        a=[source(1)],
        b=[
            source(big, 10, psfFlux=-900.0),
            source(3, 20, psfFlux=500.0),
            source(4, 30, psfFluxErr=None),
            source(1, pixelFlags_bad=True),
        ],
        files={"constraints": False},
    ).compare("a", "b")
    written = found.write(tmp_path / "lists", form="csv")
    with written["right_only"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["diaSourceId"] for row in rows] == [str(big), "3", "4"]
    assert f'"{big}"' in written["right_only"].read_text(encoding="utf-8")
    with written["left_only"].open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["differing_flags"] == "pixelFlags_bad"
    parquet = found.write(tmp_path / "lists")
    assert ids(pl.read_parquet(parquet["right_only"])) == [big, 3, 4]
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == sorted(
        f"{name}.{form}"
        for name in ("matched", "left_only", "right_only")
        for form in ("csv", "parquet")
    )
    with pytest.raises(QueryError, match="parquet, csv"):
        found.write(tmp_path, form="fits")


def test_a_source_off_every_detector_is_unusable_in_pixels(opened: Opened):
    # Beyond 10 million px is no position to match by: neither new nor at an edge.
    found = opened(a=[source(1)], b=[source(1), source(2, x=2e7)]).compare("a", "b", radius_px=2.0)
    assert found.n_right_unusable == 1
    assert found.right_only["why"].to_list() == ["unusable"]
    assert found.decomposition().detection == 0
    assert found.decomposition().unusable == 1
    edge = found.edges()
    assert edge is not None
    assert edge.n_new == 0


# -- evidence ------------------------------------------------------------------------


def test_without_geometry_everything_but_edges_works(opened: Opened):
    # LSSTCam and LSSTCam-imSim share the rule visit * 1000 + detector, and both have a 168
    rows = [source(1, detector=168), source(2, 10, detector=168)]
    reruns = opened(
        a=rows, b=rows[:1], files={"generation": "2023", "id_factor": 1000},
        opening={"instrument": None},
    )  # fmt: skip
    found = reruns.compare("a", "b")
    summary = found.summary()
    assert (summary["n_matched"], summary["n_left_only"], summary["edge"]) == (1, 1, None)
    assert "state the instrument" in summary["edge_problem"]
    assert found.verdict() == (
        "-1 good sources (-50.0%): nothing new, 1 gone; of the gone 100% no longer detected"
    )
    evidence = found.evidence.explanation
    assert evidence["edge_distance_px"].null_count() == evidence.height == 3
    assert evidence["focal_radius_mm"].null_count() == 3
    with pytest.raises(MatchError, match="within_px is 0; give a number of pixels above 0"):
        found.edges(within_px=0)


def test_evidence_carries_what_an_explanation_asks_for(opened: Opened):
    found = opened(
        a=[source(1), source(2, 10, diaObjectId=1, isDipole=False)],
        b=[source(1, isDipole=True, x=5.0), source(3, 20, pixelFlags_edge=True, diaObjectId=None)],
    ).compare("a", "b")
    rows = found.evidence.explanation
    columns = ("side", "status", "diaSourceId", "match_id", "n_dia_sources", "isDipole", "night")
    night = rows["night"][0]
    assert (
        str(night) == "2015-02-16"
    )  # MJD 57070.1 is 2015-02-17 at 2:24, the night before in Chile
    assert rows.select(columns).rows() == [
        ("left", "matched", 1, 0, 2, None, night),
        ("left", "gone", 2, None, 2, False, night),
        ("right", "matched", 1, 0, 1, True, night),
        ("right", "new", 3, None, None, None, night),
    ]
    assert rows["edge_distance_px"].to_list() == [1000.5, 1000.5, 5.5, 1000.5]
    assert rows["pixelFlags_edge"].to_list() == [False, False, False, True]
    assert rows["field"].to_list() == ["150.0 +0.0"] * 4
