"""Edge excess: areas from the geometry, ratios by hand, intervals from resampled units."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from campaign.synthetic import Cause, make_pair
from hypothesis import given, settings
from hypothesis import strategies as st

from hitsduck.edges import SIDES, edge_areas, edge_excess, edge_excess_by
from hitsduck.errors import MatchError, SchemaError
from hitsduck.resampling import (
    double_ratios,
    draw_weights,
    resampling_units,
    two_way_widening,
)


def chip(width: float, height: float, detector: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "detector": [detector],
            "left_px": [-0.5],
            "right_px": [width - 0.5],
            "bottom_px": [-0.5],
            "top_px": [height - 0.5],
        }
    )


def rows(*groups: tuple[str, str, int, int, float | None, int]) -> pl.DataFrame:
    """Sources from (side, status, visit, detector, edge distance, how many)."""
    return pl.DataFrame(
        [
            {
                "side": side,
                "status": status,
                "visit": visit,
                "detector": detector,
                "edge_distance_px": distance,
            }
            for side, status, visit, detector, distance, number in groups
            for _ in range(number)
        ],
        schema_overrides={"edge_distance_px": pl.Float64},
    )


def images(visits: range, detectors: range = range(1, 2)) -> pl.DataFrame:
    return pl.DataFrame(
        [(v, d) for v in visits for d in detectors], schema=["visit", "detector"], orient="row"
    )


# A frame of 10 px in 100 x 60: 6000 - 80 * 40 = 2800 px^2 within, 3200 inside.
GEOMETRY = chip(100, 60)
SMALL = rows(
    ("left", "matched", 1, 1, 3.0, 28),
    ("left", "matched", 1, 1, 20.0, 32),
    ("left", "gone", 1, 1, 4.0, 1),
    ("left", "gone", 1, 1, 25.0, 4),
    ("right", "matched", 1, 1, 3.0, 28),
    ("right", "matched", 1, 1, 20.0, 32),
    ("right", "reflagged", 1, 1, 9.0, 2),
    ("right", "new", 1, 1, 5.0, 14),
    ("right", "new", 1, 1, 10.0, 4),
    ("right", "new", 1, 1, None, 2),
)


def test_areas_of_the_sides_are_trapezoids_and_triangles():
    areas = edge_areas(GEOMETRY, within_px=10)
    # Left and right, of length 60: 10 * (60 - 10) = 500 within, and in all, to the depth
    # of 30, 30 * (60 - 30) = 900, a triangle; bottom and top, of length 100:
    # 10 * (100 - 10) = 900, and in all 30 * (100 - 30) = 2100, a trapezoid.
    assert areas.rows() == [
        (1, "left", 500.0, 400.0),
        (1, "right", 500.0, 400.0),
        (1, "bottom", 900.0, 1200.0),
        (1, "top", 900.0, 1200.0),
    ]
    assert areas["area_within_px2"].sum() == 100 * 60 - 80 * 40


@settings(max_examples=50, deadline=None)
@given(
    width=st.integers(2, 200),
    height=st.integers(2, 200),
    within=st.floats(0.5, 150),
    seed=st.integers(0, 2**32 - 1),
)
def test_areas_are_those_of_random_points(width, height, within, seed):
    x, y = np.random.default_rng(seed).random((2, 40_000)) * [[width], [height]]
    to_side = np.stack([x, width - x, y, height - y])
    areas = edge_areas(chip(width, height), within_px=within)
    for code, side in enumerate(SIDES):
        nearest = to_side.argmin(axis=0) == code
        near = nearest & (to_side[code] < within)
        row = areas.row(by_predicate=pl.col("edge_side") == side, named=True)
        # standard error of a share of 40,000 points is at most 0.0025
        assert row["area_within_px2"] / (width * height) == pytest.approx(near.mean(), abs=0.013)
        total = row["area_within_px2"] + row["area_interior_px2"]
        assert total / (width * height) == pytest.approx(nearest.mean(), abs=0.013)


def test_numbers_by_hand():
    found = edge_excess(SMALL, geometry=GEOMETRY, images=images(range(1, 2)), within_px=10)
    assert found is not None
    assert found.to_dict() == {
        "within_px": 10.0,
        "n_new": 20,  # 14 + 4, and 2 of unknown distance
        "n_new_within": 14,  # 10.0 px is not nearer than 10
        "share_of_new": 0.7,
        "area_share": pytest.approx(2800 / 6000),
        # right 28 + 14 + 2 = 44 within of 82, left 29 of 65: 15 of 17
        "share_of_increase": pytest.approx(15 / 17),
        "density_ratio_new": pytest.approx((14 / 2800) / (4 / 3200)),  # 4
        "density_ratio_matched": pytest.approx((28 / 2800) / (32 / 3200)),  # 1
        "excess_ratio": pytest.approx(4.0),
        "ci_low": None,
        "ci_high": None,
    }
    assert found.p_value is None
    assert found.reason == "1 visits with 1 images: fewer than 10 units to resample"


def test_share_of_increase_is_null_without_increase():
    swapped = SMALL.with_columns(
        pl.col("side").replace_strict({"left": "right", "right": "left"}),
        pl.col("status").replace({"new": "gone", "gone": "new"}),
    )
    found = edge_excess(swapped, geometry=GEOMETRY, images=images(range(1, 2)), within_px=10)
    assert found is not None
    assert found.share_of_increase is None
    assert found.n_new == 5


def test_without_interior_there_is_no_ratio():
    found = edge_excess(SMALL, geometry=GEOMETRY, images=images(range(1, 2)), within_px=30)
    assert found is not None
    assert found.area_share == 1.0
    assert (found.density_ratio_new, found.excess_ratio, found.ci_low) == (None, None, None)
    assert found.reason == "no interior: every pixel is within that distance of an edge"


def test_without_geometry_there_is_no_result():
    assert edge_excess(SMALL, geometry=chip(9, 9, 7), images=images(range(1, 2))) is None


def test_images_of_unknown_detectors_count_only_as_new():
    more = pl.concat([SMALL, rows(("right", "new", 1, 9, 1.0, 5))])
    both = pl.concat([images(range(1, 2)), images(range(1, 2), range(9, 10))])
    found = edge_excess(more, geometry=GEOMETRY, images=both, within_px=10)
    assert found is not None
    assert (found.n_new, found.n_new_within) == (25, 14)
    assert found.excess_ratio == pytest.approx(4.0)


def test_by_side_and_by_detector_add_up():
    pair = make_pair(1, (Cause("edge"),), n_sources=6000)
    args = {"geometry": pair.geometry, "images": pair.images, "within_px": 64.0}
    whole = edge_excess(pair.sources, **args)
    assert whole is not None
    for by, n in (("edge_side", 4), ("detector", 60)):
        parts = edge_excess_by(pair.sources, by=by, **args)
        assert parts.height == n
        assert parts["n_new"].sum() == whole.n_new
        assert parts["n_new_within"].sum() == whole.n_new_within
    sides = edge_excess_by(pair.sources, by="edge_side", **args)
    assert sides["edge_side"].to_list() == list(SIDES)
    assert (sides["ci_low"] > 2).all()
    # 64 * (4096 - 64) of left's 1024 * (4096 - 1024): trapezoids
    assert sides["area_share"][0] == pytest.approx(64 * 4032 / (1024 * 3072))


def test_one_side_only_is_told_by_side():
    pair = make_pair(2, n_sources=6000)
    planted = pair.sources.filter(
        (pl.col("side") == "right")
        & (pl.col("edge_side") == "top")
        & (pl.col("edge_distance_px") < 64)
    ).with_columns(pl.lit("new").alias("status"), pl.lit(None, pl.Int64).alias("match_id"))
    sides = edge_excess_by(
        pl.concat([pair.sources, planted], how="vertical_relaxed"),
        by="edge_side",
        geometry=pair.geometry,
        images=pair.images,
        within_px=64,
    )
    assert sides.filter(pl.col("ci_low") > 2)["edge_side"].to_list() == ["top"]


def test_visits_are_resampled_and_images_where_they_are_few():
    assert resampling_units(images(range(20), range(1, 3))).kind == "visit"
    few = resampling_units(images(range(19), range(1, 3)))
    assert (few.kind, len(few), few.reason) == ("image", 38, None)
    fewer = resampling_units(images(range(3), range(1, 4)))
    assert fewer.reason == "3 visits with 9 images: fewer than 10 units to resample"
    assert resampling_units(images(range(5), range(1, 3))).reason is None


def test_interval_is_that_of_a_plain_loop():
    rng = np.random.default_rng(5)
    counts = rng.poisson([12, 30, 20, 100], (25, 1, 4)).astype(float)
    found = double_ratios(counts, n_resamples=400, seed=8)
    parts = counts[:, 0]

    def log_ratio_and_error(chosen: np.ndarray) -> tuple[float, float]:
        a, b, c, d = chosen.sum(axis=0)
        influence = chosen @ np.array([1 / a, -1 / b, -1 / c, 1 / d])
        n = len(parts)
        return np.log(a * d / (b * c)), np.sqrt(n / (n - 1) * (influence**2).sum())

    log_ratio, error = log_ratio_and_error(parts)
    pivots = []
    for weights in draw_weights(25, n_resamples=400, seed=8):
        again, its_error = log_ratio_and_error(np.repeat(parts, weights.astype(int), axis=0))
        pivots.append((again - log_ratio) / its_error)
    first, last = np.quantile(pivots, [0.025, 0.975])
    assert found.ratio[0] == pytest.approx(np.exp(log_ratio))
    assert found.low[0] == pytest.approx(np.exp(log_ratio - last * error))
    assert found.high[0] == pytest.approx(np.exp(log_ratio - first * error))
    assert found.reasons == [None]
    beyond = sum(abs(p) >= abs(log_ratio / error) for p in pivots)
    assert found.p_value[0] == pytest.approx((1 + beyond) / 401)


def test_every_resample_draws_as_many_units_as_there_are():
    weights = draw_weights(30, n_resamples=500, seed=1)
    assert (weights.sum(axis=1) == 30).all()
    # each unit is expected once per resample; 500 draws of a Poisson-like number
    assert weights.mean(axis=0) == pytest.approx(1.0, abs=5 / np.sqrt(500))


@pytest.mark.parametrize("n_units", [10, 25, 84])
def test_interval_covers_as_often_as_it_says(n_units):
    # 400 experiments; 95% coverage has a standard error of 1.1%, and ten units of
    # overdispersed counts are allowed to fall short by a little
    rng = np.random.default_rng(n_units)
    size = rng.gamma(4, 1 / 4, (400, n_units, 1))
    counts = rng.poisson(size * np.array([8.0, 20, 30, 300]))
    truth = (8 / 20) / (30 / 300)
    covered = 0
    for each in counts:
        found = double_ratios(each[:, None].astype(float), n_resamples=500)
        covered += found.low[0] <= truth <= found.high[0]
    assert 0.91 <= covered / 400 <= 0.985


def in_two_ways(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From (visits, detectors, 4): by visit, by detector, by image, of one group."""
    return (
        counts.sum(axis=1)[:, None],
        counts.sum(axis=0)[:, None],
        counts.reshape(-1, 1, 4),
    )


