"""Values of keys in their declared types, and moments, from requests, messages and logs.

JSON has one kind of number and no times, so a key comes in several spellings: `601` and `601.0`, `…Z` and `…+00:00`.
Each is converted to the one value of its declared type. Ids of predictions, the inference log, look-ups and the
division of traffic all use that value, so that they identify the same decision.
"""

from __future__ import annotations

import math
import re
import struct
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TEXT = "string"
TIMES = ("date", "timestamp", "timestamp_utc")
INTEGERS: Mapping[str, int] = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}  # bits beside the sign
FLOATS = ("float32", "float64")
SINGLE = struct.Struct("<f")
EXACT_FLOAT = 2**53  # from here on a float may stand for another whole number, as one that JSON's reader could not keep
EXACT = Context(prec=80)
DECIMAL = re.compile(r"decimal128\((\d+), (\d+)\)")

KeyValue = bool | int | float | str | Decimal | date
"""A date is a `date`, a time a `datetime` with the zone UTC or, for a local time, none."""


def is_key_type(kind: str) -> bool:
    """Whether values of a type (as `lakehouse.columns.type_name` writes it) can tell decisions apart."""
    return kind in (TEXT, "bool", *TIMES, *INTEGERS, *FLOATS) or DECIMAL.fullmatch(kind) is not None


def typed(name: str, kind: str, value: Any) -> KeyValue:
    """A value of a key as its declared type has it.

    A whole number may come as a float without a fraction, a time as ISO 8601 text (without a zone it is UTC), a decimal as
    a number or a text.

    Args:
        name: of the column, for the message.
        kind: its declared type.
        value: what a request says; not None.

    Raises:
        DataError: it is not of that type.
    """
    read = READERS.get(kind, _decimal)
    found = read(name, kind, value)
    if found is None:
        raise DataError(f"{name!r} is {kind}; {_shown(value, kind)} was given.")
    return found


def typed_all(kinds: Iterable[tuple[str, str]], values: Mapping[str, Any]) -> dict[str, KeyValue | None]:
    """The values of some columns, pairs (column, type); one that is null or not there stays None.

    Raises:
        DataError: see `typed`.
    """
    return {name: None if (value := values.get(name)) is None else typed(name, kind, value) for name, kind in kinds}


def _whole(_: str, kind: str, value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_FLOAT:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    bound = 1 << INTEGERS[kind]
    return value if -bound <= value < bound else None


def _float(_: str, kind: str, value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError, struct.error):
            found = float(value) if kind == "float64" else float(SINGLE.unpack(SINGLE.pack(value))[0])
            return found if math.isfinite(found) else None
    return None


def _text(_: str, kind: str, value: Any) -> str | None:
    del kind
    return value if isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value) else None


def _bool(_: str, kind: str, value: Any) -> bool | None:
    del kind
    return value if isinstance(value, bool) else None


def _decimal(_: str, kind: str, value: Any) -> Decimal | None:
    """With the digits that the column has: `12.5` and `12.50` are one value."""
    found = DECIMAL.fullmatch(kind)
    if found is None or isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    precision, scale = int(found[1]), int(found[2])
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
        exact = number.quantize(Decimal(1).scaleb(-scale), context=EXACT)
    except (InvalidOperation, ValueError):
        return None
    if exact != number or exact.copy_abs() >= Decimal(10) ** (precision - scale):
        return None
    return exact or exact.copy_abs()  # Arrow has no negative zero


def _time(name: str, kind: str, value: Any) -> date | None:
    if not isinstance(value, str | date):
        return None
    found = _read(value, name) if isinstance(value, str) else value
    aware = isinstance(found, datetime) and found.tzinfo is not None
    if kind == "timestamp" and aware:
        raise DataError(f"{name!r} is a time without a zone; one with a zone was given.")
    if kind == "date":
        if aware or microseconds(found) % 86_400_000_000:
            raise DataError(f"{name!r} is a date; a time of day was given.")
        return found.date() if isinstance(found, datetime) else found
    if not isinstance(found, datetime):
        found = datetime(found.year, found.month, found.day)  # noqa: DTZ001 - its zone follows
    return found if kind == "timestamp" else moment(found, name)


READERS: Mapping[str, Callable[[str, str, Any], KeyValue | None]] = {
    TEXT: _text,
    "bool": _bool,
    **dict.fromkeys(INTEGERS, _whole),
    **dict.fromkeys(FLOATS, _float),
    **dict.fromkeys(TIMES, _time),
}


def _shown(value: object, kind: str) -> str:
    """What was given, without what it holds: this goes back to a stranger, and into logs."""
    if isinstance(value, bool | str) or kind in (TEXT, "bool", *TIMES) or not isinstance(value, int | float):
        return type(value).__name__
    return "a number that it cannot hold"


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
