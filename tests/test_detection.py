from __future__ import annotations

import math
import sqlite3
import statistics
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck import detection, inspection
from hitsduck.cameras import get_camera, known_cameras
from hitsduck.errors import InstrumentError, InstrumentWarning

#: Arcsec per pixel: plate scale times pixel size, 17.575 * 0.015 and so on.
PIXEL_SCALE_ARCSEC = {
    "DECam": 0.263625,
    "HSC": 0.168,
    "LSSTCam": 0.200059,
    "LSSTComCam": 0.200181,
    "LSSTCam-imSim": 0.200059,
}
#: FWHM of a Gaussian over its sigma.
FWHM_PER_SIGMA = 2.354820045


def source(detector: int = 20, **cells: Any) -> dict[str, Any]:
    """Return a source; detector 20 of an odd visit fits DECam's id rule alone."""
    # 41098520 % 200 = 120, no HSC detector; % 1000 = 520, no LSST detector.
    return {
        "diaObjectId": 1,
        "visit": 410985,
        "detector": detector,
        "ra": 150.0,
        "dec": 2.0,
        "x": 10.0,
        "y": 20.0,
        "midpointMjdTai": 57070.1,
    } | cells


@pytest.mark.parametrize("n_values", [1, 2, 3, 10, 11])
def test_the_median_is_that_of_statistics(n_values: int):
    values = [float(number * 7 % 11) for number in range(n_values)]
    assert detection._median(values) == statistics.median(values)


def instrument_of(path: Path, stated: str | None = None) -> detection.Instrument:
    file = inspection.inspect(path)
    with inspection.reading(file.readable_path) as connection:
        return detection.detect_instrument(file, connection, rerun="a", stated=stated)


def moments_of(
    path: Path, camera: str | None = None, stated: str | None = None
) -> detection.Moments:
    file = inspection.inspect(path)
    cameras = [get_camera(camera)] if camera else list(known_cameras().values())
    with inspection.reading(file.readable_path) as connection:
        return detection.detect_moments(file, connection, candidates=cameras, stated=stated)


# -- where the instrument comes from -------------------------------------------


@pytest.mark.parametrize("recorded", ["DECam", "decam", "Dark Energy Camera"])
def test_the_instrument_comes_from_the_metadata(tmp_path: Path, recorded: str):
    path = make_apdb(
        tmp_path / "a.db", sources=[source(detector=5)], metadata={"instrument": recorded}
    )
    found = instrument_of(path)
    assert (found.name, found.found_by) == ("DECam", "metadata")
    assert found.camera == get_camera("DECam")


def test_an_instrument_in_the_metadata_that_nobody_knows_is_refused_and_can_be_stated(
    tmp_path: Path,
):
    path = make_apdb(
        tmp_path / "a.db", sources=[source(detector=5)], metadata={"instrument": "LATISS"}
    )
    with pytest.raises(InstrumentError, match="metadata: unknown instrument 'LATISS'; known"):
        instrument_of(path)
    with pytest.warns(InstrumentWarning, match="you state DECam, its metadata say LATISS"):
        assert instrument_of(path, "DECam").found_by == "stated"


def test_what_the_user_states_goes_before_the_metadata_and_a_conflict_warns(tmp_path: Path):
    path = make_apdb(
        tmp_path / "a.db", sources=[source(detector=5)], metadata={"instrument": "LSSTCam"}
    )
    with pytest.warns(InstrumentWarning, match="you state DECam, its metadata say LSSTCam"):
        found = instrument_of(path, "decam")
    assert (found.name, found.found_by) == ("DECam", "stated")
    # The same camera under another of its names is no conflict (a warning would be an error).
    assert instrument_of(path, "lsstcam").name == "LSSTCam"


@pytest.mark.parametrize("generation", ["2020", "2023", "0.1.1"])
def test_the_one_camera_that_fits_the_ids_is_taken(tmp_path: Path, generation: str):
    path = make_apdb(tmp_path / "a.db", generation=generation, sources=[source()])
    found = instrument_of(path)
    assert (found.name, found.found_by, found.id_factor) == ("DECam", "ids", 100)


