"""DuckDB's SQLite reader answers wrongly in known ways; hitsduck may in none.

Each trap is shown twice: an engine without the protection falls into it (where
that assertion fails, the engine was mended and its protection can go,
docs/engine.md), and hitsduck does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from apdb_files import make_apdb
from hypothesis import given, settings
from hypothesis import strategies as st

import hitsduck
from hitsduck import canary, inspection
from hitsduck import connection as engine
from hitsduck.connection import PROTECTIONS, Connection
from hitsduck.errors import (
    BadValueError,
    EngineError,
    HitsduckError,
    QueryError,
    RerunChangedError,
)

SLICE = 122_880
THREADS = (1, 2)
#: Name -> number of sources; the first two fill whole slices of the reader.
SLICE_SIZES = {"one": SLICE, "two": 2 * SLICE, "more": SLICE + 1}
N_OBJECTS = {"one": 900, "two": 1000, "more": 1100}

#: How a user may ask for one number of several reruns in one statement.
COMBINED = {
    "union all": "select {x} from {a} union all select {x} from {b} union all select {x} from {c}",
    "scalar subqueries": (
        "select unnest([(select {x} from {a}), (select {x} from {b}), (select {x} from {c})])"
    ),
    "ctes": (
        "with a as (select {x} as n from {a}), b as (select {x} as n from {b}), "
        "c as (select {x} as n from {c}) "
        "select n from a union all select n from b union all select n from c"
    ),
    "cross join": (
        "select unnest([a.n, b.n, c.n]) from (select {x} as n from {a}) as a, "
        "(select {x} as n from {b}) as b, (select {x} as n from {c}) as c"
    ),
    "grouped union": (
        "select n from (select 1 as k, {x} as n from {a} union all select 2, {x} from {b} "
        "union all select 3, {x} from {c}) order by k"
    ),
}
GOOD = "count(*) filter (where not pixelFlags_bad)"


def quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


@contextmanager
def raw_engine(
    threads: int = 2, settings: Sequence[str] = (), **config: Any
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB with its SQLite reader and nothing of hitsduck's protections."""
    connection = duckdb.connect(config={"threads": threads, **config})
    try:
        connection.execute(f"load {quoted(packaged_extension())}")
        for setting in settings:
            connection.execute(setting)
        yield connection
    finally:
        connection.close()


def packaged_extension() -> Path:
    file = engine._extension_file()
    assert file is not None
    return file


def attach_raw(
    connection: duckdb.DuckDBPyConnection, files: Mapping[str, Path], options: str = ", read_only"
) -> None:
    """Attach files and lay a view ``<name>_sources`` over each DiaSource."""
    for name, path in files.items():
        connection.execute(f"attach {quoted(path)} as {name} (type sqlite{options})")
        connection.execute(
            f"create or replace view {name}_sources as select diaSourceId, diaObjectId, visit, "
            f"detector, cast(pixelFlags_bad as boolean) as pixelFlags_bad from {name}.DiaSource"
        )


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return name -> (size, mtime, digest) of every file in a folder."""
    return {
        file.name: (
            file.stat().st_size,
            file.stat().st_mtime_ns,
            hashlib.sha256(file.read_bytes()).hexdigest(),
        )
        for file in sorted(folder.iterdir())
    }


def sources(count: int, **values: Any) -> list[dict[str, Any]]:
    plain = {"visit": 410985, "detector": 5, "ra": 150.0, "dec": 2.0, "x": 100.0, "y": 100.0}
    return [plain | {"diaObjectId": number} | values for number in range(1, count + 1)]


def objects(count: int) -> list[dict[str, Any]]:
    return [{"diaObjectId": number, "ra": 150.0, "dec": 2.0} for number in range(1, count + 1)]


@pytest.fixture(scope="module")
def slice_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return three files whose numbers of sources meet the ends of the reader's slices."""
    folder = tmp_path_factory.mktemp("slices")
    files = {}
    for name, n_sources in SLICE_SIZES.items():
        path = files[name] = folder / f"{name}.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("pragma journal_mode = off")
            connection.execute("pragma synchronous = off")
            connection.execute(
                "create table DiaSource (diaSourceId bigint not null, diaObjectId bigint, "
                "visit bigint not null, detector smallint not null, ra double, dec double, "
                "pixelFlags_bad boolean)"
            )
            connection.execute(
                "create table DiaObject (diaObjectId bigint not null, validityEndMjdTai double)"
            )
            connection.execute("create table metadata (name text, value text)")
            connection.execute("insert into metadata values ('instrument', 'DECam')")
            connection.execute(
                "with recursive k (i) as (select 1 union all select i + 1 from k where i < ?) "
                "insert into DiaSource select i, i % ? + 1, 410985, 5, 150, 2, i % 7 = 0 from k",
                (n_sources, N_OBJECTS[name]),
            )
            # One object more than the sources name: current, and without a source.
            connection.execute(
                "with recursive k (i) as (select 1 union all select i + 1 from k where i <= ?) "
                "insert into DiaObject select i, null from k",
                (N_OBJECTS[name],),
            )
    return files


@pytest.fixture(scope="module", params=THREADS, ids=["1 thread", "2 threads"])
def slices(
    request: pytest.FixtureRequest, slice_files: dict[str, Path]
) -> Iterator[hitsduck.Reruns]:
    with hitsduck.open_reruns(slice_files, threads=request.param, bad_flags="bad") as reruns:
        yield reruns


