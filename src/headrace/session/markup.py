"""Parts of what a notebook shows: tables, lists of facts, and values in the words of people.

Every text is escaped: names and values may come from anybody's data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any, cast

from headrace.core.text import visible
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST = 48  # characters of a text
WRAPPED = 32  # characters from which a text may be broken into lines
RECORDS = 200  # of a list
HIDDEN = ("output",)  # what a summary beside it says for people
DIGEST = re.compile(r"[0-9a-f]{24,}")  # of which people read the beginning
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*")
CELL = 'style="text-align: left; padding: 2px 10px 2px 0; vertical-align: top"'


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def records(several: Sequence[Record]) -> str:
    """Records of one kind as a table: a row each, a column an attribute that any of them has.

    Args:
        several: the records.
    """
    if not several:
        return small("none")
    shown = several[:RECORDS]
    names = [each.name for each in fields(cast("type", shown[0])) if each.repr]
    kept = [name for name in names if name not in HIDDEN and any(has_value(getattr(each, name)) for each in shown)]
    more = small(f"… and {len(several) - RECORDS} more") if len(several) > RECORDS else ""
    said = [name.replace("_", " ") for name in kept]
    return table(said, [[getattr(each, name) for name in kept] for each in shown]) + more


def heading(said: str) -> str:
    """A line that stands above something."""
    return f"<div><strong>{escape(visible(said))}</strong></div>"


def small(said: str) -> str:
    """A line that stands below something."""
    return f"<div><small>{escape(visible(said))}</small></div>"


def facts(values: Mapping[str, object]) -> str:
    """A name and its value on each line; names without a value are left out."""
    rows = [
        f"<tr><th {CELL}>{escape(name.replace('_', ' '))}</th><td {CELL}>{cell(value)}</td></tr>"
        for name, value in values.items()
        if has_value(value)
    ]
    return f"<table>{''.join(rows)}</table>"


def table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, with the names above its columns."""
    head = "".join(f"<th {CELL}>{escape(visible(name))}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td {CELL}>{cell(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cell(value: object) -> str:
    """A value within a table: a long text is cut, and shown whole to whoever points at it."""
    if isinstance(value, Markup):
        return value
    said = visible(text(value))
    cut = said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"
    if DIGEST.fullmatch(said):
        cut = f"{said[:8]}…"
    style = ' style="white-space: nowrap"' if len(cut) <= WRAPPED else ""
    title = f' title="{escape(said[:500])}"' if cut != said else ""
    return f"<span{style}{title}>{escape(cut)}</span>" if style or title else escape(cut)


def text(value: object) -> str:
    """A value in the words of people."""
    if value is None:
        return ""
    if isinstance(value, Record):
        label: str | None = getattr(value, "label", None)
        return label or ", ".join(text(getattr(value, each.name)) for each in fields(cast("type", value)) if each.repr)
    if isinstance(value, str):
        moment = MOMENT.fullmatch(value)
        return f"{moment[1]} {moment[2]}" if moment else value
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if math.isfinite(value) and abs(value) < 1e6 else f"{value:g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, object]", value).items()
        return ", ".join(f"{key} {text(item)}" for key, item in items if item is not None)
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(text(item) for item in cast("Iterable[object]", value))
    return str(value)


def is_table(value: object) -> bool:
    """Whether it is a sequence of records."""
    return (
        isinstance(value, tuple | list)
        and bool(value)
        and all(isinstance(each, Record) for each in cast("Sequence[object]", value))
    )


def has_value(value: object) -> bool:
    """Whether there is something to show."""
    return value is not None and value not in ("", (), {})
