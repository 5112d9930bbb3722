"""What a prompt may be written with: loops, conditions, filters and arithmetic of numbers. All else is refused by its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DeclarationError

if TYPE_CHECKING:
    from jinja2 import nodes

ALLOWED = frozenset(
    [
        "Template",
        "Output",
        "TemplateData",
        "Name",
        "Const",
        "List",
        "Tuple",
        "Dict",
        "Pair",
        "For",
        "If",
        "CondExpr",
        "Getattr",
        "Getitem",
        "Slice",
        "Filter",
        "Test",
        "Compare",
        "Operand",
        "And",
        "Or",
        "Not",
        "Neg",
        "Pos",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "FloorDiv",
        "Mod",
        "Call",
        "Keyword",
    ]
)
STATEMENTS = {
    "Assign": "{% set %}",
    "AssignBlock": "{% set %}",
    "With": "{% with %}",
    "Macro": "{% macro %}",
    "CallBlock": "{% call %}",
    "FilterBlock": "{% filter %}",
    "Block": "{% block %}",
    "Extends": "{% extends %}",
    "Include": "{% include %}",
    "Import": "{% import %}",
    "FromImport": "{% from %}",
    "ScopedEvalContextModifier": "{% autoescape %}",
    "Pow": "the power **",
    "Concat": "the operator ~",
}
MOST_PARTS = 5_000  # of one section: texts, names, operators
CALLABLE = ("items", "keys", "values", "get")  # of mappings
HINT = "A prompt has loops, conditions and filters. Compute the value in Python, and pass it as an input."


def check_syntax(tree: nodes.Template) -> None:
    """That a parsed template holds nothing but what a prompt may be written with.

    Raises:
        DeclarationError: begins with `line N:`.
    """
    from jinja2 import nodes

    for number, node in enumerate(tree.find_all(nodes.Node)):
        if number > MOST_PARTS:
            raise _refused(node, f"a section of the prompt has more than {MOST_PARTS:,} expressions.")
        _check(node)


def names_in(tree: nodes.Template) -> dict[str, int]:
    """The names that a template takes from outside, and the line of the first use of each."""
    from jinja2 import meta, nodes

    free = meta.find_undeclared_variables(tree) - {"range"}
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in free:
            lines[node.name] = min(node.lineno, lines.get(node.name, node.lineno))
    return lines


def _check(node: nodes.Node) -> None:
    from jinja2 import nodes

    kind = type(node).__name__
    if kind not in ALLOWED:
        raise _refused(node, f"{STATEMENTS.get(kind, kind)} cannot be used in a prompt.")
    if isinstance(node, nodes.For) and node.recursive:
        raise _refused(node, "a recursive loop cannot be used in a prompt.")
    if isinstance(node, nodes.Name) and node.ctx != "load" and node.name in ("range", "loop"):
        raise _refused(node, f"{node.name!r} cannot be the name of an item.")
    if (name := _named(node)).startswith("_") or (isinstance(node, nodes.Name) and name == "self"):
        raise _refused(node, f"{name!r} cannot be used in a prompt.")
    if isinstance(node, nodes.Call) and not _may_be_called(node.node):
        raise _refused(node, "a call cannot be used in a prompt, except for range(…) and mapping.items().")
    if isinstance(node, nodes.Filter | nodes.Call | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
        raise _refused(node, "* and ** before an argument cannot be used in a prompt.")


def _named(node: nodes.Node) -> str:
    """The name that a node looks up: of an input, an attribute, an item, a filter or a test; empty where it does not."""
    from jinja2 import nodes

    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem):
        return node.arg.value if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) else ""
    return node.name if isinstance(node, nodes.Name | nodes.Filter | nodes.Test) else ""


def _may_be_called(node: nodes.Expr) -> bool:
    from jinja2 import nodes

    if isinstance(node, nodes.Name):
        return node.name == "range"
    return isinstance(node, nodes.Getattr) and node.attr in CALLABLE


def _refused(node: nodes.Node, what: str) -> DeclarationError:
    return DeclarationError(f"line {node.lineno}: {what}", hint=HINT)
