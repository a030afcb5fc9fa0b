from __future__ import annotations

import csv
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck import attaching, definitions, schema, views
from hitsduck.errors import InstrumentError
from hitsduck.quoting import quote_identifier

ROOT = Path(__file__).resolve().parent.parent
SOURCE = {
    "diaObjectId": 1,
    "visit": 410985,
    "detector": 5,
    "ra": 150.0,
    "dec": 2.0,
    "x": 10.0,
    "y": 20.0,
    "midpointMjdTai": 57070.1,
    "band": "g",
    "ixxPSF": 0.25,
    "iyyPSF": 0.26,
    "ixyPSF": 0.0,
}
OBJECT = {"diaObjectId": 1, "ra": 150.0, "dec": 2.0, "validityEndMjdTai": None}
VIEW_NAMES = views.view_names()
#: What the views stand on: relations that are not in sql/.
GROUND = {*attaching.STAGED, *definitions.DEFINITION_TABLES}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hitsduck.Reruns]:
    """Return an empty rerun of the oldest generation and one of the newest with a source."""
    folder = tmp_path_factory.mktemp("views")
    files = {
        "oldest": make_apdb(folder / "oldest.db", generation="2020"),
        "newest": make_apdb(folder / "newest.db", sources=[SOURCE], objects=[OBJECT]),
    }
    with hitsduck.open_reruns(files, instrument="DECam") as reruns:
        yield reruns


# -- what the headers say ------------------------------------------------------


