from __future__ import annotations

import numpy as np
import pytest

import hitsduck
from hitsduck.cameras import get_camera
from hitsduck.errors import InstrumentError

CAMERAS = ["DECam", "HSC", "LSSTCam", "LSSTComCam", "LSSTCam-imSim"]


@pytest.mark.parametrize("name", CAMERAS)
def test_every_detector_of_every_camera_lies_where_its_description_says(opened, source, name):
    camera = get_camera(name)
    rng = np.random.default_rng(20)
    rows = []
    for detector in camera.detectors:
        places = [(0.0, 0.0), (2047.0, 1999.0), tuple(rng.uniform(-5, 4100, 2))]
        rows += [source(detector=detector, x=x, y=y) for x, y in places]
    reruns = opened(instrument=name, sources=rows)
    frame = reruns.sql(
        "select detector, x, y, focal_x_mm, focal_y_mm from dia_source_focal_plane "
        "order by diaSourceId"
    ).polars()
    assert frame.height == 3 * len(camera.detectors)
    chips = [camera.detectors[detector] for detector in frame["detector"]]
    column = {
        key: np.array([getattr(chip, key) for chip in chips])
        for key in vars(chips[0])
        if key != "name"
    }
    # R(yaw) * ((x, y) - ref) * pixel size + offset, as a rotation in the complex plane.
    offset = (frame["x"].to_numpy() - column["ref_x_px"]) * column["pixel_size_x_mm"] + 1j * (
        frame["y"].to_numpy() - column["ref_y_px"]
    ) * column["pixel_size_y_mm"]
    truth = offset * np.exp(1j * np.radians(column["yaw_deg"]))
    truth += column["offset_x_mm"] + 1j * column["offset_y_mm"]
    np.testing.assert_allclose(frame["focal_x_mm"], truth.real, rtol=0, atol=1e-9)
    np.testing.assert_allclose(frame["focal_y_mm"], truth.imag, rtol=0, atol=1e-9)
    of_class = [
        chip.focal_plane_mm(x, y) for chip, x, y in zip(chips, frame["x"], frame["y"], strict=True)
    ]
    np.testing.assert_allclose(
        frame.select("focal_x_mm", "focal_y_mm").to_numpy(), of_class, rtol=0, atol=1e-9
    )


def test_the_middle_of_a_detector_lies_at_its_offset(opened, source):
    reruns = opened(sources=[source(detector=1, x=1023.5, y=2047.5)])
    rows = reruns.sql("select focal_x_mm, focal_y_mm from dia_source_focal_plane").rows()
    # decam.csv: detector 1, reference 1023.5, 2047.5 at -185.592 mm, -63.748 mm
    assert rows == [{"focal_x_mm": -185.592, "focal_y_mm": -63.748}]


def test_a_turned_detector_turns_counterclockwise_from_x_to_y(tmp_path, opened, source):
    camera = tmp_path / "turned.csv"
    camera.write_text(
        f"{','.join(hitsduck.cameras.DETECTOR_COLUMNS)},plate_scale_arcsec_per_mm,longitude_deg\n"
        "5,turned,0,0,0,2047,4095,0.01,0.02,1000,2000,100,200,90,17,0\n",
        encoding="utf-8",
    )
    reruns = opened(
        instrument=None,
        camera=camera,
        sources=[source(x=1010.0, y=2000.0), source(x=1000.0, y=2010.0)],
    )
    rows = reruns.sql(
        "select focal_x_mm, focal_y_mm from dia_source_focal_plane order by diaSourceId"
    ).rows()
    # By 90 deg (u, v) -> (-v, u): 10 px * 0.01 mm in x go to +0.1 mm in y, 10 px * 0.02 mm in y
    # to -0.2 mm in x.
    assert [tuple(row.values()) for row in rows] == [
        pytest.approx((100.0, 200.1)),
        pytest.approx((99.8, 200.0)),
    ]


@pytest.mark.parametrize("cells", [{"x": None}, {"ccdVisitId": None}])
def test_without_a_position_or_detector_there_is_no_place(opened, source, cells):
    reruns = opened(generation="2023", constraints=False, sources=[source(**cells)])
    rows = reruns.sql("select focal_x_mm, focal_y_mm from dia_source_focal_plane").rows()
    assert rows == [{"focal_x_mm": None, "focal_y_mm": None}]


def test_without_a_camera_the_place_asks_for_one(opened, source):
    reruns = opened(instrument=None, sources=[source()])
    with pytest.raises(InstrumentError, match="the detector geometry is not known; state"):
        reruns.sql("select focal_y_mm from dia_source_focal_plane")
