"""The wheel, and the package where it stands, hold all that hitsduck reads."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from apdb_files import make_apdb

from hitsduck import views

# The wheel is built once: all tests in one process.
pytestmark = pytest.mark.xdist_group("packaging")

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    if "No matching distribution found for hatchling" in done.stderr and not os.environ.get(
        "HITSDUCK_CI"
    ):
        pytest.skip("hatchling, which builds the wheel, is not to be had here")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def files_below(folder: Path, *, under: str = "") -> set[str]:
    return {
        under + path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_and_the_views_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    of_package = {name for name in held if name.startswith("hitsduck/")}
    assert of_package == files_below(ROOT / "hitsduck", under="hitsduck/") | files_below(
        ROOT / "sql", under="hitsduck/sql/"
    )
    assert {name.split("/")[0] for name in held - of_package} == {
        f"hitsduck-{PYPROJECT['project']['version']}.dist-info"
    }


@pytest.mark.parametrize(
    "name",
    [
        "hitsduck/sql/normalized/dia_source.sql",
        "hitsduck/sql/macros/tai_to_mjd_tai.sql",
        "hitsduck/data/columns.csv",
        "hitsduck/data/flag_bits.csv",
        "hitsduck/data/cameras/decam.csv",
        "hitsduck/py.typed",
    ],
)
def test_the_wheel_holds_what_is_no_python(wheel: Path, name: str):
    with zipfile.ZipFile(wheel) as archive:
        assert name in archive.namelist()


def test_the_wheel_has_the_command_and_the_licence(unpacked: Path):
    (info,) = unpacked.glob("*.dist-info")
    entry_points = (info / "entry_points.txt").read_text(encoding="utf-8")
    assert "hitsduck = hitsduck.cli:main" in entry_points
    assert (info / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def run_with(package: Path, program: str, cwd: Path) -> str:
    """Run a program that finds hitsduck in the folder `package` and nowhere else."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(package)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_wheel_finds_its_own_views_and_counts(unpacked: Path, tmp_path: Path):
    path = make_apdb(
        tmp_path / "a.db",
        sources=[{"diaObjectId": 1, "visit": 1, "detector": 5, "ra": 1.0, "dec": 2.0}],
        objects=[{"diaObjectId": 1, "ra": 1.0, "dec": 2.0, "validityEndMjdTai": None}],
    )
    program = (
        "import hitsduck\n"
        "from hitsduck import views\n"
        "print(views.sql_folder())\n"
        f"with hitsduck.open_reruns({str(path)!r}, instrument='DECam') as reruns:\n"
        "    print(list(reruns.counts().rows()[0].values()))\n"
        "    print(len(reruns.summary('detector_summary').rows()))\n"
    )
    printed = run_with(unpacked, program, tmp_path).splitlines()
    assert printed == [str(unpacked / "hitsduck" / "sql"), "['a', 1, 1, 1, 1]", "1"]


def test_the_command_of_an_installed_wheel_runs(unpacked: Path, tmp_path: Path):
    program = "from hitsduck.cli import main\nmain(['counts', '--help'])\n"
    assert "counts" in run_with(unpacked, program, tmp_path)


def test_the_package_where_it_stands_finds_the_views_beside_it():
    # An editable install has no hitsduck/sql: the folder lies beside the package.
    assert not (ROOT / "hitsduck" / "sql").exists()
    assert views.sql_folder() == ROOT / "sql"


def test_a_package_that_lost_its_views_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hitsduck.errors import EngineError

    monkeypatch.setattr(views, "__file__", str(tmp_path / "hitsduck" / "views.py"))
    views.sql_folder.cache_clear()
    try:
        with pytest.raises(EngineError, match="install hitsduck again"):
            views.sql_folder()
    finally:
        views.sql_folder.cache_clear()


def test_the_engine_and_its_sqlite_reader_are_pinned_to_one_version():
    pinned = dict(
        requirement.split("==")
        for requirement in PYPROJECT["project"]["dependencies"]
        if "==" in requirement
    )
    assert pinned["duckdb"] == pinned["duckdb-extension-sqlite-scanner"]


def test_the_version_of_the_package_is_that_of_the_project():
    import hitsduck

    assert hitsduck.__version__ == PYPROJECT["project"]["version"]
