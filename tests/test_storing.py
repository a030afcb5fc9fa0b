"""Workspaces and Parquet folders: what they hold is what SQLite holds, or nothing is there."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from apdb_files import make_apdb
from polars.testing import assert_frame_equal

import hitsduck
from hitsduck import columnar, importing, storing
from hitsduck.connection import Connection
from hitsduck.errors import (
    CacheWarning,
    HitsduckError,
    InstrumentError,
    NotAnApdbError,
    OutputError,
    QueryError,
    RerunChangedError,
    RerunNotFoundError,
    StaleWarning,
)
from hitsduck.gallery import CHARTS
from hitsduck.opening import refresh_workspace
from hitsduck.simulator import simulate

NAMES = ("Apr2020", "May2020", "Jun2020")
#: How often an import is killed; the whole campaign is the fifty of the issue.
N_KILLS = 50 if os.environ.get("HITSDUCK_CAMPAIGN") == "full" else 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three small simulated reruns."""
    path = tmp_path_factory.mktemp("simulated") / "small"
    simulate(path, preset="small", src_catalogs="none")
    return path


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, Path]:
    return {name: folder / name / "association.db" for name in NAMES}


@pytest.fixture(scope="module")
def workspace(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    with hitsduck.open_reruns(files) as reruns:
        return reruns.materialize(tmp_path_factory.mktemp("workspace") / "hits.duckdb")


@pytest.fixture(scope="module")
def exported(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("exported")
    with hitsduck.open_reruns(files) as reruns:
        return {name: reruns.export(name, place / name) for name in NAMES}


@pytest.fixture(scope="module")
def opened(files: dict[str, Path]) -> Iterator[hitsduck.Reruns]:
    with hitsduck.open_reruns(files) as reruns:
        yield reruns


@pytest.fixture(scope="module", params=["workspace", "parquet"])
def stored(
    request: pytest.FixtureRequest, workspace: Path, exported: dict[str, Path]
) -> Iterator[hitsduck.Reruns]:
    asked: Any = workspace if request.param == "workspace" else exported
    with hitsduck.open_reruns(asked) as reruns:
        yield reruns


def small(path: Path, n_sources: int = 5) -> Path:
    source = {"visit": 410985, "detector": 5, "ra": 150.0, "dec": 2.0, "x": 9.0, "y": 9.0}
    return make_apdb(
        path,
        sources=[source | {"diaObjectId": 1 + number} for number in range(n_sources)],
        objects=[{"diaObjectId": 1 + number} for number in range(n_sources)],
        metadata={"instrument": "DECam"},
    )


def add_a_source(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        names = [row[1] for row in connection.execute("pragma table_info(DiaSource)")]
        listed = ", ".join(f'"{name}"' for name in names)
        terms = ", ".join('999 + "diaSourceId"' if n == "diaSourceId" else f'"{n}"' for n in names)
        connection.execute(
            f"insert into DiaSource ({listed}) select {terms} from DiaSource limit 1"
        )


# -- the same answers ------------------------------------------------------------------------


def test_counts_are_those_of_sqlite(stored: hitsduck.Reruns, files: dict[str, Path]):
    for name, row in zip(NAMES, stored.counts().rows(), strict=True):
        with closing(sqlite3.connect(f"file:{files[name]}?mode=ro", uri=True)) as connection:
            # bad 64, suspect 128 (flag_bits.csv, era 2019: bits 6 and 7), saturatedCenter 512
            truth = connection.execute(
                "select count(*), sum((flags & 704) = 0) from DiaSource"
            ).fetchone()
        assert row["rerun"] == name
        assert (row["n_dia_sources"], row["n_good_dia_sources"]) == truth


@pytest.mark.parametrize("view", ["dia_source", "dia_object_history", "dia_forced_source"])
def test_every_row_is_the_same(opened: hitsduck.Reruns, stored: hitsduck.Reruns, view: str):
    order = "order by all"
    query = f'select * exclude (rerun) from "Jun2020".{view} {order}'
    assert_frame_equal(stored.sql(query).polars(), opened.sql(query).polars())


def test_the_comparison_is_the_same(opened: hitsduck.Reruns, stored: hitsduck.Reruns):
    before, after = (r.compare("Apr2020", "Jun2020") for r in (opened, stored))
    told, stored_told = before.summary(), after.summary()
    for name in ("left_path", "right_path"):
        told.pop(name), stored_told.pop(name)
    assert stored_told == told
    assert told["same_file"] is False
    assert_frame_equal(after.matched, before.matched)
    assert_frame_equal(after.right_only, before.right_only)


def test_the_numbers_of_every_chart_are_the_same(opened: hitsduck.Reruns, stored: hitsduck.Reruns):
    pair = ("Apr2020", "Jun2020")
    before, after = (r.charts_data(CHARTS, compare=pair) for r in (opened, stored))
    assert list(after) == list(CHARTS)
    for name, frame in after.items():
        assert frame.height, name
        assert_frame_equal(frame, before[name], rel_tol=1e-9)


def test_info_tells_of_the_apdb(opened: hitsduck.Reruns, stored: hitsduck.Reruns):
    for told, of_store in zip(opened.info(), stored.info(), strict=True):
        for key in ("generation", "generations", "flag_encoding", "instrument", "moments_unit"):
            assert of_store[key] == told[key], key
        for key in (
            "visits",
            "detectors",
            "median_seeing_arcsec",
            "unread_columns",
            "n_null_flags",
        ):
            assert of_store[key] == told[key], key
        kept = {table: n for table, n in told["n_rows"].items() if table in of_store["n_rows"]}
        assert of_store["n_rows"] == kept


def test_integrity_is_the_same(opened: hitsduck.Reruns, stored: hitsduck.Reruns):
    assert stored.integrity().rows() == opened.integrity().rows()


def test_rows_by_id_are_the_same(opened: hitsduck.Reruns, stored: hitsduck.Reruns):
    (some,) = opened.sql(
        'select min(diaObjectId) as id, min(diaSourceId) as source from "May2020".dia_source'
    ).rows()
    for reruns in (opened, stored):
        assert reruns["May2020"].source(some["source"])["diaSourceId"] == some["source"]
    assert_frame_equal(
        stored["May2020"].sources_for_object(some["id"]).polars(),
        opened["May2020"].sources_for_object(some["id"]).polars(),
    )
    forced = "forced_sources_for_object"
    assert len(getattr(stored["May2020"], forced)(some["id"])) == len(
        getattr(opened["May2020"], forced)(some["id"])
    )


def test_a_condition_and_other_flags_hold_too(
    files: dict[str, Path], workspace: Path, exported: dict[str, Path]
):
    asked: list[Any] = [files, workspace, exported]
    answers = []
    for paths in asked:
        with hitsduck.open_reruns(paths, bad_flags="edge,interpolated") as reruns:
            answers.append(reruns.counts(where="psf_snr > 6 and x < 1000").rows())
    assert answers[1] == answers[0]
    assert answers[2] == answers[0]
    assert 0 < answers[0][0]["n_good_dia_sources"] < answers[0][0]["n_dia_sources"]


def test_floats_are_narrowed_where_nothing_is_lost_and_only_there(shared: Path, tmp_path: Path):
    path = shared / "data" / "apdb" / "imsim-2023-packed.sqlite3"
    with hitsduck.open_reruns({"a": path}, instrument="LSSTCam-imSim") as reruns:
        made = reruns.materialize(tmp_path / "real.duckdb")
        before = reruns.sql("select psfFlux, x, trailFlux from dia_source order by diaSourceId")
        with hitsduck.open_reruns({"a": made}, instrument="LSSTCam-imSim") as again:
            after = again.sql("select psfFlux, x, trailFlux from dia_source order by diaSourceId")
            assert_frame_equal(after.polars(), before.polars(), check_exact=True)
    with closing(duckdb.connect(str(made), read_only=True)) as connection:
        kinds = dict(
            connection.execute(
                "select column_name, data_type from information_schema.columns "
                "where table_name = 'DiaSource' and column_name in ('trailFlux', 'pixelFlags_bad')"
            ).fetchall()
        )
    # trailFlux of this file reaches 1e116, which no 32-bit float can hold.
    assert kinds == {"trailFlux": "DOUBLE", "pixelFlags_bad": "BOOLEAN"}


def test_what_a_32_bit_float_holds_is_stored_as_one(tmp_path: Path):
    path = small(tmp_path / "a.db")
    with hitsduck.open_reruns({"a": path}) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb")
    with closing(duckdb.connect(str(made), read_only=True)) as connection:
        (kind,) = connection.execute('select typeof(x) from a."DiaSource" limit 1').fetchone() or ()
    assert kind == "FLOAT"


def test_rows_are_in_order_of_visit(workspace: Path):
    with closing(duckdb.connect(str(workspace), read_only=True)) as connection:
        visits = [
            row[0]
            for row in connection.execute(
                'select ccdVisitId from "Jun2020"."DiaSource" order by rowid'
            ).fetchall()
        ]
    assert visits == sorted(visits)
    assert len(set(visits)) > 10


def test_any_duckdb_reads_the_views_of_a_workspace(workspace: Path, opened: hitsduck.Reruns):
    # A client without hitsduck, without the SQLite reader, and without the APDBs.
    with closing(
        duckdb.connect(str(workspace), read_only=True, config={"autoload_known_extensions": False})
    ) as connection:
        rows = connection.execute(
            "select * from all_reruns.rerun_counts order by n_dia_sources"
        ).fetchall()
        n_edge = connection.execute(
            'select count(*) from "Jun2020".dia_source_edge where edge_distance_px < 32'
        ).fetchone()
    truth = sorted((tuple(row.values()) for row in opened.counts().rows()), key=lambda r: r[1])
    assert rows == truth
    asked = 'select count(*) as n from "Jun2020".dia_source_edge where edge_distance_px < 32'
    assert n_edge == (opened.sql(asked).rows()[0]["n"],)


def test_the_notebooks_columns_are_enough_for_counts_and_edges(
    files: dict[str, Path], tmp_path: Path, opened: hitsduck.Reruns
):
    with hitsduck.open_reruns({"Apr2020": files["Apr2020"]}) as reruns:
        made = reruns.materialize(tmp_path / "n.duckdb", columns="notebook")
        some = reruns.materialize(tmp_path / "s.duckdb", columns=["psfFlux", "nDiaSources"])
        with pytest.raises(QueryError, match="no column nonsense"):
            reruns.materialize(tmp_path / "x.duckdb", columns="nonsense")
    assert made.stat().st_size > 0
    with hitsduck.open_reruns(made) as reruns:
        assert reruns.counts().rows() == opened.counts().rows()[:1]
        found = reruns.sql("select count(edge_distance_px) as n from dia_source_edge").rows()
        assert found[0]["n"] == reruns.counts().rows()[0]["n_dia_sources"]
        with pytest.raises(QueryError, match="trailFlux of its APDB was not stored"):
            reruns.sql("select count(trailFlux) as n from dia_source")
    with hitsduck.open_reruns(some) as reruns:
        query = "select count(psfFlux) > 0 as a, count(x) > 0 as b from dia_source"
        assert reruns.sql(query).rows() == [{"a": True, "b": True}]
        with pytest.raises(QueryError, match="apFlux of its APDB was not stored"):
            reruns.sql("select count(apFlux) as n from dia_source")
    assert not (tmp_path / "x.duckdb").exists()


def test_a_rerun_may_have_any_name_in_a_workspace(tmp_path: Path):
    names = ["select", "main", 'a"b;--', "it's 1"]
    paths = {name: small(tmp_path / f"{n}.db", 3 + n) for n, name in enumerate(names)}
    with hitsduck.open_reruns(paths) as reruns:
        made = reruns.materialize(tmp_path / "odd names.duckdb")
    with hitsduck.open_reruns(made) as reruns:
        assert reruns.names == names
        assert [row["n_dia_sources"] for row in reruns.counts().rows()] == [3, 4, 5, 6]
    with hitsduck.open_reruns([f'{made}:a"b;--']) as reruns:
        assert reruns.names == ['a"b;--']


def test_a_store_can_be_stored_again(workspace: Path, tmp_path: Path, opened: hitsduck.Reruns):
    with hitsduck.open_reruns(workspace) as reruns:
        made = reruns.materialize(tmp_path / "again.duckdb")
        out = reruns.export("Jun2020", tmp_path / "out")
    for asked in (made, {"Jun2020": out}):
        with hitsduck.open_reruns(asked) as reruns:  # type: ignore[arg-type]
            assert reruns.counts().rows()[-1] == opened.counts().rows()[-1]
    (stored, *_) = storing.status(made)
    assert stored.path == str(opened["Apr2020"].path)


# -- checks, changes -------------------------------------------------------------------------


def test_what_sqlite_counts_otherwise_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = small(tmp_path / "a.db")
    true_answer = importing.ask_sqlite

    def other(*given: Any) -> importing.SqliteTold:
        told = true_answer(*given)
        return replace(
            told, sums={name: total + 0.5 * (name == "x") for name, total in told.sums.items()}
        )

    monkeypatch.setattr(importing, "ask_sqlite", other)
    with (
        hitsduck.open_reruns({"a": path}) as reruns,
        pytest.raises(
            RerunChangedError, match=r"DiaSource.*x: a sum of 45.0 where SQLite has 45.5"
        ),
    ):
        reruns.materialize(tmp_path / "w.duckdb")
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]


def test_a_file_that_changes_while_it_is_read_leaves_nothing(tmp_path: Path):
    path = small(tmp_path / "a.db")

    def meddle(rerun: str, table: str, done: int, total: int) -> None:
        if table == "DiaSource":
            add_a_source(path)

    with (
        hitsduck.open_reruns({"a": path}) as reruns,
        pytest.raises(RerunChangedError, match=r"a\.db changed while it was open"),
    ):
        reruns.materialize(tmp_path / "w.duckdb", progress=meddle)
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]


@pytest.mark.parametrize(
    ("forgotten", "said"),
    [
        ("bad_flags", "bad flags pixelFlags_edge, .*bad_flags=, --bad-flags"),
        ("instrument", "instrument DECam, .*be unknown; .*instrument=, --instrument"),
        ("moments", "moments arcsec2, .*moments=, --moments"),
    ],
)
def test_a_refresh_changes_no_definition(tmp_path: Path, forgotten: str, said: str):
    # 41098505 is DECam's visit 410985, ccd 5, or HSC's visit 205492, detector 105.
    source = {"diaSourceId": 1, "diaObjectId": 1, "visit": 410985, "detector": 5}
    source |= {"ra": 150.0, "dec": 2.0, "pixelFlags_bad": True}
    made = {"sources": [source], "objects": [{"diaObjectId": 1}], "generation": "2020"}
    path, target = make_apdb(tmp_path / "a.db", **made), tmp_path / "w.duckdb"
    stated: dict[str, Any] = {"instrument": "DECam", "bad_flags": ["pixelFlags_edge"]}
    stated["moments"] = "arcsec2"
    with hitsduck.open_reruns({"a": path}, **stated) as reruns:
        reruns.materialize(target)
        n_good = reruns.counts().rows()[0]["n_good_dia_sources"]
    path.unlink()
    make_apdb(path, **{**made, "sources": [source, {**source, "diaSourceId": 2}]})
    before = target.read_bytes()
    fewer = {option: value for option, value in stated.items() if option != forgotten}
    with pytest.raises(HitsduckError, match=said):
        refresh_workspace(target, **fewer)
    assert target.read_bytes() == before
    assert refresh_workspace(target, **stated) == ["a"]
    with closing(duckdb.connect(str(target), read_only=True)) as plain:
        counted = plain.execute("select n_good_dia_sources from all_reruns.rerun_counts")
        assert counted.fetchone() == (2 * n_good,)


def test_a_refresh_reads_only_what_changed(tmp_path: Path):
    paths = {name: small(tmp_path / f"{name}.db", 5 + n) for n, name in enumerate("abc")}
    with hitsduck.open_reruns(paths) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb")
    assert refresh_workspace(made) == []
    add_a_source(paths["b"])
    assert [stored.state for stored in storing.status(made)] == ["current", "changed", "current"]
    read: list[str] = []
    asked = refresh_workspace(
        made, progress=lambda rerun, what, *_: read.extend([rerun] * (what != "views"))
    )
    assert asked == ["b"]
    assert set(read) == {"b"}
    assert [stored.state for stored in storing.status(made)] == ["current"] * 3
    with hitsduck.open_reruns(made) as reruns:
        assert [row["n_dia_sources"] for row in reruns.counts().rows()] == [5, 7, 7]
    paths["c"].unlink()
    assert [stored.state for stored in storing.status(made)] == ["current", "current", "gone"]
    add_a_source(paths["a"])
    with pytest.warns(StaleWarning, match=r"a\.db has changed since it was stored"):
        hitsduck.open_reruns(made).close()
    assert refresh_workspace(made) == ["a"]
    with hitsduck.open_reruns(made) as reruns:  # c is still there, though its APDB is gone
        assert [row["n_dia_sources"] for row in reruns.counts().rows()] == [6, 7, 7]


def test_a_store_that_changes_while_it_is_open_is_an_error(tmp_path: Path):
    path = small(tmp_path / "a.db")
    with hitsduck.open_reruns({"a": path}) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb")
        out = reruns.export("a", tmp_path / "out")
    for asked, touched in ((made, made), (out, out / "DiaSource" / "part-0000.parquet")):
        with hitsduck.open_reruns({"a": asked}) as reruns:
            reruns.counts()
            os.utime(touched, ns=(0, 0))
            with pytest.raises(RerunChangedError, match="changed while it was open"):
                reruns.counts()


# -- all or nothing --------------------------------------------------------------------------


def create(folder: Path, target: Path, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "hitsduck", "workspace", "create", str(target)),
            *(f"{name}={folder / name}" for name in NAMES),
            *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_killing_an_import_leaves_no_half_file(folder: Path, tmp_path: Path):
    target = tmp_path / "killed.duckdb"
    started = time.perf_counter()
    create(folder, target).communicate()
    whole_s = time.perf_counter() - started
    target.unlink()
    draw = random.Random(25125)
    n_killed = 0
    for _ in range(N_KILLS):
        process = create(folder, target)
        time.sleep(draw.uniform(0.2, 1.0) * whole_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        n_killed += process.returncode != 0
        if target.exists():  # it was done before
            with hitsduck.open_reruns(target) as reruns:
                assert len(reruns.counts()) == len(NAMES)
            target.unlink()
    assert n_killed
    create(folder, target).communicate()
    # What the killed ones left is swept by the next.
    assert [file.name for file in tmp_path.iterdir()] == ["killed.duckdb"]
    with hitsduck.open_reruns(target) as reruns:
        assert len(reruns.counts()) == len(NAMES)


def test_two_imports_at_once_end_with_one_good_file(folder: Path, tmp_path: Path):
    target = tmp_path / "twice.duckdb"
    processes = [create(folder, target, "--overwrite") for _ in range(2)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert [file.name for file in tmp_path.iterdir()] == ["twice.duckdb"]
    with hitsduck.open_reruns(target) as reruns:
        assert reruns.names == list(NAMES)


def test_of_two_imports_at_once_that_may_overwrite_nothing_one_is_refused(
    folder: Path, tmp_path: Path
):
    target = tmp_path / "twice.duckdb"
    processes = [create(folder, target) for _ in range(2)]
    errors = [process.communicate()[1].decode() for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1]
    (refused,) = (said for said in errors if "error: " in said)
    assert "is there already" in refused
    assert [file.name for file in tmp_path.iterdir()] == ["twice.duckdb"]
    with hitsduck.open_reruns(target) as reruns:
        assert reruns.names == list(NAMES)


def test_a_full_disk_is_told_and_leaves_nothing(folder: Path, tmp_path: Path):
    # A limit on the size of files stands for the end of the disk.
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000)); "
        "import hitsduck.cli; hitsduck.cli.main(sys.argv[1:])"
    )
    target = tmp_path / "w.duckdb"
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "workspace", "create", str(target)),
            *(f"{name}={folder / name}" for name in NAMES),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "is full" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_is_not_overwritten_unasked(tmp_path: Path):
    target = tmp_path / "w.duckdb"
    with hitsduck.open_reruns({"a": small(tmp_path / "a.db")}) as reruns:
        reruns.materialize(target)
        before = target.read_bytes()
        with pytest.raises(OutputError, match="is there already"):
            reruns.materialize(target)
        assert target.read_bytes() == before
        reruns.materialize(target, overwrite=True)
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.tex").write_text("precious")
        with pytest.raises(OutputError, match="no earlier export"):
            reruns.export("a", tmp_path / "full")
        with pytest.raises(OutputError, match="no folder"):
            reruns.materialize(tmp_path / "nowhere" / "w.duckdb")
        out = reruns.export("a", tmp_path / "out")
        before = (out / "manifest.json").stat().st_mtime_ns
        with pytest.raises(OutputError, match=r"holds an earlier export already; .*overwrite"):
            reruns.export("a", out)
        assert (out / "manifest.json").stat().st_mtime_ns == before
        assert reruns.export("a", out, overwrite=True) == out
        assert (out / "manifest.json").stat().st_mtime_ns > before
        with pytest.raises(OutputError, match="no earlier export"):
            reruns.export("a", tmp_path / "full", overwrite=True)
        (tmp_path / "empty").mkdir()
        reruns.export("a", tmp_path / "empty")
    assert (tmp_path / "full" / "thesis.tex").read_text() == "precious"
    with hitsduck.open_reruns(target) as reruns:
        assert len(reruns) == 1


