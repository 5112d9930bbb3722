"""One request to an endpoint over HTTP, and what its failures mean."""

from __future__ import annotations

import asyncio
import codecs
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import (
    DeadlineError,
    EndpointRefusedError,
    HeadraceError,
    MalformedAnswerError,
    MissingExtraError,
    RateLimitedError,
    UnavailableError,
)
from headrace.llm.gateway.protocols.base import loads
from headrace.llm.gateway.redaction import READ, quoted
from headrace.llm.gateway.retries import RETRIED, retry_after_seconds

try:
    import aiohttp
except ModuleNotFoundError as missing:
    if missing.name != "aiohttp":
        raise
    raise MissingExtraError("aiohttp", "llm", "the gateway to language models") from None

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

LARGEST = 16 * 2**20  # bytes of an answer
CONNECT = 10.0  # seconds
LINGER = 0.05  # seconds for the end of a stream whose last event has come


class AttemptFailedError(Exception):
    """One attempt failed.

    Args:
        error: what the caller gets if nothing else answers.
        retried: whether the same route may be tried again.
        retry_after: the seconds that the endpoint asks to wait.
        unhealthy: whether it says something about the endpoint, for the breaker.
        billed: whether the endpoint may have counted tokens.
        final: whether no other route may be tried either.
    """

    def __init__(
        self,
        error: HeadraceError,
        *,
        retried: bool = False,
        retry_after: float | None = None,
        unhealthy: bool = False,
        billed: bool = False,
        final: bool = False,
    ) -> None:
        super().__init__(error.what)
        self.error, self.retried, self.retry_after = error, retried, retry_after
        self.unhealthy, self.billed, self.final = unhealthy, billed, final


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A request that is ready to be sent. Its headers hold the key, so it is never shown.

    Attributes:
        url: the whole address.
        headers: with the key.
        body: JSON.
        key: for redaction.
        where: what messages call the endpoint: `route 'small'`.
    """

    url: str
    headers: dict[str, str]
    body: bytes
    key: str | None
    where: str

    def __repr__(self) -> str:
        return f"Outgoing({self.where})"

    @property
    def keys(self) -> tuple[str, ...]:
        """What must never be shown."""
        return (self.key,) if self.key else ()


def new_session() -> ClientSession:
    """Returns a session that keeps connections alive, stores no cookie and reads no proxy from the environment."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def post(session: ClientSession, outgoing: Outgoing, seconds: float) -> Any:
    """Sends a request and reads its answer as JSON.

    Raises:
        AttemptFailedError: there is no such answer within the time.
    """
    failed: AttemptFailedError | None = None  # raised outside of `except`: aiohttp's exceptions know the headers
    data = b""
    try:
        async with asyncio.timeout(seconds):
            response = await _send(session, outgoing)
            try:
                failed = await _refusal(response, outgoing)
                data = b"" if failed else await _read(response, LARGEST + 1)
            finally:
                if not response.content.at_eof():
                    response.close()
                response.release()
    except (aiohttp.ClientError, OSError, ValueError) as error:
        failed = broken(error, outgoing, seconds)
    if failed is None and len(data) > LARGEST:
        what = f"{outgoing.where} answered with more than {LARGEST:,} bytes."
        failed = AttemptFailedError(MalformedAnswerError(what), unhealthy=True, billed=True)
    if failed is not None:
        raise failed
    return parsed(data, outgoing)


async def open_stream(session: ClientSession, outgoing: Outgoing, seconds: float) -> ClientResponse:
    """Sends a request and returns the response once its headers are there.

    Raises:
        AttemptFailedError: there is no response with status 200 within the time.
    """
    failed: AttemptFailedError | None = None
    response: ClientResponse | None = None
    try:
        async with asyncio.timeout(seconds):
            response = await _send(session, outgoing)
            failed = await _refusal(response, outgoing)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        failed = broken(error, outgoing, seconds)
    except BaseException:
        if response is not None:
            response.close()
        raise
    if failed is None and response is not None:
        return response
    if response is not None:
        response.close()
    raise failed or AttemptFailedError(UnavailableError(f"{outgoing.where} did not answer."))


async def _send(session: ClientSession, outgoing: Outgoing) -> ClientResponse:
    return await session.post(outgoing.url, data=outgoing.body, headers=outgoing.headers, allow_redirects=False)


async def _read(response: ClientResponse, most: int) -> bytes:
    length = response.content_length
    if length is not None and length < most and "Content-Encoding" not in response.headers:
        return await response.read()
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) >= most:
            break
    return bytes(data[:most])


