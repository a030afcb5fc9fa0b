"""Opening reruns, naming them, and asking them for rows."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from apdb_files import make_apdb
from astropy.table import Table

import hitsduck
from hitsduck.errors import (
    FlagError,
    FlagWarning,
    HitsduckError,
    MissingPackageError,
    QueryError,
    RerunNameError,
    ResultNotFoundError,
)
from hitsduck.opening import rerun_name
from hitsduck.schema import flag_names

DECAM = {"instrument": "DECam"}
SOURCE = {
    "visit": 410985,
    "detector": 5,
    "ra": 150.0,
    "dec": 2.0,
    "x": 100.0,
    "y": 200.0,
    "band": "g",
    "psfFlux": 1000.0,
    "psfFluxErr": 10.0,
    "midpointMjdTai": 57070.25,
}
#: An id that a 64-bit float cannot hold: 2**60 + 1.
LARGE_ID = 1_152_921_504_606_846_977


def apdb(path: Path, count: int = 3, **given: Any) -> Path:
    """Write `count` sources, each of an object of its own."""
    numbers = range(1, count + 1)
    given.setdefault("sources", [SOURCE | {"diaObjectId": number} for number in numbers])
    given.setdefault(
        "objects", [{"ra": 150.0, "dec": 2.0, "diaObjectId": number} for number in numbers]
    )
    given.setdefault("metadata", DECAM)
    return make_apdb(path, **given)


def n_sources(reruns: hitsduck.Reruns) -> dict[str, int]:
    return {row["rerun"]: row["n_dia_sources"] for row in reruns.counts().rows()}


def one_line(error: pytest.ExceptionInfo[Exception], *parts: str) -> None:
    message = str(error.value)
    assert isinstance(error.value, HitsduckError)
    assert "\n" not in message
    for part in parts:
        assert part in message


#: Twelve sources of five objects: two visits, three detectors, three bands.
#:   number, object, visit, detector, band, flux, MJD, flags
ROWS = [
    (1, 11, 410985, 5, "g", 100.0, 57070.25, {}),
    (2, 11, 410985, 5, "g", -200.0, 57070.25, {"pixelFlags_bad": True}),
    (3, 11, 410987, 5, "r", 300.0, 57071.25, {}),
    (4, 12, 410985, 6, "g", 400.0, 57070.25, {"pixelFlags_suspect": True}),
    (5, 12, 410987, 6, "r", 500.0, 57071.25, {"pixelFlags_saturatedCenter": True}),
    (6, 13, 410985, 7, None, 600.0, 57070.25, {"pixelFlags_edge": True}),
    (7, 13, 410987, 7, "i", 700.0, 57071.25, {"pixelFlags_bad": None}),
    (8, None, 410985, 5, "g", 800.0, 57070.25, {}),
    (9, 14, 410985, 5, "g", None, 57070.25, {"pixelFlags_interpolated": True}),
    (10, LARGE_ID, 410987, 5, "r", 1000.0, 57071.25, {}),
    (11, LARGE_ID, 410987, 5, "r", 1100.0, 57069.25, {}),
    (12, 15, 410987, 7, "i", 1200.0, 57071.25, {"pixelFlags_bad": True}),
]


def make_rows(path: Path, generation: str = "10.0.0") -> Path:
    """Write ROWS; object 13 has an ended version, object 14 is no longer current."""
    return make_apdb(
        path,
        generation=generation,
        constraints=False,
        metadata=DECAM,
        sources=[
            {
                "diaSourceId": number,
                "diaObjectId": of_object,
                "visit": visit,
                "detector": detector,
                "band": band,
                "psfFlux": flux,
                "psfFluxErr": 10.0,
                "midpointMjdTai": mjd,
                "ra": 150.0 + number / 1000,
                "dec": 2.0,
                "x": 10.0 * number,
                "y": 20.0 * number,
                **flags,
            }
            for number, of_object, visit, detector, band, flux, mjd, flags in ROWS
        ],
        objects=[
            {"diaObjectId": 11, "ra": 150.001, "dec": 2.0, "nDiaSources": 3},
            {"diaObjectId": 12, "ra": 150.004, "dec": 2.0, "nDiaSources": 2},
            {
                "diaObjectId": 13,
                "ra": 150.006,
                "dec": 2.0,
                "nDiaSources": 1,
                "validityStartMjdTai": 57070.0,
                "validityEndMjdTai": 57071.0,
            },
            {
                "diaObjectId": 13,
                "ra": 150.0065,
                "dec": 2.0,
                "nDiaSources": 2,
                "validityStartMjdTai": 57071.0,
            },
            {"diaObjectId": 14, "ra": 150.009, "dec": 2.0, "validityEndMjdTai": 57072.0},
            {"diaObjectId": LARGE_ID, "ra": 150.010, "dec": 2.0, "nDiaSources": 2},
            {"diaObjectId": 15, "ra": 150.012, "dec": 2.0, "nDiaSources": 1},
        ],
        forced=[
            {
                "diaForcedSourceId": 100 + number,
                "diaObjectId": 11,
                "visit": visit,
                "detector": 5,
                "psfFlux": 10.0 * number,
                "midpointMjdTai": mjd,
                "band": "g",
            }
            for number, (visit, mjd) in enumerate([(410987, 57071.25), (410985, 57070.25)])
        ],
    )


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rows(tmp_path_factory.mktemp("rows") / "rows.db")


@pytest.fixture(scope="module")
def opened(rows_file: Path) -> Iterator[hitsduck.Reruns]:
    with hitsduck.open_reruns({"rows": rows_file}) as reruns:
        yield reruns


@pytest.fixture(scope="module")
def rerun(opened: hitsduck.Reruns) -> Any:
    return opened["rows"]


@pytest.fixture(scope="module")
def plain(rows_file: Path) -> Iterator[sqlite3.Connection]:
    """Return sqlite3's own view of the file, to compare with."""
    with closing(sqlite3.connect(f"file:{rows_file}?mode=ro", uri=True)) as connection:
        yield connection


# -- what is opened, and under which name ----------------------------------------------------