def test_a_workspace_is_not_called_like_its_rerun(tmp_path: Path):
    with (
        hitsduck.open_reruns({"Apr2020": small(tmp_path / "x.db")}) as reruns,
        pytest.raises(OutputError, match="give the file another name"),
    ):
        reruns.materialize(tmp_path / "apr2020.duckdb")


# -- stores that are none --------------------------------------------------------------------


def test_an_opening_attaches_a_workspace_once(workspace: Path, tmp_path: Path):
    # A name of its own, which no other test has looked into before.
    path = Path(shutil.copyfile(workspace, tmp_path / "copy.duckdb"))
    statements: list[str] = []

    def keep(sql: str, _: object) -> None:
        statements.append(sql)

    for spelling in (path, {name: f"{path}:{name}" for name in NAMES}, path):
        statements.clear()
        with hitsduck.open_reruns(spelling, tracer=keep) as reruns:
            assert list(reruns) == list(NAMES)
        assert len([sql for sql in statements if sql.startswith("attach")]) == 1


def test_a_new_database_is_written_in_the_form_that_is_quickly_attached(tmp_path: Path):
    asked = "select current_setting('storage_compatibility_version')"
    with closing(Connection(database=tmp_path / "new.duckdb")) as connection:
        # What DuckDB of September 2024 and all later ones read.
        assert connection.execute(asked).fetchall() == [("v1.1.0",)]


