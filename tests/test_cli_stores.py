"""Commands on workspaces and on reruns in an odd order: what they say, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from apdb_files import make_apdb
from apdb_files import small_apdb as small
from click.testing import CliRunner, Result

import hitsduck
from hitsduck.cli import cli
from hitsduck.errors import EngineError, OrderWarning
from hitsduck.series import warn_of_order


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Return workspaces of one, two and three reruns."""
    folder = tmp_path_factory.mktemp("stores")
    paths = {name: small(folder / f"{name}.db", 4 + n) for n, name in enumerate("abc")}
    made = {}
    for n in (1, 2, 3):
        with hitsduck.open_reruns(dict(list(paths.items())[:n])) as reruns:
            made[n] = reruns.materialize(folder / f"of{n}.duckdb")
    return made


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], standalone_mode=False)


def test_a_workspace_of_two_is_a_pair(stores: dict[int, Path]):
    alone = run("compare", stores[2], "--all")
    both = run("compare", f"{stores[2]}:a", f"{stores[2]}:b", "--all")
    assert alone.exception is None
    assert alone.stdout == both.stdout
    assert "+1 sources" in alone.stdout
    assert run("explain", stores[2], "--all").exception is None


@pytest.mark.parametrize("command", ["compare", "explain"])
@pytest.mark.parametrize("given", [(1,), (3,), (2, 1), (3, 3)])
def test_what_is_no_pair_is_counted(stores: dict[int, Path], command: str, given: tuple[int, ...]):
    done = run(command, *(stores[n] for n in given))
    assert isinstance(done.exception, click.UsageError)
    n = sum(given)
    assert f"{n} rerun{'s' if n > 1 else ''} (" in done.exception.message
    assert "name both" in done.exception.message


def test_what_only_one_generation_has_is_no_cause_and_is_named(tmp_path: Path):
    # 2020 has no flag for streaks (flag_bits.csv, era 2019); 10.0.0 has.
    sources = [
        {"diaObjectId": 1 + k, "visit": 410985, "detector": 5, "ra": 150.0 + k / 100}
        | {"dec": 2.0, "x": 9.0 + k, "y": 9.0}
        for k in range(40)
    ]
    paths = [
        make_apdb(
            tmp_path / f"{generation}.db",
            generation=generation,
            sources=sources[:n],
            objects=[{"diaObjectId": 1 + k} for k in range(n)],
            metadata={"instrument": "DECam"},
        )
        for generation, n in (("2020", 20), ("10.0.0", 40))
    ]
    done = run("explain", *paths, "--all-rows", "--all")
    assert done.exception is None, done.exception
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("not looked at")]
    assert "pixelFlags_streak" in line
    assert "pixelFlags_streak" not in done.stdout.replace(line, "")
    assert "pixelFlags_bad" not in line


def test_info_names_the_apdb_behind_a_store(stores: dict[int, Path]):
    told = run("info", stores[1]).stdout
    apdb = stores[1].parent / "a.db"
    assert f"stored from       {apdb}" in told
    assert "columns           all" in told


def test_a_refresh_says_what_is_gone(tmp_path: Path):
    path = small(tmp_path / "a.db")
    with hitsduck.open_reruns({"a": path}) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb")
    path.unlink()
    done = run("workspace", "refresh", made)
    assert done.exception is None
    assert f"a: {path} is gone; kept as it is" in done.stderr
    assert "nothing changed" in done.stdout
    assert run("workspace", "status", made).stdout.count("gone") == 1
    (info,) = hitsduck.open_reruns({"a": made}).info()
    assert info["origin_state"] == "gone"


def test_a_report_says_from_which_apdb_and_that_it_has_changed(tmp_path: Path):
    path = small(tmp_path / "a.db")
    with hitsduck.open_reruns({"a": path}) as reruns:
        made = reruns.materialize(tmp_path / "w.duckdb", columns="notebook")
    path.unlink()
    small(path, 9)
    out = tmp_path / "report.md"
    with pytest.warns(hitsduck.errors.StaleWarning):
        done = run("report", made, "--output", out)
    assert done.exception is None
    page = out.read_text(encoding="utf-8").replace("\\", "")
    assert str(path) in page
    assert "its APDB has changed since; these are the rows of before" in page
    head = page[: page.index("## Counts")]
    assert "The APDB of a has changed since: the numbers are those of when it was stored." in head
    assert "notebook" in page


def test_months_in_the_order_of_the_alphabet_are_asked_about():
    with pytest.warns(OrderWarning, match="Apr2020, Jun2020, May2020, which is not that"):
        warn_of_order(["Apr2020", "Jun2020", "May2020"])
    with pytest.warns(OrderWarning):
        warn_of_order(["hits_december_2020", "hits_january_2020"])
    with pytest.warns(OrderWarning):
        warn_of_order(["sept2020", "March 2020"])


@pytest.mark.parametrize(
    "names",
    [
        ["Apr2020", "May2020", "Jun2020"],
        ["Dec2019", "Jan2020"],
        ["old", "new"],
        ["Jun2020", "Apr2020 again with a name of no month", "x"],
        ["Jun2020", "may"],
        ["w_2020_30", "w_2020_20"],
        ["DECam2021", "May2020"],
        ["marginal2021", "apr2020"],
        ["summary2021", "mar2020"],
    ],
)
def test_any_other_order_is_the_users(names: list[str], recwarn: pytest.WarningsRecorder):
    warn_of_order(names)
    assert not recwarn.list


def test_reruns_given_out_of_order_are_compared_as_given(tmp_path: Path):
    paths = {name: small(tmp_path / f"{name}.db") for name in ("Apr2020", "Jun2020", "May2020")}
    with hitsduck.open_reruns(paths) as reruns:
        with pytest.warns(OrderWarning):
            steps = reruns.series()
        assert [(step.left, step.right) for step in steps.comparisons] == [
            ("Apr2020", "Jun2020"),
            ("Jun2020", "May2020"),
        ]
        reruns.series(order=["Apr2020", "May2020", "Jun2020"])


def test_one_name_twice_is_said_once(tmp_path: Path):
    path = small(tmp_path / "a.db")
    done = run("counts", path, path)
    assert str(done.exception) == f"two reruns are called 'a' ({path} and {path}); give NAME=PATH"


def test_a_place_to_spill_that_cannot_be_made_is_told(tmp_path: Path):
    path = small(tmp_path / "a.db")
    with pytest.raises(EngineError, match="there is no such folder"):
        hitsduck.open_reruns({"a": path}, temp_directory=tmp_path / "no" / "where")


@pytest.mark.parametrize(
    ("sent", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_ends_an_import_and_leaves_nothing(
    tmp_path: Path, sent: signal.Signals, status: int, word: str
):
    path = small(tmp_path / "a.db", 5_000)
    target = tmp_path / "w.duckdb"
    command = [sys.executable, "-m", "hitsduck", "workspace", "create", target, f"a={path}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # As soon as something of the new file is there, the import is under way.
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            if any("hitsduck-partial" in name for name in os.listdir(tmp_path)):
                break
            time.sleep(0.005)
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert said.decode().strip().endswith(f"error: {word}")
    assert [name for name in os.listdir(tmp_path) if "hitsduck" in name] == []
    assert not target.exists()
