"""The generations of the APDB schema: pure data and functions, no connection.

``data/columns.csv`` holds every column under its name in schema 10.0.0,
``data/names.csv`` the older names, ``data/flag_bits.csv`` the bits of the packed
``flags`` column, ``data/generations.csv`` which columns mark a generation. The
facts come from the public repositories lsst/dax_apdb, lsst/sdm_schemas and
lsst/ap_association.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from hitsduck.errors import FlagError, SchemaError
from hitsduck.quoting import quote_identifier

_DATA = Path(__file__).parent / "data"

#: Named sets of flags; a source is good when none of the set is true.
FLAG_SETS: Mapping[str, tuple[str, ...]] = {
    "dm25125": ("pixelFlags_bad", "pixelFlags_suspect", "pixelFlags_saturatedCenter"),
    "analysis_ap": (
        "pixelFlags_bad",
        "pixelFlags_suspect",
        "pixelFlags_saturatedCenter",
        "pixelFlags_interpolated",
        "pixelFlags_interpolatedCenter",
        "pixelFlags_edge",
    ),
}
DEFAULT_FLAG_SET = "dm25125"

_PIXEL = "pixelFlags_"
#: BOOLEAN columns of DiaSource that describe a source and are no quality flag.
NOT_FLAGS = frozenset({"isDipole", "isNegative", "dipoleFitAttempted"})


#: Canonical columns that the notebook analysis of 2020 reads; keys and what no table can
#: do without are kept beside them.
NOTEBOOK_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "DiaSource": (
        "diaSourceId",
        "visit",
        "detector",
        "ccdVisitId",
        "diaObjectId",
        "ssObjectId",
        "midpointMjdTai",
        "ra",
        "dec",
        "x",
        "y",
        "apFlux",
        "apFluxErr",
        "snr",
        "psfFlux",
        "psfFluxErr",
        "scienceFlux",
        "scienceFluxErr",
        "ixxPSF",
        "iyyPSF",
        "ixyPSF",
        "flags",
        "band",
        "pixelId",
    ),
    "DiaObject": (
        "diaObjectId",
        "validityStartMjdTai",
        "validityEndMjdTai",
        "ra",
        "dec",
        "nDiaSources",
        "flags",
        "pixelId",
    ),
}

#: Canonical columns that the views of ``sql/`` name, and that comparisons and pictures ask for.
#: Views over these alone are bound several times faster than over all 130; of a table that
#: is not named here every column is taken.
NARROW_COLUMNS: Mapping[str, frozenset[str]] = {
    "DiaSource": frozenset(
        {
            "diaSourceId",
            "visit",
            "detector",
            "ccdVisitId",
            "diaObjectId",
            "ssObjectId",
            "midpointMjdTai",
            "ra",
            "dec",
            "x",
            "y",
            "psfFlux",
            "psfFluxErr",
            "ixxPSF",
            "iyyPSF",
            "ixyPSF",
            "band",
            "isDipole",
        }
    ),
    "DiaObject": frozenset(
        {
            "diaObjectId",
            "validityStartMjdTai",
            "validityEndMjdTai",
            "ra",
            "dec",
            "nDiaSources",
        }
    ),
    "DiaForcedSource": frozenset({"diaObjectId", "visit", "detector", "ccdVisitId"}),
}


class Column(NamedTuple):
    """One canonical column: its table, DuckDB type, unit and meaning."""

    table: str
    name: str
    type: str
    unit: str
    description: str


class _OlderName(NamedTuple):
    name: str
    conversion: str
    timescale: str


def _rows(name: str) -> list[dict[str, str]]:
    with (_DATA / name).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return [dict(zip(header, row, strict=True)) for row in rows]


@cache
def _all_columns() -> dict[str, tuple[Column, ...]]:
    tables: dict[str, list[Column]] = {}
    for row in _rows("columns.csv"):
        column = Column(
            row["table"], row["column"], row["type"], row["unit"] or "", row["description"]
        )
        tables.setdefault(column.table, []).append(column)
    return {table: tuple(found) for table, found in tables.items()}


def columns(table: str) -> tuple[Column, ...]:
    """Return the canonical columns of `table`, in the order of the views."""
    return _all_columns()[table]


@cache
def _older_names() -> dict[tuple[str, str], tuple[_OlderName, ...]]:
    found: dict[tuple[str, str], list[_OlderName]] = {}
    for row in _rows("names.csv"):
        older = _OlderName(row["name"], row["conversion"], row["timescale"])
        found.setdefault((row["table"], row["column"]), []).append(older)
    return {key: tuple(names) for key, names in found.items()}


def older_names() -> list[tuple[str, str]]:
    """Return (older name, name of today) of every column, those of DiaSource first."""
    pairs = [
        (table, older.name, column)
        for (table, column), names in _older_names().items()
        for older in names
    ]
    pairs.sort(key=lambda pair: pair[0] != "DiaSource")
    return [(older, column) for _, older, column in pairs]


@cache
def flag_bits(era: str) -> dict[str, int]:
    """Return {flag: mask} of the packed ``flags`` of an era, ``2019`` or ``2023``."""
    return {row["flag"]: int(row["mask"]) for row in _rows("flag_bits.csv") if row["era"] == era}


@cache
def flag_names() -> tuple[str, ...]:
    """Return the names of every known DiaSource flag, in schema order."""
    return tuple(
        column.name
        for column in columns("DiaSource")
        if column.type == "BOOLEAN" and column.name not in NOT_FLAGS
    )


@cache
def _flag_numbers() -> dict[str, int]:
    return {flag: 1 << number for number, flag in enumerate(flag_names())}


def flag_number(flag: str) -> int:
    """Return the bit that stands for `flag` in ``good_definition_bits``, whatever the era."""
    return _flag_numbers()[flag]


def packed_era(physical: Iterable[str]) -> str | None:
    """Return the era of a table's packed ``flags``, or None where flags are not packed.

    Where flags stand in columns of their own they are not packed, whatever else there is.

    The bits 23 and up changed meaning in 2023-01, when ``filterName`` had become
    ``band``; a table with ``decl`` is older still.
    """
    names = set(physical)
    # A store of columns holds the packed flags and what its era made of them.
    if "flags" not in names or not names.isdisjoint(flag_names()):
        return None
    return "2019" if names & {"decl", "filterName", "psFlux"} else "2023"


def generation(table: str, physical: Iterable[str]) -> str:
    """Return the generation that the columns of one table show."""
    names = set(physical)
    for row in _rows("generations.csv"):
        if row["table"] != table:
            continue
        if set(row["has"].split()) <= names and not set(row["lacks"].split()) & names:
            return row["generation"]
    return "unknown"


def _source(column: Column, physical: Mapping[str, str]) -> tuple[str, _OlderName | None] | None:
    """Return the physical name that holds `column`, and how it has to be converted."""
    if column.name in physical:
        return column.name, None
    for older in _older_names().get((column.table, column.name), ()):
        if older.name in physical:
            return older.name, older
    return None


def physical_name(table: str, canonical: str, physical: Mapping[str, str]) -> str | None:
    """Return the name under which a file holds a canonical column, None if it does not."""
    for column in columns(table):
        if column.name == canonical:
            found = _source(column, physical)
            return found[0] if found else None
    return None


def projection(
    table: str,
    physical: Mapping[str, str],
    kept: Iterable[str] | None = None,
    *,
    casts: bool = True,
) -> dict[str, str]:
    """Return {canonical column: SQL expression over the physical table}.

    Parameters
    ----------
    table : str
        ``DiaSource``, ``DiaObject`` and so on.
    physical : mapping of str to str
        The file's columns and their declared types.
    kept : iterable of str, optional
        The canonical columns that are wanted; all without.
    casts : bool
        False leaves cells as they are stored, which SQLite takes too: for it a cell has
        a type and a column has none.

    Returns
    -------
    dict
        Canonical columns, in order; what the file lacks is a typed NULL.
    """
    wanted = None if kept is None else frozenset(kept)
    return dict(_projection(table, tuple(physical.items()), wanted, casts))


@lru_cache(maxsize=64)
def _projection(
    table: str,
    stored: tuple[tuple[str, str], ...],
    wanted: frozenset[str] | None,
    casts: bool,
) -> dict[str, str]:
    physical = dict(stored)
    era = packed_era(physical)
    bits = flag_bits(era) if era is not None and table == "DiaSource" else {}
    expressions = {}
    for column in columns(table):
        if wanted is not None and column.name not in wanted:
            continue
        found = _source(column, physical)
        if found is not None:
            name, older = found
            expressions[column.name] = _expression(
                quote_identifier(name), column, older, casts=casts
            )
        elif column.name in bits:
            expressions[column.name] = f"(flags & {bits[column.name]:d}) <> 0"
        else:
            expressions[column.name] = _cast("null", column) if casts else "null"
    return expressions


def _expression(quoted: str, column: Column, older: _OlderName | None, *, casts: bool) -> str:
    if older is not None and older.conversion == "timestamp":
        return f"{older.timescale}_to_mjd_tai({quoted})"
    return _cast(quoted, column) if casts else quoted


def _cast(expression: str, column: Column) -> str:
    kind = "double" if column.type == "FLOAT" else column.type
    return f"cast({expression} as {kind})"


def unread_columns(table: str, physical: Mapping[str, str]) -> list[str]:
    """Return the file's columns that no canonical column stands for."""
    used = {found[0] for column in columns(table) if (found := _source(column, physical))}
    return [name for name in physical if name not in used]


