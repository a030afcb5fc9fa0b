from __future__ import annotations

import pytest

# Object 1: a good and a bad source; 2: good ones only; 3: bad ones only; 4: no source; 5: one whose
# flag is NULL; 6: good, but only in its closed version.
OBJECTS = [
    {"diaObjectId": number, "ra": 150.0, "dec": 2.0, "validityEndMjdTai": None}
    for number in (1, 2, 3, 4, 5)
] + [{"diaObjectId": 6, "ra": 150.0, "dec": 2.0, "validityEndMjdTai": 57100.0}]


@pytest.fixture
def reruns(opened, source):
    return opened(
        objects=OBJECTS,
        sources=[
            source(diaSourceId=11, diaObjectId=1),
            source(diaSourceId=12, diaObjectId=1, pixelFlags_bad=True),
            source(diaSourceId=21, diaObjectId=2),
            source(diaSourceId=22, diaObjectId=2),
            source(diaSourceId=31, diaObjectId=3, pixelFlags_suspect=True),
            source(diaSourceId=51, diaObjectId=5, pixelFlags_suspect=None),
            source(diaSourceId=61, diaObjectId=6),
            source(diaSourceId=91, diaObjectId=None),
            source(diaSourceId=92, diaObjectId=0, pixelFlags_bad=True),
        ],
    )


def test_good_sources_are_those_without_a_bad_or_null_flag(reruns):
    rows = reruns.sql("select diaSourceId from good_dia_source order by 1").rows()
    assert [row["diaSourceId"] for row in rows] == [11, 21, 22, 61, 91]


def test_a_good_object_is_current_and_has_at_least_one_good_source(reruns):
    rows = reruns.sql("select diaObjectId from good_dia_object order by 1").rows()
    assert [row["diaObjectId"] for row in rows] == [1, 2]


def test_a_strictly_good_object_has_good_sources_only_and_at_least_one(reruns):
    rows = reruns.sql("select diaObjectId from strictly_good_dia_object order by 1").rows()
    assert [row["diaObjectId"] for row in rows] == [2]


def test_the_counts_follow_the_definition_of_the_published_ones(reruns):
    # 9 sources, 5 of them good; 5 current objects, 2 of them good.
    assert reruns.counts().rows() == [
        {
            "rerun": "a",
            "n_dia_sources": 9,
            "n_good_dia_sources": 5,
            "n_dia_objects": 5,
            "n_good_dia_objects": 2,
        }
    ]
    assert reruns.sql("select * from rerun_counts").rows() == reruns.counts().rows()


def test_counts_under_a_condition_take_the_objects_of_the_sources_that_fulfil_it(reruns):
    # Sources 12, 21, 22: of objects 1 and 2; the good ones are 21 and 22, of object 2.
    (row,) = reruns.counts(where="diaSourceId between 12 and 22").rows()
    assert list(row.values()) == ["a", 3, 2, 2, 1]