def test_a_mapping_gives_the_names_and_the_order(tmp_path: Path):
    files = {"june": apdb(tmp_path / "a.db", 3), "april": apdb(tmp_path / "b.db", 5)}
    with hitsduck.open_reruns(files) as reruns:
        assert reruns.names == list(reruns) == ["june", "april"]
        assert n_sources(reruns) == {"june": 3, "april": 5}
        assert [row["rerun"] for row in reruns.counts().rows()] == ["june", "april"]
        assert [info["rerun"] for info in reruns.info()] == ["june", "april"]
        assert len(reruns) == 2
        assert "june" in reruns
        assert "June" not in reruns
        assert reruns["april"].path == tmp_path / "b.db"


def test_a_list_takes_the_names_from_folders_and_stems(tmp_path: Path):
    paths = [
        apdb(tmp_path / "may" / "association.db", 1),
        apdb(tmp_path / "june.sqlite3", 2),
        str(apdb(tmp_path / "july" / "other.db", 4).parent),
    ]
    with hitsduck.open_reruns(paths) as reruns:
        assert n_sources(reruns) == {"may": 1, "june": 2, "july": 4}


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_alone_is_one_rerun(tmp_path: Path, kind: type):
    path = apdb(tmp_path / "may.v1.db")
    with hitsduck.open_reruns(kind(path)) as reruns:
        assert n_sources(reruns) == {"may.v1": 3}


def test_a_relative_path_is_named_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    apdb(tmp_path / "may" / "association.db")
    monkeypatch.chdir(tmp_path / "may")
    assert rerun_name("association.db") == "may"
    with hitsduck.open_reruns(".") as reruns:
        assert n_sources(reruns) == {"may": 3}


def test_the_folder_of_ap_verify_is_named_though_the_file_lies_above(tmp_path: Path):
    apdb(tmp_path / "run" / "association.db")
    (tmp_path / "run" / "output").mkdir()
    with hitsduck.open_reruns([tmp_path / "run" / "output"]) as reruns:
        assert n_sources(reruns) == {"output": 3}
        assert reruns["output"].path.resolve() == tmp_path / "run" / "association.db"


def test_two_equal_names_are_refused_with_both_paths(tmp_path: Path):
    paths = [apdb(tmp_path / folder / "same.db") for folder in ("a", "b")]
    with pytest.raises(RerunNameError) as error:
        hitsduck.open_reruns(paths)
    one_line(error, "'same'", str(paths[0]), str(paths[1]), "NAME=PATH")


@pytest.mark.parametrize(("one", "other"), [("May", "may"), ("ÄRGER", "ärger"), ("Σ", "ς")])
def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path, one: str, other: str):
    path = apdb(tmp_path / "a.db")
    with pytest.raises(RerunNameError) as error:
        hitsduck.open_reruns({one: path, other: path})
    one_line(error, repr(one), repr(other), "more than case")


@pytest.mark.parametrize(
    "name",
    ["temp", "System", "memory", "information_schema", "pg_catalog", "all_reruns", "hitsduck_1"],
)
def test_a_reserved_name_is_refused(tmp_path: Path, name: str):
    path = apdb(tmp_path / "a.db")
    with pytest.raises(RerunNameError) as error:
        hitsduck.open_reruns({name: path})
    one_line(error, repr(name), "is reserved", f"NAME={path}")


@pytest.mark.parametrize("name", ["", " ", "\t\n", "a\x00b", None, 5])
def test_what_is_no_name_is_refused(tmp_path: Path, name: Any):
    with pytest.raises(RerunNameError, match="cannot be the name of a rerun"):
        hitsduck.open_reruns({name: apdb(tmp_path / "a.db")})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "None names no rerun; give {name: path}"),
        (5, "5 names no rerun"),
        ([None], "None is no path"),
        ({"A": None}, "None is no path"),
        ({"A": 5}, "5 is no path"),
        ({"A": "x" * 5000}, "File name too long"),
    ],
)
def test_what_is_no_path_is_refused(given: Any, said: str):
    with pytest.raises(HitsduckError) as error:
        hitsduck.open_reruns(given)
    one_line(error, said)


@pytest.mark.parametrize("limit", ["2", 2])
def test_a_memory_limit_without_a_unit_is_told_how_to_write_it(rows_file: Path, limit: Any):
    with pytest.raises(HitsduckError) as error:
        hitsduck.open_reruns({"A": rows_file}, memory_limit=limit)
    one_line(
        error,
        f"DuckDB refuses memory_limit (--memory-limit) {limit!r}: ",
        "give the memory with its unit, 2GB say",
    )


def test_the_public_names_are_listed_before_they_are_used():
    program = "import hitsduck; print(*dir(hitsduck))"
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert set(hitsduck.__all__) <= set(printed.split())


@pytest.mark.parametrize("nothing", [{}, [], ()])
def test_no_rerun_at_all_is_refused(nothing: Any):
    with pytest.raises(RerunNameError, match="no rerun is given"):
        hitsduck.open_reruns(nothing)


def test_an_unknown_name_lists_the_open_ones(opened: hitsduck.Reruns):
    with pytest.raises(RerunNameError, match="no rerun is called 'row'; open: rows"):
        opened["row"]
    with pytest.raises(RerunNameError, match="open: rows"):
        opened.compare("rows", "other")


ODD_NAMES = [
    "select",
    "main",
    'a"b;--',
    "it's",
    "ünï 星 😀",
    " spaced ",
    "rerun",
    "dia_source",
    "a.b",
    "%s {x} $y ?",
    "\\",
    "two\nlines",
    "x" * 200,
    "1",
]


def test_odd_names_work_everywhere(tmp_path: Path):
    paths = [apdb(tmp_path / f"{count}.db", count) for count in (1, 2, 3)]
    files = {name: paths[number % 3] for number, name in enumerate(ODD_NAMES)}
    expected = {name: number % 3 + 1 for number, name in enumerate(ODD_NAMES)}
    with hitsduck.open_reruns(files) as reruns:
        found = reruns.sql("select rerun, count(*) as n from good_dia_source group by rerun").rows()
        assert {row["rerun"]: row["n"] for row in found} == expected
        assert n_sources(reruns) == expected
        for name in ('a"b;--', "main", "two\nlines"):
            schema = '"' + name.replace('"', '""') + '"'
            (row,) = reruns.sql(f"select count(*) as n from {schema}.dia_object").rows()
            assert row["n"] == expected[name]
            assert reruns[name].source(1)["rerun"] == name
            assert len(reruns[name].sources(where="visit > 0")) == expected[name]
        assert reruns.compare("select", 'a"b;--', good=False).summary()["n_left"] == 1


