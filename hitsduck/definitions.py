"""What the views have to know of each rerun: small tables beside them.

``rerun`` says instrument, units and what cannot be told, ``good_definition`` which flags a
good source lacks, ``file_flag`` which flags the file holds, ``camera_detector`` the geometry.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from hitsduck import schema
from hitsduck.attaching import ALL_RERUNS, AttachedRerun
from hitsduck.connection import Connection
from hitsduck.quoting import quote_identifier, quote_text


def seeing_problem(rerun: AttachedRerun) -> str | None:
    """Return why the seeing in arcsec cannot be told, or None where it can."""
    scales = {round(camera.pixel_scale_arcsec, 9) for camera in rerun.instrument.candidates}
    needs_scale = rerun.moments.unit == "px2" and len(scales) > 1
    return rerun.instrument.geometry_problem if needs_scale else None


def definition(rerun: AttachedRerun) -> dict[str, Any]:
    """Return the one row of the table ``rerun``."""
    found, unit = rerun.instrument, rerun.moments.unit
    camera = found.camera
    cameras = found.candidates
    moments_scale = {"arcsec2": 1.0, "px2": cameras[0].pixel_scale_arcsec}.get(unit or "")
    lacks_position = not {"x", "y"} <= set(rerun.file.tables["DiaSource"])
    position_problem = found.geometry_problem
    if lacks_position:
        position_problem = (
            f"rerun {rerun.name!r} ({rerun.file.path}): DiaSource has no columns x and y, "
            "which edges and the focal plane need"
        )
    known = sorted({number for c in cameras for number in c.detectors})
    return {
        "rerun": rerun.name,
        "path": str(rerun.file.path),
        "instrument": found.name,
        "visit_id_factor": found.id_factor,
        "id_problem": found.id_problem,
        "geometry_problem": found.geometry_problem,
        "position_problem": position_problem,
        "site_problem": found.site_problem,
        "seeing_problem": seeing_problem(rerun),
        "known_detectors": known,
        "detectors_to_check": None if found.is_checked else known,
        "longitude_deg": None if found.site_problem else cameras[0].longitude_deg,
        "plate_scale_arcsec_per_mm": camera.plate_scale_arcsec_per_mm if camera else None,
        "moments_unit": unit,
        "moments_scale_arcsec": None if seeing_problem(rerun) else moments_scale,
        "is_iyy_psf_ixy_psf": rerun.moments.psf_moments == "ixx only",
        "flag_set": rerun.flag_set,
    }


#: Columns of the definition tables and their types.
_TABLE_TYPES: dict[str, dict[str, str]] = {
    "rerun": {
        "rerun": "varchar",
        "path": "varchar",
        "instrument": "varchar",
        "visit_id_factor": "bigint",
        "id_problem": "varchar",
        "geometry_problem": "varchar",
        "position_problem": "varchar",
        "site_problem": "varchar",
        "seeing_problem": "varchar",
        "known_detectors": "integer[]",
        "detectors_to_check": "integer[]",
        "longitude_deg": "double",
        "plate_scale_arcsec_per_mm": "double",
        "moments_unit": "varchar",
        "moments_scale_arcsec": "double",
        "is_iyy_psf_ixy_psf": "boolean",
        "flag_set": "varchar",
    },
    "good_definition": {
        "rerun": "varchar",
        "flag_set": "varchar",
        "flag": "varchar",
        "bit": "bigint",
        "stored_bit": "bigint",
    },
    "file_flag": {
        "rerun": "varchar",
        "flag": "varchar",
        "is_bad": "boolean",
        "is_in_file": "boolean",
    },
    "camera_detector": {
        "rerun": "varchar",
        "detector": "integer",
        "name": "varchar",
        "detector_type": "integer",
        "x0_px": "integer",
        "y0_px": "integer",
        "x1_px": "integer",
        "y1_px": "integer",
        "pixel_size_x_mm": "double",
        "pixel_size_y_mm": "double",
        "ref_x_px": "double",
        "ref_y_px": "double",
        "offset_x_mm": "double",
        "offset_y_mm": "double",
        "yaw_deg": "double",
    },
}
#: Small native tables beside the views of each rerun.
DEFINITION_TABLES = tuple(_TABLE_TYPES)
#: Every column of theirs.
DEFINITION_COLUMNS = frozenset(name for types in _TABLE_TYPES.values() for name in types)


def _good_definition(rerun: AttachedRerun) -> list[dict[str, Any]]:
    return [
        {
            "rerun": rerun.name,
            "flag_set": rerun.flag_set,
            "flag": flag,
            "bit": schema.flag_number(flag),
            "stored_bit": schema.stored_flag(flag, rerun.file.tables["DiaSource"]),
        }
        for flag in rerun.bad_flags
    ]


def _file_flags(rerun: AttachedRerun) -> list[dict[str, Any]]:
    in_file = set(schema.flags_in_file(rerun.file.tables["DiaSource"]))
    return [
        {
            "rerun": rerun.name,
            "flag": flag,
            "is_bad": flag in rerun.bad_flags,
            "is_in_file": flag in in_file,
        }
        for flag in schema.flag_names()
    ]


def _camera_detectors(rerun: AttachedRerun) -> list[dict[str, Any]]:
    camera = rerun.instrument.camera
    return [{"rerun": rerun.name} | vars(d) for d in camera.detectors.values()] if camera else []


#: Definition table -> what gives its rows of one rerun.
_ROWS: Mapping[str, Callable[[AttachedRerun], list[dict[str, Any]]]] = {
    "rerun": lambda rerun: [definition(rerun)],
    "good_definition": _good_definition,
    "file_flag": _file_flags,
    "camera_detector": _camera_detectors,
}


def definition_rows(rerun: AttachedRerun) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the definition tables of one rerun, by table."""
    return {table: rows(rerun) for table, rows in _ROWS.items()}


