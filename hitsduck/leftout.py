"""What a store was told to leave out (``--columns``), and who asks for it all the same.

The views have such a column, as they have one that the generation lacks: NULL in every row. But
the APDB holds numbers there, so that an answer from nothing would be a wrong one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache

from hitsduck import guard, schema
from hitsduck.attaching import STAGED, AttachedRerun
from hitsduck.columnar import ColumnarRerun
from hitsduck.connection import Connection
from hitsduck.errors import LeftOutWarning, QueryError

#: Names in a message; a store may lack a hundred columns.
_FEW = 8


def left_out(rerun: AttachedRerun) -> frozenset[str]:
    """Return the columns that the APDB of a rerun holds, and its store does not."""
    file = rerun.file
    if not isinstance(file, ColumnarRerun) or file.manifest.columns == "all":
        return frozenset()
    return frozenset(
        name
        for table, stored in file.tables.items()
        if table in STAGED.values()
        for name in _held(table, tuple(file.origin_tables.get(table, {}).items()))
        if name not in stored
    ) - {name for stored in file.tables.values() for name in stored}


@cache
def _held(table: str, physical: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the canonical columns that a table of an APDB holds."""
    return tuple(
        column.name
        for column in schema.columns(table)
        if schema.physical_name(table, column.name, dict(physical)) is not None
    )


def _told(rerun: AttachedRerun, names: Iterable[str]) -> str:
    assert isinstance(rerun.file, ColumnarRerun)
    listed = sorted(names)
    few = ", ".join(listed[:_FEW])
    more = f" and {len(listed) - _FEW} more" if len(listed) > _FEW else ""
    return (
        f"rerun {rerun.name!r} ({rerun.file.path}): {few}{more} of its APDB "
        f"{'was' if len(listed) == 1 else 'were'} not stored there (columns: "
        f"{rerun.file.manifest.columns}); ask {rerun.file.origin_path}, or store it again with "
        "more columns (--columns all, columns='all')"
    )


def check_names(reruns: Iterable[AttachedRerun], names: Iterable[str]) -> None:
    """Refuse to answer from columns that were left out.

    Parameters
    ----------
    reruns : iterable of AttachedRerun
    names : iterable of str
        That are asked for, in whatever case.

    Raises
    ------
    QueryError
    """
    for rerun in reruns:
        lacking = left_out(rerun)
        if lacking:
            asked = {name.casefold() for name in names}
            if found := {name for name in lacking if name.casefold() in asked}:
                raise QueryError(_told(rerun, found))


def check_expression(
    reruns: Iterable[AttachedRerun], connection: Connection, expression: str
) -> None:
    """Refuse a condition or value on columns that were left out.

    Raises
    ------
    QueryError
    """
    lacking = [rerun for rerun in reruns if left_out(rerun)]
    if lacking:
        check_names(lacking, guard.column_names(connection, expression))


def check_query(reruns: Iterable[AttachedRerun], connection: Connection, query: str) -> None:
    """Refuse a query that names columns that were left out; warn where it asks for all.

    Raises
    ------
    QueryError
    """
    lacking = [rerun for rerun in reruns if left_out(rerun)]
    if not lacking:
        return
    names, has_star = guard.columns_of_query(connection, query)
    check_names(lacking, names)
    if has_star:
        warn_of_all(lacking)


def warn_of_all(reruns: Iterable[AttachedRerun]) -> None:
    """Warn that of all columns, which are asked for, some are NULL because they were left out."""
    for rerun in reruns:
        if lacking := left_out(rerun):
            warnings.warn(f"{_told(rerun, lacking)}; NULL here", LeftOutWarning, stacklevel=4)
