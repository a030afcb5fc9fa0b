from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from hitsduck import cameras
from hitsduck.cameras import get_camera, known_cameras, read_camera, read_detectors
from hitsduck.errors import CameraError, InstrumentError

NAMES = ("DECam", "HSC", "LSSTCam", "LSSTComCam", "LSSTCam-imSim")
FILES = dict(
    zip(
        NAMES,
        ("decam.csv", "hsc.csv", "lsstcam.csv", "lsstcomcam.csv", "lsstcam-imsim.csv"),
        strict=True,
    )
)
DATA = Path(cameras.__file__).parent / "data" / "cameras"
HEADER = ",".join(cameras.DETECTOR_COLUMNS)
ROW = "7,chip,0,0,0,99,199,0.01,0.02,49.5,99.5,1.5,-2.5,90"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# -- the packaged cameras ------------------------------------------------------


def test_five_cameras_come_with_the_package():
    assert tuple(known_cameras()) == NAMES


@pytest.mark.parametrize(
    ("name", "factor", "scale", "longitude"),
    [
        ("DECam", 100, 17.575, -70.81),
        ("HSC", 200, 11.2, -155.48),
        ("LSSTCam", 1000, 20.0059, -70.75),
        ("LSSTComCam", 1000, 20.0181, -70.75),
        ("LSSTCam-imSim", 1000, 20.0059, -70.75),
    ],
)
def test_a_camera_has_the_id_rule_scale_and_site_of_the_reference(
    name: str, factor: int, scale: float, longitude: float
):
    camera = get_camera(name)
    assert (camera.id_factor, camera.plate_scale_arcsec_per_mm) == (factor, scale)
    assert camera.longitude_deg == longitude


@pytest.mark.parametrize("name", NAMES)
def test_the_packaged_detectors_are_those_of_the_public_descriptions(shared: Path, name: str):
    truth = (shared / "data" / "cameras" / FILES[name]).read_text(encoding="utf-8")
    assert (DATA / FILES[name]).read_text(encoding="utf-8") == truth
    read = get_camera(name).detectors
    rows = list(csv.DictReader(truth.splitlines()))
    assert list(read) == [int(row["detector"]) for row in rows]
    for row in rows:
        chip = dict(vars(read[int(row["detector"])]))
        assert chip.pop("name") == row["name"]
        assert chip == {column: float(row[column]) for column in chip}


def test_the_cameras_have_as_many_science_detectors_as_they_are_known_for():
    n_science = {
        name: sum(chip.detector_type == 0 for chip in camera.detectors.values())
        for name, camera in known_cameras().items()
    }
    # DECam 62; HSC 112 less 8 for focus; LSST 21 rafts of 9; ComCam one raft of 9.
    assert n_science == {
        "DECam": 62,
        "HSC": 104,
        "LSSTCam": 189,
        "LSSTComCam": 9,
        "LSSTCam-imSim": 189,
    }


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("decam", "DECam"),
        ("Dark Energy Camera", "DECam"),
        (" hsc ", "HSC"),
        ("Hyper Suprime-Cam", "HSC"),
        ("imsim", "LSSTCam-imSim"),
        ("lsstcam-IMSIM", "LSSTCam-imSim"),
        ("LSSTCam", "LSSTCam"),
        ("LsstComCam", "LSSTComCam"),
    ],
)
def test_a_camera_is_found_whatever_the_case_of_its_name(given: str, name: str):
    assert get_camera(given).name == name


def test_an_unknown_camera_lists_the_known_ones():
    with pytest.raises(InstrumentError) as raised:
        get_camera("MegaCam")
    for name in ("MegaCam", *NAMES):
        assert name in str(raised.value)


# -- geometry ------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_focal_plane_positions_are_those_of_a_rotation_matrix(name: str):
    pixels = np.array([[0.0, 0.0], [1.5, 4000.25], [2047.0, -3.0], [1023.5, 2047.5]])
    for chip in get_camera(name).detectors.values():
        yaw = np.radians(chip.yaw_deg)
        rotation = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        scaled = (pixels - [chip.ref_x_px, chip.ref_y_px]) * [
            chip.pixel_size_x_mm,
            chip.pixel_size_y_mm,
        ]
        truth = scaled @ rotation.T + [chip.offset_x_mm, chip.offset_y_mm]
        found = [chip.focal_plane_mm(x, y) for x, y in pixels]
        np.testing.assert_allclose(found, truth, rtol=0, atol=1e-9)


def test_a_turned_detector_has_its_corners_where_a_pencil_puts_them(tmp_path: Path):
    chip = read_detectors(write(tmp_path / "one.csv", HEADER, ROW))[7]
    # Sides at -0.5 and 99.5 px (1.0 mm wide), -0.5 and 199.5 px (4.0 mm high); the reference is
    # the middle, 49.5 and 99.5. So (u, v) = (-0.5, -2) (0.5, -2) (0.5, 2) (-0.5, 2) mm; turned
    # by 90 deg (u, v) -> (-v, u), then moved by (1.5, -2.5).
    expected = [(3.5, -3.0), (3.5, -2.0), (-0.5, -2.0), (-0.5, -3.0)]
    np.testing.assert_allclose(chip.corners_mm(), expected, atol=1e-12)
    assert chip.area_px == 100 * 200


