"""Text that comes piece by piece, no faster than it is read."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

from headrace.core.errors import CutStreamError, DeadlineError, MalformedAnswerError
from headrace.llm.gateway.connection import LARGEST, AttemptFailedError, EventReader, Outgoing, broken
from headrace.llm.gateway.protocols.base import EndpointProtocol, StreamState, loads
from headrace.llm.gateway.redaction import RedactedStream, quoted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from headrace.core.errors import HeadraceError
    from headrace.llm.gateway.requests import Completion


class TextReader:
    """Reads the text of a stream in any protocol.

    Only the time spent waiting for the endpoint counts against the deadline: a slow reader holds the connection, and is
    not cut off for it.

    Args:
        reader: of the events.
        protocol: that they are written in.
        outgoing: the request, for messages.
        until: when the first text must have come, by the monotonic clock.

    Attributes:
        outgoing: the request.
        state: what the stream has said beside its text.
        received: how many characters of text have come.
        left: the seconds that may still be waited.
    """

    def __init__(self, reader: EventReader, protocol: EndpointProtocol, outgoing: Outgoing, until: float) -> None:
        self._reader, self._protocol = reader, protocol
        self._redacted = RedactedStream(outgoing.keys)
        self.outgoing, self.state = outgoing, StreamState()
        self.received = 0
        self.left = until - time.monotonic()

    async def first(self) -> list[str]:
        """Waits for the first text, or for the end of an empty answer.

        Raises:
            AttemptFailedError: the stream breaks before.
        """
        deltas: list[str] | None = []
        failed: AttemptFailedError | None = None
        seconds = self.left
        try:
            while not deltas and deltas is not None and not self.state.done:
                deltas = await self._next()
        except MalformedAnswerError as error:
            failed = AttemptFailedError(error, unhealthy=True, billed=True)
        except Exception as error:  # noqa: BLE001  # of aiohttp; `broken` tells them apart
            failed = broken(error, self.outgoing, seconds)
        if failed is not None:
            raise failed
        if deltas is None and not self._is_complete:
            what = f"{self.outgoing.where} ended its stream before it began."
            raise AttemptFailedError(CutStreamError(what), retried=True, unhealthy=True, billed=True)
        return deltas or []

    async def read(self) -> list[str] | None:
        """Waits for more text.

        Returns:
            What has come, which may be nothing; None after the end.

        Raises:
            CutStreamError: the stream ended before its end.
            DeadlineError: the time is used up.
            MalformedAnswerError: it cannot be understood.
        """
        if self.state.done:
            return self._rest()
        failed: HeadraceError | None = None
        deltas: list[str] | None = None
        seconds = self.left
        try:
            deltas = await self._next()
        except MalformedAnswerError as error:
            failed = error
        except TimeoutError:
            what = f"{self.outgoing.where} used up the time of the call after {self.received} characters of its stream."
            failed = DeadlineError(what, hint="Raise the route's timeout.")
        except Exception as error:  # noqa: BLE001  # of aiohttp, which knows the headers: it is not kept
            reason = broken(error, self.outgoing, seconds).error.what
            failed = self._cut(reason)
        if failed is None and deltas is None and not self._is_complete:
            failed = self._cut("It ended without its last event.")
        if failed is not None:
            raise failed
        return self._rest() if deltas is None else deltas

    async def finish(self, *, complete: bool) -> None:
        """Ends the connection: at once, unless the stream is complete."""
        await self._reader.finish(complete=complete)

    @property
    def _is_complete(self) -> bool:
        return self.state.done or self.state.finish_reason is not None

    def _rest(self) -> list[str] | None:
        """The text that was held back until the end; None where there is none."""
        rest = self._redacted.end()
        return [rest] if rest else None

    def _cut(self, reason: str) -> CutStreamError:
        what = f"the stream of {self.outgoing.where} was cut after {self.received} characters. {reason}"
        error = CutStreamError(what, hint="What came is incomplete. Nothing was repeated; the call can be made again.")
        error.received = self.received
        return error

    async def _next(self) -> list[str] | None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, self.left)):
                events = await self._reader.read()
        finally:
            self.left -= time.monotonic() - began
        if events is None:
            return None
        return [shown for event in events if (text := self._text(event)) and (shown := self._shown(text))]

    def _shown(self, text: str) -> str:
        """The part of the text that can be handed on."""
        self.received += len(text)
        if self.received > LARGEST:
            raise MalformedAnswerError(f"{self.outgoing.where} answered with more than {LARGEST:,} characters.")
        return self._redacted.add(text)

    def _text(self, event: str) -> str:
        try:
            data = event if event == "[DONE]" else loads(event.encode())
        except (ValueError, RecursionError):
            said = quoted(event.encode(), self.outgoing.keys)
        else:
            try:
                return self._protocol.event(data, self.state)
            except MalformedAnswerError as error:
                said = f"{error.what}: {quoted(event.encode(), self.outgoing.keys)}"
        raise MalformedAnswerError(f"{self.outgoing.where} sent an event that cannot be understood: {said}")


class AsyncChatStream:
    """Pieces of text as they come, with `async for`. Leaving it early with `aclose` closes the connection.

    Attributes:
        completion: the whole answer, once the last piece has been read; None before.
    """

    def __init__(self) -> None:
        self.completion: Completion | None = None
        self._batches: AsyncGenerator[list[str]] | None = None
        self._pieces: list[str] = []

    def begin(self, batches: AsyncGenerator[list[str]]) -> None:
        """Sets where the pieces come from."""
        self._batches = batches

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Returns the next piece.

        Raises:
            StopAsyncIteration: the answer is complete.
            CutStreamError: the stream was cut.
        """
        while not self._pieces:
            self._pieces = (await self.batch())[::-1]
        return self._pieces.pop()

    async def batch(self) -> list[str]:
        """Returns all pieces that have come, at least one. Raises as `__anext__`."""
        if self._batches is None:
            raise StopAsyncIteration
        return await anext(self._batches)

    async def aclose(self) -> None:
        """Ends the call. The connection to the endpoint is closed unless the answer is complete."""
        if self._batches is not None:
            await self._batches.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