def test_a_workspace_and_an_apdb_are_opened_together(workspace: Path, files: dict[str, Path]):
    asked = {"stored": f"{workspace}:Apr2020", "APDB": files["Apr2020"]}
    with hitsduck.open_reruns(asked) as reruns:
        stored, apdb = reruns.counts().rows()
    assert {**stored, "rerun": None} == {**apdb, "rerun": None}


def test_an_opening_that_fails_lets_go_of_the_workspace(workspace: Path, tmp_path: Path):
    path = Path(shutil.copyfile(workspace, tmp_path / "copy.duckdb"))
    with pytest.raises(InstrumentError) as raised:
        hitsduck.open_reruns(path, instrument="LSSTComCam")
    assert "it has no detector" in str(raised.value)
    # An engine that had it open still would refuse this.
    duckdb.connect(str(path)).close()


def of_table(rows: str, tmp_path: Path) -> tuple[columnar.ColumnarRerun, columnar.Door]:
    """Return a stored table DiaSource, and the door where it is attached."""
    path = tmp_path / "rows.duckdb"
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute("create schema A")
        connection.execute(f"create table A.DiaSource as {rows}")
    manifest = columnar.Manifest("A", {"DiaSource": 0}, {}, {}, None, "all", {})
    rerun = columnar.ColumnarRerun(path, path, manifest, {}, "A", {}, ())
    return rerun, columnar.Door(Connection)


