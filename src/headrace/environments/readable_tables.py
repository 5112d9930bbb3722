"""`reads`: the tables of other environments that can be read from an environment, and are never written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from headrace.environments.toml import Table, described, suggest

if TYPE_CHECKING:
    from headrace.environments.section import Section

ALL = ("*",)
PATTERN = re.compile(r"[a-z0-9_.*?!\[\]-]+")
EXAMPLE = 'For example: reads = ["prod"], or {prod = ["features.*", "silver.departures"]}, or [] for none.'


def read_reads(
    section: Section, name: str, names: list[str], default: tuple[str, ...]
) -> Mapping[str, tuple[str, ...]]:
    """Reads which tables of which environments can be read.

    Args:
        section: the environment's section.
        name: the name of the environment.
        names: all environments.
        default: the environments whose tables can all be read where nothing is written.

    Returns:
        Environment → patterns of table names, as `fnmatch` has them, in the order in which the environments are searched.

    Raises:
        ConfigError: a value is not possible.
    """
    value = section.table.get("reads", list(default))
    if isinstance(value, Mapping):
        written = cast("Table", value)
    elif isinstance(value, list):
        written = {
            cast("str", other): list(ALL) for other in _checked(section, name, names, cast("list[object]", value))
        }
    else:
        raise section.wrong("reads", value, "is neither a list nor a table.", hint=EXAMPLE)
    _checked(section, name, names, list(written))
    return {other: _patterns(section, other, patterns) for other, patterns in written.items()}


def _checked(section: Section, name: str, names: list[str], others: list[object]) -> list[object]:
    possible = [other for other in names if other != name]
    for other in others:
        if other == name:
            raise section.wrong("reads", name, "reads its own tables anyway.")
        if other not in possible:
            raise section.error(
                "reads",
                f"there is no environment {described(other)}.",
                hint=suggest(str(other), possible),
                excerpt=isinstance(other, str),
            )
    return others


def _patterns(section: Section, other: str, value: object) -> tuple[str, ...]:
    patterns = cast("list[object]", value) if isinstance(value, list) else [value]
    for pattern in patterns:
        if not isinstance(value, list) or not isinstance(pattern, str) or not PATTERN.fullmatch(pattern):
            raise section.error(
                "reads", f"{other} = {described(value)} is not a list of patterns of tables.", hint=EXAMPLE
            )
        if not set(pattern) & set(".*?["):
            hint = f"All tables of a schema are {pattern + '.*'!r}, one table is {pattern + '.<table>'!r}."
            raise section.error("reads", f"{pattern!r} matches no table, because a table is schema.table.", hint=hint)
    return tuple(dict.fromkeys(cast("list[str]", patterns)))