def test_another_camera_is_told_by_its_own_rule(tmp_path: Path):
    # 410984 * 200 + 70 = 82196870: DECam has no ccd 70, the LSST cameras no detector 870.
    path = make_apdb(
        tmp_path / "a.db",
        generation="2023",
        id_factor=200,
        sources=[source(detector=70, visit=410984)],
    )
    found = instrument_of(path)
    assert (found.name, found.found_by, found.id_factor) == ("HSC", "ids", 200)


def test_a_stated_camera_that_does_not_fit_says_which_detector_it_lacks(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=[source()])
    with pytest.raises(InstrumentError) as raised:
        instrument_of(path, "HSC")
    message = str(raised.value)
    assert message.startswith(f"rerun 'a' ({path}): HSC (stated) does not fit")
    # 41098520 = 205492 * 200 + 120
    assert "it has no detector 120 (ccdVisitId 41098520 = visit * 200 + 120)" in message
    assert "--instrument" in message


def test_a_recorded_camera_that_does_not_fit_is_an_error(tmp_path: Path):
    path = make_apdb(
        tmp_path / "a.db", sources=[source(detector=99)], metadata={"instrument": "DECam"}
    )
    with pytest.raises(InstrumentError, match=r"DECam \(metadata\) does not fit: it has no det"):
        instrument_of(path)


def test_when_no_camera_fits_all_are_listed_with_the_reason(tmp_path: Path):
    # 41098563: DECam ccd 63 (it ends at 62); % 200 = 163; % 1000 = 563.
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=[source(detector=63)])
    with pytest.raises(InstrumentError) as raised:
        instrument_of(path)
    message = str(raised.value)
    for reason in (
        "DECam: it has no detector 63 (ccdVisitId 41098563 = visit * 100 + 63)",
        "HSC: it has no detector 163 (ccdVisitId 41098563 = visit * 200 + 163)",
        "LSSTCam: it has no detector 563",
        "LSSTComCam: it has no detector 563",
        "LSSTCam-imSim: it has no detector 563",
    ):
        assert reason in message
    assert str(path) in message


def test_one_id_that_does_not_fit_rules_a_camera_out(tmp_path: Path):
    # 419000076 alone fits HSC (% 200 = 76) and the LSST cameras (% 1000 = 76), not DECam (76);
    # 419000376 has % 200 = 176 and % 1000 = 376: nothing is left.
    ids = [419000076, 419000376]
    rows = [source(ccdVisitId=value) for value in ids]
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=rows)
    with pytest.raises(InstrumentError, match="no known camera fits"):
        instrument_of(path)


def test_candidates_that_agree_give_visits_and_nights_and_ask_for_the_geometry(tmp_path: Path):
    # 943296168: LSSTCam and imSim have the same rule and a detector 168; ComCam ends at 8, HSC has
    # no detector 943296168 % 200 = 168, DECam no ccd 68.
    path = make_apdb(
        tmp_path / "a.db",
        generation="2023",
        id_factor=1000,
        sources=[source(visit=943296, detector=168)],
    )
    found = instrument_of(path)
    assert (found.name, found.found_by, found.id_factor) == (None, "ambiguous", 1000)
    assert [camera.name for camera in found.candidates] == ["LSSTCam", "LSSTCam-imSim"]
    assert (found.id_problem, found.site_problem) == (None, None)
    assert "LSSTCam, LSSTCam-imSim fit this file" in (found.geometry_problem or "")
    with hitsduck.open_reruns({"a": path}) as reruns:
        rows = reruns.sql("select visit, detector, is_good, night from dia_source").rows()
        assert (rows[0]["visit"], rows[0]["detector"], rows[0]["is_good"]) == (943296, 168, True)
        assert rows[0]["night"] is not None
        for question in (
            "select edge_distance_px from dia_source_edge",
            "select focal_x_mm from dia_source_focal_plane",
            "select area_deg2 from visit_summary",
        ):
            with pytest.raises(InstrumentError, match="state the instrument") as raised:
                reruns.sql(question)
            assert "LSSTCam, LSSTCam-imSim" in str(raised.value)