def test_odd_folders_work(tmp_path: Path):
    folders = ["with space", "it's", 'a"b', "ünï 星", "100%25 ?x=1#y&z", ";--", "$HOME", "a/b"]
    paths = [
        apdb(tmp_path / folder / "association.db", count)
        for count, folder in enumerate(folders, start=1)
    ]
    names = [Path(folder).name for folder in folders]
    with hitsduck.open_reruns(paths) as reruns:
        assert n_sources(reruns) == {name: count for count, name in enumerate(names, start=1)}
        assert all(reruns[name].source(1)["diaObjectId"] == 1 for name in names)


def test_one_file_may_be_opened_twice(tmp_path: Path):
    path = apdb(tmp_path / "a.db")
    with hitsduck.open_reruns({"one": path, "two": path}) as reruns:
        assert n_sources(reruns) == {"one": 3, "two": 3}


def test_sixty_four_reruns_work_at_once(tmp_path: Path):
    paths = [apdb(tmp_path / f"{count}.db", count) for count in (1, 2, 3, 4)]
    files = {f"rerun {number:02d}": paths[number % 4] for number in range(64)}
    with hitsduck.open_reruns(files) as reruns:
        rows = reruns.sql("select rerun, count(*) as n from dia_source group by rerun").rows()
        # 16 * (1 + 2 + 3 + 4) = 160
        assert sum(row["n"] for row in rows) == 160
        assert {row["rerun"]: row["n"] for row in rows} == {
            name: number % 4 + 1 for number, name in enumerate(files)
        }
        assert reruns["rerun 63"].objects().arrow().num_rows == 4


# -- closing ---------------------------------------------------------------------------------


def test_closing_closes_the_cursors_of_other_threads(tmp_path: Path):
    cursors: list[Any] = []

    def ask(reruns: hitsduck.Reruns) -> None:
        reruns.counts()
        cursors.append(reruns.connection.cursor())

    with hitsduck.open_reruns({"A": apdb(tmp_path / "a.db")}) as reruns:
        thread = threading.Thread(target=ask, args=(reruns,))
        thread.start()
        thread.join()
        assert cursors[0].execute("select 1").fetchall() == [(1,)]
    with pytest.raises(duckdb.ConnectionException, match="closed"):
        cursors[0].execute("select 1")


def test_closed_reruns_say_so(tmp_path: Path):
    reruns = hitsduck.open_reruns({"A": apdb(tmp_path / "a.db")})
    one = reruns["A"]
    reruns.close()
    reruns.close()
    for ask in (
        reruns.counts,
        reruns.info,
        lambda: reruns.sql("select 1"),
        lambda: reruns.compare("A", "A"),
        one.sources,
        one.objects,
        lambda: one.source(1),
        lambda: one.sources_for_object(1),
    ):
        with pytest.raises(QueryError, match="these reruns are closed; open them again"):
            ask()


def test_closing_leaves_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = apdb(tmp_path / "a.db")
    own = tmp_path / "temporary"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    with hitsduck.open_reruns({"A": path}) as reruns:
        reruns.counts()
    with pytest.raises(FileNotFoundError):
        hitsduck.open_reruns({"A": path, "B": tmp_path / "missing.db"})
    assert list(own.iterdir()) == []


def test_the_tracer_sees_every_statement_and_its_values(rows_file: Path):
    seen: list[tuple[str, Any]] = []
    with hitsduck.open_reruns({"A": rows_file}, tracer=lambda *call: seen.append(call)) as reruns:
        reruns.sql("select count(*) as n from dia_source where visit = $visit", visit=410985)
    asked = ("select count(*) as n from dia_source where visit = $visit", {"visit": 410985})
    assert asked in seen
    assert any(sql.startswith("attach ") for sql, _ in seen)


def test_what_is_open_shows_in_a_repr(opened: hitsduck.Reruns, rows_file: Path):
    assert repr(opened) == "<Reruns: rows; good: dm25125>"
    assert repr(opened["rows"]) == f"<Rerun rows: {rows_file}, DECam>"
    assert "n_good_dia_objects" in opened._repr_html_()


# -- sources and objects ---------------------------------------------------------------------


def ids(result: Any, column: str = "diaSourceId") -> list[int]:
    return sorted(row[column] for row in result)


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        ({}, "1"),
        ({"visit": 410985}, "visit = 410985"),
        ({"visit": [410985, 410987]}, "visit in (410985, 410987)"),
        ({"visit": np.int64(410987)}, "visit = 410987"),
        ({"visit": []}, "0"),
        ({"visit": 1}, "0"),
        ({"detector": 5}, "detector = 5"),
        ({"detector": np.array([6, 7])}, "detector in (6, 7)"),
        ({"detector": range(6, 8)}, "detector in (6, 7)"),
        ({"band": "r"}, "band = 'r'"),
        ({"band": ("g", "i")}, "band in ('g', 'i')"),
        ({"band": "gri"}, "0"),
        ({"good": True}, "GOOD"),
        (
            {"good": True, "visit": 410985, "detector": [5, 6], "band": "g"},
            "GOOD and visit = 410985 and detector in (5, 6) and band = 'g'",
        ),
        ({"where": "psfFlux > 350"}, "psfFlux > 350"),
        (
            {"where": "psfFlux > 350 or band = 'g'", "good": True, "visit": 410985},
            "(psfFlux > 350 or band = 'g') and GOOD and visit = 410985",
        ),
    ],
)
def test_sources_are_those_that_sqlite_chooses(
    rerun: Any, plain: sqlite3.Connection, options: dict[str, Any], condition: str
):
    good = "(pixelFlags_bad = 0 and pixelFlags_suspect = 0 and pixelFlags_saturatedCenter = 0)"
    query = f"select diaSourceId from DiaSource where {condition.replace('GOOD', good)}"
    expected = sorted(number for (number,) in plain.execute(query))
    assert ids(rerun.sources(["diaSourceId"], **options)) == expected


def test_sources_hold_the_columns_that_are_asked_for_in_order(rerun: Any):
    result = rerun.sources(["psfFlux", "diaSourceId", "is_good"], detector=6)
    assert result.columns == ["psfFlux", "diaSourceId", "is_good"]
    assert sorted(tuple(row.values()) for row in result) == [(400.0, 4, False), (500.0, 5, False)]


