"""Every kind of bad input is a clear error or a stated behaviour, and leaves the file alone.

The order follows the section "Bad input" of the issue "First light".
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck import inspection
from hitsduck.errors import (
    BadValueError,
    HitsduckError,
    InstrumentError,
    NotAnApdbError,
    QueryError,
    RerunCopyWarning,
    RerunLockedError,
    RerunNotFoundError,
    SchemaError,
)

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
    "midpointMjdTai": 57070.1,
}
OBJECT = {"ra": 150.0, "dec": 2.0}
DECAM = {"instrument": "DECam"}


def apdb(path: Path, **given: Any) -> Path:
    """Write three sources of three objects, taken by DECam."""
    given.setdefault("sources", [SOURCE | {"diaObjectId": number} for number in (1, 2, 3)])
    given.setdefault("objects", [OBJECT | {"diaObjectId": number} for number in (1, 2, 3)])
    given.setdefault("metadata", DECAM)
    return make_apdb(path, **given)


def change(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


def counted(path: Path, **options: Any) -> list[int]:
    """Return the four numbers of `hitsduck counts`."""
    with hitsduck.open_reruns({"A": path}, **options) as reruns:
        return list(reruns.counts().rows()[0].values())[1:]


def asked(path: Path, query: str, **options: Any) -> list[dict[str, Any]]:
    with hitsduck.open_reruns({"A": path}, **options) as reruns:
        return reruns.sql(query).rows()


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return name -> (size, mtime, digest) of every file below a folder."""
    return {
        str(file.relative_to(folder)): (
            file.stat().st_size,
            file.stat().st_mtime_ns,
            hashlib.sha256(file.read_bytes()).hexdigest(),
        )
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give hitsduck a temporary folder of its own, which must be empty after each test."""
    assert tmp_path.is_dir()  # pytest has its own before the next line
    folder = Path(tempfile.mkdtemp(prefix="tests-of-bad-input-"))
    folder.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    for thread in threading.enumerate():  # a connection that nobody waited for
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(60)
    left = [path.name for path in folder.iterdir()]
    shutil.rmtree(folder)
    assert left == []


@contextmanager
def another_process(path: Path, *statements: str) -> Iterator[None]:
    """Run statements on `path` in a second process, which keeps its connection open."""
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]:\n"
        "    connection.execute(statement).fetchall()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()  # as a pipeline that crashes: nothing is tidied up


def one_line(error: pytest.ExceptionInfo[Exception], *parts: object) -> str:
    """Return the message after checking that it is one line and names `parts`."""
    message = str(error.value)
    assert isinstance(error.value, HitsduckError)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, (part, message)
    return message


# -- paths -----------------------------------------------------------------------------------


def test_a_missing_path_is_named(tmp_path: Path):
    with pytest.raises(RerunNotFoundError) as error:
        counted(tmp_path / "nowhere" / "association.db")
    one_line(error, tmp_path / "nowhere" / "association.db", "no such file or folder")
    assert isinstance(error.value, FileNotFoundError)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_path_is_refused_and_not_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    apdb(tmp_path / "association.db")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RerunNotFoundError, match="path of a rerun is empty"):
        counted("")


def test_a_broken_link_is_a_missing_path(tmp_path: Path):
    (tmp_path / "link.db").symlink_to(tmp_path / "gone.db")
    with pytest.raises(RerunNotFoundError, match=r"link\.db: no such file"):
        counted(tmp_path / "link.db")


def test_a_device_is_no_apdb():
    with pytest.raises(RerunNotFoundError, match="/dev/null: neither a file nor a folder"):
        counted(Path("/dev/null"))


@pytest.mark.parametrize("others", [[], ["notes.txt"], ["registry.sqlite3", "notes.txt"]])
def test_a_folder_without_an_apdb_says_what_was_looked_for(tmp_path: Path, others: list[str]):
    folder = tmp_path / "rerun"
    folder.mkdir()
    for name in others:
        if name.endswith("sqlite3"):
            change(folder / name, "create table registry (a)")
        else:
            (folder / name).write_text("nothing")
    with pytest.raises(RerunNotFoundError) as error:
        counted(folder)
    held = f"it holds {', '.join(sorted(others)) or 'nothing'};"
    one_line(error, folder, "association.db", held, "name the SQLite file itself")


def test_a_folder_with_several_apdbs_lists_them(tmp_path: Path):
    apdb(tmp_path / "may.db")
    apdb(tmp_path / "june.sqlite3")
    with pytest.raises(RerunNotFoundError) as error:
        counted(tmp_path)
    one_line(error, tmp_path, "2 APDB files (june.sqlite3, may.db)", "name one of them")


def test_a_folder_with_one_apdb_among_other_files_is_understood(tmp_path: Path):
    apdb(tmp_path / "may.db")
    change(tmp_path / "registry.sqlite3", "create table registry (a)")
    (tmp_path / "may.db.md5").write_text("0")
    assert counted(tmp_path) == [3, 3, 3, 3]


def test_association_db_goes_before_other_apdbs_of_a_folder(tmp_path: Path):
    apdb(tmp_path / "association.db")
    apdb(tmp_path / "copy.db", sources=[])
    assert counted(tmp_path) == [3, 3, 3, 3]


def test_the_folder_above_is_looked_at_last(tmp_path: Path):
    # ap_verify leaves association.db one folder above the rerun.
    apdb(tmp_path / "association.db")
    (tmp_path / "output").mkdir()
    assert counted(tmp_path / "output") == [3, 3, 3, 3]


# -- files that are no database --------------------------------------------------------------


def test_an_empty_file_is_called_empty(tmp_path: Path):
    path = tmp_path / "a.db"
    path.touch()
    with pytest.raises(NotAnApdbError) as error:
        counted(path)
    one_line(error, path, "is empty (0 bytes)")


@pytest.mark.parametrize(
    "content",
    [
        bytes(range(256)) * 32,
        b"\x1f\x8b\x08\x00" + bytes(5000),
        b"SQLite format 4\x00" + bytes(5000),
        b"PAR1" + bytes(5000),
        b"a",
    ],
    ids=["encrypted-looking", "gzip", "another format", "parquet", "one byte"],
)
def test_a_file_of_another_kind_is_called_no_database(tmp_path: Path, content: bytes):
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(NotAnApdbError) as error:
        counted(path)
    one_line(error, path, "is no SQLite database", "encrypted, compressed or another kind")


def test_random_bytes_after_the_right_beginning_are_called_damaged(tmp_path: Path):
    path = tmp_path / "a.db"
    path.write_bytes(b"SQLite format 3\x00" + hashlib.shake_256(b"seed").digest(8176))
    with pytest.raises(NotAnApdbError) as error:
        counted(path)
    one_line(error, path, "damaged or cut off")


@pytest.mark.parametrize("part", [16, 99, 100, 4096, 0.5, -4096, -1])
def test_a_truncated_file_is_called_cut_off(tmp_path: Path, part: float):
    whole = apdb(tmp_path / "whole.db").read_bytes()
    size = int(len(whole) * part) if isinstance(part, float) else part % len(whole)
    path = tmp_path / "a.db"
    path.write_bytes(whole[:size])
    with pytest.raises(NotAnApdbError) as error:
        counted(path)
    one_line(error, path, "cut off", size)


def test_a_page_that_is_damaged_inside_is_told_with_the_name_of_the_file(tmp_path: Path):
    good = apdb(tmp_path / "good.db")
    path = apdb(
        tmp_path / "a.db",
        objects=[OBJECT | {"diaObjectId": number} for number in range(1, 400)],
    )
    with closing(sqlite3.connect(path)) as connection:
        (page_size,) = connection.execute("pragma page_size").fetchone()
        ((root,),) = connection.execute(
            "select rootpage from sqlite_master where name = 'DiaObject'"
        ).fetchall()
    content = bytearray(path.read_bytes())
    # An interior page of a table begins with 5 and holds its last child at bytes 8 to 12
    # (SQLite's file format); pages count from 1.
    top = (root - 1) * page_size
    assert content[top] == 5
    last = (int.from_bytes(content[top + 8 : top + 12], "big") - 1) * page_size
    content[last : last + page_size] = hashlib.shake_256(b"seed").digest(page_size)
    path.write_bytes(bytes(content))
    with (
        hitsduck.open_reruns({"good": good, "bad": path}) as reruns,
        pytest.raises(NotAnApdbError) as error,
    ):
        reruns.counts()
    one_line(error, path, "is damaged")


@pytest.mark.parametrize("statements", [[], ["create table x (a)"], ["create table DiaSource (a)"]])
def test_a_database_that_is_no_apdb_says_what_it_has(tmp_path: Path, statements: list[str]):
    path = change(tmp_path / "a.db", "create table t (a)", "drop table t", *statements)
    with pytest.raises(NotAnApdbError) as error:
        counted(path)
    listed = statements[0].split()[2] if statements else "no table at all"
    one_line(error, path, "is an SQLite database but no APDB", f"(it has: {listed})")


def test_several_prefixes_in_one_file_are_told_apart_by_nobody(tmp_path: Path):
    path = tmp_path / "a.db"
    change(
        path,
        *(f"create table {p}_{t} (a)" for p in ("may", "june") for t in ("DiaSource", "DiaObject")),
    )
    with pytest.raises(NotAnApdbError) as error:
        counted(path)
    one_line(error, path, "several APDBs", "june_, may_")


# -- missing columns, empty tables -----------------------------------------------------------


def test_all_missing_columns_are_named_at_once(tmp_path: Path):
    path = apdb(
        tmp_path / "a.db",
        generation="2023",
        sources=[],
        objects=[],
        leave_out=[
            "DiaSource.ra",
            "DiaSource.dec",
            "DiaSource.ccdVisitId",
            "DiaSource.flags",
            "DiaObject.validityEnd",
        ],
    )
    with pytest.raises(SchemaError) as error:
        counted(path)
    one_line(
        error,
        path,
        "'A'",
        "DiaSource.ra, DiaSource.dec, DiaSource.visit and detector (or ccdVisitId), "
        "DiaSource.flags (or a flag column such as pixelFlags_bad), DiaObject.validityEndMjdTai",
    )


def test_x_and_y_are_asked_for_only_by_edges_and_the_focal_plane(tmp_path: Path):
    path = apdb(tmp_path / "a.db", leave_out=["DiaSource.x", "DiaSource.y"], sources=[SOURCE])
    assert counted(path) == [1, 1, 3, 0]
    with hitsduck.open_reruns({"A": path}) as reruns:
        assert reruns["A"].sources(["x", "y"]).rows() == [{"x": None, "y": None}]
        for query in (
            "select edge_distance_px from dia_source_edge",
            "select focal_x_mm from dia_source_focal_plane",
        ):
            with pytest.raises(HitsduckError) as error:
                reruns.sql(query)
            one_line(error, path, "has no columns x and y")


@pytest.mark.parametrize("generation", ["2020", "10.0.0"])
def test_empty_tables_give_zeros_and_no_error(tmp_path: Path, generation: str):
    path = apdb(tmp_path / "a.db", generation=generation, sources=[], objects=[], metadata=None)
    assert counted(path) == [0, 0, 0, 0]
    with hitsduck.open_reruns({"A": path}) as reruns:
        (info,) = reruns.info()
        assert info["n_rows"]["DiaSource"] == info["n_rows"]["DiaObject"] == 0
        assert (info["bands"], info["first_mjd_tai"], info["n_bad_positions"]) == ([], None, 0)
        for view in ("visit_summary", "detector_summary", "night_summary", "dia_source_edge"):
            assert len(reruns.sql(f"select * from {view}")) == 0
        assert len(reruns["A"].sources()) == 0


def test_an_empty_rerun_compares_with_a_full_one(tmp_path: Path):
    files = {
        "empty": apdb(tmp_path / "empty.db", sources=[], objects=[]),
        "full": apdb(tmp_path / "full.db"),
    }
    with hitsduck.open_reruns(files) as reruns:
        summary = reruns.compare("empty", "full").summary()
    names = ("n_left", "n_right", "n_matched", "n_left_only", "n_right_only")
    assert [summary[name] for name in names] == [0, 3, 0, 0, 3]


# -- cells -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "column", "value", "query", "said"),
    [
        ("10.0.0", "ra", "'abc'", "select ra from dia_source", "DOUBLE and holds 1 cell"),
        ("2020", "psFlux", "'inf'", "select psf_snr from dia_source", "FLOAT and holds 1 cell"),
        ("2020", "flags", "'abc'", "select * from rerun_counts", "BIGINT and holds 1 cell"),
        ("2023", "ccdVisitId", "'x'", "select visit from dia_source", "BIGINT and holds 1 cell"),
        ("10.0.0", "diaObjectId", "3.5", "select * from rerun_counts", "BIGINT and holds 1 cell"),
        (
            "10.0.0",
            "pixelFlags_bad",
            "'true'",
            "select * from rerun_counts",
            "BOOLEAN and holds 1 cell",
        ),
        ("10.0.0", "band", "x'ff'", "select band from dia_source", "CHAR(1) and holds 1 cell"),
    ],
)
def test_a_cell_of_another_kind_is_found_and_named(
    tmp_path: Path, generation: str, column: str, value: str, query: str, said: str
):
    good = apdb(tmp_path / "good.db", generation=generation)
    path = apdb(tmp_path / "a.db", generation=generation)
    change(path, f"update DiaSource set {column} = {value} where diaSourceId = 2")
    with (
        hitsduck.open_reruns({"good": good, "bad": path}) as reruns,
        pytest.raises(BadValueError) as error,
    ):
        reruns.sql(query)
    one_line(error, "'bad'", path, f"DiaSource.{column} is declared {said}", "(rowid 2: ")
    assert isinstance(error.value, ValueError)


def test_the_first_five_rowids_of_many_cells_are_named(tmp_path: Path):
    path = apdb(
        tmp_path / "a.db",
        sources=[SOURCE | {"diaObjectId": number} for number in range(1, 21)],
    )
    change(path, "update DiaSource set ra = 'abc' where diaSourceId > 10")
    with pytest.raises(BadValueError) as error:
        asked(path, "select ra from dia_source")
    rows = ", ".join(f"rowid {number}: 'abc'" for number in (11, 12, 13, 14, 15))
    one_line(error, path, f"holds 10 cells that are nothing of the kind ({rows});")


@pytest.mark.parametrize("value", ["'garbage'", "''", "'2015-13-45 00:00:00'", "57000", "x'00'"])
def test_a_time_that_cannot_be_read_is_found_and_named(tmp_path: Path, value: str):
    path = apdb(tmp_path / "a.db", generation="0.1.1")
    change(path, f"update DiaObject set validityEnd = {value} where diaObjectId = 3")
    with pytest.raises(BadValueError) as error:
        counted(path)
    one_line(error, path, "DiaObject.validityEnd is declared TIMESTAMP", "(rowid 3: ")


def test_a_text_that_is_no_utf8_is_found_and_named(tmp_path: Path):
    path = change(
        apdb(tmp_path / "a.db"), "update DiaSource set band = cast(x'67ff' as text) where rowid = 2"
    )
    said = "DiaSource.band holds a text that is no UTF-8 (rowid 2: b'g\\xff')"
    assert counted(path) == [3, 3, 3, 3]
    with hitsduck.open_reruns({"A": path, "B": path}) as reruns:
        comparison = reruns.compare("A", "B")
        for ask in (
            reruns.info,
            lambda: reruns.sql("select band from dia_source"),
            lambda: reruns.sql("select list(band) as bands from dia_source"),
            lambda: reruns["A"].sources(["band"]),
            lambda: comparison.by("band"),
            comparison.explain,
        ):
            with pytest.raises(BadValueError) as error:
                ask()
            one_line(error, path, said)


def test_a_position_at_infinity_hurts_no_picture(tmp_path: Path):
    sources = [SOURCE | {"diaObjectId": number} for number in (1, 2, 3)]
    path = apdb(tmp_path / "a.db", sources=sources)
    change(path, "update DiaSource set x = -9e999 where rowid = 2")
    with hitsduck.open_reruns({"A": path}) as reruns:
        drawn = reruns.chart_data("focal_plane")
        assert drawn["n"].sum() == 2
        assert drawn["n_total"].to_list()[0] == 3


def test_sources_without_an_id_leave_the_other_checks(tmp_path: Path):
    path = apdb(tmp_path / "a.db", constraints=False)
    change(path, "update DiaSource set diaSourceId = NULL where rowid = 2")
    with hitsduck.open_reruns({"A": path}) as reruns:
        found = {row["check"]: row for row in reruns.integrity().rows()}
    assert found["repeated_detections"]["count"] is None
    assert "diaSourceId" in found["repeated_detections"]["reason"]
    assert found["sources_without_object"]["count"] == 0
    with hitsduck.open_reruns({"A": path, "B": apdb(tmp_path / "b.db")}) as reruns:
        found = {(row["rerun"], row["check"]): row for row in reruns.integrity().rows()}
    assert found["A", "visits_elsewhere_on_the_sky"]["count"] == 0


WRONG_OPTIONS: list[dict[str, Any]] = [
    {"bad_flags": 5},
    {"bad_flags": [5]},
    {"bad_flags": None},
    {"camera": 5},
    {"instrument": 5},
    {"moments": 5},
    {"temp_directory": 5},
    {"cache": 5},
    {"cache": None},
    {"tracer": 5},
    {"threads": "many"},
]


@pytest.mark.parametrize("options", WRONG_OPTIONS, ids=str)
def test_an_option_of_another_type_is_named_with_its_value(tmp_path: Path, options: dict[str, Any]):
    ((name, value),) = options.items()
    with pytest.raises(HitsduckError) as caught:
        hitsduck.open_reruns({"A": apdb(tmp_path / "a.db")}, **options)
    told = str(caught.value)
    assert "\n" not in told
    assert repr(value) in told
    assert name.rstrip("s").replace("_", " ") in told.replace("_", " ")


def test_a_question_of_another_type_is_one_line(tmp_path: Path):
    catalog = pl.DataFrame({"ra": [150.0], "dec": [2.0]})
    expression = pl.col("x") > 5
    with hitsduck.open_reruns({"A": apdb(tmp_path / "a.db")}) as reruns:
        comparison = reruns.compare("A", "A")
        for question, value in (
            (reruns.sql, None),
            (reruns.sql, 5),
            (reruns.chart, None),
            (reruns.chart_data, 5),
            (reruns.charts_data, 5),
            (reruns.charts_data, "flags"),
            (reruns.summary, None),
            (reruns.__getitem__, None),
            (reruns.__getitem__, ["A"]),
            (reruns.integrity, 5),
            (reruns.integrity, "A"),
            (reruns.materialize, 5),
            (comparison.by, 5),
            (comparison.register, 5),
            (lambda folder: reruns.export("A", folder), 5),
            (lambda names: reruns.export("A", tmp_path / "new", columns=names), 5),
            (lambda order: reruns.series(order=order), 5),
            (lambda images: reruns.src_counts(images=images), 5),
            (lambda where: reruns.counts(where=where), 5),
            (lambda within: comparison.edges(within_px=within), "near"),
            (lambda extra: comparison.explain(extra=extra), "abc"),
            (lambda extra: comparison.explain(extra=extra), ["band"]),
            (lambda name: comparison.explain(extra={name: "psf_snr > 9"}), 1),
            (lambda name: comparison.explain(extra={name: "psf_snr > 9"}), "row"),
            (lambda name: comparison.explain(extra={name: expression}), "visit"),
            (lambda alpha: comparison.explain(alpha=alpha), "a"),
            (comparison.write, 5),
            (lambda name: reruns.integrity([name]), ["A"]),
            (lambda good: reruns.compare("A", "A", good=good), None),
            (lambda good: reruns["A"].sources(good=good), "no"),
            (lambda good: reruns["A"].objects(good=good), None),
            (lambda of: reruns.match_catalog(catalog, of=of), ["objects"]),
            (lambda keep: reruns.match_catalog(catalog, keep=keep), 5),
        ):
            with pytest.raises(HitsduckError) as caught:
                question(value)
            assert str(value) in str(caught.value)
            assert "\n" not in str(caught.value)
        with pytest.raises(HitsduckError, match="within_px is 1000"):
            comparison.edges(within_px=10**400)  # no float holds it
        with pytest.raises(HitsduckError, match="list of names is empty"):
            reruns.integrity([])  # nothing looked at is no clean bill


def test_a_bad_cell_hurts_only_the_questions_that_read_it(tmp_path: Path):
    path = change(apdb(tmp_path / "a.db"), "update DiaSource set ra = 'abc'")
    assert counted(path) == [3, 3, 3, 3]
    assert asked(path, "select max(dec) as top from dia_source") == [{"top": 2.0}]


def test_a_bad_cell_is_named_in_a_look_up_too(tmp_path: Path):
    path = change(apdb(tmp_path / "a.db"), "update DiaSource set ra = 'abc' where diaSourceId = 2")
    with hitsduck.open_reruns({"A": path}) as reruns:
        assert reruns["A"].source(1)["ra"] == 150.0
        with pytest.raises(BadValueError) as error:
            reruns["A"].source(2)
        one_line(error, path, "DiaSource.ra", "rowid 2: 'abc'")


def test_a_cast_that_fails_in_a_query_is_the_query_s_fault(tmp_path: Path):
    path = change(apdb(tmp_path / "a.db"))
    with pytest.raises(QueryError) as error:
        asked(path, "select cast(band as integer) from dia_source")
    one_line(error, "Could not convert string 'g'")


def test_coordinates_that_are_null_or_out_of_range_are_counted_and_never_dropped(tmp_path: Path):
    coordinates: list[tuple[float | None, float | None]] = [
        (150.0, 2.0),
        (0.0, -90.0),
        (360.0, 90.0),
        (None, 2.0),
        (150.0, None),
        (-0.001, 2.0),
        (360.001, 2.0),
        (150.0, -90.001),
        (150.0, 90.001),
        (float("inf"), 2.0),
        (150.0, float("-inf")),
    ]
    path = apdb(
        tmp_path / "a.db",
        sources=[
            SOURCE | {"diaObjectId": number, "ra": ra, "dec": dec}
            for number, (ra, dec) in enumerate(coordinates, start=1)
        ],
        objects=[OBJECT | {"diaObjectId": number} for number in range(1, 12)],
        constraints=False,
    )
    assert counted(path) == [11, 11, 11, 11]
    with hitsduck.open_reruns({"A": path}) as reruns:
        (info,) = reruns.info()
        # All but the first three.
        assert info["n_bad_positions"] == 8
        summary = reruns.compare("A", "A").summary()
    assert (summary["n_left"], summary["n_right"]) == (11, 11)


def test_a_null_visit_is_counted(tmp_path: Path):
    path = apdb(
        tmp_path / "a.db",
        sources=[SOURCE, SOURCE | {"visit": None}, SOURCE | {"detector": None}],
        constraints=False,
    )
    assert counted(path)[:2] == [3, 3]
    with hitsduck.open_reruns({"A": path}) as reruns:
        (info,) = reruns.info()
    assert (info["n_null_visits"], info["visits"], info["detectors"]) == (2, [410985], [5])


# -- detectors -------------------------------------------------------------------------------


def test_a_detector_that_the_camera_lacks_is_refused_at_opening_by_the_index(tmp_path: Path):
    # DECam has no CCD 99; one row in 3001 has it, which only the index shows.
    path = apdb(
        tmp_path / "a.db",
        generation="2020",
        sources=[SOURCE] * 3000 + [SOURCE | {"detector": 99}],
    )
    with pytest.raises(InstrumentError) as error:
        counted(path)
    one_line(
        error,
        "'A'",
        path,
        "DECam (metadata) does not fit: it has no detector 99",
        "ccdVisitId 41098599 = visit * 100 + 99",
    )


@pytest.mark.parametrize("generation", ["2020", "10.0.0"])
def test_a_detector_that_the_sample_missed_is_refused_by_the_full_scan(
    tmp_path: Path, generation: str
):
    sources = [SOURCE | {"diaObjectId": number} for number in range(1, 3003)]
    # Row 3002 of 3002: the sample of 1000 takes every third row from the first on.
    sources[-1] = sources[-1] | {"detector": 99}
    path = apdb(
        tmp_path / "a.db", generation=generation, sources=sources, objects=[], indexes=False
    )
    with hitsduck.open_reruns({"A": path}) as reruns:
        # Counting reads no detector, so that nothing has to be refused yet.
        assert reruns.counts().rows()[0]["n_dia_sources"] == 3002
        for query in (
            "select detector from dia_source",
            "select * from visit_detector_summary",
            "select edge_distance_px from dia_source_edge",
        ):
            with pytest.raises(InstrumentError) as error:
                reruns.sql(query)
            one_line(error, "'A'", path, "no detector 99")


def test_when_no_camera_fits_each_says_why(tmp_path: Path):
    # 410985 * 100 + 99: a detector 99 for DECam, 41098599 % 200 = 199 for HSC, and
    # 41098599 % 1000 = 599 for the LSST cameras, none of which exists.
    path = apdb(
        tmp_path / "a.db",
        generation="2023",
        metadata=None,
        sources=[SOURCE | {"detector": 99}],
    )
    with pytest.raises(InstrumentError) as error:
        counted(path)
    one_line(
        error,
        path,
        "no known camera fits",
        "DECam: it has no detector 99",
        "HSC: it has no detector 199",
        "LSSTCam: it has no detector 599",
        "LSSTComCam: it has no detector 599",
        "LSSTCam-imSim: it has no detector 599",
        "--camera FILE.csv",
    )


# -- locks -----------------------------------------------------------------------------------

WRITE = "update DiaSource set ra = ra + 1 where diaSourceId = 1"


@pytest.mark.parametrize(
    "statements",
    [
        ["begin exclusive"],
        ["pragma locking_mode = exclusive", WRITE],
        # A transaction larger than the cache is written to the file before it ends.
        ["pragma cache_size = 1", "begin immediate", "update DiaSource set ra = ra + 1"],
    ],
    ids=["exclusive", "exclusive mode", "spilled transaction"],
)
def test_a_file_that_a_writer_holds_is_locked_in_plain_words(tmp_path: Path, statements: list[str]):
    sources = [SOURCE | {"diaObjectId": number} for number in range(1, 200)]
    path = apdb(tmp_path / "a.db", sources=sources)
    with another_process(path, *statements):
        before = snapshot(tmp_path)
        with pytest.raises(RerunLockedError) as error:
            counted(path)
        one_line(error, path, "is locked by a process that writes it", "wait")
        assert snapshot(tmp_path) == before


def test_a_writer_that_has_not_committed_does_not_disturb(tmp_path: Path):
    path = apdb(tmp_path / "a.db")
    with another_process(path, "begin immediate", "delete from DiaSource"):
        before = snapshot(tmp_path)
        assert counted(path) == [3, 3, 3, 3]
        assert snapshot(tmp_path) == before


def test_a_lock_that_comes_after_opening_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inspection, "LOCK_TIMEOUT_S", 0.1)
    good, path = apdb(tmp_path / "good.db"), apdb(tmp_path / "a.db")
    with hitsduck.open_reruns({"good": good, "bad": path}) as reruns:
        reruns.counts()
        with (
            another_process(path, "begin exclusive"),
            pytest.raises(RerunLockedError) as error,
        ):
            reruns.counts()  # DuckDB itself waits 5 s for the lock
    one_line(error, path, "is locked by a process that writes it")


def test_a_wal_alone_in_a_folder_is_named(tmp_path: Path):
    (tmp_path / "association.db-wal").write_bytes(b"7" * 4096)
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(RerunNotFoundError) as error:
        counted(tmp_path)
    one_line(
        error,
        "it holds association.db-wal, notes.txt",
        "(association.db-wal is of use only beside association.db, which is missing)",
    )


def test_an_apdb_whose_tables_are_in_its_wal_alone_is_found_in_its_folder(tmp_path: Path):
    whole = apdb(tmp_path / "whole.db")
    with closing(sqlite3.connect(whole)) as connection:
        script = "\n".join(connection.iterdump())
    folder = tmp_path / "rerun"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "run.db")) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("pragma wal_autocheckpoint = 0")
        writer.executescript(script)
        with closing(sqlite3.connect(f"file:{folder}/run.db?immutable=1", uri=True)) as main:
            assert main.execute("select count(*) from sqlite_master").fetchone() == (0,)
        before = snapshot(folder)
        with pytest.warns(RerunCopyWarning):
            assert counted(folder) == [3, 3, 3, 3]
        assert snapshot(folder) == before


def test_another_database_in_use_beside_the_apdb_does_not_disturb(tmp_path: Path):
    apdb(tmp_path / "run.db")
    change(tmp_path / "registry.sqlite3", "pragma journal_mode = wal", "create table registry (a)")
    with another_process(tmp_path / "registry.sqlite3", "select * from registry"):
        assert (tmp_path / "registry.sqlite3-wal").exists()
        assert counted(tmp_path) == [3, 3, 3, 3]


def wal(path: Path) -> Path:
    """Put a database into WAL mode and close it, so that it stands alone."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma journal_mode = wal").fetchone() == ("wal",)
    assert sorted(path.parent.glob(f"{path.name}*")) == [path]
    return path


