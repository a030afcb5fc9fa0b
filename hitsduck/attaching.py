"""Turns one inspected APDB file into the schema of views that stands for a rerun."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Unpack

from hitsduck import schema, views
from hitsduck.cameras import Camera
from hitsduck.columnar import ColumnarRerun, Door, Look, RerunFile
from hitsduck.connection import LEFT_OUT_IS_NULL, Connection, Settings, Tracer
from hitsduck.detection import (
    Instrument,
    Moments,
    detect_instrument,
    detect_moments,
)
from hitsduck.errors import FlagError, FlagWarning, HitsduckError, StaleWarning
from hitsduck.inspection import ApdbFile
from hitsduck.quoting import quote_identifier, quote_text
from hitsduck.views import OWN_PREFIX, Select

#: The schema of the views over all reruns.
ALL_RERUNS = "all_reruns"
#: Views that Python writes from schema data -> the APDB table behind each.
STAGED = {
    "staged_dia_source": "DiaSource",
    "staged_dia_object": "DiaObject",
    "staged_dia_forced_source": "DiaForcedSource",
    "staged_processing_summary": "DetectorVisitProcessingSummary",
}
#: The views of all sources: what stands for the first stands for the other.
SOURCES, JUDGED_SOURCES = "dia_source", "judged_dia_source"

#: Of the tables that may be stored in part, a column that no row lacks.
_KEYS = {"DiaSource": "diaSourceId", "DiaObject": "diaObjectId"}


@dataclass(frozen=True)
class AttachedRerun:
    """One rerun as it was found at opening.

    Attributes
    ----------
    name, catalog : str
        The user's name, and DuckDB's name for the attached file, which reruns of one
        workspace share.
    number : int
        Of the rerun, in the order of opening.
    file : ApdbFile or ColumnarRerun
    instrument : Instrument
    moments_of : callable
        Tells the unit of the moments, out of some rows: `moments` for everybody else.
    flag_set : str
    bad_flags : tuple of str
        Flags of the good definition that this file holds.
    skipped_flags : tuple of str
        Flags of the good definition that it lacks.
    """

    name: str
    catalog: str
    number: int
    file: RerunFile
    instrument: Instrument
    moments_of: Callable[[], Moments]
    flag_set: str
    bad_flags: tuple[str, ...]
    skipped_flags: tuple[str, ...]

    @property
    def moments(self) -> Moments:
        """The unit of the moments; an APDB is looked into when somebody first asks for it."""
        return self.moments_of()

    @property
    def flag_encoding(self) -> str:
        """``packed`` (one integer) or ``boolean`` (one column per flag)."""
        packed = schema.packed_era(self.file.origin_tables["DiaSource"]) is not None
        return "packed" if packed else "boolean"

    @property
    def generations(self) -> dict[str, str]:
        """The generation of each table, told from its columns."""
        return {
            table: schema.generation(table, columns)
            for table, columns in self.file.origin_tables.items()
            if table in ("DiaSource", "DiaObject", "DiaForcedSource")
        }

    def physical(self, table: str) -> str:
        """Return the attached table's full name as SQL, e.g. for sqlite's own tools."""
        return self.file.relation(table, self.catalog)


def connect(tracer: Tracer | None = None, **settings: Unpack[Settings]) -> Connection:
    """Return a connection that has what every view may need; its schema is `ALL_RERUNS`."""
    connection = Connection(**settings, tracer=tracer)
    try:
        for statement in views.macros():
            connection.execute(statement)
        connection.execute(f"create schema {ALL_RERUNS}")
        connection.use_schema(ALL_RERUNS)
    except BaseException:
        connection.close()
        raise
    return connection


def attach(door: Door, rerun: AttachedRerun) -> None:
    """Attach the APDB of a rerun; a store is attached by whoever looks into it."""
    if not isinstance(rerun.file, ColumnarRerun):
        door.connection.execute(rerun.file.attach_sql(rerun.catalog))


def examine(
    name: str,
    number: int,
    file: RerunFile,
    door: Door,
    *,
    instrument: str | Camera | None,
    moments: str | None,
    flag_set: str,
    flags: Sequence[str],
) -> AttachedRerun:
    """Find out what the views of one rerun have to know.

    Parameters
    ----------
    name : str
    number : int
        In the order of opening.
    file : ApdbFile or ColumnarRerun
    door : Door
        Where a store is attached; an APDB is looked into with sqlite3, before it is.
    instrument, moments, flag_set, flags
        As for `hitsduck.open_reruns`.

    Raises
    ------
    SchemaError, InstrumentError, FlagError
    """
    where = f"rerun {name!r} ({file.path})"
    schema.check_required(file.tables, where=where)
    kept, skipped = _flags_of(file, flags, where=where)
    if isinstance(file, ColumnarRerun) and file.is_stale:
        mend = "export it again" if file.folder else "`hitsduck workspace refresh`"
        warnings.warn(
            f"{where}: {file.origin_path} has changed since it was stored; these are the rows of "
            f"before ({mend})",
            StaleWarning,
            stacklevel=2,
        )
    # sqlite3 looks with SQLite's indexes, which DuckDB does not use.
    catalog = f"{OWN_PREFIX}apdb_{number}"
    if isinstance(file, ColumnarRerun):
        catalog = file.attach(door) or catalog
        looking: Callable[[], AbstractContextManager[Any]] = partial(
            nullcontext, Look(door.connection, catalog)
        )
    else:
        looking = file.reading
    with looking() as opened:
        found = detect_instrument(file, opened, rerun=name, stated=instrument)

    def look_at_moments() -> Moments:
        with looking() as opened:
            return detect_moments(file, opened, candidates=found.candidates, stated=moments)

    if isinstance(file, ColumnarRerun) or file.is_private_copy:
        # A private copy may be gone later, and a store tells it from its manifest.
        moments_of = cache(look_at_moments)
        moments_of()
    else:
        moments_of = cache(partial(_of_unchanged, file, name, look_at_moments))
    return AttachedRerun(name, catalog, number, file, found, moments_of, flag_set, kept, skipped)


def _flags_of(
    file: RerunFile, flags: Sequence[str], *, where: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the flags of the good definition that a file holds, and those that it lacks."""
    in_file = schema.flags_in_file(file.tables["DiaSource"])
    kept = tuple(flag for flag in flags if flag in in_file)
    skipped = tuple(flag for flag in flags if flag not in in_file)
    if not kept:
        raise FlagError(
            f"{where}: none of the flags {', '.join(flags)} exists in this file; "
            f"it holds: {', '.join(in_file)}"
        )
    if skipped:
        warnings.warn(
            f"{where}: its generation lacks {', '.join(skipped)}; good follows the others",
            FlagWarning,
            stacklevel=3,
        )
    return kept, skipped


