"""Listens at an address, supervises connections in time, and drains them at the end."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from headrace.serving.admission import Admission
from headrace.serving.connection import Connection
from headrace.serving.known_heads import KnownHeads

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from headrace.serving.cors import Cors
    from headrace.serving.limits import ConnectionLimits
    from headrace.serving.messages import Answering
    from headrace.serving.observer import Observer

LOOK = 0.25  # seconds between looks at connections that take too long
LAST_CALL = 0.05  # seconds for what was sent before its caller could know


class Listener:
    """Listens at an address, and looks after the connections.

    Attributes:
        limits: may be replaced at any time.
        cors: whose pages may read answers; None for nobody's. May be replaced at any time.
        observers: are told of each request that begins from now on; may be replaced at any time.
        draining: answers still under way are the last ones of their connections.
        held: bytes of bodies that are kept.
        admission: which connections there are.
        heads: that were parsed before, on any of the connections.
    """

    def __init__(self, app: Answering, limits: ConnectionLimits) -> None:
        self.app, self.limits = app, limits
        self.cors: Cors | None = None
        self.observers: Sequence[Observer] = ()
        self.draining = False
        self.held = 0
        self.date = b""
        self.admission: Admission[Connection] = Admission()
        self.connections = self.admission.connections
        self.heads = KnownHeads()
        self._server: asyncio.Server | None = None
        self._look: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, shared: bool = False) -> None:
        """Listens.

        Args:
            host: to listen at.
            port: to listen at.
            tls: for HTTPS.
            shared: other processes listen at the same port, and the kernel divides connections among them.

        Raises:
            OSError: the address cannot be had.
        """
        self._dated()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self),
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else self.limits.read,
            reuse_port=shared or None,
            backlog=1024,
        )
        self._look = asyncio.create_task(self._look_after())

    async def stop(self, *, within: float) -> bool:
        """Takes no new connection, answers what was asked, and closes; gives whether all was answered in time."""
        assert self._server is not None
        assert self._look is not None
        self.draining = True
        self._server.close()
        until = time.monotonic() + within
        await asyncio.sleep(LAST_CALL)
        while self.connections and time.monotonic() < until:
            for connection in list(self.connections):
                connection.drained()
            await asyncio.sleep(0.01)
        left = any(connection.answering for connection in self.connections)
        for connection in list(self.connections):
            connection.transport.abort()
        self._look.cancel()
        return not left

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            self._dated()
            self._look_at_all()

    def _look_at_all(self) -> None:
        now = time.monotonic()
        for connection in list(self.connections):
            connection.look(now)

    def _dated(self) -> None:
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
