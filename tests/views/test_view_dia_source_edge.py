from __future__ import annotations

import pytest

from hitsduck.errors import InstrumentError

# A DECam detector has 2048 x 4096 pixels: its sides are at -0.5 and 2047.5, -0.5 and 4095.5.
PLACES = [
    # x, y, distance, side
    (0.0, 2000.0, 0.5, "left"),  # the centre of the first pixel
    (2047.0, 2000.0, 0.5, "right"),  # of the last
    (1000.0, 0.0, 0.5, "bottom"),
    (1000.0, 4095.0, 0.5, "top"),
    (-0.5, 2000.0, 0.0, "left"),  # on the side itself
    (2047.5, 2000.0, 0.0, "right"),
    (10.0, 7.0, 7.5, "bottom"),  # 10.5 to the left, 7.5 to the bottom
    (2040.0, 4090.0, 5.5, "top"),  # 7.5 to the right, 5.5 to the top
    (1023.5, 2047.5, 1024.0, "left"),  # the middle: 1024 to both sides, 2048 up and down
    (19.5, 19.5, 20.0, "left"),  # ties in the corners: left, right, bottom, top
    (2027.5, 19.5, 20.0, "right"),
    (19.5, 4075.5, 20.0, "left"),
    (2027.5, 4075.5, 20.0, "right"),
    (-10.5, 2000.0, -10.0, "left"),  # outside
    (2050.0, 2000.0, -2.5, "right"),
    (1000.0, -3.0, -2.5, "bottom"),
    (1000.0, 4100.0, -4.5, "top"),
    (-10.5, -3.0, -10.0, "left"),  # beyond two sides: the farther one
    (2048.5, 4105.5, -10.0, "top"),
]


def test_the_distance_is_to_the_nearest_side_and_negative_outside(opened, source):
    reruns = opened(
        sources=[source(diaSourceId=number, x=x, y=y) for number, (x, y, _, _) in enumerate(PLACES)]
    )
    rows = reruns.sql(
        "select x, y, edge_distance_px, edge_side from dia_source_edge order by diaSourceId"
    ).rows()
    assert [tuple(row.values()) for row in rows] == PLACES


def test_every_column_of_the_source_comes_along(opened, source):
    reruns = opened(sources=[source(psfFlux=100.0, psfFluxErr=10.0, pixelFlags_edge=True)])
    (row,) = reruns.sql("select * from dia_source_edge").rows()
    (plain,) = reruns.sql("select * from dia_source").rows()
    assert row == plain | {"edge_distance_px": 1000.5, "edge_side": "left"}
    assert list(row) == [*plain, "edge_distance_px", "edge_side"]


def test_the_sides_are_those_of_the_sources_own_detector(opened, source):
    # LSSTCam detector 0 has 4072 x 4000 pixels; the wavefront detector 191 has 2000 rows.
    reruns = opened(
        instrument="LSSTCam",
        sources=[
            source(diaSourceId=1, detector=0, x=4062.5, y=1999.0),
            source(diaSourceId=2, detector=191, x=4062.5, y=1999.0),
        ],
    )
    rows = reruns.sql(
        "select detector, edge_distance_px, edge_side from dia_source_edge order by diaSourceId"
    ).rows()
    # 4071.5 - 4062.5 = 9; 1999.5 - 1999 = 0.5
    assert [tuple(row.values()) for row in rows] == [(0, 9.0, "right"), (191, 0.5, "top")]


@pytest.mark.parametrize("cells", [{"x": None}, {"y": None}, {"ccdVisitId": None}])
def test_without_a_position_or_detector_there_is_no_distance(opened, source, cells):
    reruns = opened(generation="2023", constraints=False, sources=[source(**cells)])
    rows = reruns.sql("select edge_distance_px, edge_side from dia_source_edge").rows()
    assert rows == [{"edge_distance_px": None, "edge_side": None}]


def test_a_file_without_x_says_so_where_edges_are_asked_for_and_nowhere_else(opened, source):
    reruns = opened(sources=[source()], leave_out=["DiaSource.x"])
    assert reruns.counts().rows()[0]["n_dia_sources"] == 1
    assert reruns.sql("select diaSourceId from dia_source_edge").rows() == [{"diaSourceId": 1}]
    with pytest.raises(InstrumentError, match="DiaSource has no columns x and y") as raised:
        reruns.sql("select edge_distance_px from dia_source_edge")
    assert "a.db" in str(raised.value)
    with pytest.raises(InstrumentError, match="DiaSource has no columns x and y"):
        reruns.sql("select edge_side from dia_source_edge")
