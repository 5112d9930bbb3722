"""The result of an operation: a frozen record that every interface can show, and that converts to JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.ids import Json


LONGEST = 60  # characters of a value in a repr
_html: list[Callable[[Record], str]] = []


class Record:
    """A frozen dataclass that says itself as JSON. Its attributes are the keys of its JSON document."""

    def __init_subclass__(cls) -> None:
        cls.__repr__ = cls.__repr__  # its own, as `@dataclass` sees it, which would make another one

    def __repr__(self) -> str:
        """On one line: long values are cut, and sequences are counted."""
        shown = (each for each in fields(cast("type", self)) if each.repr)
        values = ", ".join(f"{each.name}={_brief(getattr(self, each.name))}" for each in shown)
        return f"{type(self).__name__}({values})"

    def _repr_html_(self) -> str | None:
        """As a notebook shows it, where an interface has said how; None elsewhere."""
        return _html[-1](self) if _html else None

    def to_json(self) -> dict[str, Json]:
        """The record as a JSON object.

        Returns:
            name → value: moments are ISO 8601 in UTC, stretches of time are seconds, bytes are hexadecimal, a number that is
            not finite is null.
        """
        return {each.name: plain(getattr(self, each.name)) for each in fields(cast("type", self))}


def show_as_html(render: Callable[[Record], str]) -> None:
    """Says how records are shown in a notebook.

    Args:
        render: gives the HTML of a record.
    """
    _html[:] = [render]


def _brief(value: object) -> str:
    if isinstance(value, list | tuple | set | frozenset | Mapping):
        several = cast("Sequence[object]", value)
        kinds = {type(each).__name__ for each in several}
        text = repr(value) if not any(isinstance(each, Record) for each in several) else ""
        if text and len(text) <= LONGEST:
            return text
        return f"<{len(several)} {kinds.pop()}>" if len(kinds) == 1 else f"<{len(several)}>"
    text = value.isoformat(timespec="seconds") if isinstance(value, datetime) else repr(value)
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 1]}…" if isinstance(value, str) else f"<{type(value).__name__}>"


def rows_as_json(rows: Sequence[Mapping[str, object]]) -> Json:
    """A user's own rows: NaN and infinities are the texts "NaN", "Infinity", "-Infinity", so that they are told from null."""
    return [{column: _number(value) for column, value in row.items()} for row in rows]


def _number(value: object) -> Json:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _number(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_number(item) for item in cast("Sequence[object]", value)]
    return plain(value)


def plain(value: object) -> Json:
    """A value as JSON has it; see `Record.to_json`."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Record):
        return value.to_json()
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(cast("set[str]", value)) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in cast("Sequence[object]", items)]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    return value.as_posix() if isinstance(value, Path) else str(value)
