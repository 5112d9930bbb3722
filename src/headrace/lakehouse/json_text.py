"""JSON as text: its objects, their nesting, and its numbers as written, which JSON parsers would round."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from headrace.core.errors import DataError
from headrace.lakehouse.spelling import survives

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from typing import Self

SUSPICIOUS = re.compile(rb"\A\s*[^\s{]|\n\s*[^\s{]|\}\s*[^\s,\]}{]")  # a value that may stand outside of an object
BETWEEN = re.compile(r"[ \t\r\n]*")
# Levels of objects and lists; Arrow's file format ends at 64, and its parser of JSON at the end of the stack.
DEEPEST = 60
QUOTE = ord('"')
OTHER = bytes(set(range(256)) - set(b'{}[]"'))  # what says nothing about depth
STEPS = np.zeros(256, np.int8)
STEPS[[ord("{"), ord("[")]], STEPS[[ord("}"), ord("]")]] = 1, -1
HINT = "Write an array of objects, or one object a line."
Row = dict[str, Any]


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def check_depth(text: bytes, path: Path, deepest: int) -> None:
    """Refuses objects and lists that are nested more deeply than a reader can follow, before one tries.

    Args:
        text: the file.
        path: its path, for messages.
        deepest: how many levels are possible.

    Raises:
        DataError: they are nested more deeply; the message names the line.
    """
    plain = (
        text.replace(rb"\\", b"__").replace(rb"\"", b"__") if b"\\" in text else text
    )  # no quote is escaped any more
    marks = np.frombuffer(plain.translate(None, OTHER), np.uint8)
    quoted = np.logical_xor.accumulate(marks == QUOTE)
    steps = STEPS[marks]
    steps[quoted] = 0
    depths = np.cumsum(steps, dtype=np.int32)
    if len(depths) and depths.max() > deepest:
        places = np.flatnonzero(np.isin(np.frombuffer(plain, np.uint8), np.unique(marks)))
        line = text.count(b"\n", 0, int(places[np.argmax(depths > deepest)])) + 1
        raise DataError(
            f"{path}:{line}: objects or lists stand more than {DEEPEST} deep in each other.",
            hint="Keep what is so deep as text, in quotes.",
        )


def array_items(text: bytes, path: Path) -> Iterator[bytes]:
    """Yields the objects of an array, each as it is written but on one line.

    Raises:
        DataError: it is no array of objects.
    """
    written, decoder = text.decode(), json.JSONDecoder()
    place, number = _past(written, written.index("[") + 1), 1
    try:
        while not written.startswith("]", place):
            item, end = decoder.raw_decode(written, place)
            if not isinstance(item, dict):
                raise DataError(f"{path}: item {number} is {type(item).__name__}, not an object.", hint=HINT)
            yield written[place:end].replace("\n", " ").replace("\r", " ").encode()
            place, number = _past(written, end), number + 1
            if written.startswith(",", place):
                place = _past(written, place + 1)
            elif not written.startswith("]", place):
                raise json.JSONDecodeError("Expecting ',' delimiter", written, place)
        if rest := written[place + 1 :].strip():
            raise json.JSONDecodeError(f"Extra data {rest[:20]!r}", written, place + 1)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}.", hint=HINT) from None


def _past(text: str, place: int) -> int:
    """The place behind the blanks that begin at a place."""
    blanks = BETWEEN.match(text, place)
    return place if blanks is None else blanks.end()


class _exact(float):  # noqa: N801 - stands for float
    """A fraction that remembers how it is written."""

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number


def check_only_objects(text: bytes) -> None:
    """Refuses values that are not objects: Arrow ends the process at some of them, such as `null`.

    Raises:
        pa.ArrowInvalid: there is one.
    """
    if not SUSPICIOUS.search(text):
        return
    try:
        if any(not isinstance(value, dict) for _, value in _values(text)):
            raise pa.ArrowInvalid("not an object")
    except NotJsonError as error:
        raise pa.ArrowInvalid(str(error)) from None


class NotJsonError(ValueError):
    """A line is not JSON.

    Attributes:
        line: its number, from 1.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _values(text: bytes, **numbers: Any) -> Iterator[tuple[int, object]]:
    """Yields the values, each with its line, on which there may be several.

    Raises:
        NotJsonError: a line is not JSON.
    """
    decoder = json.JSONDecoder(**numbers)
    for line, written in enumerate(text.split(b"\n"), start=1):
        try:
            values = written.decode().rstrip()
            place = _past(values, 0)
            while place < len(values):
                value, end = decoder.raw_decode(values, place)
                yield line, value
                place = _past(values, end)
        except (ValueError, RecursionError) as error:
            raise NotJsonError(line, str(error)) from None


