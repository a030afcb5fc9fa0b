"""The physical tables of each schema generation, and how canonical columns fill them.

Pure data: ``data/layouts.csv``, ``data/indexes.csv``, ``data/names.csv`` and
``data/flag_bits.csv`` of the package, and ``generations.toml`` beside this module.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from hitsduck import schema
from hitsduck.errors import SimulationError

#: Tables that only a file with dia_object_index=last_object_table has.
_NOT_MADE = ("DiaObjectLast",)


@dataclass(frozen=True)
class LayoutColumn:
    """One physical column and the canonical column that it holds."""

    name: str
    canonical: str
    sqlite_type: str
    not_null: bool
    default: str
    conversion: str


@dataclass(frozen=True)
class LayoutTable:
    """One physical table: its columns, primary key and indexes, in order."""

    name: str
    columns: tuple[LayoutColumn, ...]
    primary_key: tuple[str, ...]
    indexes: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Generation:
    """One schema generation: its tables and what the pipeline of the time wrote."""

    name: str
    tables: tuple[LayoutTable, ...]
    moments: str
    iyy_is_ixy: bool
    source_pixel: str
    no_object: int | None
    null: Mapping[str, tuple[str, ...]]
    unset: Mapping[str, tuple[str, ...]]
    zero: Mapping[str, tuple[str, ...]]
    metadata: Mapping[str, str]

    def table(self, name: str) -> LayoutTable:
        """Return the table called `name`."""
        return next(t for t in self.tables if t.name == name)

    def has_table(self, name: str) -> bool:
        """Return whether the generation has the table."""
        return any(t.name == name for t in self.tables)


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("hitsduck") / "data" / name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def generation_names() -> list[str]:
    """Return the generations that can be written, oldest first."""
    return list(dict.fromkeys(row["generation"] for row in _rows("layouts.csv")))


@cache
def packed_bits(era: str) -> Mapping[str, int]:
    """Return the mask of each flag of an era of packed flags (2019 or 2023)."""
    rows = _rows("flag_bits.csv")
    return {r["flag"]: int(r["mask"]) for r in rows if r["era"] == era and r["flag"]}


@cache
def load_generation(name: str) -> Generation:
    """Return a generation's layout.

    Raises
    ------
    SimulationError
        The generation is not one of `generation_names`.
    """
    if name not in generation_names():
        raise SimulationError(
            f"unknown generation {name!r}; known: {', '.join(generation_names())}"
        )
    text = (files("hitsduck.simulator") / "generations.toml").read_text("utf-8")
    facts: dict[str, Any] = tomllib.loads(text)[name]
    older = {
        (row["table"], row["name"]): (row["column"], row["conversion"])
        for row in _rows("names.csv")
    }
    tables: dict[str, list[LayoutColumn]] = {}
    for row in sorted(
        (r for r in _rows("layouts.csv") if r["generation"] == name),
        key=lambda r: (r["table"], int(r["position"])),
    ):
        table, column = row["table"], row["column"]
        if table in _NOT_MADE:
            continue
        canonical, conversion = older.get((table, column), (column, ""))
        tables.setdefault(table, []).append(
            LayoutColumn(
                column,
                canonical,
                row["sqlite_type"],
                row["not_null"] == "1",
                row["default"],
                conversion,
            )
        )
    indexes = [r for r in _rows("indexes.csv") if r["generation"] == name]
    made = []
    for table, columns in tables.items():
        own = [r for r in indexes if r["table"] == table]
        key = [tuple(r["columns"].split()) for r in own if r["index"] == "PRIMARY KEY"]
        made.append(
            LayoutTable(
                table,
                tuple(columns),
                key[0] if key else (),
                tuple(
                    (r["index"], tuple(r["columns"].split()))
                    for r in own
                    if r["index"] != "PRIMARY KEY"
                ),
            )
        )
    return Generation(
        name=name,
        tables=tuple(made),
        moments=facts["moments"],
        iyy_is_ixy=facts["iyy_is_ixy"],
        source_pixel=facts["source_pixel"],
        no_object=None if facts["no_object"] == "null" else int(facts["no_object"]),
        null={k: tuple(v) for k, v in facts["null"].items()},
        unset={k: tuple(v) for k, v in facts["unset"].items()},
        zero={k: tuple(v) for k, v in facts["zero"].items()},
        metadata=facts.get("metadata", {}),
    )


def notebook_columns(table: LayoutTable) -> LayoutTable:
    """Return the table with the notebook's columns, its flags and keys only."""
    wanted = schema.NOTEBOOK_COLUMNS.get(table.name)
    if wanted is None:
        return table
    columns = tuple(
        c
        for c in table.columns
        if c.canonical in wanted
        or c.canonical.startswith("pixelFlags")
        or c.canonical.endswith("_psfFluxMean")
    )
    names = {c.name for c in columns}
    return LayoutTable(
        table.name,
        columns,
        table.primary_key,
        tuple(i for i in table.indexes if set(i[1]) <= names),
    )
