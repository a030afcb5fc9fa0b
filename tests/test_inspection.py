"""What one SQLite file is, asked of SQLite itself."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from apdb_files import GENERATIONS, make_apdb

import hitsduck
from hitsduck import inspection
from hitsduck.errors import (
    IncompleteWarning,
    NotAnApdbError,
    RerunChangedError,
    RerunCopyWarning,
    RerunNotFoundError,
)

SOURCE = {"visit": 410985, "detector": 5, "ra": 150.0, "dec": 2.0, "x": 1.0, "y": 2.0}


def change(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


# -- the file --------------------------------------------------------------------------------


def test_a_file_is_taken_as_it_is_named(tmp_path: Path):
    path = tmp_path / "anything.at.all"
    path.write_bytes(b"not looked at yet")
    assert inspection.find_apdb(path) == path
    assert inspection.find_apdb(str(path)) == path


@pytest.mark.parametrize(
    ("path", "said"),
    [("x" * 5000, "File name too long"), (None, "None is no path"), (7, "7 is no path")],
)
def test_what_can_be_no_path_is_told(path: Any, said: str):
    with pytest.raises(RerunNotFoundError, match=said):
        inspection.find_apdb(path)


def test_the_path_stands_once_in_a_complaint(tmp_path: Path):
    with pytest.raises(RerunNotFoundError) as error:
        inspection.find_apdb(tmp_path / "nowhere")
    assert str(error.value) == f"{tmp_path}/nowhere: no such file or folder"


def test_a_link_to_a_file_is_kept_as_the_user_named_it(tmp_path: Path):
    path = make_apdb(tmp_path / "data" / "a.db")
    link = tmp_path / "june.db"
    link.symlink_to(path)
    assert inspection.find_apdb(link) == link
    assert inspection.inspect(link).path == link


def test_an_apdb_of_a_folder_is_told_by_its_tables_and_not_by_its_name(tmp_path: Path):
    path = make_apdb(tmp_path / "no-suffix", prefix="run_")
    change(tmp_path / "other.db", "create table DiaSource (a)")
    assert inspection.find_apdb(tmp_path) == path


def test_a_linked_folder_looks_above_its_true_place(tmp_path: Path):
    path = make_apdb(tmp_path / "run" / "association.db")
    (tmp_path / "run" / "output").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run" / "output")
    assert inspection.find_apdb(tmp_path / "link") == path


def test_only_one_folder_above_is_looked_at(tmp_path: Path):
    make_apdb(tmp_path / "association.db")
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(RerunNotFoundError, match="nor has the folder above"):
        inspection.find_apdb(tmp_path / "a" / "b")


def test_the_header_tells_wal_mode(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db")
    assert inspection.check_header(path) is False
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
    assert inspection.check_header(path) is True
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = delete")
    assert inspection.check_header(path) is False


@pytest.mark.parametrize("page_size", [512, 65536])
def test_every_page_size_is_measured(tmp_path: Path, page_size: int):
    path = change(
        tmp_path / "a.db",
        f"pragma page_size = {page_size}",
        "create table DiaSource (a)",
        "create table DiaObject (a)",
    )
    assert inspection.check_header(path) is False
    path.write_bytes(path.read_bytes()[:-1])
    # Two tables and the schema: three pages.
    with pytest.raises(NotAnApdbError, match=f"{3 * page_size - 1} bytes .* says {3 * page_size}"):
        inspection.check_header(path)


def test_a_size_that_an_old_sqlite_did_not_keep_is_not_believed(tmp_path: Path):
    # Before SQLite 3.7 the number of pages in the header could be stale; then the
    # change counter at byte 24 differs from the one at byte 92 (SQLite's file format).
    path = make_apdb(tmp_path / "a.db", sources=[SOURCE])
    content = bytearray(path.read_bytes())
    content[28:32] = (10**6).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    with pytest.raises(NotAnApdbError, match="cut off"):
        inspection.check_header(path)
    content[92:96] = (int.from_bytes(content[24:28], "big") + 1).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    assert inspection.check_header(path) is False


# -- the tables ------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("prefix", ["", "run5_", "it's ", 'a"b_'])
def test_tables_and_columns_are_found_under_any_prefix(
    tmp_path: Path, generation: str, prefix: str
):
    path = make_apdb(
        tmp_path / "a.db",
        generation=generation,
        prefix=prefix,
        metadata={"instrument": "DECam"},
        objects_last=[],
    )
    found = inspection.inspect(path)
    assert found.prefix == prefix
    assert {"DiaSource", "DiaObject", "DiaForcedSource", "DiaObjectLast", "metadata"} <= set(
        found.tables
    )
    assert found.table_name("DiaSource") == f"{prefix}DiaSource"
    assert found.metadata["instrument"] == "DECam"
    with closing(sqlite3.connect(path)) as connection:
        table = (prefix + "DiaSource").replace('"', '""')
        listed = connection.execute(f'pragma table_info("{table}")').fetchall()
    assert found.tables["DiaSource"] == {row[1]: row[2] for row in listed}


def test_the_tables_without_a_prefix_go_before_those_with_one(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", sources=[SOURCE])
    change(path, "create table old_DiaSource (a)", "create table old_DiaObject (a)")
    with pytest.warns(IncompleteWarning) as given:
        found = inspection.inspect(path)
    assert found.prefix == ""
    (message,) = [str(warning.message) for warning in given]
    assert message.startswith(f"{path}: its tables DiaSource and DiaObject are read")
    assert "old_DiaSource" in message


def test_an_apdb_of_views_is_an_apdb(tmp_path: Path):
    path = make_apdb(
        tmp_path / "a.db", prefix="kept_", sources=[SOURCE] * 3, metadata={"instrument": "DECam"}
    )
    change(
        path,
        "create view DiaSource as select * from kept_DiaSource where diaSourceId < 3",
        "create view DiaObject as select * from kept_DiaObject",
    )
    with hitsduck.open_reruns({"A": path}, instrument="DECam") as reruns:
        assert reruns.counts().rows()[0]["n_dia_sources"] == 2


@pytest.mark.parametrize("columns", ["name text", "key text, value text", "value text"])
def test_a_metadata_table_of_another_shape_is_passed_over(tmp_path: Path, columns: str):
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=[SOURCE])
    change(path, f"create table metadata ({columns})")
    assert inspection.inspect(path).metadata == {}


# -- whether it changed ----------------------------------------------------------------------


def test_an_unchanged_file_passes(tmp_path: Path):
    found = inspection.inspect(make_apdb(tmp_path / "a.db"))
    found.check_unchanged("A")
    found.path.read_bytes()
    found.check_unchanged("A")


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_file_that_appears_beside_it_is_a_change(tmp_path: Path, suffix: str):
    found = inspection.inspect(make_apdb(tmp_path / "a.db"))
    (tmp_path / f"a.db{suffix}").touch()
    with pytest.raises(RerunChangedError, match=r"rerun 'A': .*a\.db changed while it was open"):
        found.check_unchanged("A")


def test_a_file_that_is_replaced_or_gone_is_a_change(tmp_path: Path):
    found = inspection.inspect(make_apdb(tmp_path / "a.db"))
    make_apdb(tmp_path / "b.db", sources=[SOURCE]).replace(tmp_path / "a.db")
    with pytest.raises(RerunChangedError, match=r"a\.db"):
        found.check_unchanged("A")
    (tmp_path / "a.db").unlink()
    with pytest.raises(RerunChangedError, match=r"a\.db"):
        found.check_unchanged("A")


# -- private copies --------------------------------------------------------------------------


def test_copies_of_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path):
    paths = []
    for number in (1, 2):
        path = make_apdb(tmp_path / str(number) / "association.db", sources=[SOURCE] * number)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("pragma journal_mode = wal")
        paths.append(path)
    copies = tmp_path / "copies"
    found = []
    for path in paths:
        with pytest.warns(RerunCopyWarning, match="private copy"):
            found.append(inspection.inspect(path, copy_folder=copies))
    assert [file.path for file in found] == paths
    assert all(file.readable_path.parent == copies for file in found)
    counts = []
    for file in found:
        with file.reading() as connection:
            counts += connection.execute("select count(*) from DiaSource").fetchone()
    assert counts == [1, 2]


def test_a_copy_takes_the_wal_along(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", sources=[SOURCE])
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("delete from DiaSource")
        with pytest.warns(RerunCopyWarning, match="private copy"):
            found = inspection.inspect(path, copy_folder=tmp_path / "copies")
        with found.reading() as connection:
            assert connection.execute("select count(*) from DiaSource").fetchone() == (0,)


def test_without_a_folder_for_copies_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = make_apdb(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
    with pytest.warns(RerunCopyWarning, match="private copy"):
        found = inspection.inspect(path)
    assert found.readable_path.parent.parent == tmp_path


# -- looking without scanning ----------------------------------------------------------------


@pytest.fixture
def table() -> Iterator[sqlite3.Connection]:
    """Return 5000 rows with rowids 2, 4, ... 10000: group 0 to 9, one odd value."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (id integer primary key, grp integer, odd integer)")
        connection.executemany(
            "insert into t values (?, ?, ?)",
            [(2 * k, k % 10, 1 if k == 4322 else 0) for k in range(1, 5001)],
        )
        yield connection


