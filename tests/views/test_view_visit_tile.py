from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest


def test_tiles_are_as_wide_as_the_widest_visit_and_in_order_of_time(opened, source):
    reruns = opened(
        sources=[
            source(visit=1, ra=150.0, dec=2.0, midpointMjdTai=57_072.0),
            source(visit=1, ra=150.5, dec=2.2, midpointMjdTai=57_072.0, pixelFlags_bad=True),
            source(visit=2, ra=20.0, dec=60.0, midpointMjdTai=57_070.0, pixelFlags_bad=True),
            source(visit=3, ra=359.9, dec=-1.0, midpointMjdTai=57_071.0),
            source(visit=3, ra=0.3, dec=-1.0, midpointMjdTai=57_071.0),
            source(visit=None, ra=5.0, dec=-1.0),
        ],
        constraints=False,
    )
    rows = reruns.sql("select * from visit_tile order by tile").rows()
    assert [(row["rerun"], row["visit"], row["tile"]) for row in rows] == [
        ("a", 2, 0),
        ("a", 3, 1),
        ("a", 1, 2),
    ]
    assert [row["ra_middle_deg"] % 360 for row in rows] == pytest.approx([20.0, 0.1, 150.25])
    assert [row["dec_middle_deg"] for row in rows] == pytest.approx([60.0, -1.0, 2.1])
    assert [row["cos_dec"] for row in rows] == pytest.approx(
        [0.5, math.cos(math.radians(1.0)), math.cos(math.radians(2.1))]
    )
    # Visit 1 is the widest: 0.5 deg of ra at a dec of 2.1 deg; a tile is 0.05 per mille wider.
    side = 1.00005 * 0.5 * math.cos(math.radians(2.1))
    assert [row["bin_deg"] for row in rows] == pytest.approx([side / 64] * 3, rel=1e-9)
    assert [(row["n_dia_sources"], row["n_good_dia_sources"]) for row in rows] == [
        (1, 0),
        (2, 2),
        (2, 1),
    ]


def test_one_source_alone_has_some_sky_around_it(opened, source):
    reruns = opened(sources=[source()])
    (tile,) = reruns.sql("select * from visit_tile").rows()
    assert tile["bin_deg"] == pytest.approx(1.00005 * 0.002 / 64)
    (filled,) = reruns.sql("select * from visit_tile_bin").rows()
    # In the middle: of 64 bins the first above it is number 32.
    assert filled == {
        "rerun": "a",
        "visit": 410985,
        "x_bin": 32,
        "y_bin": 32,
        "n_dia_sources": 1,
        "n_good_dia_sources": 1,
    }


def test_bins_hold_the_sources_that_lie_there_across_ra_0_too(opened, source):
    rng = np.random.default_rng(25125)
    rows = [
        source(
            visit=int(visit),
            ra=float((centre + east) % 360),
            dec=float(-30 + north),
            pixelFlags_bad=bool(i % 4 == 0),
            midpointMjdTai=57_000.0 + visit,
        )
        for visit, centre in ((1, 0.0), (2, 77.0))
        for i, (east, north) in enumerate(rng.uniform(-1, 1, (300, 2)))
    ]
    reruns = opened(sources=rows)
    found = reruns.sql("select * from visit_tile_bin").rows()
    # The box of each visit and the side of the wider one, in plain Python.
    boxes = {}
    for visit in (1, 2):
        of_visit = [row for row in rows if row["visit"] == visit]
        ras = [(row["ra"] + 180) % 360 - 180 for row in of_visit]
        decs = [row["dec"] for row in of_visit]
        middle = (max(decs) + min(decs)) / 2
        cos = math.cos(math.radians(middle))
        side = max((max(ras) - min(ras)) * cos, max(decs) - min(decs))
        boxes[visit] = ((max(ras) + min(ras)) / 2, middle, cos, side)
    bin_deg = 1.00005 * max(box[3] for box in boxes.values()) / 64
    every, good = Counter(), Counter()
    for row in rows:
        ra, dec, cos, _ = boxes[row["visit"]]
        east = ((row["ra"] - ra + 180) % 360 - 180) * cos
        cell = (
            row["visit"],
            math.floor(east / bin_deg) + 32,
            math.floor((row["dec"] - dec) / bin_deg) + 32,
        )
        every[cell] += 1
        good[cell] += not row["pixelFlags_bad"]
    key = ("visit", "x_bin", "y_bin")
    assert {tuple(row[k] for k in key): row["n_dia_sources"] for row in found} == every
    assert {tuple(row[k] for k in key): row["n_good_dia_sources"] for row in found} == good
    assert all(0 <= row[k] < 64 for row in found for k in key[1:])
    assert {row["rerun"] for row in found} == {"a"}


def test_the_first_196_visits_have_bins(opened, source):
    rows = [source(visit=1000 - i, midpointMjdTai=57_000.0 + i) for i in range(199)]
    # One of the last three is the widest, which changes no tile.
    rows.append({**rows[197], "dec": 2.5})
    reruns = opened(sources=rows)
    tiles = reruns.sql("select bin_deg from visit_tile").rows()
    assert [tile["bin_deg"] for tile in tiles] == pytest.approx([1.00005 * 0.002 / 64] * 199)
    visits = reruns.sql("select visit from visit_tile_bin order by visit desc").rows()
    assert [row["visit"] for row in visits] == [1000 - i for i in range(196)]
