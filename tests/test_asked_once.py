"""What is asked once is answered in one statement, as the views answer that it is made of."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck import views
from hitsduck.connection import Connection
from hitsduck.errors import (
    EngineError,
    InstrumentError,
    QueryError,
    RerunNameError,
    RerunNotFoundError,
)

WHERE = "psfFlux > 250"


def source(number: int, **cells: Any) -> dict[str, Any]:
    return {
        "diaSourceId": number,
        "diaObjectId": 1 + number % 3,
        "ra": 150.0 + 0.01 * number,
        "dec": 2.0,
        "x": 10.0 * number,
        "y": 20.0 * number,
        "midpointMjdTai": 57070.1 + number % 2,
        "psfFlux": 100.0 * number,
        "psfFluxErr": 10.0,
        "ixxPSF": 4.0,
        "iyyPSF": 4.2,
        "ixyPSF": 0.1,
        "band": "g",
    } | cells


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("once")
    objects = [{"diaObjectId": number, "ra": 150.0, "dec": 2.0} for number in (1, 2, 3)]
    packed = [
        source(n, ccdVisitId=41098505 + 100 * (n % 2), flags=64 * (n == 4)) for n in range(1, 9)
    ]
    plain = [
        source(n, visit=410985 + n % 2, detector=5, pixelFlags_bad=n in (2, 5))
        for n in range(1, 10)
    ]
    return {
        "old": make_apdb(folder / "old.db", generation="2020", sources=packed, objects=objects),
        "new": make_apdb(folder / "new.db", sources=plain, objects=objects),
    }


@pytest.fixture
def statements() -> list[str]:
    return []


@pytest.fixture
def reruns(files: dict[str, Path], statements: list[str]) -> Iterator[hitsduck.Reruns]:
    with hitsduck.open_reruns(
        files, instrument="DECam", tracer=lambda sql, _: statements.append(sql)
    ) as opened:
        yield opened


@pytest.mark.parametrize("where", [None, WHERE])
def test_one_statement_answers_what_the_view_does(reruns: hitsduck.Reruns, where: str | None):
    every = [(name, view) for name in reruns for view in views.view_names()]
    # All before the first view is there, which would be read by the next statements.
    at_once = {key: reruns.select(*key, where) for key in every}
    assert len(at_once) == 2 * len(views.view_names()) > 50
    for (name, view), select in at_once.items():
        found = reruns.query(f"select * from ({select}) order by all")
        relation = reruns.scope(name, view, where)
        truth = reruns.query(f"select * from {relation} order by all")
        assert found.arrow().equals(truth.arrow()), view
        # Then it is there, and need not be written out any more.
        assert reruns.select(name, view, where) == f"select * from {relation}"


def test_the_files_have_what_the_views_tell_apart(reruns: hitsduck.Reruns):
    # old: number 4 is bad; new: 2 and 5. Objects 1 + n % 3, each with good sources.
    assert [list(row.values())[1:] for row in reruns.counts().rows()] == [
        [8, 7, 3, 3],
        [9, 7, 3, 3],
    ]
    # psfFlux > 250: numbers 3 to 8, and 3 to 9
    assert [list(row.values())[1:] for row in reruns.counts(where=WHERE).rows()] == [
        [6, 5, 3, 3],
        [7, 6, 3, 3],
    ]


def test_counting_creates_no_view_and_a_summary_none_either(
    reruns: hitsduck.Reruns, statements: list[str]
):
    reruns.counts()
    reruns.summary("visit_summary")
    assert [sql for sql in statements if re.match(r"create (or replace )?view", sql)] == []
    assert sum("as good_definition" in sql for sql in statements) > 0  # it was all in one


def test_a_summary_of_several_reruns_is_in_one_order(reruns: hitsduck.Reruns):
    found = reruns.summary("visit_summary").rows()
    assert [(row["rerun"], row["visit"]) for row in found] == sorted(
        (name, visit) for name in ("old", "new") for visit in (410985, 410986)
    )


def test_a_condition_that_names_a_view_is_left_as_it_is(reruns: hitsduck.Reruns):
    # The text of a user is no text of ours: what looks like a relation there is a value.
    assert "from dia_source" in reruns.select("new", "rerun_counts", "band <> 'from dia_source'")
    found = reruns.counts(where="band <> 'from dia_source'").rows()
    assert [row["n_dia_sources"] for row in found] == [8, 9]
    assert found == reruns.counts().rows()


def test_a_rerun_or_a_condition_that_is_none_is_refused(reruns: hitsduck.Reruns):
    with pytest.raises(RerunNameError, match="no rerun is called 'older'"):
        reruns.select("older", "rerun_counts")
    with pytest.raises(QueryError, match="where is 5"):
        reruns.select("old", "rerun_counts", 5)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="nothing_such"):
        reruns.counts(where="nothing_such > 1")


@pytest.mark.parametrize(
    ("body", "one"),
    [
        ("select 1 as n", "select 1 as n"),
        ("select a.x\nfrom a\nwhere a.x", "select a.x\nfrom (\nA\n) as a\nwhere a.x"),
        ("select x from a as t join b using (x)", "select x from (\nA\n) as t join (\nB\n) as b"),
        ("select x from ab semi join a", "select x from ab semi join (\nA\n) as a"),
        ("-- purpose: from a\nselect x\n    -- join b\nfrom b", "select x\nfrom (\nB\n) as b"),
    ],
)
def test_each_input_goes_in_the_place_of_its_name(body: str, one: str):
    found = views.within_one(body, {"a": "A", "b": "B"})
    assert found.removesuffix(" using (x)") == one


@pytest.mark.parametrize("view", views.views(), ids=lambda view: view.name)
def test_every_input_of_every_view_can_be_put_in_its_place(view: views.View):
    marks = {name: f"<<{name}>>" for name in view.inputs}
    found = views.within_one(view.body, marks)
    assert all(mark in found for mark in marks.values())
    assert "--" not in found  # a comment would swallow what follows it
    left = re.sub(r"\) as \w+", "", found)
    assert re.findall(rf"\b(?:from|join)\s+({'|'.join(view.inputs)})\b", left) == []


# -- connecting meanwhile ------------------------------------------------------


def test_what_is_opened_meanwhile_is_asked_from_the_thread_that_opened(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    connected_in = []

    def connect(*arguments: Any, **options: Any) -> Connection:
        connected_in.append(threading.current_thread())
        return Connection(*arguments, **options)

    monkeypatch.setattr("hitsduck.attaching.Connection", connect)
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        (thread,) = connected_in
        assert thread is not threading.current_thread()
        thread.join(60)
        assert not thread.is_alive()
        assert reruns.connection.cursor() is reruns.connection._root
        assert len(reruns.counts().rows()) == 2


def test_a_tracer_is_called_in_the_thread_of_its_user_alone(files: dict[str, Path]):
    called_in = set()
    with hitsduck.open_reruns(
        files, instrument="DECam", tracer=lambda *_: called_in.add(threading.get_ident())
    ) as reruns:
        reruns.counts()
    assert called_in == {threading.get_ident()}


def test_where_no_thread_can_be_had_it_is_connected_when_it_is_needed(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        reruns = hitsduck.open_reruns(files, instrument="DECam")
    with reruns:
        assert [row["n_dia_sources"] for row in reruns.counts().rows()] == [8, 9]


def test_a_file_that_is_none_leaves_no_connection_open_and_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made: list[Connection] = []
    is_told, is_closed = threading.Event(), threading.Event()

    class Slow(Connection):
        def __init__(self, **options: Any) -> None:
            assert is_told.wait(60)
            super().__init__(**options)
            made.append(self)

        def close(self) -> None:
            super().close()
            is_closed.set()

    monkeypatch.setattr("hitsduck.attaching.Connection", Slow)
    path = make_apdb(tmp_path / "a.db", sources=[source(1, visit=1, detector=999)])
    with pytest.raises(InstrumentError, match="it has no detector 999"):
        hitsduck.open_reruns({"a": path}, instrument="DECam")
    assert made == []
    is_told.set()
    assert is_closed.wait(60)
    with pytest.raises(EngineError, match="closed"):
        made[0].execute("select 1")


@pytest.mark.parametrize("option", [{"temp_directory": "/" + "a" * 300}, {"memory_limit": "x"}])
def test_what_the_engine_refuses_hides_no_missing_file(tmp_path: Path, option: dict[str, Any]):
    with pytest.raises(RerunNotFoundError):
        hitsduck.open_reruns({"a": tmp_path / "none.db"}, **option)


def test_a_setting_that_the_engine_refuses_is_told(files: dict[str, Path]):
    with pytest.raises(EngineError, match=r"DuckDB refuses memory_limit \(--memory-limit\) 'x'"):
        hitsduck.open_reruns(files, instrument="DECam", memory_limit="x")
