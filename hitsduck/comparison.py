"""Two reruns of the same images, compared source by source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from hitsduck.crossmatch import How, match_images

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: Columns that come along with every source of a comparison.
SOURCE_COLUMNS = (
    "diaSourceId",
    "diaObjectId",
    "visit",
    "detector",
    "band",
    "midpointMjdTai",
    "ra",
    "dec",
    "x",
    "y",
    "psfFlux",
    "psfFluxErr",
    "psf_snr",
)
_SHARED = ("visit", "detector")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Sources that two reruns share, and those that only one of them has.

    Attributes
    ----------
    left, right : str
        Names of the reruns.
    left_path, right_path : str
        The files that the numbers came from.
    radius_arcsec : float
    how : str
        Match semantics: ``mutual``, ``best1``, ``best2`` or ``all``.
    good : bool
        Only good sources were compared.
    where : str or None
        The condition on both reruns' sources.
    matched : polars.DataFrame
        One row per matched pair: ``visit``, ``detector``, then each source column
        once with ``_left`` and once with ``_right``, ``sep_arcsec``,
        ``is_ambiguous`` (another neighbour within the radius).
    left_only, right_only : polars.DataFrame
        One row per unmatched source, in order of ``diaSourceId``.
    n_left, n_right : int
        Sources that were compared.
    n_left_unusable, n_right_unusable : int
        Of them, sources without a usable position; never matched.
    n_ambiguous : int
        Matched pairs that are ambiguous.
    """

    left: str
    right: str
    left_path: str
    right_path: str
    radius_arcsec: float
    how: How
    good: bool
    where: str | None
    matched: pl.DataFrame
    left_only: pl.DataFrame
    right_only: pl.DataFrame
    n_left: int
    n_right: int
    n_left_unusable: int
    n_right_unusable: int
    n_ambiguous: int

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the comparison.

        Returns
        -------
        dict
            ``left``, ``right``, ``radius_arcsec``, ``n_left``, ``n_right``,
            ``n_matched``, ``n_left_only``, ``n_right_only``, ``n_ambiguous``,
            ``n_left_unusable``, ``n_right_unusable``, ``match``, ``good``,
            ``where``, ``left_path``, ``right_path``.
        """
        return {
            "left": self.left,
            "right": self.right,
            "radius_arcsec": self.radius_arcsec,
            "n_left": self.n_left,
            "n_right": self.n_right,
            "n_matched": self.matched.height,
            "n_left_only": self.left_only.height,
            "n_right_only": self.right_only.height,
            "match": self.how,
            "n_ambiguous": self.n_ambiguous,
            "n_left_unusable": self.n_left_unusable,
            "n_right_unusable": self.n_right_unusable,
            "good": self.good,
            "where": self.where,
            "left_path": self.left_path,
            "right_path": self.right_path,
        }

    def __repr__(self) -> str:
        """Return the counts in one line."""
        return (
            f"<Comparison {self.left} with {self.right}: {self.matched.height} matched within "
            f"{self.radius_arcsec} arcsec, {self.left_only.height} only in {self.left}, "
            f"{self.right_only.height} only in {self.right}>"
        )

    def _repr_html_(self) -> str:
        rows = pl.DataFrame(
            {"": [self.left, self.right], "sources": [self.n_left, self.n_right]}
        ).with_columns(
            pl.lit(self.matched.height).alias("matched"),
            pl.Series("only here", [self.left_only.height, self.right_only.height]),
        )
        return str(rows._repr_html_())


def compare_sources(
    reruns: Reruns,
    left: str,
    right: str,
    *,
    radius_arcsec: float = 0.5,
    good: bool = True,
    how: How = "mutual",
    where: str | None = None,
) -> Comparison:
    """Match the sources of two reruns within the same visit and detector.

    Parameters
    ----------
    reruns : Reruns
    left, right : str
        Names of two opened reruns; one name twice compares a rerun with itself.
    radius_arcsec : float
        Largest separation of a pair, inclusive.
    good : bool
        Compare only good sources.
    how : {"mutual", "best1", "best2", "all"}
        ``mutual``: each is the other's nearest within the radius.
    where : str, optional
        One expression on ``dia_source``, on both reruns.

    Returns
    -------
    Comparison
        Over the union of the (visit, detector) of both reruns.

    Raises
    ------
    RerunNameError, QueryError, InstrumentError, MatchError
    """
    frames = [
        reruns[name].sources(SOURCE_COLUMNS, good=good, where=where).polars().sort("diaSourceId")
        for name in (left, right)
    ]
    match = match_images(frames[0], frames[1], radius_arcsec=radius_arcsec, how=how)
    pairs = match.pairs
    matched = pl.concat(
        [
            frames[0][pairs["left_index"]].rename(_suffixed(frames[0], "_left", keep=True)),
            frames[1][pairs["right_index"]]
            .drop(_SHARED)
            .rename(_suffixed(frames[1], "_right", keep=False)),
            pairs.select("sep_arcsec", "is_ambiguous"),
        ],
        how="horizontal",
    )
    return Comparison(
        left=left,
        right=right,
        left_path=str(reruns[left].path),
        right_path=str(reruns[right].path),
        radius_arcsec=radius_arcsec,
        how=how,
        good=good,
        where=where,
        matched=matched,
        left_only=_unmatched(frames[0], pairs["left_index"]),
        right_only=_unmatched(frames[1], pairs["right_index"]),
        n_left=frames[0].height,
        n_right=frames[1].height,
        n_left_unusable=match.n_left_unusable,
        n_right_unusable=match.n_right_unusable,
        n_ambiguous=match.n_ambiguous,
    )


def _suffixed(frame: pl.DataFrame, suffix: str, *, keep: bool) -> dict[str, str]:
    """Return the new names of a frame's columns; the shared ones keep theirs."""
    return {
        name: name if name in _SHARED else name + suffix
        for name in frame.columns
        if keep or name not in _SHARED
    }


def _unmatched(frame: pl.DataFrame, matched_rows: pl.Series) -> pl.DataFrame:
    return (
        frame.with_row_index("_row")
        .join(matched_rows.unique().alias("_row").to_frame(), on="_row", how="anti")
        .sort("_row")
        .drop("_row")
    )