def test_an_id_that_two_rules_read_differently_gives_no_visit(tmp_path: Path):
    # 419000076 = 419000 * 1000 + 76 (LSST) = 2095000 * 200 + 76 (HSC); DECam has no ccd 76.
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=[source(ccdVisitId=419000076)])
    found = instrument_of(path)
    assert (found.name, found.id_factor) == (None, None)
    assert [camera.name for camera in found.candidates] == ["HSC", "LSSTCam", "LSSTCam-imSim"]
    for problem in (found.id_problem, found.geometry_problem, found.site_problem):
        assert problem is not None
        assert "HSC, LSSTCam, LSSTCam-imSim fit this file" in problem


def test_candidates_that_disagree_still_count_and_ask_for_the_visit(shared: Path):
    path = shared / "data" / "apdb" / "packed-2021.sqlite3"
    found = instrument_of(path)
    assert found.name is None
    # 419000076: HSC has a detector 419000076 % 200 = 76; DECam has no ccd 76.
    assert [camera.name for camera in found.candidates] == ["HSC", "LSSTCam", "LSSTCam-imSim"]
    with hitsduck.open_reruns({"a": path}) as reruns:
        # Counted in this file with sqlite3: 15, and 11 with flags & 704 = 0.
        assert [list(row.values())[1:] for row in reruns.counts().rows()] == [[15, 11, 15, 11]]
        flags = {row["flag"]: row["n_set"] for row in reruns.summary("flag_summary").rows()}
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            for flag, mask in (("pixelFlags_bad", 64), ("pixelFlags_edge", 4)):
                (truth,) = connection.execute(
                    "select count(*) from DiaSource where flags & ?", (mask,)
                ).fetchone()
                assert flags[flag] == truth
        assert len(reruns["a"].objects().rows()) == 15
        for column in ("visit", "detector", "night"):
            with pytest.raises(InstrumentError, match="HSC, LSSTCam, LSSTCam-imSim fit"):
                reruns.sql(f"select {column} from dia_source")
        with pytest.raises(InstrumentError, match="visit and detector cannot be told"):
            reruns.compare("a", "a")
    with hitsduck.open_reruns({"a": path}, instrument="LSSTCam-imSim") as reruns:
        rows = reruns.sql("select distinct visit, detector from dia_source").rows()
        # The rule of LSST: 419000 * 1000 + 76
        assert rows == [{"visit": 419000, "detector": 76}]
    with hitsduck.open_reruns({"a": path}, instrument="HSC") as reruns:
        rows = reruns.sql("select distinct visit, detector from dia_source").rows()
        # 2095000 * 200 + 76 = 419000076
        assert rows == [{"visit": 2095000, "detector": 76}]


def test_a_file_with_visits_of_its_own_needs_no_camera_but_for_nights_and_geometry(tmp_path: Path):
    # Detector 5 is in all five cameras, at three longitudes.
    path = make_apdb(tmp_path / "a.db", sources=[source(detector=5)])
    found = instrument_of(path)
    assert found.name is None
    assert [camera.name for camera in found.candidates] == list(PIXEL_SCALE_ARCSEC)
    assert found.id_problem is None
    with hitsduck.open_reruns({"a": path}) as reruns:
        rows = reruns.sql("select visit, detector from dia_source").rows()
        assert rows == [{"visit": 410985, "detector": 5}]
        with pytest.raises(InstrumentError, match="no nights; state the instrument"):
            reruns.sql("select night from dia_source")


