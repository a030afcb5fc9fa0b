"""Reads the tables of one rerun for a store, and checks what was stored of them.

One statement reads a table, converts, orders and writes it. Two things are presumed of it,
from a sample of its rows: which columns hold one value throughout (most of them, in every
known generation), so that they need not be read; and which floats a 32-bit float can hold.
SQLite is asked whether the first holds for every row, in the pass that sums the others; the
statement itself refuses the first value for which the second does not. Where either fails the
table is written again without it, so that a presumption costs time when it is wrong and nothing
else.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hitsduck import attaching, schema, suggestions
from hitsduck.attaching import AttachedRerun
from hitsduck.connection import Connection
from hitsduck.errors import QueryError, RerunChangedError
from hitsduck.inspection import ApdbFile
from hitsduck.quoting import quote_identifier, quote_text

#: What rows are ordered by, so that a question about a visit reads few of them.
_ORDER: Mapping[str, tuple[str, ...]] = {
    "DiaSource": ("visit", "ccdVisitId", "detector", "diaSourceId"),
    "DiaObject": ("diaObjectId", "validityStartMjdTai"),
    "DiaForcedSource": ("visit", "ccdVisitId", "detector", "diaObjectId"),
    "DetectorVisitProcessingSummary": ("visit", "detector"),
}
#: Relative difference of two sums of the same numbers in another order.
_SUM_TOLERANCE = 1e-9
#: Python's types of a value that may stand for a column, by the type that DuckDB reads.
_CONSTANTS: Mapping[str, type] = {"BIGINT": int, "DOUBLE": float}
#: What a statement says when it finds a float that must stay double.
_WIDE = "hitsduck stores as double: "


#: Writes a SELECT; returns what was written, as SQL to read it from.
Write = Callable[[str], str]
Value = int | float | None


def _chosen(columns: str) -> Mapping[str, frozenset[str]] | None:
    """Return {table: columns that are stored}; None stands for all.

    Raises
    ------
    QueryError
        A column does not exist.
    """
    if columns == "all":
        return None
    if not columns.strip(" ,"):
        raise QueryError(
            "no column is named (--columns, columns=): say all, notebook, or columns of DiaSource "
            "and DiaObject"
        )
    flags = frozenset(schema.flag_names())
    if columns == "notebook":
        wanted = {table: frozenset(names) for table, names in schema.NOTEBOOK_COLUMNS.items()}
    else:
        names = frozenset(part.strip() for part in columns.split(",") if part.strip())
        known = {
            table: {column.name for column in schema.columns(table)}
            for table in ("DiaSource", "DiaObject")
        }
        unknown = sorted(names - set().union(*known.values()))
        if unknown:
            every = sorted(set().union(*known.values()))
            meant = [suggestions.column_meant(name, every) for name in unknown]
            hint = f"did you mean {', '.join(filter(None, meant))}? " if any(meant) else ""
            raise QueryError(
                f"no column {', '.join(unknown)} in DiaSource or DiaObject; {hint}say all, "
                'notebook, or columns of the views (hitsduck sql RERUN "describe dia_source")'
            )
        wanted = {table: names & of_table for table, of_table in known.items()}
    # What views, comparisons and pictures ask for is there in any case: without it they would
    # give numbers of nothing.
    return {
        table: wanted[table]
        | schema.NARROW_COLUMNS[table]
        | (flags if table == "DiaSource" else frozenset())
        for table in wanted
    }


def stored_columns(rerun: AttachedRerun, table: str, columns: str) -> dict[str, str]:
    """Return {canonical column: SQL over the physical table} of what is stored of a table.

    Columns that the generation lacks are not stored: the views give NULL for them.
    """
    physical = rerun.file.tables[table]
    chosen = _chosen(columns)
    flags = set(schema.flags_in_file(physical)) if table == "DiaSource" else set()
    expressions = attaching.staged_expressions(rerun, table, has_rows=True)
    return {
        name: expression
        for name, expression in expressions.items()
        if (schema.physical_name(table, name, physical) is not None or name in flags)
        and (chosen is None or table not in chosen or name in chosen[table])
    }


@dataclass(frozen=True)
class SqliteTold:
    """What SQLite says of one table.

    Attributes
    ----------
    n_rows : int
    sums : dict of str to float
        Of the canonical columns that are stored as they are.
    varied : frozenset of str
        Physical columns presumed to hold one value that hold others too.
    """

    n_rows: int
    sums: dict[str, float]
    varied: frozenset[str]


class Importer:
    """Reads tables of reruns into a store, and checks what it has stored.

    Parameters
    ----------
    connection : Connection
        Where the files are attached.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def store(self, rerun: AttachedRerun, table: str, columns: str, write: Write) -> None:
        """Read one table and write it: floats narrowed, rows in order, checked.

        Parameters
        ----------
        rerun : AttachedRerun
        table : str
        columns : str
            As `stored_columns` takes it.
        write : callable
            Given a SELECT, it writes the rows, in place of what it wrote before, and returns
            SQL to read them from. It may be called again.

        Raises
        ------
        RerunChangedError
            The file changed, or SQLite does not agree with what was stored.
        BadValueError
            A cell does not fit its column.
        """
        file = rerun.file
        file.check_unchanged(rerun.name)
        expressions = stored_columns(rerun, table, columns)
        source = rerun.physical(table)
        if isinstance(file, ApdbFile):
            numbers = summed_columns(file, table, list(expressions))
            sample = _sample(file, table)
            constants = self._constants(source, sample)
            narrow = _narrow_in(sample, table, numbers)
            with ThreadPoolExecutor(1) as pool:
                # SQLite goes through the table in its own thread while DuckDB does.
                asked = pool.submit(ask_sqlite, file, table, numbers, constants)
                presumed = self._with_constants(source, constants)
                written = self._written(table, expressions, presumed, narrow, write)
                told = asked.result()
            if told.varied:
                kept = {name: constants[name] for name in constants if name not in told.varied}
                presumed = self._with_constants(source, kept)
                written = self._written(table, expressions, presumed, narrow, write)
            self._agree(rerun, table, written, told)
        else:
            floats = _floats(table, expressions)
            exact = self._narrow(source, {name: expressions[name] for name in floats})
            self._written(table, expressions, source, exact, write)
        file.check_unchanged(rerun.name)

    def _kinds(self, source: str) -> dict[str, str]:
        """Return {column: DuckDB's type} of a table."""
        rows = self.connection.execute(f"describe select * from {source}").fetchall()
        return {str(name): str(kind) for name, kind, *_ in rows}

    def _constants(self, source: str, sample: Mapping[str, Sequence[object]]) -> dict[str, Value]:
        """Return {physical column: its value} of those with one value in the sample."""
        constants: dict[str, Value] = {}
        for name, kind in self._kinds(source).items():
            values = sample.get(name)
            if not values:
                continue
            first = values[0]
            is_one = values.count(first) == len(values) and len(set(map(type, values))) == 1
            if is_one and (
                first is None
                or (
                    isinstance(first, int | float)
                    and type(first) is _CONSTANTS.get(kind)
                    and math.isfinite(first)
                )
            ):
                constants[name] = first
        return constants

    def _with_constants(self, source: str, constants: Mapping[str, Value]) -> str:
        """Return a table as SQL in which some columns are not read but given."""
        if not constants:
            return source
        terms = []
        for name, kind in self._kinds(source).items():
            column = quote_identifier(name)
            if name in constants:
                value = constants[name]
                given = "null" if value is None else quote_text(repr(value))
                terms.append(f"cast({given} as {kind}) as {column}")
            else:
                terms.append(column)
        return f"(select {', '.join(terms)} from {source})"

    def _written(
        self,
        table: str,
        expressions: Mapping[str, str],
        source: str,
        narrow: frozenset[str],
        write: Write,
    ) -> str:
        """Write a table, with floats of 32 bits where every value survives."""
        try:
            return write(_select(table, expressions, source, narrow))
        except QueryError as error:
            if _WIDE not in str(error):
                raise
        # All at once: each of them would refuse the statement in its turn.
        narrow = self._narrow(source, {name: expressions[name] for name in narrow})
        return write(_select(table, expressions, source, narrow))

    def _narrow(self, source: str, floats: Mapping[str, str]) -> frozenset[str]:
        """Return the columns whose every value a 32-bit float can hold."""
        if not floats:
            return frozenset()
        terms = ", ".join(f"count(*) filter (where {_is_wide(sql)})" for sql in floats.values())
        row = self.connection.execute(f"select {terms} from {source}").fetchone()
        assert row is not None
        return frozenset(name for name, n_wide in zip(floats, row, strict=True) if not n_wide)

    def _agree(self, rerun: AttachedRerun, table: str, written: str, told: SqliteTold) -> None:
        """Compare the rows and the sum of each stored column with SQLite's own."""
        terms = "".join(
            f", sum(cast({quoted} as double)), sum(abs(cast({quoted} as double)))"
            for quoted in map(quote_identifier, told.sums)
        )
        row = self.connection.execute(f"select count(*){terms} from {written}").fetchone()
        assert row is not None
        problems = []
        if row[0] != told.n_rows:
            problems.append(f"{row[0]} rows where SQLite counts {told.n_rows}")
        for number, (name, theirs) in enumerate(told.sums.items()):
            total, size = row[1 + 2 * number] or 0.0, row[2 + 2 * number] or 0.0
            is_sum = math.isclose(total, theirs, rel_tol=0, abs_tol=_SUM_TOLERANCE * size)
            if math.isfinite(theirs) and math.isfinite(total) and not is_sum:
                problems.append(f"{name}: a sum of {total} where SQLite has {theirs}")
        if problems:
            raise RerunChangedError(
                f"rerun {rerun.name!r} ({rerun.file.path}): {table} was read otherwise than SQLite "
                f"counts it ({'; '.join(problems[:3])}); is it being written? Nothing was stored"
            )


