"""The cross-match: by hand, against astropy, and under every exchange that must not matter."""

from __future__ import annotations

import doctest
import os
import tracemalloc
from dataclasses import dataclass
from typing import get_args

import astropy.units as u
import numpy as np
import polars as pl
import pytest
from astropy.coordinates import Latitude, Longitude, SkyCoord
from cdshealpix.nested import lonlat_to_healpix, neighbours
from hypothesis import given, settings
from hypothesis import strategies as st

from hitsduck import crossmatch, crossmatch_search, crossmatch_sky
from hitsduck.crossmatch import How, Match, match_images, match_pixels, match_sky
from hitsduck.errors import HitsduckError, MatchError

HOWS: tuple[How, ...] = get_args(How)
ONE_TO_ONE: tuple[How, ...] = ("mutual", "best1", "best2")
ARCSEC = 1 / 3600  # degrees
SAME_SEPARATION_ARCSEC = 1e-9

IS_FULL = os.environ.get("HITSDUCK_CAMPAIGN") == "full"
exhaustive = settings(
    derandomize=True, deadline=None, database=None, max_examples=1000 if IS_FULL else 300
)
thorough = settings(derandomize=True, deadline=None, database=None, max_examples=100)
brief = settings(derandomize=True, deadline=None, database=None, max_examples=40)


def on_meridian(*offsets_arcsec: float, ids: list[int] | None = None) -> pl.DataFrame:
    """Sources of one image on one meridian, so many arcsec north of the equator."""
    n = len(offsets_arcsec)
    return pl.DataFrame(
        {
            "diaSourceId": range(n) if ids is None else ids,
            "visit": [1] * n,
            "detector": [2] * n,
            "ra": [10.0] * n,
            "dec": [offset * ARCSEC for offset in offsets_arcsec],
        },
        schema_overrides={"diaSourceId": pl.Int64, "visit": pl.Int64, "detector": pl.Int64},
    )


def on_row(*x: float, ids: list[int] | None = None) -> pl.DataFrame:
    """Sources of one image on one row of pixels."""
    return on_meridian(*x, ids=ids).with_columns(x=pl.Series(x, dtype=pl.Float64), y=0.0)


def objects(ra: object, dec: object, ids: object = None) -> pl.DataFrame:
    frame = pl.DataFrame({"ra": ra, "dec": dec}).cast(pl.Float64)
    return frame.with_columns(
        diaObjectId=pl.int_range(pl.len()) if ids is None else pl.Series(ids, dtype=pl.Int64)
    )


def indices(match: Match) -> list[tuple[int, int]]:
    return match.pairs.select("left_index", "right_index").rows()


# By hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        # left at 0, 10 and 30, right at 1, 3 and 12; radius 5
        # 0 and 1 are each other's nearest (1 away), 10 and 12 too (2); 3 has nearest 0 (3
        # away) but 0 prefers 1; 30 has nobody
        ("mutual", [(0, 0, 1.0, True), (1, 2, 2.0, False)]),
        ("best1", [(0, 0, 1.0, True), (1, 2, 2.0, False)]),
        ("best2", [(0, 0, 1.0, True), (0, 1, 3.0, True), (1, 2, 2.0, False)]),
        ("all", [(0, 0, 1.0, True), (0, 1, 3.0, True), (1, 2, 2.0, False)]),
    ],
)
def test_each_rule_gives_its_pairs(how: How, expected: list[tuple[int, int, float, bool]]):
    left, right = (0.0, 10.0, 30.0), (1.0, 3.0, 12.0)
    in_pixels = match_pixels(on_row(*left), on_row(*right), radius_px=5, how=how)
    assert in_pixels.pairs.rows() == expected
    on_sky = match_images(on_meridian(*left), on_meridian(*right), radius_arcsec=5, how=how)
    assert indices(on_sky) == [row[:2] for row in expected]
    assert on_sky.pairs["is_ambiguous"].to_list() == [row[3] for row in expected]
    assert on_sky.pairs["sep_arcsec"].to_list() == pytest.approx(
        [row[2] for row in expected], abs=1e-9
    )


def test_pairs_have_these_columns_and_types():
    match = match_images(on_meridian(0.0), on_meridian(0.1), radius_arcsec=1)
    assert dict(match.pairs.schema) == {
        "left_index": pl.UInt32,
        "right_index": pl.UInt32,
        "sep_arcsec": pl.Float64,
        "is_ambiguous": pl.Boolean,
    }
    match = match_pixels(on_row(0.0), on_row(0.1), radius_px=1)
    assert "sep_px" in match.pairs.columns


def test_a_pixel_separation_is_the_length_of_the_difference():
    left = on_row(0.0).with_columns(x=pl.lit(10.0), y=pl.lit(20.0))
    right = on_row(0.0).with_columns(x=pl.lit(13.0), y=pl.lit(16.0))
    # sqrt(3^2 + 4^2) = 5
    assert match_pixels(left, right, radius_px=5.0).pairs["sep_px"].to_list() == [5.0]
    assert match_pixels(left, right, radius_px=4.999).pairs.is_empty()