def test_an_empty_file_opens_and_every_view_of_it_is_empty(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", generation="2020")
    found = instrument_of(path)
    assert (found.name, len(found.candidates)) == (None, 5)
    with hitsduck.open_reruns({"a": path}) as reruns:
        assert reruns.sql("select visit, night from dia_source").rows() == []


def test_a_users_camera_serves_a_file_of_its_own_rule(tmp_path: Path):
    camera = tmp_path / "homecam.csv"
    camera.write_text(
        "detector,name,detector_type,x0_px,y0_px,x1_px,y1_px,pixel_size_x_mm,pixel_size_y_mm,"
        "ref_x_px,ref_y_px,offset_x_mm,offset_y_mm,yaw_deg,visit_id_factor,"
        "plate_scale_arcsec_per_mm,longitude_deg\n"
        "3,only,0,0,0,99,99,0.01,0.01,0,0,5,6,0,16,20,0\n",
        encoding="utf-8",
    )
    path = make_apdb(
        tmp_path / "a.db",
        generation="2020",
        id_factor=16,
        sources=[source(visit=1234, detector=3, x=10, y=20)],
    )
    with hitsduck.open_reruns({"a": path}, camera=camera) as reruns:
        (row,) = reruns.sql(
            "select visit, detector, focal_x_mm, focal_y_mm from dia_source_focal_plane"
        ).rows()
    # 10 px and 20 px of 0.01 mm, from (5, 6) mm
    assert row == {
        "visit": 1234,
        "detector": 3,
        "focal_x_mm": pytest.approx(5.1),
        "focal_y_mm": pytest.approx(6.2),
    }


def test_a_users_camera_without_an_id_rule_cannot_read_old_ids(tmp_path: Path):
    camera = tmp_path / "homecam.csv"
    header = ",".join(hitsduck.cameras.DETECTOR_COLUMNS)
    camera.write_text(
        f"{header},plate_scale_arcsec_per_mm,longitude_deg\n"
        "3,only,0,0,0,99,99,0.01,0.01,0,0,5,6,0,20,0\n",
        encoding="utf-8",
    )
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=[source()])
    with pytest.raises(InstrumentError, match="visit_id_factor is not known"):
        hitsduck.open_reruns({"a": path}, camera=camera)


# -- what is looked at ---------------------------------------------------------


def many_sources() -> list[dict[str, Any]]:
    """Return 3000 sources of which one, in the middle, is of a detector DECam lacks."""
    rows = [source(detector=1 + number % 60) for number in range(3000)]
    rows[1501]["detector"] = 77
    return rows


def test_with_an_index_one_id_in_thousands_is_seen_when_the_file_is_opened(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=many_sources())
    with pytest.raises(InstrumentError, match="it has no detector 77"):
        hitsduck.open_reruns({"a": path}, instrument="DECam")


@pytest.mark.parametrize("generation", ["2020", "10.0.0"])
def test_without_an_index_the_first_query_that_reads_it_fails(tmp_path: Path, generation: str):
    path = make_apdb(
        tmp_path / "a.db", generation=generation, sources=many_sources(), indexes=False
    )
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        assert reruns.counts().rows()[0]["n_dia_sources"] == 3000
        with pytest.raises(InstrumentError) as raised:
            reruns.sql("select count(*) from dia_source where detector < 100")
    # Ids count from 1.
    assert "DECam has no detector 77 (diaSourceId 1502)" in str(raised.value)


def test_ids_are_read_over_the_index_without_a_scan(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=many_sources())
    with closing(sqlite3.connect(path)) as connection:
        rows, is_complete = inspection.distinct_or_sample(connection, "DiaSource", ["ccdVisitId"])
        assert is_complete
        truth = connection.execute("select distinct ccdVisitId from DiaSource order by 1")
        assert rows == truth.fetchall()
        rows, is_complete = inspection.distinct_or_sample(connection, "DiaSource", ["x"])
        assert not is_complete


# -- the unit of the moments ---------------------------------------------------


def file_of_seeing(path: Path, seeing_arcsec: float, scale_arcsec: float) -> Path:
    """Write sources whose PSF has this FWHM, in units of `scale_arcsec`."""
    rng = np.random.default_rng(1)
    sigma = seeing_arcsec / FWHM_PER_SIGMA / scale_arcsec
    rows = []
    for factor in rng.normal(1.0, 0.02, 5):
        moment = (sigma * factor) ** 2
        rows.append(source(ixxPSF=moment, iyyPSF=moment * 0.98, ixyPSF=moment * 0.02))
    return make_apdb(path, sources=rows)


