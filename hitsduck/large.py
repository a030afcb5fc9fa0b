"""Two reruns too large to hold, compared visit by visit: memory does not grow with them.

Sources match within their image, so that whole visits can be compared one group after
another. What is kept of a group are counts by image; what needs the sources themselves
goes through the visits again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from hitsduck import guard, listing
from hitsduck.comparison import EDGE_WITHIN_PX, Comparison, columns_of_pairs, is_same
from hitsduck.coverage import (
    IMAGE,
    Images,
    coverage_table,
    images_listed,
    images_of_both,
)
from hitsduck.edges import check_within, edge_excess
from hitsduck.errors import QueryError, TooLargeError
from hitsduck.evidence import Evidence, check_extra, edge_cells, edge_problem, geometry_of
from hitsduck.held import NUMBER_BYTES, ONLY_BYTES, PAIR_BYTES, HeldEvidence
from hitsduck.limits import check_number, check_truth
from hitsduck.listing import checked_columns, is_row_by_row
from hitsduck.masking import UNUSABLE
from hitsduck.matching import Rule
from hitsduck.pairing import COUNTS
from hitsduck.sides import MATCH_COLUMNS, Side
from hitsduck.turnover import ObjectLinks

if TYPE_CHECKING:
    from hitsduck.crossmatch import How
    from hitsduck.edges import EdgeExcess
    from hitsduck.explanation import Explanation
    from hitsduck.reruns import Reruns
    from hitsduck.turnover import Turnover

#: Sources of both reruns, beyond which they are compared visit by visit.
MOST_AT_ONCE = 20_000_000
#: Sources of both reruns that are then held at once, unless one visit has more.
ROWS_AT_ONCE = 4_000_000
#: Distances to an edge (pixel) that are told without another pass: those of the report.
EDGE_BOUNDS_PX = (16.0, EDGE_WITHIN_PX, 64.0, 128.0)
#: What a compared source takes at most while it is held, in bytes, where memory is limited.
_BYTES_PER_SOURCE = 400
#: And with the columns that an explanation looks along, all flags among them.
_BYTES_READ = 1_000
#: Sums of `Comparison` over the groups of visits.
_SUMS = (
    "n_left",
    "n_right",
    "n_matched",
    "n_left_unusable",
    "n_right_unusable",
    "n_left_only",
    "n_right_only",
    "n_ambiguous",
)
_NAMES = ("left", "right")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class _Group:
    """What is kept of the comparison of some visits.

    Attributes
    ----------
    sums : dict of str to int
        `_SUMS`, ``n_left_only_reflagged`` and ``n_right_only_reflagged``.
    images : tuple of polars.DataFrame
        Of left and right: `coverage.counts_of_images`.
    edges : polars.DataFrame
        `evidence.edge_cells`.
    """

    sums: dict[str, int]
    images: tuple[pl.DataFrame, pl.DataFrame]
    edges: pl.DataFrame


class LargeComparison(Comparison):
    """Sources that two reruns share, and those that only one of them has, visit by visit.

    Made by ``reruns.compare(left, right)`` where both together have more than
    `MOST_AT_ONCE` sources. It answers as `Comparison` does. `explain` and `differences`
    hold a few bytes of each source, and the frames ``matched``, ``left_only`` and
    ``right_only`` all there is of theirs; where the memory that is allowed has no room for
    it, they say so (`TooLargeError`). `write` writes the lists to files, however long.

    Attributes
    ----------
    n_groups : int
        Groups of visits that were compared one after another.
    """

    def __init__(
        self,
        left: Side,
        right: Side,
        rule: Rule,
        *,
        good: bool,
        columns: Sequence[str],
        rows_at_once: int,
    ) -> None:
        self._reruns, self._rule = left.reruns, rule
        self._read = tuple(dict.fromkeys((*MATCH_COLUMNS, "x", "y", *columns)))
        self.left, self.right = left.name, right.name
        self.left_path, self.right_path = str(left.path), str(right.path)
        self.radius_arcsec, self.radius_px = rule.radius_arcsec, rule.radius_px
        self.how, self.good, self.where = rule.how, good, left.where
        self.same_file = is_same(left, right)
        self._rows_at_once = rows_at_once
        self._visits = _groups_of_visits(self._reruns, {left.name, right.name}, rows_at_once)
        self.n_groups = len(self._visits)
        groups = list(self._each(_kept))
        totals = {name: sum(group.sums[name] for group in groups) for name in groups[0].sums}
        for name in _SUMS:
            setattr(self, name, totals[name])
        self._reflagged = (totals["n_left_only_reflagged"], totals["n_right_only_reflagged"])
        self._image_counts = {
            name: pl.concat([group.images[side] for group in groups])
            for side, name in enumerate(_NAMES)
        }
        self._cells = pl.concat([group.edges for group in groups])
        self._schema: str | None = None
        self._pairs: dict[str, pl.Series] = {}

    def _each(
        self, ask: Callable[[Comparison], _Found], *, reads_much: bool = False
    ) -> Iterator[_Found]:
        """Compare the visits, group by group; give what `ask` finds in each.

        Smaller groups, where memory is limited, for what reads many columns.
        """
        groups = self._visits
        if reads_much and (limit := self._reruns.memory_limit_bytes) is not None:
            names = {self.left, self.right}
            fitting = max(min(self._rows_at_once, limit // _BYTES_READ), 1)
            groups = _groups_of_visits(self._reruns, names, fitting)
        for visits in groups:
            within = self._reruns.of_visits(visits)
            try:
                left = Side(within, self.left, self.where)
                right = left if self.right == self.left else Side(within, self.right, self.where)
                yield ask(Comparison(left, right, self._rule, good=self.good, columns=self._read))
            finally:
                if visits is not None:
                    self._reruns.leave_visits(visits)

    # -- images ----------------------------------------------------------------

    @cached_property
    def _images(self) -> dict[str, Images]:
        listed = []
        for name, rerun in zip(_NAMES, (self.left, self.right), strict=True):
            seen = self._image_counts[name].select(IMAGE) if self.where is None else None
            listed.append(images_listed(self._reruns, rerun, seen))
        return images_of_both(listed[0], listed[1], self._counts_of_all)

    def _counts_of_all(self) -> pl.DataFrame:
        """Count all sources and mutual pairs by image, in another pass."""
        found = self._each(lambda part: part._matching.image_counts())
        return pl.concat(list(found), how="vertical_relaxed").sort(IMAGE)

    @cached_property
    def _coverage(self) -> pl.DataFrame:
        return coverage_table(self._images, self._image_counts)

    @cached_property
    def _unusable_elsewhere(self) -> dict[str, int]:
        sources = self._cells.filter(pl.col("status") == UNUSABLE)
        alone = self._coverage.select("side", *IMAGE)
        elsewhere = sources.join(alone, on=("side", *IMAGE), how="anti")
        return {
            name: int(elsewhere.filter(pl.col("side") == name)["n_sources"].sum())
            for name in _NAMES
        }

    # -- what changed ----------------------------------------------------------

    def by(self, *keys: str | pl.Expr) -> pl.DataFrame:
        """Count sources by the values of columns or expressions; see `Comparison.by`.

        In another pass through the visits. An expression sees those of one group at a
        time, so that one over all sources (a window, a mean) is refused.
        """
        self._check_alone(keys)
        table = pl.concat(list(self._each(lambda part: part.by(*keys))), how="vertical_relaxed")
        names = [name for name in table.columns if name not in COUNTS]
        return table.group_by(names).agg(pl.col(COUNTS).sum()).sort(names, nulls_last=True)

    def _check_alone(self, keys: Iterable[object]) -> None:
        """Refuse an expression that looks at other sources, of which a group has not all."""
        for key in keys:
            if isinstance(key, str):
                is_over_all = guard.has_window(self._reruns.connection, key)
            else:  # what is neither is refused with the first visits
                is_over_all = isinstance(key, pl.Expr) and not is_row_by_row(key)
            if is_over_all:
                raise TooLargeError(
                    f"{key}, which looks at other sources, cannot be told: the "
                    f"{self.n_left + self.n_right:,} sources of {self.left} and {self.right} are "
                    "compared visit by visit; narrow them down (where=, --where), or let more be "
                    "held (a higher memory_limit, --memory-limit; rows_at_once, --rows-at-once)"
                )

    def edges(self, *, within_px: float = EDGE_WITHIN_PX) -> EdgeExcess | None:
        """Measure whether new sources are concentrated at detector edges.

        See `Comparison.edges`. Another distance than `EDGE_BOUNDS_PX` takes another pass.
        """
        check_within(within_px)
        if self.edge_problem is not None:
            return None
        cells = self._cells
        if within_px not in EDGE_BOUNDS_PX:
            found = self._each(lambda part: edge_cells(part._matching.compared, [within_px]))
            cells = pl.concat(list(found))
        usable = cells.filter(pl.col("status") != UNUSABLE)
        cells = usable.join(self.shared_images, on=IMAGE, how="semi")
        return edge_excess(
            cells, geometry=self._geometry, images=self.shared_images, within_px=within_px
        )

    @cached_property
    def _geometry(self) -> pl.DataFrame:
        return geometry_of(self._reruns, self.right)

    @cached_property
    def edge_problem(self) -> str | None:
        """Why nothing can be said about edges; None where it can."""
        both = [(self._reruns, name) for name in (self.left, self.right)]
        return edge_problem(both, self._geometry, self.shared_images)

    def turnover(self) -> Turnover:
        """Tell which objects stayed the same, split, merged, regrouped, came or went."""
        found = self._each(lambda part: part._object_links())
        return ObjectLinks.together(list(found)).turnover()

    def write(self, folder: str | os.PathLike[str], *, form: str = "parquet") -> dict[str, Path]:
        """Write the three lists; see `Comparison.write`. The folder's disk holds them twice."""
        limit = self._reruns.settings["memory_limit"]
        with listing.Lists(folder, form=form, memory_limit=limit) as lists:
            for _ in self._each(lambda part: lists.add(part._lists())):
                pass
        return lists.paths

    # -- what is held where it fits ----------------------------------------------

    def _check_room(self, what: str, n_rows: int, bytes_each: int) -> None:
        limit = self._reruns.connection.memory_limit_bytes()
        held = self._held_bytes()
        if n_rows * bytes_each + held <= limit:
            return
        beside = f" beside the {held / 1e9:,.1f} GB that are held" if held else ""
        raise TooLargeError(
            f"{what} would take {n_rows * bytes_each / 1e9:,.1f} GB of memory{beside} for the "
            f"{self.n_left + self.n_right:,} sources of {self.left} and {self.right}, and "
            f"{limit / 1e9:,.1f} are allowed; narrow them down (where=, --where), allow more "
            "(memory_limit, --memory-limit), or write the lists to files (write(), "
            "compare --output)"
        )

    def _held_bytes(self) -> int:
        """Return what answers that are kept take already."""
        frames: list[pl.Series | pl.DataFrame] = [*self._pairs.values()]
        for kept in (self.__dict__, getattr(self.__dict__.get("evidence"), "__dict__", {})):
            for name in ("matched", "_only_lists", "edge", "explanation"):
                found = kept.get(name, ())
                frames += found if isinstance(found, tuple) else [found]
        return sum(int(frame.estimated_size()) for frame in frames)

    @cached_property
    def matched(self) -> pl.DataFrame:
        """One row per matched pair; see `Comparison.matched`. Where there is room for it."""
        self._check_room("the frame of pairs", self.n_matched, PAIR_BYTES)
        parts = list(self._each(lambda part: part.matched, reads_much=True))
        return _in_order(parts, "diaSourceId_left")

    @property
    def left_only(self) -> pl.DataFrame:
        """One row per source of left without a partner; see `Comparison.left_only`."""
        return self._only_lists[0]

    @property
    def right_only(self) -> pl.DataFrame:
        """One row per source of right without a partner; see `Comparison.right_only`."""
        return self._only_lists[1]

    @cached_property
    def _only_lists(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        n_rows = self.n_left_only + self.n_right_only
        self._check_room("the frames left_only and right_only", n_rows, ONLY_BYTES)
        found = self._each(lambda part: (part.left_only, part.right_only), reads_much=True)
        left, right = zip(*found, strict=True)
        return _in_order(left, "diaSourceId"), _in_order(right, "diaSourceId")

    def pairs(self, *columns: str) -> pl.DataFrame:
        """Return columns of `matched`, in any order of the pairs; see `Comparison.pairs`."""
        columns = columns_of_pairs(columns)
        missing = [name for name in columns if name not in self._pairs]
        if missing:
            self._check_room("the pairs", self.n_matched, NUMBER_BYTES * len(missing))
            parts = list(self._each(lambda part: part.pairs(*missing), reads_much=True))
            self._pairs |= pl.concat(parts, how="vertical_relaxed").to_dict()
        return pl.DataFrame([self._pairs[name] for name in columns])

    @cached_property
    def evidence(self) -> Evidence:
        """The sources that `explain` and charts look at, in few bytes each."""

        def check_room(what: str, bytes_each: int) -> None:
            self._check_room(what, self.n_left + self.n_right, bytes_each)

        return HeldEvidence(
            partial(self._each, reads_much=True),
            reruns=self._reruns,
            names=(self.left, self.right),
            images=self.shared_images,
            geometry=self._geometry,
            problem=self.edge_problem,
            check_room=check_room,
        )

    def explain(
        self, *, extra: Mapping[str, str | pl.Expr] | None = None, **options: Any
    ) -> Explanation:
        """Rank what the change is made of; see `Comparison.explain`.

        Its sources are gathered in another pass, in few bytes each. An expression of
        `extra` that looks at other sources is refused, as in `by`.
        """
        extra = {} if extra is None else extra
        check_extra(extra)
        self._check_alone(extra.values())
        return super().explain(extra=extra, **options)

    def register(self, schema: str | None = None) -> str:
        """Make the three lists relations of the reruns' database; see `Comparison.register`.

        Group by group, into tables that the engine spills where they do not fit.
        """
        if schema is None and self._schema is not None:
            return self._schema
        self._schema = listing.register(
            self._reruns, self._each(lambda part: part._lists(), reads_much=True), schema
        )
        return self._schema


def _in_order(parts: Sequence[pl.DataFrame], by_id: str) -> pl.DataFrame:
    """Put the rows of all groups in order; those of one id are in order of visit there."""
    found = pl.concat(parts, how="vertical_relaxed")
    return found.sort(by_id, "visit", nulls_last=True, maintain_order=True)


def _groups_of_visits(
    reruns: Reruns, names: set[str], rows_at_once: int
) -> list[tuple[int, int] | None]:
    """Cut the visits of some reruns into groups of so many sources, in order.

    None stands for the sources without a visit, where there are any.
    """
    with ThreadPoolExecutor(2) as pool:
        counted = list(pool.map(lambda name: _per_visit(reruns, name), names))
    table = pl.concat(counted).group_by("visit").agg(pl.col("n").sum()).sort("visit")
    known = table.drop_nulls("visit")
    groups = known.with_columns(group=(pl.col("n").cum_sum() - 1) // rows_at_once)
    ranges = groups.group_by("group", maintain_order=True).agg(
        pl.col("visit").min().alias("first"), pl.col("visit").max().alias("last")
    )
    found: list[tuple[int, int] | None] = [
        (int(first), int(last)) for _, first, last in ranges.iter_rows()
    ]
    return [*found, None] if known.height < table.height or not found else found


def _per_visit(reruns: Reruns, name: str) -> pl.DataFrame:
    relation = reruns.scope(name, "dia_source")
    return reruns.query(f"select visit, count(*) as n from {relation} group by visit").polars()


def _kept(part: Comparison) -> _Group:
    counts = part.counts()
    sums = {name: int(getattr(part, name)) for name in _SUMS}
    for name in ("n_left_only_reflagged", "n_right_only_reflagged"):
        sums[name] = counts[name]
    images = (part._counts_of_images(0), part._counts_of_images(1))
    return _Group(sums, images, edge_cells(part._matching.compared, EDGE_BOUNDS_PX))


def compare(
    reruns: Reruns,
    left: str,
    right: str,
    *,
    radius_arcsec: float = 0.5,
    radius_px: float | None = None,
    good: bool = True,
    how: How = "mutual",
    where: str | None = None,
    columns: Sequence[str] = (),
    rows_at_once: int | None = None,
) -> Comparison:
    """Match the sources of two reruns within the same visit and detector.

    Parameters
    ----------
    reruns : Reruns
    left, right : str
        Names of two opened reruns; one name twice compares a rerun with itself.
    radius_arcsec : float
        Largest separation of a pair, inclusive.
    radius_px : float, optional
        Match in pixel coordinates within this radius instead.
    good : bool
        Compare only good sources.
    how : {"mutual", "best1", "best2", "all"}
        ``mutual``: each is the other's nearest within the radius. ``best1``: the
        nearest in right of each source of left; ``best2``: the reverse; ``all``:
        every pair within the radius.
    where : str, optional
        One expression on ``dia_source``, on both reruns.
    columns : sequence of str
        Further columns to read in the same pass over the files. Any column can be asked
        for later; that takes another pass. `SUMMARY_COLUMNS` are those of `summary`.
    rows_at_once : int, optional
        Sources of both reruns that may be held at once. Where there are more, visits are
        compared group by group (`LargeComparison`). By default that begins at 20 million,
        with groups of 4 million; where a memory limit is set, at one per 400 bytes of it.

    Returns
    -------
    Comparison
        Over the union of the (visit, detector) of both reruns.

    Raises
    ------
    RerunNameError, QueryError, InstrumentError, MatchError
    """
    of_left = Side(reruns, left, where)
    of_right = of_left if right == left else Side(reruns, right, where)
    rule = Rule(radius_arcsec, radius_px, how)
    return compare_sides(
        of_left, of_right, rule, good=good, columns=columns, rows_at_once=rows_at_once
    )


def compare_sides(
    left: Side,
    right: Side,
    rule: Rule,
    *,
    good: bool,
    columns: Sequence[str] = (),
    rows_at_once: int | None = None,
) -> Comparison:
    """Compare two reruns at once, or visit by visit where they have too many sources.

    Parameters
    ----------
    left, right : Side
    rule : Rule
    good, columns, rows_at_once
        As for `compare`.
    """
    if rows_at_once is not None:
        wanted = "a whole number above 0 is wanted"
        check_number(
            "rows_at_once", rows_at_once, wanted, lambda n: n > 0, whole=True, error=QueryError
        )
    check_truth("good", good)
    reruns, columns = left.reruns, checked_columns(columns)
    most, group = _at_once(reruns.memory_limit_bytes, rows_at_once)
    names = {left.name, right.name}
    n_rows = sum(reruns.attached(name).file.n_rows_at_most("DiaSource") for name in names)
    if n_rows <= most:
        return Comparison(left, right, rule, good=good, columns=columns)
    return LargeComparison(left, right, rule, good=good, columns=columns, rows_at_once=group)


def _at_once(memory_limit_bytes: int | None, asked: int | None) -> tuple[int, int]:
    """Return how many sources are held, and how many of a group where there are more."""
    if asked is not None:
        return asked, asked
    if memory_limit_bytes is None:
        return MOST_AT_ONCE, ROWS_AT_ONCE
    fitting = max(memory_limit_bytes // _BYTES_PER_SOURCE, 1)
    return min(fitting, MOST_AT_ONCE), min(fitting, ROWS_AT_ONCE)
