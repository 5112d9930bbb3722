"""Messages into predictions, or into dead letters, each with its reason; every message is in one of the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, cast

import orjson
import pyarrow as pa

from headrace.core.clock import now
from headrace.core.errors import ConflictError, DataError, HeadraceError, UnavailableError
from headrace.features.keys import moment, typed_all
from headrace.inference.records import predict, with_in_sample, with_versions
from headrace.inference.streaming.full_columns import full_columns, types_of
from headrace.lakehouse.columns import INSTANT, type_name

if TYPE_CHECKING:
    from headrace.features.online.rows import OnlineFeatures
    from headrace.inference.records import ByColumn
    from headrace.inference.streaming.sources.base import Message
    from headrace.scoring.version import LoadedVersion

Given = TypeVar("Given")
Made = TypeVar("Made")
Row = dict[str, Any]
LETTERS = pa.schema(
    {
        "model": pa.string(),
        "topic": pa.string(),
        "partition": pa.int64(),
        "offset": pa.int64(),
        "reason": pa.string(),
        "key": pa.binary(),
        "value": pa.binary(),
        "sent_at": INSTANT,
        "refused_at": INSTANT,
    }
)
SHOWN = 500  # characters of a reason


@dataclass(frozen=True, kw_only=True)
class AtWork:
    """The version that predicts, and what its requests are completed and checked with.

    Attributes:
        check: raises DataError for rows, in the order of the model's inputs, with a value of another kind.
        types: of the spine's key and moment, as its table has them.
        fitted: the first and the last decision that the version was fitted on.
        by_column: the version's way without a DataFrame, where it has one.
    """

    version: LoadedVersion
    features: OnlineFeatures
    check: Callable[[list[list[Any]]], object]
    types: Mapping[str, pa.DataType]
    fitted: tuple[datetime, datetime]
    by_column: ByColumn | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that cannot be scored."""

    message: Message
    reason: str


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What became of messages.

    Attributes:
        predicted: the message of each prediction.
    """

    predictions: pa.Table | None
    predicted: Sequence[Message]
    letters: Sequence[DeadLetter]

    def without(self, refused: Mapping[int, str]) -> tuple[Scored, list[DeadLetter]]:
        """The same without the predictions in these places, which are dead letters for these reasons; and those alone."""
        late = [DeadLetter(self.predicted[place], reason[:SHOWN]) for place, reason in refused.items()]
        left = [place for place in range(len(self.predicted)) if place not in refused]
        predictions = None if self.predictions is None else self.predictions.take(left)
        kept = [self.predicted[place] for place in left]
        return Scored(predictions=predictions, predicted=kept, letters=[*self.letters, *late]), late


def score(at_work: AtWork, messages: Sequence[Message]) -> Scored:
    """Predicts for each message that can be read and completed.

    Raises:
        UnavailableError, ConflictError: features cannot be read now, which is no message's fault.
        DataError: the version fails on every one of several messages, so that it is at fault.
    """
    letters: list[DeadLetter] = []
    checked, rows = _full(at_work, messages, letters)
    before = len(letters)
    places = [(message, place) for place, message in enumerate(checked)]
    predicted = _halved(places, lambda some: predict(at_work.version, rows(some), at_work.by_column), letters)
    if len(checked) > 1 and not predicted:
        version = at_work.version
        raise DataError(
            f"{version.model} version {version.number} fails on each of {len(checked)} messages: {letters[before].reason}",
            hint=f"Nothing of them was written. Next: headrace model rollback {version.model}",
        )
    versions = at_work.features.versions()
    tables = [with_in_sample(with_versions(table, versions), at_work.fitted) for _, table in predicted]
    return Scored(
        predictions=pa.concat_tables(tables) if tables else None,
        predicted=[message for some, _ in predicted for message in some],
        letters=letters,
    )


def letters_table(model: str, topic: str, letters: Sequence[DeadLetter]) -> pa.Table:
    """Dead letters as rows."""
    at = now()
    rows = [
        {
            "model": model,
            "topic": topic,
            "partition": each.message.partition,
            "offset": each.message.offset,
            "reason": each.reason,
            "key": each.message.key,
            "value": _bytes(each.message.value),
            "sent_at": each.message.at,
            "refused_at": at,
        }
        for each in letters
    ]
    return pa.Table.from_pylist(rows, schema=LETTERS)


Rows = Callable[[Sequence[int]], pa.Table]
"""Places that follow one another → their full rows, in the types that batch scoring has them in."""


def _full(at_work: AtWork, messages: Sequence[Message], letters: list[DeadLetter]) -> tuple[Sequence[Message], Rows]:
    """The messages that can be completed, and their full rows."""
    features = at_work.features
    columns = None if features.tables else full_columns(features.plan, features.needed, at_work.types, messages)
    if columns is not None and not _one_by_one(at_work, columns.others, letters):
        table = columns.table
        return columns.messages, lambda places: table.slice(places[0], len(places))
    letters.clear()
    checked = _one_by_one(at_work, messages, letters)
    rows = [row for _, row in checked]
    return [message for message, _ in checked], lambda places: _table(at_work, rows[places[0] : places[-1] + 1])


def _one_by_one(at_work: AtWork, messages: Sequence[Message], letters: list[DeadLetter]) -> list[tuple[Message, Row]]:
    """The full row of each message; it tells what is wrong with one that has none."""
    asked = _each([(message, message) for message in messages], lambda given: _request(at_work, given), letters)
    parts = _halved(asked, at_work.features.full_rows, letters)
    full = [pair for some, rows in parts for pair in zip(some, rows, strict=True)]
    return _each(full, lambda row: _checked(at_work, row), letters)


# ---------------------------------------------------------------------------------------------- who is at fault


def _each(
    pairs: Sequence[tuple[Message, Given]], do: Callable[[Given], Made], letters: list[DeadLetter]
) -> list[tuple[Message, Made]]:
    found: list[tuple[Message, Made]] = []
    for message, given in pairs:
        try:
            found.append((message, do(given)))
        except DataError as error:
            letters.append(DeadLetter(message, _reason(error)))
    return found


def _halved(
    pairs: Sequence[tuple[Message, Given]], do: Callable[[list[Given]], Made], letters: list[DeadLetter]
) -> list[tuple[list[Message], Made]]:
    """All at once; where that fails, each half, so that few bad ones among many cost little."""
    if not pairs:
        return []
    try:
        return [([message for message, _ in pairs], do([given for _, given in pairs]))]
    except (UnavailableError, ConflictError):
        raise
    except Exception as error:  # noqa: BLE001  # whatever a model does with one message, the others are scored
        if len(pairs) == 1:
            letters.append(DeadLetter(pairs[0][0], _reason(error)))
            return []
    middle = len(pairs) // 2
    return _halved(pairs[:middle], do, letters) + _halved(pairs[middle:], do, letters)


def _reason(error: Exception) -> str:
    said = error.what if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
    return said.removeprefix("row 0: ")[:SHOWN]


# ---------------------------------------------------------------------------------------------- one message


def _request(at_work: AtWork, message: Message) -> Row:
    """What a message says itself, without what nobody asks for."""
    read = _read(message.value)
    plan, needed = at_work.version.plan, at_work.features.needed
    for name in needed:
        if name not in read:
            raise DataError(f"{name!r} is missing.")
    for name in plan.keys:
        if name != plan.at and read[name] is None:
            raise DataError(f"{name!r} is null: a decision is known by its key.")
    at = message.at if read.get(plan.at) is None else moment(read[plan.at], plan.at)
    if at is None:
        raise DataError(f"{plan.at!r} is missing, and nobody says when the message was sent.")
    # the moment is never that of scoring: scored again, the message must have the same id
    alone = {*plan.keys} - {column.name for column in plan.inputs}  # no number of the model's: kept to the last digit
    return {**{name: read[name] if name in alone else _plain(read[name]) for name in needed}, plan.at: at}


def _read(value: bytes | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if value is None:
        raise DataError("the message has no value.")
    if not isinstance(value, bytes):
        return value
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise DataError(f"the value is no JSON: {error.msg} at position {error.pos}.") from None
    if type(read) is not dict:
        raise DataError("the value is no JSON object.")
    return cast("Row", read)


def _plain(value: object) -> object:
    """A value out of a table as a request would give it."""
    if isinstance(value, Decimal):
        return float(value)
    return datetime.combine(value, time()) if isinstance(value, date) and not isinstance(value, datetime) else value


def _checked(at_work: AtWork, row: Row) -> Row:
    plan = at_work.version.plan
    at_work.check([[row[column.name] for column in plan.inputs]])
    return {**row, **typed_all([(name, type_name(at_work.types[name])) for name in plan.keys], row)}


def _table(at_work: AtWork, rows: Sequence[Row]) -> pa.Table:
    """Full rows in the types that batch scoring has them in."""
    types = types_of(at_work.version.plan, at_work.types)
    return pa.table({name: pa.array([_typed(row[name], to) for row in rows], to) for name, to in types.items()})


def _typed(value: Any, to: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_floating(to):
        return float(value)
    if pa.types.is_integer(to):
        return int(value)
    if (pa.types.is_timestamp(to) or pa.types.is_date(to)) and isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.date() if pa.types.is_date(to) and isinstance(value, datetime) else value


def _bytes(value: bytes | Mapping[str, Any] | None) -> bytes | None:
    return orjson.dumps(value, default=str) if isinstance(value, Mapping) else value