def test_a_neighbour_on_either_side_makes_a_pair_ambiguous():
    # left 0 and 1 are both within 2 of right 0; right 10 has only left 10
    match = match_pixels(on_row(0.0, 1.0, 10.0), on_row(0.2, 10.0), radius_px=2.0)
    assert match.pairs.rows() == [(0, 0, 0.2, True), (2, 1, 0.0, False)]
    assert match.n_ambiguous == 1


def test_pairs_are_sorted_by_row_numbers():
    left, right = on_row(30.0, 20.0, 10.0), on_row(10.0, 30.0, 20.0)
    for how in HOWS:
        assert indices(match_pixels(left, right, radius_px=1.0, how=how)) == [
            (0, 1),
            (1, 2),
            (2, 0),
        ]


# The separation and its limit ---------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.01, 0.5, 1.0, 3600.0])
def test_the_radius_is_inclusive_however_the_last_bits_fall(radius: float):
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 2000), rng.uniform(-88, 88, 2000)
    left = objects(ra, dec).with_columns(visit=pl.int_range(2000))
    # the north component alone is the separation: dec + radius is exactly `radius` away
    right = left.with_columns(pl.col("dec") + radius * ARCSEC)
    match = match_images(left, right, radius_arcsec=radius, by=["visit"], id_column="diaObjectId")
    assert match.pairs.height == 2000
    assert match.pairs["sep_arcsec"].max() <= radius
    assert match.pairs["sep_arcsec"].to_numpy() == pytest.approx(radius, abs=1e-9)
    just_less = max(radius * (1 - 1e-6), 0.01)
    match = match_images(
        left, right, radius_arcsec=just_less, by=["visit"], id_column="diaObjectId"
    )
    assert match.pairs.height == (2000 if just_less == radius else 0)


def test_a_pair_at_the_computed_separation_is_in_at_that_radius():
    rng = np.random.default_rng(1)
    left = objects(rng.uniform(0, 360, 500), rng.uniform(-90, 90, 500))
    right = left.with_columns(
        pl.col("ra") + 1e-4, (pl.col("dec") + rng.normal(0, 1e-4, 500)).clip(-90, 90)
    )
    separations = match_sky(left, right, radius_arcsec=30, how="best1").pairs["sep_arcsec"]
    for row, separation in enumerate(separations.head(50)):
        one = match_sky(left[row], right[row], radius_arcsec=max(separation, 0.01))
        assert one.pairs.height == 1


def test_separations_at_one_degree_are_along_the_sphere():
    # on the equator one degree of RA is one degree; at dec 60 the chord is 2 sin(0.5 deg)
    # cos(60 deg), the separation 2 arcsin(sin(0.5 deg) / 2)
    left, right = objects([0.0, 0.0], [0.0, 60.0]), objects([1.0, 1.0], [0.0, 60.0])
    pairs = match_sky(left, right, radius_arcsec=3600).pairs
    at_60 = 2 * np.degrees(np.arcsin(np.sin(np.radians(0.5)) / 2)) * 3600
    assert indices(match_sky(left, right, radius_arcsec=3600)) == [(0, 0), (1, 1)]
    assert pairs["sep_arcsec"].to_list() == pytest.approx([3600.0, at_60], abs=1e-9)


@pytest.mark.parametrize("turns", [-3, -1, 1, 2, 1000])
def test_right_ascension_may_have_any_value(turns: int):
    left = objects([0.0, 90.0, 180.0, 359.0], [0.0, 10.0, -20.0, 30.0])
    right = left.with_columns(pl.col("ra") + 360.0 * turns)
    match = match_sky(left, right, radius_arcsec=0.01)
    assert match.pairs.rows() == [(row, row, 0.0, False) for row in range(4)]


def test_neighbours_across_ra_zero_and_180_are_found():
    left = objects([359.9999, 179.9999, -0.00005], [0.0, 0.0, 40.0])
    right = objects([0.0, -180.0, 359.99995], [0.0, 0.0, 40.0])
    match = match_sky(left, right, radius_arcsec=0.5)
    # 0.0001 degrees are 0.36 arcsec; the last two are the same position
    assert indices(match) == [(0, 0), (1, 1), (2, 2)]
    assert match.pairs["sep_arcsec"].to_list() == pytest.approx([0.36, 0.36, 0.0], abs=1e-9)


@pytest.mark.parametrize("pole", [90.0, -90.0])
def test_at_a_pole_right_ascension_does_not_matter(pole: float):
    inside = pole * (1 - 1e-6)  # 0.324 arcsec from the pole
    left = objects([10.0, 20.0], [pole, inside])
    right = objects([250.0, 200.0], [pole, inside])
    match = match_sky(left, right, radius_arcsec=0.7, how="all")
    # pole to pole 0, pole to inside 0.324, inside to inside across the pole 0.648
    assert indices(match) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert match.pairs["sep_arcsec"].to_list() == pytest.approx(
        [0.0, 0.324, 0.324, 0.648], abs=1e-9
    )


# Ties and duplicates ------------------------------------------------------------------------


def test_of_two_at_the_same_separation_the_lower_id_is_nearer():
    left, right = on_row(0.0, ids=[1]), on_row(-1.0, 1.0, ids=[9, 8])
    assert indices(match_pixels(left, right, radius_px=2, how="best1")) == [(0, 1)]
    assert indices(match_pixels(left, right, radius_px=2, how="mutual")) == [(0, 1)]
    assert indices(match_pixels(right, left, radius_px=2, how="best2")) == [(1, 0)]


