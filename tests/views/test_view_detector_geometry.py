from __future__ import annotations

import pytest


def test_a_detector_has_its_sides_area_and_rotation(opened):
    (row,) = opened().sql("select * from detector_geometry where detector = 1").rows()
    # decam.csv: detector 1 is S29, 2048 x 4096 pixels of 0.015 mm, turned by -0.01 deg.
    assert row == {
        "rerun": "a",
        "detector": 1,
        "name": "S29",
        "detector_type": 0,
        "left_px": -0.5,
        "right_px": 2047.5,
        "bottom_px": -0.5,
        "top_px": 4095.5,
        "area_px": 8388608,  # 2048 * 4096
        # 8388608 * (0.015 * 17.575 / 3600)^2
        "area_deg2": pytest.approx(0.04498400, abs=1e-8),
        "pixel_size_x_mm": 0.015,
        "pixel_size_y_mm": 0.015,
        "ref_x_px": 1023.5,
        "ref_y_px": 2047.5,
        "offset_x_mm": -185.592,
        "offset_y_mm": -63.748,
        "cos_yaw": pytest.approx(1 - 1.523e-8, abs=1e-11),  # 1 - (0.01 pi / 180)^2 / 2
        "sin_yaw": pytest.approx(-1.745329e-4, abs=1e-10),
    }


def test_all_detectors_of_the_camera_are_there_with_sources_or_without(opened):
    rows = opened().sql("select detector from detector_geometry order by 1").rows()
    assert [row["detector"] for row in rows] == list(range(1, 63))


def test_without_a_camera_it_is_empty(opened, source):
    reruns = opened(instrument=None, sources=[source()])
    assert reruns.sql("select * from detector_geometry").rows() == []


def test_its_areas_are_those_of_the_camera_in_python(opened):
    reruns = opened(instrument="HSC")
    camera = reruns["a"].camera
    rows = reruns.sql("select detector, area_deg2, area_px from detector_geometry").rows()
    assert len(rows) == 112
    for row in rows:
        assert row["area_deg2"] == pytest.approx(camera.detector_area_deg2(row["detector"]))
        assert row["area_px"] == camera.detectors[row["detector"]].area_px
