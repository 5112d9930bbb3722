"""The contract of a source of messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

Positions = Callable[[Sequence[int]], Mapping[int, int | None]]
"""Partitions → the offset to begin at, None for the oldest message. Asked whenever partitions are given to this worker."""


class Message(NamedTuple):
    """One message, as it came. A tuple, for there are many: a frozen dataclass takes three times as long to make.

    Attributes:
        partition: that it came from.
        offset: its place there; a later message has a larger one, gaps are possible.
        value: bytes that should be a JSON object; or the values, where the source has a schema.
        key: of the message, not of the decision.
        at: when it was sent; None where nobody says.
    """

    partition: int
    offset: int
    value: bytes | Mapping[str, Any] | None
    key: bytes | None
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Messages that are worked on together, of each partition in order.

    Attributes:
        ends: partition → the offset after its last message: where the next batch begins. A source may move on without a
            message, as over versions of a table that changed no row.
    """

    messages: Sequence[Message]
    ends: Mapping[int, int]


class MessageSource(Protocol):
    """Messages in partitions, from wherever a position says. Used by one thread.

    What `poll` gave is this worker's to write until it polls again: partitions may be taken away from it meanwhile, and
    the sink is what tells. It reads ahead by a bounded amount.
    """

    @property
    def name(self) -> str:
        """What tells it from every other source: positions are kept under this name, for as long as it means the same messages."""
        ...

    @property
    def topic(self) -> str:
        """What dead letters call it."""
        ...

    def poll(self) -> Batch | None:
        """The next messages; None if none came within the time that a batch may wait.

        Raises:
            UnavailableError: it cannot be read now.
            DataError: messages from a position on are no longer there.
        """
        ...

    def done(self, batch: Batch) -> None:
        """The batch is written: also remembered by the source, where it has a place for that.

        Raises:
            MovedError: the source remembers the positions, and partitions of the batch are somebody else's now.
        """
        ...

    def rewind(self) -> None:
        """Asks for positions anew and goes there."""
        ...

    def hold(self, seconds: float) -> bool:
        """Waits without taking messages, and stays a member of its group; gives whether all partitions are still the same."""
        ...

    def at_end(self) -> bool:
        """Whether everything was given that was there when it was last looked."""
        ...

    def lag(self) -> dict[int, int]:
        """Partition → messages (versions, of a change feed) that wait behind the last batch, for partitions of this worker."""
        ...

    def close(self) -> None:
        """Leaves the group, so that others take over at once."""
        ...