def make_pair(folder: Path) -> dict[str, Path]:
    """Write two files of the same shape: 3 sources, 1 of them bad, and 5, 2 of them bad."""
    return {
        "april": make_apdb(
            folder / "april.db",
            sources=sources(1, pixelFlags_bad=True) + sources(2),
            objects=objects(2),
            metadata={"instrument": "DECam"},
        ),
        "june": make_apdb(
            folder / "june.db",
            sources=sources(2, pixelFlags_bad=True) + sources(3),
            objects=objects(3),
            metadata={"instrument": "DECam"},
        ),
    }


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Path]:
    """Return the pair of files of `make_pair`, the only ones in `tmp_path`."""
    return make_pair(tmp_path)


@pytest.fixture(scope="module", params=THREADS, ids=["1 thread", "2 threads"])
def opened_pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[hitsduck.Reruns]:
    """Return the pair of `make_pair`, opened; for tests that only ask."""
    files = make_pair(tmp_path_factory.mktemp("pair"))
    with hitsduck.open_reruns(files, threads=request.param) as reruns:
        yield reruns


def numbers(rows: Sequence[Sequence[Any]]) -> list[int]:
    return [int(row[0]) for row in rows]


def ask(reruns: hitsduck.Reruns, query: str) -> list[int]:
    """Return the first column of a query."""
    result = reruns.sql(query)
    return [int(row[result.columns[0]]) for row in result.rows()]


def truth(files: Mapping[str, Path], expression: str) -> list[int]:
    """Ask sqlite3 for one number of the DiaSource of each file."""
    answers = []
    for path in files.values():
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            answers += connection.execute(f"select {expression} from DiaSource").fetchone()
    return answers


# -- traps 1 and 2: merged scans, the lost last row ------------------------------------------


def test_counts_are_those_of_sqlite_where_rows_fill_whole_slices(
    slices: hitsduck.Reruns, slice_files: dict[str, Path]
):
    # Every seventh source is bad: 122880 // 7 = 17554, 245760 // 7 = 35108, 122881 // 7 = 17554.
    expected = [
        ("one", 122_880, 105_326, 901, 900),
        ("two", 245_760, 210_652, 1001, 1000),
        ("more", 122_881, 105_327, 1101, 1100),
    ]
    assert [tuple(row.values()) for row in slices.counts().rows()] == expected
    assert truth(slice_files, "count(*)") == [row[1] for row in expected]
    assert truth(slice_files, "sum(not pixelFlags_bad)") == [row[2] for row in expected]


@pytest.mark.parametrize("expression", ["count(*)", GOOD, "sum(diaSourceId)"])
@pytest.mark.parametrize("shape", COMBINED)
def test_one_statement_over_three_reruns_gives_each_its_own_number(
    slices: hitsduck.Reruns, slice_files: dict[str, Path], shape: str, expression: str
):
    query = COMBINED[shape].format(
        x=expression, a="one.dia_source", b="two.dia_source", c="more.dia_source"
    )
    in_sqlite = "sum(not pixelFlags_bad)" if expression == GOOD else expression
    assert ask(slices, query) == truth(slice_files, in_sqlite)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "select count(*) as n from dia_source group by rerun order by n",
            [122_880, 122_881, 245_760],
        ),
        (
            "select count(*) as n from good_dia_source group by rerun order by n",
            [105_326, 105_327, 210_652],
        ),
        (
            "select n_good_dia_sources as n from rerun_counts order by n",
            [105_326, 105_327, 210_652],
        ),
        ("select n_dia_sources as n from visit_summary order by n", [122_880, 122_881, 245_760]),
        # 122,880 + 245,760 + 122,881
        ("select count(*) from dia_source", [491_521]),
        # 17,554 + 35,108 + 17,554
        ("select count(*) from dia_source where not is_good", [70_216]),
    ],
)
def test_the_views_over_all_reruns_hold_every_row_of_each(
    slices: hitsduck.Reruns, query: str, expected: list[int]
):
    assert ask(slices, query) == expected


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", COMBINED)
def test_without_protection_the_first_file_answers_for_all_three(
    slice_files: dict[str, Path], shape: str, threads: int
):
    query = COMBINED[shape].format(x=GOOD, a="one_sources", b="two_sources", c="more_sources")
    with raw_engine(threads) as connection:
        attach_raw(connection, slice_files)
        answers = numbers(connection.execute(query).fetchall())
    assert truth(slice_files, "sum(not pixelFlags_bad)") == [105_326, 210_652, 105_327]
    assert answers == [answers[0]] * 3


