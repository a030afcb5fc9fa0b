from __future__ import annotations

import math
from datetime import date, datetime, timedelta

import pytest

import hitsduck
from hitsduck import schema
from hitsduck.errors import FlagWarning


def test_the_signal_to_noise_is_the_size_of_the_flux_over_its_error(opened, source):
    reruns = opened(
        sources=[
            source(psfFlux=-300.0, psfFluxErr=50.0, snr=-4.5),
            source(psfFlux=300.0, psfFluxErr=0.0),
            source(psfFlux=None, psfFluxErr=50.0),
            source(psfFlux=300.0, psfFluxErr=None),
        ]
    )
    rows = reruns.sql("select psf_snr, snr from dia_source order by diaSourceId").rows()
    # abs(-300) / 50 = 6; the file's own snr passes through, sign and all.
    assert rows == [
        {"psf_snr": 6.0, "snr": -4.5},
        {"psf_snr": None, "snr": None},
        {"psf_snr": None, "snr": None},
        {"psf_snr": None, "snr": None},
    ]


def test_the_seeing_is_that_of_the_mean_moment_and_null_without_one(opened, source):
    reruns = opened(
        sources=[
            source(ixxPSF=0.25, iyyPSF=0.39, ixyPSF=0.01),
            source(ixxPSF=0.25, iyyPSF=None, ixyPSF=0.01),
            source(ixxPSF=None, iyyPSF=0.39, ixyPSF=0.01),
            source(ixxPSF=None, iyyPSF=None, ixyPSF=None),
            source(ixxPSF=0.0, iyyPSF=0.0, ixyPSF=0.0),
            source(ixxPSF=-0.3, iyyPSF=0.1, ixyPSF=0.0),
            source(ixxPSF=-0.1, iyyPSF=0.5, ixyPSF=0.0),
        ]
    )
    rows = reruns.sql("select psf_fwhm_arcsec from dia_source order by diaSourceId").rows()
    assert [row["psf_fwhm_arcsec"] for row in rows] == [
        # 2 sqrt(2 ln 2) = 2.354820; sqrt((0.25 + 0.39) / 2) = 0.565685
        pytest.approx(2.354820 * 0.565685, abs=1e-5),
        pytest.approx(2.354820 * 0.5, abs=1e-5),
        None,
        None,
        None,
        None,
        None,
    ]


def test_the_night_changes_at_local_mean_noon_in_chile(opened, source):
    # DECam stands at 70.81 deg west: its mean noon is 12 h + 70.81 / 15 h = 16 h 43 min 14.4 s of
    # TAI, the fraction 0.696694 of a day. MJD 57070 is 2015-02-17.
    times = {
        57070.0: date(2015, 2, 16),  # 0 h TAI: 19 h 17 min in the evening of the 16th
        57070.4: date(2015, 2, 16),  # 9 h 36 min TAI: the morning after
        57070.69669: date(2015, 2, 16),  # 0.4 s before noon
        57070.69670: date(2015, 2, 17),  # 0.5 s after noon
        57070.99: date(2015, 2, 17),  # 18 h 57 min in the evening of the 17th
        57071.0: date(2015, 2, 17),
    }
    reruns = opened(
        sources=[source(diaSourceId=number, midpointMjdTai=mjd) for number, mjd in enumerate(times)]
    )
    rows = reruns.sql("select night from dia_source order by diaSourceId").rows()
    assert [row["night"] for row in rows] == list(times.values())
    for mjd, night in times.items():
        local_mean_time = datetime(1858, 11, 17) + timedelta(days=mjd - 70.81 / 360)
        assert (local_mean_time - timedelta(hours=12)).date() == night


@pytest.mark.parametrize(
    ("instrument", "noon"),
    # 0.5 + 70.75 / 360 and 0.5 + 155.48 / 360
    [("LSSTCam", 0.696528), ("HSC", 0.931889)],
)
def test_the_night_follows_the_site_of_the_camera(opened, source, instrument, noon):
    reruns = opened(
        instrument=instrument,
        sources=[source(midpointMjdTai=57070 + noon + shift) for shift in (-2e-6, 2e-6)],
    )
    rows = reruns.sql("select night from dia_source order by diaSourceId").rows()
    assert [row["night"] for row in rows] == [date(2015, 2, 16), date(2015, 2, 17)]


def test_an_id_of_zero_is_no_object(opened, source):
    reruns = opened(
        sources=[
            source(diaObjectId=0, ssObjectId=77),
            source(diaObjectId=None, ssObjectId=77),
            source(diaObjectId=9, ssObjectId=0),
        ]
    )
    rows = reruns.sql("select diaObjectId, ssObjectId from dia_source order by diaSourceId").rows()
    assert rows == [
        {"diaObjectId": None, "ssObjectId": 77},
        {"diaObjectId": None, "ssObjectId": 77},
        {"diaObjectId": 9, "ssObjectId": None},
    ]
    assert reruns.info()[0]["n_without_object"] == 2


