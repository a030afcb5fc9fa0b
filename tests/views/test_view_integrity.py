"""The views of what contradicts itself, on one rerun with each contradiction once."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck import schema


def without_primary_key(path: Path, table: str) -> None:
    """Let a table hold the same key twice, as a file that was mended by hand may."""
    with closing(sqlite3.connect(path)) as connection:
        (statement,) = connection.execute(
            "select sql from sqlite_master where name = ?", (table,)
        ).fetchone()
        connection.execute(f"alter table {table} rename to keyed")
        connection.execute(re.sub(r", primary key \([^)]*\)", "", statement))
        connection.execute(f"insert into {table} select * from keyed")
        connection.execute("drop table keyed")
        connection.commit()


def insert_again(path: Path, table: str, condition: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"insert into {table} select * from {table} where {condition}")
        connection.commit()


@pytest.fixture
def reruns(tmp_path, source):
    sources = [
        source(diaSourceId=11, diaObjectId=1, visit=1, detector=5),
        source(diaSourceId=12, diaObjectId=1, visit=2, detector=5, pixelFlags_edge=True),
        source(diaSourceId=21, diaObjectId=2, visit=1, detector=6, ra=None),
        source(diaSourceId=22, diaObjectId=2, visit=3, detector=6, dec=90.5),
        source(diaSourceId=23, diaObjectId=2, visit=3, detector=5),
        source(diaSourceId=91, diaObjectId=9, visit=1, detector=5),
        source(diaSourceId=92, diaObjectId=0, visit=1, detector=5),
    ]
    objects = [
        # as recorded: 2 sources, 4 where there are 3, none, NULL
        {"diaObjectId": 1, "validityStartMjdTai": 57000.0, "nDiaSources": 2},
        {"diaObjectId": 2, "validityStartMjdTai": 57000.0, "nDiaSources": 4},
        {"diaObjectId": 3, "validityStartMjdTai": 57000.0, "nDiaSources": 0},
        {"diaObjectId": 4, "validityStartMjdTai": 57000.0, "nDiaSources": None},
        {"diaObjectId": 4, "validityStartMjdTai": 57001.0, "nDiaSources": None},
    ]
    path = make_apdb(
        tmp_path / "a.db",
        sources=sources,
        objects=[row | {"ra": 150.0, "dec": 2.0, "validityEndMjdTai": None} for row in objects],
        constraints=False,
    )
    for table, condition in (("DiaSource", "diaSourceId = 11"), ("DiaObject", "diaObjectId = 3")):
        without_primary_key(path, table)
        insert_again(path, table, condition)
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as opened:
        yield opened


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("integrity_bad_position", [(21, None, 2.0), (22, 150.0, 90.5)]),
        ("integrity_duplicate_dia_source", [(11, 2)]),
        ("integrity_duplicate_object_version", [(3, 57000.0, 2)]),
        # Detector 5 is in 3 of 3 visits, detector 6 in 2 of 3: it lacks in visit 2.
        ("integrity_missing_detector", [(2, 6, 2, 3)]),
        # Object 1 has 3 rows with its doubled source; 2 has 3; 3 has none, as recorded.
        ("integrity_n_dia_sources", [(1, 2, 3), (2, 4, 3)]),
        ("integrity_object_without_source", [(3,), (3,), (4,), (4,)]),
        ("integrity_several_current_versions", [(3, 2), (4, 2)]),
        # 92 has no object to begin with: its diaObjectId is 0.
        ("integrity_source_without_object", [(91, 9)]),
    ],
)
def test_what_contradicts_itself_is_listed(reruns, view, expected):
    rows = reruns.sql(f"select * from {view} order by all").rows()
    assert {row.pop("rerun") for row in rows} == {"a"}
    assert [tuple(row.values()) for row in rows] == expected


def test_flags_that_no_source_has_are_listed_with_their_part_in_good(reruns):
    rows = reruns.sql("select * from integrity_unset_flag").rows()
    found = {row["flag"]: row["is_bad"] for row in rows}
    in_file = {row["flag"] for row in reruns.sql("select flag from file_flag where is_in_file")}
    assert set(found) == in_file - {"pixelFlags_edge"}
    assert {flag for flag, is_bad in found.items() if is_bad} == set(schema.FLAG_SETS["dm25125"])
