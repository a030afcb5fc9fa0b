"""What is presumed of a table while it is read is checked for every row of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck import importing
from hitsduck.errors import BadValueError, RerunChangedError
from hitsduck.inspection import inspect

N_ROWS = 2500
#: With so many rows every second row id from 1 is sampled.
NOT_SAMPLED = 2
SOURCE = {
    "visit": 410985,
    "detector": 5,
    "ra": 150.0,
    "dec": 2.0,
    "x": 9.0,
    "y": 9.5,
    "psfFlux": 3.0,
    "diaObjectId": 1,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an APDB of `N_ROWS` sources that differ in their ids alone."""
    path = make_apdb(
        tmp_path_factory.mktemp("plain") / "a.db",
        sources=[SOURCE | {"diaSourceId": 1 + number} for number in range(N_ROWS)],
        objects=[{"diaObjectId": 1}],
        metadata={"instrument": "DECam"},
        constraints=False,
    )
    with closing(sqlite3.connect(path)) as connection:
        rowids = connection.execute("select min(rowid), max(rowid) from DiaSource").fetchone()
    assert rowids == (1, N_ROWS)
    return path


def changed(plain: Path, folder: Path, *changes: str) -> Path:
    """Return a copy of the file after some statements of SQLite."""
    path = folder / "a.db"
    path.write_bytes(plain.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        for change in changes:
            connection.execute(change)
    return path


def stored(path: Path, folder: Path, query: str) -> list[tuple[Any, ...]]:
    """Make a workspace; ask it `query`, in which ``t`` stands for its sources."""
    with hitsduck.open_reruns({"a": path}) as reruns:
        made = reruns.materialize(folder / "w.duckdb", overwrite=True)
    with closing(duckdb.connect(str(made), read_only=True)) as connection:
        return connection.execute(f'with t as (from a."DiaSource") {query}').fetchall()


def written(path: Path, folder: Path) -> list[str]:
    """Make a workspace; return the statements that wrote its sources."""
    writes: list[str] = []
    true_select = importing._select

    def noted(table: str, *given: Any) -> str:
        sql = true_select(table, *given)
        if table == "DiaSource":
            writes.append(sql)
        return sql

    with pytest.MonkeyPatch.context() as patch, hitsduck.open_reruns({"a": path}) as reruns:
        patch.setattr(importing, "_select", noted)
        reruns.materialize(folder / "noted.duckdb")
    return writes


def test_columns_of_one_value_are_stored_without_being_read(plain: Path, tmp_path: Path):
    (sql,) = written(plain, tmp_path)
    assert "cast('9.0' as DOUBLE) as \"x\"" in sql
    assert "cast('410985' as BIGINT) as \"visit\"" in sql
    assert 'cast(null as DOUBLE) as "trailFlux"' in sql
    assert 'as "diaSourceId" from' not in sql.split("from (")[1].split('"ra"')[0]
    query = (
        "select count(*), min(x), max(x), count(trailFlux), min(visit), max(visit), "
        "bool_or(pixelFlags_bad), count(distinct diaSourceId), typeof(any_value(x)) from t"
    )
    assert stored(plain, tmp_path, query) == [
        (N_ROWS, 9.0, 9.0, 0, 410985, 410985, False, N_ROWS, "FLOAT")
    ]


@pytest.mark.parametrize(
    ("change", "query", "expected"),
    [
        # 2499 rows at 9.0 and one at 8.0
        ("x = 8", "select sum(x), min(x), max(x) from t", (22499.0, 8.0, 9.0)),
        ("x = null", "select sum(x), count(x) from t", (22491.0, 2499)),
        ("trailFlux = 7", "select sum(trailFlux), count(trailFlux) from t", (7.0, 1)),
        ("detector = 6", "select sum(detector), count(*) from t", (5 * 2499 + 6, 2500)),
        ("pixelFlags_bad = 1", "select count(*) from t where pixelFlags_bad", (1,)),
        ("band = 'i'", "select count(*) from t where band = 'i'", (1,)),
    ],
)
def test_one_other_value_in_a_row_that_was_not_sampled_is_stored(
    plain: Path, tmp_path: Path, change: str, query: str, expected: tuple[Any, ...]
):
    path = changed(plain, tmp_path, f"update DiaSource set {change} where rowid = {NOT_SAMPLED}")
    assert stored(path, tmp_path, query) == [expected]
    with hitsduck.open_reruns({"a": path}) as reruns:
        out = reruns.export("a", tmp_path / "out")
    with closing(duckdb.connect()) as connection:
        files = f"from read_parquet('{out}/DiaSource/*.parquet')"
        assert connection.execute(f"with t as ({files}) {query}").fetchall() == [expected]


def test_sqlite_tells_what_is_not_as_presumed_and_sums_all(plain: Path, tmp_path: Path):
    path = changed(
        plain, tmp_path, f"update DiaSource set x = 8, dec = null where rowid = {NOT_SAMPLED}"
    )
    numbers = {"diaSourceId": "diaSourceId", "x": "x", "y": "y", "dec": "dec"}
    presumed: Mapping[str, float | None] = {"x": 9.0, "y": 9.5, "dec": 2.0, "trailFlux": None}
    told = importing.ask_sqlite(inspect(path), "DiaSource", numbers, presumed)
    assert told.n_rows == N_ROWS
    assert told.varied == {"x", "dec"}
    # 1 + ... + 2500; 2499 * 9 + 8; 2500 * 9.5; 2499 * 2
    assert told.sums == {"diaSourceId": 3126250.0, "x": 22499.0, "y": 23750.0, "dec": 4998.0}
    told = importing.ask_sqlite(inspect(plain), "DiaSource", numbers, presumed)
    assert told.varied == frozenset()
    assert told.sums == {"diaSourceId": 3126250.0, "x": 22500.0, "y": 23750.0, "dec": 5000.0}


def test_texts_and_times_are_not_summed(plain: Path):
    file = inspect(plain)
    names = ["diaSourceId", "x", "band", "visit"]
    assert importing.summed_columns(file, "DiaSource", names) == {
        "diaSourceId": "diaSourceId",
        "x": "x",
        "visit": "visit",
    }


def test_floats_that_need_64_bits_in_rows_not_sampled_keep_them(plain: Path, tmp_path: Path):
    path = changed(
        plain,
        tmp_path,
        "update DiaSource set psfFlux = rowid, x = rowid, y = rowid",
        f"update DiaSource set psfFlux = 0.1, x = 1e116 where rowid = {NOT_SAMPLED}",
    )
    query = (
        "select typeof(psfFlux), psfFlux, typeof(x), x, typeof(y), y from t where diaSourceId = 2"
    )
    assert stored(path, tmp_path, query) == [("DOUBLE", 0.1, "DOUBLE", 1e116, "FLOAT", 2.0)]
    # The first was refused; the second knows of both.
    assert len(written(path, tmp_path)) == 2


def test_floats_of_64_bits_in_a_sampled_row_cost_no_second_writing(plain: Path, tmp_path: Path):
    path = changed(plain, tmp_path, "update DiaSource set psfFlux = 0.1, x = 0.1 * rowid")
    query = "select typeof(psfFlux), psfFlux, typeof(x), x from t where diaSourceId = 3"
    assert stored(path, tmp_path, query) == [("DOUBLE", 0.1, "DOUBLE", 0.1 * 3)]
    assert len(written(path, tmp_path)) == 1


@pytest.mark.parametrize("is_sorted", [True, False])
def test_rows_end_in_order_whatever_theirs_was(plain: Path, tmp_path: Path, is_sorted: bool):
    if is_sorted:
        change = "update DiaSource set visit = 1 + rowid / 50, detector = 1 + rowid % 50 / 10"
    else:
        change = "update DiaSource set visit = 1 + rowid * 7919 % 50, detector = 1 + rowid / 50 % 5"
    path = changed(plain, tmp_path, change)
    keys = stored(
        path, tmp_path, 'select visit, detector, diaSourceId from a."DiaSource" order by rowid'
    )
    assert len(keys) == N_ROWS
    assert keys == sorted(keys)
    assert len({key[:2] for key in keys}) > 200


@pytest.mark.parametrize("where", [f"where rowid = {NOT_SAMPLED}", "where rowid = 3", ""])
@pytest.mark.parametrize("column", ["x", "trailFlux", "detector"])
def test_a_cell_of_another_kind_is_told_wherever_it_is(
    plain: Path, tmp_path: Path, where: str, column: str
):
    path = changed(plain, tmp_path, f"update DiaSource set {column} = 'bad' {where}")
    with (
        hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns,
        pytest.raises(BadValueError, match=rf"a\.db\): DiaSource\.{column} .*: 'bad'"),
    ):
        reruns.materialize(tmp_path / "w.duckdb")
    assert not (tmp_path / "w.duckdb").exists()


def test_a_row_that_is_not_stored_is_noticed(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    true_select = importing._select
    monkeypatch.setattr(
        importing, "_select", lambda *given: f"select * from ({true_select(*given)}) limit 2499"
    )
    with (
        hitsduck.open_reruns({"a": plain}) as reruns,
        pytest.raises(RerunChangedError, match="2499 rows where SQLite counts 2500"),
    ):
        reruns.materialize(tmp_path / "w.duckdb")
    assert list(tmp_path.iterdir()) == []


def test_a_column_that_is_given_wrongly_is_noticed(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    true_source = importing.Importer._with_constants

    def wrong(self: importing.Importer, source: str, constants: Mapping[str, Any]) -> str:
        return true_source(self, source, {**constants, "x": 10.0} if "x" in constants else {})

    monkeypatch.setattr(importing.Importer, "_with_constants", wrong)
    with (
        hitsduck.open_reruns({"a": plain}) as reruns,
        pytest.raises(RerunChangedError, match=r"x: a sum of 25000.0 where SQLite has 22500.0"),
    ):
        reruns.materialize(tmp_path / "w.duckdb")


def test_empty_tables_are_stored_as_such(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", metadata={"instrument": "DECam"})
    assert stored(path, tmp_path, "select count(*), count(x) from t") == [(0, 0)]
