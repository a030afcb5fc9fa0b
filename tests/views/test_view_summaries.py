"""The summaries of visits, detectors and nights, by hand, of one small rerun."""

from __future__ import annotations

import random
from datetime import date

import pytest

from hitsduck.chartdata.keeping import relation
from hitsduck.errors import InstrumentError

#: deg^2 of a DECam detector: 2048 x 4096 pixels of 0.015 mm * 17.575 arcsec/mm, 0.0449840.
AREA_DEG2 = 2048 * 4096 * (0.015 * 17.575 / 3600) ** 2


def seeing(fwhm_arcsec: float) -> dict[str, float]:
    """Return moments of this FWHM: ixx = iyy = (fwhm / 2.354820)^2."""
    moment = (fwhm_arcsec / 2.3548200450309493) ** 2
    return {"ixxPSF": moment, "iyyPSF": moment, "ixyPSF": 0.0}


def near(value: float) -> object:
    return pytest.approx(value, rel=1e-6)


@pytest.fixture
def sources(source):
    # Visit 1, g, evening of 2015-02-16: detector 5 has 3 sources (2 good), detector 6 has 1.
    # Visit 2, r, evening of 2015-02-16: detector 5 has 1 source.
    # Visit 3, r, evening of 2015-02-17: detector 6 has 2 sources (1 good).
    first = {"visit": 1, "band": "g", "midpointMjdTai": 57070.1}
    second = {"visit": 2, "band": "r", "midpointMjdTai": 57070.2}
    third = {"visit": 3, "band": "r", "midpointMjdTai": 57071.1}
    return [
        source(detector=5, **first, **seeing(1.0)),
        source(detector=5, **first, **seeing(1.2)),
        source(detector=5, **first, **seeing(1.4), pixelFlags_bad=True),
        source(detector=6, **first, **seeing(1.3)),
        source(detector=5, **second, **seeing(0.9)),
        source(detector=6, **third, **seeing(1.1)),
        source(detector=6, **third, **seeing(1.5), pixelFlags_suspect=True),
    ]


#: Forced photometry on visit 2, detector 6, where nothing was detected: an image all the same.
FORCED = [{"diaObjectId": 1, "visit": 2, "detector": 6}]
PAIRS = "DiaSource and DiaForcedSource"
RECORDED = "DetectorVisitProcessingSummary"


def test_visit_detector_summary_has_a_row_for_every_image(opened, sources):
    rows = (
        opened(sources=sources, forced=FORCED)
        .sql("select * from visit_detector_summary order by visit, detector")
        .rows()
    )
    expected = [
        # visit, detector, sources, good, mjd, night, band, seeing
        (1, 5, 3, 2, 57070.1, date(2015, 2, 16), "g", near(1.2)),
        (1, 6, 1, 1, 57070.1, date(2015, 2, 16), "g", near(1.3)),
        (2, 5, 1, 1, 57070.2, date(2015, 2, 16), "r", near(0.9)),
        (2, 6, 0, 0, None, None, None, None),
        (3, 6, 2, 1, 57071.1, date(2015, 2, 17), "r", near(1.3)),  # of 1.1 and 1.5
    ]
    assert rows == [
        {
            "rerun": "a",
            "visit": visit,
            "detector": detector,
            "n_images": 1,
            "image_source": PAIRS,
            "n_dia_sources": n,
            "n_good_dia_sources": n_good,
            "midpoint_mjd_tai": mjd,
            "night": night,
            "band": band,
            "median_seeing_arcsec": fwhm,
            "area_deg2": near(AREA_DEG2),
            "density_deg2": near(n / AREA_DEG2),
            "good_density_deg2": near(n_good / AREA_DEG2),
        }
        for visit, detector, n, n_good, mjd, night, band, fwhm in expected
    ]


