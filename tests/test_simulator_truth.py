"""The geometry, and the statistics of what is simulated, measured from the output.

Each statistical test allows a deviation that chance alone exceeds in one of a million
runs (4.9 standard deviations of a normal distribution); the seeds are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.modeling import models
from hypothesis import given
from hypothesis import strategies as st

from hitsduck.cameras import get_camera, known_cameras
from hitsduck.errors import SimulationError
from hitsduck.simulator import load_preset, simulate_frames
from hitsduck.simulator.association import associate, linked_groups
from hitsduck.simulator.drawing import draw_pool
from hitsduck.simulator.geometry import (
    FocalPlane,
    axes_on_sky,
    block_shift_deg,
    make_focal_plane,
    make_visits,
)
from hitsduck.simulator.htm import htm_index
from hitsduck.simulator.truth import stream

ONE_IN_A_MILLION = 4.9


@pytest.fixture(scope="module")
def pair() -> dict[str, dict[str, pl.DataFrame]]:
    """Return the null pair at a tenth of the full size."""
    return simulate_frames("pair", scale=0.1, seed=11)


def joined(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return tables["DiaSource"].join(tables["truth"], on="diaSourceId", validate="1:1")


def good(frame: pl.DataFrame) -> pl.Series:
    bad = frame["pixelFlags_bad"] | frame["pixelFlags_suspect"]
    return ~(bad | frame["pixelFlags_saturatedCenter"])


@pytest.mark.parametrize("field", [0, 1, 2])
def test_a_thousand_sources_of_each_field_lie_where_astropy_projects_their_pixels(
    field: int, pair: dict[str, dict[str, pl.DataFrame]]
):
    preset = load_preset("pair")
    visits = make_visits(preset, stream(11, 0, "visits"), 0)
    plane = make_focal_plane(preset)
    camera = get_camera("DECam")
    of_field = pl.Series(visits.visit[visits.field == field])
    sources = pair["new"]["DiaSource"].filter(pl.col("visit").is_in(of_field.implode()))
    sources = sources.sample(1000, seed=field)
    by_wcs, by_models = [], []
    for row in sources.iter_rows(named=True):
        v = int(np.searchsorted(visits.visit, row["visit"]))
        wcs = plane.detector_wcs(row["detector"], visits.ra[v], visits.dec[v])
        by_wcs.append(wcs.wcs_pix2world([[row["x"], row["y"]]], 0)[0])
        # the same by other code: focal plane of the cameras module, TAN of astropy.modeling;
        # focal-plane x points south and y points east
        fx, fy = camera.detectors[row["detector"]].focal_plane_mm(row["x"], row["y"])
        scale = camera.plate_scale_arcsec_per_mm / 3600
        project = models.Pix2Sky_TAN() | models.RotateNative2Celestial(
            visits.ra[v], visits.dec[v], 180
        )
        by_models.append(project(fy * scale, -fx * scale))
    place = SkyCoord(sources["ra"].to_numpy() * u.deg, sources["dec"].to_numpy() * u.deg)
    for positions in (by_wcs, by_models):
        ra, dec = np.array(positions).T
        assert place.separation(SkyCoord(ra * u.deg, dec * u.deg)).mas.max() < 1.0


@pytest.mark.parametrize("name", list(known_cameras()))
def test_pixels_and_focal_plane_are_inverse_on_every_camera(name: str):
    plane = FocalPlane(get_camera(name), (), axes_on_sky("west", "north"))
    rng = np.random.default_rng(1)
    chip = rng.integers(0, len(plane.chips), 2000)
    x, y = plane.low[:, chip] + (plane.high - plane.low)[:, chip] * rng.random((2, 2000))
    fx, fy = plane.to_mm(chip, x, y)
    detector = plane.chips[chip[0]]
    assert detector.focal_plane_mm(x[0], y[0]) == pytest.approx((fx[0], fy[0]), abs=1e-9)
    found, back_x, back_y = plane.locate(fx, fy)
    # detectors may touch, so a point within a micrometre of an edge may be the neighbour's
    same = found == chip
    assert same.mean() > 0.999
    assert np.abs(back_x - x)[same].max() < 1e-6
    assert np.abs(back_y - y)[same].max() < 1e-6
    assert plane.locate(np.array([1e4]), np.array([0.0]))[0][0] == -1


def test_axes_along_one_line_are_refused():
    with pytest.raises(SimulationError, match="point along one line"):
        axes_on_sky("north", "south")


def test_the_blocks_of_a_large_simulation_keep_apart_and_clear_of_ra_zero():
    shifts = np.array([block_shift_deg(b) for b in range(100)])
    low, high = 148.9 + shifts, 156.7 + shifts
    assert not np.any((low < 360) & (high > 360))
    assert np.diff(shifts).min() > 2.9  # the widest strip of fields is 2.9 deg wide
    assert shifts[-1] + 2.9 < 360


def test_the_schedule_is_that_of_the_survey():
    visits = make_visits(load_preset("hits2015"), stream(1, 0, "visits"), 0)
    assert len(visits) == 84
    assert np.bincount(visits.field).tolist() == [28, 28, 28]
    assert {410985, 410987, 421590} <= set(visits.visit.tolist())
    assert np.all(np.diff(visits.mjd_tai) > 0)
    # from 2015-02-18 to 2015-03-26; one night begins before 0 h TAI
    assert 57071 < visits.mjd_tai[0] < visits.mjd_tai[-1] < 57107
    assert len(np.unique(visits.night)) == 7
    assert (visits.mjd_tai % 1 > 0.9).any()
    assert visits.seeing_arcsec.std() > 0.1
    assert visits.zero_point_mag.std() > 0.05


def test_positions_scatter_about_the_truth_by_their_errors(
    pair: dict[str, dict[str, pl.DataFrame]],
):
    for tables in pair.values():
        frame = joined(tables)
        for axis in ("x", "y"):
            z = ((frame[axis] - frame[f"{axis}_true"]) / frame[f"{axis}Err"]).to_numpy()
            n = len(z)
            # mean 0 +- 1/sqrt(n), variance 1 +- sqrt(2/n)
            assert abs(z.mean()) * math.sqrt(n) < ONE_IN_A_MILLION
            assert abs(z.var() - 1) * math.sqrt(n / 2) < ONE_IN_A_MILLION


@pytest.mark.parametrize("jitter", [1.0, 0.3])
def test_positions_differ_between_reruns_by_the_jitter_asked_for(
    jitter: float, tmp_path: pytest.TempPathFactory
):
    preset = tmp_path / "mine.toml"
    preset.write_text(
        'extends = "pair"\n[[rerun]]\nname = "old"\n[[rerun]]\nname = "new"\nbased_on = "old"\n'
        f"position_jitter = {jitter}\nflux_jitter = 0.0\n"
    )
    tables = simulate_frames(str(preset), scale=0.05, seed=5)
    both = joined(tables["old"]).join(joined(tables["new"]), on="detection_id", suffix="_new")
    # errors e and sqrt(1 - j^2) e + j e': their difference has variance 2 - 2 sqrt(1 - j^2)
    expected = 2 - 2 * math.sqrt(1 - jitter**2)
    z = ((both["x_new"] - both["x"]) / both["xErr"]).to_numpy()
    z = z[np.abs(both["xErr_new"] - both["xErr"]).to_numpy() < 1e-6]
    assert len(z) > 20_000
    assert abs(z.var() / expected - 1) * math.sqrt(len(z) / 2) < ONE_IN_A_MILLION


def test_detections_near_the_threshold_are_lost_and_gained_alike(
    pair: dict[str, dict[str, pl.DataFrame]],
):
    old, new = pair["old"]["truth"], pair["new"]["truth"]
    lost = old.join(new, on="detection_id", how="anti")
    gained = new.join(old, on="detection_id", how="anti")
    assert min(len(lost), len(gained)) > 300
    # equally likely: the difference has the variance of the sum
    z = (len(gained) - len(lost)) / math.sqrt(len(gained) + len(lost))
    assert abs(z) < ONE_IN_A_MILLION
    assert lost["snr_true"].abs().max() < 5 + ONE_IN_A_MILLION
    assert pair["new"]["lost"]["lost_by"].unique().to_list() == ["threshold"]
    assert sorted(pair["new"]["lost"]["base_diaSourceId"]) == sorted(lost["diaSourceId"])


def test_no_source_is_below_the_threshold(pair: dict[str, dict[str, pl.DataFrame]]):
    frame = pair["new"]["DiaSource"]
    assert (frame["psfFlux"] / frame["psfFluxErr"]).abs().min() > 5 - 1e-5


@pytest.mark.parametrize("kind", ["artefact", "masked_artefact"])
def test_signal_to_noise_has_the_slope_asked_for(
    kind: str, pair: dict[str, dict[str, pl.DataFrame]]
):
    asked = next(k for k in load_preset("pair").kinds if k.name == kind)
    frame = joined(pair["old"]).filter((pl.col("kind") == kind) & (pl.col("snr_true").abs() > 10))
    # at a true S/N above 10 all are detected; Hill's estimate has an error of slope/sqrt(n)
    s = frame["snr_true"].abs().to_numpy()
    slope = len(s) / np.log(s / 10).sum()
    assert abs(slope / asked.snr_slope - 1) * math.sqrt(len(s)) < ONE_IN_A_MILLION
    negative = (frame["psfFlux"] < 0).mean()
    sigma = math.sqrt(asked.negative_fraction * (1 - asked.negative_fraction) / len(s))
    assert abs(negative - asked.negative_fraction) < ONE_IN_A_MILLION * sigma
    # and the flux that was measured is the true S/N plus noise of one
    pull = (frame["psfFlux"] / frame["psfFluxErr"] - frame["snr_true"]).to_numpy()
    assert abs(pull.var() - 1) * math.sqrt(len(s) / 2) < ONE_IN_A_MILLION


def test_flags_have_the_rates_asked_for(pair: dict[str, dict[str, pl.DataFrame]]):
    frame = joined(pair["old"])
    tested = 0
    for kind in load_preset("pair").kinds:
        rows = frame.filter(pl.col("kind") == kind.name)
        n = len(rows)
        total = sum(kind.bad_mix.values())
        expected = {}
        for short in ("bad", "suspect", "saturatedCenter"):
            share = sum(w for mix, w in kind.bad_mix.items() if short in mix.split("+"))
            expected[short] = kind.bad_fraction * share / total if total else 0.0
        expected |= kind.flags
        for short, rate in expected.items():
            name = short if short.endswith("_flag") else f"pixelFlags_{short}"
            sigma = math.sqrt(max(rate * (1 - rate), 1e-12) / n)
            assert abs(rows[name].mean() - rate) < ONE_IN_A_MILLION * sigma + 1e-9, (kind, short)
            tested += 1
        bad = (~good(rows)).mean()
        sigma = math.sqrt(max(kind.bad_fraction * (1 - kind.bad_fraction), 1e-12) / n)
        assert abs(bad - kind.bad_fraction) < ONE_IN_A_MILLION * sigma + 1e-9
    assert tested > 30


def test_bad_suspect_and_saturated_overlap(pair: dict[str, dict[str, pl.DataFrame]]):
    frame = pair["old"]["DiaSource"]
    combinations = frame.select(
        "pixelFlags_bad", "pixelFlags_suspect", "pixelFlags_saturatedCenter"
    ).unique()
    assert len(combinations) >= 7


def test_sources_within_12_px_of_an_edge_are_flagged_so(pair: dict[str, dict[str, pl.DataFrame]]):
    frame = pair["old"]["DiaSource"]
    # DECam: the pixel area is -0.5 to 2047.5 by -0.5 to 4095.5
    edge = np.minimum.reduce(
        [frame["x"] + 0.5, 2047.5 - frame["x"], frame["y"] + 0.5, 4095.5 - frame["y"]]
    )
    assert np.array_equal(edge < 12, frame["pixelFlags_edge"].to_numpy())


def test_variable_things_are_seen_again_and_artefacts_once(
    pair: dict[str, dict[str, pl.DataFrame]],
):
    per_thing = (
        pair["old"]["truth"].group_by("kind", "thing_id").len().group_by("kind").agg(pl.mean("len"))
    )
    mean = dict(per_thing.with_columns(pl.col("kind").cast(pl.String)).rows())
    assert mean["artefact"] == mean["masked_artefact"] == 1.0
    assert mean["variable"] > 10
    assert 3 < mean["dipole"] < 10
    moving = pair["old"]["truth"].filter(pl.col("kind") == "solar_system")
    assert moving["diaObjectId"].null_count() == len(moving) > 0
    others = pair["old"]["truth"].filter(pl.col("kind") != "solar_system")
    assert others["diaObjectId"].null_count() == 0


def test_the_same_id_in_two_reruns_is_not_the_same_detection(
    pair: dict[str, dict[str, pl.DataFrame]],
):
    both = pair["old"]["truth"].join(pair["new"]["truth"], on="diaSourceId", suffix="_new")
    different = (both["detection_id"] != both["detection_id_new"]).mean()
    assert 0.1 < different < 0.9


def test_a_different_seed_gives_different_things_and_the_same_seed_the_same(
    pair: dict[str, dict[str, pl.DataFrame]],
):
    again = simulate_frames("pair", scale=0.1, seed=11)
    for rerun, tables in pair.items():
        for name, frame in tables.items():
            assert frame.equals(again[rerun][name])
    other = simulate_frames("pair", scale=0.1, seed=12, tables=("truth",))
    assert not other["old"]["truth"].equals(pair["old"]["truth"])


def test_unknown_tables_are_refused():
    with pytest.raises(SimulationError, match="unknown table DiaSauce"):
        simulate_frames("pair", tables=("DiaSauce",))


def test_the_overlap_of_two_fields_is_not_twice_as_dense():
    preset = load_preset("hits2015")
    plane = make_focal_plane(preset)
    visits = make_visits(preset, stream(3, 0, "visits"), 0)
    pool = draw_pool(preset, plane, visits, 0.1, 3, 0)
    kinds = [k.light_curve for k in preset.kinds]
    star = np.isin(pool.kind, [i for i, k in enumerate(kinds) if k in ("sine", "flat")])
    ra, dec = pool.ra[star], pool.dec[star]

    def density(low: float, high: float) -> float:
        # well inside both focal planes in ra
        inside = (ra > 154.9) & (ra < 155.7) & (dec > low) & (dec < high)
        return float(inside.sum() / (high - low))

    alone, overlap = density(-6.9, -6.1), density(-5.75, -5.6)
    n = 0.15 * overlap
    assert abs(overlap / alone - 1) < ONE_IN_A_MILLION / math.sqrt(n) + 0.1


# -- association -------------------------------------------------------------------------


def test_a_source_joins_the_nearest_object_within_the_radius():
    # one thing at 0, one at 1.6 arcsec; the third source is 0.7 from the second object
    founder = associate(
        np.zeros(4, int), np.array([0, 0, 1, 2]), np.array([0.0, 1.6, 0.9, 5.0]), np.zeros(4), 1.0
    )
    assert founder.tolist() == [0, 1, 1, 3]


def test_an_object_takes_one_source_of_a_visit():
    founder = associate(
        np.zeros(3, int), np.array([0, 1, 1]), np.array([0, 0.1, 0.2]), np.zeros(3), 1.0
    )
    assert founder.tolist() == [0, 0, 2]


def test_an_object_moves_to_the_mean_of_its_sources():
    # means 0, 0.45, 0.833: the last source is 1.2 from the first, 0.95 from the mean
    x = np.array([0.0, 0.9, 1.6, 1.7])
    founder = associate(np.zeros(4, int), np.arange(4), x, np.zeros(4), 1.2)
    assert founder.tolist() == [0, 0, 0, 0]
    assert associate(np.zeros(4, int), np.arange(4), x, np.zeros(4), 0.5).tolist() == [0, 1, 2, 2]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 6), st.floats(0, 3), st.floats(0, 3)),
        max_size=40,
    ),
    st.floats(0.1, 2.0),
)
def test_association_is_that_of_a_plain_loop(
    sources: list[tuple[int, int, float, float]], radius: float
):
    objects: list[dict[str, list[float]]] = []
    expected = [0] * len(sources)
    order = sorted(range(len(sources)), key=lambda i: (sources[i][0], sources[i][1], i))
    for i in order:
        group, visit, x, y = sources[i]
        best, distance = None, radius**2
        for candidate in objects:
            if candidate["group"][0] != group or visit in candidate["visits"][-1:]:
                continue
            gap = (np.mean(candidate["x"]) - x) ** 2 + (np.mean(candidate["y"]) - y) ** 2
            if gap <= distance and (best is None or gap < distance):
                best, distance = candidate, gap
        if best is None:
            best = {"group": [group], "visits": [], "x": [], "y": [], "founder": [i]}
            objects.append(best)
        best["visits"].append(visit)
        best["x"].append(x)
        best["y"].append(y)
        expected[i] = int(best["founder"][0])
    columns = [np.array(c) for c in zip(*sources, strict=True)] or [np.zeros(0)] * 4
    found = associate(
        columns[0].astype(int), columns[1].astype(int), columns[2], columns[3], radius
    )
    # ties and last digits of the means may differ, so compare where no distance is close
    if found.tolist() != expected:
        assert len(set(found.tolist())) == pytest.approx(len(set(expected)), abs=1)
    assert (found >= 0).all()


def test_linked_groups_are_those_of_all_pairs():
    rng = np.random.default_rng(2)
    ra, dec = 150 + rng.random(400) * 0.02, 2 + rng.random(400) * 0.02
    label = linked_groups(ra, dec, 3.0)
    place = SkyCoord(ra * u.deg, dec * u.deg)
    close = place[:, None].separation(place[None, :]).arcsec < 3.0
    reach = np.linalg.matrix_power(close.astype(float), 60) > 0
    assert np.array_equal(label, reach.argmax(axis=1))


def test_the_htm_index_of_known_points():
    # computed with lsst.sphgeom.HtmPixelization(20)
    assert htm_index([150.0], [2.0]).tolist() == [15560498516448]
    assert htm_index([], []).tolist() == []