def test_what_a_detector_shares_over_all_visits_widens_by_the_two_way_variance():
    rng = np.random.default_rng(11)
    mean = np.array([3.0, 5, 6, 60]) * rng.gamma(20, 1 / 20, (1, 12, 4))
    counts = rng.poisson(np.broadcast_to(mean, (25, 12, 4))).astype(float)
    a, b, c, d = counts.sum(axis=(0, 1))
    influence = counts @ np.array([1 / a, -1 / b, -1 / c, 1 / d])

    def variance(sums: np.ndarray) -> float:
        return sums.size / (sums.size - 1) * (sums**2).sum()

    by_visit, by_detector = variance(influence.sum(axis=1)), variance(influence.sum(axis=0))
    expected = np.sqrt((by_visit + by_detector - variance(influence)) / by_visit)
    assert expected > 1.5
    assert two_way_widening(*in_two_ways(counts)) == pytest.approx([expected])


def test_one_detector_and_no_source_widen_nothing():
    counts = np.random.default_rng(12).poisson(9.0, (25, 1, 4)).astype(float)
    assert two_way_widening(*in_two_ways(counts)).tolist() == [1.0]
    assert two_way_widening(*in_two_ways(0 * counts)).tolist() == [1.0]


def test_widening_stretches_both_sides_and_the_p_value():
    counts = np.random.default_rng(13).poisson([12, 30, 30, 100], (25, 1, 4)).astype(float)
    plain = double_ratios(counts)
    wide = double_ratios(counts, widening=np.array([2.0]))
    # in the logarithm each side is twice as far from the ratio
    for end in ("low", "high"):
        log_side = np.log(getattr(plain, end) / plain.ratio)
        assert np.log(getattr(wide, end) / wide.ratio) == pytest.approx(2 * log_side)
    assert wide.p_value[0] > plain.p_value[0]


