"""Rewrites a parsed template so that it counts what it does: each step of a loop, and each text that is compared or sliced."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from jinja2 import nodes

STEPS, WEIGH = "_steps", "_weigh"  # filters; no template can name them: names with an underscore are refused


def meter(tree: nodes.Template) -> None:
    """Puts the filters that count around the iterables of loops, the sides of comparisons, and what is sliced."""
    from jinja2 import nodes

    for loop in list(tree.find_all(nodes.For)):
        inside = sum(1 for _ in loop.find_all(nodes.Node))
        loop.iter = _filtered(loop.iter, STEPS, nodes.Const(inside))
    for comparison in list(tree.find_all(nodes.Compare)):
        comparison.expr = _filtered(comparison.expr, WEIGH)
        for operand in comparison.ops:
            operand.expr = _filtered(operand.expr, WEIGH)
    for item in list(tree.find_all(nodes.Getitem)):
        if isinstance(item.arg, nodes.Slice):
            item.node = _filtered(item.node, WEIGH)


def _filtered(value: nodes.Node, name: str, *arguments: nodes.Expr) -> nodes.Expr:
    from jinja2 import nodes

    made = nodes.Filter(cast("nodes.Expr", value), name, list(arguments), [], None, None, lineno=value.lineno)
    made.set_environment(value.environment)  # pyright: ignore[reportArgumentType]
    return made