def test_ids_may_be_strings_or_absent():
    left, right = objects([0.0], [0.0]), objects([0.0, 0.0], [-1e-4, 1e-4])
    named = right.with_columns(name=pl.Series(["b", "a"]))
    assert indices(match_sky(left, named, radius_arcsec=1, right_id="name")) == [(0, 1)]
    assert indices(match_sky(left, right, radius_arcsec=1, right_id=None)) == [(0, 0)]


@pytest.mark.parametrize("how", ONE_TO_ONE)
def test_rows_at_one_position_pair_off_in_the_order_of_ids(how: How):
    # ids in order: left rows 2, 0, 1 and right rows 1, 2, 0
    left = on_row(5.0, 5.0, 5.0, ids=[20, 30, 10])
    right = on_row(5.5, 5.5, 5.5, ids=[7, 5, 6])
    match = match_pixels(left, right, radius_px=1, how=how)
    assert indices(match) == [(0, 2), (1, 0), (2, 1)]
    assert match.pairs["sep_px"].to_list() == [0.5, 0.5, 0.5]
    assert match.n_ambiguous == 3


def test_a_duplicate_too_many_has_no_mutual_partner():
    left, right = on_row(5.0, 5.0, 5.0), on_row(5.0, 5.0)
    assert indices(match_pixels(left, right, radius_px=1)) == [(0, 0), (1, 1)]
    # best1 gives the third the first of the right, best2 knows only two
    best1 = match_pixels(left, right, radius_px=1, how="best1")
    assert indices(best1) == [(0, 0), (1, 1), (2, 0)]
    assert indices(match_pixels(left, right, radius_px=1, how="best2")) == [(0, 0), (1, 1)]
    every = match_pixels(left, right, radius_px=1, how="all")
    assert indices(every) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def test_duplicated_rows_with_duplicated_ids_match_themselves():
    frame = on_meridian(0.0, 1.0, 1.0, 1.0, 2.0, ids=[1, 2, 2, 2, 3])
    for how in ONE_TO_ONE:
        match = match_images(frame, frame, radius_arcsec=0.5, how=how)
        assert indices(match) == [(row, row) for row in range(5)]


def test_positions_that_differ_by_less_than_their_square_can_say_are_told_apart():
    # 1e-200 squared is zero as a double, but these are two positions and not one
    frame = on_row(0.0, 1e-200, 1e-12, 5.0)
    assert indices(match_pixels(frame, frame, radius_px=1)) == [(row, row) for row in range(4)]
    sky = objects([0.0, 1e-200, 1e-12, 0.0], [0.0, 0.0, 0.0, 1e-300])
    assert indices(match_sky(sky, sky, radius_arcsec=1)) == [(row, row) for row in range(4)]


# What cannot match --------------------------------------------------------------------------


def test_unusable_positions_are_counted_and_never_match():
    left = objects(
        [None, float("nan"), float("inf"), 10.0, 10.0, 10.0, 10.0, 10.0],
        [0.0, 0.0, 0.0, None, float("nan"), 90.1, -float("inf"), 0.0],
    )
    for how in HOWS:
        match = match_sky(left, left, radius_arcsec=1, how=how)
        assert (match.n_left_unusable, match.n_right_unusable) == (7, 7)
        assert indices(match) == [(7, 7)]


def test_pixel_coordinates_have_a_range_too():
    left = on_row(1.0, float("inf"), 1e300, float("nan"), -2e7, 3.0)
    match = match_pixels(left, left.head(1), radius_px=1)
    assert (match.n_left_unusable, match.n_right_unusable) == (4, 0)
    assert indices(match) == [(0, 0)]


def test_null_in_a_column_that_tells_images_apart_never_matches():
    left = on_meridian(0.0, 0.0, 0.0).with_columns(
        visit=pl.Series([None, 1, 1]), detector=pl.Series([2, None, 2])
    )
    match = match_images(left, left, radius_arcsec=1)
    assert (match.n_left_unusable, match.n_right_unusable) == (2, 2)
    assert indices(match) == [(2, 2)]


def test_nan_tells_no_images_apart():
    left = on_meridian(0.0, 0.0).with_columns(visit=pl.Series([float("nan"), 1.0]))
    match = match_images(left, left, radius_arcsec=1)
    assert match.n_left_unusable == 1
    assert indices(match) == [(1, 1)]


def test_rows_match_only_within_their_image():
    # visit and detector swapped: (1, 2) is not (2, 1)
    left = on_meridian(0.0, 0.0).with_columns(visit=pl.Series([1, 2]), detector=pl.Series([2, 1]))
    right = left.with_columns(visit=pl.Series([2, 3]), detector=pl.Series([1, 1]))
    match = match_images(left, right, radius_arcsec=1, how="all")
    assert indices(match) == [(1, 0)]
    # an image that only one side has is no reason to call its rows unusable
    assert (match.n_left_unusable, match.n_right_unusable) == (0, 0)


