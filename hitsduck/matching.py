"""What matching two reruns gave, source by source: who has a partner, and if not, why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import polars as pl

from hitsduck.absence import image_counts
from hitsduck.coverage import IMAGE
from hitsduck.crossmatch import How, Match, match_images, match_pixels
from hitsduck.errors import MatchError
from hitsduck.masking import reasons
from hitsduck.sides import MATCH_COLUMNS, Side, read_together

_INDEX = ("left_index", "right_index")


class Rule:
    """How sources of one image are matched: two frames in, a `Match` out.

    Parameters
    ----------
    radius_arcsec : float
        On the sky; not looked at where `radius_px` is given.
    radius_px : float, optional
        In pixel coordinates.
    how : {"mutual", "best1", "best2", "all"}
    """

    def __init__(self, radius_arcsec: float, radius_px: float | None, how: How) -> None:
        self.how = how
        self.radius_px = radius_px
        self.radius_arcsec = radius_arcsec if radius_px is None else None
        self._match: Callable[..., Match]
        if radius_px is None:
            self.position = ("ra", "dec")
            self._match = partial(match_images, radius_arcsec=radius_arcsec, how=how)
        else:
            self.position = ("x", "y")
            self._match = partial(match_pixels, radius_px=radius_px, how=how)

    def __call__(self, left: pl.DataFrame, right: pl.DataFrame) -> Match:
        """Match two frames of sources."""
        return self._match(left, right)

    def mutual(self, left: pl.DataFrame, right: pl.DataFrame) -> Match:
        """Match those that are each other's nearest."""
        return self._match(left, right, how="mutual")

    def every(self, left: pl.DataFrame, right: pl.DataFrame) -> Match:
        """Match every pair within the radius."""
        return self._match(left, right, how="all")

    def __str__(self) -> str:
        """Return the radius with its unit."""
        if self.radius_px is not None:
            return f"{self.radius_px} px"
        return f"{self.radius_arcsec} arcsec"


@dataclass(frozen=True, eq=False)
class Compared:
    """One rerun's part of a comparison.

    Attributes
    ----------
    side : Side
        All its sources.
    rows : polars.Series
        Row numbers in `side` of the compared ones.
    match_id : polars.Series
        For each of `rows` the number of its (first) pair, NULL where it has none.
    why : polars.Series
        For each of `rows` why it has no partner, NULL where it has one.
    """

    side: Side
    rows: pl.Series
    match_id: pl.Series
    why: pl.Series


class Matching:
    """The matched and the unmatched sources of two reruns.

    Parameters
    ----------
    left, right : Side
        One object where a rerun is compared with itself.
    rule : Rule
    good : bool
        Only good sources are compared.
    columns : sequence of str
        Further columns to read at once; others are read when asked for.

    Attributes
    ----------
    sides : tuple of Side
    rows : tuple of polars.Series
        Row numbers of the compared sources in each.
    match : Match
        Pairs, in numbers of compared sources.
    """

    def __init__(
        self, left: Side, right: Side, rule: Rule, *, good: bool, columns: Sequence[str] = ()
    ) -> None:
        self.sides = (left, right)
        self.rule, self.good = rule, good
        matched = ("diaSourceId", *IMAGE, *rule.position)
        read_together(self.sides, (*matched, "is_good", *columns))
        rows, frames = [], []
        for side in self.sides:
            frame = side.frame(*matched)
            _check_ids(frame, of="left" if side is left else "right")
            if good:
                is_good = side.frame("is_good")["is_good"]
                frame = frame.filter(is_good)
                rows.append(pl.Series(np.flatnonzero(is_good.to_numpy()), dtype=pl.UInt32))
            else:
                rows.append(pl.arange(len(side), dtype=pl.UInt32, eager=True))
            frames.append(frame)
        self.rows = (rows[0], rows[1])
        self.match = rule(frames[0], frames[1])

    @cached_property
    def is_only(self) -> tuple[pl.Series, pl.Series]:
        """Whether each compared source of left, and of right, is without a partner."""
        return (self._match_id(0).is_null(), self._match_id(1).is_null())

    @cached_property
    def n_only(self) -> tuple[int, int]:
        """How many sources of left, and of right, have no partner."""
        return (int(self.is_only[0].sum()), int(self.is_only[1].sum()))

    def _match_id(self, side: int) -> pl.Series:
        """Return for each compared source the number of its first pair, else NULL."""
        index = self.match.pairs[_INDEX[side]].to_numpy()
        match_id = np.full(self.rows[side].len(), -1, dtype=np.int64)
        # backwards, for of several numbers the last one written stays
        match_id[index[::-1]] = np.arange(index.size)[::-1]
        found = pl.Series("match_id", match_id)
        return found.set(found < 0, None).cast(pl.UInt32)

    def unmatched(self, side: int) -> pl.Series:
        """Return the rows of the sources of one side that have no partner."""
        return self.rows[side].filter(self.is_only[side])

    def image_counts(self) -> pl.DataFrame:
        """Count all sources and mutual pairs by image, good or not, under no condition.

        Returns
        -------
        polars.DataFrame
            See `hitsduck.absence.image_counts`.
        """
        sides = [
            side if side.where is None else Side(side.reruns, side.name) for side in self.sides
        ]
        columns = ("diaSourceId", *IMAGE, *self.rule.position)
        read_together(sides, columns)
        # A condition may have left out those without an id, which nothing can be matched by.
        left, right = (side.frame(*columns).drop_nulls("diaSourceId") for side in sides)
        return image_counts(left, right, self.rule.mutual(left, right).pairs)

    @cached_property
    def reasons(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """``why`` and ``differing_flags`` of the unmatched sources (`hitsduck.masking`)."""
        read_together(self.sides, MATCH_COLUMNS)
        left, right = (side.frame(*MATCH_COLUMNS) for side in self.sides)
        unmatched = (self.unmatched(0), self.unmatched(1))
        rules = (self.rule, self.rule.every) if self.good else None
        return reasons(left, right, unmatched, rules, position=self.rule.position)

    @cached_property
    def compared(self) -> dict[str, Compared]:
        """``left`` and ``right``, source by source."""
        parts = {}
        for side, name in enumerate(("left", "right")):
            rows = self.rows[side]
            why = self.reasons[side].select("why", self.unmatched(side).alias("row"))
            told = pl.DataFrame({"row": rows}).join(
                why, on="row", how="left", maintain_order="left"
            )
            parts[name] = Compared(self.sides[side], rows, self._match_id(side), told["why"])
        return parts


def _check_ids(frame: pl.DataFrame, *, of: str) -> None:
    """Refuse sources without an id, good or not: all of them are matched sooner or later."""
    n_null = frame["diaSourceId"].null_count()
    if n_null:
        raise MatchError(f"cannot match: diaSourceId of the {of} table is NULL in {n_null} rows")