def _of_unchanged(file: ApdbFile, rerun: str, look: Callable[[], Moments]) -> Moments:
    """Look into a file that has to be what it was at opening."""
    try:
        found = look()
    except HitsduckError:
        file.check_unchanged(rerun)  # which says more than what became of it
        raise
    file.check_unchanged(rerun)
    return found


def _closed_validity(expressions: Mapping[str, str]) -> str:
    """Return the validity end where dax_apdb kept DiaObjectLast.

    Until 2024 it then left every version open (lsst/dax_apdb), so that an open
    version ends where the object's next one begins.
    """
    start, end = expressions["validityStartMjdTai"], expressions["validityEndMjdTai"]
    key = expressions["diaObjectId"]
    return f"coalesce({end}, lead({start}) over (partition by {key} order by {start}))"


def is_validity_closed(file: RerunFile, table: str) -> bool:
    """Return whether the end of an object's version is told by its next one."""
    return table == "DiaObject" and "DiaObjectLast" in file.tables


def staged_expressions(
    rerun: AttachedRerun, table: str, *, has_rows: bool, is_narrow: bool = False
) -> dict[str, str]:
    """Return {canonical column: SQL over the physical table}.

    Parameters
    ----------
    has_rows : bool
        False where the file has no such table: then all are typed NULLs.
    is_narrow : bool
        Only `schema.NARROW_COLUMNS`.
    """
    physical = rerun.file.tables.get(table, {}) if has_rows else {}
    kept = schema.NARROW_COLUMNS.get(table) if is_narrow else None
    expressions = schema.projection(table, physical, kept)
    if has_rows and is_validity_closed(rerun.file, table):
        expressions["validityEndMjdTai"] = _closed_validity(expressions)
    return expressions


def _left_out(file: RerunFile, table: str) -> list[str]:
    """Return the columns of a table that the APDB holds, and its store was told to leave out."""
    if not isinstance(file, ColumnarRerun) or file.manifest.columns == "all":
        return []
    held = file.origin_tables.get(table, {})
    return [
        column.name
        for column in schema.columns(table)
        if column.name not in file.tables.get(table, {})
        and schema.physical_name(table, column.name, held) is not None
    ]


