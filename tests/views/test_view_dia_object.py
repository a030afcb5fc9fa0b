from __future__ import annotations

import pytest

# Object 1 has a closed and an open version, 2 an open one, 3 only a closed one.
VERSIONS = [
    {"diaObjectId": 1, "validityStartMjdTai": 57000.0, "validityEndMjdTai": 57010.25},
    {"diaObjectId": 1, "validityStartMjdTai": 57010.25, "validityEndMjdTai": None},
    {"diaObjectId": 2, "validityStartMjdTai": 57000.5, "validityEndMjdTai": None},
    {"diaObjectId": 3, "validityStartMjdTai": 57000.5, "validityEndMjdTai": 57001.0},
]
POSITION = {"ra": 150.0, "dec": 2.0}


def written(generation: str) -> dict:
    return {"generation": generation, "objects": [POSITION | row for row in VERSIONS]}


@pytest.mark.parametrize("generation", ["2020", "0.1.1", "10.0.0"])
def test_the_history_holds_every_version_with_its_times_in_mjd(opened, generation):
    reruns = opened(**written(generation))
    rows = reruns.sql(
        "select diaObjectId, validityStartMjdTai, validityEndMjdTai from dia_object_history "
        "order by 1, 2"
    ).rows()
    # 57010.25 is 2015-12-29 06:00:00, so a TIMESTAMP holds it exactly.
    assert rows == VERSIONS


@pytest.mark.parametrize("generation", ["2020", "0.1.1", "10.0.0"])
def test_the_current_version_is_the_one_without_an_end(opened, generation):
    reruns = opened(**written(generation))
    rows = reruns.sql(
        "select diaObjectId, validityStartMjdTai from dia_object order by diaObjectId"
    ).rows()
    assert rows == [
        {"diaObjectId": 1, "validityStartMjdTai": 57010.25},
        {"diaObjectId": 2, "validityStartMjdTai": 57000.5},
    ]


@pytest.mark.parametrize("generation", ["2020", "0.1.1", "1.0.0"])
def test_with_dia_object_last_an_open_version_ends_where_the_next_begins(opened, generation):
    # dax_apdb of that time left every version open in DiaObject.
    open_versions = [POSITION | row | {"validityEndMjdTai": None} for row in VERSIONS]
    last = [POSITION | {"diaObjectId": number} for number in (1, 2, 3)]
    reruns = opened(generation=generation, objects=open_versions, objects_last=last)
    rows = reruns.sql(
        "select diaObjectId, validityStartMjdTai, validityEndMjdTai from dia_object_history "
        "order by 1, 2"
    ).rows()
    assert [list(row.values()) for row in rows] == [
        [1, 57000.0, 57010.25],
        [1, 57010.25, None],
        [2, 57000.5, None],
        [3, 57000.5, None],
    ]
    current = reruns.sql("select diaObjectId, validityStartMjdTai from dia_object order by 1")
    assert [list(row.values()) for row in current.rows()] == [
        [1, 57010.25],
        [2, 57000.5],
        [3, 57000.5],
    ]
    assert reruns.counts().rows()[0]["n_dia_objects"] == 3
    assert reruns["a"].object(1)["validityStartMjdTai"] == 57010.25


def test_with_dia_object_last_of_today_a_closed_object_stays_closed(opened):
    last = [POSITION | {"diaObjectId": number} for number in (1, 2)]
    reruns = opened(**written("10.0.0"), objects_last=last)
    rows = reruns.sql("select diaObjectId from dia_object order by 1").rows()
    assert [row["diaObjectId"] for row in rows] == [1, 2]


def test_fluxes_of_the_six_bands_are_read_under_the_names_of_today(opened):
    fluxes = {f"{band}_psfFluxMean": 10.0 + number for number, band in enumerate("ugrizy")}
    reruns = opened(generation="2020", objects=[POSITION | VERSIONS[1] | fluxes])
    (row,) = reruns.sql(f"select {', '.join(fluxes)} from dia_object").rows()
    assert row == fluxes