def test_visit_summary_divides_by_the_area_of_the_processed_images(opened, sources):
    rows = (
        opened(sources=sources, forced=FORCED)
        .sql("select * from visit_summary order by visit")
        .rows()
    )
    expected = [
        # visit, mjd, night, band, images, sources, good, seeing
        (1, 57070.1, date(2015, 2, 16), "g", 2, 4, 3, near(1.25)),  # of 1.0 1.2 1.3 1.4
        (2, 57070.2, date(2015, 2, 16), "r", 2, 1, 1, near(0.9)),
        (3, 57071.1, date(2015, 2, 17), "r", 1, 2, 1, near(1.3)),
    ]
    assert rows == [
        {
            "rerun": "a",
            "visit": visit,
            "midpoint_mjd_tai": mjd,
            "night": night,
            "band": band,
            "n_images": n_images,
            "image_source": PAIRS,
            "n_dia_sources": n,
            "n_good_dia_sources": n_good,
            "median_seeing_arcsec": fwhm,
            "area_deg2": near(n_images * AREA_DEG2),
            "density_deg2": near(n / (n_images * AREA_DEG2)),
            "good_density_deg2": near(n_good / (n_images * AREA_DEG2)),
        }
        for visit, mjd, night, band, n_images, n, n_good, fwhm in expected
    ]


def test_detector_summary_has_the_density_of_its_images_and_that_of_the_seed(opened, sources):
    rows = (
        opened(sources=sources, forced=FORCED)
        .sql("select * from detector_summary order by detector")
        .rows()
    )
    expected = [
        # detector, images, sources, good, seeing
        (5, 2, 4, 3, near(1.1)),  # of 0.9 1.0 1.2 1.4
        (6, 3, 3, 2, near(1.3)),  # of 1.1 1.3 1.5
    ]
    assert rows == [
        {
            "rerun": "a",
            "detector": detector,
            "n_images": n_images,
            "n_visits": 3,
            "image_source": PAIRS,
            "n_dia_sources": n,
            "n_good_dia_sources": n_good,
            "median_seeing_arcsec": fwhm,
            "area_deg2": near(AREA_DEG2),
            "density_deg2": near(n / (n_images * AREA_DEG2)),
            "good_density_deg2": near(n_good / (n_images * AREA_DEG2)),
            # The seed divides by all 3 visits, detector 5 too, which visit 3 does not have:
            # 4 / (3 * 0.0449840) = 29.64 where its own 2 images give 44.46.
            "density_per_visit_deg2": near(n / (3 * AREA_DEG2)),
            "good_density_per_visit_deg2": near(n_good / (3 * AREA_DEG2)),
        }
        for detector, n_images, n, n_good, fwhm in expected
    ]


def test_night_summary_has_the_mean_of_its_visits_and_its_error(opened, sources):
    rows = opened(sources=sources).sql("select * from night_summary order by night").rows()
    assert rows == [
        {
            "rerun": "a",
            "night": date(2015, 2, 16),
            "n_visits": 2,
            "n_images": 3,
            "n_dia_sources": 5,
            "n_good_dia_sources": 4,
            "mean_dia_sources_per_visit": 2.5,  # of 4 and 1
            "mean_good_dia_sources_per_visit": 2.0,  # of 3 and 1
            # sample standard deviation of 4 and 1 is sqrt(4.5) = 2.1213; over sqrt(2) it is 1.5
            "stderr_dia_sources_per_visit": near(1.5),
            "stderr_good_dia_sources_per_visit": near(1.0),  # of 3 and 1: sqrt(2) / sqrt(2)
            "median_seeing_arcsec": near(1.075),  # of the visits' 1.25 and 0.9
        },
        {
            "rerun": "a",
            "night": date(2015, 2, 17),
            "n_visits": 1,
            "n_images": 1,
            "n_dia_sources": 2,
            "n_good_dia_sources": 1,
            "mean_dia_sources_per_visit": 2.0,
            "mean_good_dia_sources_per_visit": 1.0,
            "stderr_dia_sources_per_visit": None,
            "stderr_good_dia_sources_per_visit": None,
            "median_seeing_arcsec": near(1.3),
        },
    ]