def flags_in_file(physical: Mapping[str, str]) -> tuple[str, ...]:
    """Return the known flags that a DiaSource table holds, packed or not."""
    era = packed_era(physical)
    packed = flag_bits(era) if era is not None else {}
    return tuple(flag for flag in flag_names() if flag in physical or flag in packed)


def good_definition_bits(
    physical: Mapping[str, str], flags: Sequence[str], *, casts: bool = True
) -> str:
    """Return the SQL for the flags of a good definition as one integer.

    Each flag of `flags` that the file holds stands at its `flag_number`; NULL as
    soon as one of them is NULL. No other flag column is read. `casts` is that of `projection`.
    """
    if not flags:
        return "cast(0 as bigint)"
    era = packed_era(physical)
    if era is not None:
        masks = flag_bits(era)
        bits = " | ".join(_moved_bit(masks[flag], flag_number(flag)) for flag in flags)
        return f"cast({bits} as {good_definition_type(flags)})" if casts else bits
    expressions = projection("DiaSource", physical, flags, casts=casts)
    return " | ".join(
        f"(case when {expressions[flag]} then {flag_number(flag):d} "
        f"when not {expressions[flag]} then 0 end)"
        for flag in flags
    )


def stored_flags(physical: Mapping[str, str], flags: Sequence[str]) -> str:
    """Return the SQL for the flags of a good definition, each where `stored_flag` has it.

    Packed flags as they are stored, other ones beside them: what tells whether any of `flags`
    is set needs none of them moved.
    """
    return "flags" if packed_era(physical) else good_definition_bits(physical, flags)


