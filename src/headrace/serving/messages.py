"""Requests and answers of HTTP, and who makes the one of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.serving.observation import Observation

JSON = b"application/json"
AGAIN = b"retry-after: 1\r\n"
CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "TOO_SLOW",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "MISSING_FEATURES",
    429: "TOO_MANY_REQUESTS",
    431: "TOO_LARGE",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "TIMED_OUT",
}


class Request:
    """A request. Names of headers are in small letters.

    Attributes:
        body: empty until all of it is there.
        predicts: it asks for predictions; the body of another one is not kept. Said when it is let in.
        seen: what is kept of it for those who watch; None while nobody does.
        token: the name of its caller's token; None where none is needed. Said when it is let in.
    """

    __slots__ = ("body", "headers", "method", "path", "predicts", "query", "seen", "token")

    def __init__(self, method: str, path: str, query: str, headers: Mapping[bytes, bytes], body: bytes = b"") -> None:
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body
        self.predicts = False
        self.token: str | None = None
        self.seen: Observation | None = None


class Answer(NamedTuple):
    """What is sent back.

    Attributes:
        headers: whole lines, each with its line end.
    """

    status: int
    body: bytes
    kind: bytes = JSON
    headers: bytes = b""


class PendingResponse(Protocol):
    """An answer that comes later; an `asyncio.Future` is one."""

    def add_done_callback(self, told: Callable[[Any], object], /) -> None:
        """To be called once, with this, when the answer is there."""
        ...

    def result(self) -> Answer:
        """The answer."""
        ...

    def cancelled(self) -> bool:
        """Whether there is none."""
        ...

    def cancel(self) -> object:
        """Nobody waits for it any more."""
        ...


class Answering(Protocol):
    """Requests to answers."""

    def admit(self, request: Request) -> Answer | None:
        """Lets a request in by its head, before its body comes; else the answer that says why not. Never raises."""
        ...

    def answer(self, request: Request) -> Answer | PendingResponse:
        """The answer to one that was let in, or one that comes later. Never raises."""
        ...

    def answered(self, path: str, method: str, status: int) -> None:
        """An answer, or a refusal, has left. The method is empty where the request's could not be read."""
        ...

    def vital(self, path: str) -> bool:
        """Whether a path is answered also when all connections are taken."""
        ...


def refusal(status: int, message: str, headers: bytes = b"", *, path: str = "") -> Answer:
    """An answer that says why there is no other, in the shape of the protocol to which the path belongs."""
    if path == "/v2" or path.startswith("/v2/"):
        body = orjson.dumps({"error": message})
    else:
        body = orjson.dumps({"error_code": CODES.get(status, "BAD_REQUEST"), "message": message})
    return Answer(status, body, JSON, headers + AGAIN if status in (429, 503) else headers)