def test_any_columns_tell_images_apart():
    left = on_meridian(0.0, 0.0).with_columns(band=pl.Series(["g", "r"]))
    right = left[::-1]
    assert indices(match_images(left, right, radius_arcsec=1, by=["band"])) == [(0, 1), (1, 0)]
    assert indices(match_images(left, right, radius_arcsec=1, by="band")) == [(0, 1), (1, 0)]
    assert indices(match_images(left, right, radius_arcsec=1, by=[])) == [(0, 1), (1, 0)]


def test_integer_columns_of_different_width_still_tell_images_apart():
    left = on_meridian(0.0)
    right = left.cast({"visit": pl.Int32, "detector": pl.UInt8, "dec": pl.Float32})
    assert indices(match_images(left, right, radius_arcsec=1)) == [(0, 0)]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("n_left", "n_right"), [(0, 0), (0, 1), (1, 0), (0, 5), (5, 0), (1, 1)])
def test_empty_and_single_row_frames_match_what_they_can(how: How, n_left: int, n_right: int):
    left, right = on_row(*range(n_left)), on_row(*range(n_right))
    expected = [(0, 0)] if n_left and n_right else []
    assert indices(match_pixels(left, right, radius_px=0.5, how=how)) == expected
    assert indices(match_images(left, right, radius_arcsec=0.5, how=how)) == expected
    options = {"left_id": "diaSourceId", "right_id": "diaSourceId"}
    match = match_sky(left, right, radius_arcsec=0.5, how=how, **options)
    assert indices(match) == expected
    assert match.pairs.schema["is_ambiguous"] == pl.Boolean
    assert (match.n_ambiguous, match.n_left_unusable, match.n_right_unusable) == (0, 0, 0)


def test_frames_without_types_are_empty_frames():
    nothing = pl.DataFrame({"diaSourceId": [], "visit": [], "detector": [], "ra": [], "dec": []})
    assert match_images(nothing, nothing, radius_arcsec=1).pairs.is_empty()
    assert match_images(nothing, on_meridian(0.0), radius_arcsec=1).pairs.is_empty()


# Errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "radius", [0, -1, 0.00999, 3600.001, float("nan"), float("inf"), None, "1", True]
)
def test_an_impossible_radius_is_an_error(radius: float):
    with pytest.raises(MatchError, match=r"radius_arcsec must be a number from 0\.01 to 3600"):
        match_images(on_meridian(0.0), on_meridian(0.0), radius_arcsec=radius)
    with pytest.raises(MatchError, match="radius_arcsec"):
        match_sky(objects([0.0], [0.0]), objects([0.0], [0.0]), radius_arcsec=radius)


@pytest.mark.parametrize("radius", [0, -1, 0.0009, 100_001, float("nan")])
def test_an_impossible_pixel_radius_is_an_error(radius: float):
    with pytest.raises(MatchError, match=r"radius_px must be a number from 0\.001 to 100000"):
        match_pixels(on_row(0.0), on_row(0.0), radius_px=radius)


def test_the_limits_of_the_radius_are_allowed():
    for radius in (0.01, 3600, np.float32(0.5), np.int64(2)):
        assert match_images(on_meridian(0.0), on_meridian(0.0), radius_arcsec=radius)
    for radius in (0.001, 100_000):
        assert match_pixels(on_row(0.0), on_row(0.0), radius_px=radius)


def test_an_unknown_rule_is_an_error_that_lists_the_rules():
    with pytest.raises(MatchError, match="one of mutual, best1, best2, all, not 'best'"):
        match_images(on_meridian(0.0), on_meridian(0.0), radius_arcsec=1, how="best")  # type: ignore[arg-type]


def test_all_missing_columns_of_both_sides_are_named_at_once():
    with pytest.raises(MatchError) as caught:
        match_images(
            on_meridian(0.0).drop("ra", "visit"), pl.DataFrame({"a": [1]}), radius_arcsec=1
        )
    assert str(caught.value) == (
        "cannot match: the left table lacks visit, ra (it has diaSourceId, detector, dec); "
        "the right table lacks visit, detector, ra, dec, diaSourceId (it has a)"
    )
    assert isinstance(caught.value, HitsduckError)
    assert isinstance(caught.value, ValueError)


def test_columns_of_the_wrong_kind_are_named_at_once():
    left = on_meridian(0.0, 1.0).with_columns(
        pl.col("ra").cast(pl.String), diaSourceId=pl.Series([1, None])
    )
    with pytest.raises(MatchError) as caught:
        match_images(left, on_meridian(0.0).with_columns(dec=True), radius_arcsec=1)
    assert str(caught.value) == (
        "cannot match: ra of the left table is String, not a number; "
        "diaSourceId of the left table is NULL in 1 rows; "
        "dec of the right table is Boolean, not a number"
    )


def test_image_columns_that_cannot_be_compared_are_an_error():
    right = on_meridian(0.0).with_columns(pl.col("visit").cast(pl.String))
    with pytest.raises(MatchError, match="visit is Int64 on the left and String on the right"):
        match_images(on_meridian(0.0), right, radius_arcsec=1)


# Random catalogues --------------------------------------------------------------------------

CENTRES = {
    "equator": (150.0, 2.0),
    "ra zero": (0.0, -30.0),
    "ra 360": (360.0, 50.0),
    "ra 180": (-180.0, 0.0),
    "north pole": (77.0, 90.0),
    "south pole": (-700.0, -90.0),
}


