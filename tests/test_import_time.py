"""The quick commands stay quick: heavy packages are imported where they are first used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from apdb_files import make_apdb

HEAVY = ("altair", "astropy", "pandas", "polars", "scipy")
SOURCE = {"visit": 410985, "detector": 5, "ra": 150.0, "dec": 2.0, "x": 1.0, "y": 2.0}

LIST_MODULES = (
    "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}), "
    "file=sys.stderr)\n"
)


def imported_by(program: str, *arguments: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has imported in the end."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program + LIST_MODULES, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_apdb(
        tmp_path_factory.mktemp("quick") / "a.db",
        sources=[SOURCE | {"diaObjectId": 1}],
        objects=[{"diaObjectId": 1, "ra": 150.0, "dec": 2.0}],
        metadata={"instrument": "DECam"},
    )


@pytest.mark.parametrize("package", HEAVY)
def test_the_heavy_packages_are_installed_or_the_other_tests_show_nothing(package: str):
    assert package in imported_by(f"import {package}")


def test_import_hitsduck_imports_nothing_of_weight():
    found = imported_by("import hitsduck")
    assert "hitsduck" in found
    assert found & {*HEAVY, "duckdb", "pyarrow", "numpy", "sqlite3"} == set()


def test_the_public_names_are_there_all_the_same():
    imported_by(
        "import hitsduck\n"
        "for name in hitsduck.__all__:\n"
        "    if name != 'simulate':\n"
        "        assert getattr(hitsduck, name) is not None\n"
        "try:\n"
        "    hitsduck.nothing\n"
        "except AttributeError as error:\n"
        "    assert \"no attribute 'nothing'\" in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
    )


def test_checking_the_files_does_not_import_pandas(path: Path):
    # The report checks in a thread; Altair, in another, takes a half imported pandas for whole.
    found = imported_by(
        "import sys, hitsduck\n"
        "with hitsduck.open_reruns({'A': sys.argv[1]}) as reruns:\n"
        "    assert len(reruns.integrity().rows()) > 5\n",
        str(path),
    )
    assert "pandas" not in found
    assert "polars" in found


def test_opening_and_counting_imports_none_of_the_heavy_packages(path: Path):
    # pandas too: DuckDB and pyarrow import it, where it is installed, as soon as a Python
    # value is bound or turned into a column.
    found = imported_by(
        "import sys, hitsduck\n"
        "with hitsduck.open_reruns({'A': sys.argv[1]}) as reruns:\n"
        "    (row,) = reruns.counts().rows()\n"
        "assert row['n_good_dia_sources'] == 1, row\n",
        str(path),
    )
    assert "duckdb" in found
    # numpy's own threads take a core for a while, beside those that count.
    assert found & {*HEAVY, "numpy", "pyarrow"} == set()


def test_opening_is_imported_without_what_other_questions_need():
    # Together these take as long to import as a small file to open.
    found = imported_by("import hitsduck.opening")
    assert "duckdb" in found
    assert found & {"statistics", "fractions", "hashlib", "difflib"} == set()


def test_the_command_counts_imports_neither_altair_nor_astropy(path: Path):
    found = imported_by(
        "import sys\n"
        "from hitsduck.cli import main\n"
        "try:\n"
        "    main(['counts', f'A={sys.argv[1]}', '--json'])\n"
        "except SystemExit as leaving:\n"
        "    assert not leaving.code, leaving.code\n",
        str(path),
    )
    assert "duckdb" in found
    assert found & set(HEAVY) == set()


def test_comparing_images_does_without_astropy_which_takes_long_to_import(path: Path):
    found = imported_by(
        "import sys, hitsduck\n"
        "with hitsduck.open_reruns({'A': sys.argv[1], 'B': sys.argv[1]}) as reruns:\n"
        "    comparison = reruns.compare('A', 'B')\n"
        "    assert comparison.n_matched == 1\n",
        str(path),
    )
    assert "polars" in found
    assert found & {"astropy", "cdshealpix", "pandas", "altair"} == set()