async def _refusal(response: ClientResponse, outgoing: Outgoing) -> AttemptFailedError | None:
    status = response.status
    if status == 200:
        return None
    said = quoted(await _read(response, READ), outgoing.keys)
    what = f"{outgoing.where} answered with status {status}{f': {said}' if said else '.'}"
    wait = retry_after_seconds(response.headers.get("Retry-After"))
    if status in (429, 529):
        limited = RateLimitedError(what)
        limited.retry_after = wait
        return AttemptFailedError(limited, retried=True, retry_after=wait)
    if status in RETRIED:
        return AttemptFailedError(UnavailableError(what), retried=True, retry_after=wait, unhealthy=status >= 500)
    hints = {
        401: "Look at the route's key.",
        403: "Look at the route's key.",
        404: "Look at the route's url and model.",
    }
    error = EndpointRefusedError(what, hint=hints.get(status, ""))
    error.status = status
    return AttemptFailedError(error, final=True)


def broken(error: BaseException, outgoing: Outgoing, seconds: float) -> AttemptFailedError:
    """Returns the failure that an exception of the connection means. It does not keep the exception."""
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        reason = "no connection" if isinstance(error, aiohttp.ConnectionTimeoutError) else _reason(error)
        what = f"{outgoing.where} cannot be reached: {reason}."
        return AttemptFailedError(UnavailableError(what), retried=True, unhealthy=True)
    if isinstance(error, TimeoutError):
        what = f"{outgoing.where} did not answer within {seconds:.3g} seconds."
        return AttemptFailedError(DeadlineError(what), retried=True, unhealthy=True, billed=True)
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return AttemptFailedError(
            UnavailableError(f"{outgoing.where}: the request cannot be sent ({kind})."), final=True
        )
    what = f"{outgoing.where} closed the connection before its answer was complete ({kind})."
    return AttemptFailedError(UnavailableError(what), retried=True, unhealthy=True, billed=True)


def _reason(error: aiohttp.ClientConnectorError) -> str:
    return error.os_error.strerror or type(error.os_error).__name__


def parsed(data: bytes, outgoing: Outgoing) -> Any:
    """Returns the JSON in a body.

    Raises:
        AttemptFailedError: it is none; the message quotes at most 200 characters.
    """
    try:
        return loads(data)
    except (ValueError, RecursionError):
        said = quoted(data[:READ], outgoing.keys)
    what = f"{outgoing.where} answered with {'something that is not JSON: ' + repr(said) if said else 'nothing'}."
    raise AttemptFailedError(MalformedAnswerError(what), unhealthy=True, billed=True)


class EventReader:
    """Reads the events of a stream as they come. What is not read stays in the connection.

    Args:
        response: whose body is a stream of server-sent events.
        where: what messages call the endpoint.
    """

    def __init__(self, response: ClientResponse, where: str) -> None:
        self.response, self._where = response, where
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line, self._data = list[str](), list[str]()  # of the line and of the event that are not complete
        self._held = 0  # characters of the event

    async def read(self) -> list[str] | None:
        """Waits for bytes.

        Returns:
            The data of the events that are complete with them; None at the end of the stream.

        Raises:
            MalformedAnswerError: an event is larger than an answer may be.
        """
        chunk = await self.response.content.readany()
        if not chunk and self.response.content.at_eof():
            return None
        text = self._decode(chunk)
        self._held += len(text)
        self._line.append(text)
        events = self._lines() if "\n" in text else []
        if self._held > LARGEST:
            raise MalformedAnswerError(f"{self._where} sent an event of more than {LARGEST:,} characters.")
        return events

    def _lines(self) -> list[str]:
        """Takes the lines that are complete, and returns the events that are complete with them."""
        *lines, rest = "".join(self._line).split("\n")
        self._line = [rest]
        events: list[str] = []
        for raw in lines:
            line = raw.removesuffix("\r")
            if line.startswith("data:"):
                self._data.append(line[5:].removeprefix(" "))
            elif not line:
                if self._data:
                    events.append("\n".join(self._data))
                    self._data.clear()
                self._held = len(rest)
        return events

    async def finish(self, *, complete: bool) -> None:
        """Ends the connection; after the last event it is kept for the next request where the endpoint ends it at once."""
        if complete:
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(LINGER):
                    while not self.response.content.at_eof():
                        await self.response.content.readany()
        if not self.response.content.at_eof():
            self.response.close()
        self.response.release()
