"""Look-ups that SQLite computes give what the views over DuckDB give, errors too."""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from apdb_files import GENERATIONS, make_apdb
from hypothesis import given, settings
from hypothesis import strategies as st

import hitsduck
from hitsduck import by_id, views
from hitsduck.errors import HitsduckError, QueryError, RerunLockedError
from hitsduck.lookup import Lookup
from hitsduck.quoting import quote_identifier
from hitsduck.results import Result

#: View, its id, the APDB table.
LOOK_UPS = (
    ("dia_source", "diaSourceId", "DiaSource"),
    ("dia_source", "diaObjectId", "DiaSource"),
    ("dia_forced_source", "diaObjectId", "DiaForcedSource"),
    ("dia_object", "diaObjectId", "DiaObject"),
)
CHOSEN = {
    "dia_source": ["night", "visit", "pixelFlags_bad", "rerun", "psf_snr", "diaObjectId"],
    "dia_forced_source": ["detector", "psfFlux"],
    "dia_object": ["validityStartMjdTai"],
}
SOURCES = [
    {
        "diaObjectId": 1,
        "visit": 410985,
        "detector": 5,
        "midpointMjdTai": 57071.25,
        "band": "g",
        "psfFlux": -1234.5678901,
        "psfFluxErr": 12.3,
        "ixxPSF": 2.7,
        "iyyPSF": 2.9,
        "ixyPSF": 0.1,
        "x": 10.5,
        "y": 4000.25,
        "pixelFlags_bad": True,
        "timeProcessedMjdTai": 57100.123456,
    },
    # Earlier than the first, and without what many columns are computed from.
    {"diaObjectId": 1, "visit": 410900, "detector": 62, "midpointMjdTai": 57069.9},
    # No time: after the others. The smaller id comes first.
    {"diaObjectId": 1, "visit": 1, "detector": 1, "midpointMjdTai": None},
    {"diaObjectId": 1, "visit": 2, "detector": 2, "midpointMjdTai": None},
    # An error of zero, moments that are none, and the solar system.
    {
        "diaObjectId": None,
        "ssObjectId": 77,
        "visit": 410985,
        "detector": 6,
        "midpointMjdTai": 57071.999,
        "psfFlux": 5.0,
        "psfFluxErr": 0.0,
        "ixxPSF": -1.0,
    },
    {"diaObjectId": 2, "ssObjectId": 0, "visit": 410985, "detector": 6, "band": "\u00e9"},
]
OBJECTS = [
    {"diaObjectId": 1, "validityStartMjdTai": 57000.5, "validityEndMjdTai": 57069.25},
    {"diaObjectId": 1, "validityStartMjdTai": 57069.25, "validityEndMjdTai": None},
    {"diaObjectId": 2, "validityStartMjdTai": 57071.75, "validityEndMjdTai": None, "ra": 1e-300},
    {"diaObjectId": 3, "validityStartMjdTai": 57071.75, "validityEndMjdTai": 57072.0},
]
FORCED = [
    {"diaObjectId": 1, "visit": 410985, "detector": 5, "midpointMjdTai": 57071.25, "psfFlux": 1.5},
    {"diaObjectId": 1, "visit": 410900, "detector": 62, "midpointMjdTai": 57069.9, "band": "r"},
    {"diaObjectId": 2, "visit": 410985, "detector": 6, "midpointMjdTai": None},
]


def apdb(path: Path, generation: str = "10.0.0", **options: Any) -> Path:
    given = {"sources": SOURCES, "objects": OBJECTS, "forced": FORCED, "constraints": False}
    return make_apdb(path, generation=generation, **(given | options))


def opened(path: Path, **options: Any) -> hitsduck.Reruns:
    return hitsduck.open_reruns({"A": path}, **({"instrument": "DECam"} | options))