def test_sources_hold_every_documented_column_by_default(rerun: Any):
    columns = rerun.sources().columns
    assert {"diaSourceId", "visit", "ra", "pixelFlags_bad", "psf_snr", "night"} <= set(columns)
    assert len(columns) == len(set(columns))


@pytest.mark.parametrize(("method", "meant"), [("sources", "psfFlux"), ("objects", "r_psfFluxMax")])
def test_an_unknown_column_is_refused_with_a_hint(rerun: Any, method: str, meant: str):
    misspelt = meant.replace("Flux", "Flx")
    with pytest.raises(QueryError) as error:
        getattr(rerun, method)(["diaObjectID", misspelt])
    one_line(error, f'"{misspelt}" not found; did you mean {meant}?', "describe")


@pytest.mark.parametrize("method", ["sources", "objects"])
def test_a_column_that_is_no_text_is_refused(rerun: Any, method: str):
    with pytest.raises(QueryError, match=r"5 \(int\) is no name of a column"):
        getattr(rerun, method)(["ra", 5])
    with pytest.raises(QueryError, match=r"None \(NoneType\) is no name of a column"):
        rerun.sources_for_object(11, ["ra", None])


@pytest.mark.parametrize("where", [pl.col("ra") > 1, ["ra > 1"], 5])
def test_a_condition_that_is_no_text_is_refused(opened: hitsduck.Reruns, where: Any):
    for ask in (opened.counts, opened["rows"].sources):
        with pytest.raises(QueryError) as error:
            ask(where=where)
        one_line(error, f"({type(where).__name__}); a text is wanted, one SQL expression")


def test_a_column_that_is_named_twice_comes_once(rerun: Any):
    assert rerun.sources(["ra", "dec", "ra"]).polars().columns == ["ra", "dec"]
    assert rerun.sources_for_object(11, ["ra", "ra"]).columns == ["ra"]


def test_one_column_may_be_named_alone(rerun: Any):
    assert rerun.sources("band").columns == ["band"]
    assert rerun.objects("ra").columns == ["ra"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"visit": "all"}, "visit is 'all' (str); a whole number is wanted"),
        ({"visit": [410985, 1.5]}, "visit is 1.5 (float); a whole number is wanted"),
        ({"detector": 5.0}, "detector is 5.0 (float); a whole number is wanted"),
        ({"band": 3}, "band is 3; a name such as 'g' is wanted"),
    ],
)
def test_a_visit_detector_or_band_of_another_kind_is_refused(
    rerun: Any, wanted: dict[str, Any], said: str
):
    with pytest.raises(QueryError) as error:
        rerun.sources(**wanted)
    one_line(error, said)


def test_a_visit_may_be_a_text_of_digits(rerun: Any):
    assert rerun.sources(visit="410985").rows() == rerun.sources(visit=410985).rows()


def test_a_name_of_a_column_is_never_sql(rerun: Any):
    with pytest.raises(QueryError, match="not found"):
        rerun.sources(['ra" from dia_source; drop schema rows; --'])


def test_objects_are_the_current_versions(rerun: Any):
    # 14 has ended; of the two versions of 13 the later one is current.
    expected = [11, 12, 13, 15, LARGE_ID]
    assert ids(rerun.objects(["diaObjectId"]), "diaObjectId") == expected
    (row,) = [row for row in rerun.objects(["diaObjectId", "ra"]) if row["diaObjectId"] == 13]
    assert row["ra"] == 150.0065


def test_good_objects_have_a_good_source(rerun: Any):
    # 11 by 1 and 3, 13 by 6, the large one by 10 and 11; 12 and 15 have none.
    found = rerun.objects(["diaObjectId"], good=True)
    assert ids(found, "diaObjectId") == [11, 13, LARGE_ID]


@pytest.mark.parametrize(
    ("where", "good", "expected"),
    [
        ("psfFlux < 0", False, [11]),
        ("psfFlux < 0", True, []),  # source 2 is bad
        ("band = 'i'", False, [13, 15]),
        ("band is null", True, [13]),
        ("visit = 1", False, []),
    ],
)
def test_objects_under_a_condition_have_such_a_source(
    rerun: Any, where: str, good: bool, expected: list[int]
):
    assert ids(rerun.objects(["diaObjectId"], where=where, good=good), "diaObjectId") == expected


# -- look-ups by id --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 7, 9, 11])
def test_a_source_is_looked_up_as_sqlite_has_it(rerun: Any, plain: sqlite3.Connection, number: int):
    names = ["diaSourceId", "diaObjectId", "visit", "detector", "band", "psfFlux", "ra", "x"]
    query = f"select {', '.join(names)} from DiaSource where diaSourceId = ?"
    found = rerun.source(number)
    assert tuple(found[name] for name in names) == plain.execute(query, (number,)).fetchone()


@pytest.mark.parametrize("number", [11, np.int64(LARGE_ID)])
def test_an_object_is_looked_up_in_its_current_version(rerun: Any, number: int):
    assert rerun.object(number)["diaObjectId"] == number
    assert rerun.object(13)["ra"] == 150.0065


@pytest.mark.parametrize(
    ("kind", "number", "said"),
    [
        ("source", 999, "no dia_source has diaSourceId 999"),
        ("object", 999, "no dia_object has diaObjectId 999"),
        ("object", 14, "no dia_object has diaObjectId 14"),  # no longer current
        ("source", -1, "no dia_source has diaSourceId -1"),
        ("source", 2**70, "no dia_source has diaSourceId"),
    ],
)
def test_an_unknown_id_is_an_error_that_names_the_file(
    rerun: Any, rows_file: Path, kind: str, number: int, said: str
):
    with pytest.raises(ResultNotFoundError) as error:
        getattr(rerun, kind)(number)
    one_line(error, "'rows'", str(rows_file), said)
    assert isinstance(error.value, KeyError)


@pytest.mark.parametrize(
    "value", [None, 1.5, 11.0, "11.0", "eleven", "", "1e3", "\u0661", b"11", [11], np.float64(11)]
)
@pytest.mark.parametrize(
    ("method", "column"),
    [
        ("source", "diaSourceId"),
        ("object", "diaObjectId"),
        ("sources_for_object", "diaObjectId"),
        ("forced_sources_for_object", "diaObjectId"),
    ],
)
def test_what_is_no_whole_number_is_no_id(rerun: Any, method: str, column: str, value: Any):
    with pytest.raises(QueryError) as error:
        getattr(rerun, method)(value)
    one_line(error, f"{column} is {value!r} ({type(value).__name__}); a whole number is wanted")