@pytest.mark.parametrize("threads", [1, 4])
def test_distinct_ids_are_complete_in_whatever_order_the_rows_lie(tmp_path: Path, threads: int):
    # 300,000 rows of 1000 ids in a mixed order; one id twice in a row, NULLs between.
    rows = (
        "select nullif(number * 7919 % 1001, 1000) as ccdVisitId from range(300000) as t (number)"
    )
    rerun, door = of_table(rows, tmp_path)
    with closing(door):
        look = columnar.Look(door.connection, rerun.attach(door) or "")
        door.connection.execute(f"set threads = {threads:d}")
        found, is_complete = rerun.distinct_or_sample(look, "DiaSource", ["ccdVisitId"])
    assert (found, is_complete) == ([(number,) for number in range(1000)], True)


def test_distinct_ids_of_rows_in_order_are_the_same(tmp_path: Path):
    rerun, door = of_table("select unnest([NULL, 5, 5, NULL, NULL, 5, 7, 7]) as detector", tmp_path)
    with closing(door):
        look = columnar.Look(door.connection, rerun.attach(door) or "")
        assert rerun.distinct_or_sample(look, "DiaSource", ["detector"]) == ([(5,), (7,)], True)


def test_a_sample_is_spread_from_the_first_row_to_the_last(tmp_path: Path):
    rerun, door = of_table("select range as x from range(300000)", tmp_path)
    with closing(door):
        look = columnar.Look(door.connection, rerun.attach(door) or "")
        rows, is_complete = rerun.sample(look, "DiaSource", ["x"])
        again, _ = rerun.sample(look, "DiaSource", ["x"])
    numbers = [row[0] for row in rows]
    assert (len(numbers), len(set(numbers)), is_complete) == (1000, 1000, False)
    assert (min(numbers), max(numbers)) == (0, 299_999)
    # Five places of 200 rows each, the first and the last included.
    assert sorted({number // 1000 for number in numbers}) == [0, 74, 75, 149, 150, 224, 225, 299]
    assert sorted(again) == sorted(rows)


def test_a_sample_of_a_table_with_gaps_is_as_large(tmp_path: Path):
    rerun, door = of_table("select range as x from range(300000)", tmp_path)
    with closing(duckdb.connect(str(rerun.store))) as connection:
        connection.execute("delete from A.DiaSource where x between 1000 and 290000")
    with closing(door):
        look = columnar.Look(door.connection, rerun.attach(door) or "")
        rows, is_complete = rerun.sample(look, "DiaSource", ["x"])
    assert (len(rows), is_complete) == (1000, False)


def test_a_workspace_that_holds_several_asks_for_one(workspace: Path):
    with pytest.raises(RerunNotFoundError, match=r"hits\.duckdb:Apr2020, "):
        hitsduck.open_reruns({"a": workspace})
    with pytest.raises(RerunNotFoundError, match="no 'Mar2020' of"):
        hitsduck.open_reruns([f"{workspace}:Mar2020"])


def test_another_duckdb_file_is_no_workspace(tmp_path: Path):
    other = tmp_path / "other.duckdb"
    with closing(duckdb.connect(str(other))) as connection:
        connection.execute("create table t as select 1 as n")
    with pytest.raises(NotAnApdbError, match="no workspace of hitsduck"):
        hitsduck.open_reruns(other)
    other.write_bytes(other.read_bytes()[:5000])
    with pytest.raises(NotAnApdbError, match=r"other\.duckdb"):
        hitsduck.open_reruns(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "manifest cannot be read"),
        ("{}", "manifest cannot be read"),
        ("[1]", "manifest cannot be read"),
        ('{"layout": 99, "tables": {}}', "newer hitsduck"),
        ('{"tables": {}}', "holds no tables DiaSource"),
    ],
)
def test_a_manifest_that_is_none_is_told(
    exported: dict[str, Path], tmp_path: Path, text: str, message: str
):
    (tmp_path / "rerun").mkdir()
    (tmp_path / "rerun" / "manifest.json").write_text(text)
    with pytest.raises(NotAnApdbError, match=message) as error:
        hitsduck.open_reruns(tmp_path / "rerun")
    assert "\n" not in str(error.value)