def test_without_protection_two_threads_lose_the_last_row_of_whole_slices(
    slice_files: dict[str, Path],
):
    with raw_engine(2) as connection:
        attach_raw(connection, slice_files)
        found = [
            numbers(connection.execute(f"select count(*) from {name}_sources").fetchall())[0]
            for name in slice_files
        ]
    assert found == [122_879, 245_759, 122_881]


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 300,000 sources, whose row ids end far from any slice of the reader."""
    path = tmp_path_factory.mktemp("long") / "long.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma journal_mode = off")
        connection.execute(
            "create table DiaSource (diaSourceId bigint not null, diaObjectId bigint, visit bigint "
            "not null, detector smallint not null, ra double, dec double, pixelFlags_bad boolean)"
        )
        connection.execute("create table DiaObject (diaObjectId bigint, validityEndMjdTai double)")
        connection.execute(
            "with recursive k (i) as (select 1 union all select i + 1 from k where i < 300000) "
            "insert into DiaSource select i, i % 1000, 410985, 5, 150, 2, i % 7 = 0 from k"
        )
    return path


def shares_scans(reruns: hitsduck.Reruns) -> bool:
    query = "select current_setting('sqlite_disable_multithreaded_scans') as alone"
    return not reruns.connection.execute(query).fetchall()[0][0]


def test_threads_share_the_scan_of_a_file_that_can_lose_no_row(
    long_file: Path, slice_files: dict[str, Path]
):
    with hitsduck.open_reruns({"long": long_file}, instrument="DECam", bad_flags="bad") as reruns:
        assert shares_scans(reruns)
        (row,) = reruns.counts().rows()
    # 300,000 - 300,000 // 7 = 257,143
    assert (row["n_dia_sources"], row["n_good_dia_sources"]) == (300_000, 257_143)
    assert truth({"long": long_file}, "sum(not pixelFlags_bad)") == [257_143]
    both = {"long": long_file, "one": slice_files["one"]}
    with hitsduck.open_reruns(both, instrument="DECam", bad_flags="bad") as reruns:
        assert not shares_scans(reruns)
        assert [row["n_dia_sources"] for row in reruns.counts().rows()] == [300_000, 122_880]


@pytest.mark.parametrize(
    ("first", "n_slices", "beyond"),
    [(first, n, beyond) for first in (-7, 0, 1, 5) for n in (1, 2) for beyond in (-40, -1, 0, 1)]
    + [(1, n, beyond) for n in (0, 1, 2) for beyond in (-18, -17, -16, 15, 16, 17, 18, 40)],
)
def test_two_threads_lose_a_row_only_where_a_table_is_left_to_one(
    tmp_path: Path, first: int, n_slices: int, beyond: int
):
    last = first + n_slices * SLICE + beyond - 1
    if last <= first:
        pytest.skip("no such span")
    path = tmp_path / "two.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table DiaSource (diaSourceId integer primary key)")
        connection.executemany("insert into DiaSource values (?)", [(first,), (last,)])
    with raw_engine(2) as connection:
        connection.execute(f"attach {quoted(path)} as two (type sqlite, read_only)")
        (found,) = numbers(connection.execute("select count(*) from two.DiaSource").fetchall())
    assert found == 2 or not inspection.can_be_sliced((first, last))


def test_a_file_with_a_view_or_a_table_without_row_ids_is_left_to_one_thread(tmp_path: Path):
    statements = [
        "create view Seen as select * from DiaSource",
        "create table Keyed (id integer primary key, v int) without rowid",
        "create table Named (rowid text)",
    ]
    for number, statement in enumerate(statements):
        path = make_apdb(tmp_path / f"{number}.db", sources=sources(3), objects=objects(3))
        assert inspection.inspect(path).can_be_sliced
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
            if "Named" in statement:
                connection.execute("insert into Named values ('x')")
        assert not inspection.inspect(path).can_be_sliced, statement


def test_sqlite_scan_loses_the_last_row_even_with_the_setting(slice_files: dict[str, Path]):
    # The reason why files are attached and never read by sqlite_scan.
    query = f"select count(*) from sqlite_scan({quoted(slice_files['one'])}, 'DiaSource')"
    with raw_engine(2, PROTECTIONS) as connection:
        assert numbers(connection.execute(query).fetchall()) == [122_879]


@pytest.mark.parametrize("left_out", range(len(PROTECTIONS)))
def test_each_protection_is_needed(slice_files: dict[str, Path], left_out: int):
    kept = [setting for number, setting in enumerate(PROTECTIONS) if number != left_out]
    query = COMBINED["union all"].format(x=GOOD, a="one_sources", b="two_sources", c="more_sources")
    with raw_engine(2, kept) as connection:
        attach_raw(connection, slice_files)
        without = numbers(connection.execute(query).fetchall())
    with raw_engine(2, PROTECTIONS) as connection:
        attach_raw(connection, slice_files)
        protected = numbers(connection.execute(query).fetchall())
    assert protected == [105_326, 210_652, 105_327]
    assert without != protected


def test_the_protections_hold_for_the_threads_of_a_user(slices: hitsduck.Reruns):
    # A thread has a cursor of its own, which starts from the global settings alone.
    found: dict[int, list[int]] = {}

    def count(number: int) -> None:
        found[number] = [row["n_dia_sources"] for row in slices.counts().rows()]

    threads = [threading.Thread(target=count, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [122_880, 245_760, 122_881] for number in range(2)}


def test_without_global_settings_the_cursor_of_a_thread_loses_a_row(slice_files: dict[str, Path]):
    of_the_session = [setting.replace("set global ", "set ") for setting in PROTECTIONS]
    with raw_engine(2, of_the_session) as connection:
        attach_raw(connection, slice_files)
        count = "select count(*) from one_sources"
        assert numbers(connection.execute(count).fetchall()) == [122_880]
        assert numbers(connection.cursor().execute(count).fetchall()) == [122_879]


@pytest.mark.parametrize("shape", COMBINED)
def test_a_small_pair_is_told_apart_in_every_shape(opened_pair: hitsduck.Reruns, shape: str):
    query = COMBINED[shape].format(
        x="count(*) filter (where is_good)",
        a="april.dia_source",
        b="june.dia_source",
        c="june.good_dia_source",
    )
    # april: 2 of 3 are good; june: 3 of 5.
    assert ask(opened_pair, query) == [2, 3, 3]


def test_a_comparison_of_two_reruns_counts_each_from_its_own_file(opened_pair: hitsduck.Reruns):
    # april and june lie at one position, all in one image: 3 and 5 sources.
    summary = opened_pair.compare("april", "june", good=False).summary()
    assert (summary["n_left"], summary["n_right"]) == (3, 5)


# A language of small queries that sqlite3 and DuckDB both read, over two files.
RELATIONS = st.sampled_from(["april", "june"])
AGGREGATES = st.sampled_from(
    [
        "count(*)",
        "count(diaObjectId)",
        "count(distinct diaObjectId)",
        "sum(diaSourceId)",
        "sum(case when pixelFlags_bad = true then 1 else 0 end)",
        "min(diaObjectId)",
        "max(diaSourceId)",
    ]
)
CONDITIONS = st.sampled_from(
    [
        "1 = 1",
        "pixelFlags_bad = true",
        "pixelFlags_bad = false",
        "diaSourceId > 2",
        "diaObjectId in (select diaObjectId from {april} where pixelFlags_bad = false)",
        "diaObjectId in (select diaObjectId from {june} where pixelFlags_bad = true)",
        "exists (select 1 from {june} as other where other.diaSourceId = s.diaSourceId + 1)",
    ]
)
ONE = st.builds(
    lambda relation, aggregate, condition: (
        f"select {aggregate} as n from {{{relation}}} as s where {condition}"
    ),
    RELATIONS,
    AGGREGATES,
    CONDITIONS,
)


def _together(parts: list[str], how: str) -> str:
    if how == "union all":
        return " union all ".join(
            f"select {number} as k, n from ({part}) as p" for number, part in enumerate(parts)
        )
    if how == "scalar":
        return " union all ".join(
            f"select {number} as k, ({part}) as n" for number, part in enumerate(parts)
        )
    names = [f"step_{number}" for number in range(len(parts))]
    steps = ", ".join(f"{name} as ({part})" for name, part in zip(names, parts, strict=True))
    rows = " union all ".join(f"select {k} as k, n from {name}" for k, name in enumerate(names))
    # Every step is used a second time.
    again = " union all ".join(
        f"select {len(names) + k}, n from {name}" for k, name in enumerate(names)
    )
    return f"with {steps} {rows} union all {again}"


STATEMENTS = st.builds(
    _together,
    st.lists(ONE, min_size=2, max_size=4),
    st.sampled_from(["union all", "scalar", "ctes"]),
)


@pytest.fixture(scope="module")
def two_shapes(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[hitsduck.Reruns, sqlite3.Connection]]:
    files = make_pair(tmp_path_factory.mktemp("shapes"))
    with (
        hitsduck.open_reruns(files, threads=2) as reruns,
        closing(sqlite3.connect(":memory:")) as plain,
    ):
        for name, path in files.items():
            plain.execute(f"attach ? as {name}", (str(path),))
        yield reruns, plain


@settings(max_examples=40, deadline=None, derandomize=True)
@given(statement=STATEMENTS)
def test_any_mixture_of_two_files_gives_what_sqlite_gives(
    two_shapes: tuple[hitsduck.Reruns, sqlite3.Connection], statement: str
):
    reruns, plain = two_shapes
    ours = statement.format(april="april.dia_source", june="june.dia_source")
    theirs = statement.format(april="april.DiaSource", june="june.DiaSource")
    answers = [tuple(row.values()) for row in reruns.sql(ours).rows()]
    assert sorted((k, int(n)) for k, n in answers) == sorted(plain.execute(theirs).fetchall())


# -- trap 3: a CTE used twice under a LIMIT --------------------------------------------------

TWICE = "with n as (select * from {0}) select * from n union all select * from n limit 4"


def test_a_cte_used_twice_under_a_limit_works(opened_pair: hitsduck.Reruns):
    assert len(opened_pair.sql(TWICE.format("april.dia_source"))) == 4


def test_without_protection_a_cte_used_twice_under_a_limit_crashes(pair: dict[str, Path]):
    with raw_engine() as connection:
        attach_raw(connection, pair)
        with pytest.raises(duckdb.InternalException, match="index 0 within vector of size 0"):
            connection.execute(TWICE.format("april_sources"))


# -- trap 4: look-ups by id ------------------------------------------------------------------


def test_a_look_up_by_id_never_scans_the_file_in_duckdb(pair: dict[str, Path]):
    statements: list[str] = []
    with hitsduck.open_reruns(pair, tracer=lambda sql, _: statements.append(sql)) as reruns:
        rows = reruns.lookup("june")
        rows.through_views("dia_object", "diaObjectId", 2, ())
        statements.clear()
        reruns["june"].source(4)
        reruns["june"].sources_for_object(2)
        reruns["june"].forced_sources_for_object(2)
        reruns["june"].object(3)
        # SQLite alone has answered, which it does not where a cell is unusual.
        assert statements == []
        rows.through_views("dia_source", "diaSourceId", 4, ())
        rows.through_views("dia_source", "diaObjectId", 2, ())
        rows.through_views("dia_forced_source", "diaObjectId", 2, ())
        rows.through_views("dia_object", "diaObjectId", 3, ())
    reading_sources = [sql for sql in statements if sql.startswith("select")]
    assert len(reading_sources) == 4
    # hitsduck_apdb_1 is the attached file; hitsduck_rows_1 holds what sqlite3 fetched.
    assert all('from "hitsduck_rows_1".' in sql for sql in reading_sources)


# -- trap 5: types ---------------------------------------------------------------------------


def test_flags_are_booleans_though_the_engine_reads_numbers(pair: dict[str, Path]):
    with raw_engine() as connection:
        attach_raw(connection, pair)
        kind = "select typeof(pixelFlags_bad) from april.DiaSource limit 1"
        assert connection.execute(kind).fetchall() == [("BIGINT",)]
    with hitsduck.open_reruns(pair) as reruns:
        described = reruns.sql("select pixelFlags_bad from april.dia_source order by diaSourceId")
        assert described.rows() == [{"pixelFlags_bad": value} for value in (True, False, False)]


def test_a_number_in_a_timestamp_column_is_an_error_and_no_time_in_1970(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", generation="2023", sources=sources(2), objects=objects(2))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update DiaObject set validityEnd = 57000.5 where diaObjectId = 2")
    with raw_engine() as connection:
        connection.execute(f"attach {quoted(path)} as a (type sqlite, read_only)")
        taken = "select cast(max(validityEnd) as varchar) from a.DiaObject"
        # 57000.5 s after 1970-01-01: 15 h, 50 min and 0.5 s.
        assert connection.execute(taken).fetchall() == [("1970-01-01 15:50:00.5",)]
    with (
        hitsduck.open_reruns({"A": path}, instrument="DECam") as reruns,
        pytest.raises(BadValueError, match=r"a\.db.*DiaObject\.validityEnd.*rowid 2: 57000\.5"),
    ):
        reruns.sql("select max(validityEndMjdTai) from dia_object_history")


# -- trap 6: writes --------------------------------------------------------------------------


def test_nothing_is_written_whatever_is_asked(pair: dict[str, Path], tmp_path: Path):
    before = snapshot(tmp_path)
    with hitsduck.open_reruns(pair) as reruns:
        reruns.counts(where="ra > 0")
        reruns.info()
        reruns.compare("april", "june")
        reruns.sql("select * from dia_source_edge")
        reruns["june"].object(1)
        for statement in (
            "delete from hitsduck_apdb_0.DiaSource",
            "insert into hitsduck_apdb_0.metadata values ('a', 'b')",
            "update hitsduck_apdb_0.DiaSource set ra = 1",
            "drop table hitsduck_apdb_0.DiaSource",
            "create table hitsduck_apdb_0.new (a integer)",
        ):
            with pytest.raises(HitsduckError, match="read-only mode"):
                reruns.connection.execute(statement)
        assert snapshot(tmp_path) == before
    assert snapshot(tmp_path) == before


def test_without_read_only_the_engine_writes(pair: dict[str, Path], tmp_path: Path):
    before = snapshot(tmp_path)
    with raw_engine() as connection:
        attach_raw(connection, pair, options="")
        connection.execute("delete from april.DiaSource where diaSourceId = 1")
    assert truth(pair, "count(*)") == [2, 5]
    assert snapshot(tmp_path) != before


def test_a_mistyped_path_makes_no_file(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"mistyped\.db"):
        hitsduck.open_reruns({"A": tmp_path / "mistyped.db"})
    assert list(tmp_path.iterdir()) == []


def test_without_read_only_a_mistyped_path_becomes_a_database(tmp_path: Path):
    with raw_engine() as connection:
        connection.execute(f"attach {quoted(tmp_path / 'mistyped.db')} as new (type sqlite)")
        connection.execute("create table new.t (a integer)")
    assert [file.name for file in tmp_path.iterdir()] == ["mistyped.db"]


# -- trap 9: the extension -------------------------------------------------------------------


def test_nothing_is_fetched_from_the_network(pair: dict[str, Path]):
    names = ("autoinstall_known_extensions", "autoload_known_extensions")
    query = f"select {', '.join(f'current_setting({name!r}) as {name}' for name in names)}"
    with raw_engine() as connection:
        assert connection.execute(query).fetchall() == [(True, True)]
    with hitsduck.open_reruns(pair) as reruns:
        assert reruns.sql(query).rows() == [dict.fromkeys(names, False)]


def test_the_packaged_extension_is_loaded_by_its_path(pair: dict[str, Path]):
    statements: list[str] = []
    with hitsduck.open_reruns(pair, tracer=lambda sql, _: statements.append(sql)) as reruns:
        version = f"v{duckdb.__version__}"
        assert reruns.connection.extension == f"duckdb-extension-sqlite-scanner ({version})"
    assert packaged_extension().parent.name == version
    assert not [sql for sql in statements if sql.startswith("install")]


@pytest.fixture
def installed_extensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where DuckDB looks for installed extensions, of an empty home."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    with closing(duckdb.connect()) as connection:
        ((platform,),) = connection.execute("pragma platform").fetchall()
    folder = home / ".duckdb" / "extensions" / f"v{duckdb.__version__}" / platform
    folder.mkdir(parents=True)
    return folder


def test_an_installed_extension_serves_where_the_packaged_one_is_missing(
    pair: dict[str, Path], installed_extensions: Path, monkeypatch: pytest.MonkeyPatch
):
    file = packaged_extension()
    (installed_extensions / file.name).symlink_to(file)
    monkeypatch.setattr(engine, "_EXTENSION_MODULE", "no_such_package")
    with hitsduck.open_reruns(pair) as reruns:
        assert reruns.connection.extension == "an installed sqlite_scanner"
        assert [row["n_dia_sources"] for row in reruns.counts().rows()] == [3, 5]


def test_an_installed_extension_serves_where_the_packaged_one_does_not_fit(
    pair: dict[str, Path],
    installed_extensions: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    file = packaged_extension()
    (installed_extensions / file.name).symlink_to(file)
    damaged = tmp_path / file.name
    damaged.write_bytes(b"of another version")
    monkeypatch.setattr(engine, "_extension_file", lambda: damaged)
    with hitsduck.open_reruns(pair) as reruns:
        assert reruns.connection.extension == "an installed sqlite_scanner"


@pytest.mark.usefixtures("installed_extensions")
def test_without_any_extension_both_packages_are_named(
    pair: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "_EXTENSION_MODULE", "no_such_package")
    with pytest.raises(EngineError) as caught:
        hitsduck.open_reruns(pair)
    message = str(caught.value)
    assert "the packages duckdb and duckdb-extension-sqlite-scanner must have the same" in message
    assert f"here {duckdb.__version__}" in message
    assert "the package duckdb-extension-sqlite-scanner is not installed" in message
    assert "\n" not in message


# -- the canary ------------------------------------------------------------------------------


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often the canary's question is asked."""
    questions: list[int] = []

    def ask_and_count(connection: duckdb.DuckDBPyConnection) -> None:
        questions.append(1)
        canary.ask(connection)

    once = canary.ask_once
    monkeypatch.setattr(
        canary,
        "ask_once",
        lambda connection, version: once(connection, version, question=ask_and_count),
    )
    return questions


