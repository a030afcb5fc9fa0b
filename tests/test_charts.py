"""Every chart: valid, described, small, and honest about what it lacks."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import pytest
from apdb_files import make_apdb
from polars.testing import assert_frame_equal

import hitsduck
from hitsduck import charts, gallery
from hitsduck.charts import raster, theme
from hitsduck.errors import InstrumentError, OutputError, QueryError
from hitsduck.gallery import CHARTS, Wanted
from hitsduck.reruns import Reruns
from hitsduck.simulator import simulate

NAMES = ("Apr2020", "May2020", "Jun2020")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wanted]:
    """Three small simulated reruns, the first two compared."""
    folder = tmp_path_factory.mktemp("simulated") / "small"
    simulate(folder, preset="small", src_catalogs="none")
    with hitsduck.open_reruns({name: folder / name for name in NAMES}) as reruns:
        yield Wanted(reruns, compare=NAMES[:2])


def drawn(wanted: Wanted, name: str) -> theme.AnyChart:
    picture = CHARTS[name]
    return picture.draw(picture.data(wanted), wanted)


def spec_of(chart: theme.AnyChart) -> dict[str, Any]:
    """Return the specification, checked against the Vega-Lite schema, within the limits."""
    spec: dict[str, Any] = chart.to_dict(validate=True)
    assert spec["description"].endswith("."), spec["description"]
    datasets = spec.get("datasets", {}).values()
    assert sum(len(rows) for rows in datasets) <= theme.MAX_MARKS
    for rows in datasets:
        for row in rows:
            if "url" in row:
                assert row["url"].startswith("data:image/png;base64,")
                assert len(base64.b64decode(row["url"].partition(",")[2])) <= raster.MOST_BYTES
    return spec


def titles(node: Any) -> Iterator[str]:
    """Go through the axis titles of a specification."""
    if isinstance(node, dict):
        for channel in ("x", "y"):
            title = node.get("encoding", {}).get(channel, {}).get("title")
            if title:
                yield title
        for value in node.values():
            yield from titles(value)
    elif isinstance(node, list):
        for value in node:
            yield from titles(value)


# -- all of them ------------------------------------------------------------------


@pytest.mark.parametrize("name", CHARTS)
def test_chart_is_valid_and_small(wanted: Wanted, name: str) -> None:
    spec = spec_of(drawn(wanted, name))
    assert len(json.dumps(spec)) < 1_000_000
    # What is not an empty chart has named axes, but for the tiles, which have none.
    if name != "visit_grid":
        assert list(titles(spec))


@pytest.mark.parametrize("name", CHARTS)
def test_ids_travel_as_text(wanted: Wanted, name: str) -> None:
    # 2**53 is the largest whole number that a browser keeps.
    for rows in spec_of(drawn(wanted, name)).get("datasets", {}).values():
        for row in rows:
            assert all(abs(v) < 2**53 for v in row.values() if isinstance(v, int))


@pytest.mark.parametrize("name", CHARTS)
def test_chart_of_hardly_anything_is_drawn(tmp_path: Path, name: str) -> None:
    """One source, one visit, one CCD, in both reruns."""
    row = {
        "diaSourceId": 1,
        "diaObjectId": 1,
        "visit": 410985,
        "detector": 10,
        "ra": 150.0,
        "dec": 2.0,
        "x": 100.0,
        "y": 100.0,
        "midpointMjdTai": 57070.1,
        "psfFlux": -5.0,
        "psfFluxErr": 1.0,
        "ixxPSF": 4.0,
        "iyyPSF": 4.0,
    }
    paths = {
        side: make_apdb(
            tmp_path / f"{side}.db",
            generation="2020",
            sources=[row],
            objects=[{"diaObjectId": 1, "ra": 150.0, "dec": 2.0}],
        )
        for side in ("left", "right")
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        spec_of(gallery.chart(reruns, name))


@pytest.mark.parametrize("name", CHARTS)
def test_chart_of_empty_reruns_says_so(tmp_path: Path, name: str) -> None:
    paths = {
        side: make_apdb(tmp_path / f"{side}.db", generation="2020") for side in ("left", "right")
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        spec = spec_of(gallery.chart(reruns, name))
    if name not in ("counts", "detector_density"):
        assert "message" in json.dumps(spec["datasets"])


@pytest.mark.parametrize("name", CHARTS)
def test_chart_without_a_camera_is_drawn_or_says_what_to_do(shared: Path, name: str) -> None:
    path = shared / "data" / "apdb" / "packed-2021.sqlite3"
    with hitsduck.open_reruns({"a": path, "b": path}) as reruns:
        try:
            spec_of(gallery.chart(reruns, name))
        except InstrumentError as error:
            assert "instrument" in str(error)  # noqa: PT017
            assert name not in ("counts", "trend", "flags", "distributions", "sky_map")


@pytest.mark.parametrize("name", CHARTS)
def test_chart_of_real_reruns(shared: Path, name: str) -> None:
    folder = shared / "data" / "apdb"
    paths = {
        "imsim-2023": folder / "imsim-2023-packed.sqlite3",
        "imsim-2024": folder / "imsim-2024-schema-0.1.1.sqlite3",
    }
    with hitsduck.open_reruns(paths, instrument="LSSTCam-imSim") as reruns:
        spec_of(gallery.chart(reruns, name))


def test_chart_names_take_dashes_and_unknown_ones_list_the_known(wanted: Wanted) -> None:
    assert gallery.picture("edge-distances") is CHARTS["edge_distances"]
    with pytest.raises(QueryError, match="no chart is called 'pie'; there are: counts, trend"):
        gallery.chart(wanted.reruns, "pie")
    with pytest.raises(QueryError, match="no option colour; there are: rerun, compare"):
        gallery.chart(wanted.reruns, "counts", colour="red")


def test_chart_of_two_needs_two(wanted: Wanted) -> None:
    path = wanted.reruns["Apr2020"].path
    with (
        hitsduck.open_reruns({"a": path}) as reruns,
        pytest.raises(QueryError, match="name a second one"),
    ):
        gallery.chart(reruns, "edge_distances")


# -- what there is little of ----------------------------------------------------------

LONE = {
    "diaSourceId": 1,
    "diaObjectId": 1,
    "visit": 410985,
    "detector": 10,
    "ra": 155.389,
    "dec": -5.0,
    "x": 100.0,
    "y": 100.0,
    "midpointMjdTai": 57070.1,
    "psfFlux": 57.0,
    "psfFluxErr": 1.0,
    "ixxPSF": 4.0,
    "iyyPSF": 4.0,
}


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Reruns]:
    """Two reruns with the same one source."""
    paths = {
        side: make_apdb(
            tmp_path / f"{side}.db",
            generation="2020",
            sources=[LONE],
            objects=[{"diaObjectId": 1, "ra": LONE["ra"], "dec": LONE["dec"]}],
        )
        for side in ("left", "right")
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as reruns:
        yield reruns


def message(spec: dict[str, Any]) -> str:
    """Return what an empty chart says."""
    (rows,) = spec["datasets"].values()
    return str(rows[0]["message"])


def test_identical_reruns_have_nothing_to_explain(lone: Reruns) -> None:
    told = message(spec_of(lone.chart("explanation")))
    assert re.fullmatch(r"Nothing to explain: none of \d+ values has more or fewer sources.", told)


def test_a_rerun_without_a_flawless_object_says_so(tmp_path: Path) -> None:
    path = make_apdb(
        tmp_path / "a.db",
        generation="2020",
        sources=[{**LONE, "pixelFlags_bad": True}],
        objects=[{"diaObjectId": 1, "ra": LONE["ra"], "dec": LONE["dec"]}],
    )
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as reruns:
        for name in ("object_sources", "light_curve"):
            assert "no object all of whose sources are good" in message(spec_of(reruns.chart(name)))
            assert reruns.chart_data(name).is_empty()
            assert reruns.chart_data(name).columns == reruns.chart_data(name, object_id=1).columns
            assert list(titles(spec_of(reruns.chart(name, object_id=1))))


def test_flags_that_are_never_set_are_told(lone: Reruns) -> None:
    told = message(spec_of(lone.chart("flags")))
    assert re.fullmatch(r"None of \d+ flags is set in any of 2 DIA sources.", told)


def test_counts_of_few_have_whole_ticks_from_zero(lone: Reruns) -> None:
    y = spec_of(lone.chart("counts"))["layer"][0]["encoding"]["y"]
    assert y["axis"]["values"] == [0, 1]
    none = pl.DataFrame({"rerun": ["a"], "quantity": ["DIA sources"], "n": [0], "n_first": [0]})
    y = spec_of(charts.counts(none))["layer"][0]["encoding"]["y"]
    assert y["scale"]["domain"] == [0, 1]


def test_objects_without_a_source_have_their_tick() -> None:
    frame = pl.DataFrame(
        {
            "rerun": ["a"],
            "kind": ["all"],
            "n_sources": [0],
            "n_sources_to": [0],
            "n_objects": [3],
        }
    )
    x = spec_of(charts.sources_per_object(frame))["layer"][0]["encoding"]["x"]
    assert x["axis"]["values"] == [0, 1]
    assert x["scale"]["domain"] == [-0.5, 1.5]


def test_no_new_source_is_the_palest_colour_of_the_dashboard(lone: Reruns) -> None:
    assert '"domain": [0, 1]' in json.dumps(spec_of(lone.chart("dashboard")))


def test_the_sky_about_one_source_is_an_arcminute(lone: Reruns) -> None:
    panel = Wanted(lone).panels.row(0, named=True)
    assert panel["dec_high"] - panel["dec_low"] >= 1 / 60
    cos = np.cos(np.radians(LONE["dec"]))
    assert (panel["ra_high"] - panel["ra_low"]) * cos == pytest.approx(1 / 60, rel=0.01)
    assert "arcsec" in json.dumps(spec_of(lone.chart("sky_map")))


def test_fluxes_between_two_ticks_reach_to_both(lone: Reruns) -> None:
    x = spec_of(lone.chart("distributions"))["vconcat"][0]["encoding"]["x"]
    assert x["scale"]["domain"] == [0, 100]


# -- single ones --------------------------------------------------------------------


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


def explained(**given: Any) -> pl.DataFrame:
    """Return one row of an explanation."""
    row = {
        "rank": 1,
        "dimension": "n_dia_sources",
        "value": "1",
        "change": 99,
        "expected": 20.2,
        "excess": 78.8,
        "error": 9.6,
        "share_of_change": 0.85,
        "p_value": 0.9998,
        "q_value": 1.0,
        "is_cause": False,
        "consequence_of": None,
    }
    return pl.DataFrame([{**row, **given}], schema_overrides={"consequence_of": pl.String})


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"is_cause": True, "p_value": 0.0, "q_value": 0.0}, "cause"),
        ({"consequence_of": "edge=16", "q_value": 0.0}, "follows from a cause"),
        ({"q_value": 0.01}, "significant, but no cause of its own"),
        ({}, "not zero, but too small to matter"),
        ({"error": 50.0}, "not more than chance"),
        ({"p_value": None, "q_value": None}, "chance cannot be told"),
    ],
)
def test_colour_of_an_excess_agrees_with_its_interval(given: dict[str, Any], kind: str) -> None:
    frame = explained(**given)
    spec = spec_of(charts.explanation(frame))
    (row,) = next(iter(spec["datasets"].values()))
    assert row["kind"] == kind
    assert spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == [kind]
    if kind == "not more than chance":
        assert row["low"] < 0 < row["high"]
    # An interval is drawn only where chance can be told.
    assert len(spec["layer"]) == (1 if kind == "chance cannot be told" else 2)


def test_a_map_of_the_sky_shows_sources_or_objects(wanted: Wanted) -> None:
    reruns = wanted.reruns
    for name in ("sky_map", "sky_difference", "sky_overplot", "sky_zoom"):
        for table in ("sources", "objects"):
            window = (155.2, 155.3, -5.0, -4.9) if name == "sky_zoom" else None
            drawn_one = reruns.chart(name, table=table, window=window)
            assert table in spec_of(drawn_one)["description"], (name, table)
        with pytest.raises(QueryError, match="table is 'visits'; it is one of sources, objects"):
            reruns.chart(name, table="visits")
    with pytest.raises(QueryError, match="lowest and highest ra"):
        reruns.chart("sky_zoom", window=(155.2, 155.3))
    objects = reruns.chart_data("sky_map", table="objects", rerun="Apr2020")
    n_objects = reruns.counts().rows()[0]["n_good_dia_objects"]
    assert objects["n"].sum() == n_objects


def test_numbers_of_several_charts_are_those_of_each(
    wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    reruns = wanted.reruns
    compared = []
    compare = type(reruns).compare

    def counted(*given: Any, **options: Any) -> Any:
        compared.append(given[1:])
        return compare(*given, **options)

    monkeypatch.setattr(type(reruns), "compare", counted)
    together = reruns.charts_data(CHARTS)
    assert compared == [NAMES[-2:]]
    monkeypatch.undo()
    assert list(together) == list(CHARTS)
    for name, frame in together.items():
        if CHARTS[name].is_of_one:
            alone = pl.concat([reruns.chart_data(name, rerun=rerun) for rerun in NAMES])
            assert set(frame["rerun"]) == set(NAMES), name
        else:
            alone = reruns.chart_data(name)
        assert_frame_equal(frame, alone, rel_tol=1e-12)  # threads add up in any order
    one = reruns.charts_data(["sky_map", "counts"], rerun="May2020", good=False)
    for name, frame in one.items():
        alone = reruns.chart_data(name, rerun="May2020", good=False)
        assert_frame_equal(frame, alone, rel_tol=1e-12)


def test_what_a_chart_cannot_tell_is_told_of_several(tmp_path: Path) -> None:
    path = make_apdb(tmp_path / "a.db", generation="2020", sources=[LONE])
    with hitsduck.open_reruns(path) as reruns:
        assert reruns.charts_data([]) == {}
        with pytest.raises(InstrumentError) as alone:
            reruns.chart_data("focal_plane")
        with pytest.raises(InstrumentError) as among:
            reruns.charts_data(["flags", "focal_plane", "distributions"])
        assert str(among.value) == str(alone.value)


def test_an_overplot_takes_all_reruns_or_those_named(wanted: Wanted) -> None:
    reruns = wanted.reruns
    for name in ("sky_overplot", "sky_zoom"):
        for options, names in (
            ({}, NAMES),
            ({"compare": NAMES[:2]}, NAMES[:2]),
            ({"over": NAMES[::2]}, NAMES[::2]),
        ):
            found = reruns.chart_data(name, **options)["rerun"].unique(maintain_order=True)
            assert sorted(found) == sorted(names), (name, options)
    assert "some of them" in json.dumps(spec_of(reruns.chart("sky_overplot")))
    with pytest.raises(QueryError, match=r"over is .*; it names two reruns or more"):
        reruns.chart("sky_overplot", over=["Apr2020"])


def test_focal_plane_axes_have_their_own_names(wanted: Wanted) -> None:
    spec = json.dumps(spec_of(drawn(wanted, "focal_plane")))
    across = '"x": {"axis": {"grid": false, "tickCount": 6}, "field": "focal_y_mm"'
    down = '"y": {"axis": {"grid": false, "tickCount": 6}, "field": "focal_x_mm"'
    assert across in spec
    assert down in spec
    assert '"title": "focal-plane y (mm)"' in spec
    assert '"title": "focal-plane x (mm)"' in spec


def test_a_focal_plane_of_few_ccds_shows_these_alone(wanted: Wanted, lone: Reruns) -> None:
    assert "CCDs with sources" not in spec_of(drawn(wanted, "focal_plane"))["description"]
    spec = spec_of(lone.chart("focal_plane"))
    assert spec["description"].endswith("Shown are only the CCDs with sources, 1 of 62.")
    corners = [row for rows in spec["datasets"].values() for row in rows if "corner" in row]
    assert {row["detector"] for row in corners} == {LONE["detector"]}


def test_sky_runs_to_the_left(wanted: Wanted) -> None:
    for name in ("sky_map", "sky_zoom", "objects_on_sky"):
        found = [
            scale
            for scale in _scales(spec_of(drawn(wanted, name)), "ra (deg)")
            if not scale.get("reverse")
        ]
        assert found == []


def _scales(node: Any, title: str) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("title") == title and "axis" in node:  # not that of a tooltip
            yield node.get("scale", {})
        for value in node.values():
            yield from _scales(value, title)
    elif isinstance(node, list):
        for value in node:
            yield from _scales(value, title)


def test_visits_of_a_survey_are_put_together() -> None:
    n = 20_000
    frame = pl.DataFrame(
        {
            "rerun": ["a"] * n,
            "visit": [str(i) for i in range(n)],
            "place": range(1, n + 1),
            "midpoint_mjd_tai": np.linspace(60000, 60400, n),
            "night": [None] * n,
            "band": ["g"] * n,
            "n_images": [60] * n,
            "n": [100] * n,
            "density_deg2": np.ones(n),
            "median_seeing_arcsec": np.ones(n),
        },
        schema_overrides={"night": pl.Date},
    )
    assert "together" in json.dumps(spec_of(charts.visits(frame)))


def test_trend_of_one_rerun_says_what_it_takes() -> None:
    frame = pl.DataFrame({"rerun": ["a"], "quantity": ["DIA sources"], "n": [1], "n_first": [1]})
    assert "two reruns" in json.dumps(spec_of(charts.trend(frame)))


def test_axes_of_few_whole_numbers_have_no_halves() -> None:
    assert theme.whole_ticks(0.5, 2.5) == [1, 2]
    assert theme.whole_ticks(0, 1) == [0, 1]
    assert theme.whole_ticks(0, 1000) is alt.Undefined
    assert theme.log_ticks(1, 40) == [1, 2, 5, 10, 20]
    assert theme.log_ticks(1, 9_000) == [1, 10, 100, 1_000]


def test_visits_are_counted_from_one(wanted: Wanted) -> None:
    places = spec_of(drawn(wanted, "visits"))["vconcat"][1]["layer"][1]["encoding"]["x"]
    n_visits = wanted.reruns.sql("select count(distinct visit) as n from dia_source").rows()[0]["n"]
    assert places["axis"]["values"][0] == 1
    assert places["axis"]["values"][-1] <= n_visits
    assert places["scale"]["domain"] == [0.5, n_visits + 0.5]


def test_numbers_of_ccds_are_light_on_dark_tiles_only() -> None:
    outlines = pl.DataFrame(
        {
            "detector": [n for n in (1, 2, 3) for _ in range(5)],
            "name": [str(n) for n in (1, 2, 3) for _ in range(5)],
            "corner": [0, 1, 2, 3, 4] * 3,
            "focal_x_mm": [0.0, 1.0, 1.0, 0.0, 0.0] * 3,
            "focal_y_mm": [n + y for n in (0.0, 1.0, 2.0) for y in (0.0, 0.0, 1.0, 1.0, 0.0)],
        }
    )
    for densities, dark in (
        # From 0 to 10 in colour, then from 90 to 100: 0 is shown where it is near.
        ([2.0, 4.0, 10.0], [False, False, True]),
        ([90.0, 96.0, 100.0], [False, True, True]),
    ):
        frame = pl.DataFrame(
            {
                "rerun": ["a"] * 3,
                "detector": [1, 2, 3],
                "n": [1, 2, 3],
                "n_images": [1] * 3,
                "density_deg2": densities,
            }
        )
        spec = spec_of(charts.detector_density(frame, outlines=outlines))
        rows = next(rows for rows in spec["datasets"].values() if rows and "is_dark" in rows[0])
        assert [row["is_dark"] for row in rows] == dark


def test_a_name_with_markup_is_data(wanted: Wanted) -> None:
    name = "<script>alert(1)</script>"
    frame = pl.DataFrame({"rerun": [name], "quantity": ["DIA sources"], "n": [1], "n_first": [1]})
    assert any(
        row["rerun"] == name
        for rows in spec_of(charts.counts(frame))["datasets"].values()
        for row in rows
    )


# -- pictures made of bins -------------------------------------------------------------


def decoded(png: bytes) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Read a palette PNG, independently of what wrote it."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place, chunks = 8, {}
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        (crc,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        assert crc == zlib.crc32(kind + data)
        chunks[kind] = data
        place += 12 + length
    width, height, depth, colour_type, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert colour_type == 3
    raw = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(height, -1)
    assert (raw[:, 0] == 0).all()
    bits = np.unpackbits(raw[:, 1:], axis=1).reshape(height, -1, depth)
    values = bits @ (1 << np.arange(depth)[::-1])
    colours = np.frombuffer(chunks[b"PLTE"], dtype=np.uint8).reshape(-1, 3)
    return values[:, :width], [tuple(int(c) for c in colour) for colour in colours]


@pytest.mark.parametrize("n_colours", [1, 2, 3, 4, 15, 16, 40])
def test_png_is_read_back(n_colours: int) -> None:
    rng = np.random.default_rng(n_colours)
    picture = rng.integers(0, n_colours + 1, (17, 33)).astype(np.uint8)
    palette = [f"#{i:02x}{i + 1:02x}{i + 2:02x}" for i in range(n_colours)]
    values, colours = decoded(raster.png(picture, palette))
    assert (values == picture).all()
    assert colours[1:] == [(i, i + 1, i + 2) for i in range(n_colours)]


def test_a_grid_turns_the_picture_as_its_axes_run() -> None:
    grid = raster.Grid(x_low=0, y_low=0, x_size=1, y_size=1, n_x=3, n_y=2)
    x, y = pl.Series([0]), pl.Series([0])
    index = np.array([1], dtype=np.uint8)
    # The first bin lies at the lower left; rows run from the top.
    assert grid.image(x, y, index).tolist() == [[0, 0, 0], [1, 0, 0]]
    left = raster.Grid(0, 0, 1, 1, 3, 2, x_reversed=True)
    assert left.image(x, y, index).tolist() == [[0, 0, 0], [0, 0, 1]]
    down = raster.Grid(0, 0, 1, 1, 3, 2, y_reversed=True)
    assert down.image(x, y, index).tolist() == [[1, 0, 0], [0, 0, 0]]


def test_count_colours_grow_darker_and_are_linear_where_most_bins_are_full() -> None:
    lightness = [
        0.2126 * int(c[1:3], 16) + 0.7152 * int(c[3:5], 16) + 0.0722 * int(c[5:], 16)
        for c in raster.ramp(raster.COUNT_RAMP)
    ]
    assert lightness == sorted(lightness, reverse=True)
    few = raster.CountScale.of(pl.Series([1, 1, 2, 100]))
    assert (few.kind, few.index(pl.Series([1, 10, 100])).tolist()) == ("log", [1, 8, 15])
    full = raster.CountScale.of(pl.Series([10] * 500 + [20] * 20))
    assert (full.kind, full.index(pl.Series([10, 15, 20, 99])).tolist()) == (
        "linear",
        [1, 8, 15, 15],
    )
    assert raster.CountScale.of(pl.Series([], dtype=pl.Int64)).high == 2.0
    # Bins of one or two alone are never pale.
    assert raster.CountScale.of(pl.Series([1, 2])).colours == raster.COUNT_RAMP[2:]
    assert few.colours == full.colours == raster.COUNT_RAMP


def test_a_focal_plane_of_any_size_stays_under_its_limit() -> None:
    # LSSTCam: 189 CCDs of 4,072 x 4,000 px in bins of 64 px, half of them filled at random.
    rng = np.random.default_rng(1)
    picture = np.where(rng.random((1000, 1000)) < 0.5, rng.integers(1, 16, (1000, 1000)), 0)
    size = len(raster.png(picture.astype(np.uint8), raster.ramp(raster.COUNT_RAMP)))
    assert size > raster.MOST_BYTES  # so the layer has to make the picture coarser
    grid = raster.Grid(0, 0, 1, 1, 1000, 1000)
    layer = raster.image_layer(picture.astype(np.uint8), raster.ramp(raster.COUNT_RAMP), grid)
    url = layer.data["url"][0]
    assert len(base64.b64decode(url.partition(",")[2])) <= raster.MOST_BYTES


# -- files --------------------------------------------------------------------------


@pytest.mark.parametrize("form", gallery.FORMATS)
def test_chart_is_saved_in_every_form(wanted: Wanted, tmp_path: Path, form: str) -> None:
    path = gallery.save(drawn(wanted, "counts"), tmp_path / "new" / f"counts.{form}")
    content = path.read_bytes()
    begins = {"html": b"<!doctype", "png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF", "json": b"{"}
    assert content.startswith(begins[form])
    assert [file.name for file in path.parent.iterdir()] == [f"counts.{form}"]


def test_chart_is_not_saved_in_an_unknown_form(wanted: Wanted, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not saved as gif; there are: html, png"):
        gallery.save(drawn(wanted, "counts"), tmp_path / "counts.gif")
    with pytest.raises(OutputError, match="cannot be written"):
        gallery.save(drawn(wanted, "counts"), Path("/proc/none/counts.json"))


def test_data_of_a_chart_can_be_had(wanted: Wanted) -> None:
    frame = gallery.chart_data(wanted.reruns, "counts")
    assert frame.height == 12


def test_gallery_says_what_every_chart_shows() -> None:
    from hitsduck.report.pictures import CAPTIONS

    assert set(CAPTIONS) == set(CHARTS)
    assert all(picture.purpose for picture in CHARTS.values())


def test_no_chart_is_left_out_of_the_gallery() -> None:
    assert set(charts.__all__) == set(CHARTS)


def test_reruns_is_what_the_gallery_asks(wanted: Wanted) -> None:
    assert isinstance(wanted.reruns, Reruns)
