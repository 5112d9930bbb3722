"""A topic as a sink: each row is a message, with the key by which a reader tells repeats."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import KafkaError, KafkaException

from headrace.core.errors import UnavailableError
from headrace.inference.streaming.sinks.base import LETTER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa
    from confluent_kafka import Producer

PATIENCE = 30.0  # seconds in which what was sent is acknowledged
TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
Sent = tuple[bytes, bytes | None, list[tuple[str, str | bytes | None]]]
"""The key, value and headers of a message."""


class KafkaSink:
    """See Sink. `write` comes back when the brokers have acknowledged every row.

    Args:
        producer: idempotent, so that it doubles nothing by itself.
        topic: to write.
        key: columns that tell rows apart: those of dead letters, or those of predictions.
    """

    keeps_positions = False

    def __init__(self, producer: Producer, topic: str, *, key: Sequence[str]) -> None:
        self._producer, self._topic = producer, topic
        self._encode: Callable[[Mapping[str, Any]], Sent] = letter if tuple(key) == LETTER else prediction

    def positions(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """See Sink."""
        return dict.fromkeys(partitions)

    def settled(self, starts: Mapping[int, int]) -> set[tuple[int, int]]:
        """See Sink."""
        del starts
        return set()

    def write(self, rows: pa.Table | None, ends: Mapping[int, int]) -> None:
        """See Sink."""
        del ends
        messages = [self._encode(row) for row in rows.to_pylist()] if rows is not None else []
        large = self._send_all(messages)
        if large and self._encode is prediction:
            key = messages[large[0]][0].decode()
            raise UnavailableError(
                f"topic {self._topic!r} cannot be written: the record of prediction {key} is larger than the client or the topic "
                "allows. Set message.max.bytes of this cluster under [env.….kafka.…], or max.message.bytes of the topic."
            )
        if still := self._send_all([without_value(messages[place]) for place in large]):
            raise self._not_written(f"{len(still)} dead letters are too large even without what they hold")

    def close(self) -> None:
        """See Sink."""
        self._producer.flush(PATIENCE)

    def _send_all(self, messages: Sequence[Sent]) -> list[int]:
        """Sends, and waits until all is acknowledged; gives the places of those that are too large for client or broker.

        Raises:
            UnavailableError: another one was not acknowledged.
        """
        large: list[int] = []
        failed: list[KafkaError] = []

        def acknowledged(place: int) -> Callable[[KafkaError | None, object], None]:
            def told(error: KafkaError | None, _: object) -> None:
                if error is not None:
                    large.append(place) if error.code() in TOO_LARGE else failed.append(error)

            return told

        try:
            for place, message in enumerate(messages):
                try:
                    self._send(*message, acknowledged(place))
                except KafkaException as error:
                    if error.args[0].code() not in TOO_LARGE:
                        raise
                    large.append(place)
            left = self._producer.flush(PATIENCE)
        except KafkaException as error:
            raise self._not_written(error.args[0].str()) from None
        if failed or left:
            why = failed[0].str() if failed else f"{left} messages were not acknowledged in {PATIENCE:.0f} s"
            self._producer.purge()
            self._producer.flush(1)
            raise self._not_written(why)
        return sorted(large)

    def _send(
        self,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, str | bytes | None]],
        acknowledged: Callable[[KafkaError | None, object], None],
    ) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, headers=headers, on_delivery=acknowledged)
            except BufferError:  # full: the bounded buffer has to empty first
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _not_written(self, why: str) -> UnavailableError:
        return UnavailableError(f"topic {self._topic!r} cannot be written: {why}.")


def prediction(row: Mapping[str, Any]) -> Sent:
    """The record as JSON; the key is its id."""
    return row["prediction_id"].encode(), orjson.dumps(row, default=_plain), []


def letter(row: Mapping[str, Any]) -> Sent:
    """The message as it came; why it is here, and whence, are headers."""
    place = f"{row['topic']}/{row['partition']}/{row['offset']}"
    headers: list[tuple[str, str | bytes | None]] = [
        ("reason", row["reason"]),
        ("model", row["model"]),
        *((name, str(row[name])) for name in LETTER),
    ]
    if row["key"] is not None:
        headers.append(("key", row["key"]))
    return place.encode(), row["value"], headers


def without_value(message: Sent) -> Sent:
    """A dead letter that is too large, with the size of what it leaves out; its place says where the whole message is."""
    key, value, headers = message
    size = str(len(value or b""))
    return key, None, [*(each for each in headers if each[0] != "key"), ("value_left_out", f"{size} bytes")]


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
