"""Masking or detection: why a source of one rerun has no partner in the other.

A good source is `reflagged` where the other rerun has it too, but not as a good one;
`absent` where the other rerun has nothing there. Frames in, frames out.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from hitsduck import schema
from hitsduck.crossmatch import Match

Matcher = Callable[[pl.DataFrame, pl.DataFrame], Match]

REFLAGGED, ABSENT, UNUSABLE = "reflagged", "absent", "unusable"


def is_usable(first: str, second: str) -> pl.Expr:
    """Return whether sources can be matched: image known, position known and in range.

    Parameters
    ----------
    first, second : str
        Columns of the position: ``ra`` and ``dec`` (deg), or ``x`` and ``y`` (pixel).
    """
    in_range = pl.col(first).is_finite() & pl.col(second).is_finite()
    if second == "dec":
        in_range &= pl.col(second).abs() <= 90.0
    known = pl.col("visit").is_not_null() & pl.col("detector").is_not_null()
    return (in_range & known).fill_null(False)


def reasons(
    left: pl.DataFrame,
    right: pl.DataFrame,
    unmatched: tuple[pl.Series, pl.Series],
    match: Matcher,
    *,
    position: tuple[str, str] = ("ra", "dec"),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Say of unmatched sources whether the other rerun has them with other flags.

    Parameters
    ----------
    left, right : polars.DataFrame
        ALL sources of each rerun, good or not: `hitsduck.sides.MATCH_COLUMNS`.
    unmatched : tuple of polars.Series
        Row numbers, in `left` and in `right`, of the compared sources that have no
        partner among the compared ones.
    match : callable
        The rule of the comparison, from two frames to pairs.
    position : tuple of str
        The columns that the rule looks at.

    Returns
    -------
    tuple of polars.DataFrame
        One row per unmatched source, in the order given: ``why`` is ``reflagged``
        (its partner by the same rule among all sources of both reruns is not good),
        ``unusable`` (no image or position, so that it is never matched) or
        ``absent``; ``differing_flags`` are the flags of the good definition that the
        partner has set: NULL where the source is not reflagged, and where the
        partner is not good because one of these flags is NULL.
    """
    pairs = match(left, right).pairs if any(rows.len() for rows in unmatched) else None
    return (
        _reasons(left, unmatched[0], _partners(pairs, "left", "right", right), position),
        _reasons(right, unmatched[1], _partners(pairs, "right", "left", left), position),
    )


def _partners(
    pairs: pl.DataFrame | None, mine: str, theirs: str, other: pl.DataFrame
) -> pl.DataFrame:
    """Return the nearest partner that is not good, of each row that has one."""
    if pairs is None:
        return pl.DataFrame(schema={"row": pl.UInt32, "bits": pl.Int64})
    separation = next(name for name in pairs.columns if name.startswith("sep_"))
    partner = pairs[f"{theirs}_index"]
    return (
        pairs.select(
            pl.col(f"{mine}_index").alias("row"),
            pl.col(separation).alias("separation"),
            partner.alias("partner"),
            other["is_good"].gather(partner).alias("is_good"),
            other["good_definition_bits"].gather(partner).alias("bits"),
        )
        .filter(~pl.col("is_good"))
        .sort("row", "separation", "partner")
        .unique("row", keep="first", maintain_order=True)
        .select("row", "bits")
    )


def _reasons(
    own: pl.DataFrame, rows: pl.Series, partners: pl.DataFrame, position: tuple[str, str]
) -> pl.DataFrame:
    asked = own[rows].select(is_usable(*position).alias("is_usable"))
    asked = asked.with_columns(rows.cast(pl.UInt32).alias("row"))
    partners = partners.with_columns(pl.lit(True).alias("is_reflagged"))
    told = asked.join(partners, on="row", how="left", maintain_order="left")
    named = told.join(_flags_of(partners["bits"]), on="bits", how="left", maintain_order="left")
    return named.select(
        pl.when(pl.col("is_reflagged"))
        .then(pl.lit(REFLAGGED))
        .when("is_usable")
        .then(pl.lit(ABSENT))
        .otherwise(pl.lit(UNUSABLE))
        .alias("why"),
        "differing_flags",
    )


def _flags_of(bits: pl.Series) -> pl.DataFrame:
    """Return the names of the flags in each value of ``good_definition_bits``."""
    values = bits.drop_nulls().unique().to_list()
    names = [[f for f in schema.flag_names() if v & schema.flag_number(f)] for v in values]
    return pl.DataFrame(
        [
            pl.Series("bits", values, dtype=pl.Int64),
            pl.Series("differing_flags", names, dtype=pl.List(pl.String)),
        ]
    )
