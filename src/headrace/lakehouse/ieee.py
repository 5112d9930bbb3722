"""Comparisons as in IEEE 754, NumPy and pandas: NaN is neither less than, equal to nor greater than any number.

DuckDB orders NaN above every number, so that `amount >= 0` is true for it. A predicate is taken apart and put together
again by DuckDB's own parser; only comparisons with an operand that is a float are changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from headrace.lakehouse import syntax

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.lakehouse.syntax import Node

FALSE_FOR_NAN = frozenset(
    """COMPARE_BETWEEN COMPARE_EQUAL COMPARE_GREATERTHAN COMPARE_GREATERTHANOREQUALTO COMPARE_IN COMPARE_LESSTHAN
    COMPARE_LESSTHANOREQUALTO COMPARE_NOT_BETWEEN""".split()  # noqa: SIM905
)
TRUE_FOR_NAN = frozenset(("COMPARE_NOTEQUAL", "COMPARE_NOT_IN"))
FLOATS = ("FLOAT", "DOUBLE")


def with_ieee_comparisons(predicate: str, type_of: Callable[[str], str | None]) -> str:
    """The predicate, in which a comparison with NaN is false, and `<>` true; the text as it is where nothing changes.

    `IS [NOT] DISTINCT FROM`, `isnan` and sorting know NaN as DuckDB does.

    Args:
        predicate: SQL that was checked.
        type_of: the type of an expression over the row; None where it has no meaning outside of the predicate, as a
            parameter of a lambda.
    """
    tree = syntax.tree(f"select (\n{predicate}\n)")
    expression = tree["statements"][0]["node"]["select_list"][0]
    changed = _Rewriting(type_of)
    made = changed.walk(expression)
    if not changed.count:
        return predicate
    tree["statements"][0]["node"]["select_list"][0] = made
    return syntax.text(tree).removeprefix("SELECT ")


class _Rewriting:
    def __init__(self, type_of: Callable[[str], str | None]) -> None:
        self.type_of = type_of
        self.count = 0

    def walk(self, node: Any) -> Any:
        """The same with every comparison inside, the innermost first."""
        if isinstance(node, list):
            return [self.walk(each) for each in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        found: Node = {name: self.walk(each) for name, each in cast("Node", node).items()}
        kind = found.get("type")
        if kind not in FALSE_FOR_NAN | TRUE_FOR_NAN:
            return found
        operands = _operands(found)
        texts = [_expression(each) for each in operands]
        if kind in ("COMPARE_IN", "COMPARE_NOT_IN"):  # NaN in the list is equal to nothing, so the first one decides
            texts = texts[:1]
        floats = [text for text in texts if self._is_float(text)]
        if not floats:
            return found
        self.count += 1
        return _guarded(found, floats, texts, nan=kind in TRUE_FOR_NAN)

    def _is_float(self, text: str) -> bool:
        kind = self.type_of(text)
        return kind is not None and kind in FLOATS


def _operands(node: Node) -> Sequence[Node]:
    if "left" in node:
        return [node["left"], node["right"]]
    if "input" in node:
        return [node["input"], node["lower"], node["upper"]]
    return node["children"]


def _guarded(node: Node, floats: Sequence[str], operands: Sequence[str], *, nan: bool) -> Node:
    """The comparison, unless an operand is NaN; where another one is null, it stays null."""
    if node["type"].endswith("BETWEEN"):
        return _between(node, floats, operands)
    odd = " or ".join(f"isnan({text})" for text in floats)
    known = " and ".join(f"{text} is not null" for text in operands)
    return _parsed(f"case when ({odd}) and {known} then {str(nan).lower()} else {_expression(node)} end")


def _between(node: Node, floats: Sequence[str], operands: Sequence[str]) -> Node:
    """Each bound on its own: below the lower one is not between, whatever the upper one is."""
    value, lower, upper = operands

    def bound(limit: str, sign: str) -> str:
        odd = " or ".join(f"isnan({text})" for text in (value, limit) if text in floats)
        compared = f"{value} {sign} {limit}"
        if not odd:
            return f"({compared})"
        return f"(case when ({odd}) and {value} is not null and {limit} is not null then false else {compared} end)"

    both = f"({bound(lower, '>=')} and {bound(upper, '<=')})"
    return _parsed(f"(not {both})" if node["type"] == "COMPARE_NOT_BETWEEN" else both)


# ---------------------------------------------------------------------------------------------- DuckDB's parser


def _parsed(expression: str) -> Node:
    return syntax.tree(f"select ({expression})")["statements"][0]["node"]["select_list"][0]


def _expression(node: Node) -> str:
    """An expression as text, in parentheses."""
    tree = syntax.tree("select 1")
    tree["statements"][0]["node"]["select_list"][0] = {**node, "alias": ""}
    return f"({syntax.text(tree).removeprefix('SELECT ')})"
