"""Limits of connections: sizes, numbers and times."""

from __future__ import annotations

from dataclasses import dataclass

SMALL = 2**16  # bytes of a body that is read to its end though it is refused, and for which there is always room
TOGETHER = 8  # of the largest bodies may be kept at the same time


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Of connections.

    Attributes:
        body: bytes.
        head: bytes of the first line and the headers together.
        connections: at the same time.
        read: seconds in which a request must have come, from its first byte to its last; and a connection's first byte.
        idle: seconds that a connection may wait for its next request.
        write: seconds in which a caller must take some of an answer, and all of the last one.
        heartbeat: seconds after which an answer that streams and has no event says that it is still there.
    """

    body: int = 16 * 2**20
    head: int = 32 * 2**10
    connections: int = 2_000
    read: float = 10.0
    idle: float = 75.0
    write: float = 30.0
    heartbeat: float = 15.0

    @property
    def bodies(self) -> int:
        """Bytes of all bodies that are kept at the same time; small ones beyond are still taken."""
        return TOGETHER * self.body
