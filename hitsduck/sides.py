"""The sources of one rerun as a comparison holds them: columns, read when needed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from hitsduck import guard, suggestions, views
from hitsduck.errors import QueryError, RerunChangedError
from hitsduck.quoting import quote_identifier

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: What a match needs, on the sky or in pixels, and the questions whether a source was
#: only reflagged and how far it lies from an edge.
MATCH_COLUMNS = (
    "diaSourceId",
    "visit",
    "detector",
    "ra",
    "dec",
    "x",
    "y",
    "is_good",
    "good_definition_bits",
)
_ID = "diaSourceId"
#: Views with one row per source, the plainest first: a column is read from the first
#: that has it.
_SOURCE_VIEWS = ("dia_source", "dia_source_edge", "dia_source_focal_plane")
#: What tells rows of one id apart, that they come in one order whatever view they are read from.
_TIES = ("visit", "detector", "ra", "dec", "x", "y", "psfFlux")
#: What the columns of an expression are called while it is evaluated.
_COLUMNS = "hitsduck_columns"
#: Files that are read at the same time; each scan takes one core.
_READERS = 4


class Side:
    """All sources of one rerun, in order of diaSourceId.

    Sources that share an id are in order of visit, detector, position and flux.

    Parameters
    ----------
    reruns : Reruns
    name : str
        Of the rerun.
    where : str, optional
        One expression on ``dia_source``: only sources that fulfil it.

    Raises
    ------
    RerunNameError, QueryError
    """

    def __init__(self, reruns: Reruns, name: str, where: str | None = None) -> None:
        self.reruns = reruns
        self.name = name
        self.where = where
        self.path: Path = reruns.attached(name).file.path
        self._columns: dict[str, pl.Series] = {}
        self._has_twins: bool | None = None  # not known before ids are read
        self._lock = threading.RLock()
        reruns.scope(name, "dia_source", where, is_narrow=True)

    def __len__(self) -> int:
        """Return the number of sources."""
        return self.frame(_ID).height

    def frame(self, *columns: str) -> pl.DataFrame:
        """Return columns of all sources, reading those that are not there yet.

        Parameters
        ----------
        *columns : str
            Of ``dia_source``, ``dia_source_edge`` or ``dia_source_focal_plane``; one
            named twice comes once.

        Returns
        -------
        polars.DataFrame
            One row per source, in order of diaSourceId; the same rows every time.

        Raises
        ------
        QueryError
            A column does not exist.
        InstrumentError
            A column needs the camera, which is not known.
        """
        with self._lock:
            asked = list(dict.fromkeys(columns))
            missing = [name for name in asked if name not in self._columns]
            for view in _SOURCE_VIEWS:
                known = views.documented_columns(views.view_named(view))
                of_view = [name for name in missing if name in known]
                if of_view:
                    few = views.documented_columns(views.view_named(view), is_narrow=True)
                    relation = self.reruns.scope(
                        self.name, view, self.where, is_narrow={*of_view, _ID} <= set(few)
                    )
                    self._read(relation, {name: quote_identifier(name) for name in of_view})
                    missing = [name for name in missing if name not in of_view]
            if missing:
                known = self.column_names()
                told = [suggestions.unknown_column(n, known, _SOURCE_VIEWS[0]) for n in missing]
                raise QueryError(f"rerun {self.name!r}: {'; '.join(told)}")
            return pl.DataFrame([self._columns[name] for name in asked])

    @staticmethod
    def column_names() -> list[str]:
        """Return the columns that `frame` can give."""
        names: dict[str, None] = {}
        for view in _SOURCE_VIEWS:
            names |= dict.fromkeys(views.documented_columns(views.view_named(view)))
        return list(names)

    def values(self, expression: str) -> pl.Series:
        """Return an SQL expression on columns that `frame` can give, one value per source.

        Raises
        ------
        QueryError
            Not one expression, or it cannot be bound.
        InstrumentError
            A column needs the camera, which is not known.
        """
        with self._lock:
            if expression not in self._columns:
                guard.check_condition(self.reruns.connection, expression)
                self._evaluate(expression)
            return self._columns[expression]

    def _evaluate(self, expression: str) -> None:
        connection = self.reruns.connection
        named = guard.column_names(connection, expression)
        wanted = [name for name in self.column_names() if name.casefold() in named]
        term = {expression: f"(\n{expression}\n)"}
        if set(wanted) <= set(views.documented_columns(views.view_named(_SOURCE_VIEWS[0]))):
            self._read(self.reruns.scope(self.name, _SOURCE_VIEWS[0], self.where), term)
            return
        # No view has them all, and ids, by which views would be joined, may be there twice.
        ties = _TIES if self._has_twins else ()
        columns = self.frame(_ID, *ties, *wanted)
        cursor = connection.cursor()
        cursor.register(_COLUMNS, columns.to_arrow(compat_level=pl.CompatLevel.oldest()))
        try:
            self._read(f"{_COLUMNS} as {_SOURCE_VIEWS[0]}", term)
        finally:
            cursor.unregister(_COLUMNS)

    def _read(self, relation: str, terms: dict[str, str]) -> None:
        frame = self._rows(relation, terms)
        if self._has_twins is None:
            ids = frame[_ID]
            self._has_twins = bool((ids == ids.shift(1)).any())
            frame = self._rows(relation, terms) if self._has_twins else frame
        if _ID in self._columns and not frame[_ID].equals(self._columns[_ID], null_equal=True):
            raise self._changed()
        for series in frame:
            self._columns.setdefault(series.name, series)

    def _rows(self, relation: str, terms: dict[str, str]) -> pl.DataFrame:
        asked = {_ID: quote_identifier(_ID)} | terms
        ties = {f"hitsduck_tie_{name}": name for name in _TIES} if self._has_twins else {}
        asked |= {tie: quote_identifier(name) for tie, name in ties.items()}
        selected = ", ".join(f"{term} as {quote_identifier(name)}" for name, term in asked.items())
        frame = self.reruns.query(f"select {selected} from {relation}", read=_SOURCE_VIEWS).polars()
        if ties or not frame[_ID].is_sorted() or frame[_ID].has_nulls():
            # What nothing tells apart stays in the order of the file.
            frame = frame.with_row_index("").sort(_ID, *ties, "", nulls_last=True)
            frame = frame.drop("", *ties)
        return frame

    def _changed(self) -> RerunChangedError:
        return RerunChangedError(
            f"rerun {self.name!r} ({self.path}): gave other rows than before"
            + (f"; is the condition {self.where!r} the same each time?" if self.where else "")
        )


def read_together(sides: Iterable[Side], columns: Sequence[str]) -> None:
    """Read columns of several reruns, each file in a thread of its own."""
    distinct = list({id(side): side for side in sides}.values())
    if len(distinct) < 2:
        for side in distinct:
            side.frame(*columns)
        return
    with ThreadPoolExecutor(min(len(distinct), _READERS)) as pool:
        list(pool.map(lambda side: side.frame(*columns), distinct))
