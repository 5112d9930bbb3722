"""Admission of connections, and which connection is dropped when the limit is reached."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

C = TypeVar("C", bound="Admitted")
TRICKLE = 1.0  # seconds in which a head must have come, when others wait for the connection
SPARE = 64  # connections beyond the limit that may ask how the server is, and are told why they may not ask more


class Admitted(Protocol):
    """What is to be known of a connection."""

    since: float
    transport: asyncio.Transport

    def idleness(self, before: float) -> int:
        """The order in which it is dropped; 0 for never."""
        ...

    def drop(self) -> None:
        """Makes room for another one."""
        ...


class Admission(Generic[C]):
    """The connections of a listener.

    Attributes:
        connections: in the order in which they came.
        spares: those of them that are beyond the limit.
    """

    def __init__(self) -> None:
        self.connections: dict[C, None] = {}
        self.spares: dict[C, None] = {}

    def take(self, connection: C, most: int) -> None:
        """A new connection. When there are as many as may be, the one goes that has been silent for the longest time.

        So nobody is locked out by who opens connections and says nothing, or little. Where all are at work, the new one is a
        spare: it may ask how the server is.

        Args:
            connection: that was made.
            most: connections at the same time, spares not counted.
        """
        full = len(self.connections) - len(self.spares) >= most
        if full and (old := self._idlest((each for each in self.connections if each not in self.spares), TRICKLE)):
            old.drop()
        elif full:
            if len(self.spares) >= SPARE and (old := self._idlest(self.spares, 0.0)):
                old.drop()
            if len(self.spares) >= SPARE:
                connection.transport.abort()
                return
            self.spares[connection] = None
        self.connections[connection] = None

    def lost(self, connection: C) -> None:
        """It has ended."""
        self.connections.pop(connection, None)
        self.spares.pop(connection, None)

    def admit(self, connection: C, most: int) -> bool:
        """Whether a connection may ask anything: it is no spare, or there is room by now."""
        if connection in self.spares and len(self.connections) - len(self.spares) < most:
            del self.spares[connection]
        return connection not in self.spares

    def _idlest(self, among: Iterable[C], patience: float) -> C | None:
        """One that never asked, the oldest; else one between two requests; else one whose head does not come."""
        before = time.monotonic() - patience
        idle = [(each.idleness(before), each.since, each) for each in among]
        found = min((each for each in idle if each[0]), key=lambda each: each[:2], default=None)
        return None if found is None else found[2]
