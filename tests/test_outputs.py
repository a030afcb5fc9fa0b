"""Nothing is written over a database, a folder, or anything that it is not a newer form of."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import altair as alt
import duckdb
import pytest
from apdb_files import small_apdb as small
from click.testing import CliRunner

import hitsduck
from hitsduck import gallery, storing
from hitsduck.cli.app import cli
from hitsduck.errors import OutputError
from hitsduck.outputs import database_kind, written_whole
from hitsduck.report import write_report


@pytest.fixture
def apdb(tmp_path: Path) -> Path:
    return small(tmp_path / "a.db")


def other_duckdb(path: Path) -> Path:
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute("create table t as select 1 as a")
    return path


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("itself", "is an SQLite database"),
        ("another apdb", "is an SQLite database"),
        ("text", "is a file of another kind"),
        ("duckdb", "is a DuckDB database"),
        ("folder", "is a folder"),
    ],
)
def test_a_workspace_takes_the_place_of_a_workspace_alone(
    apdb: Path, tmp_path: Path, kind: str, said: str, overwrite: bool
):
    target = apdb
    if kind == "another apdb":
        target = small(tmp_path / "b.db")
    elif kind == "text":
        target = tmp_path / "README.md"
        target.write_text("dear to somebody", encoding="utf-8")
    elif kind == "duckdb":
        target = other_duckdb(tmp_path / "mine.duckdb")
    elif kind == "folder":
        target = tmp_path / "folder"
        target.mkdir()
    before = target.read_bytes() if target.is_file() else None
    with (
        hitsduck.open_reruns({"a": apdb}) as reruns,
        pytest.raises(OutputError, match=said) as caught,
    ):
        reruns.materialize(target, overwrite=overwrite)
    assert "overwrite" not in str(caught.value)  # which would not help
    assert (target.read_bytes() if before is not None else None) == before


def test_a_workspace_is_replaced_where_that_is_allowed(apdb: Path, tmp_path: Path):
    target = tmp_path / "w.duckdb"
    with hitsduck.open_reruns({"a": apdb}) as reruns:
        reruns.materialize(target)
        with pytest.raises(OutputError, match="is there already"):
            reruns.materialize(target)
    with hitsduck.open_reruns({"b": small(tmp_path / "b.db", 7)}) as reruns:
        reruns.materialize(target, overwrite=True)
    assert [(s.rerun, s.n_rows["DiaSource"]) for s in storing.status(target)] == [("b", 7)]


def test_the_forgotten_name_of_a_workspace_costs_no_apdb(apdb: Path, tmp_path: Path):
    other = small(tmp_path / "b.db")
    done = CliRunner().invoke(
        cli, ["workspace", "create", "--overwrite", str(apdb), str(other)], standalone_mode=False
    )
    assert isinstance(done.exception, OutputError)
    with closing(sqlite3.connect(apdb)) as connection:
        assert connection.execute("select count(*) from DiaSource").fetchone() == (4,)


@pytest.mark.parametrize("make", [small, other_duckdb])
def test_no_answer_is_written_over_a_database(apdb: Path, tmp_path: Path, make):  # type: ignore[no-untyped-def]
    target = make(tmp_path / "precious.json")
    before = target.read_bytes()
    chart = alt.Chart({"values": []}).mark_point()
    with pytest.raises(OutputError, match="over which nothing is written"):
        gallery.save(chart, target)
    runner = CliRunner()
    for command in (
        ["sql", str(apdb), "select 1 as a", "--output", str(target), "--format", "csv"],
        ["sql", str(apdb), "select 1 as a", "--output", str(target), "--format", "parquet"],
        ["sql", str(apdb), "select 1 as a", "--output", str(target), "--format", "table"],
    ):
        done = runner.invoke(cli, command, standalone_mode=False)
        assert isinstance(done.exception, OutputError), command
    with (
        hitsduck.open_reruns({"a": apdb}) as reruns,
        pytest.raises(OutputError, match="over which nothing is written"),
    ):
        write_report(reruns, target, form="html")
    assert target.read_bytes() == before


def test_lists_are_not_written_over_a_database(apdb: Path, tmp_path: Path):
    lists = tmp_path / "lists"
    small(lists / "matched.csv")
    with hitsduck.open_reruns({"a": apdb, "b": small(tmp_path / "b.db")}) as reruns:
        comparison = reruns.compare("a", "b")
        with pytest.raises(OutputError, match=r"matched\.csv: is an SQLite database"):
            comparison.write(lists, form="csv")
    assert [path.name for path in lists.iterdir()] == ["matched.csv"]


def test_what_fails_halfway_leaves_the_file_of_before(tmp_path: Path):
    target = tmp_path / "a.txt"
    target.write_text("before", encoding="utf-8")

    def write_half() -> None:
        with written_whole(target) as partial:
            partial.write_text("half", encoding="utf-8")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert target.read_text(encoding="utf-8") == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_databases_are_told_by_their_bytes(tmp_path: Path):
    assert database_kind(small(tmp_path / "a.txt")) == "an SQLite database"
    assert database_kind(other_duckdb(tmp_path / "b.txt")) == "a DuckDB database"
    (tmp_path / "c.db").write_bytes(b"SQLite format 4")
    assert database_kind(tmp_path / "c.db") is None
    assert database_kind(tmp_path / "none") is None


def test_a_folder_where_nothing_can_be_written_is_named(apdb: Path, tmp_path: Path, monkeypatch):  # type: ignore[no-untyped-def]
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied", ".hitsduck_of_ours")

    monkeypatch.setattr(storing.tempfile, "mkstemp", refuse)
    with (
        hitsduck.open_reruns({"a": apdb}) as reruns,
        pytest.raises(OutputError, match=r"w\.duckdb: cannot be written: Permission denied"),
    ):
        reruns.materialize(tmp_path / "w.duckdb")


def test_an_export_is_replaced_as_a_whole(apdb: Path, tmp_path: Path):
    target = tmp_path / "parquet"
    with hitsduck.open_reruns({"a": apdb}) as reruns:
        reruns.export("a", target)
    with hitsduck.open_reruns({"b": small(tmp_path / "b.db", 7)}) as reruns:
        reruns.export("b", target, overwrite=True)
    with hitsduck.open_reruns({"b": target}) as reruns:
        assert reruns.counts().rows()[0]["n_dia_sources"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "b.db", "parquet"]


@pytest.mark.parametrize("manifest", [None, '{"name": "my web app"}'])
def test_an_export_takes_the_place_of_an_export_alone(
    apdb: Path, tmp_path: Path, manifest: str | None
):
    target = tmp_path / "mine"
    (target / "DiaSource").mkdir(parents=True)
    (target / "DiaSource" / "precious.txt").write_text("dear", encoding="utf-8")
    if manifest is not None:
        (target / "manifest.json").write_text(manifest, encoding="utf-8")
    with hitsduck.open_reruns({"a": apdb}) as reruns:
        with pytest.raises(OutputError, match="no earlier export"):
            reruns.export("a", target, overwrite=True)
        made = reruns.export("a", tmp_path / "out")
        (made / "notes.txt").write_text("dear", encoding="utf-8")
        with pytest.raises(OutputError, match="no earlier export"):
            reruns.export("a", made, overwrite=True)
    assert (target / "DiaSource" / "precious.txt").read_text(encoding="utf-8") == "dear"


def test_a_link_stays_a_link(apdb: Path, tmp_path: Path):
    for name in ("folder", "file.duckdb"):
        (tmp_path / f"link to {name}").symlink_to(tmp_path / name)
    with hitsduck.open_reruns({"a": apdb}) as reruns:
        reruns.export("a", tmp_path / "folder")
        reruns.export("a", tmp_path / "link to folder", overwrite=True)
        reruns.materialize(tmp_path / "link to file.duckdb")
    for name in ("folder", "file.duckdb"):
        assert (tmp_path / f"link to {name}").is_symlink()
        with hitsduck.open_reruns({"a": tmp_path / name}) as reruns:
            assert reruns.counts().rows()[0]["n_dia_sources"] == 4


def test_the_current_folder_is_not_replaced(
    apdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with (
        hitsduck.open_reruns({"a": apdb}) as reruns,
        pytest.raises(OutputError, match="is the current folder"),
    ):
        reruns.export("a", ".")


def test_an_export_that_cannot_take_its_place_leaves_the_one_of_before(
    apdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from hitsduck import exporting

    target = tmp_path / "parquet"
    real = exporting.os.replace
    with hitsduck.open_reruns({"a": apdb}) as reruns:
        reruns.export("a", target)

        fails = [True]

        def fail(source: Path, goal: Path) -> None:
            if goal == target and fails:
                fails.clear()
                raise OSError(5, "Input/output error")
            real(source, goal)

        monkeypatch.setattr(exporting.os, "replace", fail)
        with pytest.raises(OSError, match="Input/output error"):
            reruns.export("a", target, overwrite=True)
    with hitsduck.open_reruns({"a": target}) as reruns:
        assert reruns.counts().rows()[0]["n_dia_sources"] == 4
