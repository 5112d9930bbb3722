"""HTTP requests and answers, and the interface of handlers that turn one into the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from headrace.serving.observation import Observation
    from headrace.serving.route import Match

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
    502: "UPSTREAM_FAILED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "TIMED_OUT",
}


class Request:
    """A request over HTTP.

    Attributes:
        method: `GET`, `POST`…
        path: without the query, `/rows/late`; percent-encoded as it was sent.
        query: after the `?`; empty without one.
        headers: name in small letters → value, both bytes.
        body: the whole body, inflated; empty until all of it is there.
        predicts: whether it asks for predictions; the body of another one is not kept. Set when it is admitted.
        receives: whether it brings something that is kept without an answer of the model. Set when it is admitted.
        seen: what is kept of it for the access log and traces; None without them.
        api_key: the name of its caller's API key; None where none is needed. Set when it is admitted.
        version: of HTTP, `1.1` or `1.0`.
        match: the route that its path matches; None where no route does. Set when it is admitted.

    Example:
        >>> request = hr.protocols.Request("POST", "/rows", "trace=1", {b"x-headrace-entity": b"customer 7"}, b"[[1400.0]]")
        >>> request.method, request.headers[b"x-headrace-entity"]
        ('POST', b'customer 7')
    """

    __slots__ = (
        "api_key",
        "body",
        "headers",
        "match",
        "method",
        "path",
        "predicts",
        "query",
        "receives",
        "seen",
        "version",
    )

    def __init__(self, method: str, path: str, query: str, headers: Mapping[bytes, bytes], body: bytes = b"") -> None:
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body
        self.predicts = self.receives = False
        self.api_key: str | None = None
        self.seen: Observation | None = None
        self.match: Match | None = None
        self.version = "1.1"


class RefusedRequestError(Exception):
    r"""A request that is not answered with a prediction.

    Attributes:
        status: of HTTP, from 400 on.
        message: for the caller; it holds no value of another caller and nothing of the machine.
        headers: of the answer; whole lines, each with its line end. Defaults to none.

    Example:
        >>> def quota(used, most):
        ...     if used >= most:
        ...         raise hr.protocols.RefusedRequestError(429, f"{most} rows are asked for already.", b"retry-after: 60\r\n")
        >>> quota(100, 100)
        Traceback (most recent call last):
        headrace.serving.messages.RefusedRequestError: 100 rows are asked for already.
    """

    def __init__(self, status: int, message: str, headers: bytes = b"") -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


class Event(NamedTuple):
    r"""One server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Attributes:
        data: UTF-8 text, mostly a JSON document; line breaks in it are kept.
        name: the type of the event; empty for the default, which browsers call `message`. It holds no line break.

    Example:
        >>> hr.protocols.Event(b'{"probability": 0.83}').encoded()
        b'data: {"probability": 0.83}\n\n'
        >>> hr.protocols.Event(b"2 rows", name="done").encoded()
        b'event: done\ndata: 2 rows\n\n'
    """

    data: bytes
    name: str = ""

    def encoded(self) -> bytes:
        """The event as it is written, with the empty line that ends it."""
        data = self.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
        return (b"event: %b\ndata: %b\n\n" % (self.name.encode(), data)) if self.name else b"data: %b\n\n" % data


class Answer(NamedTuple):
    """An answer over HTTP.

    Attributes:
        status: of HTTP.
        body: the whole body; empty for an answer that streams.
        kind: the content type; defaults to `application/json`.
        headers: further headers; whole lines, each with its line end. Defaults to none.
        events: for an answer that streams: what is sent after the head, one event at a time, instead of `body` and `kind`. The
            connection iterates it once, and closes it when the caller leaves. Defaults to None.

    Example:
        >>> hr.protocols.Answer(200, b"0.83", kind=b"text/plain").kind
        b'text/plain'
        >>> async def scores():
        ...     for probability in (b"0.83", b"0.12"):
        ...         yield hr.protocols.Event(probability)
        >>> hr.protocols.Answer(200, b"", events=scores()).events is None  # it streams
        False
    """

    status: int
    body: bytes
    kind: bytes = JSON
    headers: bytes = b""
    events: AsyncGenerator[Event, None] | None = None


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

    def refusal(self, path: str, status: int, message: str) -> Answer:
        """The answer that says why a request at a path gets no other, in the shape of the protocol of that path."""
        ...


def plain_refusal(status: int, message: str) -> bytes:
    """The body of a refusal where no protocol has a shape of its own: `{"error_code", "message"}`, as MLflow writes it."""
    return orjson.dumps({"error_code": CODES.get(status, "BAD_REQUEST"), "message": message})


def refusal(
    status: int, message: str, headers: bytes = b"", *, body: Callable[[int, str], bytes] = plain_refusal
) -> Answer:
    """An answer that says why there is no other.

    Args:
        status: of HTTP.
        message: for people.
        headers: whole lines, each with its line end; 429 and 503 get a `retry-after` where they have none.
        body: writes the body from status and message; the protocol of the path has its own.
    """
    later = status in (429, 503) and b"retry-after:" not in headers.lower()
    return Answer(status, body(status, message), JSON, headers + AGAIN if later else headers)