def test_an_index_gives_every_distinct_value(table: sqlite3.Connection):
    table.execute("create index i on t (odd)")
    assert inspection.distinct_or_sample(table, "t", ["odd"]) == ([(0,), (1,)], True)


def test_a_second_column_of_an_index_and_a_partial_index_are_no_help(table: sqlite3.Connection):
    table.execute("create index i on t (grp, odd)")
    table.execute("create index j on t (odd) where grp = 1")
    rows, is_complete = inspection.distinct_or_sample(table, "t", ["odd"])
    assert is_complete is False
    assert (0,) in rows


def test_the_first_column_of_a_wider_index_helps(table: sqlite3.Connection):
    table.execute("create index i on t (odd, grp)")
    assert inspection.distinct_or_sample(table, "t", ["odd"]) == ([(0,), (1,)], True)


@pytest.mark.parametrize(
    ("values", "distinct"),
    [
        ([], []),
        ([None, None], []),
        ([7, 2**62, -5, 7, None], [-5, 7, 2**62]),
        ([1, "1,2", 2.5, b"3", None, 0], [0, 1, 2.5, "1,2", b"3"]),
        ([1, 2, b"\xff\xfe"], [1, 2, b"\xff\xfe"]),
        (["a", ""], ["", "a"]),
    ],
)
def test_distinct_values_of_an_index_are_what_sqlite_says(
    values: list[object], distinct: list[object]
):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (value)")
        connection.execute("create index i on t (value)")
        connection.executemany("insert into t values (?)", [(value,) for value in values])
        truth = "select distinct value from t where value is not null order by value"
        assert [value for (value,) in connection.execute(truth)] == distinct
        found = inspection.distinct_or_sample(connection, "t", ["value"])
    assert found == ([(value,) for value in distinct], True)
    assert [type(row[0]) for row in found[0]] == [type(value) for value in distinct]