def test_recorded_images_without_a_source_lower_the_density(opened, sources):
    recorded = [
        {"visit": visit, "detector": detector} for visit in (1, 2, 3) for detector in (5, 6)
    ]
    reruns = opened(sources=sources, summary=[*recorded, {"visit": 4, "detector": 5}])
    rows = reruns.sql(
        "select visit, n_images, image_source, n_dia_sources, density_deg2 from visit_summary "
        "order by visit"
    ).rows()
    assert [tuple(row.values()) for row in rows] == [
        (1, 2, RECORDED, 4, near(4 / (2 * AREA_DEG2))),
        (2, 2, RECORDED, 1, near(1 / (2 * AREA_DEG2))),
        (3, 2, RECORDED, 2, near(2 / (2 * AREA_DEG2))),
        (4, 1, RECORDED, 0, 0.0),
    ]
    rows = reruns.sql(
        "select detector, n_images, n_visits, density_deg2 from detector_summary order by 1"
    ).rows()
    assert [tuple(row.values()) for row in rows] == [
        (5, 4, 4, near(4 / (4 * AREA_DEG2))),
        (6, 3, 4, near(3 / (3 * AREA_DEG2))),
    ]


def test_a_condition_on_sources_leaves_the_images_as_they_are(opened, source):
    reruns = opened(
        sources=[
            source(visit=1, detector=5, psfFlux=20.0, psfFluxErr=1.0),
            source(visit=1, detector=5, psfFlux=5.0, psfFluxErr=1.0),
            source(visit=2, detector=5, psfFlux=5.0, psfFluxErr=1.0),
        ]
    )
    (row,) = reruns.summary("detector_summary", where="psf_snr > 10").rows()
    assert (row["n_images"], row["n_visits"], row["n_dia_sources"]) == (2, 2, 1)
    assert row["density_deg2"] == near(1 / (2 * AREA_DEG2))
    kept = relation(reruns, "a", "detector_summary", "psf_snr > 10")
    assert reruns.query(f"select * from {kept}").rows() == [row]
    rows = reruns.summary("visit_summary", where="psf_snr > 10").rows()
    assert [(row["visit"], row["n_images"], row["density_deg2"]) for row in rows] == [
        (1, 1, near(1 / AREA_DEG2)),
        (2, 1, 0.0),
    ]


def test_sources_on_an_image_that_was_not_recorded_are_counted_and_have_no_density(opened, sources):
    reruns = opened(sources=sources, summary=[{"visit": 1, "detector": 5}])
    rows = reruns.sql(
        "select visit, detector, n_images, image_source, n_dia_sources, density_deg2 "
        "from visit_detector_summary order by 1, 2"
    ).rows()
    assert [tuple(row.values()) for row in rows] == [
        (1, 5, 1, RECORDED, 3, near(3 / AREA_DEG2)),
        (1, 6, 0, None, 1, near(1 / AREA_DEG2)),
        (2, 5, 0, None, 1, near(1 / AREA_DEG2)),
        (3, 6, 0, None, 2, near(2 / AREA_DEG2)),
    ]
    by_visit = reruns.sql("select visit, n_dia_sources, density_deg2 from visit_summary order by 1")
    assert by_visit.rows()[1:] == [
        {"visit": 2, "n_dia_sources": 1, "density_deg2": None},
        {"visit": 3, "n_dia_sources": 2, "density_deg2": None},
    ]
    by_detector = reruns.sql(
        "select detector, n_images, n_dia_sources, density_deg2 from detector_summary order by 1"
    )
    assert by_detector.rows()[1] == {
        "detector": 6,
        "n_images": 0,
        "n_dia_sources": 3,
        "density_deg2": None,
    }
    total = "select sum(n_dia_sources) as n from {}"
    for view in ("visit_summary", "detector_summary", "visit_detector_summary", "night_summary"):
        assert reruns.sql(total.format(view)).rows() == [{"n": 7}]


