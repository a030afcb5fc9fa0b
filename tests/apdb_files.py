"""Tiny APDB files in the physical layout of every schema generation.

The layouts, indexes, names and flag bits come from the CSV files in
``hitsduck/data``; nothing else of hitsduck is used, so that what a test writes
here and what hitsduck reads are two independent paths.
"""

from __future__ import annotations

import csv
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "hitsduck" / "data"
GENERATIONS = ("2020", "2023", "0.1.1", "1.0.0", "10.0.0")
#: Generations whose DiaSource packs its flags into one integer.
PACKED_GENERATIONS = ("2020", "2023", "0.1.1")

Row = Mapping[str, Any]

#: Values where a generation says NOT NULL, gives no default, and the test gives no value.
_FILL = {
    "midpointMjdTai": 57070.1,
    "validityStartMjdTai": 57000.0,
    "timeProcessedMjdTai": 57080.0,
    "lastNonForcedSourceMjdTai": 57000.0,
}
_ID_COLUMN = {
    "DiaSource": "diaSourceId",
    "DiaObject": "diaObjectId",
    "DiaForcedSource": "diaForcedSourceId",
    "DiaObjectLast": "diaObjectId",
    "SSObject": "ssObjectId",
}


def make_apdb(
    path: str | Path,
    *,
    generation: str = "10.0.0",
    sources: Iterable[Row] = (),
    objects: Iterable[Row] = (),
    forced: Iterable[Row] = (),
    summary: Iterable[Row] | None = None,
    objects_last: Iterable[Row] | None = None,
    prefix: str = "",
    metadata: Mapping[str, str] | None = None,
    indexes: bool = True,
    id_factor: int = 100,
    constraints: bool = True,
    leave_out: Iterable[str] = (),
) -> Path:
    """Write an SQLite file as dax_apdb of one generation would have laid it out.

    Parameters
    ----------
    path
        File to create; folders above it are made. It must not exist.
    generation
        ``2020``, ``2023``, ``0.1.1``, ``1.0.0`` or ``10.0.0`` (layouts.md).
    sources, objects, forced
        Rows of DiaSource, DiaObject, DiaForcedSource: {canonical column: value},
        with the names, units and types of schema 10.0.0 (columns.csv). A column
        may also be named as the generation itself names it (``ccdVisitId``,
        ``flags``, ``decl``), and is then written as it is.
        What is not given: ids count from 1, `_FILL` where NOT NULL asks for a
        time, flags false where they are columns, the column's own default
        (2020: mostly 0), NULL, or 0 where NOT NULL.
    summary
        Rows of DetectorVisitProcessingSummary (10.0.0 columns in any
        generation); the table exists where this is not None.
    objects_last
        Rows of DiaObjectLast; the table exists where this is not None.
    prefix
        Put before every table name.
    metadata
        Added to the rows of ``metadata``; None adds nothing. The table exists
        from 0.1.1 on, with ``version:schema``, and in any generation where this
        is given. `instrument` goes in here.
    indexes
        False leaves out every index but the primary keys.
    id_factor
        ``ccdVisitId = visit * id_factor + detector`` until 0.1.1: DECam 100,
        HSC 200, LSST cameras 1000.
    constraints
        False leaves out NOT NULL, so that None becomes a NULL everywhere.
    leave_out
        Physical columns as ``DiaSource.ccdVisitId``, or whole tables as
        ``SSObject``, that are not created.

    Returns
    -------
    Path
        `path`.

    Notes
    -----
    A canonical column that the generation lacks is dropped without a word, so
    that one truth can be written in every generation; a name that no generation
    knows is a KeyError, and so is a flag that is true and cannot be stored.
    A NULL flag makes the whole packed ``flags`` NULL (needs `constraints` False).
    None for an id that the generation cannot leave NULL (2020: diaObjectId)
    is written as 0, as ap_association did.

    Examples
    --------
    >>> make_apdb(  # doctest: +SKIP
    ...     tmp_path / "association.db",
    ...     generation="2020",
    ...     sources=[
    ...         dict(diaObjectId=1, visit=410985, detector=5, ra=150.1, dec=2.2, x=10, y=20,
    ...              pixelFlags_bad=True, band="g"),
    ...     ],
    ...     objects=[dict(diaObjectId=1, ra=150.1, dec=2.2, validityEndMjdTai=None)],
    ... )
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    left_out = set(leave_out)
    rows: dict[str, list[Row]] = {
        "DiaSource": list(sources),
        "DiaObject": list(objects),
        "DiaForcedSource": list(forced),
        "SSObject": [],
    }
    if objects_last is not None:
        rows["DiaObjectLast"] = list(objects_last)
    if summary is not None:
        rows["DetectorVisitProcessingSummary"] = list(summary)
    recorded = _metadata(generation, metadata)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma synchronous = off")
        for table, given in rows.items():
            layout = [
                column
                for column in _layout(generation, table)
                if f"{table}.{column['column']}" not in left_out
            ]
            if not layout or table in left_out:
                continue
            _create(connection, generation, table, layout, prefix, constraints)
            _insert(connection, generation, table, layout, prefix, given, id_factor, constraints)
            if indexes:
                _create_indexes(connection, generation, table, layout, prefix)
        if recorded is not None and "metadata" not in left_out:
            name = _quoted(f"{prefix}metadata")
            connection.execute(
                f"create table {name} (name text not null primary key, value text not null)"
            )
            connection.executemany(f"insert into {name} values (?, ?)", list(recorded.items()))
    return path


def small_apdb(path: Path, n_sources: int = 4, **options: Any) -> Path:
    """Write an APDB of DECam with one good source per visit and object.

    Parameters
    ----------
    n_sources
        diaObjectId and the id of the source are 1, 2 ...; visits 410985 and after, ra from
        150 degrees on, a hundredth apart.
    **options
        As for `make_apdb`, in place of what is written otherwise.
    """
    given: dict[str, Any] = {
        "sources": [
            {
                "diaObjectId": 1 + k,
                "visit": 410985 + k,
                "detector": 5,
                "ra": 150.0 + k / 100,
                "dec": 2.0,
                "x": 9.0,
                "y": 9.0,
                "psfFlux": 5.0,
                "band": "g",
            }
            for k in range(n_sources)
        ],
        "objects": [{"diaObjectId": 1 + k, "nDiaSources": 1} for k in range(n_sources)],
        "metadata": {"instrument": "DECam"},
    }
    return make_apdb(path, **(given | options))


def mjd_text(mjd: float) -> str:
    """Return an MJD as the TIMESTAMP text that SQLAlchemy writes, to the microsecond."""
    stamp = datetime(1858, 11, 17) + timedelta(days=float(mjd))
    return stamp.strftime("%Y-%m-%d %H:%M:%S.%f")


def pack_flags(generation: str, row: Row) -> int | None:
    """Return the packed ``flags`` of a row of boolean flags; None where one is None."""
    bits = _flag_bits("2019" if generation == "2020" else "2023")
    packed = 0
    for name in _flag_names():
        if name not in row or row[name] is False or row[name] == 0:
            continue
        if row[name] is None:
            return None
        packed |= bits[name]
    return packed


def _metadata(generation: str, given: Mapping[str, str] | None) -> dict[str, str] | None:
    has_table = bool(_layout(generation, "metadata"))
    if not has_table and given is None:
        return None
    recorded = {"version:schema": generation} if has_table else {}
    return {**recorded, **(given or {})}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@cache
def _csv(name: str) -> tuple[dict[str, str], ...]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def _layout(generation: str, table: str) -> tuple[dict[str, str], ...]:
    if generation not in GENERATIONS:
        raise KeyError(f"no generation {generation!r}; there are {GENERATIONS}")
    if table == "DetectorVisitProcessingSummary":
        generation = "10.0.0"
    return tuple(
        row
        for row in _csv("layouts.csv")
        if row["generation"] == generation and row["table"] == table
    )


@cache
def _older_names(table: str) -> dict[str, tuple[str, bool]]:
    """Return {older name: (canonical name, whether it is a TIMESTAMP)}."""
    return {
        row["name"]: (row["column"], row["conversion"] == "timestamp")
        for row in _csv("names.csv")
        if row["table"] == table
    }


@cache
def _known_names(table: str) -> frozenset[str]:
    canonical = {row["column"] for row in _csv("columns.csv") if row["table"] == table}
    physical = {row["column"] for row in _csv("layouts.csv") if row["table"] == table}
    return frozenset(canonical | physical | _older_names(table).keys() | {"visit", "detector"})


@cache
def _flag_bits(era: str) -> dict[str, int]:
    return {row["flag"]: int(row["mask"]) for row in _csv("flag_bits.csv") if row["era"] == era}


@cache
def _flag_names() -> frozenset[str]:
    """Return the flags that any generation stores, packed or as a column."""
    packed = {row["flag"] for row in _csv("flag_bits.csv")}
    columns = {
        row["column"]
        for row in _csv("columns.csv")
        if row["table"] == "DiaSource"
        and row["type"] == "BOOLEAN"
        and row["column"] not in {"isDipole", "isNegative", "dipoleFitAttempted"}
    }
    return frozenset(packed | columns)


def _create(
    connection: sqlite3.Connection,
    generation: str,
    table: str,
    layout: list[dict[str, str]],
    prefix: str,
    constraints: bool,
) -> None:
    present = {column["column"] for column in layout}
    terms = []
    for column in layout:
        term = f"{_quoted(column['column'])} {column['sqlite_type']}"
        if column["not_null"] == "1" and constraints:
            term += " not null"
        if column["default"]:
            term += f" default {column['default']}"
        terms.append(term)
    for index in _csv("indexes.csv"):
        if (index["generation"], index["table"], index["index"]) == (
            generation,
            table,
            "PRIMARY KEY",
        ):
            key = index["columns"].split()
            if set(key) <= present:
                terms.append(f"primary key ({', '.join(map(_quoted, key))})")
    connection.execute(f"create table {_quoted(prefix + table)} ({', '.join(terms)})")


def _create_indexes(
    connection: sqlite3.Connection,
    generation: str,
    table: str,
    layout: list[dict[str, str]],
    prefix: str,
) -> None:
    present = {column["column"] for column in layout}
    for index in _csv("indexes.csv"):
        if (index["generation"], index["table"]) != (generation, table):
            continue
        names = index["columns"].split()
        if index["index"] == "PRIMARY KEY" or not set(names) <= present:
            continue
        connection.execute(
            f"create index {_quoted(prefix + index['index'])} on {_quoted(prefix + table)} "
            f"({', '.join(map(_quoted, names))})"
        )


def _insert(
    connection: sqlite3.Connection,
    generation: str,
    table: str,
    layout: list[dict[str, str]],
    prefix: str,
    rows: list[Row],
    id_factor: int,
    constraints: bool,
) -> None:
    for number, row in enumerate(rows, start=1):
        unknown = set(row) - _known_names(table)
        if unknown:
            raise KeyError(f"{table}: no generation knows {sorted(unknown)}")
        values = _physical_row(generation, table, layout, row, number, id_factor, constraints)
        names = ", ".join(map(_quoted, values))
        marks = ", ".join("?" * len(values))
        connection.execute(
            f"insert into {_quoted(prefix + table)} ({names}) values ({marks})",
            list(values.values()),
        )


def _physical_row(
    generation: str,
    table: str,
    layout: list[dict[str, str]],
    row: Row,
    number: int,
    id_factor: int,
    constraints: bool,
) -> dict[str, Any]:
    """Return {physical column: value} of what is not left to the column's default."""
    physical = {column["column"] for column in layout}
    values: dict[str, Any] = {}
    for column in layout:
        name = column["column"]
        canonical, is_timestamp = _older_names(table).get(name, (name, False))
        must_fill = column["not_null"] == "1" and constraints
        if name in row:
            value = row[name]
        elif canonical in row:
            value = row[canonical]
            if is_timestamp and isinstance(value, int | float):
                value = mjd_text(value)
        elif name == "ccdVisitId" and row.get("visit") is not None:
            value = row["visit"] * id_factor + row["detector"]
        elif name == "flags" and table == "DiaSource":
            value = pack_flags(generation, row)
        elif name == _ID_COLUMN.get(table) and name != "ssObjectId":
            value = number
        elif must_fill and canonical in _FILL:
            value = mjd_text(_FILL[canonical]) if is_timestamp else _FILL[canonical]
        elif table == "DiaSource" and name in _flag_names():
            value = 0
        elif column["default"]:
            continue
        else:
            value = 0 if must_fill else None
        if value is None and must_fill:
            value = 0
        values[name] = int(value) if isinstance(value, bool) else value
    _check_flags_stored(generation, table, physical, row)
    return values


def _check_flags_stored(generation: str, table: str, physical: set[str], row: Row) -> None:
    if table != "DiaSource" or "flags" in physical:
        return  # pack_flags has looked at each
    lost = [name for name in _flag_names() & set(row) if row[name] and name not in physical]
    if lost:
        raise KeyError(f"DiaSource of {generation} has no column for the flags {sorted(lost)}")


def drop_primary_key(path: Path, table: str) -> None:
    """Rewrite a table without its primary key, as a damaged or hand-made file has it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (sql,) = connection.execute(
            "select sql from sqlite_master where name = ?", (table,)
        ).fetchone()
        plain = re.sub(r",\s*primary key \([^)]*\)", "", sql).replace(f'"{table}"', '"copy"', 1)
        assert plain != sql
        connection.execute(plain)
        connection.execute(f'insert into "copy" select * from "{table}"')
        connection.execute(f'drop table "{table}"')
        connection.execute(f'alter table "copy" rename to "{table}"')
