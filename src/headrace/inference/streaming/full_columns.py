"""A micro-batch as columns of full rows: the values that each message would come to by itself, a column at a time.

What is not plain is left to the way of a single message (`requests`), which also knows the reason of a dead letter.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

import orjson
import pyarrow as pa

from headrace.core.errors import DataError
from headrace.features.keys import INTEGERS, TEXT, moment, typed
from headrace.lakehouse.columns import INSTANT, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.features.plan import FeaturePlan
    from headrace.inference.streaming.sources.base import Message

INPUTS: Mapping[str, pa.DataType] = {
    "number": pa.float64(),
    "string": pa.string(),
    "timestamp": pa.timestamp("us"),
    "timestamp_utc": INSTANT,
}
NUMBERS = {float, int, bool, type(None)}
EXACT = 2**53  # up to here a whole number and its float64 are the same, whatever may be said of larger ones
FLOATS = {float, type(None)}
TEXTS = {str, type(None)}
TOGETHER = 256  # messages whose objects are there at the same time: so many stay in the processor's cache
Values = list[Any]


@dataclass(frozen=True, kw_only=True)
class FullColumns:
    """Full rows of the messages that were plain.

    Attributes:
        table: in the types that batch scoring has them in, a row for each of `messages`.
        messages: that were plain, in order.
        others: in order; what becomes of them, only each by itself can tell.
    """

    table: pa.Table
    messages: Sequence[Message]
    others: Sequence[Message]


def types_of(plan: FeaturePlan, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    """The columns of full rows, with the types that batch scoring has them in.

    Args:
        plan: of the model.
        types: of the spine's key and moment, as its table has them.
    """
    return {**{column.name: INPUTS[column.kind] for column in plan.inputs}, **types}


def full_columns(
    plan: FeaturePlan, needed: Sequence[str], types: Mapping[str, pa.DataType], messages: Sequence[Message]
) -> FullColumns | None:
    """Reads messages by column.

    Args:
        plan: of the model; without look-ups.
        needed: columns that a message has to give.
        types: of the spine's key and moment, as its table has them.
        messages: of the batch.

    Returns:
        Those that are plain, and the others; None where no column can be made of them.
    """
    kinds: dict[str, str] = {column.name: column.kind for column in plan.inputs}
    if plan.at in plan.keys or not kinds.get(plan.at, "timestamp").startswith("timestamp"):
        return None
    if any(kind not in ("number", "string") for name, kind in kinds.items() if name != plan.at):
        return None
    odd: set[int] = set()
    columns: dict[str, Values] = {name: [] for name in needed}
    moments: list[datetime | None] = []
    for start in range(0, len(messages), TOGETHER):
        some = messages[start : start + TOGETHER]
        read = _objects([message.value for message in some])
        _take(read, columns, start, odd)
        moments += _moments(plan.at, read, some, start, odd)
    local = kinds.get(plan.at) == "timestamp"
    arrays: dict[str, pa.Array] = {}
    try:
        for name, to in types_of(plan, types).items():
            if name == plan.at:
                values = [at.replace(tzinfo=None) if local and at is not None else at for at in moments]
                if pa.types.is_date(to):
                    values = [None if at is None else at.date() for at in values]
            else:
                values = columns[name]
                if name in kinds:
                    values = _numbers(values, odd) if kinds[name] == "number" else _texts(values, odd)
                if name in plan.keys:
                    values = _keys(name, type_name(to), values, odd)
                elif kinds.get(name) == "number":
                    values = _floats(values)
            arrays[name] = pa.array(values, to)
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError):
        return None  # which value it is, the way of a single message finds out
    table = pa.table(arrays)
    if not odd:
        return FullColumns(table=table, messages=messages, others=())
    plain = [place for place in range(len(messages)) if place not in odd]
    return FullColumns(
        table=table.take(plain).combine_chunks(),
        messages=[messages[place] for place in plain],
        others=[messages[place] for place in sorted(odd)],
    )


def _objects(values: Sequence[bytes | Mapping[str, Any] | None]) -> Sequence[Mapping[str, Any] | None]:
    """The object of each message; None where there is none."""
    if {bytes}.issuperset(map(type, values)):
        with suppress(orjson.JSONDecodeError):
            read: list[Any] = list(map(orjson.loads, cast("Sequence[bytes]", values)))
            if {dict}.issuperset(map(type, read)):
                return read
    return [_read(value) for value in values]


def _read(value: bytes | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not isinstance(value, bytes):
        return value
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, Any]", read) if type(read) is dict else None


def _take(read: Sequence[Mapping[str, Any] | None], columns: Mapping[str, Values], start: int, odd: set[int]) -> None:
    """Adds to the columns what is given; None in the places of messages that lack one of them."""
    names = list(columns)
    take = itemgetter(*names, names[0])  # of a single name it would give no tuple
    try:
        rows: list[tuple[Any, ...]] = list(map(take, read))  # pyright: ignore[reportArgumentType]  # None has no items, and is told by that
    except (KeyError, TypeError):
        nothing = (None,) * (len(names) + 1)
        rows = []
        for place, row in enumerate(read, start):
            given = row is not None and all(name in row for name in names)
            rows.append(take(row) if given else nothing)  # pyright: ignore[reportArgumentType]  # as above
            if not given:
                odd.add(place)
    for name, values in zip(names, zip(*rows, strict=True), strict=False):
        columns[name].extend(values)


def _moments(
    name: str, read: Sequence[Mapping[str, Any] | None], messages: Sequence[Message], start: int, odd: set[int]
) -> list[datetime | None]:
    """The moments of the decisions: those of the messages where they say none."""
    found: list[datetime | None] = []
    for place, (row, message) in enumerate(zip(read, messages, strict=True), start):
        given = None if row is None else row.get(name)
        at = message.at
        if given is not None:
            try:
                at = datetime.fromisoformat(given)
                if at.tzinfo is not UTC:
                    at = moment(given, name)
            except (TypeError, ValueError):  # no text, or none of a time
                at = _moment(given, name)
            except DataError:
                at = None
        if at is None:
            odd.add(place)
        found.append(at)
    return found


def _moment(given: object, name: str) -> datetime | None:
    try:
        return moment(given, name)
    except DataError:
        return None


def _of_types(values: Values, types: set[type], odd: set[int]) -> Values:
    """The same, without those of another type."""
    if types.issuperset(map(type, values)):
        return values
    wrong = [place for place, value in enumerate(values) if type(value) not in types]
    odd.update(wrong)
    return _without(values, wrong)


def _without(values: Values, places: Sequence[int]) -> Values:
    """The same, None in these places."""
    left = list(values)
    for place in places:
        left[place] = None
    return left


def _numbers(values: Values, odd: set[int]) -> Values:
    """Numbers and missing ones, with their types."""
    if FLOATS.issuperset(map(type, values)):
        return values
    values = _of_types(values, NUMBERS, odd)
    large = [place for place, value in enumerate(values) if type(value) is int and not -EXACT < value < EXACT]
    odd.update(large)
    return _without(values, large) if large else values


def _floats(values: Values) -> Values:
    """The same as floats."""
    if FLOATS.issuperset(map(type, values)):
        return values
    return [None if value is None else float(value) for value in values]


def _texts(values: Values, odd: set[int]) -> Values:
    return _of_types(values, TEXTS, odd)


def _keys(name: str, kind: str, values: Values, odd: set[int]) -> Values:
    """Values of a key in its declared type; it has no missing ones."""
    if kind == TEXT:
        values = _of_types(values, TEXTS, odd)
        odd.update(place for place, value in enumerate(values) if value is None)
        return values
    given = set(map(type, values))
    if kind in INTEGERS and given == {int}:
        bound = 1 << INTEGERS[kind]
        if -bound <= min(values) and max(values) < bound:
            return values
    found: Values = []
    for place, value in enumerate(values):
        try:
            found.append(typed(name, kind, value))
        except DataError:
            odd.add(place)
            found.append(None)
    return found
