from __future__ import annotations


def test_every_current_object_has_its_sources_counted(opened, source):
    # Object 1: a good source, a bad one; 2: a bad one; 3: none; 4 is not current any more.
    reruns = opened(
        objects=[
            {"diaObjectId": number, "validityEndMjdTai": 57100.0 if number == 4 else None}
            for number in (1, 2, 3, 4)
        ],
        sources=[
            source(diaObjectId=1),
            source(diaObjectId=1, pixelFlags_suspect=True),
            source(diaObjectId=2, pixelFlags_bad=True),
            source(diaObjectId=4),
            source(diaObjectId=None),
        ],
    )
    rows = reruns.sql("select * from dia_object_summary order by diaObjectId").rows()
    assert [tuple(row.values()) for row in rows] == [("a", 1, 2, 1), ("a", 2, 1, 0), ("a", 3, 0, 0)]


def test_an_object_with_two_current_versions_is_there_once(opened, source):
    reruns = opened(
        objects=[{"diaObjectId": 1, "validityStartMjdTai": start} for start in (57070.0, 57080.0)],
        sources=[source(diaObjectId=1), source(diaObjectId=1)],
    )
    (row,) = reruns.sql("select * from dia_object_summary").rows()
    assert tuple(row.values()) == ("a", 1, 2, 2)
