"""Comparisons whose truth is known otherwise: planted by the simulator, or told by astropy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import astropy.units as u
import numpy as np
import polars as pl
import pytest
from astropy.coordinates import SkyCoord

import hitsduck
from hitsduck.comparison import Comparison
from hitsduck.simulator import causes, simulate

HOWS = ("mutual", "best1", "best2", "all")
REAL = {
    "packed-2021": "packed-2021.sqlite3",
    "imsim-2023": "imsim-2023-packed.sqlite3",
    "imsim-2024": "imsim-2024-schema-0.1.1.sqlite3",
}


def ids(frame: pl.DataFrame) -> list[int]:
    return frame["diaSourceId"].to_list()


def pair_ids(comparison: Comparison) -> list[tuple[int, int]]:
    return comparison.matched.select("diaSourceId_left", "diaSourceId_right").rows()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hitsduck.Reruns]:
    folder = tmp_path_factory.mktemp("simulated")
    result = simulate(folder, preset="small", src_catalogs="none", reruns=["Apr2020", "May2020"])
    with hitsduck.open_reruns(result.paths) as reruns:
        yield reruns


def test_distances_in_memory_are_those_of_the_view(simulated: hitsduck.Reruns):
    rows = simulated.compare("Apr2020", "May2020").evidence.edge.filter(side="right")
    ids_of = simulated.compare("Apr2020", "May2020").evidence.explanation.filter(side="right")
    view = simulated.sql(
        'select diaSourceId, edge_distance_px, edge_side from "May2020".dia_source_edge'
    ).polars()
    both = ids_of.select("diaSourceId", "edge_distance_px", "edge_side").join(
        view, on="diaSourceId", suffix="_view"
    )
    assert both.height == rows.height > 1000
    assert both["edge_distance_px"].equals(both["edge_distance_px_view"].alias("edge_distance_px"))
    assert both["edge_side"].equals(both["edge_side_view"].alias("edge_side"))
    radius = simulated.sql(
        "select diaSourceId, sqrt(focal_x_mm ** 2 + focal_y_mm ** 2) as r "
        'from "May2020".dia_source_focal_plane'
    ).polars()
    joined = ids_of.join(radius, on="diaSourceId")
    assert np.allclose(joined["focal_radius_mm"], joined["r"], rtol=1e-12)


def test_new_and_gone_are_those_that_the_simulation_made(simulated: hitsduck.Reruns):
    truth = {
        name: pl.read_parquet(simulated[name].path.parent / "truth.parquet") for name in simulated
    }
    in_both = truth["Apr2020"].join(truth["May2020"], on="detection_id", how="inner")
    found = simulated.compare("Apr2020", "May2020", good=False)
    detections = found.matched.join(
        truth["Apr2020"].select("diaSourceId", "detection_id"),
        left_on="diaSourceId_left",
        right_on="diaSourceId",
    ).join(
        truth["May2020"].select("diaSourceId", "detection_id"),
        left_on="diaSourceId_right",
        right_on="diaSourceId",
        suffix="_right",
    )
    agree = detections["detection_id"] == detections["detection_id_right"]
    # jitter of a few hundredths of an arcsec, sources arcmin apart: next to none goes wrong
    assert agree.mean() > 0.999
    assert abs(found.n_matched - in_both.height) <= 0.005 * in_both.height


def planted(tmp_path: Path, cause: causes.Cause) -> Comparison:
    result = simulate(
        tmp_path, preset="pair", scale=0.02, causes=[cause], columns="notebook", src_catalogs="none"
    )
    with hitsduck.open_reruns(result.paths) as reruns:
        found = reruns.compare("old", "new")
        found.summary()
        found.verdict()
        found.turnover()
        found.differences()
    return found


def test_a_planted_flag_is_told_as_masking(tmp_path: Path):
    found = planted(tmp_path, causes.flag_rate("pixelFlags_suspect", 0.08))
    summary = found.summary()
    # 8% of the good sources of left, of which some are lost for another reason
    assert summary["n_left_only_reflagged"] == pytest.approx(0.08 * summary["n_left"], rel=0.25)
    assert summary["n_right_only_reflagged"] == 0
    why = found.left_only.filter(why="reflagged")["differing_flags"].list.join(",").unique()
    assert why.to_list() == ["pixelFlags_suspect"]
    change = found.decomposition()
    assert abs(change.reflagged) > 5 * abs(change.detection)


def test_missing_images_are_told_as_coverage(tmp_path: Path):
    # scale 0.02 leaves a third of the images with too few sources to be sure of them: those of
    # the old rerun that have any are missing in the new one
    found = planted(tmp_path, causes.missing_images(1500))
    coverage = found.summary()["coverage"]
    assert coverage["left_only"] > 1300
    change = found.decomposition()
    assert change.coverage < -0.2 * found.n_left
    assert abs(change.detection) < 0.05 * abs(change.coverage)


def test_another_association_radius_is_told_as_turnover_of_objects(tmp_path: Path):
    kinds = planted(tmp_path, causes.association_radius(0.3)).turnover().summary()
    assert kinds["split"] > 10
    assert kinds["merged"] == 0


def test_another_zero_point_is_told_by_the_fluxes_of_matched_sources(tmp_path: Path):
    rows = planted(tmp_path, causes.zero_point(-0.08)).differences().to_dicts()
    flux = next(row for row in rows if row["quantity"] == "psf_flux_ratio")
    assert flux["median"] == pytest.approx(10 ** (0.4 * 0.08), abs=0.003)
    assert flux["n_sigma"] > 20
    assert all(abs(row["n_sigma"]) < 5 for row in rows if row is not flux)


# -- real files ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared: Path) -> Iterator[hitsduck.Reruns]:
    folder = shared / "data" / "apdb"
    paths = {name: folder / file for name, file in REAL.items()}
    with hitsduck.open_reruns(paths, instrument="LSSTCam-imSim") as reruns:
        yield reruns


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", REAL)
def test_a_real_file_compared_with_itself_has_nothing_new_and_nothing_gone(
    real: hitsduck.Reruns, name: str, how: str
):
    for good in (True, False):
        for radius in ({"radius_arcsec": 0.5}, {"radius_px": 2.0}):
            found = real.compare(name, name, how=how, good=good, **radius)
            summary = found.summary()
            assert (summary["n_left_only"], summary["n_right_only"]) == (0, 0)
            assert summary["same_file"]
            assert summary["coverage"] == dict.fromkeys(summary["coverage"], 0)
            assert "nothing new, nothing gone" in found.verdict()
            kinds = found.turnover().summary()
            if how == "mutual":
                assert (kinds["gone"], kinds["new"], kinds["split"], kinds["merged"]) == (0,) * 4


@pytest.mark.parametrize("how", HOWS)
def test_left_and_right_exchanged_mirror_each_other(real: hitsduck.Reruns, how: str):
    there = real.compare("imsim-2023", "imsim-2024", how=how, radius_arcsec=1.0)
    mirrored = {"best1": "best2", "best2": "best1"}.get(how, how)
    back = real.compare("imsim-2024", "imsim-2023", how=mirrored, radius_arcsec=1.0)
    assert sorted(pair_ids(there)) == sorted((left, right) for right, left in pair_ids(back))
    assert there.left_only.equals(back.right_only)
    assert there.right_only.equals(back.left_only)
    forward, backward = there.decomposition(), back.decomposition()
    assert [-part for part in vars(forward).values()] == list(vars(backward).values())
    assert np.allclose(
        there.matched.sort("diaSourceId_left", "diaSourceId_right")["delta_ra_arcsec"],
        -back.matched.sort("diaSourceId_right", "diaSourceId_left")["delta_ra_arcsec"],
    )


def test_the_good_sources_of_the_real_pair_match_as_astropy_says(real: hitsduck.Reruns):
    frames = {n: real[n].sources(good=True).polars() for n in ("imsim-2023", "imsim-2024")}
    pairs = set()
    for key in frames["imsim-2023"].select("visit", "detector").unique().rows():
        own = [f.filter(visit=key[0], detector=key[1]) for f in frames.values()]
        sky = [SkyCoord(f["ra"].to_numpy() * u.deg, f["dec"].to_numpy() * u.deg) for f in own]
        there, separation, _ = sky[0].match_to_catalog_sky(sky[1])
        back, _, _ = sky[1].match_to_catalog_sky(sky[0])
        mutual = (back[there] == np.arange(len(there))) & (separation <= 0.5 * u.arcsec)
        for row in np.flatnonzero(mutual):
            pairs.add((own[0]["diaSourceId"][int(row)], own[1]["diaSourceId"][int(there[row])]))
    found = real.compare("imsim-2023", "imsim-2024")
    assert set(pair_ids(found)) == pairs
    sky = [
        SkyCoord(
            found.matched[f"ra_{s}"].to_numpy() * u.deg,
            found.matched[f"dec_{s}"].to_numpy() * u.deg,
        )
        for s in ("left", "right")
    ]
    d_ra, d_dec = sky[0].spherical_offsets_to(sky[1])
    assert np.allclose(found.matched["delta_ra_arcsec"], d_ra.arcsec, atol=1e-6)
    assert np.allclose(found.matched["delta_dec_arcsec"], d_dec.arcsec, atol=1e-6)


def test_reflagged_sources_of_the_real_pair_are_those_that_all_sources_match(
    real: hitsduck.Reruns,
):
    good, everything = (
        real.compare("imsim-2023", "imsim-2024", good=good) for good in (True, False)
    )
    partner = dict(everything.matched.select("diaSourceId_right", "diaSourceId_left").iter_rows())
    is_good = dict(real["imsim-2023"].sources(["diaSourceId", "is_good"]).polars().iter_rows())
    expected = {
        number: "reflagged" if number in partner and not is_good[partner[number]] else "absent"
        for number in ids(good.right_only)
    }
    assert dict(good.right_only.select("diaSourceId", "why").iter_rows()) == expected
    assert good.summary()["n_right_only_reflagged"] == 9
