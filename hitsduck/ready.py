"""What a workspace holds ready: views that are computed once, when a rerun is stored.

Rows that are stored do not change, so that neither do the answers of the views over them, as
long as the definitions are the same: flags, instrument, unit of the moments, and the views
themselves. A digest of all these is kept with the rerun; where it is another when the
workspace is opened, the views compute as they do over any other store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hitsduck import attaching, views
from hitsduck.attaching import STAGED, AttachedRerun
from hitsduck.columnar import ColumnarRerun, Manifest
from hitsduck.connection import Connection
from hitsduck.definitions import DEFINITION_TABLES, definition_rows
from hitsduck.errors import HitsduckError
from hitsduck.quoting import quote_identifier, quote_text
from hitsduck.views import OWN_PREFIX, ViewMaker

#: What the tables are called: this and the view.
_PREFIX = "ready_"
#: The view whose narrow columns are kept for every source, with those that the views after
#: it add.
_SOURCES = "dia_source"
PLACED = ("dia_source_edge", "dia_source_focal_plane")
#: The other views that are kept.
_SUMMARIES = (
    "good_dia_source",
    "image",
    "good_dia_object",
    "dia_object_summary",
    "sources_per_object",
    "rerun_counts",
    "rerun_summary",
    "visit_summary",
    "visit_detector_summary",
    "visit_extent",
    "visit_tile",
    "visit_tile_bin",
    "detector_summary",
    "night_summary",
    "focal_plane_bin",
    "flag_summary",
)
#: Every view that is kept.
KEPT = (_SOURCES, *PLACED, *_SUMMARIES)
#: Of the definition: what names the rerun, and what asks for a check of every row.
_NOT_DEFINING = ("rerun", "path", "detectors_to_check")


def digest(rerun: AttachedRerun) -> str | None:
    """Return what the views of a rerun follow from, as one short text.

    None where something cannot be told for want of the instrument: the views then raise
    an error, which cannot be kept.
    """
    rows = definition_rows(rerun)
    (definition,) = rows["rerun"]
    if any(definition[name] for name in definition if name.endswith("_problem")):
        return None
    told = {
        table: [
            {name: value for name, value in row.items() if name not in _NOT_DEFINING}
            for row in of_table
        ]
        for table, of_table in rows.items()
    }
    nameless = replace(rerun, name="")
    staged = [
        attaching.staged_sql(nameless, table, table, is_narrow=is_narrow)
        for table in STAGED.values()
        for is_narrow in (True, False)
        if table in rerun.file.tables
    ]
    return f"{_edition()}-{_hash([told, staged])}"


def state(manifest: Manifest) -> str:
    """Return which views were computed when a rerun was stored.

    ``current``, ``earlier`` (by a hitsduck of other views: nothing that was computed is used
    any more) or ``none``.
    """
    if manifest.ready is None:
        return "none"
    return "current" if manifest.ready.startswith(f"{_edition()}-") else "earlier"


def _hash(document: list[Any]) -> str:
    import hashlib

    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _edition() -> str:
    """Return a short text that is another one when a view of ``sql/`` is."""
    return _hash([[(view.name, view.body) for view in views.views()], views.macros()])[:16]


def store(connection: Connection, rerun: AttachedRerun) -> str | None:
    """Compute the views of one rerun of a workspace that is being written, and keep them.

    Parameters
    ----------
    connection : Connection
        Of the workspace; the rerun's tables and definitions are there.
    rerun : AttachedRerun
        As it is stored.

    Returns
    -------
    str or None
        Its `digest`; None where nothing was kept: the instrument is not known, or a view
        cannot be computed, which is told to those who ask it.
    """
    found = digest(rerun)
    if found is None:
        return None
    connection.execute("set global preserve_insertion_order = true")
    try:
        _store(connection, rerun)
    except HitsduckError:
        for view in (_SOURCES, *_SUMMARIES):
            connection.execute(f"drop table if exists {_home(rerun)}.{_table(view)}")
        return None
    finally:
        connection.execute("set global preserve_insertion_order = false")
    return found


def _home(rerun: AttachedRerun) -> str:
    return quote_identifier(rerun.name)


def _table(view: str) -> str:
    return quote_identifier(_PREFIX + view)


def _store(connection: Connection, rerun: AttachedRerun) -> None:
    home, target = _home(rerun), f"{_home(rerun)}.{_table(_SOURCES)}"
    narrow, wide = (_staged(rerun, is_narrow=is_narrow) for is_narrow in (True, False))
    with (
        _scratch(connection, rerun, "edge") as edge,
        _scratch(connection, rerun, "placed") as placed,
        _scratch(connection, rerun, "counted") as counted,
        _scratch(connection, rerun, "whole") as whole_schema,
    ):
        ViewMaker(connection, edge, narrow).ensure(PLACED[0])
        # The second view stands over the first, so that one pass computes both.
        over = attaching.views_of_sources(f"select * from {quote_identifier(edge)}.{PLACED[0]}")
        ViewMaker(connection, placed, over).ensure(PLACED[1])
        # In the order of the rows that it stands for: a reader takes some columns of sources
        # whose ids may be there twice from here, and others from there.
        connection.execute(
            f"create table {target} as select * exclude (rerun) "
            f"from {quote_identifier(placed)}.{PLACED[1]}"
        )
        of_narrow = ViewMaker(
            connection,
            counted,
            {**narrow, **attaching.views_of_sources(_select(rerun, _SOURCES, f"{home}."))},
        )
        of_wide = ViewMaker(connection, whole_schema, wide)
        for view in _SUMMARIES:
            is_narrow = view in views.narrow_names()
            (of_narrow if is_narrow else of_wide).ensure(view)
            made_in = quote_identifier(counted if is_narrow else whole_schema)
            # What passes sources through has their order already, by visit and detector.
            order = " order by all" if views.view_named(view).is_closed else ""
            connection.execute(
                f"create table {home}.{_table(view)} as "
                f"select * exclude (rerun) from {made_in}.{quote_identifier(view)}{order}"
            )


def _staged(rerun: AttachedRerun, *, is_narrow: bool) -> dict[str, str]:
    """Return the staged views over the tables of a workspace that is being written."""
    home = _home(rerun)
    return {
        view: attaching.staged_sql(
            rerun,
            table,
            f"{home}.{quote_identifier(table)}" if table in rerun.file.tables else None,
            is_narrow=is_narrow,
        )
        for view, table in STAGED.items()
    }


@contextmanager
def _scratch(connection: Connection, rerun: AttachedRerun, name: str) -> Iterator[str]:
    """Make a schema with the rerun's definitions, and take it away again."""
    schema_name = f"{OWN_PREFIX}{_PREFIX}{name}"
    connection.execute(f"create schema {quote_identifier(schema_name)}")
    for table in DEFINITION_TABLES:
        connection.execute(
            f"create view {quote_identifier(schema_name)}.{table} as "
            f"select * from {_home(rerun)}.{table}"
        )
    try:
        yield schema_name
    finally:
        connection.execute(f"drop schema {quote_identifier(schema_name)} cascade")


