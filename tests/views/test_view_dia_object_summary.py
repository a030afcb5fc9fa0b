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


def test_objects_are_counted_by_how_many_sources_they_have(opened, source):
    # Sources of objects 1 to 5: two good; one good, one bad; one bad; one good; none.
    n_good, n_bad = (2, 1, 0, 1, 0), (0, 1, 1, 0, 0)
    reruns = opened(
        objects=[{"diaObjectId": number} for number in (1, 2, 3, 4, 5)],
        sources=[
            source(diaObjectId=number, pixelFlags_bad=is_bad)
            for is_bad, counts in ((False, n_good), (True, n_bad))
            for number, n in enumerate(counts, start=1)
            for _ in range(n)
        ],
    )
    rows = reruns.sql("select * from sources_per_object order by n_dia_sources").rows()
    assert [tuple(row.values()) for row in rows] == [("a", 0, 1, 0), ("a", 1, 2, 1), ("a", 2, 2, 2)]
