"""Object turnover: which objects two reruns share, split, merge or regroup.

Objects of both reruns are the nodes of a graph, pairs of matched sources its edges; a
group is a connected component. Frames in, a table and a frame out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hitsduck.components import connected_components
from hitsduck.crossmatch import How, match_sky
from hitsduck.results import frame_html

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: What can become of an object, in the order of the table.
KINDS = ("same", "split", "merged", "regrouped", "gone", "new")
_EXAMPLES = 5
_OBJECT_COLUMNS = ("diaObjectId", "ra", "dec", "nDiaSources")


@dataclass(frozen=True, eq=False)
class Turnover:
    """What became of the objects of two reruns.

    Attributes
    ----------
    objects : polars.DataFrame
        One row per object: ``side`` (``left``, ``right``), ``diaObjectId``,
        ``n_sources`` (compared ones), ``group`` (number of its group), ``kind``.
    n_left_objects, n_right_objects : int
        Objects with at least one compared source.
    n_left_without_object, n_right_without_object : int
        Compared sources that belong to no object; they link nothing.
    """

    objects: pl.DataFrame
    n_left_objects: int
    n_right_objects: int
    n_left_without_object: int
    n_right_without_object: int

    def table(self) -> pl.DataFrame:
        """Count what became of the objects.

        Returns
        -------
        polars.DataFrame
            One row per kind, always all six: ``kind`` (``same``: one object in each;
            ``split``: one in left, several in right; ``merged``: several in left, one
            in right; ``regrouped``: several in both; ``gone``: in left alone;
            ``new``: in right alone), ``n_groups``, ``n_left_objects``,
            ``n_right_objects``, ``n_left_sources``, ``n_right_sources``,
            ``examples`` (up to five groups as text, ``1 + 2 -> 3``).
        """
        side = pl.col("side")
        ids = pl.col("diaObjectId").cast(pl.String)
        groups = self.objects.group_by("kind", "group").agg(
            (side == "left").sum().alias("n_left_objects"),
            (side == "right").sum().alias("n_right_objects"),
            pl.col("n_sources").filter(side == "left").sum().alias("n_left_sources"),
            pl.col("n_sources").filter(side == "right").sum().alias("n_right_sources"),
        )
        shown = groups.sort("group").group_by("kind", maintain_order=True).head(_EXAMPLES)
        examples = (
            self.objects.join(shown.select("group"), on="group", how="semi")
            .sort("group", "diaObjectId")
            .group_by("kind", "group", maintain_order=True)
            .agg(
                ids.filter(side == "left").str.join(" + ").first().alias("of_left"),
                ids.filter(side == "right").str.join(" + ").first().alias("of_right"),
            )
            .with_columns(
                pl.concat_str("of_left", pl.lit(" -> "), "of_right", ignore_nulls=True)
                .str.strip_chars(" ")
                .alias("examples")
            )
            .group_by("kind", maintain_order=True)
            .agg("examples")
        )
        counts = groups.group_by("kind").agg(
            pl.len().alias("n_groups"), pl.col("^n_(left|right)_.*$").sum()
        )
        numbers = [name for name in counts.columns if name != "kind"]
        return (
            pl.DataFrame({"kind": KINDS})
            .join(counts, on="kind", how="left", maintain_order="left")
            .with_columns(pl.col(numbers).fill_null(0).cast(pl.Int64))
            .join(examples, on="kind", how="left", maintain_order="left")
            .with_columns(pl.col("examples").fill_null([]))
        )

    def summary(self) -> dict[str, Any]:
        """Return the numbers in one dict.

        Returns
        -------
        dict
            ``n_left_objects``, ``n_right_objects``, then the number of groups of each
            kind: ``same``, ``split``, ``merged``, ``regrouped``, ``gone``, ``new``.
        """
        table = self.table()
        counts = {"n_left_objects": self.n_left_objects, "n_right_objects": self.n_right_objects}
        return counts | dict(zip(table["kind"], table["n_groups"], strict=True))

    def __repr__(self) -> str:
        """Return the counts in one line."""
        summary = self.summary()
        kinds = ", ".join(f"{summary[kind]:,} {kind}" for kind in KINDS)
        return f"<Turnover {self.n_left_objects:,} to {self.n_right_objects:,} objects: {kinds}>"

    def _repr_html_(self) -> str:
        return frame_html(self.table().drop("examples"))


def object_turnover(
    left_objects: pl.Series, right_objects: pl.Series, pairs: pl.DataFrame
) -> Turnover:
    """Tell what became of objects from the matches of their sources.

    Parameters
    ----------
    left_objects, right_objects : polars.Series
        diaObjectId of every compared source, NULL where it has none.
    pairs : polars.DataFrame
        One row per matched pair: ``left_index`` and ``right_index`` in these.

    Returns
    -------
    Turnover

    Examples
    --------
    >>> pairs = pl.DataFrame({"left_index": [0, 1], "right_index": [0, 1]})
    >>> object_turnover(pl.Series([7, 7]), pl.Series([1, 2]), pairs)
    <Turnover 1 to 2 objects: 0 same, 1 split, 0 merged, 0 regrouped, 0 gone, 0 new>
    """
    links = ObjectLinks.of(left_objects, right_objects, pairs)
    return links.turnover()


@dataclass(frozen=True, eq=False)
class ObjectLinks:
    """The objects of some sources of two reruns, and which of them matched sources link.

    Attributes
    ----------
    left, right : polars.DataFrame
        One row per object: ``diaObjectId``, ``n_sources``; NULL for sources without one.
    pairs : polars.DataFrame
        One row per two linked objects: ``left``, ``right`` (their diaObjectIds).
    """

    left: pl.DataFrame
    right: pl.DataFrame
    pairs: pl.DataFrame

    @classmethod
    def of(cls, left: pl.Series, right: pl.Series, pairs: pl.DataFrame) -> ObjectLinks:
        """Take them from sources; parameters as for `object_turnover`."""
        linked = pl.DataFrame(
            {
                "left": left.gather(pairs["left_index"]).cast(pl.Int64),
                "right": right.gather(pairs["right_index"]).cast(pl.Int64),
            }
        )
        return cls(_counted(left), _counted(right), linked.drop_nulls().unique())

    @classmethod
    def together(cls, parts: Sequence[ObjectLinks]) -> ObjectLinks:
        """Put those of different sources together; there is at least one part."""
        sides = [
            pl.concat([getattr(part, side) for part in parts])
            .group_by("diaObjectId")
            .agg(pl.col("n_sources").sum())
            for side in ("left", "right")
        ]
        return cls(sides[0], sides[1], pl.concat([part.pairs for part in parts]).unique())

    def turnover(self) -> Turnover:
        """Find the groups of linked objects."""
        return _turnover(self)


def _counted(objects: pl.Series) -> pl.DataFrame:
    named = objects.cast(pl.Int64).alias("diaObjectId").to_frame()
    return named.group_by("diaObjectId").agg(pl.len().cast(pl.Int64).alias("n_sources"))


def _turnover(links: ObjectLinks) -> Turnover:
    left, right = (frame.drop_nulls().sort("diaObjectId") for frame in (links.left, links.right))
    left_ids, right_ids = left["diaObjectId"].to_numpy(), right["diaObjectId"].to_numpy()
    n_left, n_right = left_ids.size, right_ids.size
    pairs = links.pairs.sort("left", "right")
    first = np.searchsorted(left_ids, pairs["left"].to_numpy())
    second = np.searchsorted(right_ids, pairs["right"].to_numpy())
    group = connected_components(n_left + n_right, first, second + n_left)
    n_groups = int(group.max(initial=-1)) + 1
    of_left = np.bincount(group[:n_left], minlength=n_groups)
    of_right = np.bincount(group[n_left:], minlength=n_groups)
    kinds = np.select(
        [
            of_left == 0,
            of_right == 0,
            (of_left == 1) & (of_right == 1),
            of_left == 1,
            of_right == 1,
        ],
        [KINDS.index(kind) for kind in ("new", "gone", "same", "split", "merged")],
        KINDS.index("regrouped"),
    )
    names = pl.Series(KINDS, dtype=pl.Enum(KINDS))
    objects = pl.DataFrame(
        {
            "side": pl.concat([_repeated("left", n_left), _repeated("right", n_right)]),
            "diaObjectId": np.concatenate([left_ids, right_ids]),
            "n_sources": pl.concat([left["n_sources"], right["n_sources"]]),
            "group": group,
            "kind": names.gather(kinds[group]).cast(pl.String),
        }
    )
    n_without = [
        int(frame.filter(pl.col("diaObjectId").is_null())["n_sources"].sum())
        for frame in (links.left, links.right)
    ]
    return Turnover(
        objects,
        n_left_objects=n_left,
        n_right_objects=n_right,
        n_left_without_object=n_without[0],
        n_right_without_object=n_without[1],
    )


def _repeated(text: str, n_rows: int) -> pl.Series:
    return pl.Series([text], dtype=pl.String).new_from_index(0, n_rows)


@dataclass(frozen=True, eq=False)
class ObjectMatch:
    """Current objects of two reruns, matched on the sky.

    Attributes
    ----------
    left, right : str
        Names of the reruns.
    radius_arcsec : float
    how : str
    good : bool
        Only objects with at least one good source.
    matched : polars.DataFrame
        One row per pair: ``diaObjectId``, ``ra``, ``dec`` (deg), ``nDiaSources``
        (as recorded), each with ``_left`` and ``_right``, ``sep_arcsec``,
        ``is_ambiguous``.
    left_only, right_only : polars.DataFrame
        One row per unmatched object, in order of diaObjectId.
    n_left, n_right : int
        Objects compared.
    n_left_unusable, n_right_unusable : int
        Of them, without a usable position; never matched.
    n_ambiguous : int
        Pairs of which one has another neighbour within the radius.
    """

    left: str
    right: str
    radius_arcsec: float
    how: How
    good: bool
    matched: pl.DataFrame
    left_only: pl.DataFrame
    right_only: pl.DataFrame
    n_left: int
    n_right: int
    n_left_unusable: int
    n_right_unusable: int
    n_ambiguous: int

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the match, keys as those of `Comparison.summary`."""
        return {
            "left": self.left,
            "right": self.right,
            "radius_arcsec": self.radius_arcsec,
            "match": self.how,
            "good": self.good,
            "n_left": self.n_left,
            "n_right": self.n_right,
            "n_matched": self.matched.height,
            "n_left_only": self.left_only.height,
            "n_right_only": self.right_only.height,
            "n_ambiguous": self.n_ambiguous,
            "n_left_unusable": self.n_left_unusable,
            "n_right_unusable": self.n_right_unusable,
        }

    def __repr__(self) -> str:
        """Return the counts in one line."""
        return (
            f"<ObjectMatch {self.left} with {self.right}: {self.matched.height:,} matched within "
            f"{self.radius_arcsec:g} arcsec, {self.left_only.height:,} only in {self.left}, "
            f"{self.right_only.height:,} only in {self.right}>"
        )

    def _repr_html_(self) -> str:
        rows = pl.DataFrame(
            {
                "rerun": [self.left, self.right],
                "objects": [self.n_left, self.n_right],
                "matched": [self.matched.height] * 2,
                "only here": [self.left_only.height, self.right_only.height],
            }
        )
        kind = "Good objects" if self.good else "Objects"
        return frame_html(
            rows, f"{kind}, matched within {self.radius_arcsec:g} arcsec ({self.how})"
        )


