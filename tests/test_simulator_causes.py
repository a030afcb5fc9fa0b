"""Every planted cause shows in the truth and in the data, by the amount asked for.

Statistical tests allow what chance exceeds in one of a million runs (4.9 sigma).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from hitsduck.errors import SimulationError
from hitsduck.simulator import causes as planted
from hitsduck.simulator import simulate_frames
from hitsduck.simulator.causes import CAUSE_KINDS, Cause, cause_from_mapping

ONE_IN_A_MILLION = 4.9
Frames = dict[str, dict[str, pl.DataFrame]]
SCALE, SEED = 0.05, 21


def run(*causes: Cause) -> Frames:
    return simulate_frames("pair", causes=list(causes), scale=SCALE, seed=SEED)


@pytest.fixture(scope="module")
def null() -> Frames:
    return run()


def with_truth(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    truth = tables["truth"].drop("diaObjectId", "visit", "detector")
    return tables["DiaSource"].join(truth, on="diaSourceId", validate="1:1")


def edge_distance(frame: pl.DataFrame) -> np.ndarray:
    """Return the distance (pixel) to the edge of a DECam CCD (2048 x 4096)."""
    x, y = frame["x"].to_numpy(), frame["y"].to_numpy()
    return np.minimum.reduce([x + 0.5, 2047.5 - x, y + 0.5, 4095.5 - y])


def binomial_z(found: int, n: int, rate: float) -> float:
    return abs(found - n * rate) / math.sqrt(max(n * rate * (1 - rate), 1e-12))


def current(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return tables["DiaObject"].filter(pl.col("validityEndMjdTai").is_null())


def test_nothing_planted_is_the_null_pair(null: Frames):
    tables = run(planted.none())
    assert tables["new"]["DiaSource"].equals(null["new"]["DiaSource"])
    assert set(null["new"]["truth"]["cause"]) == {"none"}
    assert set(null["new"]["truth"]["object_cause"]) == {"none"}
    assert set(null["new"]["truth"]["changes"]) == {""}


@pytest.mark.parametrize(
    "cause",
    [
        planted.excess(0.05),
        planted.edge_excess(48, 0.05),
        planted.ccd(10, 0.02),
        planted.night(2, 0.03),
        planted.column_band(3, 0.02),
    ],
    ids=lambda cause: cause.kind,
)
def test_an_excess_adds_what_was_asked_in_its_region_and_nothing_elsewhere(
    cause: Cause, null: Frames
):
    tables = run(cause)
    assert tables["old"]["DiaSource"].equals(null["old"]["DiaSource"])
    frame = with_truth(tables["new"])
    new = frame.filter(pl.col("cause") == cause.kind)
    # exactly the fraction of the sources of the older rerun
    assert len(new) == round(cause.fraction * len(tables["old"]["DiaSource"]))
    assert set(new["cause_rerun"]) == {"new"}
    bad = new["pixelFlags_bad"] | new["pixelFlags_suspect"] | new["pixelFlags_saturatedCenter"]
    assert int((~bad).sum()) == round(len(new) * cause.good_fraction)
    if cause.kind == "edge_excess":
        assert edge_distance(new).max() < cause.within_px + 3
    elif cause.kind == "ccd":
        assert set(new["detector"]) == {cause.detector}
    elif cause.kind == "night":
        assert (new["midpointMjdTai"] - 57073.0).is_between(0, 1).all()
    elif cause.kind == "column_band":
        assert new["x"].is_between(3 * 128 - 3, 4 * 128 + 3).all()
    # all else is the null pair
    rest = frame.filter(pl.col("cause") == "none")["detection_id"]
    assert sorted(rest) == sorted(null["new"]["truth"]["detection_id"])


def test_an_edge_excess_is_uniform_within_the_frame():
    frame = with_truth(run(planted.edge_excess(64, 0.2))["new"])
    depth = edge_distance(frame.filter(pl.col("cause") == "edge_excess"))
    # the frame of width w has w * (2048 + 4096 - 2 w) * 2 pixels
    inner = 32 * (2048 + 4096 - 64) / (64 * (2048 + 4096 - 128))
    assert binomial_z(int((depth < 32).sum()), len(depth), inner) < ONE_IN_A_MILLION


@pytest.mark.parametrize(
    ("cause", "inside"),
    [
        (planted.ccd(10, -0.5), pl.col("detector") == 10),
        (planted.night(2, -0.3), pl.col("midpointMjdTai").is_between(57073, 57074)),
        (planted.excess(-0.1), pl.lit(value=True)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_negative_excess_loses_that_share_of_the_region(
    cause: Cause, inside: pl.Expr, null: Frames
):
    tables = run(cause)
    there = null["new"]["DiaSource"].filter(inside)
    lost = tables["new"]["lost"].filter(pl.col("lost_by") == cause.kind)
    gone = len(null["new"]["DiaSource"]) - len(tables["new"]["DiaSource"])
    assert binomial_z(gone, len(there), -cause.fraction) < ONE_IN_A_MILLION
    # those of them that the older rerun had are named, with their id there
    assert 0 < len(lost) <= gone
    old = tables["old"]["truth"].join(
        lost, left_on="diaSourceId", right_on="base_diaSourceId", suffix="_lost"
    )
    assert old["detection_id"].equals(old["detection_id_lost"])
    assert len(old) == len(lost)


def test_a_flux_loss_follows_its_formula(null: Frames):
    tables = run(planted.flux_loss(0.6, snr_knee=8.0))
    gone = null["new"]["truth"].join(tables["new"]["truth"], on="detection_id", how="anti")
    frame = with_truth(null["new"]).with_columns(
        (pl.col("psfFlux") / pl.col("psfFluxErr")).abs().alias("s")
    )
    chance = 0.6 / (1 + np.exp(np.minimum(frame["s"].to_numpy(), 60.0) - 8.0))
    lost = frame["detection_id"].is_in(gone["detection_id"].implode()).to_numpy()
    for low, high in ((5, 6), (6, 8), (8, 10), (10, 1e9)):
        here = ((frame["s"] >= low) & (frame["s"] < high)).to_numpy()
        p = chance[here]
        z = (lost[here].sum() - p.sum()) / math.sqrt((p * (1 - p)).sum())
        assert abs(z) < ONE_IN_A_MILLION
    assert set(tables["new"]["lost"]["lost_by"]) == {"flux_loss", "threshold"}


@pytest.mark.parametrize("rate", [0.1, -0.4])
def test_a_flag_rate_changes_flags_and_no_source(rate: float, null: Frames):
    tables = run(planted.flag_rate("pixelFlags_suspect", rate))
    before, after = null["new"]["DiaSource"], tables["new"]["DiaSource"]
    assert before["diaSourceId"].equals(after["diaSourceId"])
    assert before["psfFlux"].equals(after["psfFlux"])
    had, has = before["pixelFlags_suspect"], after["pixelFlags_suspect"]
    candidates = ~had if rate > 0 else had
    assert binomial_z(int((had != has).sum()), int(candidates.sum()), abs(rate)) < ONE_IN_A_MILLION
    assert not (had != has).filter(~candidates).any()
    changed = tables["new"]["truth"]["changes"] == "flag_rate"
    assert changed.equals(had != has, null_equal=True) or (changed == (had != has)).all()


def test_a_zero_point_shift_scales_all_fluxes(null: Frames):
    tables = run(planted.zero_point(0.1))
    # 10 ** (-0.4 * 0.1)
    factor = 0.9120108393559098
    for name in ("psfFlux", "psfFluxErr", "apFlux", "scienceFlux", "templateFlux"):
        ratio = (tables["new"]["DiaSource"][name] / null["new"]["DiaSource"][name]).to_numpy()
        assert np.median(ratio) == pytest.approx(factor, rel=1e-6)
        assert np.quantile(ratio, [0.001, 0.999]) == pytest.approx(factor, rel=1e-3)
    assert set(tables["new"]["truth"]["changes"]) == {"zero_point"}


def test_duplicates_lie_on_their_originals(null: Frames):
    tables = run(planted.duplicates(0.05))
    frame = with_truth(tables["new"])
    copies = frame.filter(pl.col("cause") == "duplicates")
    assert binomial_z(len(copies), len(null["new"]["DiaSource"]), 0.05) < ONE_IN_A_MILLION
    originals = frame.filter(pl.col("cause") == "none")
    pairs = copies.join(originals, on=["thing_id", "visit", "detector"], suffix="_first")
    assert len(pairs) == len(copies)
    gap = np.hypot(pairs["x"] - pairs["x_first"], pairs["y"] - pairs["y_first"])
    # 0.3 px on each axis: Rayleigh, median 0.3 * sqrt(2 ln 2)
    assert np.median(gap) == pytest.approx(0.3 * math.sqrt(2 * math.log(2)), rel=0.1)
    # an object takes one source of a visit, so no pair shares an object
    assert not (pairs["diaObjectId"] == pairs["diaObjectId_first"]).fill_null(value=False).any()


def test_a_smaller_radius_makes_more_and_smaller_objects_of_the_same_sources(null: Frames):
    tables = run(planted.association_radius(0.4))
    assert tables["new"]["DiaSource"]["ra"].equals(null["new"]["DiaSource"]["ra"])
    before, after = current(null["new"]), current(tables["new"])
    assert len(after) > 1.1 * len(before)
    assert after["nDiaSources"].mean() < before["nDiaSources"].mean()
    truth = tables["new"]["truth"]
    split = truth.filter(pl.col("object_cause") == "association_radius")["diaObjectId"]
    assert split.n_unique() == pytest.approx(len(after) - len(before), rel=0.05)
    # no object is split only in part of its sources
    per_object = truth.drop_nulls("diaObjectId").group_by("diaObjectId")
    assert per_object.agg(pl.col("object_cause").n_unique())["object_cause"].max() == 1


def test_a_larger_radius_makes_fewer_objects(null: Frames):
    assert len(current(run(planted.association_radius(1.6))["new"])) < len(current(null["new"]))


def test_missing_images_have_no_source_at_all(null: Frames):
    tables = simulate_frames(
        "pair",
        causes=[planted.missing_images(300), planted.excess(0.5)],
        scale=SCALE,
        seed=SEED,
        tables=("DiaSource", "DetectorVisitProcessingSummary", "DiaForcedSource", "lost"),
    )
    image = ["visit", "detector"]
    processed = tables["new"]["DetectorVisitProcessingSummary"].select(image)
    assert len(tables["old"]["DetectorVisitProcessingSummary"]) - len(processed) == 300
    for table in ("DiaSource", "DiaForcedSource"):
        outside = tables["new"][table].join(processed, on=image, how="anti")
        assert len(outside) == 0
    lost = tables["new"]["lost"].filter(pl.col("lost_by") == "missing_images")
    assert len(lost.join(processed, on=image, how="anti")) == len(lost) > 500


def test_causes_compose(null: Frames):
    tables = run(
        planted.edge_excess(64, 0.04),
        planted.night(1, 0.02),
        planted.flag_rate("pixelFlags_bad", 0.05),
        planted.zero_point(-0.05),
        planted.association_radius(0.5),
        planted.duplicates(0.01),
    )
    truth = tables["new"]["truth"]
    assert {"none", "edge_excess", "night", "duplicates"} == set(truth["cause"])
    assert {"zero_point", "flag_rate+zero_point"} == set(truth["changes"])
    assert "association_radius" in set(truth["object_cause"])


def test_a_later_rerun_inherits_what_was_planted_before(tmp_path: Any):
    frames = simulate_frames("small", scale=1.0)
    may, june = frames["May2020"]["truth"], frames["Jun2020"]["truth"]
    assert set(june["cause_rerun"].drop_nulls()) == {"May2020", "Jun2020"}
    both = may.filter(pl.col("cause") == "edge_excess").join(june, on="detection_id", how="semi")
    assert len(both) > 0.95 * (may["cause"] == "edge_excess").sum()


def test_hits2015_explains_its_counts_in_its_truth():
    frames = simulate_frames("hits2015", scale=0.05)
    april, may, june = (frames[r]["truth"] for r in ("Apr2020", "May2020", "Jun2020"))
    assert set(april["cause"]) == {"none"}
    number = dict(may.group_by(pl.col("cause").cast(pl.String)).len().rows())
    # an edge-concentrated excess, a smaller one everywhere, and a changed radius
    assert number["edge_excess"] > 1.5 * number["excess"] > 0
    split = may.filter(pl.col("object_cause") == "association_radius")["diaObjectId"].n_unique()
    grown = may["diaObjectId"].n_unique() - april["diaObjectId"].n_unique()
    assert 0.2 * grown < split < 0.8 * grown
    assert grown > len(may) - len(april)  # more new objects than new sources
    assert set(frames["May2020"]["lost"]["lost_by"]) >= {"threshold"}
    # May to June: almost nothing
    stayed = june.join(may, on="detection_id", how="semi")
    assert len(stayed) > 0.99 * len(may)
    assert set(june["object_cause"]) == {"none"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "excess", "fraction": 9}, "fraction 9 must lie between -1 and 5"),
        ({"kind": "edge_excess", "within_px": 0}, "within_px 0 must be positive"),
        ({"kind": "column_band", "band": 16}, "needs band, 0 to 15"),
        ({"kind": "night"}, "needs night"),
        ({"kind": "flag_rate", "rate": 0.1}, "needs flag"),
        ({"kind": "flux_loss", "rate": 1.5}, "rate 1.5 must lie between 0 and 1"),
        ({"kind": "association_radius"}, "arcsec 0.0 must lie between 0 and 2"),
        ({"kind": "missing_images", "n": -1}, "n -1 must not be negative"),
        ({"kind": "excess", "colour": 1}, "a cause has kind and"),
        ({"fraction": 1}, "a cause has kind and"),
    ],
)
def test_an_impossible_cause_is_refused(values: dict[str, Any], message: str):
    with pytest.raises(SimulationError, match=message):
        cause_from_mapping(values)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (planted.ccd(2, 0.1), "DECam has no working detector 2"),
        (planted.night(9, 0.1), "no night 9"),
        (planted.flag_rate("pixelFlags_wet", 0.1), "unknown flag 'pixelFlags_wet'"),
        (planted.missing_images(99_999), "n is 99999, but there are 5040 images"),
    ],
)
def test_a_cause_that_does_not_fit_the_data_is_refused(cause: Cause, message: str):
    with pytest.raises(SimulationError, match=message):
        run(cause)


def test_every_kind_of_cause_has_a_function_of_its_name():
    assert all(callable(getattr(planted, kind)) for kind in CAUSE_KINDS)