def test_interval_covers_where_the_same_stars_come_back_in_every_visit():
    # matched sources of 15 detectors: their density near the edge differs from detector to
    # detector by 40%, in all visits alike; 300 experiments, standard error of coverage 1.3%.
    # Fifteen clusters underestimate their variance a little; without widening half are missed.
    rng = np.random.default_rng(14)
    truth = (8 / 20) / (30 / 300)
    covered = {False: 0, True: 0}
    for _ in range(300):
        star = np.ones((1, 15, 4))
        star[..., 2] = rng.gamma(1 / 0.16, 0.16, (1, 15))
        counts = rng.poisson(np.array([8.0, 20, 30, 300]) / 10 * np.repeat(star, 40, axis=0))
        by = in_two_ways(counts.astype(float))
        for is_wide in covered:
            widening = two_way_widening(*by) if is_wide else None
            found = double_ratios(by[0], widening=widening, n_resamples=300)
            covered[is_wide] += found.low[0] <= truth <= found.high[0]
    assert covered[False] / 300 < 0.8
    assert 0.88 <= covered[True] / 300 <= 0.985


def test_too_few_sources_have_no_interval():
    counts = np.ones((12, 1, 4))
    counts[4:, 0, 0] = 0
    counts[:, 0, 3] = 9
    found = double_ratios(counts)
    # 4 / 12 over 12 / 108
    assert found.ratio[0] == pytest.approx(3.0)
    assert np.isnan(found.low[0])
    assert found.reasons == ["4 new sources within, in 4 units: too few for an interval"]


