"""Placeholders of a SELECT, `:name`: a value is bound to each, and never written into the text.

DuckDB writes them `$name`, which is as long, so that a place in one text is the same place in the other. A colon that
follows a value, a bracket or a quote is no placeholder: `x::int`, `list[1:n]`, `{'key':x}`. A text or a comment that is
not closed goes to the end: it is looked for once, and not from each of its characters again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from headrace.core.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

Value: TypeAlias = "str | int | float | date"

PARTS = re.compile(
    r"""'[^']*(?:''[^']*)*(?:'|\Z)|"[^"]*(?:""[^"]*)*(?:"|\Z)|--[^\n]*|/\*.*?(?:\*/|\Z)"""
    r"""|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)"""
    r"""|(?<![\w\])}'"\[:]):(?P<name>[A-Za-z_][A-Za-z0-9_]*)""",
    re.DOTALL,
)


def placeholders(text: str) -> tuple[str, ...]:
    """The names of the placeholders of a text in lower case, each once, in order; none within texts and comments."""
    return tuple(dict.fromkeys(found["name"].lower() for found in PARTS.finditer(text) if found["name"]))


def as_duckdb(text: str) -> str:
    """The text with its placeholders as DuckDB writes them."""
    return PARTS.sub(lambda found: f"${found['name'].lower()}" if found["name"] else found[0], text)


def check_values(text: str, names: Collection[str]) -> None:
    """Refuses a placeholder without a value, and a value without a placeholder.

    Args:
        text: the SELECT.
        names: those for which there is a value.

    Raises:
        SqlError: names the first one.
    """
    there = placeholders(text)
    for name in there:
        if name not in names:
            raise SqlError(f"there is no value for :{name}.", hint=f"Give it: --param {name}=VALUE")
    for name in names:
        if name not in there:
            listed = ", ".join(f":{each}" for each in there) or "none"
            raise SqlError(f"the SELECT has no placeholder :{name}; it has {listed}.")
