"""The numbers behind each picture against sqlite3 and numpy; the pictures against their schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import pytest
from apdb_files import make_apdb

import hitsduck
from hitsduck import chartdata, charts
from hitsduck.chartdata.edges import poisson_interval
from hitsduck.charts import theme
from hitsduck.errors import InstrumentError
from hitsduck.reruns import Reruns

IMSIM = {"left": "imsim-2023-packed.sqlite3", "right": "imsim-2024-schema-0.1.1.sqlite3"}
GOOD = "coalesce(flags & 704 = 0, 0)"  # bits 6, 7 and 9


@pytest.fixture(scope="module")
def real_paths(shared: Path) -> dict[str, Path]:
    return {name: shared / "data" / "apdb" / file for name, file in IMSIM.items()}


@pytest.fixture(scope="module")
def real(real_paths: dict[str, Path]) -> Iterator[Reruns]:
    with hitsduck.open_reruns(real_paths, instrument="LSSTCam-imSim") as reruns:
        yield reruns


def rows_of(path: Path, query: str) -> np.ndarray:
    """Return what sqlite3 itself reads, as an array."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return np.array(connection.execute(query).fetchall(), dtype=float)


def source(number: int, x: float | None, y: float | None, **given: Any) -> dict[str, Any]:
    return {
        "diaSourceId": number,
        "diaObjectId": number,
        "visit": 410985,
        "detector": 10,
        "ra": 150.0 + number / 100,
        "dec": 2.0,
        "x": x,
        "y": y,
        "midpointMjdTai": 57070.1,
        **given,
    }


def apdb(path: Path, sources: list[dict[str, Any]]) -> Path:
    objects = [{"diaObjectId": number} for number in {row["diaObjectId"] for row in sources}]
    return make_apdb(path, generation="2020", sources=sources, objects=objects, constraints=False)


def spec_of(chart: theme.AnyChart) -> dict[str, Any]:
    """Return the specification, checked against the Vega-Lite schema, within the mark limit."""
    spec = chart.to_dict(validate=True)
    assert spec["description"]
    n_rows = sum(len(rows) for rows in spec.get("datasets", {}).values())
    assert n_rows <= theme.MAX_MARKS
    return spec


# -- counts ---------------------------------------------------------------------


def test_counts_are_those_of_sqlite(real: Reruns, real_paths: dict[str, Path]) -> None:
    frame = chartdata.counts(real)
    assert frame.columns == ["rerun", "quantity", "n", "n_first"]
    for name, path in real_paths.items():
        n, n_good = rows_of(path, f"select count(*), sum({GOOD}) from DiaSource")[0]
        shown = dict(frame.filter(pl.col("rerun") == name)["quantity", "n"].rows())
        assert (shown["DIA sources"], shown["good DIA sources"]) == (n, n_good)
    spec_of(charts.counts(frame))


def test_counts_of_many_reruns_leave_out_the_numbers_on_the_bars() -> None:
    frame = pl.DataFrame(
        {
            "rerun": [f"r{i}" for i in range(64)],
            "quantity": ["DIA sources"] * 64,
            "n": range(64),
            "n_first": [0] * 64,
        }
    )
    assert len(spec_of(charts.counts(frame))["layer"]) == 1
    assert len(set(theme.colours([f"r{i}" for i in range(64)]))) == 64


def test_counts_of_no_rerun_say_so() -> None:
    spec = spec_of(charts.counts(pl.DataFrame(schema={"rerun": pl.String, "n": pl.Int64})))
    assert spec["mark"]["type"] == "text"


# -- edge distances ---------------------------------------------------------------


