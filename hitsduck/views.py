"""Finds the views in ``sql/``, orders them by their inputs, creates them.

Knows no astronomy. A view's file name is its name; its header comment says its
purpose, grain, inputs and columns (sql/README.md).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hitsduck import schema
from hitsduck.connection import Connection
from hitsduck.errors import EngineError
from hitsduck.quoting import quote_identifier, quote_text

#: The layers, lowest first; a view reads only from its own or a lower one.
LAYERS = ("normalized", "derived", "summaries")
#: What the names of our own schemas and catalogues begin with.
OWN_PREFIX = "hitsduck_"
#: A comment on a line of its own, and a relation that is read, with the name it gets there.
_COMMENT = re.compile(r"(?m)^\s*--.*\n")
_READ = re.compile(r"\b(from|join) (\w+)\b( as\b)?")
#: The SELECT of a view that is not in ``sql/``, or what returns it when the view is made.
Select = str | Callable[[], str]


@dataclass(frozen=True)
class View:
    """One view as its file documents it.

    Attributes
    ----------
    name, layer, purpose, grain : str
    inputs : tuple of str
        The relations that it reads.
    columns : dict of str to str
        {column: what it is}; ``name.*`` stands for all columns of a view or an
        APDB table.
    body : str
        The SELECT.
    """

    name: str
    layer: str
    purpose: str
    grain: str
    inputs: tuple[str, ...]
    columns: dict[str, str]
    body: str

    @property
    def is_closed(self) -> bool:
        """Whether it passes no columns through: its header names each one."""
        return not any(entry.endswith(".*") for entry in self.columns)


@cache
def sql_folder() -> Path:
    """Return the folder of the SQL files: in the wheel, or beside the package."""
    here = Path(__file__).resolve().parent
    for folder in (here / "sql", here.parent / "sql"):
        if (folder / LAYERS[0]).is_dir():
            return folder
    raise EngineError(f"the folder sql/ is neither in {here} nor beside it; install hitsduck again")


def _parse(path: Path, layer: str) -> View:
    text = path.read_text(encoding="utf-8")
    header: dict[str, str] = {}
    columns: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        name, _, told = line[2:].partition(":")
        # What belongs to the columns stands further to the right.
        (columns if name.startswith("  ") else header)[name.strip()] = told.strip()
    return View(
        name=path.stem,
        layer=layer,
        purpose=header["purpose"],
        grain=header["grain"],
        inputs=tuple(part.strip() for part in header["inputs"].split(",")),
        columns=columns,
        body=text.strip(),
    )


@cache
def _files() -> dict[str, tuple[Path, str]]:
    """Return file and layer of every view, lowest layer first."""
    return {
        path.stem: (path, layer)
        for layer in LAYERS
        for path in sorted((sql_folder() / layer).glob("*.sql"))
    }


@cache
def view_named(name: str) -> View:
    """Return the view of this name, which must exist; no other file is read."""
    return _parse(*_files()[name])


@cache
def views() -> tuple[View, ...]:
    """Return every view, each after the views that it reads."""
    ordered: dict[str, View] = {}

    def place(name: str) -> None:
        view = view_named(name)
        for needed in view.inputs:
            if needed in _files() and needed not in ordered:
                place(needed)
        ordered.setdefault(name, view)

    for name in _files():
        place(name)
    return tuple(ordered.values())


@cache
def twin(name: str) -> View:
    """Return the view `name` in SQLite's dialect, over the rows of one id."""
    return _parse(sql_folder() / "by_id" / f"{name}.sql", "by_id")


def documented_columns(view: View, *, is_narrow: bool = False) -> list[str]:
    """Return the column names that a view's header promises, stars resolved.

    Parameters
    ----------
    view : View
    is_narrow : bool
        As the view has them over `schema.NARROW_COLUMNS` alone.
    """
    by_name = {other.name: other for other in views()}
    names: list[str] = []
    for entry in view.columns:
        if not entry.endswith(".*"):
            names.append(entry)
        elif entry[:-2] in by_name:
            names += documented_columns(by_name[entry[:-2]], is_narrow=is_narrow)
        else:
            kept = schema.NARROW_COLUMNS.get(entry[:-2]) if is_narrow else None
            names += [
                column.name
                for column in schema.columns(entry[:-2])
                if kept is None or column.name in kept
            ]
    return names