def test_an_id_may_be_a_text_as_csv_files_hold_it(rerun: Any):
    assert rerun.source("7") == rerun.source(7)
    assert rerun.object(f" {LARGE_ID}\n")["diaObjectId"] == LARGE_ID
    assert rerun.sources_for_object(str(LARGE_ID), "diaSourceId").rows() == [
        {"diaSourceId": 11},
        {"diaSourceId": 10},
    ]
    assert len(rerun.forced_sources_for_object("11")) == 2


def test_the_sources_of_an_object_come_in_order_of_time(rerun: Any):
    result = rerun.sources_for_object(LARGE_ID, ["diaSourceId", "midpointMjdTai"])
    assert [tuple(row.values()) for row in result] == [(11, 57069.25), (10, 57071.25)]
    assert [row["diaSourceId"] for row in rerun.sources_for_object(11)] == [1, 2, 3]
    good = rerun.sources_for_object(11, ["diaSourceId"], good=True)
    assert [row["diaSourceId"] for row in good] == [1, 3]
    assert len(rerun.sources_for_object(999)) == 0


def test_the_forced_sources_of_an_object_come_in_order_of_time(rerun: Any):
    found = rerun.forced_sources_for_object(11, ["visit", "detector", "psfFlux"])
    assert [tuple(row.values()) for row in found] == [(410985, 5, 10.0), (410987, 5, 0.0)]
    assert len(rerun.forced_sources_for_object(12)) == 0


def test_the_id_zero_stands_for_no_object(tmp_path: Path):
    # Until 2022 a source of a solar-system object was written with diaObjectId 0.
    path = apdb(
        tmp_path / "a.db",
        generation="2020",
        sources=[SOURCE | {"diaObjectId": None}, SOURCE | {"diaObjectId": 1}],
    )
    with closing(sqlite3.connect(path)) as connection:
        stored = connection.execute("select diaObjectId from DiaSource").fetchall()
        assert stored == [(0,), (1,)]
    with hitsduck.open_reruns({"A": path}) as reruns:
        assert len(reruns["A"].sources_for_object(0)) == 0
        assert len(reruns["A"].sources_for_object(1)) == 1
        assert reruns["A"].source(1)["diaObjectId"] is None


def test_look_ups_find_tables_with_a_prefix(tmp_path: Path):
    path = apdb(tmp_path / "a.db", generation="2020", prefix="run5_")
    with hitsduck.open_reruns({"A": path}) as reruns:
        assert n_sources(reruns) == {"A": 3}
        assert reruns["A"].source(2)["visit"] == 410985
        assert len(reruns["A"].sources_for_object(3)) == 1
        assert reruns.info()[0]["prefix"] == "run5_"


def test_a_look_up_refuses_an_unknown_column(rerun: Any):
    with pytest.raises(QueryError, match='"nothing" not found'):
        rerun.sources_for_object(11, ["nothing"])


def test_a_look_up_without_the_table_of_forced_sources_gives_none(tmp_path: Path):
    path = apdb(tmp_path / "a.db", leave_out=["DiaForcedSource"])
    with hitsduck.open_reruns({"A": path}) as reruns:
        assert len(reruns["A"].forced_sources_for_object(1)) == 0


@pytest.mark.parametrize(
    "name", ["packed-2021.sqlite3", "imsim-2023-packed.sqlite3", "imsim-2024-schema-0.1.1.sqlite3"]
)
def test_look_ups_agree_with_the_views_on_real_files(shared: Path, name: str):
    path = shared / "data" / "apdb" / name
    with (
        hitsduck.open_reruns({"A": path}, instrument="LSSTCam-imSim") as reruns,
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection,
    ):
        one = reruns["A"]
        (most,) = connection.execute(
            "select diaObjectId from DiaSource where diaObjectId > 0 "
            "group by 1 order by count(*) desc, 1 limit 1"
        ).fetchone()
        expected = one.sources(where=f"diaObjectId = {most}").rows()
        found = one.sources_for_object(most).rows()
        assert sorted(found, key=lambda row: row["diaSourceId"]) == sorted(
            expected, key=lambda row: row["diaSourceId"]
        )
        assert one.source(expected[0]["diaSourceId"]) == expected[0]
        (by_scan,) = [row for row in one.objects() if row["diaObjectId"] == most]
        assert one.object(most) == by_scan


# -- sql and what it gives back --------------------------------------------------------------


def test_values_are_bound_by_name(opened: hitsduck.Reruns):
    query = "select count(*) as n from dia_source where visit = $visit and band = $band"
    assert opened.sql(query, visit=410985, band="g").rows() == [{"n": 5}]
    assert opened.sql(query, visit=np.int64(410987), band="r").rows() == [{"n": 4}]
    listed = "select count(*) as n from dia_source where list_contains($ids, diaSourceId)"
    assert opened.sql(listed, ids=[1, 2, 99]).rows() == [{"n": 2}]
    assert opened.sql(listed, ids=np.array([1, 2, 3])).rows() == [{"n": 3}]
    dated = "select count(*) as n from dia_source where night = $night"
    # Noon at longitude -70.81 deg is 0.1967 d after 12 h UTC: MJD 57071.25 and 57070.25 and
    # 57069.25 are 6 h in the morning, in the night that began the evening before.
    assert opened.sql(dated, night=date(2015, 2, 16)).rows() == [{"n": 6}]
    assert opened.sql("select $query as query, $self as self", query=1, self=2).rows() == [
        {"query": 1, "self": 2}
    ]


def test_a_value_is_never_sql(opened: hitsduck.Reruns):
    value = "g' or '1' = '1"
    rows = opened.sql("select count(*) as n from dia_source where band = $band", band=value).rows()
    assert rows == [{"n": 0}]


