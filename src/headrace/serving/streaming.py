"""The events of a streamed answer, from its protocol to its connection: the wait for each is limited, its end told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from headrace.serving.messages import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from headrace.serving.messages import Answer

ERROR = "error"
GONE = 499  # what a request is counted as whose caller has gone, as nginx has it


class StreamedAnswer(AsyncGenerator[Event, None]):
    """The events of a protocol's generator; after one that cannot be had comes an `event: error`, the last one.

    Its end is told also where it was never iterated, which a generator function could not do.

    Args:
        events: of the protocol; closed at the end.
        until: by the loop's clock, when the first event must be there.
        timeout: seconds that each further event, and the end, may take from when it is wanted: a caller that reads slowly
            takes none of them.
        failed: gives the refusal for an exception; its body is the data of the error event, its status is told at the end.
        ended: told the status once: 200, that of the error, or 499 where the caller left before the end.
    """

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        *,
        until: float,
        timeout: float,
        failed: Callable[[Exception], Answer],
        ended: Callable[[int], None],
    ) -> None:
        self._events, self._failed = events, failed
        self._until: float | None = until
        self._timeout = timeout
        self._ended: Callable[[int], None] | None = ended
        self._last = False

    async def __anext__(self) -> Event:
        """The next event."""
        if self._last or self._ended is None:
            raise StopAsyncIteration
        try:
            until, self._until = self._until, None
            async with asyncio.timeout(self._timeout) if until is None else asyncio.timeout_at(until):
                return await anext(self._events)
        except StopAsyncIteration:
            self._end(200)
            raise
        except Exception as error:  # noqa: BLE001  # whatever a protocol does, the server stays
            self._last = True
            refusal = self._failed(error)
            await self._events.aclose()
            self._end(refusal.status)
            return Event(refusal.body, ERROR)

    async def asend(self, value: None) -> Event:
        """The next event; nothing can be sent."""
        del value
        return await self.__anext__()

    async def athrow(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, typ: BaseException | type[BaseException], val: object = None, tb: TracebackType | None = None
    ) -> Event:
        """Ends it."""
        del val, tb
        await self.aclose()
        raise typ

    async def aclose(self) -> None:
        """Ends it. Where events were left, the caller has gone."""
        self._end(GONE)
        await self._events.aclose()

    def settled(self, status: int) -> None:
        """Told by the log: another status than 200 says that no event leaves, because the log did not take the answer."""
        if status != 200:
            self._end(status)

    def _end(self, status: int) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(status)