# With DECam's 0.2636 arcsec pixels a PSF of 2.0 units is a seeing of 2.0 or of 0.53 arcsec, and
# nothing tells which. 2.0 arcsec happens, 0.53 DECam has not delivered: its pixels begin at 0.55.
SEEINGS_ARCSEC = (0.5, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)


@pytest.mark.parametrize(
    ("camera", "seeing_arcsec"),
    [(camera, seeing) for camera in PIXEL_SCALE_ARCSEC for seeing in SEEINGS_ARCSEC],
)
def test_moments_in_arcsec_are_told_for_every_camera(
    tmp_path: Path, camera: str, seeing_arcsec: float
):
    path = file_of_seeing(tmp_path / "a.db", seeing_arcsec, 1.0)
    found = moments_of(path, camera)
    assert found.unit == "arcsec2"
    assert found.found_by in ("values", "values (both units possible)")


@pytest.mark.parametrize(
    ("camera", "seeing_arcsec"),
    [
        (camera, max(seeing, 0.55) if camera == "DECam" else seeing)
        for camera in PIXEL_SCALE_ARCSEC
        for seeing in SEEINGS_ARCSEC
    ],
)
def test_moments_in_pixels_are_told_for_every_camera(
    tmp_path: Path, camera: str, seeing_arcsec: float
):
    path = file_of_seeing(tmp_path / "a.db", seeing_arcsec, PIXEL_SCALE_ARCSEC[camera])
    found = moments_of(path, camera)
    assert found.unit == "px2"
    assert found.found_by in ("values", "values (both units possible)")


def test_it_is_said_when_both_units_are_possible(tmp_path: Path):
    # 1.7 arcsec; as pixels 1.7 * 0.2636 = 0.45 arcsec, which is possible too.
    path = file_of_seeing(tmp_path / "a.db", 1.7, 1.0)
    assert moments_of(path, "DECam").found_by == "values (both units possible)"
    # 1.0 arcsec; as pixels 0.26 arcsec, which no telescope on the ground sees.
    path = file_of_seeing(tmp_path / "b.db", 1.0, 1.0)
    assert moments_of(path, "DECam").found_by == "values"


def test_the_seeing_is_the_same_in_either_unit(tmp_path: Path):
    for name, scale in (("px", PIXEL_SCALE_ARCSEC["DECam"]), ("arcsec", 1.0)):
        sigma = 1.25 / FWHM_PER_SIGMA / scale
        make_apdb(
            tmp_path / f"{name}.db",
            sources=[source(ixxPSF=sigma**2, iyyPSF=sigma**2, ixyPSF=0.0)],
        )
    files = {name: tmp_path / f"{name}.db" for name in ("px", "arcsec")}
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        units = {row["rerun"]: row["moments_unit"] for row in reruns.info()}
        rows = reruns.sql("select psf_fwhm_arcsec from dia_source").rows()
    assert units == {"px": "px2", "arcsec": "arcsec2"}
    assert [row["psf_fwhm_arcsec"] for row in rows] == [pytest.approx(1.25, rel=1e-8)] * 2


def test_a_stated_unit_goes_before_the_values(tmp_path: Path):
    path = file_of_seeing(tmp_path / "a.db", 1.0, 1.0)
    found = moments_of(path, "DECam", stated="px2")
    assert (found.unit, found.found_by) == ("px2", "stated")
    with hitsduck.open_reruns({"a": path}, instrument="DECam", moments="px2") as reruns:
        (info,) = reruns.info()
    assert (info["moments_unit"], info["moments_found_by"]) == ("px2", "stated")
    # 1.0 "pixels" of 0.263625 arcsec
    assert info["median_seeing_arcsec"] == pytest.approx(0.2636, abs=0.01)


@pytest.mark.parametrize("cells", [{"ixxPSF": None}, {"ixxPSF": 0.0}, {"ixxPSF": -1.0}])
def test_without_a_usable_moment_there_is_no_unit_and_no_seeing(
    tmp_path: Path, cells: dict[str, float | None]
):
    rows = [source(iyyPSF=0.2, ixyPSF=0.1, **cells)]
    path = make_apdb(tmp_path / "a.db", sources=rows)
    found = moments_of(path, "DECam")
    assert (found.unit, found.found_by, found.psf_moments) == (None, "no values", "none")
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        rows = reruns.sql("select psf_fwhm_arcsec from dia_source").rows()
    assert rows == [{"psf_fwhm_arcsec": None}]


