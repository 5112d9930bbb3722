"""DuckDB's own reading of SQL: the statement that will run, and its tree.

Only DuckDB parses the text, because DuckDB runs it: two parsers that differ in one comment differ in what is allowed.
The tables that a statement reads are found by walking its tree, in which every kind of node must be known.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import duckdb

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Node = dict[str, Any]

QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"})
RELATIONS = frozenset({"BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SUBQUERY", "TABLE_FUNCTION"})
MODIFIERS = frozenset({"DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"})
ORDERS = frozenset({"ORDER_DEFAULT", "ASCENDING", "DESCENDING", "INVALID"})
EXPRESSIONS = frozenset(
    """BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR
    POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW""".split()  # noqa: SIM905
)
KNOWN = QUERIES | RELATIONS | MODIFIERS | ORDERS
PLACE = ("query_location", "query_location_length")
NAMED = ("FUNCTION", "TYPE", "WINDOW")  # whose names DuckDB finds in whatever case


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of a text.

    Attributes:
        runs: what DuckDB made of the text, to be executed as it is.
        kind: "SELECT", "COPY", …; a SELECT may still write, in a step of its WITH.
        tree: of a SELECT; None for any other kind.
    """

    runs: duckdb.Statement = field(compare=False)
    kind: str
    tree: Node | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something in a tree that matters to the check.

    Attributes:
        node: where it is.
        what: "table": a name that is no step of a WITH there; "function" and "table function": a call;
            "word": a column named without its table, which may be a function without parentheses;
            "sample", "version" and "parameter"; "unknown": a node that is not among those which only read.
        name: in lower case, the part after the last dot of a function; the kind of an unknown node.
        parts: of the name of a table, as written.
        steps: the names that a WITH gives there, in lower case.
    """

    node: Node
    what: str
    name: str = ""
    parts: tuple[str, ...] = ()
    steps: frozenset[str] = frozenset()

    @property
    def at(self) -> int | None:
        """How many bytes of the text stand before it."""
        return location(self.node)


def statements(text: str) -> list[Statement]:
    """What DuckDB reads in a text.

    Raises:
        duckdb.Error: it does not parse.
        RecursionError: it is nested more deeply than can be walked.
    """
    connection, lock = _parser()
    with lock:
        found = connection.extract_statements(text)
    selects = all(each.type is duckdb.StatementType.SELECT for each in found)
    trees = tree(text)["statements"] if found and selects else [None] * len(found)
    if len(trees) != len(found):
        raise duckdb.ParserException("Parser Error: the statements cannot be told apart")
    return [
        Statement(runs=each, kind=each.type.name, tree=None if made is None else made["node"])
        for each, made in zip(found, trees, strict=True)
    ]


def walk(node: Any, steps: frozenset[str] = frozenset()) -> Iterator[Found]:
    """Everything that matters in a tree, each with the names that a WITH gives where it stands.

    A name that a WITH gives holds in the steps after it and in its query, not beside and not above; in the step itself
    only where that is recursive. That is DuckDB's rule; where it were wider than ours, a statement would be refused.

    Raises:
        RecursionError: it is nested too deeply.
    """
    if isinstance(node, list):
        for each in cast("list[Any]", node):
            yield from walk(each, steps)
        return
    if not isinstance(node, dict):
        return
    found = cast("Node", node)
    yield from _here(found, steps)
    if "cte_map" in found:
        for step in found["cte_map"]["map"]:
            name = str(step["key"]).lower()
            recursive = step["value"]["query_node"].get("type") == "RECURSIVE_CTE_NODE"
            yield from walk(step["value"], steps | {name} if recursive else steps)
            steps |= {name}
    for name, each in found.items():
        if name != "cte_map":
            yield from walk(each, steps)


def location(node: Node) -> int | None:
    """How many bytes of the text stand before a node; None where DuckDB does not know."""
    at = node.get("query_location")
    return at if isinstance(at, int) and at < 2**63 else None


def aggregates() -> Collection[str]:
    """The names of all functions over several rows."""
    return _names("select distinct function_name from duckdb_functions() where function_type = 'aggregate'")


def tree(text: str) -> Node:
    """What DuckDB makes of SELECTs, with `statements`.

    Raises:
        duckdb.Error: something is no SELECT.
    """
    found = json.loads(_asked("select json_serialize_sql(?::varchar)", text))
    if found["error"]:
        raise duckdb.ParserException(f"Parser Error: {found['error_message']}")
    return found


def text(of: Node) -> str:
    """A tree as SQL. DuckDB does not promise that it is the same tree when it is read again."""
    return _asked("select json_deserialize_sql(?::json)", json.dumps(of))


def without_places(node: Any) -> Any:
    """A tree that is equal for texts which DuckDB runs alike: without places, functions and types in lower case."""
    if isinstance(node, list):
        return [without_places(each) for each in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found = cast("Node", node)
    made = {name: without_places(each) for name, each in found.items() if name not in PLACE}
    if found.get("class") in NAMED:
        for name in ("function_name", "type_name"):
            if name in made:
                made[name] = made[name].lower()
        made["qualified_name"] = {"path": [part.lower() for part in made["qualified_name"]["path"]]}
    return made


# ---------------------------------------------------------------------------------------------- one node


def _here(node: Node, steps: frozenset[str]) -> Iterator[Found]:
    kind = node.get("type")
    if "class" in node:
        yield from _expression(node)
    elif isinstance(kind, str):
        if kind not in KNOWN:
            yield Found(node=node, what="unknown", name=_said(node, kind))
        elif kind == "BASE_TABLE":
            yield from _table(node, steps)
        elif kind == "TABLE_FUNCTION":
            yield Found(node=node["function"], what="table function", name=_called(node["function"]))
        elif kind == "PIVOT" and any(each["pivot_enum"] for each in node["pivots"]):
            yield Found(node=node, what="unknown", name="PIVOT by a type")
    if node.get("sample"):
        yield Found(node=node, what="sample")


def _expression(node: Node) -> Iterator[Found]:
    kind = node["class"]
    if kind == "PARAMETER":
        yield Found(node=node, what="parameter", name=str(node["identifier"]))
    elif kind not in EXPRESSIONS:
        yield Found(node=node, what="unknown", name=str(kind))
    elif kind in ("FUNCTION", "WINDOW"):
        yield Found(node=node, what="function", name=_called(node))
    elif kind == "COLUMN_REF" and len(node["column_names"]) == 1:
        yield Found(node=node, what="word", name=node["column_names"][0].lower())


def _table(node: Node, steps: frozenset[str]) -> Iterator[Found]:
    parts = tuple(str(part) for part in node["qualified_name"]["path"])
    if node["at_clause"]:
        yield Found(node=node, what="version")
    if len(parts) != 1 or parts[0].lower() not in steps:
        yield Found(node=node, what="table", name=".".join(parts).lower(), parts=parts, steps=steps)


def _called(node: Node) -> str:
    path = node["qualified_name"]["path"]
    return str(path[-1] if path else node.get("function_name", "")).lower()


def _said(node: Node, kind: str) -> str:
    """What a person calls a kind of query: `INSERT_QUERY_NODE` is INSERT."""
    if kind != "SHOW_REF":
        return kind.removesuffix("_NODE").removesuffix("_QUERY").replace("_", " ")
    said = str(node["show_type"]).partition("_")[0]
    return "SUMMARIZE" if said == "SUMMARY" else said


# ---------------------------------------------------------------------------------------------- DuckDB's parser


@lru_cache(maxsize=1)
def _parser() -> tuple[duckdb.DuckDBPyConnection, threading.Lock]:
    """An empty database that only parses, and the lock to hold while it does."""
    return duckdb.connect(config={"enable_external_access": "false", "threads": "1"}), threading.Lock()


def _asked(sql: str, value: str) -> str:
    connection, lock = _parser()
    with lock:
        return connection.execute(sql, [value]).fetchall()[0][0]


@lru_cache(maxsize=4)
def _names(sql: str) -> frozenset[str]:
    connection, lock = _parser()
    with lock:
        return frozenset(str(name) for (name,) in connection.execute(sql).fetchall())
