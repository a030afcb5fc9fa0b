"""The notebook runs, says what the simulator planted, and is committed as it ran, small."""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

nbformat = pytest.importorskip("nbformat", reason="needs the extra test: nbformat, nbclient")
import run_notebook  # noqa: E402

COMMITTED = nbformat.read(run_notebook.NOTEBOOK, as_version=4)
NAMES = ("Apr2020", "May2020", "Jun2020")
BAD = (1 << 6) | (1 << 7) | (1 << 9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hits2015")


@pytest.fixture(scope="module")
def executed(folder: Path) -> Any:
    """The committed notebook, executed now at its own scale; its reruns stay in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HITSDUCK_NOTEBOOK_SCALE", raising=False)
        patch.setenv("HITSDUCK_NOTEBOOK_FOLDER", str(folder))
        return run_notebook.executed(run_notebook.NOTEBOOK)


def outputs(notebook: Any, kind: str) -> list[Any]:
    return [
        output.data[kind]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if kind in output.get("data", {})
    ]


def conclusions(notebook: Any) -> dict[str, Any]:
    (found,) = outputs(notebook, "application/json")
    return dict(found)


def count(folder: Path, name: str, query: str) -> int:
    path = folder / name / "association.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute(query).fetchone()[0])


def truth(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / name / "truth.parquet")


# -- as committed -----------------------------------------------------------------------


def test_the_committed_notebook_ran_from_top_to_bottom_without_an_error() -> None:
    code = [cell for cell in COMMITTED.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert kinds <= {"display_data", "execute_result"}


def test_the_committed_notebook_is_small_and_names_no_place_or_server() -> None:
    assert run_notebook.NOTEBOOK.stat().st_size < 700_000
    pictures = outputs(COMMITTED, "image/png")
    assert len(pictures) >= 10
    text = run_notebook.NOTEBOOK.read_text(encoding="utf-8")
    for picture in pictures:
        text = text.replace(picture.strip(), "")
    assert "http" not in text
    assert "/tmp" not in text
    assert "/home" not in text


def test_no_result_is_typed_by_hand() -> None:
    """Words may quote the original ("about 8%"); what was found stands in outputs."""
    for cell in COMMITTED.cells:
        if cell.cell_type == "markdown":
            unquoted = re.sub(r'"[^"]*"', "", cell.source)
            assert not re.search(r"\d[.,]?\d*\s?%|\d,\d{3}", unquoted), cell.source


def test_the_committed_outputs_are_those_of_the_committed_source(executed: Any) -> None:
    hint = "what it says has changed: run python docs/run_notebook.py, and read it"
    assert [cell.source for cell in executed.cells] == [cell.source for cell in COMMITTED.cells]
    assert outputs(executed, "text/markdown") == outputs(COMMITTED, "text/markdown"), hint
    assert conclusions(executed) == conclusions(COMMITTED), hint
    assert len(outputs(executed, "image/png")) == len(outputs(COMMITTED, "image/png"))


# -- what it says, against the files and the truth ---------------------------------------


def test_growth_is_that_of_the_files(executed: Any, folder: Path) -> None:
    said = conclusions(executed)
    current = "select count(*) from DiaObject where validityEnd is null"
    sources = {n: count(folder, n, "select count(*) from DiaSource") for n in NAMES}
    objects = {n: count(folder, n, current) for n in NAMES}
    good = {
        n: count(folder, n, f"select count(*) from DiaSource where flags & {BAD} = 0")
        for n in NAMES
    }
    assert said["more_sources_april_may"] == sources["May2020"] - sources["Apr2020"]
    assert said["more_objects_april_may"] == objects["May2020"] - objects["Apr2020"]
    assert said["net_change_april_june"] == good["Jun2020"] - good["Apr2020"]
    assert said["good_sources_may_june_percent"] == pytest.approx(
        100 * (good["Jun2020"] / good["May2020"] - 1), abs=0.01
    )


def test_objects_grew_by_more_than_all_new_sources_and_the_radius_did_it(
    executed: Any, folder: Path
) -> None:
    said = conclusions(executed)
    may = truth(folder, "May2020")
    april = truth(folder, "Apr2020")["detection_id"].to_list()
    n_new = may.filter(~pl.col("detection_id").is_in(april)).height
    # The matched sources are told apart from the new ones without the truth.
    assert said["sources_only_in_may"] == pytest.approx(n_new, rel=0.02)
    assert said["more_objects_april_may"] > n_new
    by_radius = may.filter(pl.col("object_cause") == "association_radius")["diaObjectId"].n_unique()
    assert said["objects_made_by_the_radius"] == by_radius
    assert said["objects_by_all_causes"] == pytest.approx(said["more_objects_april_may"], rel=0.01)
    # What the comparison finds of it; the pieces of regrouped objects are counted apart.
    assert said["pieces_of_split_objects"] == pytest.approx(by_radius, rel=0.15)


def test_the_edge_excess_is_the_planted_one(executed: Any, folder: Path) -> None:
    said = conclusions(executed)
    june = truth(folder, "Jun2020")
    april = truth(folder, "Apr2020")["detection_id"].to_list()
    with closing(sqlite3.connect(folder / "Jun2020" / "association.db")) as connection:
        good = [
            row[0]
            for row in connection.execute(
                f"select diaSourceId from DiaSource where flags & {BAD} = 0"
            )
        ]
    new = june.filter(~pl.col("detection_id").is_in(april), pl.col("diaSourceId").is_in(good))
    assert said["new_good_sources_april_june"] == pytest.approx(new.height, rel=0.02)
    # DECam: 2,048 x 4,096 px.
    edge = pl.min_horizontal(
        pl.col("x_true") + 0.5,
        2047.5 - pl.col("x_true"),
        pl.col("y_true") + 0.5,
        4095.5 - pl.col("y_true"),
    )
    within = new.filter(edge < 64).height
    assert said["of_them_within_64_px_of_an_edge"] == pytest.approx(within, rel=0.03)
    area = 1 - (2048 - 128) * (4096 - 128) / (2048 * 4096)
    assert said["area_within_64_px_percent"] == pytest.approx(100 * area, abs=0.01)
    ratio, low, high = said["edge_excess_ratio"]
    density = (within / area) / ((new.height - within) / (1 - area))
    assert 1 < low < ratio < high
    assert low < density < high


def test_nothing_was_reflagged_and_no_catalogue_changed(executed: Any) -> None:
    said = conclusions(executed)
    assert said["detection"] + said["reflagged"] == said["net_change_april_june"]
    assert said["reflagged"] == 0  # no cause of the preset sets a flag
    assert (said["src_catalogues_changed"], said["src_catalogues"]) == (0, 3)
    words = " ".join(outputs(executed, "text/markdown"))
    assert "are the same file under several names. Warned: True" in words