def match_objects(
    reruns: Reruns,
    left: str,
    right: str,
    *,
    radius_arcsec: float = 0.5,
    good: bool = True,
    how: How = "mutual",
    where: str | None = None,
) -> ObjectMatch:
    """Match the current objects of two reruns by their positions on the sky.

    Parameters
    ----------
    reruns : Reruns
    left, right : str
        Names of two opened reruns.
    radius_arcsec : float
        Largest separation, inclusive.
    good : bool
        Only objects with at least one good source.
    how : {"mutual", "best1", "best2", "all"}
    where : str, optional
        One expression on ``dia_source``: objects with at least one such source.

    Returns
    -------
    ObjectMatch

    Raises
    ------
    RerunNameError, QueryError, MatchError
    """
    frames = [
        reruns[name].objects(_OBJECT_COLUMNS, good=good, where=where).polars().sort("diaObjectId")
        for name in (left, right)
    ]
    match = match_sky(frames[0], frames[1], radius_arcsec=radius_arcsec, how=how)
    pairs = match.pairs
    matched = pl.concat(
        [
            frames[0][pairs["left_index"]].select(pl.all().name.suffix("_left")),
            frames[1][pairs["right_index"]].select(pl.all().name.suffix("_right")),
            pairs.select("sep_arcsec", "is_ambiguous"),
        ],
        how="horizontal",
    )
    only = []
    for frame, index in zip(frames, ("left_index", "right_index"), strict=True):
        is_alone = np.ones(frame.height, dtype=bool)
        is_alone[pairs[index].to_numpy()] = False
        only.append(frame.filter(pl.Series(is_alone)))
    return ObjectMatch(
        left=left,
        right=right,
        radius_arcsec=radius_arcsec,
        how=how,
        good=good,
        matched=matched,
        left_only=only[0],
        right_only=only[1],
        n_left=frames[0].height,
        n_right=frames[1].height,
        n_left_unusable=match.n_left_unusable,
        n_right_unusable=match.n_right_unusable,
        n_ambiguous=match.n_ambiguous,
    )