@cache
def narrow_names() -> frozenset[str]:
    """Return the views that can stand over `schema.NARROW_COLUMNS`."""
    return frozenset(name for name in view_names() if can_be_narrow(name))


@cache
def can_be_narrow(name: str) -> bool:
    """Return whether `name` is a view that can stand over `schema.NARROW_COLUMNS`.

    All but those of flags can: a view that asks for columns by a pattern, ``columns('...')``,
    or one that reads it, would find none of them.
    """
    if name not in _files():
        return False
    view = view_named(name)
    return "columns('" not in view.body and all(
        can_be_narrow(needed) for needed in view.inputs if needed in _files()
    )


def macros() -> list[str]:
    """Return the statements that create the macros."""
    return [
        path.read_text(encoding="utf-8") for path in sorted((sql_folder() / "macros").glob("*.sql"))
    ]


class ViewMaker:
    """Creates the views of one schema when they are first asked for.

    Parameters
    ----------
    connection : Connection
    in_schema : str
        Where the views go, and where their inputs are looked for.
    given : dict of str to str or callable
        Views whose SELECT is not in ``sql/``: name -> SELECT, or what returns it.
    """

    def __init__(self, connection: Connection, in_schema: str, given: Mapping[str, Select]) -> None:
        self._connection = connection
        self._schema = in_schema
        self._given = given
        self._made: set[str] = set()
        self._lock = threading.RLock()

    def ensure(self, name: str) -> None:
        """Create the view `name`, and what it reads, unless they are there."""
        with self._lock:
            if name in self._made:
                return
            with self._connection.within(self._schema):
                self._ensure(name)

    def select(self, name: str) -> str:
        """Return the SELECT of the view `name`, with those of what it reads inside.

        For a question that is asked once: a view is bound when it is created, and again
        whenever it is read.
        """
        with self._lock:
            if name in self._made:
                return f"select * from {self._full(name)}"
            if name in self._given:
                return self._select_given(name)
            view = view_named(name)
            return within_one(
                view.body, {needed: self.select(needed) for needed in self._needed(view)}
            )

    def _needed(self, view: View) -> list[str]:
        return [name for name in view.inputs if name in self._given or name in _files()]

    def _full(self, name: str) -> str:
        return f"{quote_identifier(self._schema)}.{quote_identifier(name)}"

    def _select_given(self, name: str) -> str:
        select = self._given[name]
        return select if isinstance(select, str) else select()

    def _ensure(self, name: str) -> None:
        if name in self._made:
            return
        full = self._full(name)
        if name in self._given:
            self._connection.execute(f"create or replace view {full} as {self._select_given(name)}")
        else:
            view = view_named(name)
            for needed in self._needed(view):
                self._ensure(needed)
            self._connection.execute(f"create or replace view {full} as {view.body}")
        # Nobody looks through the schemas that are ours alone.
        if name in _files() and not self._schema.startswith(OWN_PREFIX):
            view = view_named(name)
            comment = f"{view.purpose} Grain: {view.grain}."
            self._connection.execute(f"comment on view {full} is {quote_text(comment)}")
        self._made.add(name)


@cache
def view_names() -> tuple[str, ...]:
    """Return the names of the views, lowest layer first."""
    return tuple(view.name for view in views())


def within_one(body: str, inputs: Mapping[str, str]) -> str:
    """Return a view's SELECT with those of its inputs in the place of their names.

    Parameters
    ----------
    body : str
        As the house style writes it: each relation after ``from`` or ``join``, comments on
        lines of their own.
    inputs : mapping of str to str
        {name: SELECT}.
    """

    def replaced(found: re.Match[str]) -> str:
        word, name, alias = found.groups()
        if name not in inputs:
            return found[0]
        return f"{word} (\n{inputs[name]}\n){alias or f' as {name}'}"

    return _READ.sub(replaced, _COMMENT.sub("", body))


def union_sql(name: str, schemas: Iterable[str]) -> str:
    """Return the SELECT over the relation `name` of several schemas."""
    return " union all by name ".join(
        f"select * from {quote_identifier(schema)}.{quote_identifier(name)}" for schema in schemas
    )