@contextmanager
def through_views() -> Iterator[None]:
    """Let no look-up be computed in SQLite."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_id.RowsById, "find", lambda *_, **__: None)
        yield


def seen(result: Result) -> tuple[Any, ...]:
    """Return everything of a result; the repr of a float tells its last bit."""
    rows = repr(result.rows())
    table = result.arrow()
    assert repr(table.to_pylist()) == rows
    return result.columns, len(result), rows, table.schema, result.polars().schema


def told(question: Callable[[], Any]) -> Any:
    """Return the answer, or the error and its words."""
    try:
        answer = question()
    except HitsduckError as error:
        return type(error), str(error)
    return seen(answer) if isinstance(answer, Result) else repr(answer)


def questions(one: hitsduck.Rerun, number: int) -> list[Callable[[], Any]]:
    return [
        lambda: one.source(number),
        lambda: one.object(number),
        lambda: one.sources_for_object(number),
        lambda: one.sources_for_object(number, CHOSEN["dia_source"], good=True),
        lambda: one.sources_for_object(number, "band"),
        lambda: one.forced_sources_for_object(number),
        lambda: one.forced_sources_for_object(number, CHOSEN["dia_forced_source"]),
    ]


def few_questions(one: hitsduck.Rerun, number: int) -> list[Callable[[], Any]]:
    return [lambda: one.sources_for_object(number), lambda: one.forced_sources_for_object(number)]


def assert_same(
    reruns: hitsduck.Reruns,
    numbers: Sequence[int],
    asked: Callable[[hitsduck.Rerun, int], list[Callable[[], Any]]] = questions,
) -> None:
    """Ask everything in both ways."""
    for number in numbers:
        for question in asked(reruns["A"], number):
            ours = told(question)
            with through_views():
                assert ours == told(question)


def ids(path: Path, table: str, column: str, at_most: int = 40) -> list[int]:
    """Return some ids of a table, the ends among them."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        query = f"select distinct {column} from {table} where {column} <> 0 order by 1"
        found = [row[0] for row in connection.execute(query)]
    step = max(len(found) // at_most, 1)
    return found[::step] + found[-1:]


def taken(lookup: Lookup, view: str, column: str, number: int, *chosen: str, good: bool) -> Result:
    """Return what SQLite alone gives, which must not be left to DuckDB."""
    found = lookup._by_id.find(view, column, number, chosen, good=good)
    assert found is not None, (view, column, number)
    return found


# -- the same answers ------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
def test_twins_give_what_the_views_give(tmp_path: Path, generation: str):
    path = apdb(tmp_path / "a.db", generation)
    with opened(path) as reruns:
        lookup = reruns.lookup("A")
        for view, column, table in LOOK_UPS:
            for number in [*ids(path, table, column), 999]:
                for chosen in ((), CHOSEN[view]):
                    for good in (False, True) if view == "dia_source" else (False,):
                        ours = taken(lookup, view, column, number, *chosen, good=good)
                        theirs = lookup.through_views(view, column, number, chosen, good=good)
                        assert seen(ours) == seen(theirs)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_twins_give_what_the_views_over_the_whole_file_hold(tmp_path: Path, generation: str):
    path = apdb(tmp_path / "a.db", generation)
    with opened(path) as reruns:
        lookup = reruns.lookup("A")
        for view, column, table in LOOK_UPS:
            for number in ids(path, table, column):
                ours = taken(lookup, view, column, number, good=False)
                query = f'select * from "A".{view} where {column} = $number'
                theirs = reruns.sql(query, number=number)
                assert sorted(map(repr, ours.rows())) == sorted(map(repr, theirs.rows()))
                assert ours.arrow().schema == theirs.arrow().schema


@pytest.mark.parametrize(
    "name", ["packed-2021.sqlite3", "imsim-2023-packed.sqlite3", "imsim-2024-schema-0.1.1.sqlite3"]
)
def test_twins_give_what_the_views_give_of_real_files(shared: Path, name: str):
    path = shared / "data" / "apdb" / name
    with opened(path, instrument="LSSTCam-imSim") as reruns:
        lookup = reruns.lookup("A")
        for view, column, table in LOOK_UPS:
            whole = {}
            for row in reruns.sql(f'select * from "A".{view}'):
                whole.setdefault(row[column], []).append(repr(row))
            for number in ids(path, table, column, 8):
                ours = taken(lookup, view, column, number, good=False)
                assert seen(ours) == seen(lookup.through_views(view, column, number, ()))
                assert sorted(map(repr, ours)) == sorted(whole.get(number, []))


def test_rows_come_in_order_of_time_those_without_one_last(tmp_path: Path):
    with opened(apdb(tmp_path / "a.db")) as reruns:
        found = taken(reruns.lookup("A"), "dia_source", "diaObjectId", 1, good=False)
        assert [row["diaSourceId"] for row in found] == [2, 1, 3, 4]


SPECIAL = [0.0, -0.0, 5e-324, -1e300, 1.7976931348623157e308, float("inf"), float("-inf")]
NUMBERS = st.one_of(
    st.none(), st.sampled_from(SPECIAL), st.floats(-1e6, 1e6), st.floats(allow_nan=False)
)
FLAGS = [
    flag for flag in views.documented_columns(views.view_named("dia_source")) if "Flags_" in flag
]
BOTH_ERAS = sorted(set(by_id.schema.flag_bits("2019")) & set(by_id.schema.flag_bits("2023")))
SOURCE = st.fixed_dictionaries(
    {
        "diaObjectId": st.sampled_from([1, 1, 2, None]),
        "visit": st.one_of(st.integers(0, 2**31), st.just(410985)),
        "detector": st.integers(1, 60),
        "midpointMjdTai": st.one_of(NUMBERS, st.floats(50000, 60000)),
        "psfFlux": NUMBERS,
        "psfFluxErr": NUMBERS,
        "ixxPSF": NUMBERS,
        "iyyPSF": NUMBERS,
        "ixyPSF": NUMBERS,
        "ra": NUMBERS,
        "ssObjectId": st.sampled_from([None, 0, 5, 2**63 - 1]),
        "band": st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=3)),
        "psfNdata": st.sampled_from([None, 0, 2**31 - 1, -(2**31), 2**31, 2**62]),
        "timeProcessedMjdTai": st.floats(51544, 60000),
    },
    optional=dict.fromkeys(BOTH_ERAS, st.booleans()),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(generation=st.sampled_from(GENERATIONS), sources=st.lists(SOURCE, min_size=1, max_size=6))
