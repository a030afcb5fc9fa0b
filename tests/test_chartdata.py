"""The numbers behind each picture against sqlite3 and numpy, on a simulated rerun."""

from __future__ import annotations

import importlib
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from apdb_files import make_apdb
from astropy.coordinates import SkyCoord
from polars.testing import assert_frame_equal
from stores import STORES, stored

import hitsduck
from hitsduck import chartdata
from hitsduck.cameras import get_camera
from hitsduck.chartdata.edges import poisson_interval
from hitsduck.chartdata.keeping import is_kept, relation
from hitsduck.errors import InstrumentError, QueryError, ResultNotFoundError
from hitsduck.report.in_memory import in_memory
from hitsduck.reruns import Reruns
from hitsduck.simulator import simulate

NAMES = ("Apr2020", "May2020", "Jun2020")
#: DECam: ccdVisitId = visit * 100 + ccd; bits 6, 7 and 9 make a source bad.
TRUTH = """
select
    diaSourceId, nullif(diaObjectId, 0) as diaObjectId,
    ccdVisitId / 100 as visit, ccdVisitId % 100 as detector,
    ra, decl as dec, x, y, midPointTai as mjd, psFlux as flux, psFluxErr as flux_err,
    ixxPSF as ixx, iyyPSF as iyy, coalesce(flags & 704 = 0, 0) as is_good
from DiaSource
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small simulated reruns of DECam, in the generation of 2020."""
    path = tmp_path_factory.mktemp("simulated") / "small"
    simulate(path, preset="small", scale=0.5, src_catalogs="none")
    return path


@pytest.fixture(scope="module", params=STORES)
def reruns(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reruns]:
    files = {name: folder / name for name in NAMES}
    paths = stored(files, request.param, tmp_path_factory.mktemp("stores"))
    with hitsduck.open_reruns(paths) as opened:
        yield opened