def _create_table(
    connection: Connection, in_schema: str, table: str, rows: list[dict[str, Any]]
) -> None:
    """Create one definition table.

    The values go over as one text of JSON: binding a single Python value would make
    DuckDB import pandas, which costs more than the whole opening.
    """
    types = ", ".join(f"{column} {kind}" for column, kind in _TABLE_TYPES[table].items())
    connection.execute(
        f"create or replace table {quote_identifier(in_schema)}.{quote_identifier(table)} as "
        f"select told.* from (select unnest(cast(cast({quote_text(json.dumps(rows))} as json) "
        f"as struct({types})[])) as told)"
    )


def create_tables(connection: Connection, rerun: AttachedRerun) -> None:
    """Create the definition tables of one rerun in the schema of its name."""
    for table, rows in definition_rows(rerun).items():
        _create_table(connection, rerun.name, table, rows)


class Definitions:
    """The definition tables of opened reruns, each made when a view first reads it.

    Parameters
    ----------
    connection : Connection
        Where the schema `ALL_RERUNS` is.
    reruns : iterable of AttachedRerun
    """

    def __init__(self, connection: Connection, reruns: Iterable[AttachedRerun]) -> None:
        self._connection = connection
        self._reruns = {rerun.name: rerun for rerun in reruns}
        self._made: set[str] = set()
        self._lock = threading.Lock()

    def row(self, name: str) -> Mapping[str, Any]:
        """Return the row of the table ``rerun`` of one rerun."""
        return definition(self._reruns[name])

    def given(self, name: str) -> dict[str, Callable[[], str]]:
        """Return {table: what gives its SELECT} of one rerun, for a `ViewMaker`."""
        return {table: partial(self._select, table, name) for table in DEFINITION_TABLES}

    def given_all(self) -> dict[str, Callable[[], str]]:
        """Return {table: what gives its SELECT} of all reruns, for a `ViewMaker`."""
        return {table: partial(self._select, table) for table in DEFINITION_TABLES}

    def ensure(self, table: str) -> None:
        """Create a table of all reruns, unless it is there."""
        with self._lock:
            if table not in self._made:
                rows = [row for rerun in self._reruns.values() for row in _ROWS[table](rerun)]
                _create_table(self._connection, ALL_RERUNS, table, rows)
                self._made.add(table)

    def _select(self, table: str, name: str | None = None) -> str:
        self.ensure(table)
        only = "" if name is None else f" where rerun = {quote_text(name)}"
        return f"select * from {ALL_RERUNS}.{quote_identifier(table)}{only}"