def test_a_source_is_good_when_no_flag_of_the_set_is_true_or_null(opened, source):
    reruns = opened(
        sources=[
            source(),
            source(pixelFlags_bad=True),
            source(pixelFlags_suspect=True, pixelFlags_saturatedCenter=True),
            source(pixelFlags_suspect=None),
            source(pixelFlags_bad=True, pixelFlags_suspect=None),
            source(pixelFlags_edge=True, pixelFlags_cr=None),
        ]
    )
    rows = reruns.sql(
        "select good_definition_bits, is_good from dia_source order by diaSourceId"
    ).rows()
    bad, suspect, saturated = (
        schema.flag_number(f"pixelFlags_{name}") for name in ("bad", "suspect", "saturatedCenter")
    )
    assert [list(row.values()) for row in rows] == [
        [0, True],
        [bad, False],
        [suspect + saturated, False],
        [None, False],
        [None, False],
        [0, True],
    ]


def test_the_good_definition_follows_the_opened_set(opened, source):
    reruns = opened(
        sources=[source(pixelFlags_edge=True), source(pixelFlags_bad=True)], bad_flags="edge"
    )
    rows = reruns.sql("select is_good from dia_source order by diaSourceId").rows()
    assert [row["is_good"] for row in rows] == [False, True]
    assert reruns.sql("select flag_set, flag from good_definition").rows() == [
        {"flag_set": "custom", "flag": "pixelFlags_edge"}
    ]


def test_packed_flags_are_good_by_their_bits_and_null_is_not(opened, source):
    reruns = opened(
        generation="2020",
        constraints=False,
        sources=[
            source(flags=0),
            source(flags=64),  # bad
            source(flags=128),  # suspect
            source(flags=512),  # saturatedCenter
            source(flags=4 + 8 + 256),  # edge, interpolated, interpolatedCenter
            source(flags=None),
        ],
    )
    rows = reruns.sql("select is_good from dia_source order by diaSourceId").rows()
    assert [row["is_good"] for row in rows] == [True, False, False, False, True, False]
    assert reruns.info()[0]["n_null_flags"] == 1


def test_a_flag_that_the_generation_lacks_is_skipped_with_a_warning(opened, source):
    with pytest.warns(FlagWarning, match="its generation lacks pixelFlags_nodata"):
        reruns = opened(
            generation="2020",
            sources=[source(pixelFlags_bad=True), source()],
            bad_flags=["bad", "nodata"],
        )
    rows = reruns.sql("select is_good, pixelFlags_nodata from dia_source order by 1").rows()
    assert rows == [
        {"is_good": False, "pixelFlags_nodata": None},
        {"is_good": True, "pixelFlags_nodata": None},
    ]


def test_a_set_of_which_the_file_holds_no_flag_is_an_error(opened, source):
    with pytest.raises(hitsduck.HitsduckError, match="none of the flags pixelFlags_nodata exists"):
        opened(generation="2020", sources=[source()], bad_flags="nodata")


def test_visit_and_detector_come_out_of_one_number(opened, source):
    reruns = opened(generation="2023", sources=[source(ccdVisitId=41098762)])
    rows = reruns.sql("select visit, detector, ccdVisitId from dia_source").rows()
    # 410987 * 100 + 62
    assert rows == [{"visit": 410987, "detector": 62, "ccdVisitId": 41098762}]


def test_a_source_without_visit_or_position_stays_in_the_counts(opened, source):
    reruns = opened(
        generation="2023",
        constraints=False,
        sources=[
            source(ccdVisitId=None),
            source(ra=None),
            source(dec=91.0),
            source(ra=-1.0),
            source(ra=math.inf),
            source(),
        ],
    )
    assert reruns.counts().rows()[0]["n_dia_sources"] == 6
    rows = reruns.sql("select visit, detector from dia_source order by diaSourceId limit 1").rows()
    assert rows == [{"visit": None, "detector": None}]
    (info,) = reruns.info()
    assert (info["n_null_visits"], info["n_bad_positions"]) == (1, 4)


def test_numbers_are_not_rounded_to_four_bytes(opened, source):
    reruns = opened(sources=[source(psfFlux=1234.567890123, ra=150.123456789012)])
    rows = reruns.sql("select psfFlux, ra from dia_source").rows()
    assert rows == [{"psfFlux": 1234.567890123, "ra": 150.123456789012}]


@pytest.mark.parametrize("mjd", [math.inf, -math.inf, 1e12, -1.0, None])
def test_a_time_that_cannot_be_gives_no_night_and_stops_nothing(opened, source, mjd):
    reruns = opened(constraints=False, sources=[source(midpointMjdTai=mjd), source()])
    rows = reruns.sql("select night from dia_source order by diaSourceId").rows()
    assert [row["night"] for row in rows] == [None, date(2015, 2, 16)]
