"""SQL expressions over one row in expectations and repairs, checked before they run."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, NoReturn, cast

import duckdb

from headrace.core.errors import SqlError
from headrace.lakehouse import syntax
from headrace.lakehouse.sql_errors import first_line, unreadable
from headrace.lakehouse.sql_functions import CHANCE, SESSION, is_among

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from headrace.lakehouse.syntax import Node, Statement


def check_expression(text: str, columns: Sequence[str], *, where: str, role: str) -> str:
    """Checks an SQL expression over one row, as in `expect(...)` and `repair(...)`.

    Args:
        text: the expression.
        columns: the columns of the row.
        where: `file:line` of the declaration, for messages.
        role: what the expression is, for messages: "expectation", "repair of 'visib'".

    Returns:
        The expression. It can be embedded in parentheses, with a line feed before the closing one: DuckDB reads the same
        expression there as it does alone.

    Raises:
        SqlError: it does not parse, is more than one expression, names an unknown column, reads another table,
            aggregates, or depends on the clock or on chance.
    """

    def stop(reason: str, hint: str = "") -> NoReturn:
        raise SqlError(f"{where}: {role} {text!r}: {reason}", hint=hint)

    try:
        tree = _expression(text, stop)
        _one_row(tree, columns, stop)
        _known_columns(tree, columns, stop)
    except RecursionError:
        stop("it is nested too deeply.")
    return text


def _expression(text: str, stop: Callable[..., NoReturn]) -> Node:
    """The one expression that a text is: alone, and between parentheses."""
    if odd := unreadable(text):
        stop(odd)
    try:
        alone, inside = syntax.statements(f"select\n{text}\n"), syntax.statements(f"select (\n{text}\n)")
    except duckdb.Error as error:
        stop(f"it does not parse: {first_line(error)}", hint='Write one expression: hr.expect("distance > 0").')
    items = [_only_item(statements) for statements in (alone, inside)]
    if items[0] is None or items[0] != items[1]:
        stop("it does not parse as one expression over the row.", hint='For example: hr.expect("distance > 0").')
    return items[0]


def _only_item(statements: Sequence[Statement]) -> Node | None:
    """The expression of `select <expression>`; None for any other text."""
    if len(statements) != 1 or statements[0].tree is None:
        return None
    tree = syntax.without_places(statements[0].tree)
    items = tree.pop("select_list", [])
    plain = syntax.without_places(syntax.tree("select 1")["statements"][0]["node"])
    plain.pop("select_list")
    return items[0] if tree == plain and len(items) == 1 and not items[0]["alias"] else None


def _one_row(tree: Node, columns: Sequence[str], stop: Callable[..., NoReturn]) -> None:
    """Refuses what is not made of one row alone."""
    names = {name.lower() for name in columns}
    for node in _nodes(tree):
        if node["class"] == "SUBQUERY":
            stop("it reads a table.", hint="An expectation sees one row: join what it needs in the table's SELECT.")
        if node["class"] in ("STAR", "POSITIONAL_REFERENCE"):
            stop("it does not name its columns.", hint="Write the name of each column.")
        called = str(node.get("function_name", "")).lower()
        if node["class"] == "WINDOW" or called in syntax.aggregates():
            stop(f"{called}() looks at several rows.", hint="An expectation sees one row: compute it in the SELECT.")
    for element in syntax.walk(tree):
        if element.what in ("function", "word") and is_among(element, CHANCE | SESSION, names):
            stop(f"{element.name}() is not a function of the row.", hint="Take what it needs as a column.")
        if element.what == "parameter":
            stop(f"the parameter is not of the row: {element.name!r} has no value here.")
        if element.what in ("unknown", "table", "table function", "sample", "version"):
            stop(f"{element.name or element.what} is not of the row.")


def _known_columns(tree: Node, columns: Sequence[str], stop: Callable[..., NoReturn]) -> None:
    known = {name.lower(): name for name in columns}
    local = {
        part["column_names"][0].lower()
        for node in _nodes(tree)
        if node["class"] == "LAMBDA"
        for part in _nodes(node["lhs"])
        if part["class"] == "COLUMN_REF"
    }
    for node in _nodes(tree):
        if node["class"] != "COLUMN_REF":
            continue
        first = str(node["column_names"][0])  # `a.b` is the field b of the struct a: there is no table to qualify with
        if first.lower() not in known and first.lower() not in local:
            near = difflib.get_close_matches(first.lower(), known, n=1)
            proposal = f"did you mean {known[near[0]]!r}?" if near else f"there is {', '.join(columns)}."
            stop(f"there is no column {first!r}: {proposal}")


def _nodes(tree: Any) -> Iterable[Node]:
    """Every expression in a tree."""
    if isinstance(tree, list):
        for item in cast("list[Any]", tree):
            yield from _nodes(item)
    elif isinstance(tree, dict):
        node = cast("Node", tree)
        if "class" in node:
            yield node
        for item in node.values():
            yield from _nodes(item)
