"""What is held of reruns too large to hold: the compared sources, in few bytes each.

A comparison that goes visit by visit (`hitsduck.large`) puts the evidence of its groups
together here, with the small types that the numbers of a source fit into. What is asked of
a whole frame of sources or pairs is told only where there is room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from hitsduck.coverage import IMAGE
from hitsduck.dimensions import MOST_USER_VALUES, too_many_values
from hitsduck.evidence import (
    Evidence,
    check_extra,
    edge_evidence,
    extents_of,
    named_values,
    sources_of_objects,
    with_details,
    with_fields,
    with_values,
)
from hitsduck.explanation import SIDES, STATUSES

if TYPE_CHECKING:
    from hitsduck.comparison import Comparison
    from hitsduck.reruns import Reruns

_Found = TypeVar("_Found")
#: Goes through the groups of visits and gives what a function finds in each.
Each = Callable[[Callable[["Comparison"], _Found]], Iterator[_Found]]

#: Memory of a compared source, in bytes: its evidence and its value along each dimension of an
#: explanation, and what edges are told from; a column of the user's own takes 8 more.
EXPLAINED_BYTES, EDGE_BYTES = 130, 50
#: Memory of a matched pair as a frame, with the copy that a sort makes, and of a source
#: that one rerun alone has.
PAIR_BYTES, ONLY_BYTES = 700, 500
#: Memory of one number of a frame of pairs.
NUMBER_BYTES = 16

_SMALL: dict[str, pl.DataType | type[pl.DataType]] = {
    "side": pl.Enum(SIDES),
    "status": pl.Enum(STATUSES),
    "edge_side": pl.Enum(["bottom", "left", "right", "top"]),
    "band": pl.Categorical(),
    "n_dia_sources": pl.Int32,
}
#: Columns that nothing is told from.
_UNUSED = ("diaSourceId", "y")


class HeldEvidence(Evidence):
    """As `Evidence`, put together from the groups of a comparison visit by visit.

    Parameters
    ----------
    each : callable
        See `Each`.
    reruns : Reruns
    names : tuple of str
        Of left and right.
    images, geometry : polars.DataFrame
        See `Evidence`.
    problem : str or None
        `Evidence.edge_problem`.
    check_room : callable
        Called with what is asked, and the bytes that each source takes; refuses where
        there is no room.
    """

    def __init__(
        self,
        each: Each[pl.DataFrame],
        *,
        reruns: Reruns,
        names: tuple[str, str],
        images: pl.DataFrame,
        geometry: pl.DataFrame,
        problem: str | None,
        check_room: Callable[[str, int], None],
    ) -> None:
        self.images = images
        self._each, self._check_room = each, check_room
        self._reruns, self._names = reruns, names
        self._geometry, self._problem = geometry, problem

    @property
    def geometry(self) -> pl.DataFrame:
        """The detectors of the right rerun's camera (view ``detector_geometry``)."""
        return self._geometry

    @property
    def edge_problem(self) -> str | None:
        """Why nothing can be said about edges; None where it can."""
        return self._problem

    @cached_property
    def edge(self) -> pl.DataFrame:
        """See `hitsduck.evidence.edge_evidence`; without ``row``."""
        columns = ("side", "status", "match_id", *IMAGE, "edge_distance_px", "edge_side")
        if "explanation" in self.__dict__:
            return self.explanation.select(columns)
        self._check_room("where each source lies", EDGE_BYTES)
        number = _Numbers()

        def of_part(part: Comparison) -> pl.DataFrame:
            found = edge_evidence(part._matching.compared, self.images)
            return _small(number.of(part, found)).select(columns)

        return pl.concat(list(self._each(of_part)), how="vertical_relaxed")

    @cached_property
    def explanation(self) -> pl.DataFrame:
        """See `hitsduck.evidence.explanation_evidence`; without ``row`` and ids and ``y``."""
        return self._explanation({})

    def explanation_with(self, extra: Mapping[str, str | pl.Expr]) -> pl.DataFrame:
        """Return `explanation` with dimensions of the user's own."""
        check_extra(extra)
        return self._explanation(extra) if extra else self.explanation

    def _explanation(self, extra: Mapping[str, str | pl.Expr]) -> pl.DataFrame:
        self._check_room("an explanation", EXPLAINED_BYTES + 8 * len(extra))
        sizes = [sources_of_objects(self._reruns, name) for name in self._names]
        number, extents = _Numbers(), []

        def of_part(part: Comparison) -> pl.DataFrame:
            found = edge_evidence(part._matching.compared, self.images)
            found = with_details(number.of(part, found), part._sides, sizes)
            values = named_values(part._sides, extra)
            extents.append(extents_of(part._sides))
            return _small_texts(with_values(_small(found), values), extra).drop("row")

        parts = list(self._each(of_part))
        together = pl.concat(parts, how="vertical_relaxed")
        parts.clear()
        texts = together.select(pl.selectors.categorical())
        together = together.with_columns(_enumerated(text) for text in texts)
        told = with_fields(together.select("visit"), pl.concat(extents).sort("visit"))
        return together.with_columns(_enumerated(told["field"]))


class _Numbers:
    """The numbers of pairs, that no two groups share one."""

    def __init__(self) -> None:
        self._n = 0

    def of(self, part: Comparison, found: pl.DataFrame) -> pl.DataFrame:
        """Return the evidence of the next group with numbers of its own."""
        numbered = found.with_columns(pl.col("match_id") + pl.lit(self._n, pl.UInt32))
        self._n += part.n_matched
        return numbered


def _small(found: pl.DataFrame) -> pl.DataFrame:
    kept = found.drop(_UNUSED, strict=False)
    known = {name: kind for name, kind in _SMALL.items() if name in kept.columns}
    return kept.cast(known)  # type: ignore[arg-type]


def _small_texts(found: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Return columns of a user's own, where they are texts, as numbers of few values."""
    texts = [name for name in names if found.schema[name] == pl.String]
    for name in texts:
        if (n_values := found[name].n_unique()) > MOST_USER_VALUES:
            raise too_many_values(name, n_values)
    return found.cast(dict.fromkeys(texts, pl.Categorical()))


def _enumerated(texts: pl.Series) -> pl.Series:
    known = texts.drop_nulls().unique().cast(pl.String).sort()
    return texts.cast(pl.Enum(known))
