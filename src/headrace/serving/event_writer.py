"""Writes the events of a streamed answer: one in each turn of the loop, never more than the caller accepts."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from headrace.serving.messages import Event, plain_refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from headrace.serving.messages import Answer

LOG = logging.getLogger(__name__)

BEAT = b":\n\n"  # a comment, which readers of events leave out
END = b"0\r\n\r\n"
CLOSING: set[asyncio.Task[None]] = set()  # the loop keeps no task by itself


def forget(answer: Answer) -> None:
    """Closes the events of an answer that nobody waits for any more."""
    if answer.events is not None:
        task = asyncio.get_running_loop().create_task(answer.events.aclose())
        CLOSING.add(task)
        task.add_done_callback(CLOSING.discard)


class EventWriter:
    """The events of one answer on its way; a PendingResponse that is done when the last one is written.

    Args:
        transport: of the connection, on which the head was written.
        events: of the answer; closed at the end, however it ends.
        chunked: by HTTP/1.1, so that the connection can be kept.
        heartbeat: seconds of silence after which a comment is written, so that what is between us and the caller keeps the
            connection, and one that is gone is found out.
        silent: nothing is written: the answer to a HEAD.

    Attributes:
        written: bytes of events.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        events: AsyncGenerator[Event, None],
        *,
        chunked: bool,
        heartbeat: float,
        silent: bool = False,
    ) -> None:
        self._transport, self._events = transport, events
        self._chunked, self._heartbeat, self._silent = chunked, heartbeat, silent
        self._room = asyncio.Event()
        self._room.set()
        self._cancelled = False
        self.written = 0

    def start(self, answer: Answer, done: Callable[[EventWriter], None]) -> None:
        """Begins to write.

        Args:
            answer: whose events they are.
            done: called after the last event, not where the caller has gone.
        """
        loop = asyncio.get_running_loop()
        self._answer, self._done = answer, done
        self._last = loop.time()
        self._beat = loop.call_later(self._heartbeat, self._beats)
        self._task = loop.create_task(self._run())
        self._task.add_done_callback(self._over)

    def pause(self) -> None:
        """The caller does not take what was written: no further event is asked for."""
        self._room.clear()

    def resume(self) -> None:
        """It has taken it."""
        self._room.set()

    def cancel(self) -> None:
        """The caller has gone: the events are closed."""
        self._cancelled = True
        self._task.cancel()

    def cancelled(self) -> bool:
        """See PendingResponse."""
        return self._cancelled

    def result(self) -> Answer:
        """See PendingResponse."""
        return self._answer

    def add_done_callback(self, told: Callable[[EventWriter], object], /) -> None:
        """See PendingResponse; `start` is told whom to call."""
        raise NotImplementedError(told)

    async def _run(self) -> None:
        try:
            if self._silent:
                return
            async for event in self._events:
                await self._room.wait()
                self._write(event.encoded())
                await asyncio.sleep(0)  # each event leaves by itself, and others have their turn
        except Exception as error:  # whatever a protocol does, the server stays
            LOG.exception("%s in an answer that streams", type(error).__name__)
            self._write(Event(plain_refusal(500, "the server's log says more."), "error").encoded())
        finally:
            await self._events.aclose()

    def _write(self, text: bytes) -> None:
        self._last = asyncio.get_running_loop().time()
        self.written += len(text)
        self._transport.write(b"%x\r\n%b\r\n" % (len(text), text) if self._chunked else text)

    def _beats(self) -> None:
        loop = asyncio.get_running_loop()
        if self._room.is_set() and not self._silent and loop.time() - self._last >= self._heartbeat * 0.99:
            self._write(BEAT)
        last = self._last if self._room.is_set() else loop.time()
        self._beat = loop.call_at(last + self._heartbeat, self._beats)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._beat.cancel()
        if self._cancelled or task.cancelled():
            forget(self._answer)  # a task that was cancelled before its first step has closed nothing
            return
        if (error := task.exception()) is not None:
            LOG.error("%s at the end of an answer that streams: %s", type(error).__name__, error)
        if self._chunked and not self._silent:
            self._transport.write(END)
        self._done(self)