def test_nulls_are_left_out_of_distinct_values(table: sqlite3.Connection):
    table.execute("update t set odd = null where id < 100")
    assert inspection.distinct_or_sample(table, "t", ["odd"])[0] == [(0,)]
    table.execute("create index i on t (odd)")
    assert inspection.distinct_or_sample(table, "t", ["odd"]) == ([(0,), (1,)], True)


def test_an_empty_table_is_known_completely(table: sqlite3.Connection):
    table.execute("delete from t")
    assert inspection.distinct_or_sample(table, "t", ["odd"]) == ([], True)
    table.execute("create index i on t (odd)")
    assert inspection.distinct_or_sample(table, "t", ["odd"]) == ([], True)


def test_a_sample_is_spread_over_the_whole_table(table: sqlite3.Connection):
    rows, is_complete = inspection.sample(table, "t", ["id", "grp"])
    # Rowids 2 to 10000 in 1000 steps of 9: 2, 11, 20 ... of which every second is even.
    assert is_complete is False
    assert [row[0] for row in rows] == [k for k in range(2, 2 + 9 * 1000, 9) if k % 2 == 0]
    assert len(rows) == 500


def test_a_small_table_is_looked_at_completely(table: sqlite3.Connection):
    table.execute("delete from t where id > 2000")
    rows, is_complete = inspection.sample(table, "t", ["id"])
    assert (len(rows), is_complete) == (1000, True)


