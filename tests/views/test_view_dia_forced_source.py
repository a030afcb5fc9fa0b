from __future__ import annotations

import pytest

from hitsduck.errors import InstrumentError

FORCED = {
    "diaForcedSourceId": 7,
    "visit": 410987,
    "detector": 62,
    "psfFlux": -12.5,
    "psfFluxErr": 2.5,
    "midpointMjdTai": 57070.1,
}


def test_forced_sources_of_the_newest_schema_pass_through(opened):
    reruns = opened(
        forced=[FORCED | {"diaObjectId": 5, "scienceFlux": 99.0, "band": "g", "ra": 150.0}]
    )
    (row,) = reruns.sql(
        "select diaForcedSourceId, diaObjectId, visit, detector, psfFlux, scienceFlux, band, ra, "
        "midpointMjdTai, rerun from dia_forced_source"
    ).rows()
    assert list(row.values()) == [7, 5, 410987, 62, -12.5, 99.0, "g", 150.0, 57070.1, "a"]


def test_old_names_and_ids_are_those_of_today_and_what_lacks_is_null(opened):
    reruns = opened(
        generation="2020", forced=[FORCED | {"diaObjectId": 5}, FORCED | {"diaObjectId": 0}]
    )
    rows = reruns.sql(
        "select diaObjectId, visit, detector, psfFlux, psfFluxErr, ra, ccdVisitId "
        "from dia_forced_source order by diaObjectId"
    ).rows()
    # 410987 * 100 + 62 = 41098762; DiaForcedSource of 2020 has no position.
    assert [list(row.values()) for row in rows] == [
        [5, 410987, 62, -12.5, 2.5, None, 41098762],
        [None, 410987, 62, -12.5, 2.5, None, 41098762],
    ]


def test_visits_ask_for_the_instrument_where_the_ids_do_not_tell_it(opened):
    # 41098705 fits HSC (% 200 = 105) as well as DECam (% 100 = 5).
    reruns = opened(
        generation="2020",
        instrument=None,
        sources=[{"ccdVisitId": 41098705, "diaObjectId": 5, "ra": 1.0, "dec": 1.0}],
        forced=[FORCED | {"diaObjectId": 5}],
    )
    assert reruns.sql("select psfFlux from dia_forced_source").rows() == [{"psfFlux": -12.5}]
    with pytest.raises(InstrumentError, match="DECam, HSC fit this file"):
        reruns.sql("select visit from dia_forced_source")


def test_a_file_without_the_table_has_the_view_with_no_row(opened):
    reruns = opened(leave_out=["DiaForcedSource"])
    assert reruns.sql("select visit, detector, psfFlux from dia_forced_source").rows() == []