def test_awkward_rows_are_told_alike(
    tmp_path_factory: pytest.TempPathFactory, generation: str, sources: list[dict[str, Any]]
):
    path = apdb(tmp_path_factory.mktemp("awkward") / "a.db", generation, sources=sources)
    with opened(path) as reruns:
        assert_same(reruns, [1, 2], few_questions)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(bits=st.integers(-(2**63), 2**63 - 1), generation=st.sampled_from(["2020", "2023", "0.1.1"]))
def test_every_bit_of_packed_flags_is_told_alike(
    tmp_path_factory: pytest.TempPathFactory, bits: int, generation: str
):
    source = SOURCES[0] | {"flags": bits}
    path = apdb(tmp_path_factory.mktemp("flags") / "a.db", generation, sources=[source])
    with opened(path, bad_flags=BOTH_ERAS) as reruns:
        assert taken(reruns.lookup("A"), "dia_source", "diaSourceId", 1, good=False)
        assert_same(reruns, [1], few_questions)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    visit=st.one_of(st.none(), st.integers(-(2**40), 2**40)),
    detector=st.one_of(st.none(), st.integers(-(2**33), 2**33)),
    ccd=st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
)
def test_ids_of_images_are_told_alike(
    tmp_path_factory: pytest.TempPathFactory,
    visit: int | None,
    detector: int | None,
    ccd: int | None,
):
    path = apdb(tmp_path_factory.mktemp("ids") / "a.db", "2023")
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("DiaSource", "DiaForcedSource"):
            connection.execute(f"alter table {table} add column visit bigint")
            connection.execute(f"alter table {table} add column detector integer")
            connection.execute(
                f"update {table} set visit = ?, detector = ?, ccdVisitId = ? "
                "where rowid in (select rowid from DiaSource limit 1)",
                (visit, detector, ccd),
            )
    try:
        reruns = opened(path)
    except HitsduckError:  # no such detector
        return
    with reruns:
        assert_same(reruns, [1], few_questions)


