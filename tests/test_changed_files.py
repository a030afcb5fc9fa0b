"""Files that change, lie at odd places or in odd states: no number is of another file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from apdb_files import small_apdb as small

import hitsduck
from hitsduck import columnar, opening, storing
from hitsduck.connection import Connection
from hitsduck.errors import (
    BadValueError,
    CacheWarning,
    NotAnApdbError,
    RerunChangedError,
    RerunCopyWarning,
    StaleWarning,
)
from hitsduck.opening import refresh_workspace


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def truth(path: Path) -> tuple[int, int, int]:
    """Return the number of sources, of visits, and the sum of the objects' ids."""
    with closing(sqlite3.connect(path)) as connection:
        query = "select count(*), count(distinct visit), sum(diaObjectId) from DiaSource"
        found: tuple[int, int, int] = connection.execute(query).fetchone()
    return found


def told(path: Path, **options: object) -> tuple[int, int, int]:
    query = """
        select count(*) as a, count(distinct visit) as b, sum(diaObjectId)::bigint as c
        from dia_source
    """
    with hitsduck.open_reruns({"r": path}, **options) as reruns:  # type: ignore[arg-type]
        (row,) = reruns.sql(query).rows()
    return (row["a"], row["b"], row["c"])


@pytest.mark.parametrize("above", ["visit=7", "diaObjectId=1", "band=zz", "psfFlux=1"])
def test_what_a_folder_is_called_changes_no_number(tmp_path: Path, above: str):
    apdb = small(tmp_path / "a.db")
    place = tmp_path / above
    place.mkdir()
    with hitsduck.open_reruns({"r": apdb}) as reruns:
        reruns.export("r", place / "out")
        before = reruns.sql("select * exclude (rerun) from dia_source order by all").rows()
    assert told(place / "out") == truth(apdb)
    with hitsduck.open_reruns({"r": place / "out"}) as reruns:
        after = reruns.sql("select * exclude (rerun) from dia_source order by all").rows()
    assert after == before


def test_an_export_below_an_apdb_is_what_was_exported(tmp_path: Path):
    above = small(tmp_path / "rerun" / "association.db", 3)
    other = small(tmp_path / "other.db", 9)
    with hitsduck.open_reruns({"r": other}) as reruns:
        reruns.export("r", above.parent / "parquet")
    assert told(above.parent / "parquet") == truth(other)
    assert told(above.parent) == truth(above)


def test_a_copy_of_a_wal_file_is_in_no_wal_mode(tmp_path: Path):
    # With the copy still in WAL mode this process died of a bus error, three times of six.
    source = small(tmp_path / "source.db", 40)
    path = tmp_path / "association.db"
    with closing(sqlite3.connect(source)) as writer:
        writer.execute("pragma journal_mode=wal")
        writer.execute("pragma wal_autocheckpoint=0")
        writer.execute("update DiaSource set diaObjectId = 7")
        writer.commit()
        shutil.copy(source, path)
        shutil.copy(f"{source}-wal", f"{path}-wal")
    state = {file.name: file.read_bytes() for file in tmp_path.glob("association.db*")}
    with pytest.warns(RerunCopyWarning):
        reruns = hitsduck.open_reruns({"r": path})
    with reruns:
        copy = reruns.attached("r").file.readable_path
        assert copy.read_bytes()[18:20] == b"\x01\x01"  # SQLite's file format: no WAL
        assert not Path(f"{copy}-wal").exists()
        made = reruns.materialize(tmp_path / "w.duckdb")
    assert told(made) == (40, 40, 280)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("association.db*")} == state


def restored(path: Path, statement: str) -> None:
    """Change a file, and give it the size and time of before."""
    before = path.stat()
    change(path, statement)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_change_is_seen_whatever_time_the_file_says(tmp_path: Path):
    path = small(tmp_path / "a.db")
    with hitsduck.open_reruns({"r": path}) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb")
        restored(path, "update DiaSource set diaObjectId = 2")
        with pytest.raises(RerunChangedError, match="changed while it was open"):
            reruns.counts()
    assert storing.status(made)[0].state == "changed"
    with pytest.warns(StaleWarning):
        assert told(made) == (4, 4, 10)
    assert refresh_workspace(made) == ["r"]
    assert told(made) == truth(path) == (4, 4, 8)


