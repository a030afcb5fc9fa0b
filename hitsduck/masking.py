"""Masking or detection: why a source of one rerun has no partner in the other.

A good source is `reflagged` where the other rerun has it too, but not as a good one;
`absent` where the other rerun has nothing there. Frames in, frames out.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from hitsduck import schema
from hitsduck.crossmatch import Match, has_position

Matcher = Callable[[pl.DataFrame, pl.DataFrame], Match]

REFLAGGED, ABSENT, UNUSABLE = "reflagged", "absent", "unusable"
_IMAGE = ("visit", "detector")
_NO_PAIRS = pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32, "separation": pl.Float64})


def is_usable(first: str, second: str) -> pl.Expr:
    """Return whether sources can be matched: image known, position known and in range.

    Parameters
    ----------
    first, second : str
        Columns of the position: ``ra`` and ``dec`` (deg), or ``x`` and ``y`` (pixel).
    """
    known = pl.col("visit").is_not_null() & pl.col("detector").is_not_null()
    return has_position(first, second, "arcsec" if second == "dec" else "px") & known


def reasons(
    left: pl.DataFrame,
    right: pl.DataFrame,
    unmatched: tuple[pl.Series, pl.Series],
    rules: tuple[Matcher, Matcher] | None,
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
    rules : tuple of callables, optional
        From two frames to pairs: the rule of the comparison, and the one that gives
        every pair within its radius. None where all sources were compared, so that
        none can be reflagged.
    position : tuple of str
        The columns that the rules look at.

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
    pairs = _NO_PAIRS if rules is None else _pairs(left, right, unmatched, *rules)
    flags = ("is_good", "good_definition_bits")
    return (
        _reasons(
            left, unmatched[0], _partners(pairs, "left", "right", right.select(flags)), position
        ),
        _reasons(
            right, unmatched[1], _partners(pairs, "right", "left", left.select(flags)), position
        ),
    )


def _pairs(
    left: pl.DataFrame,
    right: pl.DataFrame,
    unmatched: tuple[pl.Series, pl.Series],
    match: Matcher,
    near: Matcher,
) -> pl.DataFrame:
    """Match all sources of both reruns, good or not, as far as it can matter.

    Sources match within their image, so only those images are looked at on which an
    unmatched source has one within the radius that is not good.
    """
    images = []
    for own, rows, other in ((left, unmatched[0], right), (right, unmatched[1], left)):
        lonely = own[rows]
        found = near(lonely, other.filter(~pl.col("is_good"))).pairs["left_index"]
        images.append(lonely[found.unique()].select(_IMAGE).unique())
    suspect = pl.concat(images, how="vertical_relaxed").unique()
    if suspect.is_empty():
        return _NO_PAIRS
    rows_of = [
        frame.select(_IMAGE)
        .with_row_index("row")
        .join(suspect, on=_IMAGE, how="semi", maintain_order="left")["row"]
        for frame in (left, right)
    ]
    pairs = match(left[rows_of[0]], right[rows_of[1]]).pairs
    separation = next(name for name in pairs.columns if name.startswith("sep_"))
    return pl.DataFrame(
        {
            "left": rows_of[0].gather(pairs["left_index"]),
            "right": rows_of[1].gather(pairs["right_index"]),
            "separation": pairs[separation],
        }
    )


def _partners(pairs: pl.DataFrame, mine: str, theirs: str, flags: pl.DataFrame) -> pl.DataFrame:
    """Return the nearest partner that is not good, of each row that has one."""
    of_partner = flags[pairs[theirs]]
    return (
        pl.concat([pairs, of_partner], how="horizontal")
        .filter(~pl.col("is_good"))
        .sort(mine, "separation", theirs)
        .unique(mine, keep="first", maintain_order=True)
        .select(pl.col(mine).alias("row"), pl.col("good_definition_bits").alias("bits"))
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
