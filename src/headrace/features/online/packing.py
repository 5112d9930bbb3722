"""Rows of a feature table as bytes, in their declared types, and keys as bytes that are the same from every source.

Values: a bitmap of the missing ones, then fixed-size values little-endian (a text's is its length, a time's microseconds
since 1970), then the texts in UTF-8. Keys: compact JSON of the key's values in the order of the table's key columns; a
time as microseconds, `-0.0` as `0.0`.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
SINGLE = struct.Struct("<f")


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

        def take(packed: bytes) -> list[Value]:
            bitmap, *fixed = self.fixed.unpack_from(packed)
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

    A whole number may come as a float without a fraction, a time as ISO 8601 text.

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
        parts.append(token(kind, _plain(name, kind, value)))
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


def _plain(name: str, kind: str, value: Any) -> Any:
    """A value from a request as `token` takes it."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in TIMES and isinstance(value, str | date):
        return _time(name, kind, value)
    if kind in INTEGERS and number and (isinstance(value, int) or value.is_integer()) and -(2**63) <= value < 2**63:
        return int(value)
    if kind.startswith("float") and number:
        with suppress(OverflowError):
            return float(value) if kind == "float64" else float(SINGLE.unpack(SINGLE.pack(value))[0])
    if kind == TEXT and isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value):
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    shown = _shown(value, number=number and kind not in (TEXT, "bool"))
    raise DataError(f"{name!r} is {kind}; {shown} was given.")


def _time(name: str, kind: str, value: str | date) -> int:
    read = _read(value, name) if isinstance(value, str) else value
    aware = isinstance(read, datetime) and read.tzinfo is not None
    found = microseconds(read)
    if kind == "timestamp" and aware:
        raise DataError(f"{name!r} is a time without a zone; one with a zone was given.")
    if kind == "date" and (aware or found % 86_400_000_000):
        raise DataError(f"{name!r} is a date; a time of day was given.")
    return found


def _shown(value: object, *, number: bool) -> str:
    """What was given, without what it holds: this goes back to a stranger, and into logs."""
    return "a number that it cannot hold" if number else type(value).__name__


# ---------------------------------------------------------------------------------------------- moments


def moment(given: object, name: str) -> datetime:
    """An instant in UTC from ISO 8601 text or a datetime; without a zone it is UTC.

    Raises:
        DataError: it is none.
    """
    read = _read(given, name) if isinstance(given, str) else given
    if not isinstance(read, datetime):
        raise DataError(f"{name!r} is no time in ISO 8601.")
    try:
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except OverflowError:
        raise DataError(f"{name!r} is out of range.") from None


def _read(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"{name!r} is no time in ISO 8601.") from None


def instant_of(microseconds: int) -> datetime:
    """The moment so many microseconds after 1970 in UTC."""
    return EPOCH + microseconds * MICROSECOND


def microseconds(value: date) -> int:
    """A moment as microseconds since 1970; without a zone it is UTC, a date is its midnight."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return (aware - EPOCH) // MICROSECOND
