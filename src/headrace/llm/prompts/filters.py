"""The filters that a prompt may use: `{{ value | filter }}`. Each says what it works on before it does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError
from headrace.llm.prompts.budget import WEIGHT, WORK, Budget
from headrace.llm.prompts.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

WIDEST = 100  # columns of an indentation


def size(value: object) -> int:
    """Characters and weighted items in a value, of all its levels."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return WEIGHT + sum(size(key) + size(each) for key, each in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return WEIGHT + sum(WEIGHT + size(each) for each in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return WEIGHT


def shown(value: object) -> str:
    """A value as a prompt prints it.

    Raises:
        DataError: None, a list, a mapping: what is to be printed of it the template has to say.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | int | float):
        return str(value)
    if value is None:
        raise DataError("the value None is to be printed.", hint="Write {{ value | default('nothing', true) }}.")
    bool(value)  # an undefined value raises, and says its name
    kind = "a list" if isinstance(value, list | tuple) else "a mapping" if isinstance(value, dict) else "no text"
    raise DataError(f"{kind} is to be printed.", hint="Write {{ value | join(', ') }} or {{ value | tojson }}.")


def _items(value: object) -> list[object]:
    if isinstance(value, list | tuple | dict | str):
        return list(value)  # pyright: ignore[reportUnknownArgumentType]
    bool(value)  # an undefined value raises, and says its name
    raise DataError(f"{value!r:.60} is no list.", hint="Pass a list as the input.")


def _member(value: object, attribute: str | None) -> object:
    if attribute is None:
        return value
    if isinstance(value, dict) and attribute in value:
        return value[attribute]  # pyright: ignore[reportUnknownVariableType]
    raise DataError(f"an item has no {attribute!r}.")


def _join(budget: Budget, value: object, separator: str = "", attribute: str | None = None) -> str:
    texts = [shown(_member(each, attribute)) for each in _items(value)]
    budget.work(sum(map(len, texts)) + len(shown(separator)) * len(texts))
    return shown(separator).join(texts)


def _replace(budget: Budget, value: object, old: str, new: str, count: int = -1) -> str:
    text = shown(value)
    budget.work(len(text) + (text.count(shown(old)) * len(shown(new))))
    return text.replace(old, new, count)


def _truncate(_budget: Budget, value: object, length: int = 255, end: str = "…") -> str:
    text = shown(value)
    length = _whole(length, WORK, "length")
    return text if len(text) <= length else text[: max(0, length - len(shown(end)))] + shown(end)


def _indent(budget: Budget, value: object, width: int = 4, first: bool = False) -> str:
    text, margin = shown(value), " " * _whole(width, WIDEST, "width")
    budget.work(len(text) + len(margin) * text.count("\n"))
    lines = text.split("\n")
    return "\n".join(margin + line if line and (first or number) else line for number, line in enumerate(lines))


def _tojson(budget: Budget, value: object, indent: int | None = None) -> str:
    width = None if indent is None else _whole(indent, WIDEST, "indent")
    budget.work(size(value) * (1 + (width or 0)))
    return json.dumps(value, ensure_ascii=False, indent=width)


def _default(_budget: Budget, value: object, other: object = "", empty: bool = False) -> object:
    from jinja2 import Undefined

    return other if isinstance(value, Undefined) or (empty and not value) else value


def _length(_budget: Budget, value: object) -> int:
    return len(value) if isinstance(value, str | dict) else len(_items(value))  # pyright: ignore[reportUnknownArgumentType]


def _end(position: int) -> Callable[..., object]:
    def end(_budget: Budget, value: object) -> object:
        items = value if isinstance(value, str) else _items(value)
        if not items:
            raise DataError("an empty list has no first and no last item.", hint="Ask before: {% if items %}.")
        return items[position]

    return end


def _unique(_budget: Budget, value: object, attribute: str | None = None) -> list[object]:
    kept: dict[str, object] = {}
    for each in _items(value):
        kept.setdefault(json.dumps(_member(each, attribute), sort_keys=True), each)
    return list(kept.values())


def _sort(_budget: Budget, value: object, reverse: bool = False, attribute: str | None = None) -> list[object]:
    keys: list[Any] = [_member(each, attribute) for each in _items(value)]
    if not (all(isinstance(key, str) for key in keys) or all(isinstance(key, int | float) for key in keys)):
        raise DataError("what is to be sorted is neither all texts nor all numbers.")
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=bool(reverse))
    return [_items(value)[number] for number in order]


def _whole(value: object, most: int, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise DataError(f"{name}={value!r:.60} is not possible.", hint=f"Write a whole number from 0 to {most:,}.")
    return value


def _text(function: Callable[[str], str]) -> Callable[..., str]:
    return lambda _budget, value: function(shown(value))


FILTERS: dict[str, Callable[..., object]] = {
    "default": _default,
    "first": _end(0),
    "indent": _indent,
    "join": _join,
    "last": _end(-1),
    "length": _length,
    "list": lambda _budget, value: _items(value),
    "lower": _text(str.lower),
    "quoted": _text(quoted),
    "replace": _replace,
    "sort": _sort,
    "tojson": _tojson,
    "trim": _text(str.strip),
    "truncate": _truncate,
    "unique": _unique,
    "upper": _text(str.upper),
}
