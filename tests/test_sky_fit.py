"""Whether sky positions agree with pixel positions: astropy's WCS is the truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from astropy.wcs import WCS

from hitsduck import sky_fit
from hitsduck.sky_fit import sky_offsets


def wcs(ra: float, dec: float, turn_deg: float, flipped: bool) -> WCS:
    scale = 0.2636 / 3600
    turn = np.radians(turn_deg)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if flipped:
        matrix[:, 0] *= -1
    found = WCS(naxis=2)
    found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    found.wcs.crval = [ra, dec]
    found.wcs.crpix = [9000.0, -4000.0]  # the tangent point lies off the detector
    found.wcs.cd = matrix
    found.wcs.set()
    return found


def image(detector: int, n: int, flipped: bool, seed: int, ra: float = 359.95) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    pixels = rng.random((n, 2)) * (2047, 4095)
    sky = wcs(ra, -60.0, 30.0 * detector, flipped).wcs_pix2world(pixels, 0)
    columns = {"ra": sky[:, 0], "dec": sky[:, 1], "x": pixels[:, 0], "y": pixels[:, 1]}
    return pl.DataFrame({"visit": [1] * n, "detector": [detector] * n} | columns)


@pytest.mark.parametrize("flipped", [False, True])
def test_right_positions_have_no_offset_whatever_the_rotation_and_the_parity(flipped: bool):
    sources = pl.concat([image(k, 3 + 5 * k, flipped, k) for k in range(1, 8)])
    sources = sources.sample(fraction=1.0, shuffle=True, seed=1)
    # a TAN image seen around its own middle is turned and stretched a little: arcsec
    offsets = sky_offsets(sources)
    assert offsets.null_count() == 0
    assert offsets.max() < 3.0


@pytest.mark.parametrize("flipped", [False, True])
def test_blocks_of_images_give_what_all_together_give(
    flipped: bool, monkeypatch: pytest.MonkeyPatch
):
    # The first image is the other way round, so that a block of its own misleads; its
    # neighbours hold one source alone, two, or none that can be used.
    images = [image(k, n, flipped, k) for k, n in enumerate((3, 1, 2, 40, 30, 30, 20), start=2)]
    lost = image(9, 4, flipped, 9).with_columns(ra=pl.lit(None, pl.Float64))
    first = image(1, 12, not flipped, 1)
    sources = pl.concat([first, *images, lost]).sample(fraction=1.0, shuffle=True, seed=4)
    whole = sky_offsets(sources)
    assert (whole.filter(sources["detector"] == 1) > 60.0).sum() > 6
    assert (whole.filter(sources["detector"] > 4).drop_nulls() < 3.0).all()
    for size in (1, 13, 15, 50):
        monkeypatch.setattr(sky_fit, "_BLOCK", size)
        assert sky_offsets(sources).equals(whole, null_equal=True)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("shift_deg", [0.02, 0.3, 90.0])
def test_wrong_positions_stand_out_and_leave_the_others_alone(flipped: bool, shift_deg: float):
    sources = pl.concat([image(k, 12, flipped, k) for k in range(1, 5)])
    is_wrong = np.arange(sources.height) % 10 == 3
    moved = sources.with_columns(pl.Series("dec", sources["dec"].to_numpy() + shift_deg * is_wrong))
    offsets = sky_offsets(moved).to_numpy()
    assert (offsets[is_wrong] > 60.0).all()
    assert (offsets[~is_wrong] < 3.0).all()


def test_one_of_three_can_be_told_and_one_of_two_cannot():
    three, two, one = (image(k, 4 - k, True, k) for k in (1, 2, 3))
    many = image(4, 30, True, 4)
    wrong = [frame.with_columns(pl.col("ra") + pl.Series([0.5] + [0.0] * (frame.height - 1)))
             for frame in (three, two)]  # fmt: skip
    offsets = sky_offsets(pl.concat([*wrong, one, many])).to_list()
    assert offsets[0] > 60.0
    assert max(offsets[1:3]) < 3.0
    assert offsets[3:6] == [None] * 3
    assert max(offsets[6:]) < 3.0


def test_what_is_missing_or_impossible_is_null():
    sources = image(1, 20, True, 1).with_columns(
        pl.Series(
            "ra", [None, float("nan"), *[None] * 0, *image(1, 20, True, 1)["ra"].to_list()[2:]]
        ),
        pl.Series("dec", [-60.0, -60.0, 95.0, *image(1, 20, True, 1)["dec"].to_list()[3:]]),
    )
    offsets = sky_offsets(sources)
    assert offsets.head(3).to_list() == [None] * 3
    assert offsets.tail(17).max() < 3.0
    assert sky_offsets(sources.head(0)).to_list() == []
    assert sky_offsets(sources.tail(1)).to_list() == [None]