def test_a_lost_or_damaged_parquet_file_is_told(tmp_path: Path):
    with hitsduck.open_reruns({"a": small(tmp_path / "a.db")}) as reruns:
        out = reruns.export("a", tmp_path / "out")
    part = out / "DiaSource" / "part-0000.parquet"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(NotAnApdbError, match="cannot be read"):
        hitsduck.open_reruns(out)
    part.unlink()
    with pytest.raises(NotAnApdbError, match=r"part-0000\.parquet of its manifest is missing"):
        hitsduck.open_reruns(out)


def test_a_user_cannot_read_other_files_beside_a_parquet_rerun(
    exported: dict[str, Path], tmp_path: Path
):
    secret = tmp_path / "secret.parquet"
    pl.DataFrame({"n": [1]}).write_parquet(secret)
    with hitsduck.open_reruns(exported["Jun2020"]) as reruns:
        for query in (f"select * from read_parquet('{secret}')", f"select * from '{secret}'"):
            with pytest.raises(QueryError):
                reruns.sql(query)
        with pytest.raises(hitsduck.errors.HitsduckError):
            reruns.query(f"select * from read_parquet('{secret}')")


def test_the_simulators_parquet_opens_as_its_sqlite_does(tmp_path: Path, opened: hitsduck.Reruns):
    simulate(tmp_path / "p", preset="small", src_catalogs="none", format="parquet")
    with hitsduck.open_reruns({name: tmp_path / "p" / name for name in NAMES}) as reruns:
        assert reruns.counts().rows() == opened.counts().rows()
        summary = reruns.compare("Apr2020", "Jun2020").summary()
    expected = opened.compare("Apr2020", "Jun2020").summary()
    for key in ("n_left", "n_right", "n_matched", "n_left_only", "n_right_only"):
        assert summary[key] == expected[key]