@pytest.mark.parametrize(
    ("query", "values", "said"),
    [
        ("select $a as a", {}, "Values were not provided"),
        ("select $a as a", {"a": 1, "b": 2}, "the query has no $b"),
        ("select $a as a", {"a": object()}, "Unable to transform python value"),
        ("select nothing from dia_source", {}, '"nothing" not found'),
        ("select * from dia_sorce", {}, "did you mean dia_source?"),
        ("select * from DiaSource", {}, "did you mean dia_source?"),
        ("select * from rows.DiaObject", {}, "did you mean dia_object?"),
        ("select * from DiaForcedSource", {}, "did you mean dia_forced_source?"),
        ("select * from nothing_like_it", {}, 'hitsduck sql RERUN "show tables"'),
        ("select * from June.dia_source", {}, "no rerun is called 'June'; open: rows"),
        ("select psFlux from dia_source", {}, "did you mean psfFlux?"),
        ("select s.filterName from dia_source as s", {}, "did you mean band?"),
        ("select * exclude (decl) from dia_source", {}, "did you mean dec?"),
        ("select edge_distance_px from dia_source", {}, "it is a column of dia_source_edge"),
        # nothing is near: all where there are few, else how to list them
        (
            "select zzz from rerun_counts",
            {},
            'column "zzz" not found; there are rerun, n_dia_sources, n_good_dia_sources, '
            "n_dia_objects, n_good_dia_objects (all: ",
        ),
        (
            "select zzz from dia_source",
            {},
            'column "zzz" not found (all: hitsduck sql RERUN "describe dia_source")',
        ),
        (
            "select zzz from dia_source join good_definition using (rerun)",
            {},
            'not found (all: hitsduck sql RERUN "describe dia_source", "describe good_definition")',
        ),
        ("with t as (select 1 as a) select zzz from t", {}, 'column "zzz" not found'),
        ("with t as (select 1 as alpha) select alpah from t", {}, "did you mean alpha?"),
        ("select 1 where 2 = $n", {}, "give each (--param NAME=VALUE"),
        ("select 1 as a, 2 as a", {}, "two columns are called a; name each with `as`"),
        (
            "select * from dia_source as l join dia_source as r on l.visit = r.visit",
            {},
            "name each with `as`",
        ),
    ],
)
def test_a_query_that_cannot_be_answered_is_an_error_in_one_line(
    opened: hitsduck.Reruns, query: str, values: dict[str, Any], said: str
):
    with pytest.raises(QueryError) as error:
        opened.sql(query, **values)
    one_line(error, said)


NULLS = (
    "select diaSourceId, diaObjectId, band, psfFlux, pixelFlags_bad, night "
    "from dia_source where diaSourceId in (6, 7, 8, 9, 10) order by diaSourceId"
)


def test_rows_are_dicts_with_none_for_null(opened: hitsduck.Reruns):
    rows = opened.sql(NULLS).rows()
    assert [row["diaObjectId"] for row in rows] == [13, 13, None, 14, LARGE_ID]
    assert [row["band"] for row in rows] == [None, "i", "g", "g", "r"]
    assert [row["psfFlux"] for row in rows] == [600.0, 700.0, 800.0, None, 1000.0]
    assert [row["pixelFlags_bad"] for row in rows] == [False, None, False, False, False]
    assert rows[0]["night"] == date(2015, 2, 16)


def test_a_result_counts_iterates_and_shows_itself(opened: hitsduck.Reruns):
    result = opened.sql(NULLS)
    assert len(result) == 5
    assert [row["diaSourceId"] for row in result] == [6, 7, 8, 9, 10]
    assert result.columns[:2] == ["diaSourceId", "diaObjectId"]
    assert repr(result).startswith("<Result: 5 rows of diaSourceId, diaObjectId")
    assert "diaObjectId" in result._repr_html_()


def test_arrow_and_polars_keep_types_ids_and_nulls(opened: hitsduck.Reruns):
    result = opened.sql(NULLS)
    table, frame = result.arrow(), result.polars()
    assert isinstance(table, pa.Table)
    assert table.schema.field("diaObjectId").type == pa.int64()
    assert frame.schema == {
        "diaSourceId": pl.Int64,
        "diaObjectId": pl.Int64,
        "band": pl.String,
        "psfFlux": pl.Float64,
        "pixelFlags_bad": pl.Boolean,
        "night": pl.Date,
    }
    assert frame["diaObjectId"].to_list() == [13, 13, None, 14, LARGE_ID]