def _select(table: str, expressions: Mapping[str, str], source: str, narrow: frozenset[str]) -> str:
    """Return the SELECT of a table's stored form, in order; a wide value refuses it."""
    terms = ", ".join(
        f"{_narrowed(name, sql) if name in narrow else sql} as {quote_identifier(name)}"
        for name, sql in expressions.items()
    )
    order = [quote_identifier(name) for name in _ORDER[table] if name in expressions]
    ordered = f" order by {', '.join(order)}" if order else ""
    return f"select {terms} from {source}{ordered}"


def _is_wide(sql: str) -> str:
    return f"cast(try_cast({sql} as float) as double) is distinct from {sql}"


def _narrowed(name: str, sql: str) -> str:
    refusal = f"error({quote_text(_WIDE + name)})"
    return f"cast(case when {_is_wide(sql)} then {refusal} else {sql} end as float)"


def _floats(table: str, names: Mapping[str, str]) -> list[str]:
    kinds = {column.name: column.type for column in schema.columns(table)}
    return [name for name in names if kinds[name] == "FLOAT"]


def summed_columns(file: ApdbFile, table: str, canonical: Sequence[str]) -> dict[str, str]:
    """Return {canonical column: physical} of the numbers that are stored as they are."""
    kinds = {column.name: column.type for column in schema.columns(table)}
    declared = file.tables[table]
    found = {name: schema.physical_name(table, name, declared) for name in canonical}
    return {
        name: physical
        for name, physical in found.items()
        if physical is not None
        and kinds[name] not in ("VARCHAR", "BLOB")
        and not _is_time(declared[physical])
        # That is the end as the object's next version tells it, not the column.
        and not (name == "validityEndMjdTai" and attaching.is_validity_closed(file, table))
    }