def test_sources_without_visit_or_night_stay_in_every_sum(opened, source, sources):
    lost = source(ccdVisitId=None, midpointMjdTai=None)
    reruns = opened(generation="2023", constraints=False, sources=[*sources, lost])
    total = "select sum(n_dia_sources) as n from {}"
    for view in ("visit_summary", "detector_summary", "visit_detector_summary", "night_summary"):
        assert reruns.sql(total.format(view)).rows() == [{"n": 8}]
    (unknown,) = reruns.sql("select * from visit_summary where visit is null").rows()
    assert (unknown["n_images"], unknown["n_dia_sources"], unknown["density_deg2"]) == (0, 1, None)
    (night,) = reruns.sql("select * from night_summary where night is null").rows()
    assert (night["n_visits"], night["n_dia_sources"]) == (0, 1)


def test_a_source_without_visit_does_not_count_as_a_visit_of_its_night(opened, source, sources):
    lost = source(ccdVisitId=None, midpointMjdTai=57071.15)
    reruns = opened(generation="2023", constraints=False, sources=[*sources, lost])
    (row,) = reruns.sql("select * from night_summary where night = date '2015-02-17'").rows()
    assert (row["n_visits"], row["n_dia_sources"]) == (1, 3)
    assert row["mean_dia_sources_per_visit"] == 2.0


def test_areas_ask_for_the_camera_and_counts_do_not(opened, sources):
    reruns = opened(instrument=None, sources=sources)
    rows = reruns.sql("select visit, n_images, n_dia_sources from visit_summary order by 1").rows()
    assert [tuple(row.values()) for row in rows] == [(1, 2, 4), (2, 1, 1), (3, 1, 2)]
    rows = reruns.sql("select detector, n_dia_sources from detector_summary order by 1").rows()
    assert [tuple(row.values()) for row in rows] == [(5, 4), (6, 3)]
    for view in ("visit_summary", "detector_summary", "visit_detector_summary"):
        with pytest.raises(InstrumentError, match="the detector geometry is not known; state"):
            reruns.sql(f"select density_deg2 from {view}")


def test_two_reruns_are_never_summed_together(tmp_path, sources):
    from apdb_files import make_apdb

    import hitsduck

    one = make_apdb(tmp_path / "one.db", sources=sources)
    two = make_apdb(tmp_path / "two.db", generation="2020", sources=sources[:2])
    with hitsduck.open_reruns({"one": one, "two": two}, instrument="DECam") as reruns:
        for view, expected in (
            ("visit_summary", [("one", 7, 3), ("two", 2, 1)]),
            ("detector_summary", [("one", 7, 2), ("two", 2, 1)]),
            ("visit_detector_summary", [("one", 7, 4), ("two", 2, 1)]),
            ("night_summary", [("one", 7, 2), ("two", 2, 1)]),
        ):
            rows = reruns.sql(
                f"select rerun, sum(n_dia_sources) as n, count(*) as n_rows from {view} "
                "group by rerun order by rerun"
            ).rows()
            assert [tuple(row.values()) for row in rows] == expected
        (row,) = reruns.sql("select n_visits from detector_summary where rerun = 'two'").rows()
        assert row["n_visits"] == 1


def test_sums_of_fractions_do_not_depend_on_the_order_of_rows(opened, source):
    # Detectors of LSSTCam, which have areas of several sizes, in an order of chance.
    draw = random.Random(25125)
    images = [(visit, detector) for visit in range(60) for detector in draw.sample(range(205), 90)]
    draw.shuffle(images)
    reruns = opened(
        sources=[source(visit=visit, detector=detector) for visit, detector in images],
        instrument="LSSTCam",
    )
    geometry = reruns.sql("select detector, area_deg2 from detector_geometry").rows()
    area_of = {row["detector"]: row["area_deg2"] for row in geometry}
    found = reruns.sql("select visit, area_deg2 from visit_summary order by visit").rows()
    truth = [sum(area_of[d] for v, d in sorted(images) if v == visit) for visit in range(60)]
    assert [row["area_deg2"] for row in found] == truth