def test_a_file_without_the_column_has_no_unit_unless_stated(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", sources=[source()], leave_out=["DiaSource.ixxPSF"])
    assert moments_of(path, "DECam").unit is None
    assert moments_of(path, "DECam", stated="px2").unit == "px2"


def test_a_psf_that_no_sky_allows_gives_no_unit_and_says_so(tmp_path: Path):
    path = file_of_seeing(tmp_path / "a.db", 300.0, 1.0)
    found = moments_of(path, "DECam")
    assert found.unit is None
    assert "no unit gives a possible seeing (median 30" in found.found_by


def test_pixels_of_two_candidate_cameras_ask_for_the_camera(tmp_path: Path):
    # 5 pixels are 1.3 arcsec of DECam and 0.84 of HSC; detector 5 is in every camera.
    rows = [source(detector=5, ixxPSF=(5 / FWHM_PER_SIGMA) ** 2, iyyPSF=4.5, ixyPSF=0.0)]
    path = make_apdb(tmp_path / "a.db", sources=rows)
    with hitsduck.open_reruns({"a": path}) as reruns:
        with pytest.raises(InstrumentError, match="state the instrument"):
            reruns.sql("select psf_fwhm_arcsec from dia_source")
        (info,) = reruns.info()
    assert (info["moments_unit"], info["median_seeing_arcsec"]) == ("px2", None)


# -- iyyPSF that holds ixyPSF --------------------------------------------------


def test_iyy_that_holds_ixy_in_every_row_is_not_used(tmp_path: Path):
    rows = [source(ixxPSF=0.25, iyyPSF=value, ixyPSF=value) for value in (0.01, -0.02, 0.03)]
    path = make_apdb(tmp_path / "a.db", sources=rows)
    assert moments_of(path, "DECam").psf_moments == "ixx only"
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        found = reruns.sql("select distinct iyyPSF, psf_fwhm_arcsec from dia_source").rows()
        (info,) = reruns.info()
    # 2.354820 * sqrt(0.25) = 1.177410
    assert found == [{"iyyPSF": None, "psf_fwhm_arcsec": pytest.approx(1.177410, abs=1e-6)}]
    assert info["psf_moments"] == "ixx only"


def test_one_row_that_differs_shows_that_iyy_is_itself(tmp_path: Path):
    rows = [source(ixxPSF=0.25, iyyPSF=0.01, ixyPSF=0.01) for _ in range(4)]
    rows.append(source(ixxPSF=0.25, iyyPSF=0.39, ixyPSF=0.01))
    path = make_apdb(tmp_path / "a.db", sources=rows)
    assert moments_of(path, "DECam").psf_moments == "ixx and iyy"
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        found = reruns.sql("select psf_fwhm_arcsec from dia_source order by diaSourceId").rows()
    # 2.354820 * sqrt((0.25 + 0.01) / 2) and 2.354820 * sqrt((0.25 + 0.39) / 2)
    expected = [FWHM_PER_SIGMA * math.sqrt(0.13)] * 4 + [FWHM_PER_SIGMA * math.sqrt(0.32)]
    assert [row["psf_fwhm_arcsec"] for row in found] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("name", ["packed-2021", "imsim-2023-packed", "imsim-2024-schema-0.1.1"])
def test_every_real_file_has_the_defect_and_its_moments_in_arcsec(shared: Path, name: str):
    path = shared / "data" / "apdb" / f"{name}.sqlite3"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        (differing,) = connection.execute(
            "select count(*) from DiaSource where iyyPSF <> ixyPSF"
        ).fetchone()
    assert differing == 0
    found = moments_of(path)
    assert (found.unit, found.found_by, found.psf_moments) == ("arcsec2", "values", "ixx only")
