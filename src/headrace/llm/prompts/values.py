"""Cleans what is put into a prompt: plain data without characters that hide or disguise text."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from uuid import UUID

from headrace.core.errors import DataError

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

DEEPEST = 20  # levels of lists and mappings in a value
LONGEST_NUMBER = 10**18
REPLACEMENT = "\ufffd"
LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
SYMBOLS = "#*0-9\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u3299\U0001f000-\U0001faff"  # those that are drawn as a text or as an emoji
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, without tab and line feed
    "\u202d\u202e"  # overrides of the direction of writing
    "\ud800-\udfff"  # lone surrogates
    "\u180e\u200b\u2060-\u2064"  # blanks without a width, which cut a word in two that reads as one
    "\ufe03-\ufe0d\U000e0120-\U000e01ef"  # variation selectors that no writing uses: 256 of them carry any bytes
    "\U000e0000-\U000e007f]"  # tags: a copy of ASCII that nobody sees and language models read
    "|(?!\\A)\ufeff"  # a blank without a width, where it is no mark of the order of bytes
    f"|(?<![{IDEOGRAPHS}])[\ufe00-\ufe02\U000e0100-\U000e011f]"  # variation selectors of what has no variants
    f"|(?<![{SYMBOLS}])[\ufe0e\ufe0f]"
)
OPENS = {"\u202a": "\u202c", "\u202b": "\u202c", "\u2066": "\u2069", "\u2067": "\u2069", "\u2068": "\u2069"}
DIRECTIONS = re.compile("[\u202a-\u202c\u2066-\u2069]")


def clean_text(text: str) -> str:
    """A text without hidden characters, which reads the same for a person and for a language model.

    - Ends of lines are line feeds; tabs stay.
    - Other control characters, overrides of the direction of writing (U+202D, U+202E), tag characters (U+E0000 to U+E007F),
      blanks without a width (U+200B, U+2060 to U+2064, U+180E, U+FEFF but at the beginning) and lone surrogates become U+FFFD:
      they are replaced and not dropped, so that no word appears that was not there.
    - So do variation selectors, but one after a symbol (❤️, U+FE0E and U+FE0F) or an ideograph (U+FE00 to U+FE02, U+E0100 to
      U+E011F): in a row or after letters they draw nothing, and carry a text that a language model may read.
    - Embeddings and isolates of a direction stay, and are closed at the end of their line, so that they change nothing
      outside of the value. Marks of direction, joiners and all letters stay.
    """
    if text.isascii() and text.isprintable():
        return text
    text = HIDDEN.sub(REPLACEMENT, LINE_ENDS.sub("\n", text))
    if not DIRECTIONS.search(text):
        return text
    return "\n".join(map(_closed, text.split("\n")))


def clean(value: object, name: str) -> Plain:
    """A value as plain data: texts cleaned, dataclasses and mappings as dicts, sequences as lists; all are copies.

    Args:
        value: None, a truth value, a number, a text, a date, a time, a decimal, a UUID; lists, tuples, mappings with texts
            for keys, and dataclasses of these.
        name: of the input, for the message.

    Raises:
        DataError: bytes, a number that is not finite or has more than 18 digits, another type, or more than 20 levels.
    """
    return _clean(value, name, 0)


def _closed(line: str) -> str:
    """A line in which each change of the direction of writing ends."""
    open_ends: list[str] = []
    for found in DIRECTIONS.finditer(line):
        if closer := OPENS.get(found[0]):
            open_ends.append(closer)
        elif open_ends and open_ends[-1] == found[0]:
            open_ends.pop()
    return line + "".join(reversed(open_ends))


def _clean(value: object, name: str, depth: int) -> Plain:
    if isinstance(value, str):
        return clean_text(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        raise DataError(
            f"the input {name!r} is {len(value):,} bytes, not a text.",
            hint='Decode them, data.decode("utf-8"), or take the text out of the document before.',
        )
    if isinstance(value, int | float):
        return _number(value, name)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if depth >= DEEPEST:
        raise DataError(f"the input {name!r} has more than {DEEPEST} levels of lists and mappings.")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return _mapping(value, name, depth)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        items: list[object] = list(value)  # pyright: ignore[reportUnknownArgumentType]
        return [_clean(each, f"{name}[{number}]", depth + 1) for number, each in enumerate(items)]
    raise DataError(
        f"the input {name!r} is of the type {type(value).__name__!r}, which a prompt cannot hold.",
        hint="Pass texts, numbers, dates, lists, dicts or dataclasses.",
    )


def _number(value: float, name: str) -> int | float:
    if not math.isfinite(value) if isinstance(value, float) else abs(value) >= LONGEST_NUMBER:
        said = f"{value}" if isinstance(value, float) else "a number with more than 18 digits"
        raise DataError(f"the input {name!r} is {said}.", hint="Pass it as a text if the prompt should show it.")
    return float(value) if isinstance(value, float) else int(value)


def _mapping(value: Mapping[object, object], name: str, depth: int) -> dict[str, Plain]:
    plain: dict[str, Plain] = {}
    for key, each in value.items():
        if not isinstance(key, str):
            raise DataError(f"the input {name!r} has the key {key!r}, which is not a text.")
        plain[clean_text(key)] = _clean(each, f"{name}.{clean_text(key)[:60]}", depth + 1)
    return plain