def load_script() -> ModuleType:
    path = ROOT / ".ci" / "check_view_columns.py"
    spec = importlib.util.spec_from_file_location("check_view_columns", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_every_view_has_the_columns_that_its_header_promises(
    capsys: pytest.CaptureFixture[str],
):
    assert load_script().main() == 0
    assert capsys.readouterr().out == (
        f"{len(VIEW_NAMES)} views have the columns that their headers promise\n"
    )


def test_what_describe_says_is_what_the_header_promises(both: hitsduck.Reruns):
    for name in ("dia_source", "dia_object", "visit_summary"):
        promised = views.documented_columns(views.view_named(name))
        for relation in (name, f"oldest.{name}", f"newest.{name}"):
            both.sql(f"select * from {relation} limit 0")
            rows = both.connection.execute(f"describe {relation}").fetchall()
            assert [row[0] for row in rows] == promised


@pytest.mark.parametrize("change", ["one too many", "one too few", "another order"])
def test_the_check_of_the_columns_fails_when_they_differ(
    both: hitsduck.Reruns,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
):
    script = load_script()
    right = views.documented_columns

    def wrong(view: views.View) -> list[str]:
        names = right(view)
        return {
            "one too many": [*names, "n_clouds"],
            "one too few": [name for name in names if name != "n_visits"],
            "another order": [*names[1:], names[0]],
        }[change]

    monkeypatch.setattr(views, "documented_columns", wrong)
    night = views.view_named("night_summary")
    found = script.differences(both, [night])
    assert len(found) == 3  # over all reruns, and of each of the two
    assert all(line.startswith("summaries/night_summary.sql, ") for line in found)
    said = {
        "one too many": "documented and not there: n_clouds; there and not documented: none",
        "one too few": "documented and not there: none; there and not documented: n_visits",
        "another order": "the order differs",
    }[change]
    assert all(said in line for line in found)
    monkeypatch.setattr(script, "differences", lambda reruns, checked: found)
    assert script.main() == 1
    assert said in capsys.readouterr().out


def test_every_view_carries_its_purpose_and_grain_as_a_comment(both: hitsduck.Reruns):
    for name in VIEW_NAMES:
        both.sql(f"select * from {name} limit 0")
    rows = both.connection.execute(
        "select schema_name, view_name, comment from duckdb_views() where not internal"
    ).fetchall()
    comments = {(schema_name, view): comment for schema_name, view, comment in rows}
    for view in views.views():
        for schema_name in ("oldest", "newest", "all_reruns"):
            comment = comments[schema_name, view.name]
            assert comment.startswith(view.purpose)
            assert f"Grain: {view.grain}" in comment


def test_every_header_is_complete():
    for view in views.views():
        assert view.purpose.endswith("."), view.name
        assert view.grain.startswith("one row per "), view.name
        assert view.columns, view.name
        assert all(meaning.strip() for meaning in view.columns.values()), view.name
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", view.name)


def test_columns_computed_here_are_written_in_snake_case_and_those_of_the_file_are_not():
    of_the_files = {
        column.name for table in attaching.STAGED.values() for column in schema.columns(table)
    }
    for view in views.views():
        for entry in view.columns:
            if not entry.endswith(".*") and entry not in of_the_files:
                assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", entry), (view.name, entry)


# -- layers --------------------------------------------------------------------


def relations_read(body: str) -> set[str]:
    """Return the relations that a SELECT reads, as DuckDB's own parser sees them."""
    (text,) = duckdb.execute("select json_serialize_sql($body)", {"body": body}).fetchone()
    read: set[str] = set()
    own: set[str] = set()

    def walk(tree: Any) -> None:
        if isinstance(tree, dict):
            if tree.get("type") == "BASE_TABLE":
                read.add(tree["table_name"])
            own.update(entry["key"] for entry in tree.get("cte_map", {}).get("map", []))
            for value in tree.values():
                walk(value)
        elif isinstance(tree, list):
            for value in tree:
                walk(value)

    tree = json.loads(text)
    assert not tree["error"], tree
    walk(tree)
    return read - own


@pytest.mark.parametrize("view", views.views(), ids=VIEW_NAMES)
def test_a_header_names_the_inputs_that_the_body_reads(view: views.View):
    # flag_summary unpivots, which has no JSON: its FROM clauses are read as text.
    if view.name == "flag_summary":
        read = set(re.findall(r"\b(?:from|join) (\w+)", view.body)) - {"long", "counted"}
    else:
        read = relations_read(view.body)
    assert read == set(view.inputs)


@pytest.mark.parametrize("view", views.views(), ids=VIEW_NAMES)
def test_a_view_reads_only_from_its_own_or_a_lower_layer(view: views.View):
    for name in view.inputs:
        if name in GROUND:
            staged = name in attaching.STAGED
            assert not staged or view.layer == "normalized", f"{view.name} reads {name}"
        else:
            below = views.LAYERS.index(views.view_named(name).layer)
            assert below <= views.LAYERS.index(view.layer), f"{view.name} reads {name}"


def test_every_view_comes_after_the_ones_that_it_reads():
    for place, view in enumerate(views.views()):
        for name in set(view.inputs) - GROUND:
            assert VIEW_NAMES.index(name) < place


def test_only_the_normalized_layer_knows_generations():
    with (Path(schema.__file__).parent / "data" / "names.csv").open(encoding="utf-8") as file:
        older = {row["name"] for row in csv.DictReader(file)}
    of_old_only = older | {"ccdVisitId", "flags", "visit_id_factor"}
    for view in views.views():
        if view.layer != "normalized":
            words = set(re.findall(r"\w+", "\n".join(view.body.split("\nselect")[1:])))
            assert not words & of_old_only, view.name


def test_there_is_a_test_that_asks_each_view():
    tests = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__)
    )
    for name in VIEW_NAMES:
        assert re.search(rf"\b(from|join) {name}\b|[\"'.]{name}\b", tests), name


def test_every_view_is_listed_as_its_header_says():
    listed = (views.sql_folder() / "README.md").read_text(encoding="utf-8")
    for layer in views.LAYERS:
        table = listed.split(f"`{layer}/`\n\n")[1].split("\n\n")[0].splitlines()[2:]
        assert table == [
            f"| `{view.name}` | {view.purpose} | {view.grain} |"
            for view in sorted(views.views(), key=lambda view: view.name)
            if view.layer == layer
        ]


# -- empty files ---------------------------------------------------------------

#: Views with rows whether there are sources or not.
WITHOUT_SOURCES = {"rerun_counts": 1, "rerun_summary": 1, "flag_summary": len(schema.flag_names())}


@pytest.mark.parametrize(("generation", "instrument"), [("2020", None), ("10.0.0", "DECam")])
def test_every_view_of_an_empty_file_can_be_read(
    tmp_path: Path, generation: str, instrument: str | None
):
    path = make_apdb(tmp_path / "a.db", generation=generation)
    n_rows = dict.fromkeys(VIEW_NAMES, 0) | WITHOUT_SOURCES
    n_rows["detector_geometry"] = 62 if instrument else 0
    with hitsduck.open_reruns({"a": path}, instrument=instrument) as reruns:
        for name in VIEW_NAMES:
            assert len(reruns.sql(f"select * from {name}")) == n_rows[name], name
        assert list(reruns.counts().rows()[0].values()) == ["a", 0, 0, 0, 0]