@dataclass(frozen=True)
class Scene:
    """Two catalogues and a radius."""

    left: pl.DataFrame
    right: pl.DataFrame
    radius_arcsec: float
    rng: np.random.Generator


def near_centre(centre: str, width_deg: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n positions (RA, declination) of about so many degrees around a centre."""
    if centre == "all sky":
        return np.array([rng.uniform(-400, 800, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))])
    ra, dec = CENTRES[centre]
    offset = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        rng.uniform(0, 360, n) * u.deg, np.abs(rng.normal(0, width_deg, n)) * u.deg
    )
    return np.array([offset.ra.deg + rng.choice([0, 360, -360], n), offset.dec.deg])


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Draw catalogues: sparse and crowded, with counterparts, clusters and duplicates."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_left = draw(st.sampled_from([0, 1, 2, 3, 10, 40]))
    n_right = draw(st.sampled_from([0, 1, 2, 3, 10, 40]))
    radius_arcsec = draw(st.sampled_from([0.01, 0.5, 1.0, 60.0, 3600.0]))
    centre = draw(st.sampled_from([*CENTRES, "all sky"]))
    width_deg = radius_arcsec * ARCSEC * draw(st.sampled_from([0.1, 1.0, 3.0, 30.0]))
    width_deg = min(width_deg, 30.0)
    left = near_centre(centre, width_deg, n_left, rng)
    right = near_centre(centre, width_deg, n_right, rng)
    if n_left and n_right and draw(st.booleans()):  # the same objects again, less or more moved
        again = rng.integers(0, n_left, (n_right + 1) // 2)
        right[:, : again.size] = left[:, again]
        right[1, : again.size] += rng.normal(0, 0.1, again.size) * width_deg
    if draw(st.booleans()):  # a cluster
        for positions in (left, right):
            half = positions.shape[1] // 2
            positions[:, :half] = positions[:, :1] + rng.normal(0, 1e-3 * width_deg, (2, half))
    if draw(st.booleans()):  # duplicates within each side and across
        for positions in (left, right):
            third = positions.shape[1] // 3
            positions[:, :third] = positions[:, third : 2 * third]
        n_shared = min(n_left, n_right) // 4
        right[:, :n_shared] = left[:, :n_shared]
    for positions in (left, right):
        positions[1] = np.clip(positions[1], -90, 90)
    return Scene(
        objects(*left, ids=rng.permutation(n_left)),
        objects(*right, ids=rng.permutation(n_right)),
        radius_arcsec,
        rng,
    )


def coordinates(frame: pl.DataFrame) -> SkyCoord:
    return SkyCoord(frame["ra"].to_numpy(), frame["dec"].to_numpy(), unit="deg")


def separations_arcsec(scene: Scene) -> np.ndarray:
    """All separations, one row for each left row, as astropy computes them."""
    left, right = coordinates(scene.left), coordinates(scene.right)
    return left[:, None].separation(right[None, :]).arcsec


def nearest_by_astropy(
    from_frame: pl.DataFrame, to_frame: pl.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    if from_frame.is_empty() or to_frame.is_empty():
        return np.zeros(from_frame.height, int), np.full(from_frame.height, np.inf)
    index, separation, _ = coordinates(from_frame).match_to_catalog_sky(coordinates(to_frame))
    return index, separation.arcsec


def partner_of(match: Match, n_rows: int, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Partner and separation of every row of one side; -1 and infinity where there is none."""
    other = "right" if side == "left" else "left"
    partner, separation = np.full(n_rows, -1), np.full(n_rows, np.inf)
    rows = match.pairs[f"{side}_index"].to_numpy()
    assert len(set(rows)) == len(rows)
    partner[rows] = match.pairs[f"{other}_index"].to_numpy()
    separation[rows] = match.pairs["sep_arcsec"].to_numpy()
    return partner, separation


def agree(
    partner: np.ndarray,
    separation: np.ndarray,
    true_partner: np.ndarray,
    true_separation: np.ndarray,
    distance: np.ndarray,
    radius_arcsec: float,
) -> None:
    """Compare with the truth, but for rows at the limit; partners may differ in exact ties."""
    at_limit = np.abs(true_separation - radius_arcsec) < 2 * SAME_SEPARATION_ARCSEC
    assert ((partner >= 0) == (true_separation <= radius_arcsec))[~at_limit].all()
    found = (partner >= 0) & ~at_limit
    # where the partner is another one, the two are equally near
    for other in (true_separation[found], distance[np.flatnonzero(found), partner[found]]):
        assert (np.abs(separation[found] - other) < SAME_SEPARATION_ARCSEC).all()


@exhaustive
@given(scenes())
def test_best1_and_best2_are_what_astropy_finds(scene: Scene):
    distance = separations_arcsec(scene)
    for how, side, one, other, distances in (
        ("best1", "left", scene.left, scene.right, distance),
        ("best2", "right", scene.right, scene.left, distance.T),
    ):
        match = match_sky(scene.left, scene.right, radius_arcsec=scene.radius_arcsec, how=how)
        found = partner_of(match, one.height, side)
        agree(*found, *nearest_by_astropy(one, other), distances, scene.radius_arcsec)


@thorough
@given(scenes())
def test_mutual_is_what_astropy_finds_in_both_directions(scene: Scene):
    forward, separation = nearest_by_astropy(scene.left, scene.right)
    backward, _ = nearest_by_astropy(scene.right, scene.left)
    match = match_sky(scene.left, scene.right, radius_arcsec=scene.radius_arcsec)
    found = set(indices(match))
    distance = separations_arcsec(scene)
    for row in range(scene.left.height if scene.right.height else 0):
        partner = forward[row]
        if abs(separation[row] - scene.radius_arcsec) < 2 * SAME_SEPARATION_ARCSEC:
            continue
        n_tied = (distance[row] < separation[row] + SAME_SEPARATION_ARCSEC).sum()
        nearest = distance[:, partner].min()
        n_tied_back = (distance[:, partner] < nearest + SAME_SEPARATION_ARCSEC).sum()
        if n_tied == 1 and n_tied_back == 1:
            is_mutual = backward[partner] == row and separation[row] <= scene.radius_arcsec
            assert ((row, partner) in found) == is_mutual
    # every pair, tied or not, is a nearest one of both rows
    for row, partner, separation_arcsec, _ in match.pairs.rows():
        nearest = distance[row].min(), distance[:, partner].min()
        assert nearest == pytest.approx((separation_arcsec,) * 2, abs=SAME_SEPARATION_ARCSEC)


@thorough
@given(scenes())
def test_all_is_what_astropy_finds_around(scene: Scene):
    match = match_sky(scene.left, scene.right, radius_arcsec=scene.radius_arcsec, how="all")
    distance = separations_arcsec(scene)
    found = set(indices(match))
    assert len(found) == match.pairs.height
    expected: set[tuple[int, int]] = set()
    if scene.left.height and scene.right.height:
        left_index, right_index, _, _ = coordinates(scene.right).search_around_sky(
            coordinates(scene.left), scene.radius_arcsec * u.arcsec
        )
        expected = set(zip(left_index.tolist(), right_index.tolist(), strict=True))
    for pair in found ^ expected:
        assert abs(distance[pair] - scene.radius_arcsec) < 2 * SAME_SEPARATION_ARCSEC
    for row, partner, separation_arcsec, _ in match.pairs.rows():
        assert abs(distance[row, partner] - separation_arcsec) < SAME_SEPARATION_ARCSEC


@thorough
@given(scenes())
def test_ambiguous_pairs_have_another_neighbour(scene: Scene):
    every = match_sky(scene.left, scene.right, radius_arcsec=scene.radius_arcsec, how="all")
    n_of_left = np.bincount(every.pairs["left_index"], minlength=scene.left.height)
    n_of_right = np.bincount(every.pairs["right_index"], minlength=scene.right.height)
    for how in HOWS:
        match = match_sky(scene.left, scene.right, radius_arcsec=scene.radius_arcsec, how=how)
        expected = [
            bool(n_of_left[row] > 1 or n_of_right[partner] > 1) for row, partner in indices(match)
        ]
        assert match.pairs["is_ambiguous"].to_list() == expected
        assert match.n_ambiguous == sum(expected)


@thorough
@given(scenes())
def test_a_catalogue_matched_with_itself_is_complete(scene: Scene):
    for how in ONE_TO_ONE:
        match = match_sky(scene.left, scene.left, radius_arcsec=scene.radius_arcsec, how=how)
        assert indices(match) == [(row, row) for row in range(scene.left.height)]
        assert (match.pairs["sep_arcsec"] == 0.0).all()


MIRROR: dict[How, How] = {"mutual": "mutual", "best1": "best2", "best2": "best1", "all": "all"}


@thorough
@given(scenes())
def test_left_and_right_exchanged_give_the_mirrored_result(scene: Scene):
    for how, mirrored in MIRROR.items():
        match = match_sky(scene.left, scene.right, radius_arcsec=scene.radius_arcsec, how=how)
        back = match_sky(scene.right, scene.left, radius_arcsec=scene.radius_arcsec, how=mirrored)
        mirror = match.pairs.select(
            left_index="right_index",
            right_index="left_index",
            sep_arcsec="sep_arcsec",
            is_ambiguous="is_ambiguous",
        ).sort("left_index", "right_index")
        assert back.pairs.equals(mirror)


@thorough
@given(scenes())
def test_the_order_of_rows_does_not_matter(scene: Scene):
    left_order = scene.rng.permutation(scene.left.height)
    right_order = scene.rng.permutation(scene.right.height)
    for how in HOWS:
        match = match_sky(scene.left, scene.right, radius_arcsec=scene.radius_arcsec, how=how)
        shuffled = match_sky(
            scene.left[left_order],
            scene.right[right_order],
            radius_arcsec=scene.radius_arcsec,
            how=how,
        )
        back = shuffled.pairs.with_columns(
            left_index=pl.Series(left_order[shuffled.pairs["left_index"]], dtype=pl.UInt32),
            right_index=pl.Series(right_order[shuffled.pairs["right_index"]], dtype=pl.UInt32),
        ).sort("left_index", "right_index")
        assert back.equals(match.pairs)


@brief
@given(scenes(), st.integers(1, 4))
def test_images_are_matched_one_by_one(scene: Scene, n_images: int):
    left, right = (
        frame.with_columns(visit=pl.Series(scene.rng.integers(0, n_images, frame.height)))
        for frame in (scene.left, scene.right)
    )
    for how in HOWS:
        together = match_images(
            left,
            right,
            radius_arcsec=scene.radius_arcsec,
            how=how,
            by=["visit"],
            id_column="diaObjectId",
        )
        expected = []
        for visit in range(n_images):
            rows, others = ((frame["visit"] == visit).arg_true() for frame in (left, right))
            match = match_sky(left[rows], right[others], radius_arcsec=scene.radius_arcsec, how=how)
            expected += [
                (rows[row], others[other], separation, is_ambiguous)
                for row, other, separation, is_ambiguous in match.pairs.rows()
            ]
        assert together.pairs.rows() == sorted(expected)


@thorough
@given(scenes())
def test_pixels_are_matched_as_a_plain_search_does(scene: Scene):
    left, right = (
        frame.select(
            x=(pl.col("ra") * 100).round(1),
            y=(pl.col("dec") * 100).round(1),
            diaSourceId="diaObjectId",
            visit=1,
            detector=1,
        )
        for frame in (scene.left, scene.right)
    )
    distance = np.hypot(
        left["x"].to_numpy()[:, None] - right["x"].to_numpy(),
        left["y"].to_numpy()[:, None] - right["y"].to_numpy(),
    )
    every = match_pixels(left, right, radius_px=20.05, how="all")
    assert set(indices(every)) == set(zip(*np.nonzero(distance <= 20.05), strict=True))
    best1 = match_pixels(left, right, radius_px=20.05, how="best1")
    assert best1.pairs.height == ((distance <= 20.05).any(axis=1)).sum()
    for row, partner, separation, _ in best1.pairs.rows():
        assert separation == pytest.approx(distance[row].min(), abs=1e-9)
        assert separation == pytest.approx(distance[row, partner], abs=1e-9)


def by_the_rules(
    left: pl.DataFrame, right: pl.DataFrame, radius_px: float
) -> tuple[dict[int, int], dict[int, int]]:
    """The partner of each left and of each right row, by the words of the documentation."""

    def places(frame: pl.DataFrame) -> dict[tuple[float, float], list[int]]:
        rows: dict[tuple[float, float], list[int]] = {}
        ids = frame["diaSourceId"].to_list()
        for row in sorted(range(frame.height), key=lambda row: ids[row]):
            rows.setdefault((frame["x"][row], frame["y"][row]), []).append(row)
        return rows

    def partners(
        ones: dict[tuple[float, float], list[int]],
        others: dict[tuple[float, float], list[int]],
        other_ids: list[int],
    ) -> dict[int, int]:
        partner = {}
        for (x, y), rows in ones.items():
            near = [
                ((x - other[0]) ** 2 + (y - other[1]) ** 2, other_ids[members[0]], members)
                for other, members in others.items()
                if (x - other[0]) ** 2 + (y - other[1]) ** 2 <= radius_px**2
            ]
            if near:  # the lowest distance, then the lowest id
                members = min(near)[2]
                for number, row in enumerate(rows):
                    partner[row] = members[number if number < len(members) else 0]
        return partner

    left_places, right_places = places(left), places(right)
    return (
        partners(left_places, right_places, right["diaSourceId"].to_list()),
        partners(right_places, left_places, left["diaSourceId"].to_list()),
    )


@exhaustive
@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(0, 30), st.integers(1, 8))
def test_ties_and_duplicates_follow_the_rules(seed: int, n_left: int, n_right: int, width: int):
    # whole pixels in a small square: most rows have duplicates, most neighbours are tied
    rng = np.random.default_rng(seed)
    left, right = (
        pl.DataFrame(rng.integers(0, width, (n, 2)).astype(float), schema=["x", "y"]).with_columns(
            diaSourceId=pl.Series(rng.permutation(n)), visit=1, detector=1
        )
        for n in (n_left, n_right)
    )
    best1, best2 = by_the_rules(left, right, 2.0)
    expected = {
        "best1": sorted(best1.items()),
        "best2": sorted((row, other) for other, row in best2.items()),
        "mutual": sorted(pair for pair in best1.items() if best2.get(pair[1]) == pair[0]),
    }
    for how in ONE_TO_ONE:
        assert indices(match_pixels(left, right, radius_px=2.0, how=how)) == expected[how]