def test_sparse_rowids_fall_back_to_the_first_rows(table: sqlite3.Connection):
    table.execute("update t set id = id * 1000003")
    rows, is_complete = inspection.sample(table, "t", ["id"])
    assert (len(rows), is_complete) == (1000, False)
    assert rows[0] == (2 * 1000003,)


def test_a_table_without_rowids_falls_back_to_the_first_rows(table: sqlite3.Connection):
    table.execute("create table w (id integer primary key, grp integer) without rowid")
    table.execute("insert into w select id, grp from t")
    rows, is_complete = inspection.sample(table, "w", ["id"])
    assert (len(rows), is_complete) == (1000, False)


def test_offending_cells_are_counted_and_five_are_shown(table: sqlite3.Connection):
    table.execute("update t set grp = 'abc' where id <= 14")
    table.execute("update t set grp = null where id = 16")
    assert inspection.offending_cells(table, "t", "grp", ["integer"]) == (
        7,
        [(2 * k, "abc") for k in range(1, 6)],
    )
    assert inspection.offending_cells(table, "t", "grp", ["integer", "text"]) == (0, [])
    assert inspection.offending_cells(table, "t", "grp", ["integer", "text"], "abc")[0] == 7


def test_opening_does_not_scan_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connect = inspection._connect

    def connect_and_count(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
        connection = connect(path, immutable=immutable)
        connection.set_progress_handler(count, 10)
        return connection

    monkeypatch.setattr(inspection, "_connect", connect_and_count)
    found = {}
    for generation in ("2020", "10.0.0"):
        for n_sources in (2000, 50_000):
            path = make_apdb(
                tmp_path / f"{generation}-{n_sources}.db",
                generation=generation,
                sources=[SOURCE],
                metadata={"instrument": "DECam"},
            )
            listed = "diaSourceId, diaObjectId, ra, x, y, "
            own = (
                "decl, ccdVisitId"
                if generation == "2020"
                else "dec, visit, detector, psfNdata, dipoleNdata, bboxSize, pixelId, "
                "timeProcessedMjdTai, midpointMjdTai"
            )
            values = "2, 41098505" if generation == "2020" else "2, 410985, 5, 1, 1, 1, 1, 1, 1"
            change(
                path,
                f"with recursive k (i) as (select 2 union all select i + 1 from k where i < "
                f"{n_sources}) insert into DiaSource ({listed}{own}) "
                f"select i, i, 150.0, 1, 1, {values} from k",
            )
            steps = 0
            hitsduck.open_reruns({"A": path}).close()
            found[generation, n_sources] = steps
    # 25 times as many rows, and at most a quarter more work.
    for generation in ("2020", "10.0.0"):
        assert 0 < found[generation, 50_000] < 1.25 * found[generation, 2000]


def test_the_path_may_hold_what_means_something_in_a_uri(tmp_path: Path):
    path = make_apdb(tmp_path / "a?mode=rwc&x=#b %20.db", sources=[SOURCE])
    before = sorted(os.listdir(tmp_path))
    with inspection.reading(path) as connection:
        assert connection.execute("select count(*) from DiaSource").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("delete from DiaSource")
    assert sorted(os.listdir(tmp_path)) == before


def test_one_pass_tells_which_columns_have_offending_cells():
    rows = [(1, 2.5, "a", 1), (2, "x", None, 2), (3, None, b"b", "late")]
    numbers = ("integer", "real")
    asked = {
        "whole": (("integer",), None),
        "number": (numbers, None),
        "anything": (("integer", "real", "text", "blob"), None),
        "stamp": (("integer", "text"), "late"),
    }
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute('create table "a b" (whole, number, anything, stamp)')
        assert inspection.suspects(connection, "a b", asked, is_text=True) == []
        connection.executemany('insert into "a b" values (?, ?, ?, ?)', rows)
        found = inspection.suspects(connection, "a b", asked, is_text=False)
        assert found == ["number", "stamp"]
        assert found == [
            name
            for name, (allowed, refused) in asked.items()
            if inspection.offending_cells(connection, "a b", name, allowed, refused)[0]
        ]
        assert inspection.suspects(connection, "a b", asked, is_text=True) == [
            "number",
            "anything",
            "stamp",
        ]
        assert inspection.suspects(connection, "a b", {}, is_text=True) == []
