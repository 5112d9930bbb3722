"""Rows of a feature table as bytes, in their declared types, and keys as bytes that are the same from every source.

Values: a bitmap of the missing ones, then fixed-size values little-endian (a text's is its length), then the texts.
Keys: compact JSON of the key's values.
"""

from __future__ import annotations

import json
import struct
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Value = None | bool | int | float | str | datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TEXT = "string"
TIMES = ("date", "timestamp", "timestamp_utc")
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
INTEGERS = ("int8", "int16", "int32", "int64")


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
        self._bits = (len(columns) + 7) // 8
        self._fixed = struct.Struct(f"<{self._bits}s{''.join(CODES[kind] for kind in self.kinds)}")

    def pack(self, values: Sequence[Any]) -> bytes:
        """Values in the order of the columns → bytes."""
        missing, fixed, texts = 0, [], []
        for place, (value, kind) in enumerate(zip(values, self.kinds, strict=True)):
            if value is None:
                missing |= 1 << place
                fixed.append(0)
            elif kind == TEXT:
                texts.append(value.encode())
                fixed.append(len(texts[-1]))
            else:
                fixed.append(microseconds(value) if kind in TIMES else value)
        return self._fixed.pack(missing.to_bytes(self._bits, "little"), *fixed) + b"".join(texts)

    def unpack(self, packed: bytes) -> list[Value]:
        """Bytes → values in the order of the columns."""
        bitmap, *fixed = self._fixed.unpack_from(packed)
        missing, place = int.from_bytes(bitmap, "little"), self._fixed.size
        values: list[Value] = []
        for number, (value, kind) in enumerate(zip(fixed, self.kinds, strict=True)):
            if missing >> number & 1:
                values.append(None)
            elif kind == TEXT:
                values.append(packed[place : place + value].decode())
                place += value
            elif kind in TIMES:
                moment = EPOCH + value * MICROSECOND
                values.append(moment if kind == "timestamp_utc" else moment.replace(tzinfo=None))
            else:
                values.append(value)
        return values


def key(kinds: Sequence[tuple[str, str]], values: Sequence[Any]) -> bytes | None:
    """A key's values → bytes; None where one of them is missing: it matches nothing.

    Args:
        kinds: pairs (column, type) of the key.
        values: in that order, from a table or from a request.

    Raises:
        DataError: a value is not of its type.
    """
    plain: list[Any] = []
    for (name, kind), value in zip(kinds, values, strict=True):
        if value is None:
            return None
        plain.append(_plain(name, kind, value))
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


def _plain(name: str, kind: str, value: Any) -> Any:
    if kind in TIMES and isinstance(value, str | date):
        return microseconds(value if isinstance(value, date) else moment(value, name))
    if kind in INTEGERS and isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        return int(value)
    if kind.startswith("float") and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if (kind == TEXT and isinstance(value, str)) or (kind == "bool" and isinstance(value, bool)):
        return value
    raise DataError(f"{name!r} is {kind}; {type(value).__name__} was given.")


def moment(text: str, name: str) -> datetime:
    """An ISO 8601 text as an instant; without a zone it is UTC.

    Raises:
        DataError: it is none.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"{name!r} is no time in ISO 8601.") from None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read


def microseconds(value: date) -> int:
    """A moment as microseconds since 1970; without a zone it is UTC, a date is its midnight."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return (aware - EPOCH) // MICROSECOND