# -- the cache -------------------------------------------------------------------------------


def test_a_cache_is_filled_once_and_used_until_the_apdb_changes(tmp_path: Path):
    path = small(tmp_path / "a.db")
    place = tmp_path / "cache" / "here"
    with pytest.warns(CacheWarning, match=r"a\.db is read into the cache"):
        hitsduck.open_reruns({"a": path}, cache=place).close()
    (kept,) = place.iterdir()
    before = kept.stat().st_mtime_ns
    for name in ("a", "another name"):  # no warning: pytest makes it an error
        with hitsduck.open_reruns({name: path}, cache=place) as reruns:
            assert reruns.counts().rows()[0]["n_dia_sources"] == 5
            assert reruns[name].path.parent == place
    assert kept.stat().st_mtime_ns == before
    copy = shutil.copy(kept, tmp_path / "copy.duckdb")
    add_a_source(path)
    with (
        pytest.warns(CacheWarning),
        hitsduck.open_reruns({"a": path}, cache=place) as reruns,
    ):
        assert reruns.counts().rows()[0]["n_dia_sources"] == 6
    with (
        pytest.warns(StaleWarning),  # a store is none to cache
        hitsduck.open_reruns({"a": copy}, cache=place) as reruns,
    ):
        assert reruns.counts().rows()[0]["n_dia_sources"] == 5
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="no cache can be kept there"):
        hitsduck.open_reruns({"a": path}, cache=tmp_path / "file" / "below")


