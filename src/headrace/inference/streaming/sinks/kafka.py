"""A topic as a sink: each row is a message; its key lets readers recognise repeats."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import KafkaError, KafkaException

from headrace.core.errors import ConfigError, UnavailableError
from headrace.inference.streaming.sinks.base import LETTER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa
    from confluent_kafka import Producer

    from headrace.environments.kafka import Topic

PATIENCE = 30.0  # seconds in which what was sent is acknowledged
TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
THIS_ONE = (*TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP)  # never taken; others are
EVERY_ONE = (  # until somebody changes something
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._FATAL,  # noqa: SLF001  # an idempotent client that lost its place sends nothing more
)
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

    def __init__(self, producer: Producer, topic: Topic, *, key: Sequence[str]) -> None:
        self._producer, self._topic = producer, topic.name
        self._encode: Callable[[Mapping[str, Any]], Sent] = letter if tuple(key) == LETTER else prediction

    def positions(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """See Sink."""
        return dict.fromkeys(partitions)

    def settled(self, starts: Mapping[int, int]) -> set[tuple[int, int]]:
        """See Sink."""
        del starts
        return set()

    def write(self, rows: pa.Table | None, ends: Mapping[int, int]) -> Mapping[int, str]:
        """See Sink. A dead letter is cut until it is taken."""
        del ends
        messages = [self._encode(row) for row in rows.to_pylist()] if rows is not None else []
        refused = self._refused_alone(messages)
        if self._encode is prediction:
            return {place: self._reason(messages[place], error) for place, error in refused.items()}
        if still := self._refused_alone([without_value(messages[place]) for place in refused]):
            reason = next(iter(still.values())).str()
            raise ConfigError(
                f"topic {self._topic!r} refuses a dead letter even without what it holds: {reason}.",
                hint="Its max.message.bytes has to allow some 2 KB, and its schema, if it has one, an empty value.",
            )
        return {}

    def close(self) -> None:
        """See Sink."""
        self._producer.flush(PATIENCE)

    def _refused_alone(self, messages: Sequence[Sent]) -> dict[int, KafkaError]:
        """Sends all of them; gives those that are refused by themselves, too: a broker refuses what came together as one."""
        found = {place: self._send_all([messages[place]]) for place in self._send_all(messages)}
        return {place: error for place, told in found.items() for error in told.values()}

    def _send_all(self, messages: Sequence[Sent]) -> dict[int, KafkaError]:
        """Sends, and waits until all is acknowledged; gives the places of those that client or broker will never take.

        Raises:
            UnavailableError: another one was not acknowledged.
            ConfigError: nothing that is sent will ever be.
        """
        refused: dict[int, KafkaError] = {}
        failed: list[KafkaError] = []

        def keep(place: int, error: KafkaError) -> None:
            if error.code() in THIS_ONE:
                refused[place] = error
            else:
                failed.append(error)

        def acknowledged(place: int) -> Callable[[KafkaError | None, object], None]:
            def told(error: KafkaError | None, _: object) -> None:
                if error is not None:
                    keep(place, error)

            return told

        try:
            for place, message in enumerate(messages):
                try:
                    self._send(*message, acknowledged(place))
                except KafkaException as error:
                    if error.args[0].code() not in THIS_ONE:
                        raise
                    keep(place, error.args[0])
            left = self._producer.flush(PATIENCE)
        except KafkaException as error:
            raise self._not_written(error.args[0]) from None
        if failed or left:
            worst = next((each for each in failed if each.code() in EVERY_ONE), failed[0] if failed else None)
            self._producer.purge()
            self._producer.flush(1)
            raise self._not_written(worst or f"{left} messages were not acknowledged in {PATIENCE:.0f} s")
        return dict(sorted(refused.items()))

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

    def _not_written(self, reason: KafkaError | str) -> ConfigError | UnavailableError:
        if isinstance(reason, str):
            return UnavailableError(f"topic {self._topic!r} cannot be written: {reason}.")
        if reason.code() in EVERY_ONE or reason.fatal():
            return ConfigError(
                f"topic {self._topic!r} takes nothing from this worker: {reason.str()}.",
                hint="The user of this cluster under [env.….kafka.…] needs the right to write it. Then start the stream again.",
            )
        return UnavailableError(f"topic {self._topic!r} cannot be written: {reason.str()}.")

    def _reason(self, message: Sent, error: KafkaError) -> str:
        key, value, _ = message
        said = f"topic {self._topic!r} refuses the record of prediction {key.decode()}, {len(value or b'')} bytes: {error.str()}."
        if error.code() not in TOO_LARGE:
            return said
        return f"{said} message.max.bytes of this cluster under [env.….kafka.…] or max.message.bytes of the topic allows more."


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
    """A dead letter that is too large, with the size and hash of what it leaves out; its place says where the whole is."""
    key, value, headers = message
    left_out = f"{len(value or b'')} bytes, sha256 {hashlib.sha256(value or b'').hexdigest()}"
    return key, None, [*(each for each in headers if each[0] != "key"), ("value_left_out", left_out)]


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