def rows(path: Path, query: str) -> pl.DataFrame:
    """Return what sqlite3 itself reads."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        cursor = connection.execute(query)
        names = [column[0] for column in cursor.description]
        return pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)


@pytest.fixture(scope="module")
def truth(folder: Path) -> pl.DataFrame:
    """All sources of the last rerun."""
    return rows(folder / "Jun2020" / "association.db", TRUTH).with_columns(
        pl.col("is_good").cast(pl.Boolean)
    )


@pytest.fixture(scope="module")
def good(truth: pl.DataFrame) -> pl.DataFrame:
    return truth.filter("is_good")


def source(number: int, x: float | None, y: float | None, **given: Any) -> dict[str, Any]:
    """Return a source of visit 410985, detector 10."""
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


# -- counts ---------------------------------------------------------------------


def test_counts_are_those_of_sqlite(reruns: Reruns, folder: Path) -> None:
    frame = chartdata.counts(reruns)
    assert frame.columns == ["rerun", "quantity", "n", "n_first"]
    assert frame["rerun"].unique(maintain_order=True).to_list() == list(NAMES)
    for name in NAMES:
        found = rows(folder / name / "association.db", TRUTH)
        shown = dict(frame.filter(pl.col("rerun") == name)["quantity", "n"].rows())
        assert shown["DIA sources"] == found.height
        assert shown["good DIA sources"] == found["is_good"].sum()


def test_counts_are_the_same_once_sources_are_in_memory(folder: Path) -> None:
    with hitsduck.open_reruns({name: folder / name for name in NAMES}) as opened:
        first = chartdata.counts(opened)
        assert not is_kept(opened, "May2020")
        stand_in = in_memory(opened)
        assert is_kept(opened, "May2020")
        assert chartdata.counts(stand_in).equals(first)


# -- what is kept -----------------------------------------------------------------


def test_kept_views_give_what_the_views_over_the_files_give(reruns: Reruns) -> None:
    summaries = ("visit_summary", "detector_summary", "night_summary", "flag_summary")
    bins = ("focal_plane_bin", "visit_tile", "visit_tile_bin", "sources_per_object")
    for view in (
        *summaries,
        *bins,
        "image",
        "integrity_source_without_object",
        "rerun_counts",
    ):
        kept = reruns.query(f"select * from {relation(reruns, 'May2020', view)} order by all")
        direct = reruns.query(f"select * from {reruns.scope('May2020', view)} order by all")
        # Sums of fractions may come in another order.
        assert_frame_equal(kept.polars(), direct.polars(), check_exact=False)


def test_kept_sources_fail_only_where_the_instrument_is_asked_for(shared: Path) -> None:
    path = shared / "data" / "apdb" / "packed-2021.sqlite3"  # fits the rules of HSC and of imSim
    with hitsduck.open_reruns({"a": path}) as opened:
        sources = relation(opened, "a", "dia_source")
        assert opened.query(f"select count(*) as n from {sources}").rows() == [{"n": 15}]
        assert opened.query(f"select count(ra) as n from {sources}").rows() == [{"n": 15}]
        with pytest.raises(InstrumentError, match="HSC"):
            opened.query(f"select visit from {sources}")


def test_conditions_hold_for_kept_sources(reruns: Reruns, truth: pl.DataFrame) -> None:
    frame = chartdata.counts(reruns, where="x < 500")
    n = frame.filter(pl.col("rerun") == "Jun2020", pl.col("quantity") == "DIA sources")["n"]
    assert n.to_list() == [truth.filter(pl.col("x") < 500).height]
    grid = chartdata.visit_grid(reruns, where="x < 500")
    assert grid["n"].sum() == truth.filter("is_good", pl.col("x") < 500).height


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
    with hitsduck.open_reruns(paths, instrument="DECam") as opened:
        frame = chartdata.edge_distances(opened.compare("left", "right"))
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
    # The middle itself, 1024 px from two sides, is the end of the last bin.
    matched = frame.filter(pl.col("kind") == "matched", pl.col("n") > 0)
    assert matched["edge_low_px", "edge_high_px"].rows() == [(512.0, 1024.0)]


def test_edge_distances_keep_sources_without_a_place(tmp_path: Path) -> None:
    paths = {
        "left": apdb(tmp_path / "left.db", [source(1, 100, 100)]),
        "right": apdb(tmp_path / "right.db", [source(2, None, 100), source(3, 100, 900)]),
    }
    with hitsduck.open_reruns(paths, instrument="DECam") as opened:
        frame = chartdata.edge_distances(opened.compare("left", "right"))
    sums = dict(frame.group_by("kind").agg(pl.sum("n")).rows())
    assert sums == {"matched": 0, "new": 2, "reflagged": 0, "gone": 1}
    nowhere = frame.filter(pl.col("edge_high_px").is_null())
    assert nowhere["kind", "n"].rows() == [("new", 1)]


def test_edge_distances_agree_with_numpy(reruns: Reruns, truth: pl.DataFrame) -> None:
    comparison = reruns.compare("Apr2020", "Jun2020")
    frame = chartdata.edge_distances(comparison)
    shared_images = comparison.shared_images.cast(pl.Int64)
    new = (
        truth.filter(pl.col("diaSourceId").is_in(comparison.right_only["diaSourceId"].to_list()))
        .join(shared_images, on=["visit", "detector"], how="semi")
        .filter(
            ~pl.col("diaSourceId").is_in(
                comparison.right_only.filter(pl.col("why") != "absent")["diaSourceId"].to_list()
            )
        )
    )
    x, y = new["x"].to_numpy(), new["y"].to_numpy()
    distance = np.min([x + 0.5, 2047.5 - x, y + 0.5, 4095.5 - y], axis=0)
    binned = frame.filter(pl.col("kind") == "new", pl.col("edge_low_px").is_not_null())
    sides = [*binned["edge_low_px"], binned["edge_high_px"][-1]]
    assert binned["n"].to_list() == np.histogram(distance, sides)[0].tolist()
    assert binned["n_expected"].sum() == pytest.approx((distance >= 0).sum())
    assert binned["area_mpx"].sum() == pytest.approx(shared_images.height * 2048 * 4096 / 1e6)


def test_edge_distances_need_the_camera(shared: Path) -> None:
    path = shared / "data" / "apdb" / "packed-2021.sqlite3"
    with (
        hitsduck.open_reruns({"a": path, "b": path}) as opened,
        pytest.raises(InstrumentError, match="instrument"),
    ):
        chartdata.edge_distances(opened.compare("a", "b"))


@pytest.mark.parametrize(
    ("n", "low", "high"),
    # The exact limits, chi2.ppf(0.025, 2 n) / 2 and chi2.ppf(0.975, 2 n + 2) / 2.
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.390), (100, 81.36, 121.63)],
)
def test_poisson_interval_is_near_the_exact_one(n: int, low: float, high: float) -> None:
    got = poisson_interval(n)
    assert got[0] == pytest.approx(low, rel=0.02, abs=0.02)
    assert got[1] == pytest.approx(high, rel=0.02)


# -- the focal plane ----------------------------------------------------------------


def test_focal_plane_bins_agree_with_the_camera(reruns: Reruns, good: pl.DataFrame) -> None:
    frame = chartdata.focal_plane(reruns)
    camera = get_camera("DECam")
    size = 64 * 0.015
    expected: dict[tuple[int, int], int] = {}
    for detector, x, y in good["detector", "x", "y"].rows():
        across, up = camera.detectors[detector].focal_plane_mm(x, y)
        key = (math.floor(across / size), math.floor(up / size))
        expected[key] = expected.get(key, 0) + 1
    assert {(a, b): n for a, b, n in frame["x_bin", "y_bin", "n"].rows()} == expected
    assert frame["n_total"].unique().to_list() == [good.height]
    assert frame["bin_mm"].unique().to_list() == [pytest.approx(size)]


def test_detector_outlines_are_the_corners_of_the_pixel_areas(reruns: Reruns) -> None:
    frame = chartdata.detector_outlines(reruns, "Jun2020")
    camera = get_camera("DECam")
    science = [n for n, chip in camera.detectors.items() if chip.detector_type == 0]
    assert frame["detector"].unique().sort().to_list() == sorted(science)
    for number in science[:3]:
        corners = frame.filter(pl.col("detector") == number)["focal_x_mm", "focal_y_mm"].to_numpy()
        ring = camera.detectors[number].corners_mm()
        assert corners == pytest.approx(np.array([*ring, ring[0]]))


def test_detector_density_is_over_the_images(
    reruns: Reruns, folder: Path, truth: pl.DataFrame
) -> None:
    frame = chartdata.detector_density(reruns)
    forced = rows(
        folder / "Jun2020" / "association.db",
        "select distinct ccdVisitId / 100 as visit, ccdVisitId % 100 as detector "
        "from DiaForcedSource",
    )
    images = pl.concat([truth.select("visit", "detector"), forced]).unique()
    n_images = dict(images.group_by("detector").len().rows())
    n_good = dict(truth.filter("is_good").group_by("detector").len().rows())
    area = get_camera("DECam").detector_area_deg2(1)
    assert frame["detector"].to_list() == sorted(n_images)
    for row in frame.iter_rows(named=True):
        number = row["detector"]
        assert row["n_images"] == n_images[number]
        assert row["n"] == n_good.get(number, 0)
        assert row["density_deg2"] == pytest.approx(
            n_good.get(number, 0) / (n_images[number] * area)
        )


@pytest.mark.parametrize("detector", [None, 10])
def test_detector_frame_agrees_with_numpy(
    reruns: Reruns, good: pl.DataFrame, detector: int | None
) -> None:
    frame = chartdata.detector_frame(reruns, ["Jun2020"], detector=detector)
    chosen = good if detector is None else good.filter(pl.col("detector") == detector)
    x, y = chosen["x"].to_numpy() + 0.5, chosen["y"].to_numpy() + 0.5
    counts, _, _ = np.histogram2d(x, y, [np.arange(0, 2049, 16), np.arange(0, 4097, 16)])
    found = np.zeros_like(counts)
    inside = frame.filter(pl.col("x_bin").is_between(0, 127), pl.col("y_bin").is_between(0, 255))
    found[inside["x_bin"].to_numpy(), inside["y_bin"].to_numpy()] = inside["n"].to_numpy()
    assert (found == counts).all()
    assert frame["n_total"].unique().to_list() == [chosen.height]


# -- the sky ------------------------------------------------------------------------


def test_sky_panels_are_the_two_of_the_seed_analysis(reruns: Reruns) -> None:
    panels = chartdata.sky_panels(reruns)
    # Left the two fields that overlap, right the single one, as on the sky.
    assert panels["panel"].to_list() == [0, 1]
    left, right = panels.rows(named=True)
    assert 153.8 < left["ra_low"] < left["ra_high"] < 156.7
    assert -7.7 < left["dec_low"] < left["dec_high"] < -3.8
    assert 148.9 < right["ra_low"] < right["ra_high"] < 151.4
    assert 1.1 < right["dec_low"] < right["dec_high"] < 3.3


@pytest.mark.parametrize("table", ["sources", "objects"])
def test_sky_map_agrees_with_numpy(
    reruns: Reruns, good: pl.DataFrame, folder: Path, table: str
) -> None:
    panels = chartdata.sky_panels(reruns)
    frame = chartdata.sky_map(reruns, "Jun2020", panels=panels, table=table)
    things = good
    if table == "objects":
        current = rows(
            folder / "Jun2020" / "association.db",
            "select diaObjectId, ra, decl as dec from DiaObject where validityEnd is null",
        )
        things = current.join(good, on="diaObjectId", how="semi")
    assert frame["n_total"].unique().to_list() == [things.height]
    for panel in panels.iter_rows(named=True):
        inside = things.filter(
            pl.col("ra").is_between(panel["ra_low"], panel["ra_high"]),
            pl.col("dec").is_between(panel["dec_low"], panel["dec_high"]),
        )
        part = frame.filter(pl.col("panel") == panel["panel"])
        assert part["n"].sum() == inside.height
        across = np.floor((inside["ra"].to_numpy() - panel["ra_low"]) / panel["ra_bin_deg"])
        up = np.floor((inside["dec"].to_numpy() - panel["dec_low"]) / panel["bin_deg"])
        keys, counts = np.unique(np.stack([across, up]).astype(int), axis=1, return_counts=True)
        expected = {(a, b): n for a, b, n in zip(*keys, counts, strict=True)}
        got = {(a, b): n for a, b, n in part["ra_bin", "dec_bin", "n"].rows()}
        differing = set(expected.items()) ^ set(got.items())
        assert len(differing) <= 2  # a source on the very side of a bin, by rounding


def test_a_field_across_ra_0_is_one_panel(tmp_path: Path) -> None:
    places = [(359.5, 0.0), (359.9, 0.5), (0.1, -0.5), (0.4, 0.2)]
    sources = [
        source(i, 100.0, 100.0 * i, ra=ra, dec=dec) for i, (ra, dec) in enumerate(places, start=1)
    ]
    path = apdb(tmp_path / "a.db", sources)
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as opened:
        panels = chartdata.sky_panels(opened)
        assert panels.height == 1
        width = panels["ra_high"][0] - panels["ra_low"][0]
        assert width == pytest.approx(0.9, abs=0.05)
        frame = chartdata.sky_map(opened, panels=panels)
    assert frame["n"].sum() == 4


def test_positions_that_cannot_be_drawn_are_in_the_total_alone(tmp_path: Path) -> None:
    odd = [math.inf, -math.inf, math.nan, None, 361.0, -0.5]
    sources = [source(1, 10.0, 10.0), source(2, 20.0, 20.0)]
    sources += [source(10 + i, 5.0, 5.0, ra=ra) for i, ra in enumerate(odd)]
    sources += [source(20 + i, None, 5.0, dec=dec) for i, dec in enumerate([math.inf, 91.0, None])]
    path = apdb(tmp_path / "a.db", sources)
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as opened:
        panels = chartdata.sky_panels(opened)
        sky = chartdata.sky_map(opened, panels=panels)
        grid = chartdata.visit_grid(opened)
        plane = chartdata.focal_plane(opened)
    # Two of eleven have a position on the sky, eight of them an x.
    assert (sky["n"].sum(), sky["n_total"].unique().to_list()) == (2, [11])
    assert (grid["n"].sum(), grid["n_visit"].unique().to_list()) == (2, [2])
    assert (plane["n"].sum(), plane["n_total"].unique().to_list()) == (8, [11])


def test_sky_of_an_unknown_instrument_is_one_panel(shared: Path) -> None:
    path = shared / "data" / "apdb" / "packed-2021.sqlite3"
    with hitsduck.open_reruns({"a": path}) as opened:
        panels = chartdata.sky_panels(opened)
        assert chartdata.sky_map(opened, panels=panels)["n"].sum() == 11


def test_sky_points_are_those_in_the_window(reruns: Reruns, good: pl.DataFrame) -> None:
    window = (149.8, 150.5, 1.95, 2.62)  # the zoom of the seed analysis
    frame = chartdata.sky_points(reruns, "Jun2020", window=window, table="sources")
    inside = good.filter(
        pl.col("ra").is_between(149.8, 150.5), pl.col("dec").is_between(1.95, 2.62)
    )
    assert frame["id"].to_list() == inside["diaSourceId"].sort().cast(pl.String).to_list()


def test_sky_window_must_hold_something(reruns: Reruns) -> None:
    with pytest.raises(QueryError, match="is empty"):
        chartdata.sky_points(reruns, window=(150.5, 149.8, 1, 2))
    with pytest.raises(QueryError, match="one of sources, objects"):
        chartdata.sky_map(reruns, panels=chartdata.sky_panels(reruns), table="visits")


# -- visits and nights ----------------------------------------------------------------


def test_visits_are_in_order_of_time(reruns: Reruns, good: pl.DataFrame) -> None:
    frame = chartdata.visits(reruns)
    assert frame["rerun"].unique(maintain_order=True).to_list() == list(NAMES)
    part = frame.filter(pl.col("rerun") == "Jun2020")
    assert part["midpoint_mjd_tai"].is_sorted()
    expected = {str(visit): n for visit, n in good.group_by("visit").len().rows()}
    assert dict(part["visit", "n"].rows()) == expected
    area = get_camera("DECam").detector_area_deg2(1)
    for row in part.iter_rows(named=True):
        assert row["density_deg2"] == pytest.approx(row["n"] / (row["n_images"] * area))


def test_seeing_is_the_median_of_each_visit(reruns: Reruns, truth: pl.DataFrame) -> None:
    frame = chartdata.seeing(reruns, "Jun2020")
    scale = 0.015 * 17.575  # arcsec per px
    fwhm_px = 2 * math.sqrt(2 * math.log(2)) * ((pl.col("ixx") + pl.col("iyy")) / 2).sqrt()
    expected = truth.group_by("visit").agg(fwhm_px.median().alias("px")).sort("visit")
    found = frame.with_columns(pl.col("visit").cast(pl.Int64)).sort("visit")
    assert found["seeing_px"].to_numpy() == pytest.approx(expected["px"].to_numpy(), rel=1e-5)
    assert found["seeing_arcsec"].to_numpy() == pytest.approx(
        expected["px"].to_numpy() * scale, rel=1e-5
    )


def test_nights_are_cut_at_local_noon(reruns: Reruns, truth: pl.DataFrame) -> None:
    frame = chartdata.nights(reruns, "Jun2020")
    # MJD 0 is 1858-11-17; DECam stands at 70.81 degrees west.
    number = (pl.col("mjd") - 70.81 / 360 - 0.5).floor().cast(pl.Int64)
    nights = truth.with_columns((pl.date(1858, 11, 17) + pl.duration(days=number)).alias("night"))
    expected = nights.group_by("night").agg(pl.col("visit").n_unique()).sort("night")
    assert frame["night"].to_list() == expected["night"].to_list()
    assert frame["n_visits"].to_list() == expected["visit"].to_list()


def test_visit_grid_holds_every_good_source(reruns: Reruns, good: pl.DataFrame) -> None:
    frame = chartdata.visit_grid(reruns)
    per_visit = dict(frame.group_by("visit").agg(pl.sum("n")).rows())
    assert per_visit == {str(visit): n for visit, n in good.group_by("visit").len().rows()}
    assert frame["x_bin"].is_between(0, frame["n_bins"][0] - 1).all()
    assert frame["y_bin"].is_between(0, frame["n_bins"][0] - 1).all()
    first = good.sort("mjd", "visit")["visit"][0]
    assert frame.filter(pl.col("tile") == 0)["visit"].unique().to_list() == [str(first)]


def test_visit_grid_bins_are_where_astropy_puts_the_sources(
    reruns: Reruns, good: pl.DataFrame, truth: pl.DataFrame
) -> None:
    frame = chartdata.visit_grid(reruns)
    visit = good["visit"].min()
    box = truth.filter(pl.col("visit") == visit)
    middle = [(box[axis].min() + box[axis].max()) / 2 for axis in ("ra", "dec")]  # type: ignore[operator]
    drawn = good.filter(pl.col("visit") == visit)
    east, north = SkyCoord(*middle, unit="deg").spherical_offsets_to(
        SkyCoord(drawn["ra"].to_numpy(), drawn["dec"].to_numpy(), unit="deg")
    )
    tile = frame.filter(pl.col("visit") == str(visit))
    n_bins, bin_deg = tile["n_bins"][0], tile["bin_deg"][0]
    places = Counter(
        (math.floor(x), math.floor(y))
        for x, y in zip(
            east.deg / bin_deg + n_bins // 2, north.deg / bin_deg + n_bins // 2, strict=True
        )
    )
    found = Counter({(x, y): n for x, y, n in tile["x_bin", "y_bin", "n"].rows()})
    assert found.total() == places.total() == drawn.height
    # Meridians draw together: 1 deg east and north of a middle at a dec of 8 deg at most, ours is
    # off by 1 * 1 * pi / 180 * tan(8 deg) = 0.0025 deg, a tenth of the smallest bin, so that few
    # sources lie in the next one; a shift of one bin moves all.
    assert (found & places).total() > 0.85 * drawn.height
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        shifted = Counter({(x + dx, y + dy): n for (x, y), n in places.items()})
        assert (found & shifted).total() < 0.6 * drawn.height


def test_only_so_many_visits_have_a_tile(tmp_path: Path) -> None:
    # 200 visits, later ones with lower numbers; that of number 899 has no good source.
    sources = [
        source(1 + i, 10.0, 10.0, visit=900 - i, midpointMjdTai=57_000.0 + i) for i in range(200)
    ]
    sources[1]["pixelFlags_bad"] = True
    with hitsduck.open_reruns({"a": apdb(tmp_path / "a.db", sources)}, instrument="DECam") as one:
        frame = chartdata.visit_grid(one)
        every = chartdata.visit_grid(one, good=False)
    assert every.sort("tile")["visit"].to_list() == [str(900 - i) for i in range(196)]
    assert every["n_visits"].unique().to_list() == [200]
    shown = [str(900 - i) for i in range(196) if i != 1]
    assert frame.sort("tile")["visit"].to_list() == shown
    assert frame.sort("tile")["tile"].to_list() == list(range(195))
    assert (frame["n_visits"].unique().to_list(), frame["n"].sum()) == ([199], 195)


def test_a_grid_of_few_sources_has_bins_of_twice_the_size(
    reruns: Reruns, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = chartdata.visit_grid(reruns)
    assert float(few["n_visit"].max()) < 500  # type: ignore[arg-type]
    monkeypatch.setattr(importlib.import_module("hitsduck.chartdata.visits"), "_FEW_SOURCES", 1)
    many = chartdata.visit_grid(reruns)
    assert (few["n_bins"].unique().to_list(), many["n_bins"].unique().to_list()) == ([32], [64])
    assert few["bin_deg"].unique().to_list() == [2 * many["bin_deg"][0]]
    wide: Counter[tuple[int, int, int]] = Counter()
    for tile, x, y, n in many["tile", "x_bin", "y_bin", "n"].rows():
        wide[tile, x // 2, y // 2] += n
    assert {(tile, x, y): n for tile, x, y, n in few["tile", "x_bin", "y_bin", "n"].rows()} == wide


# -- distributions ----------------------------------------------------------------------


def test_sources_per_object_add_up(reruns: Reruns, truth: pl.DataFrame, folder: Path) -> None:
    frame = chartdata.sources_per_object(reruns)
    current = rows(
        folder / "Jun2020" / "association.db",
        "select diaObjectId from DiaObject where validityEnd is null",
    )
    n_of = truth.group_by("diaObjectId").agg(pl.len(), pl.col("is_good").any())
    joined = current.join(n_of, on="diaObjectId", how="left").with_columns(
        pl.col("len", "is_good").fill_null(0)
    )
    expected = dict(joined.group_by("len").len("n").rows())
    every = frame.filter(pl.col("kind") == "all")
    assert dict(every["n_sources", "n_objects"].rows()) == expected
    assert every.filter(pl.col("n_sources") != pl.col("n_sources_to")).is_empty()
    n_good = frame.filter(pl.col("kind") == "good")["n_objects"].sum()
    assert n_good == joined["is_good"].sum()


def test_objects_with_very_many_sources_are_not_dropped(tmp_path: Path) -> None:
    # 200 sources of one object: in the bin that begins at 64 * 1.125^9 = 184.7, so at 185.
    sources = [source(i, 10.0 * i, 20.0, diaObjectId=1) for i in range(1, 201)]
    path = apdb(tmp_path / "a.db", [*sources, source(999, 5, 5, diaObjectId=2)])
    with hitsduck.open_reruns({"a": path}, instrument="DECam") as opened:
        frame = chartdata.sources_per_object(opened).filter(pl.col("kind") == "all")
    assert frame["n_sources", "n_sources_to", "n_objects"].rows() == [(1, 1, 1), (185, 200, 1)]


def test_flags_are_counted_from_the_bits(reruns: Reruns, folder: Path) -> None:
    frame = chartdata.flags(reruns, "Jun2020")
    flags = rows(folder / "Jun2020" / "association.db", "select flags from DiaSource")["flags"]
    for flag, bit in (
        ("pixelFlags_bad", 6),
        ("pixelFlags_suspect", 7),
        ("pixelFlags_saturatedCenter", 9),
    ):
        row = frame.filter(pl.col("flag") == flag).row(0, named=True)
        assert row["n_set"] == int(((flags.to_numpy() >> bit) & 1).sum())
        assert row["is_bad"]
    assert frame.filter("is_bad").height == 3


def test_distributions_agree_with_numpy(reruns: Reruns, good: pl.DataFrame) -> None:
    frame = chartdata.distributions(reruns, "Jun2020")
    flux = good["flux"].to_numpy()
    values = {
        "flux": flux,
        "magnitude": 31.4 - 2.5 * np.log10(flux[flux > 0]),
        "psf_snr": np.abs(flux) / good["flux_err"].to_numpy(),
    }
    for quantity, numbers in values.items():
        part = frame.filter(pl.col("quantity") == quantity)
        assert part["n"].sum() == numbers.size
        assert part["n_without"].unique().to_list() == [good.height - numbers.size]
        for low, high, n in part["low", "high", "n"].rows():
            assert abs(((numbers >= low) & (numbers < high)).sum() - n) <= 1  # rounding


# -- objects ------------------------------------------------------------------------------


def test_objects_on_sky_have_only_good_sources(reruns: Reruns, truth: pl.DataFrame) -> None:
    frame = chartdata.objects_on_sky(reruns, min_sources=3)
    per_object = (
        truth.filter(pl.col("diaObjectId").is_not_null())
        .group_by("diaObjectId")
        .agg(pl.len(), pl.col("is_good").all())
    )
    expected = per_object.filter("is_good", pl.col("len") >= 3)
    assert {int(i): n for i, n in frame["id", "n_sources"].rows()} == dict(
        expected["diaObjectId", "len"].rows()
    )
    assert frame["n_total"].unique().to_list() == [expected.height]
    fewer = chartdata.objects_on_sky(reruns, min_sources=3, most=2)
    assert (fewer.height, fewer["n_total"][0]) == (2, expected.height)


def test_object_sources_lie_around_the_object(reruns: Reruns, truth: pl.DataFrame) -> None:
    number = int(chartdata.objects_on_sky(reruns)["id"][0])
    frame = chartdata.object_sources(reruns, number)
    mine = truth.filter(pl.col("diaObjectId") == number)
    assert set(frame["id"]) == {str(i) for i in mine["diaSourceId"]}
    thing = reruns["Jun2020"].object(number)
    by_id = {str(row["diaSourceId"]): row for row in mine.iter_rows(named=True)}
    for row in frame.iter_rows(named=True):
        want = by_id[row["id"]]
        east = (want["ra"] - thing["ra"]) * math.cos(math.radians(thing["dec"])) * 3600
        assert row["east_arcsec"] == pytest.approx(east, abs=1e-6)
        assert row["north_arcsec"] == pytest.approx((want["dec"] - thing["dec"]) * 3600, abs=1e-6)


def test_light_curve_holds_detected_and_forced_fluxes(reruns: Reruns, folder: Path) -> None:
    number = int(chartdata.objects_on_sky(reruns)["id"][0])
    frame = chartdata.light_curve(reruns, number)
    path = folder / "Jun2020" / "association.db"
    for kind, query in (
        ("DIA source", f"select psFlux from DiaSource where diaObjectId = {number}"),
        ("forced", f"select psFlux from DiaForcedSource where diaObjectId = {number}"),
    ):
        fluxes = frame.filter(pl.col("kind") == kind)["psfFlux"].sort().to_list()
        assert fluxes == pytest.approx(sorted(rows(path, query)["psFlux"].to_list()))
    assert frame["midpointMjdTai"].is_sorted()
    with pytest.raises(ResultNotFoundError):
        chartdata.light_curve(reruns, 1)


# -- pairs ------------------------------------------------------------------------------


def test_matched_pairs_agree_with_numpy(reruns: Reruns) -> None:
    comparison = reruns.compare("Apr2020", "May2020")
    frame = chartdata.matched_pairs(comparison)
    pairs = comparison.matched
    separation = frame.filter(pl.col("quantity") == "separation")
    sides = [*separation["low"], separation["high"][-1]]
    expected = np.histogram(pairs["sep_arcsec"].to_numpy(), sides)[0]
    assert separation["n"].to_list() == expected.tolist()
    pull = frame.filter(pl.col("quantity") == "pull")
    error = np.hypot(pairs["psfFluxErr_left"].to_numpy(), pairs["psfFluxErr_right"].to_numpy())
    pulls = (pairs["psfFlux_right"].to_numpy() - pairs["psfFlux_left"].to_numpy()) / error
    sides = [*pull["low"], pull["high"][-1]]
    assert pull["n"].to_list() == np.histogram(pulls, sides)[0].tolist()
    assert (pull["n"].sum() + pull["n_outside"][0], pull["n_without"][0]) == (pairs.height, 0)


def test_dashboard_counts_every_placed_source_of_both(reruns: Reruns) -> None:
    comparison = reruns.compare("Apr2020", "May2020")
    frame = chartdata.dashboard(comparison)
    edge = comparison.evidence.edge.filter(pl.col("edge_distance_px") >= 0)
    for status, side in (("matched", "right"), ("new", "right"), ("gone", "left")):
        n = edge.filter(pl.col("status") == status, pl.col("side") == side).height
        assert frame[f"n_{status}"].sum() == n
    images = comparison.shared_images.height
    assert frame["area_mpx"].sum() == pytest.approx(images * 2048 * 4096 / 1e6)
    assert frame.height <= 4_500
    near = edge.filter(
        pl.col("edge_distance_px") < 32, pl.col("status") == "new", pl.col("side") == "right"
    )
    assert frame.filter(pl.col("zone_px") == 0)["n_new"].sum() == near.height


def test_a_detector_that_the_camera_lacks_is_told(reruns: Reruns) -> None:
    with pytest.raises(QueryError, match="DECam has no detector 999; its detectors: 1 to 62"):
        chartdata.detector_frame(reruns, detector=999)