def test_without_a_cache_every_picture_reads_the_apdb(files: dict[str, Path]):
    asked: dict[bool, list[str]] = {}
    for keeps in (True, False):
        statements: list[str] = []
        with hitsduck.open_reruns(
            {"Jun2020": files["Jun2020"]},
            cache=keeps,
            tracer=lambda sql, _, to=statements: to.append(sql),  # type: ignore[misc]
        ) as reruns:
            frames = [reruns.chart_data("visits") for _ in range(2)]
            # Threads add up fractions in any order.
            assert_frame_equal(frames[0], frames[1], check_exact=False)
        asked[keeps] = [sql for sql in statements if "kept_dia_source" in sql]
    assert asked[True]
    assert not asked[False]


def test_the_command_takes_a_cache(files: dict[str, Path], tmp_path: Path):
    told = command("counts", files["Apr2020"], "--cache", tmp_path / "c", "--json")
    assert "is read into the cache" in told.stderr
    again = command("counts", files["Apr2020"], "--cache", tmp_path / "c", "--json")
    assert (again.stdout, again.stderr) == (told.stdout, "")
    both = command("counts", files["Apr2020"], "--cache", tmp_path / "c", "--no-cache")
    assert both.returncode == 2


def test_a_command_says_what_it_reads_into_memory(files: dict[str, Path], tmp_path: Path):
    chart = ("chart", "visits", files["Apr2020"], "--output", tmp_path / "visits.json")
    assert command(*chart).stderr.startswith(
        "note: what pictures need of Apr2020 is read into memory"
    )
    assert command(*chart, "--no-cache").stderr == ""
    assert command("counts", files["Apr2020"]).stderr == ""