def _select(rerun: AttachedRerun, view: str, home: str = "") -> str:
    """Return the SELECT over what is kept of a view, with the columns of its narrow form.

    `home` goes before the table's name; without it the table lies beside who asks.
    """
    columns = views.documented_columns(views.view_named(view), is_narrow=True)
    listed = ", ".join(
        f"{quote_text(rerun.name)} as rerun" if name == "rerun" else quote_identifier(name)
        for name in columns
    )
    kept = _SOURCES if view in PLACED else view
    return f"select {listed} from {home}{_table(kept)}"


def beside(rerun: AttachedRerun) -> dict[str, str]:
    """Return {view: SELECT} of those kept with every column, for the workspace's own views."""
    return whole({view: _select(rerun, view) for view in KEPT})


def given(rerun: AttachedRerun) -> dict[str, str]:
    """Return {view: SELECT over what the workspace holds ready} of an opened rerun.

    Those that pass columns through have `schema.NARROW_COLUMNS` alone.
    """
    file = rerun.file
    if not isinstance(file, ColumnarRerun) or file.manifest.ready is None or file.schema is None:
        return {}
    if file.manifest.ready != digest(rerun):
        return {}
    home = f"{quote_identifier(rerun.catalog)}.{quote_identifier(file.schema)}."
    return {view: _select(rerun, view, home) for view in KEPT}


def whole(ready: dict[str, str]) -> dict[str, str]:
    """Return those of the views that are there with every column."""
    return {view: sql for view, sql in ready.items() if views.view_named(view).is_closed}
