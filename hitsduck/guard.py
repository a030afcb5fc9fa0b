"""Lets one SELECT through, and nothing that opens files or changes anything.

DuckDB's own parser says what a text is: ``json_serialize_sql`` takes only SELECT
statements and gives their syntax tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hitsduck.connection import Connection
from hitsduck.errors import QueryError
from hitsduck.quoting import quote_text

#: Table functions that stay inside the database.
_HARMLESS_TABLE_FUNCTIONS = frozenset(
    {
        "range",
        "generate_series",
        "unnest",
        "repeat",
        "repeat_row",
        "pragma_table_info",
        "histogram",
        "histogram_values",
        "summary",
        "test_all_types",
        "json_each",
        "json_tree",
    }
)


def check_select(connection: Connection, query: str) -> None:
    """Check that `query` is one SELECT that opens no file.

    Raises
    ------
    QueryError
        Not exactly one SELECT, a syntax error, or a function that opens files.
    """
    if not isinstance(query, str):
        raise QueryError(f"the query is {query!r} ({type(query).__name__}); a text is wanted")
    _check_functions(_statement(connection, query, "the query"))


def check_condition(connection: Connection, condition: str) -> None:
    """Check that `condition` is one expression, so that it can stand in a WHERE.

    Raises
    ------
    QueryError
    """
    what = f"the condition {condition!r}"
    if not condition.strip():
        raise QueryError("the condition is empty; give one expression on dia_source")
    # Without parentheses too, or "1) or (1" would pass for one expression.
    _statement(connection, f"select\n{condition}\n", what)
    node = _statement(connection, f"select (\n{condition}\n)", what)["node"]
    from_table = node.get("from_table") or {}
    is_one_expression = (
        node.get("type") == "SELECT_NODE"
        and len(node.get("select_list", ())) == 1
        and from_table.get("type") == "EMPTY"
        and not node.get("where_clause")
        and not node.get("modifiers")
        and not node.get("group_expressions")
        and not node.get("having")
        and not node.get("qualify")
    )
    if not is_one_expression:
        raise QueryError(f"{what} is not one expression on dia_source")
    if node["select_list"][0].get("type") == "STAR" or _is_row(node["select_list"][0]):
        raise QueryError(f"{what} is a list of values, not one expression on dia_source")
    if any(inner.get("class") == "SUBQUERY" for inner in _nodes(node)):
        raise QueryError(f"{what} holds a subquery; only columns of dia_source can be used in it")
    _check_functions(node)
    _check_stable(connection, node, what)


def has_window(connection: Connection, expression: str) -> bool:
    """Return whether an expression looks at other rows than its own; False for no expression."""
    try:
        tree = _statement(connection, f"select (\n{expression}\n)", "the expression")
    except QueryError:
        return False
    return any(inner.get("class") == "WINDOW" for inner in _nodes(tree))


def _check_stable(connection: Connection, node: dict[str, Any], what: str) -> None:
    """Refuse functions that give another value each time: counts would contradict each other."""
    called = sorted({str(n["function_name"]) for n in _nodes(node) if n.get("function_name")})
    if not called:
        return
    found = connection.execute(
        "select function_name from duckdb_functions() "
        "where stability = 'VOLATILE' and list_contains(string_split($names, ','), function_name)",
        {"names": ",".join(called)},
    ).fetchone()
    if found:
        raise QueryError(
            f"{what}: {found[0]}() gives another value each time, so that counts would "
            "contradict each other; for a sample take hash(diaSourceId) % 10 = 0, say"
        )


def _is_row(expression: dict[str, Any]) -> bool:
    return expression.get("class") == "FUNCTION" and expression.get("function_name") == "row"


def _statement(connection: Connection, text: str, what: str) -> dict[str, Any]:
    if "\x00" in text:
        raise QueryError(f"{what} holds a NUL character")
    # Parsed and no more. To bind one Python value DuckDB would import pandas, which takes
    # longer than most queries.
    row = connection.execute(f"select json_serialize_sql({quote_text(text)})").fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        message = str(tree.get("error_message", "it cannot be read")).splitlines()[0]
        if tree.get("error_type") == "parser":
            raise QueryError(f"{what}: {message}")
        raise QueryError(f"{what} is not a SELECT; only one SELECT statement is taken ({message})")
    statements = tree.get("statements", [])
    if len(statements) != 1:
        raise QueryError(f"{what} holds {len(statements)} statements; only one SELECT is taken")
    statement: dict[str, Any] = statements[0]
    return statement


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _check_functions(tree: dict[str, Any]) -> None:
    for node in _nodes(tree):
        if node.get("type") == "TABLE_FUNCTION":
            name = str(node.get("function", {}).get("function_name", "")).lower()
            if name not in _HARMLESS_TABLE_FUNCTIONS and not name.startswith("duckdb_"):
                raise QueryError(
                    f"the table function {name} is not allowed in a query: it may open files; "
                    "open an APDB as a rerun instead"
                )


def names_only(
    connection: Connection,
    query: str,
    *,
    tables: frozenset[str],
    columns: frozenset[str],
    hidden: frozenset[str],
) -> bool:
    """Return whether a query would not notice that its tables have no other columns than these.

    False where columns are not all named (a star, a natural join, a whole row), and where
    a table is looked for in a schema.

    Parameters
    ----------
    tables, columns : frozenset of str
        That may be named, in small letters.
    hidden : frozenset of str
        The other columns of these tables: what bears such a name would mean another thing.
    """
    named, ctes = table_names(connection, query)
    if not named - ctes <= tables:
        return False
    nodes = list(_nodes(_statement(connection, query, "the query")))
    # ORDER BY ALL is by the columns of the result.
    of_order = {
        id(order["expression"])
        for node in nodes
        if node.get("type") == "ORDER_MODIFIER"
        for order in node["orders"]
    }
    sources = {str(node.get("alias", "")).casefold() for node in nodes if "sample" in node} | named
    aliases = {str(node["alias"]).casefold() for node in nodes if node.get("class")}
    known = (columns | aliases - sources) - hidden
    for node in nodes:
        if node.get("type") == "STAR" and id(node) not in of_order:
            return False
        if node.get("type") in ("SHOW_REF", "PIVOT") or node.get("ref_type") == "NATURAL":
            return False
        if node.get("type") == "BASE_TABLE" and (node["schema_name"] or node["catalog_name"]):
            return False
        meant = [*node.get("column_names", ())[-1:], *node.get("using_columns", ())]
        if not {str(name).casefold() for name in meant} <= known:
            return False
    return True


def column_names(connection: Connection, expression: str) -> set[str]:
    """Return the names that an expression refers to, in small letters.

    Columns, and what stands before them: tables, structs.
    """
    node = _statement(connection, f"select (\n{expression}\n)", f"the condition {expression!r}")
    return {
        str(name).casefold() for inner in _nodes(node) for name in inner.get("column_names", ())
    }


def has_star(connection: Connection, query: str) -> bool:
    """Return whether a query asks for columns without naming each."""
    nodes = _nodes(_statement(connection, query, "the query"))
    return any(node.get("type") in ("STAR", "SHOW_REF") for node in nodes)


def table_names(connection: Connection, query: str) -> tuple[set[str], set[str]]:
    """Return the names that a query reads from, in small letters.

    Returns
    -------
    tables : set of str
        Last parts of table names, and the functions that list DuckDB's catalogue.
    ctes : set of str
        What the query itself names; some of `tables` may be these.
    """
    tables, ctes = set(), set()
    for node in _nodes(_statement(connection, query, "the query")):
        if node.get("type") in ("BASE_TABLE", "SHOW_REF"):
            tables.add(str(node.get("table_name", "")).strip('"').lower())
        elif node.get("type") == "TABLE_FUNCTION":
            name = str(node.get("function", {}).get("function_name", "")).lower()
            if name.startswith(("duckdb_", "pragma_")):
                tables.add(name)
        for cte in node.get("cte_map", {}).get("map", ()):
            ctes.add(str(cte["key"]).lower())
    return tables - {""}, ctes