def test_a_wal_file_without_its_wal_is_read_so_that_nothing_is_left(tmp_path: Path):
    path = wal(apdb(tmp_path / "a.db"))
    before = snapshot(tmp_path)
    with pytest.warns(RerunCopyWarning) as given:
        assert counted(path) == [3, 3, 3, 3]
    assert snapshot(tmp_path) == before
    (message,) = [str(warning.message) for warning in given]
    assert str(path) in message
    assert "private copy" in message
    assert "pragma journal_mode = delete" in message


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["select count(*) from DiaSource"], [3, 3, 3, 3]),
        # What is committed counts, though it stands in the -wal file alone.
        (["delete from DiaSource where diaSourceId = 3"], [2, 2, 3, 2]),
        (["begin immediate", "delete from DiaSource"], [3, 3, 3, 3]),
        (["pragma cache_size = 1", "begin immediate", "delete from DiaSource"], [3, 3, 3, 3]),
    ],
    ids=["reading", "committed", "not committed", "not committed, spilled"],
)
def test_a_wal_file_in_use_gives_its_committed_rows(
    tmp_path: Path, statements: list[str], expected: list[int]
):
    path = wal(apdb(tmp_path / "a.db"))
    with another_process(path, *statements):
        before = snapshot(tmp_path)
        with pytest.warns(RerunCopyWarning, match="private copy"):
            assert counted(path) == expected
        assert snapshot(tmp_path) == before
    # The process was killed, its -wal stays: what it had committed still counts.
    before = snapshot(tmp_path)
    with pytest.warns(RerunCopyWarning, match="private copy"):
        assert counted(path) == expected
    assert snapshot(tmp_path) == before