def objects(text: bytes, path: Path, **numbers: Any) -> Iterator[tuple[int, Row]]:
    """Yields the objects, each with its line, from 1.

    Args:
        text: the file, an object a line.
        path: its path, for messages.
        numbers: `parse_int` and `parse_float` of `json.JSONDecoder`.

    Raises:
        DataError: a line is not an object.
    """
    try:
        for line, value in _values(text, **numbers):
            if not isinstance(value, dict):
                raise DataError(
                    f"{path}:{line}: {type(value).__name__}, not an object.", hint="Write one object a line."
                )
            yield line, cast("Row", value)
    except NotJsonError as error:
        raise DataError(f"{path}:{error.line}: not JSON: {error}.", hint="Write one object a line.") from None


def unrepresentable_numbers(text: bytes, path: Path, declared: Collection[str]) -> dict[str, str]:
    """Finds columns with a number that no number type holds.

    Args:
        text: the file, an object a line.
        path: its path, for messages.
        declared: columns whose type is declared; they are not looked at.

    Returns:
        An example of such a number for each of the columns.

    Raises:
        DataError: such a number is inside of an object or list.
    """
    examples: dict[str, str] = {}
    fractions: set[str] = set()
    whole: dict[str, str] = {}  # beyond float64, though an int64 holds it
    for line, row in objects(text, path, parse_int=_Number, parse_float=_Number):
        for name, value in row.items():
            if name in declared:
                continue
            if isinstance(value, _Number):
                if not _kept(value):
                    examples.setdefault(name, value)
                elif not value.lstrip("-").isdigit():
                    fractions.add(name)
                elif not survives(value, float(value)):
                    whole.setdefault(name, value)
            elif (inner := next((number for number in _inside(value) if not _kept(number)), None)) is not None:
                raise DataError(
                    f"{path}:{line}: {inner} in column {name!r} has more digits than a number keeps.",
                    hint="Write it as text, in quotes.",
                )
    return {name: value for name, value in whole.items() if name in fractions} | examples


def _kept(number: str) -> bool:
    """Whether a number type holds a number as it is written."""
    if number.lstrip("-").isdigit():
        return -(2**63) <= int(number) < 2**63
    return survives(number, float(number))


def _inside(value: object) -> Iterator[_Number]:
    """The numbers in a value, at whatever depth."""
    if isinstance(value, _Number):
        yield value
    elif isinstance(value, dict):
        for item in cast("Row", value).values():
            yield from _inside(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _inside(item)


def values_as_text(text: bytes, path: Path, columns: Collection[str]) -> bytes:
    """Rewrites objects with the values of some columns as text: numbers as they are written, others as JSON.

    Args:
        text: the file, an object a line.
        path: its path, for messages.
        columns: the names of the columns.

    Returns:
        The objects, each on the line on which it was.

    Raises:
        DataError: a text holds half of a surrogate pair, which is no character.
    """
    lines: list[bytes] = []
    for line, row in objects(text, path, parse_float=_exact):
        lines.extend([b""] * (line - 1 - len(lines)))  # so that lines keep their numbers
        for name in columns & row.keys():
            if row[name] is not None and not isinstance(row[name], str):
                row[name] = _written(row[name])
        try:
            lines.append(_written(row).encode())
        except UnicodeEncodeError as error:
            half = error.object[error.start : error.end]
            raise DataError(
                f"{path}:{line}: {half!r} is half of a surrogate pair, which is no character.",
                hint="Correct the value: a character beyond U+FFFF is written as both halves.",
            ) from None
        except RecursionError as error:
            raise DataError(f"{path}:{line}: objects or lists stand too deep in each other: {error}.") from None
    return b"\n".join(lines)


def _written(value: object) -> str:
    """A value as JSON, its numbers as they were read."""
    if isinstance(value, _exact):
        return value.text
    if isinstance(value, dict):
        fields = cast("Row", value).items()
        return (
            "{" + ", ".join([f"{json.dumps(key, ensure_ascii=False)}: {_written(item)}" for key, item in fields]) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join([_written(item) for item in cast("list[object]", value)]) + "]"
    return json.dumps(value, ensure_ascii=False)