def stored_flag(flag: str, physical: Mapping[str, str]) -> int:
    """Return the bit that stands for `flag` in `stored_flags`."""
    era = packed_era(physical)
    return flag_number(flag) if era is None else flag_bits(era)[flag]


def good_definition_type(flags: Sequence[str]) -> str:
    """Return the DuckDB type of ``good_definition_bits``: that of its highest number."""
    return "INTEGER" if max(map(flag_number, flags)) < 1 << 31 else "BIGINT"


def _moved_bit(mask: int, number: int) -> str:
    """Return the SQL that moves one bit of packed flags to where `number` has it.

    Cheaper than a case for each flag, which every row of every scan would pay.
    """
    places = number.bit_length() - mask.bit_length()
    return f"((flags & {mask:d}) {'<<' if places >= 0 else '>>'} {abs(places):d})"


def check_required(tables: Mapping[str, Mapping[str, str]], *, where: str) -> None:
    """Check that a file holds what every question needs.

    Raises
    ------
    SchemaError
        Names every missing column of every table at once.
    """
    source, objects = tables["DiaSource"], tables["DiaObject"]
    missing = [
        f"DiaSource.{name}"
        for name in ("diaSourceId", "diaObjectId", "ra", "dec")
        if physical_name("DiaSource", name, source) is None
    ]
    if not {"visit", "detector"} <= set(source) and "ccdVisitId" not in source:
        missing.append("DiaSource.visit and detector (or ccdVisitId)")
    if "flags" not in source and not flags_in_file(source):
        missing.append("DiaSource.flags (or a flag column such as pixelFlags_bad)")
    missing += [
        f"DiaObject.{name}"
        for name in ("diaObjectId", "validityEndMjdTai")
        if physical_name("DiaObject", name, objects) is None
    ]
    if missing:
        raise SchemaError(
            f"{where}: missing columns: {', '.join(missing)} (older names are known too: decl, "
            "validityEnd and so on); is it a complete APDB?"
        )


def resolve_flags(bad_flags: str | Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the name and the flags of a good definition.

    Parameters
    ----------
    bad_flags : str or sequence of str
        The name of a set, a list of flag names, or one text with commas. A flag
        may be named without its ``pixelFlags_``.

    Raises
    ------
    FlagError
        A flag or set is unknown; the message names the closest known ones.
    """
    if isinstance(bad_flags, str):
        if bad_flags in FLAG_SETS:
            return bad_flags, FLAG_SETS[bad_flags]
        bad_flags = [part.strip() for part in bad_flags.split(",") if part.strip()]
    given = bad_flags
    bad_flags = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(name, str) for name in bad_flags):
        raise FlagError(
            f"bad_flags is {given!r}; give names of flags, or one of the known sets: "
            f"{', '.join(FLAG_SETS)}"
        )
    if not bad_flags:
        raise FlagError(f"no flag is named; known sets: {', '.join(FLAG_SETS)}")
    known = flag_names()
    resolved = []
    for name in bad_flags:
        match = next((flag for flag in (name, _PIXEL + name) if flag in known), None)
        if match is None:
            raise FlagError(_unknown_flag(name, known))
        if match not in resolved:
            resolved.append(match)
    return "custom", tuple(resolved)


def _unknown_flag(name: str, known: Sequence[str]) -> str:
    candidates = {flag: flag for flag in known}
    candidates |= {flag.removeprefix(_PIXEL): flag for flag in known}
    candidates |= {name: name for name in FLAG_SETS}
    from difflib import get_close_matches

    close = get_close_matches(name, list(candidates), n=1)
    close = close or [known for known in candidates if name and known.startswith(name)]
    hint = f", did you mean {candidates[close[0]]}?" if close else ""
    # Most flags share their beginning, which may be left out: so the list is short.
    pixel = [flag.removeprefix(_PIXEL) for flag in known if flag.startswith(_PIXEL)]
    others = [flag for flag in known if not flag.startswith(_PIXEL)]
    return (
        f"unknown flag or flag set {name!r}{hint} (known sets: {', '.join(FLAG_SETS)}; known "
        f"flags: {', '.join(pixel)}, with or without {_PIXEL} before; {', '.join(others)})"
    )