def test_other_rights_and_links_are_no_change(tmp_path: Path):
    path = small(tmp_path / "a.db")
    with hitsduck.open_reruns({"r": path}) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb")
        path.chmod(0o640)
        os.link(path, tmp_path / "second name.db")
        assert reruns.counts().rows()[0]["n_dia_sources"] == 4
    assert storing.status(made)[0].state == "current"


def test_a_cache_sees_each_change(tmp_path: Path):
    path, cache = small(tmp_path / "a.db"), tmp_path / "cache"
    with pytest.warns(CacheWarning):
        assert told(path, cache=cache) == (4, 4, 10)
    restored(path, "update DiaSource set diaObjectId = 2")
    with pytest.warns(CacheWarning):
        assert told(path, cache=cache) == (4, 4, 8)
    assert len(list(cache.iterdir())) == 1  # the one of before is of no use to anybody


def test_another_file_of_the_same_size_time_and_counter_is_another(tmp_path: Path):
    path, other = small(tmp_path / "a.db"), small(tmp_path / "b.db")
    change(other, "update DiaSource set diaObjectId = 2")
    change(path, "update DiaSource set diaObjectId = diaObjectId")  # as often written
    assert path.read_bytes()[24:28] == other.read_bytes()[24:28]
    assert path.stat().st_size == other.stat().st_size
    with hitsduck.open_reruns({"r": path}) as reruns:
        before = path.stat()
        os.replace(other, path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(RerunChangedError):
            reruns.counts()


@pytest.mark.parametrize("kind", ["workspace", "parquet"])
def test_a_store_that_changes_is_noticed_whatever_time_it_says(tmp_path: Path, kind: str):
    with hitsduck.open_reruns({"r": small(tmp_path / "a.db")}) as reruns:
        made = (
            reruns.materialize(tmp_path / "w.duckdb")
            if kind == "workspace"
            else reruns.export("r", tmp_path / "out")
        )
    file = made if kind == "workspace" else made / "DiaSource" / "part-0000.parquet"
    with hitsduck.open_reruns({"r": made}) as reruns:
        before = file.stat()
        with file.open("r+b") as changed:
            changed.seek(-1, os.SEEK_END)
            changed.write(b"?")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(RerunChangedError):
            reruns.counts()


def test_what_another_process_has_put_into_the_cache_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, cache = small(tmp_path / "a.db"), tmp_path / "cache"
    with pytest.warns(CacheWarning):
        first = hitsduck.open_reruns({"r": path}, cache=cache)
    (kept,) = cache.iterdir()
    inode = kept.stat().st_ino
    real, asked = opening._is_whole, []

    def not_there_yet(workspace: Path, door: columnar.Door) -> bool:
        asked.append(workspace)
        return len(asked) > 1 and real(workspace, door)

    with first, monkeypatch.context() as patch:
        patch.setattr(opening, "_is_whole", not_there_yet)
        with pytest.warns(CacheWarning):
            assert told(path, cache=cache) == truth(path)
        assert kept.stat().st_ino == inode
        assert first.counts().rows()[0]["n_dia_sources"] == 4
    assert list(cache.iterdir()) == [kept]


def test_another_name_of_a_store_is_no_change(tmp_path: Path):
    with hitsduck.open_reruns({"r": small(tmp_path / "a.db")}) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb")
    with hitsduck.open_reruns({"r": made}) as reruns:
        os.link(made, tmp_path / "second.duckdb")
        assert reruns.counts().rows()[0]["n_dia_sources"] == 4
    with hitsduck.open_reruns({"r": made}) as reruns:
        (tmp_path / "second.duckdb").unlink()
        assert reruns.counts().rows()[0]["n_dia_sources"] == 4


def test_a_cleaned_temporary_folder_harms_nothing(tmp_path: Path):
    with hitsduck.open_reruns({"r": small(tmp_path / "a.db")}) as reruns:
        shutil.rmtree(reruns._folder)
        assert reruns.counts().rows()[0]["n_dia_sources"] == 4
        assert reruns.sql("select instrument from rerun").rows() == [{"instrument": "DECam"}]


def test_an_interruption_between_view_and_note_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = Connection.execute

    def interrupted(self: Connection, sql: str, parameters: Any = None) -> Any:
        answer = real(self, sql, parameters)
        if sql.startswith("create or replace"):
            raise KeyboardInterrupt
        return answer

    with hitsduck.open_reruns({"r": small(tmp_path / "a.db")}) as reruns:
        for _ in range(3):
            with monkeypatch.context() as patch:
                patch.setattr(Connection, "execute", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    reruns.sql("select * from image")
        assert len(reruns.sql("select * from image")) == 4


def test_an_apdb_behind_a_cache_is_watched(tmp_path: Path):
    path = small(tmp_path / "a.db")
    with pytest.warns(CacheWarning):
        reruns = hitsduck.open_reruns({"r": path}, cache=tmp_path / "cache")
    with reruns:
        reruns.counts()
        change(path, "update DiaSource set diaObjectId = 2")
        with pytest.raises(RerunChangedError, match=r"a\.db changed while it was open"):
            reruns.counts()


def test_a_damaged_file_in_the_cache_is_made_again(tmp_path: Path):
    path, cache = small(tmp_path / "a.db"), tmp_path / "cache"
    with pytest.warns(CacheWarning):
        told(path, cache=cache)
    (kept,) = cache.iterdir()
    for length in (5000, 0):
        with kept.open("r+b") as file:
            file.truncate(length)
        with pytest.warns(CacheWarning):
            assert told(path, cache=cache) == truth(path)
        assert told(path, cache=cache) == truth(path)


def test_a_cache_opens_what_opens_without_it(tmp_path: Path):
    lacking = [f"DiaSource.pixelFlags_{name}" for name in ("bad", "suspect", "saturatedCenter")]
    path = small(tmp_path / "a.db", leave_out=lacking)
    flags = ["pixelFlags_edge"]
    with pytest.warns(CacheWarning):
        answer = told(path, cache=tmp_path / "cache", bad_flags=flags)
    assert answer == told(path, cache=False, bad_flags=flags) == truth(path)


def test_a_flag_of_two_is_true_and_stored(tmp_path: Path):
    path = small(tmp_path / "a.db")
    change(path, "update DiaSource set pixelFlags_bad = 2 where rowid = 1")
    with hitsduck.open_reruns({"r": path}) as reruns:
        counts = reruns.counts().rows()
        made = reruns.materialize(tmp_path / "w.duckdb")
        out = reruns.export("r", tmp_path / "out")
    assert counts[0]["n_good_dia_sources"] == 3
    for store in (made, out):
        with hitsduck.open_reruns({"r": store}) as reruns:
            assert reruns.counts().rows() == counts


def test_ends_that_the_next_version_tells_are_stored(tmp_path: Path):
    versions = [
        {"diaObjectId": 1, "validityStartMjdTai": start, "validityEndMjdTai": None}
        for start in (57000.0, 57010.0)
    ]
    path = small(
        tmp_path / "a.db", objects=versions, objects_last=[{"diaObjectId": 1}], constraints=False
    )
    query = "select validityEndMjdTai as e from dia_object_history order by validityStartMjdTai"
    answers = []
    with hitsduck.open_reruns({"r": path}) as reruns:
        answers.append(reruns.sql(query).rows())
        made = reruns.materialize(tmp_path / "w.duckdb")
    with hitsduck.open_reruns({"r": made}) as reruns:
        answers.append(reruns.sql(query).rows())
    assert answers[0] == answers[1] == [{"e": 57010.0}, {"e": None}]


def test_a_workspace_that_is_replaced_during_an_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stores = {}
    for name, n in (("old", 3), ("new", 9)):
        with hitsduck.open_reruns({"r": small(tmp_path / f"{name}.db", n)}) as reruns:
            stores[name] = reruns.materialize(tmp_path / f"{name}.duckdb")
    target = tmp_path / "w.duckdb"
    shutil.copy(stores["old"], target)
    real = columnar.manifests

    def meddle(path: Path, door: columnar.Door | None = None) -> dict[str, columnar.Manifest]:
        found = real(path, door)
        os.replace(stores["new"], target)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(columnar, "manifests", meddle)
        with (
            hitsduck.open_reruns([target]) as reruns,
            pytest.raises(RerunChangedError, match="changed while it was open"),
        ):
            reruns.counts()
    with hitsduck.open_reruns([target]) as reruns:
        assert reruns.counts().rows()[0]["n_dia_sources"] == 9
        assert reruns.info()[0]["origin_path"] == str(tmp_path / "new.db")
    assert storing.status(target)[0].n_rows["DiaSource"] == 9


@pytest.mark.parametrize("how", ["workspace", "export", "cache"])
def test_a_cell_that_cannot_be_stored_is_named(tmp_path: Path, how: str):
    path = small(tmp_path / "a.db")
    change(path, "update DiaSource set apFlux = 'abc' where rowid = 3")
    said = r"rerun 'r' \(.*a\.db\): DiaSource.apFlux .*rowid 3: 'abc'"
    if how == "cache":
        with pytest.warns(CacheWarning), pytest.raises(BadValueError, match=said):
            hitsduck.open_reruns({"r": path}, cache=tmp_path / "cache")
        return
    with hitsduck.open_reruns({"r": path}) as reruns:
        write = {
            "workspace": lambda: reruns.materialize(tmp_path / "w.duckdb"),
            "export": lambda: reruns.export("r", tmp_path / "out"),
        }[how]
        with pytest.raises(BadValueError, match=said):
            write()


def test_an_infinite_flux_is_counted_beside_a_picture(tmp_path: Path):
    path = small(tmp_path / "a.db")
    change(path, "update DiaSource set psfFlux = 9e999 where rowid = 1")
    with hitsduck.open_reruns({"r": path}) as reruns:
        frame = reruns.chart_data("distributions", good=False)
    fluxes = frame.filter(frame["quantity"] == frame["quantity"][0])
    assert fluxes.height > 0


def test_one_file_is_one_file_in_whatever_store(tmp_path: Path):
    path, other = small(tmp_path / "a.db"), small(tmp_path / "b.db")
    with hitsduck.open_reruns({"a": path, "again": path, "b": other}) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb")
        out = reruns.export("a", tmp_path / "out")
    asked = {"a": path, "stored": f"{made}:again", "out": out, "b": f"{made}:b"}
    with hitsduck.open_reruns(asked) as reruns:  # type: ignore[arg-type]
        for left, right, is_same in (
            ("a", "stored", True),
            ("stored", "out", True),
            ("a", "b", False),
        ):
            assert reruns.compare(left, right).same_file is is_same, (left, right)
    restored(path, "update DiaSource set diaObjectId = 2")
    asked = {"a": path, "stored": f"{made}:a"}
    with pytest.warns(StaleWarning), hitsduck.open_reruns(asked) as reruns:  # type: ignore[arg-type]
        reruns.compare("a", "stored")


@pytest.mark.parametrize("kind", ["sqlite", "text"])
def test_what_is_no_workspace_is_called_what_it_is(tmp_path: Path, kind: str):
    path = tmp_path / "association.db"
    if kind == "sqlite":
        small(path)
    else:
        path.write_text("hello", encoding="utf-8")
    said = "is an SQLite database and no workspace" if kind == "sqlite" else "is no database"
    with pytest.raises(NotAnApdbError, match=said):
        storing.status(path)


def test_a_refresh_that_fails_says_that_nothing_was_refreshed(tmp_path: Path):
    path = small(tmp_path / "a.db")
    with hitsduck.open_reruns({"r": path}) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb")
    before = made.read_bytes()
    path.write_bytes(b"no database at all" * 10)
    with pytest.raises(NotAnApdbError, match=r"w\.duckdb: nothing was refreshed: .*a\.db"):
        refresh_workspace(made)
    assert made.read_bytes() == before


def test_what_a_killed_import_spilled_is_swept_away(tmp_path: Path):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    name = f".hitsduck_w.duckdb.{int(dead.stdout)}.abc.hitsduck-partial"
    (tmp_path / name).write_text("half", encoding="utf-8")
    (tmp_path / f"{name}.wal").write_text("half", encoding="utf-8")
    (tmp_path / f"{name}.tmp").mkdir()
    (tmp_path / f"{name}.tmp" / "spilled").write_text("much", encoding="utf-8")
    with hitsduck.open_reruns({"r": small(tmp_path / "a.db")}) as reruns:
        reruns.materialize(tmp_path / "w.duckdb")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.db", "w.duckdb"]