# -- the command -----------------------------------------------------------------------------


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hitsduck", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_make_look_at_and_refresh_a_workspace(
    files: dict[str, Path], tmp_path: Path, opened: hitsduck.Reruns
):
    path = small(tmp_path / "a.db")
    target = tmp_path / "w.duckdb"
    made = command("workspace", "create", target, f"a={path}", f"May2020={files['May2020']}")
    assert (made.returncode, made.stdout, made.stderr) == (0, f"{target}\n", "")
    told = json.loads(command("workspace", "status", target, "--json").stdout)
    assert [(row["rerun"], row["state"]) for row in told] == [
        ("a", "current"),
        ("May2020", "current"),
    ]
    add_a_source(path)
    assert "changed" in command("workspace", "status", target).stdout
    refreshed = command("workspace", "refresh", target)
    assert refreshed.stdout == f"{target}: a read again\n"
    counted = json.loads(command("counts", target, "--json").stdout)
    assert [row["n_dia_sources"] for row in counted] == [
        6,
        opened.counts().rows()[1]["n_dia_sources"],
    ]
    out = command("export", f"{target}:May2020", tmp_path / "out")
    assert (out.returncode, out.stdout) == (0, f"{tmp_path / 'out'}\n")
    again = json.loads(command("counts", f"May2020={tmp_path / 'out'}", "--json").stdout)
    assert again == opened.counts().rows()[1:2]
    refused = command("export", f"{target}:May2020", tmp_path / "out")
    assert refused.returncode == 1
    assert "--overwrite" in refused.stderr
    assert command("export", f"{target}:May2020", tmp_path / "out", "--overwrite").returncode == 0
    refused = command("export", target, tmp_path / "out2")
    assert refused.returncode == 2
    assert "holds 2 reruns" in refused.stderr


def test_parted_takes_a_path_with_a_colon_as_it_is(tmp_path: Path, workspace: Path):
    odd = tmp_path / "a:b.db"
    odd.write_bytes(b"x")
    assert columnar.parted(odd) == (odd, None)
    assert columnar.parted(f"{workspace}:x:y") == (Path(f"{workspace}:x:y"), None)
    assert columnar.parted(f"{workspace}:Apr2020") == (workspace, "Apr2020")


def test_a_mistyped_column_to_store_comes_with_the_one_that_was_meant(tmp_path: Path):
    path = make_apdb(tmp_path / "a.db")
    with (
        hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns,
        pytest.raises(QueryError, match=r"no column psFlux in .*did you mean psfFlux"),
    ):
        reruns.materialize(tmp_path / "w.duckdb", columns=["psFlux", "visit"])
