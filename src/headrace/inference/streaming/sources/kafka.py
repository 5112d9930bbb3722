"""A topic as a source: a consumer group assigns its partitions, and each partition begins where its predictions end."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from headrace.core.errors import DataError, MovedError, UnavailableError
from headrace.inference.streaming.sources.base import Batch, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Consumer
    from confluent_kafka import Message as Received

    from headrace.environments.kafka import Topic
    from headrace.inference.streaming.sources.base import Positions

TAKE = 64  # messages that are taken at once, between looks at the limits
LEFT = (  # answers to a commit from one whose partitions are somebody else's
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._STATE,  # noqa: SLF001
    KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001
)


class KafkaSource:
    """See Source.

    Args:
        consumer: in its group.
        topic: to read.
        positions: where the sink keeps how far it has come; None where it does not, and then the group does.
        max_messages: of a batch.
        max_bytes: of a batch, exceeded by a few messages at most.
        max_wait: seconds.
        accept_loss: goes on with the oldest message where the next one is gone.
        partitions: only these, whoever else reads them; None for this worker's share of the group's.
    """

    def __init__(
        self,
        consumer: Consumer,
        *,
        topic: Topic,
        positions: Positions | None,
        max_messages: int,
        max_bytes: int,
        max_wait: float,
        accept_loss: bool = False,
        partitions: Sequence[int] | None = None,
    ) -> None:
        self.name = f"kafka {topic.cluster.name}/{topic.name}"
        self.topic = topic.name
        self._consumer = consumer
        self._positions = positions
        self._limits = max_messages, max_bytes, max_wait
        self._accept_loss = accept_loss
        self._next: dict[int, int] | None = None  # of the partitions of this worker; None before it is given any
        self._finished: set[int] = set()  # partitions read to their end
        self._times_assigned = 0
        self._polled = -max_wait  # when the last batch was taken
        self._holding = False
        if partitions is None:
            consumer.subscribe([self.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
        else:
            self._assigned(consumer, [TopicPartition(self.topic, each) for each in partitions])

    def poll(self) -> Batch | None:
        """See Source.

        Once messages are there, the wait for more counts from the last batch: what came while that was written has waited
        already. So batches that are not full are a wait apart, and a message that comes alone does not wait.
        """
        most, most_bytes, wait = self._limits
        before, began = self._times_assigned, time.monotonic()
        until = self._polled + wait
        found: list[Message] = []
        size = 0
        while len(found) < most and size < most_bytes:
            left = (until if found else began + wait) - time.monotonic()
            asked = min(TAKE, most - len(found)) if found else 1
            received = self._consumer.consume(asked, max(left, 0.0))
            if self._times_assigned != before:  # partitions came or went in between: what was taken may be anybody's
                self.rewind()
                return None
            for each in received:
                if (message := self._message(each)) is not None:
                    found.append(message)
                    size += len(each)
            if len(received) < asked and (left <= 0 or not found):  # what has arrived by then comes along
                break
        if not found:
            return None
        self._polled = time.monotonic()
        ends = {message.partition: message.offset + 1 for message in found}
        assert self._next is not None
        self._next |= ends
        return Batch(messages=found, ends=ends)

    def done(self, batch: Batch) -> None:
        """See Source. The group's offsets are what counts only where the sink keeps none; elsewhere they are for onlookers."""
        offsets = [TopicPartition(self.topic, partition, end) for partition, end in batch.ends.items()]
        if self._positions is not None:
            with suppress(KafkaException):
                self._consumer.commit(offsets=offsets, asynchronous=True)
            return
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False) or ()
            wrong = next((each.error for each in answers if each.error is not None), None)
        except KafkaException as error:
            wrong = error.args[0]
        if wrong is None:
            return
        if wrong.code() in LEFT:
            raise MovedError(f"{self.name}: partitions were taken over by another worker: {wrong.str()}.")
        raise UnavailableError(f"{self.name}: how far the group has come cannot be kept: {wrong.str()}.")

    def rewind(self) -> None:
        """See Source."""
        self._finished.clear()
        if self._next:
            try:
                for each in self._starts(list(self._next)):
                    self._consumer.seek(each)
            except KafkaException as error:
                raise UnavailableError(f"{self.name} cannot be read again: {error.args[0].str()}.") from None

    def hold(self, seconds: float) -> bool:
        """See Source."""
        before, until = self._times_assigned, time.monotonic() + seconds
        self._holding = True
        self._pause()
        while time.monotonic() < until and self._times_assigned == before:
            for each in self._consumer.consume(1, min(0.1, seconds)):
                self._message(each)  # none but ends and errors: what was taken before the pause is dropped by it
        self._holding = False
        if mine := self._mine():
            with suppress(KafkaException):
                self._consumer.resume(mine)
        return self._times_assigned == before

    def at_end(self) -> bool:
        """See Source."""
        return self._next is not None and self._finished.issuperset(self._next)

    def lag(self) -> dict[int, int]:
        """See Source. From what the last fetch said of the end."""
        found: dict[int, int] = {}
        for partition, place in (self._next or {}).items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
            if high >= 0:
                found[partition] = max(0, high - max(place, 0))
        return found

    def close(self) -> None:
        """See Source."""
        self._consumer.close()

    # ------------------------------------------------------------------------------------------ partitions

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called within `consume`."""
        self._times_assigned += 1
        self._finished.clear()
        consumer.assign(self._starts([each.partition for each in partitions]))
        if self._holding:
            self._pause()

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        del consumer, partitions
        self._times_assigned += 1
        self._next = {}
        self._finished.clear()

    def _starts(self, partitions: Sequence[int]) -> list[TopicPartition]:
        """Where each partition begins, which becomes its next message."""
        if self._positions is not None:
            known = dict(self._positions(partitions))
        else:
            asked = [TopicPartition(self.topic, each) for each in partitions]
            try:
                answers = self._consumer.committed(asked, timeout=10) if asked else []
            except KafkaException as error:
                raise UnavailableError(
                    f"{self.name}: how far the group has come is not known: {error.args[0].str()}."
                ) from None
            known = {each.partition: each.offset if each.offset >= 0 else None for each in answers}
        self._next = {}
        for each in partitions:
            start = known.get(each)
            self._next[each] = OFFSET_BEGINNING if start is None else start
            if start is not None:
                self._check_kept(each, start)
        return [TopicPartition(self.topic, each, place) for each, place in self._next.items()]

    def _check_kept(self, partition: int, start: int) -> None:
        try:
            oldest, _ = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=10)
        except KafkaException as error:
            raise UnavailableError(f"{self.name}/{partition} cannot be read: {error.args[0].str()}.") from None
        if oldest > start:
            self._lost(partition, f"{oldest - start} messages from {start} on are gone; the oldest is {oldest}")
            assert self._next is not None
            self._next[partition] = oldest

    def _lost(self, partition: int, what: str) -> None:
        if not self._accept_loss:
            raise DataError(
                f"{self.name}/{partition}: {what}.",
                hint="To go on with the oldest message that there is: headrace run stream --accept-loss",
            )

    def _mine(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, each) for each in self._next or ()]

    def _pause(self) -> None:
        if mine := self._mine():
            with suppress(KafkaException):
                self._consumer.pause(mine)

    def _message(self, received: Received) -> Message | None:
        partition, offset = received.partition(), received.offset()
        error = received.error()
        if error is None:
            assert partition is not None
            assert offset is not None
            self._finished.discard(partition)
            kind, milliseconds = received.timestamp()
            at = datetime.fromtimestamp(milliseconds / 1000, UTC) if kind and milliseconds >= 0 else None
            key = received.key()
            return Message(partition, offset, received.value(), None if key is None else _bytes(key), at)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            if partition is not None:
                self._finished.add(partition)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            assert partition is not None
            self._lost(partition, f"the next message is not there: {error.str()}")
            self._consumer.seek(TopicPartition(self.topic, partition, OFFSET_BEGINNING))
        elif error.fatal() or not error.retriable():
            raise UnavailableError(f"{self.name} cannot be read: {error.str()}.")
        return None


def _bytes(key: object) -> bytes | None:
    return key.encode() if isinstance(key, str) else key if isinstance(key, bytes) else None