def test_a_file_of_two_tables_alone_can_be_read(tmp_path: Path):
    path = make_apdb(
        tmp_path / "a.db",
        sources=[SOURCE],
        objects=[OBJECT],
        leave_out=["DiaForcedSource", "SSObject", "metadata"],
    )
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        for name in VIEW_NAMES:
            reruns.sql(f"select * from {name}")
        assert list(reruns.counts().rows()[0].values()) == ["a", 1, 1, 1, 1]


@pytest.mark.parametrize("name", ["dia_source", "rerun", "listed", "detector"])
def test_a_rerun_may_be_called_like_a_view_or_a_column(tmp_path: Path, name: str):
    path = make_apdb(tmp_path / "a.db", sources=[SOURCE], objects=[OBJECT])
    with hitsduck.open_reruns({name: path}, instrument="DECam") as reruns:
        assert list(reruns.counts(where="ra > 0").rows()[0].values()) == [name, 1, 1, 1, 1]
        for view in ("dia_source_edge", "strictly_good_dia_object", "detector_summary"):
            rows = reruns.sql(f'select rerun from "{name}".{view}').rows()
            assert rows == [{"rerun": name}], view


# -- an instrument that is not known -------------------------------------------

SUMMARY_DENSITIES = {"area_deg2", "density_deg2", "good_density_deg2"}
PER_VISIT = {"density_per_visit_deg2", "good_density_per_visit_deg2"}


def check_refused(reruns: hitsduck.Reruns, name: str, refused: set[str]) -> None:
    """Check that these columns of a view ask for the instrument, and that no other does."""
    columns = views.documented_columns(views.view_named(name))
    given = [quote_identifier(column) for column in columns if column not in refused]
    if given:
        assert len(reruns.sql(f"select {', '.join(given)} from {name}").columns) == len(given)
    for column in sorted(refused):
        with pytest.raises(InstrumentError, match="state the instrument"):
            reruns.sql(f"select {quote_identifier(column)} from {name}")


def test_where_the_camera_is_not_known_only_what_needs_it_is_refused(tmp_path: Path):
    # Detector 5 is in all five cameras, which stand at three longitudes.
    path = make_apdb(tmp_path / "a.db", sources=[SOURCE], objects=[OBJECT])
    expected = {name: set[str]() for name in VIEW_NAMES} | {
        "dia_source": {"night"},
        "good_dia_source": {"night"},
        "dia_source_edge": {"night", "edge_distance_px", "edge_side"},
        "dia_source_focal_plane": {"night", "focal_x_mm", "focal_y_mm"},
        "visit_detector_summary": {"night"} | SUMMARY_DENSITIES,
        "visit_summary": {"night"} | SUMMARY_DENSITIES,
        "detector_summary": SUMMARY_DENSITIES | PER_VISIT,
        # Their rows are nights, and places in the focal plane.
        "night_summary": set(views.view_named("night_summary").columns),
        "focal_plane_bin": set(views.view_named("focal_plane_bin").columns),
    }
    with hitsduck.open_reruns({"a": path}) as reruns:
        for name, refused in expected.items():
            check_refused(reruns, name, refused)


def test_where_the_id_rule_is_not_known_counts_flags_and_objects_are_answered(tmp_path: Path):
    # 41098505 is DECam's visit 410985, ccd 5, or HSC's visit 205492, detector 105.
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=[SOURCE], objects=[OBJECT])
    by_source = {"visit", "detector", "night"}
    expected = {name: set[str]() for name in VIEW_NAMES} | {
        "dia_source": by_source,
        "good_dia_source": by_source,
        "rerun_summary": {"visits", "detectors", "n_null_visits"},
    }
    # Their rows are visits, detectors or nights, or look up the detector of every source.
    by_image = [
        "image",
        "visit_detector_summary",
        "visit_summary",
        "visit_extent",
        "visit_tile",
        "visit_tile_bin",
        "focal_plane_bin",
        "detector_summary",
        "night_summary",
        "integrity_missing_detector",
    ]
    expected |= {name: set(views.view_named(name).columns) for name in by_image}
    with hitsduck.open_reruns({"a": path}) as reruns:
        for name in ("dia_source_edge", "dia_source_focal_plane"):
            del expected[name]
            with pytest.raises(InstrumentError, match="state the instrument"):
                reruns.sql(f"select ra from {name}")
        for name, refused in expected.items():
            check_refused(reruns, name, refused)
