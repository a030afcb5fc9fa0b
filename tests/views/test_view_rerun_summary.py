from __future__ import annotations

import pytest


def test_a_rerun_is_summed_up_in_one_row(opened, source):
    reruns = opened(
        generation="2023",
        constraints=False,
        sources=[
            source(visit=2, detector=6, band="r", midpointMjdTai=57071.5, ixxPSF=0.36, ixyPSF=0.0),
            source(visit=1, detector=5, band="g", midpointMjdTai=57070.5, ixxPSF=0.25, ixyPSF=0.0),
            source(visit=1, detector=5, band="g", ixxPSF=0.16, ixyPSF=0.0, diaObjectId=0),
            source(ccdVisitId=None, midpointMjdTai=None, ra=361.0, flags=None),
        ],
    )
    rows = reruns.sql("select * from rerun_summary").rows()
    assert rows == [
        {
            "rerun": "a",
            "visits": [1, 2],
            "detectors": [5, 6],
            "bands": ["g", "r"],
            "first_mjd_tai": 57070.1,
            "last_mjd_tai": 57071.5,
            # 2.354820 * sqrt(ixx): 1.412892, 1.177410, 0.941928
            "median_seeing_arcsec": pytest.approx(1.177410, abs=1e-6),
            "mean_seeing_arcsec": pytest.approx(1.177410, abs=1e-6),
            "n_null_flags": 1,
            "n_bad_positions": 1,
            "n_null_visits": 1,
            "n_without_object": 1,
        }
    ]


@pytest.mark.parametrize(
    ("ra", "dec", "n_bad"),
    [
        (0.0, -90.0, 0),
        (360.0, 90.0, 0),
        (360.001, 0.0, 1),
        (-0.001, 0.0, 1),
        (10.0, 90.001, 1),
        (10.0, -90.001, 1),
        (None, 0.0, 1),
        (10.0, None, 1),
    ],
)
def test_a_position_is_bad_when_it_is_null_or_out_of_range(opened, source, ra, dec, n_bad):
    reruns = opened(constraints=False, sources=[source(ra=ra, dec=dec)])
    (row,) = reruns.sql("select n_bad_positions from rerun_summary").rows()
    assert row["n_bad_positions"] == n_bad


def test_an_empty_file_has_a_row_of_nothing(opened):
    (row,) = opened().sql("select * from rerun_summary").rows()
    assert {key for key, value in row.items() if value is not None} == {
        "rerun",
        "n_null_flags",
        "n_bad_positions",
        "n_null_visits",
        "n_without_object",
    }