@pytest.mark.parametrize("name", NAMES)
def test_detectors_do_not_overlap_in_the_focal_plane(name: str):
    centres = []
    half_sizes = []
    for chip in get_camera(name).detectors.values():
        corners = np.array(chip.corners_mm())
        centres.append(corners.mean(axis=0))
        half_sizes.append(np.ptp(corners, axis=0) / 2)
    centres, half_sizes = np.array(centres), np.array(half_sizes)
    # Two boxes along the axes overlap where they do in x and in y; 0.3 mm for small rotations.
    apart = np.abs(centres[:, None] - centres[None]) + 0.3
    overlap = (apart < half_sizes[:, None] + half_sizes[None] - 0.3).all(axis=2)
    np.fill_diagonal(overlap, False)
    assert not overlap.any()


@pytest.mark.parametrize(
    ("name", "detector", "area_deg2"),
    [
        # 2048 * 4096 px * (0.015 mm * 17.575 arcsec/mm / 3600)^2
        # = 8388608 * (0.263625 / 3600)^2 = 8388608 * 5.3625e-9
        ("DECam", 1, 0.0449840),
        # 2048 * 4176 * (0.168 / 3600)^2 = 8552448 * 2.177778e-9
        ("HSC", 0, 0.0186253),
        # 4072 * 4000 * (0.200059 / 3600)^2 = 16288000 * 3.088212e-9
        ("LSSTCam", 0, 0.0503008),
        # 4072 * 4000 * (0.200181 / 3600)^2 = 16288000 * 3.091980e-9
        ("LSSTComCam", 0, 0.0503622),
        ("LSSTCam-imSim", 0, 0.0503008),
    ],
)
def test_the_area_of_a_detector_on_the_sky_is_that_of_its_pixels(
    name: str, detector: int, area_deg2: float
):
    assert get_camera(name).detector_area_deg2(detector) == pytest.approx(area_deg2, rel=2e-5)


def test_decam_sees_about_three_square_degrees():
    camera = get_camera("DECam")
    total = sum(camera.detector_area_deg2(detector) for detector in camera.detectors)
    # 62 * 0.0449840 = 2.789; the camera is quoted as 3 deg^2 with its gaps.
    assert total == pytest.approx(2.789, abs=0.001)


@pytest.mark.parametrize(
    ("name", "scale"),
    [("DECam", 0.2636), ("HSC", 0.168), ("LSSTCam", 0.2001), ("LSSTComCam", 0.2002)],
)
def test_the_pixel_scale_is_the_one_in_the_books(name: str, scale: float):
    assert get_camera(name).pixel_scale_arcsec == pytest.approx(scale, abs=5e-5)


# -- a user's camera -----------------------------------------------------------


def test_a_users_camera_is_read_from_a_csv_of_the_same_form(tmp_path: Path):
    camera = read_camera(
        write(
            tmp_path / "mine.csv",
            f"{HEADER},camera,visit_id_factor,plate_scale_arcsec_per_mm,longitude_deg",
            f"{ROW},MyCam,50,30.0,10.5",
            f"8{ROW[1:]},,,,",
        )
    )
    assert (camera.name, camera.id_factor, camera.longitude_deg) == ("MyCam", 50, 10.5)
    assert sorted(camera.detectors) == [7, 8]
    assert camera.pixel_scale_arcsec == pytest.approx(0.01 * 30.0)
    # 100 * 200 px * 0.01 mm * 0.02 mm = 4 mm^2, times (30 / 3600)^2 deg^2 per mm^2
    assert camera.detector_area_deg2(7) == pytest.approx(4 * (30 / 3600) ** 2)


def test_a_users_camera_without_a_name_is_called_after_its_file(tmp_path: Path):
    path = write(
        tmp_path / "homecam.csv",
        f"{HEADER},plate_scale_arcsec_per_mm,longitude_deg",
        f"{ROW},30.0,10.5",
    )
    camera = read_camera(path)
    assert camera.name == "homecam"
    assert camera.id_factor is None


def test_a_copy_of_a_packaged_file_needs_no_further_columns(tmp_path: Path):
    copy = tmp_path / "decam.csv"
    copy.write_bytes((DATA / "decam.csv").read_bytes())
    assert read_camera(copy) == get_camera("DECam")


def test_a_csv_that_a_spreadsheet_wrote_with_a_byte_order_mark_is_read(tmp_path: Path):
    copy = tmp_path / "decam.csv"
    copy.write_bytes(b"\xef\xbb\xbf" + (DATA / "decam.csv").read_bytes())
    assert read_camera(copy) == get_camera("DECam")