STAMPS = st.one_of(
    st.datetimes(datetime(1971, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)),
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(stamps=st.lists(STAMPS, min_size=50, max_size=200))
def test_times_are_the_same_to_the_last_bit(stamps: list[datetime]):
    texts = [stamp.strftime("%Y-%m-%d %H:%M:%S.%f").rjust(26, "0") for stamp in stamps]
    texts += [text[:19] for text in texts]
    with closing(duckdb.connect()) as connection:
        for statement in views.macros():
            connection.execute(statement)
        query = "select tai_to_mjd_tai(unnest(cast($texts as varchar[])))"
        theirs = [row[0] for row in connection.execute(query, {"texts": texts}).fetchall()]
    assert list(map(by_id._tai_to_mjd_tai, texts)) == theirs


# -- what is left to DuckDB ------------------------------------------------------------------

UNUSUAL = [
    "update DiaSource set ra = 'abc'",
    "update DiaSource set ra = x'00ff'",
    "update DiaSource set psfFlux = 'abc', psfFluxErr = x'00'",
    "update DiaSource set visit = 1.5",
    "update DiaSource set detector = 'five'",
    "update DiaSource set detector = 3000000000",
    "update DiaSource set pixelFlags_bad = 2",
    "update DiaSource set pixelFlags_bad = 'f'",
    "update DiaSource set pixelFlags_bad = 0.5",
    "update DiaSource set band = cast(x'67ff' as text)",
    "update DiaSource set band = x'67'",
    "update DiaSource set band = 5",
    "update DiaSource set band = 'a' || char(0) || 'b'",
    "update DiaSource set ssObjectId = 1e30",
    "update DiaSource set midpointMjdTai = 'noon'",
    "update DiaSource set psfFlux = 9e999, psfFluxErr = 9e999",
    "update DiaSource set ixxPSF = 9e999, iyyPSF = -9e999",
    "update DiaSource set iyyPSF = 'a', ixyPSF = 'a'",
    "alter table DiaSource add column extra bigint",
    "alter table DiaSource add column extra bigint default 'abc'",
    "alter table DiaSource add column extra timestamp default 'abc'",
    "alter table DiaSource add column extra timestamp default '2020-01-01 10:00:00.000000'",
    "alter table DiaSource add column extra numeric default 5",
    "alter table DiaSource add column extra default 5",
    "update DiaObject set ra = 'abc' where validityEndMjdTai is not null",
    "update DiaObject set nDiaSources = 1.5",
    "update DiaObject set nDiaSources = 3000000000",
    "update DiaObject set validityEndMjdTai = 'never'",
    "update DiaForcedSource set psfFlux = 'abc'",
    "update DiaForcedSource set visit = 'abc', detector = x'00' where rowid = 1",
]


@pytest.mark.parametrize("statement", UNUSUAL)
def test_unusual_cells_are_told_alike(tmp_path: Path, statement: str):
    path = apdb(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    try:
        reruns = opened(path)
    except HitsduckError:  # some are looked at when the file is opened
        return
    with reruns:
        assert_same(reruns, [1, 2])


@pytest.mark.parametrize("generation", ["2020", "2023", "0.1.1", "1.0.0"])
@pytest.mark.parametrize(
    "stamp",
    [
        57000.5,
        57000,
        b"2020-01-01",
        "",
        "2020-01-01",
        "2020-01-01 10:11",
        "2020-01-01T10:11:12",
        "2020-01-01 10:11:12.5",
        "2020-01-01 10:11:12.123456",
        "2020-01-01 10:11:12.1234567",
        "2020-01-01 10:11:12+01:00",
        "2020-01-01 24:00:00",
        "2020-01-01 25:00:00",
        "2020-12-31 23:59:60",
        "2020-02-31 10:11:12",
        "1970-12-31 23:59:59.999999",
        "0000-01-01 00:00:00",
        " 2020-01-01 10:11:12 ",
        "\u0662020-01-01 10:11:12",
        "infinity",
    ],
)
def test_unusual_times_are_told_alike(tmp_path: Path, generation: str, stamp: object):
    path = apdb(tmp_path / "a.db", generation)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update DiaObject set validityStart = ? where rowid = 2", (stamp,))
    with opened(path) as reruns:
        assert told(lambda: reruns["A"].source(1))
        ours = told(lambda: reruns["A"].object(1))
        with through_views():
            assert ours == told(lambda: reruns["A"].object(1))


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("instrument", [None, "HSC"])
def test_an_instrument_that_does_not_fit_is_told_alike(
    tmp_path: Path, generation: str, instrument: str | None
):
    path = apdb(tmp_path / "a.db", generation)
    try:
        reruns = opened(path, instrument=instrument)
    except HitsduckError:
        return
    with reruns:
        assert_same(reruns, [1])


def test_a_detector_that_was_not_looked_at_at_opening_is_checked(tmp_path: Path):
    sources = [
        SOURCES[0] | {"diaObjectId": number, "visit": 100, "detector": 1}
        for number in range(1, 2500)
    ]
    # Without an index every second row is looked at, that of row id 1 first.
    sources[1401]["detector"] = 99
    path = apdb(tmp_path / "a.db", sources=sources, indexes=False)
    with opened(path) as reruns:
        assert not reruns.attached("A").instrument.is_checked
        lookup = reruns.lookup("A")
        assert taken(lookup, "dia_source", "diaSourceId", 1400, good=False)
        assert lookup._by_id.find("dia_source", "diaSourceId", 1402, [], good=False) is None
        with pytest.raises(HitsduckError, match=r"has no detector 99 \(diaSourceId 1402\)"):
            reruns["A"].source(1402)


def test_versions_that_end_where_others_begin_are_told_alike(tmp_path: Path):
    # Until 2024 dax_apdb left every version open where it kept DiaObjectLast.
    objects = [row | {"validityEndMjdTai": None} for row in OBJECTS]
    path = apdb(tmp_path / "a.db", "2020", objects=objects, objects_last=[{"diaObjectId": 1}])
    with opened(path) as reruns:
        assert (
            reruns.lookup("A")._by_id.find("dia_object", "diaObjectId", 1, [], good=False) is None
        )
        assert_same(reruns, [1, 2])
        # 57069.25, the start of the second version
        assert reruns["A"].object(1)["validityStartMjdTai"] == 57069.25


@pytest.mark.parametrize("columns", [["nothing"], ["BAND"], ["band", "nothing"], [""], "visit; --"])
def test_columns_that_are_none_are_told_alike(tmp_path: Path, columns: Sequence[str] | str):
    with opened(apdb(tmp_path / "a.db")) as reruns:
        ours = told(lambda: reruns["A"].sources_for_object(1, columns))
        with through_views():
            assert ours == told(lambda: reruns["A"].sources_for_object(1, columns))


def test_a_store_is_asked_as_before(tmp_path: Path):
    with opened(apdb(tmp_path / "a.db")) as reruns:
        reruns.materialize(tmp_path / "all.duckdb")
        expected = [told(question) for question in questions(reruns["A"], 1)]
    with hitsduck.open_reruns(tmp_path / "all.duckdb", instrument="DECam") as reruns:
        assert [told(question) for question in questions(reruns["A"], 1)] == expected
        assert (
            reruns.lookup("A")._by_id.find("dia_source", "diaSourceId", 1, [], good=False) is None
        )


@pytest.mark.parametrize("number", [0, -1, 3, 2**63 - 1, -(2**63), 2**63, 2**64])
def test_unusual_ids_are_told_alike(tmp_path: Path, number: int):
    with opened(apdb(tmp_path / "a.db", "2020")) as reruns:
        assert_same(reruns, [number])


def test_a_name_of_a_rerun_or_column_is_no_sql(tmp_path: Path):
    path = apdb(tmp_path / "a.db", "2020", prefix='q"; drop table x; --')
    with closing(sqlite3.connect(path)) as connection, connection:
        table = quote_identifier('q"; drop table x; --DiaSource')
        column = quote_identifier('a" b')
        connection.execute(f"alter table {table} add column {column} integer")
    with hitsduck.open_reruns({"it's": path}, instrument="DECam") as reruns:
        found = taken(reruns.lookup("it's"), "dia_source", "diaSourceId", 1, good=False)
        assert [row["rerun"] for row in found] == ["it's"]
        assert seen(found) == seen(
            reruns.lookup("it's").through_views("dia_source", "diaSourceId", 1, ())
        )


# -- how -------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
def test_duckdb_is_not_asked(tmp_path: Path, generation: str):
    statements: list[str] = []
    path = apdb(tmp_path / "a.db", generation)
    with opened(path, tracer=lambda sql, _: statements.append(sql)) as reruns:
        statements.clear()
        for question in questions(reruns["A"], 1):
            question()
        assert statements == []


def test_rows_load_no_pyarrow(tmp_path: Path):
    program = (
        "import sys, hitsduck\n"
        f"with hitsduck.open_reruns({{'A': {str(apdb(tmp_path / 'a.db'))!r}}}, "
        "instrument='DECam') as reruns:\n"
        "    found = reruns['A'].sources_for_object(1)\n"
        "    print(len(found), len(found.rows()), len(list(found)), 'pyarrow' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "4 4 4 False\n"


@pytest.mark.parametrize("generation", GENERATIONS)
def test_an_index_is_used(tmp_path: Path, generation: str):
    with opened(apdb(tmp_path / "a.db", generation)) as reruns:
        rows = reruns.lookup("A")._by_id
        for view, column, table in LOOK_UPS:
            rows.find(view, column, 1, [], good=False)
            statement = rows._statement(view, column)
            assert statement is not None
            assert rows._connection is not None
            plan = rows._connection.execute(
                f"explain query plan {statement.sql}", rows._values | {"id": 1}
            ).fetchall()
            assert [step[3].split(" (")[0].split(" USING ")[0] for step in plan] == [
                f"SEARCH {table}"
            ]


@pytest.mark.parametrize("view", ["dia_source", "dia_forced_source", "dia_object"])
def test_headers_of_twins_promise_their_columns(tmp_path: Path, view: str):
    twin = views.twin(view)
    with opened(apdb(tmp_path / "a.db")) as reruns:
        rows = reruns.lookup("A")._by_id
        rows.find(view, "diaObjectId", 1, [], good=False)
        statement = rows._statement(view, "diaObjectId")
        assert statement is not None
        assert set(statement._positions) == set(views.documented_columns(twin))
    assert twin.name == view
    values = {name for name in rows._values if f":{name}" in twin.body.split("-- columns")[1]}
    assert values == {name for name in rows._values if f":{name}" in twin.body.split("select")[0]}


def test_every_file_is_a_twin():
    names = {path.stem for path in (views.sql_folder() / "by_id").glob("*.sql")}
    assert names == {view for view, _, _ in LOOK_UPS}


def test_functions_that_sqlite_lacks_are_given_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Bare(sqlite3.Connection):
        """Lacks every function of mathematics until it is given one."""

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql.endswith("(1.0)"):
                raise sqlite3.OperationalError("no such function")
            return super().execute(sql, *values)

    real = sqlite3.connect
    path = apdb(tmp_path / "a.db")
    with opened(path) as reruns:
        expected = [told(question) for question in questions(reruns["A"], 1)]
    with opened(path) as reruns:
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, factory=Bare, **k))
        assert [told(question) for question in questions(reruns["A"], 1)] == expected
        assert isinstance(reruns.lookup("A")._by_id._connection, Bare)


# -- the connection --------------------------------------------------------------------------


def test_nothing_is_locked_between_two_look_ups(tmp_path: Path):
    path = apdb(tmp_path / "a.db")
    with opened(path) as reruns, closing(sqlite3.connect(path, timeout=0)) as writer:
        for number in (1, 2, 1):
            reruns["A"].sources_for_object(number)
            reruns["A"].object(number)
            writer.execute("begin exclusive")
            writer.execute("rollback")


def test_a_file_that_is_being_written_is_told_alike(tmp_path: Path):
    path = apdb(tmp_path / "a.db")
    with opened(path) as reruns, closing(sqlite3.connect(path)) as writer:
        reruns["A"].source(1)
        writer.execute("begin exclusive")
        with pytest.raises(RerunLockedError, match=r"a\.db: is locked by a process") as ours:
            reruns["A"].source(1)
        with through_views(), pytest.raises(RerunLockedError) as theirs:
            reruns["A"].source(1)
        assert str(ours.value) == str(theirs.value)
        writer.execute("rollback")
        assert reruns["A"].source(1)["visit"] == 410985


def test_what_is_closed_answers_no_more(tmp_path: Path):
    reruns = opened(apdb(tmp_path / "a.db"))
    one = reruns["A"]
    found = one.sources_for_object(1)
    rows = reruns.lookup("A")._by_id
    connection = rows._connection
    assert connection is not None
    reruns.close()
    reruns.close()
    assert rows._connection is None
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("select 1")
    with pytest.raises(QueryError, match="closed"):
        one.source(1)
    assert found.polars().height == 4


def test_reruns_that_nobody_closes_leave_no_connection(tmp_path: Path):
    reruns = opened(apdb(tmp_path / "a.db"))
    reruns["A"].source(1)
    connection = reruns.lookup("A")._by_id._connection
    assert connection is not None
    del reruns
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("select 1")


def test_threads_are_answered_each_for_itself(tmp_path: Path):
    sources = [
        SOURCES[0] | {"diaObjectId": number, "visit": 1000 + number} for number in range(1, 51)
    ]
    problems: list[str] = []

    def work(one: hitsduck.Rerun) -> None:
        try:
            for number in range(1, 51):
                visits = [row["visit"] for row in one.sources_for_object(number)]
                if visits != [1000 + number]:
                    problems.append(f"{number}: {visits}")
        except Exception as error:
            problems.append(repr(error))

    with opened(apdb(tmp_path / "a.db", sources=sources)) as reruns:
        threads = [threading.Thread(target=work, args=(reruns["A"],)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert problems == []