def test_the_copy_of_a_wal_file_is_a_snapshot(tmp_path: Path):
    path = wal(apdb(tmp_path / "a.db"))
    with pytest.warns(RerunCopyWarning, match="private copy"):
        opened = hitsduck.open_reruns({"A": path})
    with opened as reruns:
        change(path, "delete from DiaSource")
        assert reruns.counts().rows()[0]["n_dia_sources"] == 3
        assert reruns.info()[0]["is_private_copy"] is True


def test_a_wal_file_that_changes_while_it_is_copied_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = wal(apdb(tmp_path / "a.db"))
    copy = shutil.copyfile

    def write_and_copy(source: Path, target: Path) -> Path:
        time.sleep(0.02)  # longer than the clock of the file system ticks
        change(path, WRITE)
        return copy(source, target)

    monkeypatch.setattr(inspection.shutil, "copyfile", write_and_copy)
    with pytest.raises(RerunLockedError) as error:
        counted(path)
    one_line(error, path, "is being written", "three attempts")


def test_complaints_about_a_copy_name_the_file_of_the_user(tmp_path: Path):
    path = wal(apdb(tmp_path / "a.db"))
    content = bytearray(path.read_bytes())
    content[100:200] = bytes(100)
    path.write_bytes(bytes(content))
    with (
        pytest.warns(RerunCopyWarning, match="private copy"),
        pytest.raises(NotAnApdbError) as error,
    ):
        counted(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_full_disk_while_copying_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = wal(apdb(tmp_path / "a.db"))

    def no_room(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inspection.shutil, "copyfile", no_room)
    with pytest.raises(RerunLockedError) as error:
        counted(path)
    one_line(error, path, "private copy", "No space left on device", "TMPDIR")


def test_copies_are_removed_where_opening_fails(tmp_path: Path):
    # The autouse fixture looks at the temporary folder afterwards.
    good = wal(apdb(tmp_path / "good.db"))
    with (
        pytest.warns(RerunCopyWarning, match="private copy"),
        pytest.raises(RerunNotFoundError),
    ):
        hitsduck.open_reruns({"A": good, "B": tmp_path / "missing.db"})


def test_copies_are_removed_where_nobody_closes(tmp_path: Path):
    path = wal(apdb(tmp_path / "a.db"))
    with pytest.warns(RerunCopyWarning, match="private copy"):
        reruns = hitsduck.open_reruns({"A": path})
    del reruns


# -- a crashed writer ------------------------------------------------------------------------


def test_a_hot_journal_is_refused_with_the_remedy(tmp_path: Path):
    sources = [SOURCE | {"diaObjectId": number} for number in range(1, 200)]
    path = apdb(tmp_path / "a.db", sources=sources)
    with another_process(
        path, "pragma cache_size = 1", "begin immediate", "update DiaSource set ra = ra + 1"
    ):
        pass
    assert (tmp_path / "a.db-journal").stat().st_size > 0
    before = snapshot(tmp_path)
    with pytest.raises(RerunLockedError) as error:
        counted(path)
    one_line(error, path, "a writer has crashed and left a journal", "sqlite3 FILE .tables")
    assert snapshot(tmp_path) == before
    # The remedy works: SQLite rolls the half-written transaction back.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("select count(*) from DiaSource").fetchone()
    assert counted(path) == [199, 199, 3, 3]
    assert asked(path, "select max(ra) as top from dia_source") == [{"top": 150.0}]


def test_the_journal_of_a_finished_transaction_does_no_harm(tmp_path: Path):
    path = apdb(tmp_path / "a.db")
    change(path, "pragma journal_mode = persist", WRITE)
    assert (tmp_path / "a.db-journal").stat().st_size > 0
    before = snapshot(tmp_path)
    assert counted(path) == [3, 3, 3, 3]
    assert snapshot(tmp_path) == before


# -- folders and files that cannot be written or read ----------------------------------------


@pytest.fixture
def ordinary_user(temporary_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Prepare a test that gives up root's rights; return a folder that anybody may enter."""
    assert temporary_folder.is_dir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = Path(tempfile.mkdtemp(prefix="tests-of-an-ordinary-user-"))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary_folder))
    folder.chmod(0o755)
    # What is imported late has to be there: an ordinary user may not read root's home.
    warm = apdb(folder / "warm" / "a.db")
    with hitsduck.open_reruns({"A": warm}) as reruns:
        reruns.counts(where="ra > 0")
    yield folder
    if os.getuid() == 0:
        os.seteuid(0)
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o755)
    shutil.rmtree(folder)