def test_a_camera_whose_scale_nobody_knows_is_refused_by_naming_what_lacks(tmp_path: Path):
    path = write(tmp_path / "homecam.csv", HEADER, ROW)
    with pytest.raises(CameraError, match="plate_scale_arcsec_per_mm and longitude_deg"):
        read_camera(path)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("x1_px", "wide", "x1_px is 'wide', not a number"),
        ("x1_px", "", "x1_px is '', not a number"),
        ("yaw_deg", "nan", "yaw_deg is not finite"),
        ("offset_x_mm", "inf", "offset_x_mm is not finite"),
        ("x1_px", "-1", "the pixel area is empty"),
        ("pixel_size_y_mm", "0", "the pixel size is not positive"),
        ("pixel_size_x_mm", "-0.01", "the pixel size is not positive"),
        ("detector", "1.5", "detector is 1.5, not a whole number"),
        ("x0_px", "0.5", "x0_px is 0.5, not a whole number"),
    ],
)
def test_a_detector_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, column: str, value: str, complaint: str
):
    cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | {column: value}
    path = write(tmp_path / "bad.csv", HEADER, f"8{ROW[1:]}", ",".join(cells.values()))
    with pytest.raises(CameraError) as raised:
        read_detectors(path)
    assert complaint in str(raised.value)
    assert f"{path}, line 3" in str(raised.value)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("plate_scale_arcsec_per_mm", "wide", "not a number"),
        ("plate_scale_arcsec_per_mm", "0", "not positive"),
        ("plate_scale_arcsec_per_mm", "-17.5", "not positive"),
        ("plate_scale_arcsec_per_mm", "nan", "not finite"),
        ("longitude_deg", "inf", "not finite"),
        ("visit_id_factor", "0", "not a whole number above 0"),
        ("visit_id_factor", "-100", "not a whole number above 0"),
        ("visit_id_factor", "100.5", "not a whole number above 0"),
    ],
)
def test_a_camera_figure_that_cannot_be_is_refused(
    tmp_path: Path, column: str, value: str, complaint: str
):
    figures = {
        "visit_id_factor": "50",
        "plate_scale_arcsec_per_mm": "30.0",
        "longitude_deg": "10.5",
    } | {column: value}
    path = write(
        tmp_path / "bad.csv",
        f"{HEADER},{','.join(figures)}",
        f"{ROW},{','.join(figures.values())}",
    )
    with pytest.raises(CameraError) as raised:
        read_camera(path)
    assert complaint in str(raised.value)
    assert column in str(raised.value)
    assert str(path) in str(raised.value)


def test_all_missing_columns_of_a_camera_file_are_named_at_once(tmp_path: Path):
    path = write(tmp_path / "short.csv", "detector,name,x0_px", "1,a,0")
    with pytest.raises(CameraError) as raised:
        read_detectors(path)
    for column in set(cameras.DETECTOR_COLUMNS) - {"detector", "name", "x0_px"}:
        assert column in str(raised.value)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [((HEADER,), "holds no detector"), ((HEADER, ROW, ROW), "detector 7 twice")],
)
def test_a_camera_file_without_detectors_or_with_one_twice_is_refused(
    tmp_path: Path, lines: tuple[str, ...], complaint: str
):
    with pytest.raises(CameraError, match=complaint):
        read_detectors(write(tmp_path / "bad.csv", *lines))


def test_to_know_the_detectors_of_a_camera_their_geometry_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
):
    known_cameras.cache_clear()
    asked: list[str] = []
    read = cameras.read_detectors

    def reading(path: str | Path) -> dict[int, cameras.Detector]:
        asked.append(Path(path).stem)
        return read(path)

    monkeypatch.setattr(cameras, "read_detectors", reading)
    ids = {name: list(camera.detectors) for name, camera in known_cameras().items()}
    assert {name: len(camera.detectors) for name, camera in known_cameras().items()} == {
        name: len(of_camera) for name, of_camera in ids.items()
    }
    assert 62 in get_camera("DECam").detectors
    assert 63 not in get_camera("DECam").detectors
    assert asked == []
    for name, camera in known_cameras().items():
        assert ids[name] == [chip.detector for chip in camera.detectors.values()]
        assert ids[name] == list(camera.detectors)
    assert len(asked) == len(NAMES)
    with pytest.raises(KeyError):
        get_camera("DECam").detectors[63]


def test_a_camera_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(CameraError, match=r"absent\.csv"):
        read_camera(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(CameraError, match=r"binary\.csv"):
        read_camera(tmp_path / "binary.csv")


def test_a_row_that_is_cut_off_is_refused(tmp_path: Path):
    path = write(tmp_path / "cut.csv", HEADER, ROW[: ROW.index(",49.5")])
    with pytest.raises(CameraError, match="ref_x_px is None, not a number"):
        read_detectors(path)


def test_the_longest_and_shortest_sides_agree_with_the_corners():
    for camera in known_cameras().values():
        for chip in camera.detectors.values():
            a, b, c, _ = chip.corners_mm()
            # Rotation keeps lengths: width and height in mm are pixels times their size.
            assert math.dist(a, b) == pytest.approx(
                (chip.x1_px - chip.x0_px + 1) * chip.pixel_size_x_mm
            )
            assert math.dist(b, c) == pytest.approx(
                (chip.y1_px - chip.y0_px + 1) * chip.pixel_size_y_mm
            )
