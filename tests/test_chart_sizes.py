"""A chart is as large at any size of the reruns: it is made of bins, not of sources."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import altair as alt
import pytest
from jsonschema import Draft7Validator

import hitsduck
from hitsduck.charts import raster, theme
from hitsduck.gallery import CHARTS, Wanted
from hitsduck.simulator import simulate

SCALES = (0.02, 0.2)
NAMES = ("Apr2020", "May2020", "Jun2020")
#: Charts of points, one for each thing as long as these are few: only their limit holds.
POINTS = ("objects_on_sky", "sky_zoom")
#: Charts whose rows follow what there is, but not how many sources there are.
VARYING = {
    "object_sources": "one point for each source of one object",
    "light_curve": "one point for each measurement of one object",
    "sources_per_object": "one bar for each number of sources that occurs",
    "edge_distances": "bins that are merged while few sources are in them",
    "distributions": "bins from the faintest to the brightest source",
    "flags": "flags that are ever set",
}
#: The most that a specification of three simulated reruns takes, whatever their scale.
MOST_BYTES = 700_000


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[float, dict[str, Any]]:
    """Every chart of reruns of either scale, one ten times the other."""
    made: dict[float, dict[str, Any]] = {}
    for scale in SCALES:
        folder = tmp_path_factory.mktemp("sizes") / str(scale)
        simulate(folder, preset="hits2015", scale=scale, src_catalogs="none")
        paths: dict[str, Path] = {name: folder / name for name in NAMES}
        with hitsduck.open_reruns(paths) as reruns:
            wanted = Wanted(reruns, compare=NAMES[:2])
            made[scale] = {
                name: picture.draw(picture.data(wanted), wanted).to_dict(validate=True)
                for name, picture in CHARTS.items()
            }
    return made


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    """The schema of Vega-Lite that Altair ships."""
    folder = Path(alt.__file__).parent / "vegalite" / "v6" / "schema"
    schema = json.loads((folder / "vega-lite-schema.json").read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def n_marks(spec: dict[str, Any]) -> int:
    """Rows that are drawn; a picture of bins is one."""
    return sum(len(rows) for rows in spec.get("datasets", {}).values())


def n_bytes_without_pictures(spec: dict[str, Any]) -> int:
    rows = [row for rows in spec.get("datasets", {}).values() for row in rows]
    pictures = sum(len(row["url"]) for row in rows if "url" in row)
    return len(json.dumps(spec)) - pictures


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_as_large_at_ten_times_the_sources(
    specs: dict[float, dict[str, Any]], name: str
) -> None:
    small, large = (specs[scale][name] for scale in SCALES)
    for spec in (small, large):
        assert n_marks(spec) <= theme.MAX_MARKS
        assert len(json.dumps(spec)) < MOST_BYTES
        for rows in spec.get("datasets", {}).values():
            for row in rows:
                if "url" in row:
                    picture = base64.b64decode(row["url"].partition(",")[2])
                    assert len(picture) <= raster.MOST_BYTES
    if name in POINTS:
        return
    if name in VARYING:
        assert n_marks(large) < 3 * n_marks(small)
        return
    assert n_marks(large) == n_marks(small)
    # Counts have a digit more.
    assert n_bytes_without_pictures(large) == pytest.approx(
        n_bytes_without_pictures(small), rel=0.1
    )


@pytest.mark.parametrize("name", CHARTS)
def test_a_specification_follows_the_schema_of_vega_lite(
    specs: dict[float, dict[str, Any]], validator: Draft7Validator, name: str
) -> None:
    errors = [error.message[:200] for error in validator.iter_errors(specs[SCALES[0]][name])]
    assert errors == []


def test_the_schema_refuses_what_is_wrong(
    specs: dict[float, dict[str, Any]], validator: Draft7Validator
) -> None:
    spec = json.loads(json.dumps(specs[SCALES[0]]["seeing"]))
    spec["hconcat"][0]["mark"] = {"type": "pie chart"}
    assert not validator.is_valid(spec)
