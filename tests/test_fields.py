"""Fields: visits that look at the same place."""

from __future__ import annotations

import numpy as np
import polars as pl

from hitsduck.fields import fields_of_visits


def disc(visit: int, ra: float, dec: float, radius: float, n: int = 300) -> pl.DataFrame:
    """Return sources spread evenly over a disc on the sky (deg)."""
    k = np.arange(n)
    r, angle = radius * np.sqrt((k + 0.5) / n), 2.399963 * k
    return pl.DataFrame(
        {
            "visit": [visit] * n,
            "ra": (ra + r * np.cos(angle) / np.cos(np.radians(dec))) % 360.0,
            "dec": dec + r * np.sin(angle),
        }
    )


def fields(*discs: pl.DataFrame) -> dict[int, str]:
    return dict(fields_of_visits(pl.concat(discs)).iter_rows())


def test_dithered_visits_are_one_field_and_neighbours_that_share_a_rim_are_not():
    # the centres of two of the survey's fields are 1.6 deg apart, their radius is 1.1 deg
    found = fields(
        disc(1, 155.117, -6.516, 1.1), disc(2, 155.13, -6.50, 1.1), disc(3, 155.468, -4.947, 1.1)
    )
    assert found == {1: "155.1 -6.5", 2: "155.1 -6.5", 3: "155.5 -4.9"}


def test_a_chain_of_overlapping_visits_is_one_field():
    found = fields(*(disc(visit, 10 + 0.8 * visit, 0.0, 1.0) for visit in range(5)))
    assert len(set(found.values())) == 1


def test_a_field_across_the_meridian_is_one():
    assert set(fields(disc(1, 359.9, 0.0, 1.0), disc(2, 0.1, 0.0, 1.0)).values()) == {"0.0 +0.0"}


def test_impossible_positions_and_unknown_visits_do_no_harm():
    good = disc(1, 10.0, 5.0, 0.5)
    wrong = pl.DataFrame(
        {"visit": [1, 1, 1, None], "ra": [200.0, None, float("nan"), 10.0], "dec": [0.0, 5, 5, 5]}
    )
    assert fields(good, wrong, disc(2, 12.0, 5.0, 0.5)) == {1: "10.0 +5.0", 2: "12.0 +5.0"}


def test_names_are_as_precise_as_it_takes():
    found = fields(disc(1, 10.00, 0.0, 0.001), disc(2, 10.02, 0.0, 0.001))
    assert found == {1: "10.00 +0.00", 2: "10.02 +0.00"}


def test_no_sources_give_no_fields():
    nothing = pl.DataFrame(schema={"visit": pl.Int64, "ra": pl.Float64, "dec": pl.Float64})
    assert fields_of_visits(nothing).is_empty()