def test_without_pandas_the_package_to_install_is_named(
    opened: hitsduck.Reruns, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pandas", None)  # as if it were not installed
    with pytest.raises(MissingPackageError) as error:
        opened.counts().pandas()
    one_line(error, "the package pandas is not installed; `python -m pip install pandas`")
    assert isinstance(error.value, ImportError)


def test_pandas_loses_no_digit_of_an_id_beside_a_null(opened: hitsduck.Reruns):
    # As a 64-bit float 2**60 + 1 becomes 2**60: another object, or none.
    assert int(float(LARGE_ID)) != LARGE_ID
    frame = opened.sql(NULLS).pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame["diaObjectId"].dtype == pd.Int64Dtype()
    assert frame["diaObjectId"].isna().tolist() == [False, False, True, False, False]
    assert frame["diaObjectId"].iloc[4] == LARGE_ID
    assert frame["diaSourceId"].dtype == np.int64
    assert np.isnan(frame["psfFlux"].iloc[3])
    assert frame["pixelFlags_bad"].tolist() == [False, None, False, False, False]


def test_an_interval_that_polars_cannot_hold_is_told(opened: hitsduck.Reruns):
    result = opened.sql("select interval 2 day as apart")
    with pytest.raises(QueryError) as error:
        result.polars()
    one_line(error, "column apart is an interval", "epoch(...)")
    assert opened.sql("select epoch(interval 2 day) as s").polars()["s"].to_list() == [172800.0]


def test_astropy_masks_nulls_and_loses_no_digit(opened: hitsduck.Reruns):
    table = opened.sql(NULLS).astropy()
    assert isinstance(table, Table)
    assert table["diaObjectId"].mask.tolist() == [False, False, True, False, False]
    assert table["diaObjectId"].dtype == np.int64
    assert table["diaObjectId"][4] == LARGE_ID
    assert table["band"].dtype.kind == "U"
    assert table["band"].mask.tolist() == [True, False, False, False, False]
    assert table["psfFlux"].mask.tolist() == [False, False, False, True, False]
    assert table["pixelFlags_bad"].mask.tolist() == [False, True, False, False, False]
    assert table["night"][0] == "2015-02-16"


def test_an_astropy_table_of_all_columns_can_be_written_as_fits(rerun: Any, tmp_path: Path):
    table = rerun.sources().astropy()
    table.write(tmp_path / "sources.fits")
    back = Table.read(tmp_path / "sources.fits")
    order = np.argsort(back["diaSourceId"])
    assert back["diaObjectId"][order][9] == LARGE_ID
    assert back["band"][order][:5].tolist() == ["g", "g", "r", "g", "r"]


def test_no_rows_keep_their_columns_in_every_form(opened: hitsduck.Reruns):
    result = opened.sql("select * from dia_source where false")
    n_columns = len(result.columns)
    assert len(result) == 0
    assert result.polars().shape == (0, n_columns)
    assert result.pandas().shape == (0, n_columns)
    assert (len(result.astropy()), len(result.astropy().columns)) == (0, n_columns)


def test_there_is_no_limit_on_rows(opened: hitsduck.Reruns):
    assert len(opened.sql("select n from range(300000) as r (n)")) == 300_000


def test_a_summary_that_does_not_exist_lists_those_that_do(opened: hitsduck.Reruns):
    with pytest.raises(QueryError, match=r"no view is called 'visits'; there are: .*visit_summary"):
        opened.summary("visits")
    assert [row["visit"] for row in opened.summary("visit_summary").rows()] == [410985, 410987]


# -- conditions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        "psfFlux > 350",
        "psfFlux > 350 and visit = 410985",
        "visit = 410985 or detector = 7",
        "band in ('g', 'r')",
        "band is null",
        "not (band = 'g')",
        "psfFlux between 100 and 500",
        "abs(psfFlux) / psfFluxErr >= 20",
        "case when detector = 5 then psfFlux > 500 else true end",
        "diaObjectId is null",
        f"diaObjectId = {LARGE_ID}",
        "ra > 1000",
        "psfFlux > 350 -- and nothing else",
        "psfFlux > 350 /* or ) ( */",
        "(psfFlux > 350)",
        "\n  psfFlux\n  > 350\n",
        "band like 'g%' and ';' <> '--'",
    ],
)
def test_counts_under_a_condition_are_those_of_sqlite(
    opened: hitsduck.Reruns, plain: sqlite3.Connection, condition: str
):
    good = "pixelFlags_bad = 0 and pixelFlags_suspect = 0 and pixelFlags_saturatedCenter = 0"
    chosen = f"select * from DiaSource where (\n{condition}\n)"
    current = "select count(*) from DiaObject where validityEndMjdTai is null and diaObjectId in"
    expected = [
        plain.execute(query).fetchone()[0]
        for query in (
            f"select count(*) from ({chosen})",
            f"select count(*) from ({chosen}) where {good}",
            f"{current} (select diaObjectId from ({chosen}))",
            f"{current} (select diaObjectId from ({chosen}) where {good})",
        )
    ]
    (row,) = opened.counts(where=condition).rows()
    assert list(row.values()) == ["rows", *expected]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("", "the condition is empty"),
        ("  \n ", "the condition is empty"),
        ("ra > 1; select 1", "2 statements"),
        ("ra > 1; drop schema rows cascade", "is not a SELECT"),
        ("ra > 1;", "syntax error"),
        ("visit, detector", "is a list of values"),
        ("(visit, detector)", "is a list of values"),
        ("row(visit, detector)", "is a list of values"),
        ("*", "is a list of values"),
        ("ra > 1) --", "syntax error"),
        ("ra > 1) or (1 = 1", "syntax error"),
        ("(ra > 1", "syntax error"),
        ("ra > 1)", "syntax error"),
        ("1)) or ((1", "syntax error"),
        ("ra > 1 -- )\n) or (true", "syntax error"),
        ("ra > 1 /*", "unterminated"),
        ("'", "unterminated"),
        ("nothing > 1", "the condition 'nothing > 1': column \"nothing\" not found ("),
        ("nothing > 1", 'hitsduck sql RERUN "describe dia_source"'),
        ("edge_distance_px < 9", '"edge_distance_px" not found; it is a column of dia_source_edge'),
        ("visitt = 1", "the condition 'visitt = 1': column \"visitt\" not found"),
        ("visitt = 1", "did you mean visit?"),
        ("ccd = 5", "did you mean detector?"),
        ("filterName = 'g'", "did you mean band?"),
        ("decl > 1", "did you mean dec?"),
        ("abs(psFlux) > 1", "did you mean psfFlux?"),
        ("dia_source.psFlux > 1", "did you mean psfFlux?"),
        ("midPointTai > 1", "did you mean midpointMjdTai?"),
        ("htmId20 = 1", "did you mean pixelId?"),
        ("ra = 'abc'", "the query has 'abc' where DOUBLE is wanted"),
        ("random() < 0.5", "random() gives another value each time"),
        ("ra > 1 and 2 * RANDOM() < 1", "hash(diaSourceId) % 10 = 0"),
        ("list_contains([uuid()], band)", "uuid() gives another value each time"),
        ("dia_object.ra > 1", '"dia_object" not found'),
        ("ra in (select ra from dia_source)", "holds a subquery"),
        ("exists (select 1)", "holds a subquery"),
        ("ra > (select max(ra) from sqlite_scan('a.db', 'DiaSource'))", "holds a subquery"),
        ("(from read_text('/etc/passwd'))", "holds a subquery"),
        ("read_text('/etc/passwd')", "read_text"),
        ("'a.db'", "neither true nor false, but VARCHAR"),
        ("visit", "neither true nor false, but BIGINT"),
        ("1", "neither true nor false, but INTEGER"),
        ("null", "neither true nor false"),
        ("[ra > 1]", "neither true nor false, but BOOLEAN[]"),
        ("count(*) > 1", "cannot contain aggregates"),
        ("row_number() over () > 1", "cannot contain window functions"),
        ("ra > $x", "a condition takes no parameters"),
        ("ra > ?", "Values were not provided"),
        ("ra > 1 group by ra", "syntax error"),
        ("ra > 1 order by ra", "syntax error"),
        ("ra > 1 limit 1", "syntax error"),
        ("ra > 1 union select true", "syntax error"),
        ("ra > 1 from dia_source", "syntax error"),
        ("ra > 1 as good", "syntax error"),
        ("ra ≥ 1", "syntax error"),
        ("ra > 1 \x00", "NUL"),
    ],
)
def test_what_is_not_one_condition_is_refused(opened: hitsduck.Reruns, condition: str, said: str):
    with pytest.raises(QueryError) as error:
        opened.counts(where=condition)
    one_line(error, said)