def _refused(rerun: AttachedRerun, table: str, column: str, null: str) -> str:
    """Return the SQL of a column that was left out: an error, or NULL where that is allowed."""
    assert isinstance(rerun.file, ColumnarRerun)
    said = (
        f"hitsduck left out: rerun {rerun.name!r} ({rerun.file.path}): {table}.{column} of its "
        f"APDB was not stored there (columns: {rerun.file.manifest.columns}); ask "
        f"{rerun.file.origin_path}, or store it again with more columns (--columns all, "
        "columns='all')"
    )
    # Of the id, that no row lacks, so that nothing raises it before a row is read.
    key = quote_identifier(_KEYS[table])
    return (
        f"case when getvariable({quote_text(LEFT_OUT_IS_NULL)}) is not null or {key} is null "
        f"then {null} else error({quote_text(said)}) end"
    )


def staged_sql(
    rerun: AttachedRerun,
    table: str,
    relation: str | None,
    *,
    is_narrow: bool = False,
    refuses_left_out: bool = False,
) -> str:
    """Return the SELECT that gives a physical table its canonical columns.

    Parameters
    ----------
    relation : str or None
        The physical table as SQL; None where the file has no such table, which
        gives the columns and no row.
    is_narrow : bool
        Only `schema.NARROW_COLUMNS`.
    refuses_left_out : bool
        To read a column that a store left out is an error, not NULL.
    """
    physical = rerun.file.tables.get(table, {})
    expressions = staged_expressions(
        rerun, table, has_rows=relation is not None, is_narrow=is_narrow
    )
    if refuses_left_out and not is_narrow and table in _KEYS:  # the narrow ones are always stored
        for name in _left_out(rerun.file, table):
            expressions[name] = _refused(rerun, table, name, expressions[name])
    terms = [
        f"{expression} as {quote_identifier(name)}" for name, expression in expressions.items()
    ]
    terms.append(f"{quote_text(rerun.name)} as rerun")
    if table == "DiaSource":
        terms += [
            f"{schema.good_definition_bits(physical, rerun.bad_flags)} as good_definition_bits",
            f"{schema.stored_flags(physical, rerun.bad_flags)} as stored_flags",
        ]
    selected = ",\n    ".join(terms)
    return (
        f"select\n    {selected}\nfrom {relation}"
        if relation
        else (f"select\n    {selected}\nwhere false")
    )


def views_of_sources(select: str) -> dict[str, str]:
    """Return what gives the views of all sources where one SELECT stands for them.

    Parameters
    ----------
    select : str
        Of sources with the columns of ``dia_source``.
    """
    columns = ", ".join(views.view_named(JUDGED_SOURCES).columns)
    return {SOURCES: select, JUDGED_SOURCES: f"select {columns} from (\n{select}\n) as source"}


def staged_within_visits(rerun: AttachedRerun, visits: tuple[int, int]) -> str:
    """Return the SELECT of `staged_sql` over the sources of some visits.

    The condition is on a column as it is stored, so that a store in order of visit skips
    the others. It becomes a view, which takes no bound values: whole numbers alone. Nothing
    is left out where the visit is not known: the views say why.

    Parameters
    ----------
    visits : tuple of int
        First and last.
    """
    physical = rerun.file.tables["DiaSource"]
    first, last = visits
    relation = rerun.physical("DiaSource")
    visit = schema.physical_name("DiaSource", "visit", physical)
    factor = rerun.instrument.id_factor
    if visit is not None:
        within = f"{quote_identifier(visit)} between {first:d} and {last:d}"
    elif factor is not None and "ccdVisitId" in physical:
        low, high = first * factor, (last + 1) * factor - 1
        within = f"{quote_identifier('ccdVisitId')} between {low:d} and {high:d}"
    else:
        return staged_sql(rerun, "DiaSource", relation, refuses_left_out=True)
    within_visits = f"(select * from {relation} where {within})"
    return staged_sql(rerun, "DiaSource", within_visits, refuses_left_out=True)


def staged_views(rerun: AttachedRerun, *, is_narrow: bool = False) -> dict[str, Select]:
    """Return {staged view: what returns its SELECT} over the attached tables of one rerun.

    Parameters
    ----------
    is_narrow : bool
        Only the columns `schema.NARROW_COLUMNS`.
    """
    return {
        view: partial(
            staged_sql,
            rerun,
            table,
            rerun.physical(table) if table in rerun.file.tables else None,
            is_narrow=is_narrow,
            refuses_left_out=True,
        )
        for view, table in STAGED.items()
    }