@pytest.mark.usefixtures("own_cache")
def test_the_canary_asks_once_and_remembers(asked: list[int]):
    for _ in range(3):
        Connection(threads=2).close()
    assert asked == [1]


@pytest.mark.usefixtures("own_cache")
def test_the_canary_asks_again_for_another_version_and_number_of_threads(
    asked: list[int], monkeypatch: pytest.MonkeyPatch
):
    Connection(threads=2).close()
    Connection(threads=1).close()
    assert asked == [1, 1]
    monkeypatch.setattr(duckdb, "__version__", "9.9.9")
    Connection(threads=2).close()
    assert asked == [1, 1, 1]


@pytest.mark.parametrize("remembered", ["", "[]", '{"something": "else"}'])
def test_the_canary_asks_again_where_its_memory_is_unreadable(
    own_cache: Path, asked: list[int], remembered: str
):
    (own_cache / "hitsduck").mkdir(parents=True)
    (own_cache / "hitsduck" / "canary.json").write_text(remembered)
    Connection().close()
    Connection().close()
    assert asked == [1]


def test_the_canary_asks_every_time_where_nothing_can_be_remembered(
    own_cache: Path, asked: list[int]
):
    own_cache.write_text("a file where the cache folder should be")
    Connection().close()
    Connection().close()
    assert asked == [1, 1]


