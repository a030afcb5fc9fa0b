"""What an unknown name was meant to be, and where all names can be seen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from hitsduck import schema, views
from hitsduck.errors import QueryError

#: Words of notebooks and other tools, which no APDB used, for columns of today.
_OTHER_WORDS = {"ccd": "detector", "filter": "band"}
#: How DuckDB says that a column is unknown.
_UNKNOWN_COLUMN = re.compile(
    r'Referenced column "(?P<referenced>[^"]*)" not found'
    r'|Column "(?P<selected>[^"]*)" referenced that exists in the SELECT clause'
    r'|does not have a column named "(?P<of_table>[^"]*)"'
    r'|Column "(?P<listed>[^"]*)" in \w+ list not found'
)
_CANDIDATES = re.compile(r"Candidate bindings: (.*)")
_UNKNOWN_TABLE = re.compile(r'Table with name "?(.+?)"? does not exist( because schema)?')
#: As many columns are listed where none is near.
_FEW = 12
_NO_VALUE = "Values were not provided"
_EXCESS_VALUES = re.compile("identifiers of the excess parameters: (.*)")
_KIND = re.compile(r"^(?:Binder|Catalog|Conversion|Invalid Input|Parser) Error: ")


def column_meant(name: str, columns: Iterable[str]) -> str | None:
    """Return the one of `columns` that `name` was meant to be, None where none is near.

    Older names of a column go before those that are spelt alike.

    Examples
    --------
    >>> column_meant("filterName", ["visit", "band"])
    'band'
    >>> column_meant("vist", ["visit", "band"])
    'visit'
    """
    from difflib import get_close_matches

    by_fold = {column.casefold(): column for column in columns}
    fold = name.casefold()
    for today in (*_names_of_today().get(fold, ()), _OTHER_WORDS.get(fold, "")):
        if today.casefold() in by_fold:
            return by_fold[today.casefold()]
    near = get_close_matches(fold, by_fold, n=1)
    return by_fold[near[0]] if near else None


@cache
def _names_of_today() -> dict[str, tuple[str, ...]]:
    """Return {older name in small letters: columns of today}."""
    found: dict[str, tuple[str, ...]] = {}
    for older, today in schema.older_names():
        known = found.get(older.casefold(), ())
        found[older.casefold()] = known if today in known else (*known, today)
    return found


def view_meant(name: str) -> str | None:
    """Return the view that `name` was meant to be, None where none is near.

    Examples
    --------
    >>> view_meant("DiaSource")
    'dia_source'
    """
    from difflib import get_close_matches

    by_word = {view.replace("_", ""): view for view in views.view_names()}
    word = name.rpartition(".")[2].strip('"').casefold().replace("_", "")
    near = get_close_matches(word, by_word, n=1, cutoff=0.7)
    return by_word[near[0]] if near else None


def unknown_column(name: str, columns: Iterable[str], *read: str, computed: bool = False) -> str:
    """Say that no column is called `name`, and what was meant; else which there are.

    Parameters
    ----------
    name : str
    columns : iterable of str
        Those that can be asked for here.
    *read : str
        Views where the user can see them all; ``dia_source`` by default.
    computed : bool
        There may be others, which the query itself computes.
    """
    having = [v.name for v in views.views() if name in views.documented_columns(v)]
    if having:
        hint = f"; it is a column of {' and of '.join(having[:2])}"
    else:
        known = list(columns)
        meant = column_meant(name, known)
        listed = bool(known) and len(known) <= _FEW and not computed
        few = f"; there are {', '.join(known)}" if listed else ""
        hint = f"; did you mean {meant}?" if meant else few
    if computed and not read:
        return f'column "{name}" not found{hint}'
    first, *others = read or ("dia_source",)
    also = "".join(f', "describe {view}"' for view in others)
    return f'column "{name}" not found{hint} (all: hitsduck sql RERUN "describe {first}"{also})'


def condition_refused(condition: str, error: Exception) -> QueryError:
    """Return why a condition on ``dia_source`` cannot be asked, in the user's words."""
    text = _KIND.sub("", str(error))
    name = _unknown_column_in(text)
    if name is not None:
        text = unknown_column(name, views.documented_columns(views.view_named("dia_source")))
    elif _NO_VALUE in text:
        text = f"{text}; a condition takes no parameters, write the values into it"
    return QueryError(f"the condition {condition!r}: {text}")


def query_refused(error: QueryError, reruns: Iterable[str], read: Iterable[str] = ()) -> QueryError:
    """Return why a query cannot be asked, with the names that may have been meant.

    Parameters
    ----------
    error : QueryError
        What the engine says.
    reruns : iterable of str
        Names of the opened ones.
    read : iterable of str
        Views and tables that the query reads.

    Returns
    -------
    QueryError
        A better one, or `error` where nothing more can be said.
    """
    text = str(error)
    if not _KIND.match(text):  # ours already
        return error
    name, table = _unknown_column_in(text), _UNKNOWN_TABLE.search(text)
    if name is not None:
        return QueryError(_unknown_in_query(name, text, list(read)))
    if table and table[2]:
        schema_name = table[1].rpartition(".")[0]
        return QueryError(f"no rerun is called {schema_name!r}; open: {', '.join(reruns)}")
    if table:
        meant = view_meant(table[1])
        hint = f"; did you mean {meant}?" if meant else ""
        return QueryError(
            f'no view is called {table[1]}{hint} (all: hitsduck sql RERUN "show tables")'
        )
    excess = _EXCESS_VALUES.search(text)
    if excess:
        return QueryError(f"the query has no ${excess[1].replace(', ', ' and no $')}")
    if _NO_VALUE in text:
        return QueryError(
            f"{_KIND.sub('', text)}; give each (--param NAME=VALUE, in Python NAME=value)"
        )
    return error


def _unknown_column_in(text: str) -> str | None:
    """Return the column that the engine complains of, None where it complains of others."""
    found = _UNKNOWN_COLUMN.search(text)
    return next((name for name in found.groups() if name), None) if found else None


def _unknown_in_query(name: str, text: str, read: list[str]) -> str:
    """Say which column of a query was meant: one that it reads, or that it computes itself.

    The engine names some that it can bind, whether they are near or not.
    """
    known = [view for view in views.views() if view.name in read]
    columns = [column for view in known for column in views.documented_columns(view)]
    given = _CANDIDATES.search(text)
    bindable = re.findall(r'"([^"]+)"', given[1]) if given else []
    own = [column for column in bindable if column not in columns]
    is_whole = len(known) == len(read) and not own
    return unknown_column(name, dict.fromkeys([*columns, *own]), *read, computed=not is_whole)
