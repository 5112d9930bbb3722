"""Rows of a feature table as bytes, in their declared types, and keys as bytes that are the same from every source.

Values: a bitmap of the missing ones, then fixed-size values little-endian (a text's is its length, a time's microseconds
since 1970), then the texts in UTF-8. Keys: compact JSON of the key's values in the order of the table's key columns; a
time as microseconds, `-0.0` as `0.0`.
"""

from __future__ import annotations

import struct
from datetime import date, datetime
from itertools import accumulate
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError
from headrace.features.keys import EPOCH, MICROSECOND, TEXT, TIMES, microseconds, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Value = None | bool | int | float | str | datetime

CODES: Mapping[str, str] = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "float32": "f",
    "float64": "d",
    TEXT: "I",
    **dict.fromkeys(TIMES, "q"),
}


class Packing:
    """Packs and unpacks the values of one table.

    Args:
        columns: pairs (column, type).

    Raises:
        DataError: a column's type cannot be kept online.
    """

    def __init__(self, columns: Sequence[tuple[str, str]]) -> None:
        for name, kind in columns:
            if kind not in CODES:
                raise DataError(
                    f"column {name!r} is {kind}, which cannot be kept online.", hint=f"One of {', '.join(CODES)}."
                )
        self.names = tuple(name for name, _ in columns)
        self.kinds = tuple(kind for _, kind in columns)
        self.bits = (len(columns) + 7) // 8  # bytes of the bitmap
        self.fixed = struct.Struct(f"<{self.bits}s{''.join(CODES[kind] for kind in self.kinds)}")
        self._texts = [place for place, kind in enumerate(self.kinds) if kind == TEXT]

    def pack(self, values: Sequence[Any]) -> bytes:
        """Values in the order of the columns → bytes."""
        missing = 0
        fixed: list[Any] = []
        texts: list[bytes] = []
        for place, (value, kind) in enumerate(zip(values, self.kinds, strict=True)):
            if value is None:
                missing |= 1 << place
                fixed.append(0)
            elif kind == TEXT:
                texts.append(value.encode())
                fixed.append(len(texts[-1]))
            else:
                fixed.append(microseconds(value) if kind in TIMES else value)
        return self.fixed.pack(missing.to_bytes(self.bits, "little"), *fixed) + b"".join(texts)

    def unpack(self, packed: bytes) -> list[Value]:
        """Bytes → values in the order of the columns."""
        return self.taking(self.names)(packed)

    def taking(self, names: Sequence[str]) -> Callable[[bytes], list[Value]]:
        """Unpacks only these columns, in this order.

        Raises:
            DataError: there is no such column.
        """
        for name in names:
            if name not in self.names:
                raise DataError(f"there is no column {name!r} online.", hint=f"There is {', '.join(self.names)}.")
        wanted = [(place, self.kinds[place]) for place in map(self.names.index, names)]
        plain = not any(kind == TEXT or kind in TIMES for _, kind in wanted)
        places = [place + 1 for place, _ in wanted]  # behind the bitmap
        nothing = bytes(self.bits)

        def take(packed: bytes) -> list[Value]:
            found = self.fixed.unpack_from(packed)
            if plain and found[0] == nothing:  # numbers, and none is missing
                return [found[place] for place in places]
            bitmap, *fixed = found
            missing = int.from_bytes(bitmap, "little")
            ends = dict(zip(self._texts, accumulate(fixed[place] for place in self._texts), strict=True))
            values: list[Value] = []
            for place, kind in wanted:
                value = fixed[place]
                if missing >> place & 1:
                    values.append(None)
                elif kind == TEXT:
                    end = self.fixed.size + ends[place]
                    values.append(packed[end - value : end].decode())
                elif kind in TIMES:
                    moment = EPOCH + value * MICROSECOND
                    values.append(moment if kind == "timestamp_utc" else moment.replace(tzinfo=None))
                else:
                    values.append(value)
            return values

        return take


# ---------------------------------------------------------------------------------------------- keys


def key(kinds: Sequence[tuple[str, str]], values: Sequence[Any]) -> bytes | None:
    """A key's values, as a request gives them, → bytes; None where one of them is missing: it matches nothing.

    Args:
        kinds: pairs (column, type) of the key.
        values: in that order.

    Raises:
        DataError: a value is not of its type.
    """
    parts: list[str] = []
    for (name, kind), value in zip(kinds, values, strict=True):
        if value is None:
            return None
        found = typed(name, kind, value)
        parts.append(token(kind, microseconds(found) if isinstance(found, date) else found))
    return joined(parts)


def joined(tokens: Sequence[str]) -> bytes:
    """The parts of a key as its bytes."""
    return f"[{','.join(tokens)}]".encode()


def token(kind: str, value: Any) -> str:
    """A part of a key as JSON: an integer (a time in microseconds), a float, a text or a boolean."""
    if kind == TEXT:
        return encode_basestring(value)
    if kind == "bool":
        return "true" if value else "false"
    if kind.startswith("float"):
        return "NaN" if value != value else repr(value + 0.0)  # noqa: PLR0124 - -0.0 + 0.0 is 0.0: they are equal
    return str(value)