@pytest.mark.parametrize("threads", THREADS)
def test_the_canary_refuses_an_engine_without_protections(threads: int):
    with raw_engine(threads) as connection, pytest.raises(EngineError, match="wrongly"):
        canary.ask(connection)


@pytest.mark.parametrize("left_out", range(len(PROTECTIONS)))
def test_the_canary_misses_each_single_protection(left_out: int):
    kept = [setting for number, setting in enumerate(PROTECTIONS) if number != left_out]
    with raw_engine(2, kept) as connection, pytest.raises(EngineError, match="sqlite3 says"):
        canary.ask(connection)


def test_the_canary_accepts_an_engine_with_protections_and_leaves_nothing_attached():
    with raw_engine(2, PROTECTIONS) as connection:
        canary.ask(connection)
        attached = connection.execute("select database_name from duckdb_databases()").fetchall()
    assert ("hitsduck_canary_left",) not in attached


def test_no_rerun_opens_on_an_engine_that_answers_wrongly(
    pair: dict[str, Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "PROTECTIONS", ())
    for _ in range(2):  # a wrong answer is never remembered as a right one
        with pytest.raises(EngineError, match="none of its answers can be trusted"):
            hitsduck.open_reruns(pair)
    remembered = json.loads((own_cache / "hitsduck" / "canary.json").read_text())
    assert [key for key in remembered if "threads" in key] == []


def test_the_cost_of_the_canary_is_printed(capsys: pytest.CaptureFixture[str]):
    with raw_engine(2, PROTECTIONS) as connection:
        durations = []
        for _ in range(5):
            started = time.perf_counter()
            canary.ask(connection)
            durations.append(time.perf_counter() - started)
    with capsys.disabled():
        print(f"\ncanary: {1e3 * min(durations):.0f} ms at best of 5", file=sys.stderr)
    assert len(durations) == 5


# -- trap 11: settings, threads --------------------------------------------------------------


def test_the_settings_reach_the_engine(pair: dict[str, Path], tmp_path: Path):
    with hitsduck.open_reruns(
        pair, threads=1, memory_limit="512MiB", temp_directory=tmp_path / "spill"
    ) as reruns:
        found = reruns.sql(
            "select current_setting('threads') as threads, "
            "current_setting('memory_limit') as memory_limit, "
            "current_setting('temp_directory') as temp_directory"
        ).rows()
    assert found == [
        {
            "threads": 1,
            "memory_limit": "512.0 MiB",
            "temp_directory": str(tmp_path / "spill"),
        }
    ]


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"memory_limit": "much"}])
def test_an_impossible_setting_is_an_error_in_one_line(
    pair: dict[str, Path], wrong: dict[str, Any]
):
    with pytest.raises(EngineError, match="DuckDB refuses") as caught:
        hitsduck.open_reruns(pair, **wrong)
    assert next(iter(wrong)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_threads_get_right_answers_from_one_set_of_reruns(pair: dict[str, Path]):
    # Views are made when they are first asked for, here by all threads at once.
    views = ["dia_source", "good_dia_source", "dia_source_edge", "dia_object"]
    expected = {
        "dia_source": [("april", 3), ("june", 5)],
        "good_dia_source": [("april", 2), ("june", 3)],
        "dia_source_edge": [("april", 3), ("june", 5)],
        "dia_object": [("april", 2), ("june", 3)],
    }
    problems: list[str] = []

    def work(reruns: hitsduck.Reruns, number: int, start: threading.Barrier) -> None:
        start.wait()
        try:
            for step in range(2):
                view = views[(number + step) % len(views)]
                query = f"select rerun, count(*) as n from {view} group by rerun order by rerun"
                found = [tuple(row.values()) for row in reruns.sql(query).rows()]
                if found != expected[view]:
                    problems.append(f"{view}: {found}")
                if number % 2:
                    counted = reruns.counts(where=f"visit > {step}").rows()
                    if [row["n_dia_sources"] for row in counted] != [3, 5]:
                        problems.append(f"counts: {counted}")
                elif len(reruns["june"].sources_for_object(2)) != 2:
                    problems.append("look-up of object 2 of june")
        except Exception as error:
            problems.append(repr(error))

    for _ in range(2):
        with hitsduck.open_reruns(pair) as reruns:
            start = threading.Barrier(4)
            threads = [
                threading.Thread(target=work, args=(reruns, number, start)) for number in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert problems == []


# -- trap 12: a file that changes while it is open -------------------------------------------


def delete_one_source(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("delete from DiaSource where diaSourceId = 1")


def test_a_file_that_changes_between_two_questions_is_an_error(pair: dict[str, Path]):
    with hitsduck.open_reruns(pair) as reruns:
        reruns.counts()
        delete_one_source(pair["june"])
        with pytest.raises(RerunChangedError, match=r"'june'.*june\.db changed while it was open"):
            reruns.counts()
        with pytest.raises(RerunChangedError, match=r"june\.db"):
            reruns.sql("select 1")
        with pytest.raises(RerunChangedError, match=r"june\.db"):
            reruns["june"].source(2)
    with hitsduck.open_reruns(pair) as reruns:
        assert [row["n_dia_sources"] for row in reruns.counts().rows()] == [3, 4]


def test_a_file_that_changes_during_a_question_is_an_error(pair: dict[str, Path]):
    def write_when_counting(sql: str, _: Any) -> None:
        if sql.startswith("select") and "april" in sql and "count(*)" in sql:
            delete_one_source(pair["april"])

    with (
        hitsduck.open_reruns(pair, tracer=write_when_counting) as reruns,
        pytest.raises(RerunChangedError, match=r"april\.db changed"),
    ):
        reruns.sql("select count(*) from april.dia_source")


def test_a_file_that_goes_away_is_an_error(pair: dict[str, Path]):
    with hitsduck.open_reruns(pair) as reruns:
        pair["june"].rename(pair["june"].with_suffix(".moved"))
        with pytest.raises(RerunChangedError, match=r"june\.db"):
            reruns.counts()


def test_a_touched_file_of_the_same_size_is_an_error(pair: dict[str, Path]):
    with hitsduck.open_reruns(pair) as reruns:
        os.utime(pair["april"], ns=(0, 0))
        with pytest.raises(RerunChangedError, match=r"april\.db"):
            reruns.counts()


def test_without_protection_two_states_mix_without_a_word(pair: dict[str, Path]):
    with raw_engine() as connection:
        attach_raw(connection, pair)
        before = connection.execute("select count(*) from june_sources").fetchall()
        delete_one_source(pair["june"])
        after = connection.execute("select count(*) from june_sources").fetchall()
    assert (before, after) == ([(5,)], [(4,)])


def test_an_open_rerun_does_not_keep_a_writer_waiting(pair: dict[str, Path]):
    with hitsduck.open_reruns(pair) as reruns:
        reruns.counts()
        with closing(sqlite3.connect(pair["june"], timeout=0)) as connection, connection:
            connection.execute("update DiaSource set ra = 151")
    with closing(sqlite3.connect(pair["june"])) as connection:
        assert connection.execute("select distinct ra from DiaSource").fetchall() == [(151.0,)]


# -- trap 13: a user's query opens no file ---------------------------------------------------


@pytest.fixture(scope="module")
def other_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an APDB that no rerun is opened from."""
    path = tmp_path_factory.mktemp("other") / "other's.db"
    return make_apdb(path, sources=sources(1), objects=objects(1))


def test_external_access_off_does_not_bind_the_sqlite_reader(pair: dict[str, Path]):
    with raw_engine() as connection:
        connection.execute("set enable_external_access = false")
        query = f"select count(*) from sqlite_scan({quoted(pair['june'])}, 'DiaSource')"
        assert connection.execute(query).fetchall() == [(5,)]


@pytest.mark.parametrize(
    "query",
    [
        "select * from sqlite_scan($path, 'DiaSource')",
        "select * from SQLITE_SCAN($path, 'DiaSource')",
        "select * from sqlite_query('hitsduck_apdb_0', 'delete from DiaSource')",
        "from sqlite_attach($path)",
        "select (select count(*) from sqlite_scan($path, 'DiaSource'))",
        "with x as (select * from sqlite_scan($path, 'DiaSource')) select * from x",
        "select * from rerun where path in (from read_text($path))",
        "select * from dia_source, lateral (select * from read_blob($path))",
        "select * from rerun union all by name select * from read_csv($path)",
        "select [x for x in (from glob($path))]",
        "select * from parquet_scan($path)",
        "select * from query('select 1')",
        "from $path",
        "attach $path as other (type sqlite)",
        "copy (select 1) to $path",
        "create table t as select 1",
        "create view v as select 1",
        "drop schema april cascade",
        "insert into april.rerun select * from april.rerun",
        "update april.rerun set path = ''",
        "with gone as (delete from april.rerun returning *) select * from gone",
        "set threads = 1",
        "pragma database_list",
        "call pragma_version()",
        "load 'x'",
        "install httpfs",
        "use april",
        "begin",
        "export database $path",
        "prepare p as select 1",
        "explain analyze delete from april.rerun",
        "select 1; select 2",
        "select 1; drop schema april",
        "",
        "   ",
        "-- nothing",
        "selec 1",
        "select 'unterminated",
    ],
)
def test_what_is_not_one_select_or_opens_files_is_refused(
    two_shapes: tuple[hitsduck.Reruns, sqlite3.Connection], other_file: Path, query: str
):
    before = snapshot(other_file.parent)
    with pytest.raises(QueryError) as caught:
        two_shapes[0].sql(query.replace("$path", quoted(other_file)))
    assert "\n" not in str(caught.value)
    assert snapshot(other_file.parent) == before


@pytest.mark.parametrize(
    ("query", "n_rows"),
    [
        ("select 1 as one;", 1),
        ("values (1), (2)", 2),
        ("from range(3)", 3),
        ("select unnest([1, 2]) as n", 2),
        ("select count(*) as n from april.dia_source", 1),
        # rerun_counts has 5 columns
        ("describe rerun_counts", 5),
        ("select * from duckdb_views() where view_name = 'night_summary'", 3),
        ("select * from pragma_table_info('rerun_counts')", 5),
        ("select * from information_schema.tables where table_name = 'visit_summary'", 3),
        ("with a as (select 1 as n) select * from a union all select * from a", 2),
        ("with recursive k (i) as (select 1 union all select i + 1 from k where i < 4) from k", 4),
    ],
)
def test_an_honest_select_is_let_through(
    two_shapes: tuple[hitsduck.Reruns, sqlite3.Connection], query: str, n_rows: int
):
    assert len(two_shapes[0].sql(query)) == n_rows


@pytest.mark.parametrize(
    "query",
    ["show tables", "select view_name from duckdb_views() where schema_name = 'all_reruns'"],
)
def test_the_catalogue_lists_views_that_nobody_has_asked_for_yet(pair: dict[str, Path], query: str):
    with hitsduck.open_reruns({"april": pair["april"]}) as reruns:
        listed = {next(iter(row.values())) for row in reruns.sql(query).rows()}
    assert {"dia_source", "night_summary", "good_dia_object"} <= listed


def test_a_cte_may_be_called_like_a_view(opened_pair: hitsduck.Reruns):
    query = (
        "with dia_source as (select * from dia_source where rerun = 'june'), "
        "Rerun_Counts as (select count(*) as n from dia_source) select n from rerun_counts"
    )
    assert ask(opened_pair, query) == [5]


def test_a_variable_of_the_caller_is_no_table(
    two_shapes: tuple[hitsduck.Reruns, sqlite3.Connection],
):
    secret = {"a": [1]}
    with pytest.raises(QueryError, match="secret"):
        two_shapes[0].sql("select * from secret")
    assert secret


# -- trap 14: what reading a WAL database leaves ---------------------------------------------


def test_without_protection_reading_a_wal_database_leaves_files_beside_it(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db", sources=sources(1), objects=objects(1))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]
    with raw_engine() as connection:
        attach_raw(connection, {"a": path})
        connection.execute("select count(*) from a_sources").fetchall()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.db", "a.db-shm", "a.db-wal"]