def _is_time(declared: str) -> bool:
    return "TIME" in declared.upper() or "DATE" in declared.upper()


def _sample(file: ApdbFile, table: str) -> dict[str, list[object]]:
    """Return {physical column: values} of some rows, spread over the table."""
    names = list(file.tables[table])
    with file.reading() as connection:
        connection.text_factory = bytes  # what is no UTF-8 is complained of elsewhere
        rows, _ = file.sample(connection, table, names)
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}


def _narrow_in(
    sample: Mapping[str, Sequence[object]], table: str, numbers: Mapping[str, str]
) -> frozenset[str]:
    """Return the columns of 32-bit floats of which no sampled value needs more."""
    return frozenset(
        name
        for name in _floats(table, numbers)
        if _fit([value for value in sample.get(numbers[name], ()) if isinstance(value, float)])
    )


def _fit(values: list[float]) -> bool:
    """Return whether 32-bit floats hold values as they are; one too large becomes infinite."""
    return array("f", values).tolist() == values


def ask_sqlite(
    file: ApdbFile, table: str, numbers: Mapping[str, str], constants: Mapping[str, Value]
) -> SqliteTold:
    """Have SQLite count and sum a table, and look for rows that are not as presumed.

    Parameters
    ----------
    file : ApdbFile
    table : str
    numbers : mapping of str to str
        Canonical column -> physical, of those to sum.
    constants : mapping of str to value
        Physical column -> the value that each of its cells is presumed to be.
    """
    name = quote_identifier(file.table_name(table))
    kinds = {column.name: column.type for column in schema.columns(table)}
    booleans = {physical for column, physical in numbers.items() if kinds[column] == "BOOLEAN"}
    # A flag of 2 is stored as true, which counts as 1.
    summed = {
        physical: f"{quote_identifier(physical)}{' <> 0' if physical in booleans else ''}"
        for physical in numbers.values()
    }
    others = {physical: quoted for physical, quoted in summed.items() if physical not in constants}
    totals = "".join(f", total({quoted})" for quoted in others.values())
    differs = {physical: f"{quote_identifier(physical)} is not ?" for physical in constants}
    # One condition over all of them: that is half the work of a sum of each.
    varied = f"count(case when {' or '.join(differs.values())} then 1 end)" if differs else "0"
    with file.reading() as connection:
        n_rows, n_varied, *found = connection.execute(
            f"select count(*), {varied}{totals} from {name}", list(constants.values())
        ).fetchone()
        sums = dict(zip(others, map(float, found), strict=True))
        sums |= {
            physical: float(bool(value) if physical in booleans else value or 0) * n_rows
            for physical, value in constants.items()
        }
        wrong: set[str] = set()
        if n_varied:
            terms = "".join(
                f", count(case when {condition} then 1 end), "
                f"{f'total({summed[physical]})' if physical in summed else '0'}"
                for physical, condition in differs.items()
            )
            _, *counted = connection.execute(
                f"select count(*){terms} from {name}", list(constants.values())
            ).fetchone()
            for physical, n_other, total in zip(
                constants, counted[::2], counted[1::2], strict=True
            ):
                sums[physical] = float(total)
                if n_other:
                    wrong.add(physical)
    of_columns = {name: sums[physical] for name, physical in numbers.items()}
    return SqliteTold(int(n_rows), of_columns, frozenset(wrong))