def test_a_refused_condition_leaves_everything_usable(opened: hitsduck.Reruns):
    for _ in range(2):
        with pytest.raises(QueryError, match="nothing"):
            opened["rows"].sources(where="nothing > 1")
    assert len(opened["rows"].sources(where="visit > 1")) == 12
    assert opened.sql("select count(*) as n from dia_source").rows() == [{"n": 12}]


def test_a_sample_by_hash_is_the_same_each_time(opened: hitsduck.Reruns):
    # random() is refused for this: sources and good sources would be other ones.
    (counts,) = opened.counts(where="hash(diaSourceId) % 2 = 0").rows()
    assert 0 < counts["n_dia_sources"] < 12
    assert len(opened["rows"].sources(where="hash(diaSourceId) % 2 = 0")) == counts["n_dia_sources"]


def test_a_condition_is_bound_to_each_rerun(tmp_path: Path):
    files = {"A": apdb(tmp_path / "a.db", 3), "B": apdb(tmp_path / "b.db", 5)}
    with hitsduck.open_reruns(files) as reruns:
        counted = reruns.counts(where="rerun = 'B' and diaSourceId > 1").rows()
    assert [row["n_dia_sources"] for row in counted] == [0, 4]


# -- good ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "flags", "named", "expected"),
    [
        # dm25125: 2, 12 bad, 4 suspect, 5 saturated, 7 NULL; analysis_ap: 6 and 9 too.
        ("10.0.0", "dm25125", "dm25125", [1, 3, 6, 8, 9, 10, 11]),
        ("10.0.0", "analysis_ap", "analysis_ap", [1, 3, 8, 10, 11]),
        ("2020", "analysis_ap", "analysis_ap", [1, 3, 8, 10, 11]),
        ("10.0.0", ["pixelFlags_edge"], "custom", [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]),
        # One NULL flag makes all packed flags NULL.
        ("2020", ("edge", "pixelFlags_edge"), "custom", [1, 2, 3, 4, 5, 8, 9, 10, 11, 12]),
        ("2020", "edge, suspect", "custom", [1, 2, 3, 5, 8, 9, 10, 11, 12]),
    ],
)
def test_good_follows_the_flag_set(
    tmp_path: Path, generation: str, flags: Any, named: str, expected: list[int]
):
    path = make_rows(tmp_path / "a.db", generation)
    with hitsduck.open_reruns({"A": path}, bad_flags=flags) as reruns:
        assert reruns.flag_set == named
        assert ids(reruns["A"].sources(["diaSourceId"], good=True)) == expected
        (row,) = reruns.sql(
            "select count(*) as n, any_value(flag_set) as f from good_dia_source, "
            "(select distinct flag_set from good_definition)"
        ).rows()
        assert (row["n"], row["f"]) == (len(expected), named)


@pytest.mark.parametrize("generation", ["2023", "10.0.0"])
def test_a_null_flag_is_not_good_and_is_counted(tmp_path: Path, generation: str):
    flags: list[dict[str, bool | None]] = [
        {},
        {"pixelFlags_bad": None},
        {"pixelFlags_suspect": None, "pixelFlags_bad": True},
        {"pixelFlags_bad": True},
    ]
    path = apdb(
        tmp_path / "a.db",
        generation=generation,
        constraints=False,
        sources=[SOURCE | flag for flag in flags],
    )
    with hitsduck.open_reruns({"A": path}) as reruns:
        assert ids(reruns["A"].sources(["diaSourceId"], good=True)) == [1]
        assert reruns.info()[0]["n_null_flags"] == 2
        assert reruns.counts().rows()[0]["n_dia_sources"] == 4


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ("pixelFlags_sad", "did you mean pixelFlags_bad?"),
        (["bad", "pixelflags_edge"], "did you mean pixelFlags_edge?"),
        ("dm25126", "did you mean dm25125?"),
        ("xyz", "'xyz' (known sets: dm25125, analysis_ap; known flags: bad, cr, "),
        ("satur", "did you mean pixelFlags_saturated?"),
    ],
)
def test_an_unknown_flag_lists_the_known_ones_with_a_hint(tmp_path: Path, flags: Any, hint: str):
    with pytest.raises(FlagError) as error:
        hitsduck.open_reruns({"A": apdb(tmp_path / "a.db")}, bad_flags=flags)
    one_line(error, hint, ", saturatedCenter,", "with or without pixelFlags_ before")
    assert all(flag.removeprefix("pixelFlags_") in str(error.value) for flag in flag_names())


def test_a_flag_that_a_generation_lacks_is_skipped_with_a_warning(tmp_path: Path):
    # 2020 packs no pixelFlags_streak.
    path = apdb(
        tmp_path / "a.db",
        generation="2020",
        sources=[SOURCE, SOURCE | {"pixelFlags_bad": True}],
    )
    with pytest.warns(FlagWarning) as given:
        opened = hitsduck.open_reruns({"A": path}, bad_flags=["bad", "streak"])
    (message,) = [str(warning.message) for warning in given]
    assert str(path) in message
    assert "lacks pixelFlags_streak; good follows the others" in message
    with opened as reruns:
        (info,) = reruns.info()
        assert info["bad_flags"] == ["pixelFlags_bad"]
        assert info["skipped_flags"] == ["pixelFlags_streak"]
        assert reruns.counts().rows()[0]["n_good_dia_sources"] == 1


def test_a_set_of_which_no_flag_exists_is_an_error(tmp_path: Path):
    path = apdb(tmp_path / "a.db", generation="2020")
    with pytest.raises(FlagError) as error:
        hitsduck.open_reruns({"A": path}, bad_flags=["streak", "glint_trail"])
    one_line(
        error,
        "'A'",
        str(path),
        "none of the flags pixelFlags_streak, glint_trail exists in this file",
        "it holds: ",
    )


def test_an_unknown_unit_of_the_moments_is_refused(tmp_path: Path):
    with pytest.raises(QueryError, match="moments is 'mas2'; it is one of px2, arcsec2"):
        hitsduck.open_reruns({"A": apdb(tmp_path / "a.db")}, moments="mas2")