# Parts, blocks and threads ------------------------------------------------------------------


@pytest.fixture
def crowd() -> tuple[pl.DataFrame, pl.DataFrame]:
    """A field with a dense cluster, duplicates and lonely objects, over several cells."""
    rng = np.random.default_rng(5)
    field = np.array([40 + rng.random(300) * 0.3, 60 + rng.random(300) * 0.3])
    cluster = np.array([[40.1], [60.1]]) + rng.normal(0, 2 * ARCSEC, (2, 100))
    left = np.hstack([field, cluster, cluster[:, :50], [[130.0], [-40.0]]])
    right = left + rng.normal(0, 0.3 * ARCSEC, left.shape)
    right[:, :150] = left[:, :150]
    right[:, -50:] = right[:, -100:-50]
    n = left.shape[1]
    return (
        objects(*left, ids=rng.permutation(n)).with_columns(visit=pl.int_range(n) % 3),
        objects(*right, ids=rng.permutation(n)).with_columns(visit=pl.int_range(n) % 3),
    )


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("radius", [0.5, 10.0, 700.0, 3600.0])
def test_small_parts_and_blocks_give_the_same_answer(
    crowd: tuple[pl.DataFrame, pl.DataFrame],
    how: How,
    radius: float,
    monkeypatch: pytest.MonkeyPatch,
):
    def both() -> tuple[Match, Match]:
        return (
            match_sky(*crowd, radius_arcsec=radius, how=how),
            match_images(
                *crowd, radius_arcsec=radius, how=how, by=["visit"], id_column="diaObjectId"
            ),
        )

    expected = both()
    monkeypatch.setattr(crossmatch, "_UNCUT_SKY_ROWS", 0)
    monkeypatch.setattr(crossmatch, "_SKY_PART_ROWS", 100)
    monkeypatch.setattr(crossmatch, "_IMAGE_PART_ROWS", 100)
    monkeypatch.setattr(crossmatch_search, "_BLOCK", 64)
    monkeypatch.setattr(crossmatch_search, "_FREE_CANDIDATES", 10)
    monkeypatch.setattr(crossmatch_search, "_CANDIDATES_PER_PLACE", 1)
    for match, other in zip(both(), expected, strict=True):
        assert match.pairs.equals(other.pairs)
        assert match.n_ambiguous == other.n_ambiguous


