"""Keeps what pictures need of each rerun in memory, so that the files are read once.

A picture asks for a few columns of all sources, and there are some twenty pictures. The
views of ``sql/`` stand here over native tables of those columns; nothing is computed
twice or otherwise than in the views over the files.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from hitsduck import attaching, schema, views
from hitsduck.columnar import ColumnarRerun
from hitsduck.quoting import quote_identifier, quote_text
from hitsduck.views import Select, ViewMaker

if TYPE_CHECKING:
    from hitsduck.reruns import Reruns

#: Columns of ``dia_source`` that pictures use, beside the flags and the rerun.
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
    "good_definition_bits",
    "is_good",
    "psf_snr",
    "psf_fwhm_arcsec",
    "night",
    "isDipole",
)
#: Columns that cannot be told for want of the instrument: the reason, and the type.
_OPEN_COLUMNS = {
    "visit": ("id_problem", "bigint"),
    "detector": ("id_problem", "integer"),
    "night": ("site_problem", "date"),
    "psf_fwhm_arcsec": ("seeing_problem", "double"),
}
#: Views whose rows are kept -> what is asked of them; other views stand over these.
_KEPT_VIEWS = {
    "dia_source": "select {columns} from {view}",
    "dia_object_history": "select diaObjectId, ra, dec, nDiaSources, validityStartMjdTai, "
    "validityEndMjdTai from {view}",
    # Of the forced photometry a picture needs the images alone.
    "dia_forced_source": "select distinct visit, detector from {view}",
}
#: A view over the kept ones that several others ask: few rows, found in all sources.
_KEPT_FOUND = "image"
#: Files that are read at the same time.
_READERS = 4
_NUMBERS = itertools.count(1)
_LOG = logging.getLogger(__name__)


class _Kept:
    """The native tables of one rerun under one condition, and the views over them."""

    def __init__(self, reruns: Reruns, name: str, where: str | None) -> None:
        # Weak, because the reruns are the key under which this is remembered.
        self._of = ref(reruns)
        self._name = name
        self._where = where
        self._lock = threading.RLock()
        self._schema = f"hitsduck_kept_{next(_NUMBERS)}"
        self._tables: set[str] = set()
        connection = reruns.connection
        home = quote_identifier(self._schema)
        connection.execute(f"create schema {home}")
        given: dict[str, Select] = {
            view: f"select *, {quote_text(name)} as rerun from {home}.kept_{view}"
            for view in _KEPT_VIEWS
        }
        given |= attaching.views_of_sources(self._sources_sql())
        summary = reruns.scope(name, "processing_summary", where)
        given["processing_summary"] = f"select * from {summary}"
        given[_KEPT_FOUND] = f"select * from {home}.kept_{_KEPT_FOUND}"
        given |= reruns.definitions.given(name)
        self._maker = ViewMaker(connection, self._schema, given)
        # Which the SELECT over the sources may read.
        self._maker.ensure("rerun")

    @property
    def has_sources(self) -> bool:
        """Whether the sources have been read."""
        return "dia_source" in self._tables

    @property
    def _reruns(self) -> Reruns:
        reruns = self._of()
        assert reruns is not None, "asked for by a rerun that is gone"
        return reruns

    def relation(self, view: str) -> str:
        """Return a view as SQL; the tables that it needs are filled first."""
        with self._lock:
            for needed in _kept_under(view):
                self._fill(needed)
            self._maker.ensure(view)
        return f"{quote_identifier(self._schema)}.{quote_identifier(view)}"

    def _problems(self) -> dict[str, str | None]:
        row = self._reruns.definitions.row(self._name)
        return {reason: row[reason] for reason, _ in _OPEN_COLUMNS.values()}

    def _held_flags(self) -> list[str]:
        """Return the flags that the file holds; the others are NULL in every row."""
        tables = self._reruns.attached(self._name).file.tables
        held = set(schema.flags_in_file(tables["DiaSource"]))
        return [flag for flag in schema.flag_names() if flag in held]

    def _sources_sql(self) -> str:
        """Return the SELECT over the kept sources; what cannot be told fails when it is read."""
        problems = self._problems()
        terms = ["kept.*", f"{quote_text(self._name)} as rerun"]
        held = self._held_flags()
        terms += [
            f"cast(null as boolean) as {quote_identifier(flag)}"
            for flag in schema.flag_names()
            if flag not in held
        ]
        home = quote_identifier(self._schema)
        for column, (reason, kind) in _OPEN_COLUMNS.items():
            if problems[reason]:
                terms.append(
                    f"case when rerun.{reason} is not null then "
                    f"cast(error('hitsduck instrument: ' || rerun.{reason}) as {kind}) "
                    f"end as {column}"
                )
        source = f"{home}.kept_dia_source as kept"
        if any(problems.values()):
            source += " cross join rerun"
        return f"select {', '.join(terms)} from {source}"

    def _fill(self, view: str) -> None:
        if view in self._tables:
            return
        if view == _KEPT_FOUND:
            self._find()
            return
        problems = self._problems()
        told = [
            column
            for column in (*SOURCE_COLUMNS, *self._held_flags())
            if column not in _OPEN_COLUMNS or not problems[_OPEN_COLUMNS[column][0]]
        ]
        asked = _KEPT_VIEWS[view].format(
            columns=", ".join(quote_identifier(column) for column in told),
            view=self._reruns.scope(self._name, view, self._where),
        )
        table = f"{quote_identifier(self._schema)}.kept_{view}"
        # A query of the reruns, not of the connection, so that a file that changes, or a
        # cell that cannot be read, is told in the same words as everywhere.
        self._reruns.query(f"create table {table} as {asked}")
        self._tables.add(view)

    def _find(self) -> None:
        """Keep the images, which are found in the kept sources where they are all of them."""
        found = views.view_named(_KEPT_FOUND)
        if self._where is None:
            for needed in found.inputs:
                if needed in views.view_names():
                    self.relation(needed)
            sql = found.body
        else:
            sql = f"select * from {self._reruns.scope(self._name, found.name, self._where)}"
        connection = self._reruns.connection
        with self._reruns.watching(), connection.within(self._schema):
            connection.execute(f"create table kept_{found.name} as {sql}")
        self._tables.add(found.name)


def _kept_under(view: str) -> Iterator[str]:
    """Go through the kept views that a view stands over."""
    if view == attaching.JUDGED_SOURCES:
        yield attaching.SOURCES
    elif view in _KEPT_VIEWS or view == _KEPT_FOUND:
        yield view
    elif view in views.view_names():
        for needed in views.view_named(view).inputs:
            yield from _kept_under(needed)


_ALL: WeakKeyDictionary[Reruns, dict[tuple[str, str | None], _Kept]] = WeakKeyDictionary()
_LOCK = threading.Lock()


def relation(reruns: Reruns, name: str, view: str, where: str | None = None) -> str:
    """Return one rerun's view over kept tables as SQL; over its store where it has one.

    Parameters
    ----------
    reruns : Reruns
    name : str
        Of the rerun.
    view : str
        Of its sources only the columns `SOURCE_COLUMNS` and the flags are there.
    where : str, optional
        One expression on ``dia_source``.

    Raises
    ------
    RerunNameError, QueryError
    """
    if not _is_worth_keeping(reruns, name):
        return reruns.original.scope(name, view, where, is_narrow=True)
    kept = _kept(reruns, name, where)
    if not kept.has_sources and "dia_source" in _kept_under(view):
        _say([name])
    return kept.relation(view)


def _say(names: Sequence[str]) -> None:
    """Log that reruns are read into memory, and how that is steered."""
    _LOG.info(
        "what pictures need of %s is read into memory, once (--no-cache, cache=False: each asks "
        "the APDB)",
        ", ".join(names),
    )


def _is_worth_keeping(reruns: Reruns, name: str) -> bool:
    """Return whether a copy is wanted, and gains anything: a store lies in columns already."""
    original = reruns.original
    return original.keeps and not isinstance(original.attached(name).file, ColumnarRerun)


def keep(
    reruns: Reruns,
    where: str | None = None,
    *,
    needed: Sequence[str] = ("dia_source", "dia_object"),
) -> None:
    """Read what pictures need of all reruns, each file in a thread of its own.

    Parameters
    ----------
    reruns : Reruns
    where : str, optional
        One expression on ``dia_source``: only such sources.
    needed : sequence of str
        The views that are read at once; others when they are asked for.

    Raises
    ------
    QueryError
        The condition is not possible.
    """
    names = [name for name in reruns.names if _is_worth_keeping(reruns, name)]
    unread = [name for name in names if not is_kept(reruns, name, where)]
    if unread and "dia_source" in needed:
        _say(unread)
    jobs = [(_kept(reruns, name, where), view) for view in needed for name in names]
    with ThreadPoolExecutor(min(len(jobs), _READERS) or 1) as pool:
        list(pool.map(lambda job: job[0].relation(job[1]), jobs))


def is_kept(reruns: Reruns, name: str, where: str | None = None) -> bool:
    """Return whether the sources of a rerun are in memory already."""
    with _LOCK:
        kept = _ALL.get(reruns.original, {}).get((name, where))
    return kept is not None and kept.has_sources


def _kept(reruns: Reruns, name: str, where: str | None) -> _Kept:
    reruns = reruns.original
    with _LOCK:
        of_reruns = _ALL.setdefault(reruns, {})
        if (name, where) not in of_reruns:
            of_reruns[name, where] = _Kept(reruns, name, where)
        return of_reruns[name, where]