def become_ordinary() -> None:
    """Give up root's rights, where it is root who runs the tests."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        if not os.access(duckdb.__file__, os.R_OK, effective_ids=True):
            pytest.skip(f"an ordinary user may not read the packages in {duckdb.__file__}")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_read_only_folder_is_read_all_the_same(ordinary_user: Path, mode: str):
    folder = ordinary_user / "rerun"
    path = apdb(folder / "a.db")
    if mode == "wal":
        wal(path)
    path.chmod(0o444)
    folder.chmod(0o555)
    before = snapshot(folder)
    become_ordinary()
    with pytest.raises(PermissionError):
        (folder / "probe").touch()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        assert counted(path) == [3, 3, 3, 3]
        assert counted(folder) == [3, 3, 3, 3]
    kinds = [warning.category for warning in given]
    assert kinds == ([RerunCopyWarning] * 2 if mode == "wal" else [])
    assert snapshot(folder) == before


def test_a_file_that_may_not_be_read_is_told(ordinary_user: Path):
    path = apdb(ordinary_user / "rerun" / "a.db")
    path.chmod(0o000)
    become_ordinary()
    with pytest.raises(RerunLockedError) as error:
        counted(path)
    one_line(error, path, "cannot be read: Permission denied")


@pytest.mark.parametrize("mode", [0o000, 0o311])
def test_a_folder_that_may_not_be_read_is_told(ordinary_user: Path, mode: int):
    folder = ordinary_user / "rerun"
    apdb(folder / "a.db")
    folder.chmod(mode)
    become_ordinary()
    with pytest.raises(RerunLockedError) as error:
        counted(folder)
    one_line(error, folder, "cannot be read: Permission denied")


def test_a_file_in_a_folder_that_may_not_be_entered_is_told(ordinary_user: Path):
    path = apdb(ordinary_user / "rerun" / "a.db")
    path.parent.chmod(0o000)
    become_ordinary()
    with pytest.raises(RerunLockedError) as error:
        counted(path)
    one_line(error, path, "cannot be read: Permission denied")


# -- afterwards ------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ["2020", "0.1.1", "10.0.0"])
def test_bytes_mtime_and_folder_are_the_same_afterwards(tmp_path: Path, generation: str):
    path = apdb(tmp_path / "association.db", generation=generation)
    os.utime(path, ns=(1_500_000_000_123_456_789, 1_500_000_000_123_456_789))
    before = snapshot(tmp_path)
    with hitsduck.open_reruns(tmp_path) as reruns:
        name = reruns.names[0]
        reruns.counts(where="ra > 0")
        reruns.info()
        reruns.summary("visit_summary")
        reruns.compare(name, name)
        reruns[name].object(1)
        reruns[name].sources_for_object(1)
        assert snapshot(tmp_path) == before
    assert snapshot(tmp_path) == before


# -- a text of the query where a number is wanted ------------------------------------------------


@pytest.mark.parametrize(
    ("query", "values", "said"),
    [
        ("visit = $visit", {"visit": "abc"}, "$visit is 'abc' where INT64 is wanted"),
        ("ra > $low and dec < $b", {"low": "x y", "b": 9.0}, "$low is 'x y' where DOUBLE"),
        ("visit in ($a, $b)", {"a": "9a", "b": "9a"}, "$a and $b are '9a' where INT64"),
        ("visit = 'it''s'", {}, 'the query has "it\'s" where INT64 is wanted'),
        ("night = 'yesterday'", {}, "the query has 'yesterday' where DATE is wanted"),
        ("night = $night", {"night": "Feb 17"}, "$night is 'Feb 17' where DATE is wanted"),
    ],
)
def test_a_text_of_the_query_is_told_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
    values: dict[str, Any],
    said: str,
):
    def look(*_: object, **__: object) -> None:
        raise AssertionError("no file need be searched")

    path = apdb(tmp_path / "a.db")
    monkeypatch.setattr("hitsduck.complaints.suspects", look)
    with hitsduck.open_reruns({"a": path}) as reruns, pytest.raises(QueryError) as error:
        reruns.sql(f"select count(*) from dia_source where {query}", **values)
    one_line(error, said)


def test_a_cast_of_the_query_is_searched_for_in_its_column_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    looked: list[str] = []

    def look(
        connection: sqlite3.Connection, table: str, columns: dict[str, Any], *, is_text: bool
    ) -> list[str]:
        looked.extend(f"{table}.{name}" for name in columns)
        return inspection.suspects(connection, table, columns, is_text=is_text)

    path = apdb(tmp_path / "a.db", generation="2020")
    monkeypatch.setattr("hitsduck.complaints.suspects", look)
    query = "select sum(cast(band as double)) from dia_source"
    with (
        hitsduck.open_reruns({"a": path}) as reruns,
        pytest.raises(QueryError, match="Could not convert string 'g' to DOUBLE"),
    ):
        reruns.sql(query)
    assert {name.partition(".")[2] for name in looked} == {"filterName"}
    assert "DiaSource.filterName" in looked
