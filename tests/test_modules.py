"""Imports run downward only, and each kind of work has its own modules."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "hitsduck"

#: Modules and packages, highest first. One imports only from lines below its own, or from
#: others of its own line as long as there is no cycle. A new module is put where it belongs.
ORDER = (
    ("__main__",),
    ("cli",),
    ("demo",),
    ("report",),
    ("simulator",),
    ("opening",),
    ("reruns",),
    ("rerun", "information", "complaints"),
    ("series",),
    ("gallery",),
    ("page", "charts", "chartdata"),
    ("large",),
    ("held",),
    ("comparison", "integrity", "outside", "src_catalogs"),
    (  # what changed: frames in, frames and words out
        "absence",
        "agreement",
        "components",
        "counting",
        "coverage",
        "dimensions",
        "edges",
        "evidence",
        "explanation",
        "fields",
        "listing",
        "masking",
        "matching",
        "missing_ids",
        "outside_tables",
        "pairing",
        "resampling",
        "selection",
        "sides",
        "significance",
        "sky_fit",
        "turnover",
        "verdict",
        "wording",
    ),
    ("crossmatch",),
    ("crossmatch_search",),
    ("crossmatch_sky",),
    ("exporting",),
    ("lookup", "storing"),
    ("importing",),
    ("scopes",),
    ("ready", "suggestions", "by_id", "leftout"),
    ("definitions",),
    ("attaching", "guard", "views"),
    ("results",),
    ("detection",),
    ("columnar",),
    ("connection",),
    ("canary",),
    ("inspection",),
    ("schema", "cameras"),
    ("limits", "outputs"),
    ("quoting", "errors"),
)
#: Imports against the order, with the reason. None may be added without one.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
RANK = {name: rank for rank, line in enumerate(ORDER) for name in line}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.Name) and part.id == "TYPE_CHECKING" for part in ast.walk(node.test)
    )


@cache
def imported(path: Path) -> frozenset[str]:
    """Return what a module imports anywhere, functions too, but for type checkers alone."""
    found: set[str] = set()
    waiting: list[ast.AST] = [parsed(path)]
    while waiting:
        node = waiting.pop()
        if is_type_checking(node):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: write imports of hitsduck in full"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else str(node.module))
        waiting += ast.iter_child_nodes(node)
    return frozenset(found)


IMPORTS = {
    name: {other for other in imported(path) if other in MODULES and other != name}
    for name, path in MODULES.items()
}


def top(module: str) -> str:
    """Return the module of the package, or the package in it, that a module belongs to."""
    return module.split(".")[1] if "." in module else module


def test_every_module_has_its_place():
    unplaced = {top(name) for name in MODULES if name != "hitsduck"} - set(RANK)
    assert not unplaced, f"put {sorted(unplaced)} into ORDER of tests/test_modules.py"


def test_every_place_is_taken():
    taken = {top(name) for name in MODULES}
    assert set(RANK) <= taken, f"not there any more: {sorted(set(RANK) - taken)}"


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_downward_only(name: str):
    for other in IMPORTS[name] - {"hitsduck"}:
        if name == "hitsduck" or top(name) == top(other):
            continue
        if (top(name), top(other)) in EXCEPTIONS:
            continue
        here, there = RANK.get(top(name)), RANK.get(top(other))
        if here is not None and there is not None:
            assert here <= there, f"{name} imports {other}, which is above it"


def test_there_is_no_cycle():
    # Importing a module of a package runs the package's __init__, so that only what __init__
    # itself imports counts for it.
    order = graphlib.TopologicalSorter(IMPORTS)
    order.prepare()  # raises CycleError with the cycle


def test_the_package_itself_imports_nothing_until_asked():
    assert IMPORTS["hitsduck"] == set()


def users_of(library: str) -> set[str]:
    return {
        name
        for name, path in MODULES.items()
        if any(found.split(".")[0] == library for found in imported(path))
    }


def callers_of(library: str, function: str) -> set[str]:
    return {
        name
        for name, path in MODULES.items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{library}.{function}"
    }


def test_the_engine_has_one_door():
    assert callers_of("duckdb", "connect") == {"hitsduck.connection"}
    # The canary asks through the connection that it is given. Others know the engine's errors
    # alone, which come while rows are fetched.
    for name in users_of("duckdb") - {"hitsduck.connection", "hitsduck.canary"}:
        tree = parsed(MODULES[name])
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "duckdb"
        }
        assert used == {"Error"}, name


def test_sqlite_files_are_opened_by_one_module_and_written_by_the_simulator():
    openers = callers_of("sqlite3", "connect")
    assert {name for name in openers if top(name) != "simulator"} == {
        "hitsduck.inspection",
        "hitsduck.canary",  # its own tiny files
    }


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("hitsduck.charts")])
def test_charts_draw_and_never_ask(name: str):
    asking = {"reruns", "connection", "views", "attaching", "comparison", "chartdata", "lookup"}
    assert not {top(other) for other in IMPORTS[name]} & asking


def test_drawing_is_left_to_charts_and_the_page():
    for name in users_of("altair"):
        assert top(name) in {"charts", "page", "report", "demo", "cli"}


def test_the_cross_match_knows_frames_and_no_files():
    for name in ("crossmatch", "crossmatch_search", "crossmatch_sky"):
        known = {top(other) for other in IMPORTS[f"hitsduck.{name}"]}
        assert known <= {"crossmatch_search", "crossmatch_sky", "errors"}


def test_views_know_no_astronomy_and_schema_no_connection():
    assert "hitsduck.cameras" not in IMPORTS["hitsduck.views"]
    assert IMPORTS["hitsduck.schema"] == {"hitsduck.errors", "hitsduck.quoting"}
    assert IMPORTS["hitsduck.cameras"] == {"hitsduck.errors"}
    assert IMPORTS["hitsduck.errors"] == set()


def test_opening_and_counting_load_neither_charts_nor_frames(tmp_path: Path):
    from apdb_files import make_apdb

    path = make_apdb(tmp_path / "a.db")
    program = (
        "import sys, hitsduck\n"
        "light = set(sys.modules)\n"
        f"with hitsduck.open_reruns({{'a': {str(path)!r}}}) as reruns:\n"
        "    reruns.counts().rows()\n"
        "heavy = {'altair', 'astropy', 'pandas', 'polars', 'scipy', 'numpy'}\n"
        "print(sorted(heavy & light), sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert done.stdout == "[] []\n"