@pytest.mark.parametrize("n_threads", [1, 7])
def test_the_number_of_threads_does_not_matter(
    crowd: tuple[pl.DataFrame, pl.DataFrame], n_threads: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(crossmatch, "_UNCUT_SKY_ROWS", 0)
    monkeypatch.setattr(crossmatch, "_SKY_PART_ROWS", 50)
    monkeypatch.setattr(crossmatch, "_IMAGE_PART_ROWS", 50)
    expected = [match_sky(*crowd, radius_arcsec=5.0, how=how).pairs for how in HOWS]
    monkeypatch.setattr(pl, "thread_pool_size", lambda: n_threads)
    for how, pairs in zip(HOWS, expected, strict=True):
        assert match_sky(*crowd, radius_arcsec=5.0, how=how).pairs.equals(pairs)


@pytest.mark.parametrize("n_threads", [1, 7])
@pytest.mark.parametrize("how", HOWS)
def test_catalogues_that_are_not_cut_are_matched_alike_by_any_number_of_threads(
    crowd: tuple[pl.DataFrame, pl.DataFrame],
    how: How,
    n_threads: int,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(crossmatch_search, "_BLOCK", 64)
    monkeypatch.setattr(crossmatch, "_UNCUT_SKY_ROWS", 0)
    monkeypatch.setattr(crossmatch, "_SKY_PART_ROWS", 50)
    expected = match_sky(*crowd, radius_arcsec=5.0, how=how)
    monkeypatch.setattr(crossmatch, "_UNCUT_SKY_ROWS", sum(side.height for side in crowd))
    monkeypatch.setattr(pl, "thread_pool_size", lambda: n_threads)
    found = match_sky(*crowd, radius_arcsec=5.0, how=how)
    assert found.pairs.equals(expected.pairs)
    assert found.n_ambiguous == expected.n_ambiguous


@pytest.mark.parametrize("how", ONE_TO_ONE)
def test_a_dense_cluster_in_a_large_radius_takes_little_memory(how: How):
    # 400 million pairs within the radius: 16 bytes each would be 6.4 GB
    rng = np.random.default_rng(6)
    cluster = rng.normal(0, 2 * ARCSEC, (2, 20_000))
    left = objects(*cluster)
    right = objects(*(cluster + rng.normal(0, 1e-3 * ARCSEC, cluster.shape)))
    tracemalloc.start()
    try:
        match = match_sky(left, right, radius_arcsec=60, how=how)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert match.n_ambiguous == match.pairs.height
    assert match.pairs.height > 19_000
    assert peak_bytes < 100e6


@pytest.mark.parametrize("how", ONE_TO_ONE)
def test_a_heap_of_rows_at_one_position_takes_little_memory(how: How):
    heap = on_meridian(*[0.0] * 20_000)
    tracemalloc.start()
    try:
        match = match_images(heap, heap, radius_arcsec=1, how=how)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert indices(match) == [(row, row) for row in range(20_000)]
    assert match.n_ambiguous == 20_000
    assert peak_bytes < 100e6


def test_what_lies_within_the_radius_lies_in_the_cell_or_beside_it():
    rng = np.random.default_rng(7)
    for radius_arcsec in (0.01, 1.0, 60.0, 500.0, 3600.0):
        depth = crossmatch_sky.healpix_depth(radius_arcsec)
        start = SkyCoord(
            rng.uniform(0, 360, 20_000),
            np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000))),
            unit="deg",
        )
        end = start.directional_offset_by(
            rng.uniform(0, 360, 20_000) * u.deg, radius_arcsec * u.arcsec
        )
        cell, other_cell = (
            lonlat_to_healpix(Longitude(place.ra), Latitude(place.dec), depth).astype(np.int64)
            for place in (start, end)
        )
        assert (neighbours(cell, depth) == other_cell[:, None]).any(axis=1).all()


@pytest.mark.parametrize("module", [crossmatch, crossmatch_search, crossmatch_sky])
def test_the_examples_of_the_documentation_run(module: object):
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]