def test_edge_distances_are_spread_over_the_area_of_each_ring(tmp_path: Path) -> None:
    # DECam: 2048 x 4096 px. Sides half a pixel outside of the first pixel centre, so that
    # x = 9.5 is 10 px from the left side; 31.5 is 32 px, the first of the second bin.
    common = source(1, 1023.5, 2047.5)
    paths = {
        "left": apdb(tmp_path / "left.db", [common]),
        "right": apdb(
            tmp_path / "right.db",
            [common, source(2, 9.5, 2000), source(3, 31.5, 2000), source(4, 2048.5, 100)],
        ),
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        frame = chartdata.edge_distances(reruns, reruns.compare("left", "right"))
    new = frame.filter(pl.col("kind") == "new")
    binned = new.filter(pl.col("edge_low_px").is_not_null())
    assert binned["n"].to_list() == [1, 1, 0, 0, 0, 0]
    # The ring of 0 to 32 px: 2048 * 4096 - 1984 * 4032 = 389,120 of 8,388,608 px, one image.
    first = binned.row(0, named=True)
    assert first["area_mpx"] == pytest.approx(0.38912)
    # Of the two sources on the pixels, 2 * 389,120 / 8,388,608 = 0.0928 would lie there.
    assert first["n_expected"] == pytest.approx(2 * 389_120 / 8_388_608)
    assert first["ratio"] == pytest.approx(1 / first["n_expected"])
    assert first["density_per_mpx"] == pytest.approx(1 / 0.38912)
    assert binned["area_mpx"].sum() == pytest.approx(8.388608)
    # x = 2048.5 lies a pixel outside of the last side, 2047.5.
    assert new.filter(pl.col("edge_low_px").is_null())["edge_high_px", "n"].rows() == [(0.0, 1)]
    matched = frame.filter(pl.col("kind") == "matched", pl.col("n") > 0)
    assert matched["edge_low_px", "edge_high_px"].rows() == [(512.0, 1024.0)]


def test_edge_distances_keep_sources_without_a_position(tmp_path: Path) -> None:
    # 2020 says NOT NULL of x; a file need not keep to it.
    paths = {
        "left": apdb(tmp_path / "left.db", [source(1, 100, 100)]),
        "right": apdb(tmp_path / "right.db", [source(2, None, 100), source(3, 100, 900)]),
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        frame = chartdata.edge_distances(reruns, reruns.compare("left", "right"))
    assert dict(frame.group_by("kind").agg(pl.sum("n")).rows()) == {
        "matched": 0,
        "new": 2,
        "gone": 1,
    }
    nowhere = frame.filter(pl.col("edge_high_px").is_null())
    assert nowhere["kind", "n"].rows() == [("new", 1)]


def test_edge_distances_agree_with_numpy_on_real_reruns(
    real: Reruns, real_paths: dict[str, Path]
) -> None:
    comparison = real.compare("left", "right")
    frame = chartdata.edge_distances(real, comparison)
    new_ids = comparison.right_only["diaSourceId"].to_list()
    xy = rows_of(
        real_paths["right"],
        f"select x, y from DiaSource where diaSourceId in ({','.join(map(str, new_ids))})",
    )
    # LSSTCam-imSim detectors 164 and 168: 4072 x 4000 px.
    distance = np.min(
        [xy[:, 0] + 0.5, 4071.5 - xy[:, 0], xy[:, 1] + 0.5, 3999.5 - xy[:, 1]], axis=0
    )
    new = frame.filter(pl.col("kind") == "new", pl.col("edge_low_px").is_not_null())
    sides = [*new["edge_low_px"], new["edge_high_px"][-1]]
    assert new["n"].to_list() == np.histogram(distance, sides)[0].tolist()
    assert new["n_expected"].sum() == pytest.approx(len(new_ids))
    assert new["area_mpx"].sum() == pytest.approx(2 * 4072 * 4000 / 1e6)
    near = chartdata.near_edge(frame, within_px=64)["new"]
    assert near["n"] == (distance < 64).sum()
    spec = spec_of(charts.edge_distances(frame))
    assert len(spec["layer"]) == 3


def test_edge_distances_need_the_camera(shared: Path) -> None:
    path = shared / "data" / "apdb" / "imsim-2024-schema-0.1.1.sqlite3"
    with hitsduck.open_reruns({"a": path, "b": path}) as reruns:
        comparison = reruns.compare("a", "b")
        if reruns["a"].camera is None:
            with pytest.raises(InstrumentError):
                chartdata.edge_distances(reruns, comparison)


def test_edge_distances_of_nothing_say_so() -> None:
    schema = {"kind": pl.String, "edge_low_px": pl.Float64, "n": pl.Int64}
    spec = spec_of(charts.edge_distances(pl.DataFrame(schema=schema)))
    assert spec["mark"]["type"] == "text"


@pytest.mark.parametrize(
    ("n", "low", "high"),
    # The exact limits, chi2.ppf(0.025, 2 n) / 2 and chi2.ppf(0.975, 2 n + 2) / 2.
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.390), (100, 81.36, 121.63)],
)
def test_poisson_interval_is_near_the_exact_one(n: int, low: float, high: float) -> None:
    got = poisson_interval(n)
    assert got[0] == pytest.approx(low, rel=0.02, abs=0.02)
    assert got[1] == pytest.approx(high, rel=0.02)


# -- the honest empty chart -------------------------------------------------------


def test_charts_are_readable_by_altair_again() -> None:
    chart = theme.empty("nothing")
    assert isinstance(alt.Chart.from_dict(spec_of(chart)), alt.Chart)
