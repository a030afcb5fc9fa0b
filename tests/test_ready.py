"""What a workspace holds ready is what its views compute, and is taken only where it is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from apdb_files import drop_primary_key, make_apdb
from polars.testing import assert_frame_equal

import hitsduck
from hitsduck import columnar, ready, storing, views
from hitsduck.connection import Connection
from hitsduck.opening import refresh_workspace
from hitsduck.sides import Side
from hitsduck.simulator import simulate

NAMES = ("Apr2020", "May2020", "Jun2020")
KEPT = sorted(set(ready.KEPT) - {"dia_source"})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("simulated") / "small"
    simulate(folder, preset="small", src_catalogs="none")
    return {name: folder / name / "association.db" for name in NAMES}


@pytest.fixture(scope="module")
def workspace(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    with hitsduck.open_reruns(files) as reruns:
        return reruns.materialize(tmp_path_factory.mktemp("workspace") / "hits.duckdb")


@pytest.fixture(scope="module")
def from_sqlite(files: dict[str, Path]) -> Iterator[hitsduck.Reruns]:
    with hitsduck.open_reruns(files) as reruns:
        yield reruns


@pytest.fixture
def statements() -> list[str]:
    return []


@pytest.fixture
def from_workspace(workspace: Path, statements: list[str]) -> Iterator[hitsduck.Reruns]:
    with hitsduck.open_reruns(workspace, tracer=lambda sql, _: statements.append(sql)) as reruns:
        yield reruns


def reads_ready(statements: list[str], view: str) -> bool:
    return any(f'"ready_{view}"' in sql for sql in statements)


@pytest.mark.parametrize("view", KEPT)
def test_what_is_kept_is_what_the_view_over_the_apdb_says(
    from_sqlite: hitsduck.Reruns,
    from_workspace: hitsduck.Reruns,
    statements: list[str],
    view: str,
):
    columns = views.documented_columns(views.view_named(view), is_narrow=True)
    listed = ", ".join(f'"{column}"' for column in columns)
    for name in NAMES:
        found, truth = (
            reruns.query(
                f"select {listed} from {reruns.scope(name, view, is_narrow=True)} order by all"
            ).polars()
            for reruns in (from_workspace, from_sqlite)
        )
        assert found.height > 0 or view == "image"
        assert_frame_equal(found, truth, rel_tol=1e-12, abs_tol=0)
    assert reads_ready(statements, view if view not in ready.PLACED else "dia_source")


def test_sources_are_kept_with_their_edges_and_their_places_in_the_focal_plane(
    from_sqlite: hitsduck.Reruns, from_workspace: hitsduck.Reruns
):
    for view in ("dia_source", *ready.PLACED):
        columns = views.documented_columns(views.view_named(view), is_narrow=True)
        listed = ", ".join(f'"{column}"' for column in columns)
        found, truth = (
            reruns.query(
                f"select {listed} from {reruns.scope('May2020', view, is_narrow=True)} "
                "order by diaSourceId"
            ).polars()
            for reruns in (from_workspace, from_sqlite)
        )
        assert_frame_equal(found, truth)


def test_a_summary_in_a_query_of_the_user_is_read_not_computed(
    from_sqlite: hitsduck.Reruns, from_workspace: hitsduck.Reruns, statements: list[str]
):
    query = "select * from visit_summary order by rerun, visit"
    found = from_workspace.sql(query).polars()
    assert_frame_equal(found, from_sqlite.sql(query).polars(), rel_tol=1e-12, abs_tol=0)
    assert reads_ready(statements, "visit_summary")


@pytest.mark.parametrize(
    "options",
    [
        {"bad_flags": "analysis_ap"},
        {"bad_flags": "pixelFlags_bad"},
        {"moments": "arcsec2"},
    ],
    ids=str,
)
def test_under_other_definitions_everything_is_computed_again(
    workspace: Path, files: dict[str, Path], options: dict[str, Any]
):
    statements: list[str] = []
    query = "select * from detector_summary order by rerun, detector"
    with (
        hitsduck.open_reruns(
            workspace, tracer=lambda sql, _: statements.append(sql), **options
        ) as stored,
        hitsduck.open_reruns(files, **options) as direct,
    ):
        assert stored.counts().rows() == direct.counts().rows()
        found, truth = (reruns.sql(query).polars() for reruns in (stored, direct))
        assert_frame_equal(found, truth, rel_tol=1e-12, abs_tol=0)
    assert not any('"ready_' in sql for sql in statements)


def test_a_condition_sees_the_sources_themselves(
    from_sqlite: hitsduck.Reruns, from_workspace: hitsduck.Reruns
):
    where = "psf_snr > 10 and detector < 30"
    assert from_workspace.counts(where=where).rows() == from_sqlite.counts(where=where).rows()
    assert from_workspace.counts(where=where).rows() != from_workspace.counts().rows()


def test_a_view_that_is_another_today_is_computed_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    with hitsduck.open_reruns(workspace) as reruns:
        before = ready.digest(reruns.attached("May2020"))
        assert ready.given(reruns.attached("May2020"))
        changed = [
            views.View(v.name, v.layer, v.purpose, v.grain, v.inputs, v.columns, v.body + " -- new")
            for v in views.views()
        ]
        monkeypatch.setattr(views, "views", lambda: tuple(changed))
        assert ready.digest(reruns.attached("May2020")) != before
        assert ready.given(reruns.attached("May2020")) == {}


def test_an_opening_reads_no_source(from_workspace: hitsduck.Reruns, statements: list[str]):
    asked = [sql for sql in statements if "DiaSource" in sql and "pragma_table_info" not in sql]
    assert from_workspace.names == list(NAMES)
    assert asked == []


def test_what_an_opening_asks_is_kept_as_the_rows_say_it(workspace: Path):
    for name in NAMES:
        with closing(columnar.Door(Connection)) as door:
            rerun = columnar.find(f"{workspace}:{name}", door)
            assert rerun is not None
            look = columnar.Look(door.connection, rerun.attach(door) or "")
            asking = replace(rerun, manifest=replace(rerun.manifest, looks={}))
            for ask, columns in (
                ("distinct_or_sample", ["ccdVisitId"]),
                ("sample", ["ixxPSF", "iyyPSF", "ixyPSF"]),
            ):
                kept, read = (
                    getattr(of, ask)(look, "DiaSource", columns) for of in (rerun, asking)
                )
                assert kept == read
                assert len(kept[0]) > 100
        assert len(rerun.manifest.looks) == 2


def test_a_rerun_opened_under_another_name_bears_that_name(workspace: Path):
    with hitsduck.open_reruns({"may": f"{workspace}:May2020"}) as reruns:
        assert ready.given(reruns.attached("may"))
        assert reruns.counts().rows()[0]["rerun"] == "may"
        (row,) = reruns.sql("select distinct rerun from visit_summary").rows()
        assert row == {"rerun": "may"}
        assert len(reruns.sql('select * from "may".detector_summary')) > 0


def source(number: int, **cells: Any) -> dict[str, Any]:
    return {
        "diaSourceId": number,
        "diaObjectId": 1,
        "visit": 410985,
        "detector": 5,
        "ra": 150.0,
        "dec": 2.0,
        "x": 9.0,
        "y": 9.0,
    } | cells


def test_nothing_is_kept_where_the_instrument_is_not_known(tmp_path: Path):
    # Detector 5 is in all five cameras.
    path = make_apdb(tmp_path / "a.db", sources=[source(1)], objects=[{"diaObjectId": 1}])
    with hitsduck.open_reruns({"a": path}) as reruns:
        stored = reruns.materialize(tmp_path / "all.duckdb")
    with duckdb.connect(str(stored), read_only=True) as connection:
        rows = connection.execute("select table_name from duckdb_tables()").fetchall()
    assert not [name for (name,) in rows if name.startswith("ready_")]
    with hitsduck.open_reruns({"a": f"{stored}:a"}, instrument="DECam") as reruns:
        (row,) = reruns.sql("select * from detector_summary").rows()
        assert row["n_dia_sources"] == 1


def test_a_view_that_cannot_be_computed_is_not_kept_and_says_why_when_it_is_asked(tmp_path: Path):
    # No index over detectors, and more rows than are looked at: detector 63 is found late.
    sources = [source(number, detector=5 if number != 1400 else 63) for number in range(1, 1500)]
    path = make_apdb(
        tmp_path / "a.db",
        sources=sources,
        objects=[{"diaObjectId": 1}],
        metadata={"instrument": "DECam"},
    )
    with hitsduck.open_reruns({"a": path}) as reruns:
        is_checked = reruns.attached("a").instrument.is_checked
        stored = reruns.materialize(tmp_path / "all.duckdb")
    assert not is_checked
    with pytest.raises(hitsduck.errors.InstrumentError, match="no detector 63"):  # noqa: SIM117
        with hitsduck.open_reruns({"a": f"{stored}:a"}) as reruns:
            reruns.sql("select * from detector_summary")


def test_columns_of_sources_whose_ids_are_there_twice_stay_together(tmp_path: Path):
    # Of each pair of rows with one id the second has x + 1000 and apFlux + 1000: narrow
    # columns and others are read from different tables.
    sources = [
        source(1 + number, visit=410985 + number % 7)
        | dict.fromkeys(("x", "apFlux"), 10.0 + number // 2 + 1000 * (number % 2))
        for number in range(600)
    ]
    path = make_apdb(
        tmp_path / "a.db",
        sources=sources,
        objects=[{"diaObjectId": 1}],
        metadata={"instrument": "DECam"},
    )
    drop_primary_key(path, "DiaSource")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update DiaSource set diaSourceId = 1 + (diaSourceId - 1) / 2")
    with hitsduck.open_reruns({"a": path}) as reruns:
        stored = reruns.materialize(tmp_path / "all.duckdb")
    with hitsduck.open_reruns({"a": f"{stored}:a"}) as reruns:
        assert ready.given(reruns.attached("a"))
        side = Side(reruns, "a")
        narrow = side.frame("x")["x"]
        other = side.frame("apFlux")["apFlux"]
    assert narrow.to_list() == other.to_list()
    assert len(narrow) == 600


def test_a_workspace_that_is_refreshed_holds_the_new_answers_ready(tmp_path: Path):
    path = make_apdb(
        tmp_path / "a.db",
        sources=[source(1)],
        objects=[{"diaObjectId": 1}],
        metadata={"instrument": "DECam"},
    )
    other = make_apdb(
        tmp_path / "b.db",
        sources=[source(1)],
        objects=[{"diaObjectId": 1}],
        metadata={"instrument": "DECam"},
    )
    with hitsduck.open_reruns({"a": path, "b": other}) as reruns:
        stored = reruns.materialize(tmp_path / "all.duckdb")
    path.unlink()
    make_apdb(
        path,
        sources=[source(1), source(2), source(3)],
        objects=[{"diaObjectId": 1}],
        metadata={"instrument": "DECam"},
    )
    assert refresh_workspace(stored) == ["a"]
    with hitsduck.open_reruns(stored) as reruns:
        assert all(ready.given(reruns.attached(name)) for name in ("a", "b"))
        assert [row["n_dia_sources"] for row in reruns.counts().rows()] == [3, 1]


def make_earlier(workspace: Path, *names: str) -> None:
    """Make a workspace one whose views were computed by a hitsduck of other views."""
    with duckdb.connect(str(workspace)) as connection:
        for name in names:
            connection.execute(
                "update hitsduck_workspace.rerun_manifest "
                "set manifest = replace(manifest, $now, '0123456789abcdef-') where rerun = $name",
                {"now": f"{ready._edition()}-", "name": name},
            )


def test_a_refresh_computes_the_views_of_an_earlier_hitsduck_anew(tmp_path: Path):
    paths = {
        name: make_apdb(
            tmp_path / f"{name}.db",
            sources=[source(1), source(2)],
            objects=[{"diaObjectId": 1}],
            metadata={"instrument": "DECam"},
        )
        for name in ("a", "b")
    }
    with hitsduck.open_reruns(paths) as reruns:
        stored = reruns.materialize(tmp_path / "all.duckdb")
        counted = reruns.counts().rows()
    assert [rerun.views for rerun in storing.status(stored)] == ["current", "current"]
    make_earlier(stored, "b")
    assert [rerun.views for rerun in storing.status(stored)] == ["current", "earlier"]
    with hitsduck.open_reruns(stored) as reruns:
        assert ready.given(reruns.attached("a"))
        assert ready.given(reruns.attached("b")) == {}
        assert reruns.counts().rows() == counted
    # Nothing is read from the APDBs, which need not be there.
    for path in paths.values():
        path.unlink()
    assert refresh_workspace(stored) == []
    assert [rerun.views for rerun in storing.status(stored)] == ["current", "current"]
    with hitsduck.open_reruns(stored) as reruns:
        assert all(ready.given(reruns.attached(name)) for name in ("a", "b"))
        assert reruns.counts().rows() == counted


def test_the_commands_tell_of_views_of_an_earlier_hitsduck(tmp_path: Path):
    def command(*arguments: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "hitsduck", "workspace", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    paths = {
        name: make_apdb(tmp_path / f"{name}.db", sources=[source(1)], metadata={"instrument": who})
        for name, who in (("a", "DECam"), ("b", "DECam"))
    }
    with hitsduck.open_reruns(paths) as reruns:
        stored = reruns.materialize(tmp_path / "all.duckdb")
    make_earlier(stored, "a", "b")
    assert [row["views"] for row in json.loads(command("status", stored, "--json"))] == [
        "earlier",
        "earlier",
    ]
    assert command("status", stored).count("earlier") == 2
    paths["b"].unlink()
    make_apdb(paths["b"], sources=[source(1), source(2)], metadata={"instrument": "DECam"})
    assert command("refresh", stored) == f"{stored}: b read again; a views computed anew\n"
    assert command("refresh", stored) == f"{stored}: nothing changed\n"


def test_a_rerun_without_an_instrument_has_no_views_that_could_be_earlier(tmp_path: Path):
    # ids that fit several cameras: which it was nobody has said
    path = make_apdb(tmp_path / "a.db", sources=[source(1)])
    with hitsduck.open_reruns({"a": path}) as reruns:
        assert reruns.attached("a").instrument.name is None
        stored = reruns.materialize(tmp_path / "all.duckdb")
    assert [rerun.views for rerun in storing.status(stored)] == ["none"]
    assert refresh_workspace(stored) == []


def test_any_client_reads_the_summaries_that_are_kept(
    workspace: Path, from_sqlite: hitsduck.Reruns
):
    with duckdb.connect(str(workspace), read_only=True) as connection:
        rows = connection.execute("select * from all_reruns.rerun_counts").fetchall()
        plan = connection.execute("explain select * from all_reruns.rerun_counts").fetchall()
        assert "ready_rerun_counts" in str(plan)
        assert "DiaSource" not in str(plan)
    assert rows == [tuple(row.values()) for row in from_sqlite.counts().rows()]
