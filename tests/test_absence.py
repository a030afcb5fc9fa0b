"""A rerun without a source on an image: missing, or nothing found, from made images."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from hitsduck.absence import SURE, image_counts, missing_odds


def images(*counts: tuple[int, int, int]) -> pl.DataFrame:
    """One image for every (n_left, n_right, n_matched)."""
    frame = pl.DataFrame(counts, schema=["n_left", "n_right", "n_matched"], orient="row")
    return frame.select(
        pl.lit(1).alias("visit"), pl.int_range(1, pl.len() + 1).alias("detector"), pl.all()
    )


def test_sources_and_pairs_are_counted_by_image():
    left = pl.DataFrame({"visit": [1, 1, 2, None], "detector": [5, 5, 5, 5]})
    right = pl.DataFrame({"visit": [1, 3], "detector": [5, 6]})
    pairs = pl.DataFrame({"left_index": [1], "right_index": [0]})
    assert image_counts(left, right, pairs).rows() == [
        (1, 5, 2, 1, 1),
        (2, 5, 1, 0, 0),
        (3, 6, 0, 1, 0),
    ]


def test_odds_by_hand():
    # q from the first two images: (3 * 2 + 4 * 3 + 1) / (3 * 3 + 4 * 3 + 2) = 19 / 23;
    # r = 8 / 9 on images where right has some (4 + 4 on 4 + 5), which gives the larger chance
    odds = missing_odds(images((4, 4, 3), (4, 4, 4), (1, 0, 0), (2, 0, 0)), "right")
    again = 19 / 23
    assert odds["detector"].to_list() == [3, 4]
    assert odds["p_empty"].to_list() == pytest.approx([1 - again, (1 - again) ** 2])
    # the part missing solves sum (1 - p) / (f + (1 - f) p) = 2 / (1 - f)
    p = odds["p_empty"].to_numpy()
    f = 0.5
    for _ in range(10_000):
        is_missing = f / (f + (1 - f) * p)
        f = is_missing.sum() / 4
    assert odds["p_missing"].to_list() == pytest.approx(is_missing.tolist(), abs=1e-6)


def test_without_pairs_the_numbers_alone_decide():
    # nothing is the same in both: q = 1 / (2 + 2 * 30 * 0) = 1/2, but r = 1
    odds = missing_odds(images((3, 3, 0), (3, 0, 0)), "right")
    assert odds["p_empty"].to_list() == pytest.approx([min(0.5**3, math.exp(-3))])


def test_nothing_in_common_says_little():
    odds = missing_odds(images((3, 0, 0), (1, 0, 0)), "right")
    # r = 0: a rerun that has found nothing anywhere may have found nothing here
    assert odds["p_empty"].to_list() == [1 / 8, 1 / 2]


def test_left_and_right_exchanged_is_the_mirrored_result():
    counts = images((4, 4, 3), (1, 0, 0), (0, 2, 0), (3, 2, 2))
    turned = counts.rename({"n_left": "n_right", "n_right": "n_left"})
    assert missing_odds(counts, "right").equals(missing_odds(turned, "left"))


def made(rng: np.random.Generator, *, missing: float, again: float) -> tuple[pl.DataFrame, list]:
    """3,000 images of 2 sources on average; each source is found again or not."""
    n = rng.poisson(2.0, 3000)
    is_missing = rng.random(3000) < missing
    m = np.where(is_missing, 0, rng.binomial(n, again))
    new = np.where(is_missing, 0, rng.poisson(0.1, 3000))
    counts = images(*zip(n.tolist(), (m + new).tolist(), m.tolist(), strict=True))
    return counts, is_missing.tolist()


@pytest.mark.parametrize(("again", "told"), [(0.6, 0.05), (0.9, 0.6)])
def test_faint_images_are_not_called_missing_and_missing_ones_are(again: float, told: float):
    rng = np.random.default_rng(3)
    counts, _ = made(rng, missing=0.0, again=again)
    odds = missing_odds(counts, "right")
    # many images without a source, as many as q lets expect
    assert odds.height > 50
    assert (odds["p_missing"] > SURE).sum() <= 0.01 * odds.height
    counts, is_missing = made(rng, missing=0.3, again=again)
    odds = missing_odds(counts, "right")
    truth = odds["detector"].map_elements(lambda d: is_missing[d - 1], return_dtype=pl.Boolean)
    called = odds["p_missing"] > SURE
    # of those called missing, fewer than 5% are there
    assert (called & ~truth).sum() <= 0.05 * called.sum()
    assert called.sum() > told * truth.sum()
    # the probabilities are true ones: they add up to the number of missing images
    assert odds["p_missing"].sum() == pytest.approx(truth.sum(), rel=0.05)
