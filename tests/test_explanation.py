"""Explanation: counts by hand, tests by a plain loop, planted causes and their consequences."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from campaign.synthetic import FIRST_NIGHT, Cause, make_pair
from scipy import stats

from hitsduck import dimensions
from hitsduck.counting import Rows, count_singles, pair_values, single_values
from hitsduck.dimensions import (
    NAMES,
    NO_MAGNITUDE,
    UNKNOWN,
    Dimension,
    build_dimensions,
    known_pairs,
    magnitudes,
)
from hitsduck.errors import MatchError, QueryError, SchemaError
from hitsduck.explanation import explain
from hitsduck.significance import Counts, false_discovery_rates, score_values
from hitsduck.wording import phrase


def frame(n: int = 1, **columns: object) -> pl.DataFrame:
    base = {"side": "left", "status": "matched", "visit": 1, "detector": 1}
    return pl.DataFrame({"_n": range(n)}).select(
        *(
            pl.Series(name, value) if isinstance(value, list) else pl.lit(value).alias(name)
            for name, value in {**base, **columns}.items()
        )
    )


def values_of(sources: pl.DataFrame, name: str, **options: object) -> list[str | None]:
    """The value of every row in one dimension."""
    (found,) = [d for d in build_dimensions(sources, **options)[0] if d.name == name]
    return [found.labels[code] if code >= 0 else None for code in found.codes]


def row_of(table: pl.DataFrame, dimension: str, value: str) -> dict[str, object]:
    return table.row(
        by_predicate=(pl.col("dimension") == dimension) & (pl.col("value") == value), named=True
    )


# Four images; detector 2 gains 6 and loses 1, one of detector 1 is only reflagged.
TINY = pl.concat(
    [
        frame(1, side=side, status=status, visit=visit, detector=detector)
        for side, status, visit, detector, number in [
            ("left", "matched", 1, 1, 6),
            ("right", "matched", 1, 1, 6),
            ("left", "matched", 2, 1, 4),
            ("right", "matched", 2, 1, 4),
            ("left", "matched", 1, 2, 5),
            ("right", "matched", 1, 2, 5),
            ("left", "gone", 2, 2, 1),
            ("right", "new", 2, 2, 6),
            ("left", "reflagged", 1, 1, 4),
        ]
        for _ in range(number)
    ]
)
TINY_IMAGES = pl.DataFrame({"visit": [1, 1, 2, 2], "detector": [1, 2, 1, 2]})


# -- the numbers of the table ------------------------------------------------------


def test_numbers_by_hand():
    found = explain(TINY, images=TINY_IMAGES)
    assert (found.n_left, found.n_right) == (20, 21)
    assert (found.n_new, found.n_gone) == (6, 1)
    assert (found.n_reflagged_left, found.n_reflagged_right) == (4, 0)
    row = row_of(found.frame, "detector", "2")
    # 6 in left, 11 in right; all grew by 1 of 20, so 6 * 0.05 = 0.3 is its share
    assert (row["n_left"], row["n_right"], row["change"]) == (6, 11, 5)
    assert row["share_of_change"] == pytest.approx(5.0)
    assert row["expected"] == pytest.approx(0.3)
    assert row["excess"] == pytest.approx(4.7)
    assert (row["change_detection"], row["change_masking"]) == (5, 0)
    other = row_of(found.frame, "detector", "1")
    assert (other["change"], other["change_detection"], other["change_masking"]) == (-4, 0, -4)


def test_few_units_have_no_p_value_and_it_says_why():
    found = explain(TINY, images=TINY_IMAGES)
    assert found.frame["p_value"].null_count() == found.frame.height
    assert found.frame["q_value"].null_count() == found.frame.height
    assert found.causes.is_empty()
    assert (found.resampling_unit, found.n_units) == ("image", 4)
    assert found.sentences() == [
        "20 to 21 sources: +1 (+5.0%); 6 new and 1 gone, 0 unflagged and 4 flagged.",
        "Nothing can be said about chance (2 visits with 4 images: fewer than 10 units to "
        "resample).",
    ]


def test_detection_and_masking_are_kept_apart():
    detection = explain(TINY, images=TINY_IMAGES, part="detection")
    masking = explain(TINY, images=TINY_IMAGES, part="masking")
    assert (detection.n_left, detection.n_right) == (16, 21)
    assert (masking.n_left, masking.n_right) == (19, 15)
    assert row_of(detection.frame, "detector", "1")["change"] == 0
    assert row_of(masking.frame, "detector", "1")["change"] == -4


def test_share_is_null_where_nothing_changed_in_all():
    same = TINY.filter(pl.col("status") == "matched")
    found = explain(same, images=TINY_IMAGES)
    assert found.frame["share_of_change"].null_count() == found.frame.height
    assert found.frame["change"].to_list() == [0] * found.frame.height


def test_rows_are_ranked_from_one():
    found = explain(TINY, images=TINY_IMAGES)
    assert found.frame["rank"].to_list() == list(range(1, found.frame.height + 1))
    assert [list(row) for row in found.to_dicts()[:1]] == [
        [
            "dimension",
            "value",
            "n_left",
            "n_right",
            "change",
            "share_of_change",
            "excess",
            "p_value",
            "q_value",
        ]
    ]


@pytest.mark.parametrize("sides", [["left"], ["right"], []])
def test_a_side_without_sources_is_no_error(sides):
    found = explain(TINY.filter(pl.col("side").is_in(sides)), images=TINY_IMAGES)
    assert found.frame["p_value"].null_count() == found.frame.height
    assert len(found.sentences()) == 2


def test_without_images_there_is_no_error():
    found = explain(TINY.clear(), images=TINY_IMAGES.clear())
    assert found.frame.is_empty()
    assert found.reason == "0 visits with 0 images: fewer than 10 units to resample"


# -- dimensions --------------------------------------------------------------------


def test_edge_zones_take_in_the_narrower_ones():
    sources = frame(4, edge_distance_px=[-1.0, 8.0, 255.0, 256.0])
    zones = next(d for d in build_dimensions(sources)[0] if d.name == "edge_within_px")
    assert zones.labels == ("8", "16", "32", "64", "128", "256")
    assert [int(zones.rows_of(k).sum()) for k in range(6)] == [1, 2, 2, 2, 2, 3]


def test_magnitudes_are_ab_and_those_without_are_counted():
    # 31.4 - 2.5 log10(1000) = 23.9; 3631 Jy = 3.631e12 nJy is magnitude 0
    assert magnitudes(np.array([1000.0]))[0] == pytest.approx(23.9)
    assert magnitudes(np.array([3.631e12]))[0] == pytest.approx(0.0, abs=1e-3)
    sources = frame(5, psfFlux=[1000.0, 0.0, -5.0, None, 100.0])
    assert values_of(sources, "magnitude") == [
        "23.5-24.0",
        NO_MAGNITUDE,
        NO_MAGNITUDE,
        UNKNOWN,
        "26.0-26.5",
    ]
    assert values_of(sources, "flux_sign") == ["positive", "zero", "negative", UNKNOWN, "positive"]


def test_snr_bins_hold_their_lower_bound():
    sources = frame(5, psf_snr=[4.9, 5.0, 6.0, 1e4, None])
    assert values_of(sources, "psf_snr") == ["<5", "5-6", "6-7", ">=100", UNKNOWN]


def test_column_bands_are_sixteenths_of_the_detector():
    geometry = pl.DataFrame({"detector": [1], "left_px": [-0.5], "right_px": [2047.5]})
    sources = frame(5, x=[-0.5, 127.4, 127.5, 2047.5, None])
    # a band is 2048 / 16 = 128 px: the second begins at 127.5; a far edge is the last one's
    assert values_of(sources, "column_band", geometry=geometry) == ["0", "0", "1", "15", UNKNOWN]


def test_seeing_is_that_of_the_image():
    # the medians are 1.15 and 1.1: a bound belongs to the bin above it
    sources = frame(5, visit=[1, 1, 1, 2, 2], psf_fwhm_arcsec=[1.09, 1.15, 1.21, 1.05, 1.15])
    assert values_of(sources, "seeing_arcsec") == ["1.1-1.2"] * 5


def test_focal_radius_in_steps_of_25_mm():
    assert values_of(frame(3, focal_radius_mm=[0.0, 24.9, 25.0]), "focal_radius_mm") == [
        "0-25",
        "0-25",
        "25-50",
    ]


def test_object_sizes_of_matched_sources_are_those_of_left():
    sources = frame(
        5,
        side=["left", "right", "right", "left", "right"],
        status=["matched", "matched", "new", "gone", "new"],
        match_id=[7, 7, None, None, None],
        n_dia_sources=[4, 5, 5, 1, 0],
    )
    assert values_of(sources, "n_dia_sources") == ["3-4", "3-4", "5-9", "1", "0"]
    assert values_of(sources.drop("match_id"), "n_dia_sources")[1] == "5-9"


def test_only_numbers_that_each_side_has_once_are_pairs():
    sources = frame(
        6,
        side=["left", "left", "right", "right", "left", "right"],
        match_id=[3, 1, 1, 3, 2, 2],
    )
    assert known_pairs(sources).tolist() == [[1, 2], [4, 5], [0, 3]]
    twice = sources.with_columns(match_id=pl.Series([3, 1, 1, 3, 3, None]))
    assert known_pairs(twice).tolist() == [[1, 2]]


def test_flags_are_each_a_value_and_null_is_not_set():
    sources = frame(3, pixelFlags_bad=[True, None, False], isDipole=[True, False, None])
    dimensions = {d.labels: d for d in build_dimensions(sources)[0] if d.name == "flag"}
    assert list(dimensions) == [("pixelFlags_bad",)]
    assert dimensions["pixelFlags_bad",].codes.tolist() == [0, -1, -1]
    assert values_of(sources, "isDipole") == ["true", None, None]


def test_night_field_and_band_are_written_as_they_are():
    sources = frame(2, night=[dt.date(2015, 2, 17), None], field=[0, 2], band=["g", "r"])
    assert values_of(sources, "night") == ["2015-02-17", UNKNOWN]
    assert values_of(sources, "field") == ["0", "2"]
    assert values_of(sources, "band") == ["g", "r"]


def test_columns_of_the_user():
    sources = frame(
        200,
        kind=["a", "b"] * 100,
        score=[k / 200 for k in range(200)],
        yes=[True, False] * 100,
        label=[str(k) for k in range(200)],
    )
    options = {"extra": ["kind", "score", "yes"]}
    assert values_of(sources, "kind", **options)[:2] == ["a", "b"]
    assert values_of(sources, "yes", **options)[:2] == ["true", "false"]
    assert len(set(values_of(sources, "score", **options))) == 10
    with pytest.raises(SchemaError, match="column label has 200 different values"):
        build_dimensions(sources, extra=["label"])
    with pytest.raises(SchemaError, match="the sources lack nothing_such; they have side"):
        build_dimensions(sources, extra=["nothing_such"])
    with pytest.raises(SchemaError, match="boolean columns; score are not"):
        build_dimensions(sources, flags=["score"])


def test_what_cannot_be_looked_at_is_said():
    found = explain(
        TINY.with_columns(pl.lit(None, pl.Float64).alias("psf_snr")), images=TINY_IMAGES
    )
    assert set(found.skipped) == {
        "edge_within_px",
        "edge_side",
        "night",
        "field",
        "band",
        "column_band",
        "focal_radius_mm",
        "psf_snr",
        "magnitude",
        "seeing_arcsec",
        "flux_sign",
        "isDipole",
        "n_dia_sources",
    }


# -- counting ----------------------------------------------------------------------


def test_counts_by_unit_and_value():
    one = Dimension("one", ("a", "b"), np.array([0, 0, 1, 0, 1, -1], dtype=np.int32))
    near = Dimension(
        "near", ("8", "16"), np.array([0, 1, -1, 0, 1, 1], dtype=np.int32), nested=True
    )
    # rows 0-2 are left, 3-5 right; units 0, 1, 1, 0, 1, 1; row 0 pairs with 3, 2 with 4
    rows = Rows(
        np.array([0, 1, 1, 2, 3, 3]),
        np.array([False, True, False, False, False, True]),
        np.array([[0, 3], [2, 4]]),
        2,
    )
    counts = count_singles([one, near], rows)
    assert [v.name for v in single_values([one, near])] == ["one=a", "one=b", "near=8", "near=16"]
    assert counts.left.tolist() == [[1, 0, 1, 1], [1, 1, 0, 1]]
    assert counts.right.tolist() == [[1, 0, 1, 1], [0, 1, 0, 2]]
    assert counts.left_all.tolist() == [1, 2]
    assert counts.right_all.tolist() == [1, 2]
    # a: row 1; b: none (row 5 has no value); near 16: rows 1 and 5, and row 4, whose
    # partner is not near
    assert counts.unmatched.tolist() == [1, 0, 0, 3]
    ((pairs,), (found,)) = pair_values([one, near], rows, counts, fewest=1)
    # a & 8 are the sources of 8 alone, a & 16 are those of a alone
    assert [(p.dimension, p.value) for p in pairs] == [("one & near", "b & 16")]
    assert found.right.tolist() == [[0], [1]]
    assert found.left.tolist() == [[0], [0]]


# -- significance ------------------------------------------------------------------


def test_a_score_does_not_depend_on_the_values_beside_it():
    # The sum over units is another in its last bit for one column than for many, and ten equal
    # units are just enough to go by their own scatter.
    rng = np.random.default_rng(11)
    left = rng.poisson(3, (40, 25)).astype(np.float32)
    right = left + rng.integers(0, 2, left.shape).astype(np.float32)
    units = [2, 9, 12, 17, 20, 23, 28, 29, 37, 39]
    left[:, 0] = right[:, 0] = 0
    left[units, 0] = 3
    right[units, 0] = 3 + np.arange(10) % 3
    counts = Counts(
        left,
        right,
        left.sum(axis=1, dtype=float) + 90,
        right.sum(axis=1, dtype=float) + 95,
        np.full(25, 30.0),
        500.0,
    )
    options = {"min_change": 0.05, "margin_sources": 3.0}
    together = score_values(counts, **options)
    for at in range(25):
        alone = score_values(counts.columns(np.array([at])), **options)
        assert alone.p_value[0] == pytest.approx(together.p_value[at], rel=1e-9)
        assert alone.p_nonzero[0] == pytest.approx(together.p_nonzero[at], rel=1e-9)


def test_scores_are_those_of_a_plain_loop():
    rng = np.random.default_rng(3)
    n_units = 30
    left_in, left_out = rng.poisson(9, n_units), rng.poisson(50, n_units)
    right_in, right_out = (
        left_in + rng.integers(-2, 5, n_units),
        left_out + rng.integers(-3, 4, n_units),
    )
    counts = Counts(
        left_in[:, None].astype(float),
        right_in[:, None].astype(float),
        (left_in + left_out).astype(float),
        (right_in + right_out).astype(float),
        np.array([60.0]),
        160.0,
    )
    found = score_values(counts, min_change=0, margin_sources=0)
    n_in, n_out = left_in.sum(), left_out.sum()
    total = n_in + n_out
    pi = n_in / total
    d_in, d_out = (right_in - left_in).sum(), (right_out - left_out).sum()
    excess = d_in - n_in * (d_in + d_out) / total
    assert found.excess[0] == pytest.approx(excess)
    own = scatter = spread = squares = concentration = 0.0
    for u in range(n_units):
        rest_in = right_in[u] - left_in[u] - d_in / n_in * left_in[u]
        rest_out = right_out[u] - left_out[u] - d_out / n_out * left_out[u]
        part = (1 - pi) * rest_in / (1 - left_in[u] / n_in)
        part -= pi * rest_out / (1 - left_out[u] / n_out)
        own += part**2
        scatter += rest_out**2
        squares += left_out[u] ** 2
        spread += (left_in[u] - pi * (left_in[u] + left_out[u])) ** 2
        concentration += (left_in[u] / n_in) ** 2
    tau2 = max(scatter * n_units / (n_units - 1) - 100, 0) / squares
    model = (1 - pi) ** 2 * 60 + pi**2 * 100 + tau2 * spread
    assert found.error[0] == pytest.approx(np.sqrt(max(own, model)))
    degrees = 1 / concentration - 1
    p_value = 2 * stats.t.sf(abs(excess) / found.error[0], degrees)
    assert found.p_value[0] == pytest.approx(p_value)
    expected = [n * (total + d_in + d_out) / total for n in (n_in, n_out)]
    gain, _ = stats.power_divergence(
        [n_in + d_in, n_out + d_out], expected, lambda_="log-likelihood"
    )
    assert found.gain[0] == pytest.approx(gain)


def test_margin_is_the_lesser_of_both():
    counts = Counts(
        np.full((20, 1), 10.0),
        np.full((20, 1), 10.0) + np.arange(20)[:, None] % 3,
        np.full(20, 100.0),
        np.full(20, 100.0) + np.arange(20) % 3,
        np.array([19.0]),
        19.0,
    )
    plain, margin, other = (
        score_values(counts, min_change=a, margin_sources=b)
        for a, b in ((0.0, 0.0), (0.05, 1e9), (1.0, 10.0))
    )
    # 200 in left: 5% is 10; without a margin both tails count
    assert margin.p_value[0] == pytest.approx(other.p_value[0])
    assert plain.p_value[0] < margin.p_value[0]
    degrees = 19.0  # 20 units of the same size
    t = (plain.excess[0] - 10) / plain.error[0], (plain.excess[0] + 10) / plain.error[0]
    assert margin.p_value[0] == pytest.approx(sum(stats.t.sf(t, degrees)))
    # that there is an excess at all does not depend on the margin
    assert margin.p_nonzero[0] == other.p_nonzero[0] == pytest.approx(plain.p_value[0])


def test_a_value_of_one_unit_is_judged_by_the_scatter_of_the_others():
    rng = np.random.default_rng(11)
    left = np.full(40, 200.0)
    right = left + rng.normal(0, 30, 40).round()
    for excess, is_significant in ((60.0, False), (200.0, True)):
        right[0] = 200 + excess
        only = np.zeros((40, 1))
        only[0] = 1
        counts = Counts(
            only * left[:, None], only * right[:, None], left, right, np.array([excess]), 1500.0
        )
        found = score_values(counts, min_change=0, margin_sources=0)
        assert (found.p_value[0] < 0.001) == is_significant


def test_false_discovery_rates_are_those_of_scipy():
    p_value = np.random.default_rng(1).random(100) ** 2
    with_gaps = np.insert(p_value, [0, 50], np.nan)
    found = false_discovery_rates(with_gaps)
    assert np.isnan(found[[0, 51]]).all()
    known = ~np.isnan(with_gaps)
    assert found[known] == pytest.approx(stats.false_discovery_control(p_value))


# -- causes ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def null_pair():
    return make_pair(1001, n_sources=8000)


def explained(pair, **options):
    return explain(pair.sources, images=pair.images, geometry=pair.geometry, **options)


@pytest.mark.parametrize("kind", ["edge", "ccd", "night", "column_band", "flux_loss"])
def test_planted_cause_is_first(kind):
    cause = Cause(kind)
    found = explained(make_pair(1002, (cause,), n_sources=20_000))
    first = found.frame.row(0, named=True)
    assert first["is_cause"]
    assert first["q_value"] < 0.05
    assert any(
        first["dimension"] == dimension and value in (None, first["value"])
        for dimension, value in cause.expected
    )


def test_nothing_planted_is_no_cause(null_pair):
    for margins in ({}, {"min_change": 0.0, "min_share": 0.0}):
        found = explained(null_pair, **margins)
        assert found.causes.is_empty()
        assert (found.frame["q_value"] >= 0.05).all()
    assert found.sentences()[1] == (
        "No detector, edge, night, flag or brightness changed by more than its share."
    )


def test_a_rerun_compared_with_itself_has_no_cause(null_pair):
    left = null_pair.sources.filter(pl.col("side") == "left").with_columns(
        pl.lit("matched").alias("status"), pl.int_range(pl.len()).alias("match_id")
    )
    same = pl.concat([left, left.with_columns(pl.lit("right").alias("side"))])
    found = explain(same, images=null_pair.images, geometry=null_pair.geometry)
    assert (found.frame["change"] == 0).all()
    assert (found.frame["excess"] == 0).all()
    assert (found.frame["p_value"] == 1).all()


def test_consequences_of_an_excess_at_the_edge_are_ranked_below_it():
    found = explained(make_pair(1003, (Cause("edge"),), n_sources=20_000))
    assert found.frame["dimension"][0] == "edge_within_px"
    for dimension, value in (
        ("column_band", "0"),
        ("column_band", "15"),
        ("flag", "pixelFlags_edge"),
        ("edge_within_px", "32"),
        ("n_dia_sources", "1"),
    ):
        row = row_of(found.frame, dimension, value)
        assert row["q_value"] < 0.05
        assert row["consequence_of"] == "edge_within_px=64"
        assert not row["is_cause"]
    assert found.causes.height == 1


def test_a_bad_detector_in_one_night_is_not_a_bad_night():
    pair = make_pair(1004, n_sources=20_000)
    night = FIRST_NIGHT + dt.timedelta(days=2)
    sources = pair.sources
    hit = sources.filter(
        (pl.col("side") == "right") & (pl.col("detector") == 20) & (pl.col("night") == night)
    )
    more = hit.sample(1500, with_replacement=True, seed=1).with_columns(
        pl.lit("new").alias("status"), pl.lit(None, pl.Int64).alias("match_id")
    )
    pair = type(pair)(pl.concat([sources, more]), pair.images, pair.geometry, more.height)
    found = explained(pair)
    assert (found.frame["dimension"][0], found.frame["value"][0]) == ("detector", "20")
    assert row_of(found.frame, "night", str(night))["q_value"] < 0.05
    assert row_of(found.frame, "night", str(night))["consequence_of"] == "detector=20"
    pairs = explained(pair, depth=2)
    first = pairs.frame.row(0, named=True)
    assert (first["dimension"], first["value"]) == ("detector & night", f"20 & {night}")
    assert (
        row_of(pairs.frame, "detector", "20")["consequence_of"] == f"detector & night=20 & {night}"
    )


def test_two_causes_are_both_found():
    causes = (Cause("ccd", 0.06), Cause("night", 0.04))
    found = explained(make_pair(1005, causes, n_sources=20_000))
    assert found.causes.select("dimension", "value").rows() == [
        ("detector", "20"),
        ("night", "2015-02-20"),
    ]
    assert found.causes["rank"].to_list() == [1, 2]
    # each excess with its own error and p-value: of all sources, and of those left
    row = found.causes.row(1, named=True)
    assert row["excess"] != row["excess_conditional"]
    first, second = found.sentences()[1:3]
    assert "without the causes above" not in first
    assert f"the excess is {row['excess']:+,.0f} +- {row['error']:,.0f} (p " in second
    assert (
        f"; without the causes above, {row['excess_conditional']:+,.0f} +- "
        f"{row['error_conditional']:,.0f} (p "
    ) in second


def test_left_and_right_exchanged_gives_the_mirrored_change():
    pair = make_pair(1006, (Cause("ccd"),), n_sources=8000)
    swapped = pair.sources.with_columns(
        pl.col("side").replace_strict({"left": "right", "right": "left"}),
        pl.col("status").replace({"new": "gone", "gone": "new"}),
    )
    one = explained(pair)
    two = explain(swapped, images=pair.images, geometry=pair.geometry)
    assert (two.frame["dimension"][0], two.frame["value"][0]) == ("detector", "20")
    key = ["dimension", "value"]
    both = one.frame.filter(pl.col("dimension") != "n_dia_sources").join(two.frame, on=key)
    assert both.height > 200
    assert (both["change"] == -both["change_right"]).all()


def test_order_of_rows_does_not_matter():
    pair = make_pair(1007, (Cause("night"),), n_sources=6000)
    mixed = pair.sources.sample(fraction=1.0, shuffle=True, seed=2)
    found = explain(mixed, images=pair.images.reverse(), geometry=pair.geometry.reverse())
    columns = ["dimension", "value", "n_left", "n_right", "q_value", "consequence_of"]
    assert found.frame.select(columns).equals(explained(pair).frame.select(columns))


def test_small_changes_matter_only_when_asked_for():
    # 1.5% more of the faintest, 0.3% of all: certain, and of no account
    pair = make_pair(1008, n_sources=60_000, visit_wander=0, image_wander=0, jitter=0.02)
    faint = (pl.col("side") == "right") & pl.col("psf_snr").is_between(5, 6)
    more = pair.sources.filter(faint).sample(200, seed=1)
    more = more.with_columns(
        pl.lit("new").alias("status"), pl.lit(None, pl.Int64).alias("match_id")
    )
    pair = type(pair)(pl.concat([pair.sources, more]), pair.images, pair.geometry, 200)
    found = explained(pair)
    assert found.causes.is_empty()
    small = found.frame.filter("is_small")
    assert ("psf_snr", "5-6") in small.select("dimension", "value").rows()
    # what is no chance comes before what is
    assert found.frame["is_small"].to_list() == sorted(found.frame["is_small"], reverse=True)
    assert (small["q_nonzero"] < 0.05).all()
    assert (small["q_value"] >= 0.05).all()
    told = found.sentences()[1]
    assert "more than 5% of the sources with the value or 0.5% of all, whichever is less" in told
    assert "Too small for that, but not chance: sources " in told
    asked = explained(pair, min_change=0.0, min_share=0.0)
    assert asked.causes.select("dimension", "value").row(0) == ("psf_snr", "5-6")


def reread(pair, **right):
    """Compare left with a right rerun that has the same sources, some columns rewritten."""
    left = pair.sources.filter(pl.col("side") == "left").with_columns(
        pl.lit("matched").alias("status"), pl.int_range(pl.len()).alias("match_id")
    )
    return explain(
        pl.concat([left, left.with_columns(pl.lit("right").alias("side"), **right)]),
        images=pair.images,
        geometry=pair.geometry,
    )


@pytest.mark.parametrize("every", [1, 10])
def test_matched_sources_that_change_one_value_have_one_cause(null_pair, every):
    found = reread(null_pair, isDipole=pl.col("isDipole") & (pl.col("match_id") % every != 0))
    assert found.causes.select("dimension", "value").rows() == [("isDipole", "true")]
    row = found.causes.row(0, named=True)
    assert row["change"] == row["excess"] == row["n_right"] - row["n_left"] < 0
    # whatever else the sources have, as many of either rerun have it: before and after
    others = found.frame.filter(~pl.col("is_cause"))
    assert others["change"].unique().to_list() == [0]
    assert (others["excess_conditional"].drop_nulls() == 0).all()
    assert (others["p_conditional"].drop_nulls() == 1).all()
    assert len(found.sentences()) == 2


def test_another_zero_point_has_causes_in_brightness_alone(null_pair):
    found = reread(null_pair, psfFlux=pl.col("psfFlux") * 1.3, psf_snr=pl.col("psf_snr") * 1.3)
    assert found.causes.height > 1
    assert set(found.causes["dimension"]) <= {"psf_snr", "magnitude"}
    assert (found.causes["p_value"] < 0.05).all()
    assert (found.causes["excess"] * found.causes["excess_conditional"] > 0).all()


def test_partners_are_taken_along_once():
    rows = Rows(np.zeros(6, dtype=np.int64), np.zeros(6, bool), np.array([[0, 3], [1, 4]]), 1)
    chosen = np.array([True, False, True, False, True, False])
    assert rows.with_partners(chosen).tolist() == [True, True, True, True, True, False]
    assert chosen.tolist() == [True, False, True, False, True, False]


def test_what_shows_only_without_another_is_no_cause():
    # 600 new on one detector in one night, and as many fewer on the others that night
    pair = make_pair(1012, n_sources=20_000)
    night = FIRST_NIGHT + dt.timedelta(days=2)
    in_night = pl.col("night") == night
    hit = pair.sources.filter((pl.col("side") == "right") & in_night & (pl.col("detector") == 20))
    more = hit.sample(600, with_replacement=True, seed=1).with_columns(
        pl.lit("new").alias("status"), pl.lit(None, pl.Int64).alias("match_id")
    )
    lost = pair.sources.filter(
        (pl.col("status") == "matched")
        & (pl.col("side") == "right")
        & in_night
        & (pl.col("detector") != 20)
    ).sample(600, seed=2)["match_id"]
    is_lost = pl.col("match_id").is_in(lost.implode()).fill_null(value=False)
    kept = pair.sources.filter(~(is_lost & (pl.col("side") == "right"))).with_columns(
        pl.when(is_lost).then(pl.lit("gone")).otherwise("status").alias("status")
    )
    found = explain(pl.concat([kept, more]), images=pair.images, geometry=pair.geometry)
    assert ("detector", "20") in found.causes.select("dimension", "value").rows()
    row = row_of(found.frame, "night", str(night))
    assert row["p_value"] > 0.05
    assert row["q_conditional"] < 0.05
    assert row["excess_conditional"] < -300
    assert not row["is_cause"]


def test_a_column_of_the_user_can_be_the_cause():
    pair = make_pair(1009, n_sources=8000)
    odd = pl.col("x").cast(pl.Int64) % 7
    sources = pair.sources.with_columns(odd.alias("column_mod_7"))
    hit = sources.filter((pl.col("side") == "right") & (pl.col("column_mod_7") == 3)).sample(
        600, seed=1
    )
    more = hit.with_columns(pl.lit("new").alias("status"), pl.lit(None, pl.Int64).alias("match_id"))
    found = explain(
        pl.concat([sources, more]),
        images=pair.images,
        geometry=pair.geometry,
        extra=["column_mod_7"],
    )
    assert (found.frame["dimension"][0], found.frame["value"][0]) == ("column_mod_7", "3")
    assert "with column_mod_7 = 3" in found.sentences()[1]


def test_masking_of_one_detector_is_no_detection_change():
    pair = make_pair(1010, n_sources=8000)
    rng = np.random.default_rng(4)
    flagged = (pl.col("side") == "left") & (pl.col("status") == "matched")
    is_hit = pl.Series("hit", rng.random(pair.sources.height) < 0.5)
    sources = pair.sources.with_columns(is_hit)
    lost = sources.filter(flagged & pl.col("hit") & (pl.col("detector") == 20))["match_id"]
    sources = sources.filter(
        ~(
            (pl.col("side") == "right")
            & pl.col("match_id").is_in(lost.implode()).fill_null(value=False)
        )
    ).with_columns(
        pl.when(pl.col("match_id").is_in(lost.implode()).fill_null(value=False))
        .then(pl.lit("reflagged"))
        .otherwise("status")
        .alias("status")
    )
    found = explain(sources.drop("hit"), images=pair.images, geometry=pair.geometry, part="masking")
    row = found.frame.row(0, named=True)
    assert (row["dimension"], row["value"], row["change"]) == ("detector", "20", -lost.len())
    assert row["change_masking"] == -lost.len()
    assert row["change_detection"] == 0
    detection = explain(
        sources.drop("hit"), images=pair.images, geometry=pair.geometry, part="detection"
    )
    assert detection.causes.is_empty()


# -- sentences and errors ----------------------------------------------------------


def test_sentences_hold_the_numbers_of_the_table():
    found = explained(make_pair(1002, (Cause("edge"),), n_sources=20_000))
    row = found.frame.row(0, named=True)
    sentence = found.sentences()[1]
    assert sentence.startswith(
        f"Sources within 64 px of a detector edge: {row['n_left']:,} to {row['n_right']:,} "
        f"({row['change']:+,}, {100 * row['share_of_change']:.0f}% of the change"
    )
    assert f"the excess is {row['excess']:+,.0f}" in sentence
    assert "p < 1e-10" in sentence
    assert "sixteenth 0 of the detector's columns (0 to 15)" in sentence


def test_phrases_of_pairs_name_both():
    assert (
        phrase("detector & night", "20 & 2015-02-20") == "on detector 20, in the night 2015-02-20"
    )
    assert phrase("flag", "pixelFlags_cr") == "with flag pixelFlags_cr"
    assert phrase("isDipole", "true") == "that are dipoles"
    assert phrase("colour", "red") == "with colour = red"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 3}, "depth is 3; it must be 1"),
        ({"depth": "1"}, "depth is '1'"),
        ({"depth": True}, "depth is True"),
        ({"part": "some"}, "part is 'some'"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"alpha": "a"}, "alpha is 'a'; it must lie between 0 and 1"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"min_change": -1}, "min_change is -1; give a part from 0 on"),
        ({"min_change": float("inf")}, "min_change is inf"),
        ({"min_share": float("nan")}, "min_share is nan"),
        ({"min_share": None}, "min_share is None"),
        ({"most_causes": "x"}, "most_causes is 'x'; give a whole number from 0 on"),
        ({"most_causes": -1}, "most_causes is -1"),
        ({"most_causes": 2.5}, "most_causes is 2.5"),
    ],
)
def test_impossible_options_are_errors(options, message):
    with pytest.raises(MatchError, match=message):
        explain(TINY, images=TINY_IMAGES, **options)


def test_numbers_of_numpy_are_numbers():
    options = {"depth": np.int64(1), "alpha": np.float32(0.05), "most_causes": np.int8(3)}
    assert explain(TINY, images=TINY_IMAGES, **options).frame.height > 0


def test_a_number_of_sentences_is_none_below_zero():
    found = explain(TINY, images=TINY_IMAGES)
    for most in (-1, "a", 2.5):
        with pytest.raises(MatchError, match=f"most is {most!r}"):
            found.sentences(most=most)


@pytest.mark.parametrize("option", ["flags", "extra"])
@pytest.mark.parametrize("wrong", [5, [5]])
def test_columns_to_look_along_are_names(option, wrong):
    with pytest.raises(QueryError, match=rf"^{option}(:| is) 5[ ;]"):
        build_dimensions(TINY, **{option: wrong})


def test_one_name_alone_is_one_column_and_a_repeated_one_comes_once():
    sources = frame(2, label=["a", "b"], is_odd=[True, False])
    names = [d.name for d in build_dimensions(sources, flags="is_odd", extra="label")[0]]
    assert names == [
        d.name for d in build_dimensions(sources, flags=["is_odd"] * 2, extra=["label", "label"])[0]
    ]
    assert (names.count("label"), names.count("flag")) == (1, 1)


def test_a_dimension_that_is_there_anyway_is_not_taken_twice():
    dimensions, skipped = build_dimensions(TINY.with_columns(is_odd=pl.lit(True)))
    assert {d.name for d in dimensions} | set(skipped) == set(NAMES)
    with pytest.raises(SchemaError, match=r"\(--extra\) detector: an explanation looks along that"):
        build_dimensions(TINY, extra=["detector"])


def test_unknown_words_and_missing_columns_are_errors():
    with pytest.raises(
        SchemaError, match="column status of the sources holds lost; known: matched"
    ):
        explain(TINY.with_columns(pl.lit("lost").alias("status")), images=TINY_IMAGES)
    with pytest.raises(SchemaError, match="the sources lack side, visit; they have"):
        explain(TINY.drop("side", "visit"), images=TINY_IMAGES)
    with pytest.raises(SchemaError, match="the images lack detector"):
        explain(TINY, images=TINY_IMAGES.drop("detector"))
    with pytest.raises(MatchError, match="not among the shared"):
        explain(TINY, images=TINY_IMAGES.head(1))


def test_bins_far_away_cost_no_more_than_near_ones():
    values = np.array([1e12, 30.0, 49.9, -1e15, np.nan, np.inf])
    cut = dimensions._steps("focal_radius_mm", values, 25.0)
    assert [cut.labels[code] for code in cut.codes] == [
        "1000000000000-1000000000025",
        "25-50",
        "25-50",
        "-1000000000000000--999999999999975",
        "unknown",
        "unknown",
    ]
