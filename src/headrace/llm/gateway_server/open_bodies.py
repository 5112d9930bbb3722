"""The memory that the bodies of open calls may take."""

from __future__ import annotations

import asyncio

from aiohttp import web

from headrace.llm.gateway_server.refusals import CallRefusedError

LARGEST_BODY = 8 * 2**20  # bytes
MOST_BYTES = 256 * 2**20  # of the bodies of all open calls of one worker
BODY_SECONDS = 30.0  # in which a body must have come
HELD: web.RequestKey[int] = web.RequestKey("held", int)


class OpenBodies:
    """Reads the bodies of the calls of one worker, and counts the bytes that have come until each call ends.

    Args:
        most: bytes of all of them together.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most, self.bytes = most, 0

    async def read(self, request: web.Request) -> bytes:
        """Reads a body, which counts until `end`.

        Raises:
            CallRefusedError: it does not come in time, or there is no memory left for it.
            HTTPRequestEntityTooLarge: it is larger than a body may be.
        """
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.content.iter_any():
                    self._count(request, len(chunk))
                    chunks.append(chunk)
        except TimeoutError:
            raise CallRefusedError(408, f"the body did not come within {BODY_SECONDS:.0f} seconds.") from None
        return b"".join(chunks)

    def end(self, request: web.Request) -> None:
        """The call of a request has ended."""
        self.bytes -= request.get(HELD, 0)
        request[HELD] = 0

    def _count(self, request: web.Request, size: int) -> None:
        held = request.get(HELD, 0) + size
        if held > LARGEST_BODY:
            raise web.HTTPRequestEntityTooLarge(LARGEST_BODY, held)
        if self.bytes + size > self.most:
            what = "the bodies of the calls that are open are too large for another one."
            raise CallRefusedError(503, what, kind="api_error", code="overloaded", headers={"Retry-After": "1"})
        self.bytes += size
        request[HELD] = held