@pytest.mark.parametrize("empty", [1, 2, 3])
def test_nothing_to_divide_by_gives_no_ratio(empty):
    counts = np.ones((12, 1, 4))
    counts[:, 0, empty] = 0
    assert np.isnan(double_ratios(counts).ratio[0])


def test_no_new_source_within_is_a_ratio_of_zero_without_interval():
    counts = np.ones((12, 1, 4))
    counts[:, 0, 0] = 0
    found = double_ratios(counts)
    assert (found.ratio[0], found.reasons) == (
        0.0,
        ["0 new sources within, in 0 units: too few for an interval"],
    )


def test_result_does_not_depend_on_the_order_of_rows():
    pair = make_pair(3, (Cause("edge"),), n_sources=4000)
    mixed = pair.sources.sample(fraction=1.0, shuffle=True, seed=1)
    args = {"geometry": pair.geometry, "images": pair.images.reverse()}
    assert edge_excess(pair.sources, **args) == edge_excess(mixed, **args)


def test_planted_excess_is_covered():
    pair = make_pair(4, (Cause("edge"),), n_sources=20_000)
    found = edge_excess(pair.sources, geometry=pair.geometry, images=pair.images, within_px=64)
    assert found is not None
    background = found.n_new - pair.planted
    share = found.area_share
    density_within = (background * share + pair.planted) / share
    density_inside = background * (1 - share) / (1 - share)
    assert found.ci_low < density_within / density_inside < found.ci_high
    assert found.p_value == pytest.approx(1 / 2001)


def test_missing_columns_are_all_named():
    with pytest.raises(SchemaError, match="the sources lack status, edge_distance_px; they have"):
        edge_excess(
            SMALL.drop("status", "edge_distance_px"), geometry=GEOMETRY, images=images(range(1, 2))
        )
    with pytest.raises(SchemaError, match="the geometry lack top_px"):
        edge_excess(SMALL, geometry=GEOMETRY.drop("top_px"), images=images(range(1, 2)))
    with pytest.raises(SchemaError, match="edge_side"):
        edge_excess_by(SMALL, by="edge_side", geometry=GEOMETRY, images=images(range(1, 2)))


def test_sources_on_other_images_are_an_error():
    with pytest.raises(MatchError, match="147 sources lie on images that are not among"):
        edge_excess(SMALL, geometry=GEOMETRY, images=images(range(2, 3)))


@pytest.mark.parametrize("within_px", [0.0, -1.0, float("nan"), float("inf"), "near", True])
def test_width_must_be_positive(within_px):
    with pytest.raises(MatchError, match=r"above 0 \(--edge-within\)"):
        edge_excess(SMALL, geometry=GEOMETRY, images=images(range(1, 2)), within_px=within_px)


@pytest.mark.parametrize(
    "options",
    [{"n_resamples": n} for n in (0, 99, 500.0, "many")] + [{"seed": s} for s in (-1, 1.5, None)],
    ids=str,
)
def test_impossible_resampling_is_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(MatchError, match=f"^{name} is {value!r}; give a whole number"):
        edge_excess(SMALL, geometry=GEOMETRY, images=images(range(1, 2)), **options)


@pytest.mark.parametrize("by", ["side", 5, None])
def test_an_edge_excess_is_told_by_side_or_detector_alone(by):
    with pytest.raises(MatchError, match=f"by is {by!r}; it is one of edge_side, detector"):
        edge_excess_by(SMALL, by=by, geometry=GEOMETRY, images=images(range(1, 2)))
