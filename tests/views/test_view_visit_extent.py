from __future__ import annotations

import math

import pytest


def box(row: dict) -> tuple[float, float, float, float, int]:
    sides = ("ra_low_deg", "ra_high_deg", "dec_low_deg", "dec_high_deg")
    return (*(pytest.approx(row[side], abs=1e-9) for side in sides), row["n_dia_sources"])


def test_a_box_goes_around_all_sources_of_a_visit_good_or_not(opened, source):
    reruns = opened(
        sources=[
            source(visit=1, ra=150.0, dec=2.0, midpointMjdTai=57_071.5),
            source(visit=1, ra=150.5, dec=2.5, midpointMjdTai=57_000.25, pixelFlags_bad=True),
            source(visit=1, ra=150.2, dec=1.75),
            source(visit=2, ra=20.0, dec=-5.0),
        ]
    )
    rows = reruns.sql("select * from visit_extent order by visit").rows()
    assert [row["visit"] for row in rows] == [1, 2]
    assert box(rows[0]) == (150.0, 150.5, 1.75, 2.5, 3)
    assert box(rows[1]) == (20.0, 20.0, -5.0, -5.0, 1)
    assert (rows[0]["n_good_dia_sources"], rows[0]["first_mjd_tai"]) == (2, 57_000.25)


def test_a_box_across_ra_0_is_as_narrow_as_its_sources(opened, source):
    reruns = opened(sources=[source(ra=359.9), source(ra=0.3)])
    (row,) = reruns.sql("select * from visit_extent").rows()
    # 0.4 deg wide, wherever the turn begins.
    assert row["ra_high_deg"] - row["ra_low_deg"] == pytest.approx(0.4, abs=1e-9)
    assert row["ra_low_deg"] % 360 == pytest.approx(359.9, abs=1e-9)


def test_positions_that_cannot_be_drawn_are_in_no_box(opened, source):
    unusable = [source(ra=None), source(ra=math.inf), source(dec=91.0), source(ra=360.5)]
    reruns = opened(sources=[source(ra=10.0, dec=1.0), *unusable], constraints=False)
    (row,) = reruns.sql("select * from visit_extent").rows()
    assert box(row) == (10.0, 10.0, 1.0, 1.0, 1)


def test_sources_without_a_visit_have_a_box_of_their_own(opened, source):
    reruns = opened(sources=[source(visit=7), source(visit=None, ra=3.0)], constraints=False)
    rows = reruns.sql("select visit, n_dia_sources from visit_extent order by visit").rows()
    assert rows == [{"visit": 7, "n_dia_sources": 1}, {"visit": None, "n_dia_sources": 1}]
