"""HTTP/1.1 on one connection, as llhttp reads it: one request after the other, within limits of size, time and number.

A request is admitted or refused by its head: the body of a refused request is never stored. The memory of bodies is
counted over all connections, and released when the request is answered or its caller is gone.

A web server in front of an event loop costs more CPU than a small model needs (see docs/adr/0010-connection.md).
Here a request is parsed, answered and written in one call of the loop, and an answer that takes longer is awaited.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from headrace.serving import caller
from headrace.serving.event_writer import EventWriter, forget
from headrace.serving.limits import SMALL
from headrace.serving.messages import Answer, PendingResponse, Request
from headrace.serving.observation import Observation

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from headrace.serving.admission import Admission
    from headrace.serving.cors import Cors
    from headrace.serving.known_heads import Head, KnownHeads
    from headrace.serving.limits import ConnectionLimits
    from headrace.serving.messages import Answering, Event
    from headrace.serving.observer import Observer

STATUS = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
CLOSE = b"connection: close\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ENCODINGS = (b"identity", b"gzip", b"x-gzip", b"deflate")  # of bodies; an app inflates them
GONE = 499  # what a request is counted as whose caller has gone, as nginx has it
LINGER = 2.0  # seconds in which a caller may read why it was refused, while it still sends


class Owner(Protocol):
    """What a connection has of its listener; see Listener."""

    app: Answering
    limits: ConnectionLimits
    cors: Cors | None
    observers: Sequence[Observer]
    draining: bool
    held: int
    date: bytes
    admission: Admission[Connection]
    heads: KnownHeads


class Connection(asyncio.Protocol):
    """See the module.

    Attributes:
        since: when it was made, or its latest request began or ended.
        asked: whether a whole request has come on it.
    """

    __slots__ = (
        "_app",
        "_away",
        "_body",
        "_head",
        "_headed",
        "_headers",
        "_held",
        "_keep",
        "_kept",
        "_left",
        "_listener",
        "_of",
        "_offered",
        "_parser",
        "_piece",
        "_quiet",
        "_reading",
        "_refused",
        "_request",
        "_stuck",
        "_url",
        "_waiting",
        "answering",
        "asked",
        "ending",
        "since",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, listener: Owner) -> None:
        self._listener, self._app = listener, listener.app
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, Answer | None, bool]] = (
            deque()
        )  # asked before the answer to what came first
        self._refused: Answer | None = None  # the last answer; what else comes is not read
        self._of: Request | None = None  # the request that it refuses
        self._reading = False
        self._stuck: float | None = None  # since when the caller does not take what was written
        self._left = 0  # bytes that it has not taken
        self._held = 0  # bytes of bodies that are not answered yet
        self._piece = b""  # that begins with the head of a request, until that is parsed
        self._quiet = 0  # bytes that came since the parser last gave something: of a header that does not end
        self.since = time.monotonic()
        self.answering: PendingResponse | None = None
        self.ending = self.asked = False
        self._clear()

    def _clear(self) -> None:
        self._url, self._head, self._body = b"", 0, 0
        self._headed = self._offered = False
        self._headers: dict[bytes, bytes] = {}
        self._kept: bytes | bytearray = b""  # of the body
        self._request: Request | None = None  # that was let in or turned away, and whose body comes
        self._away: Answer | None = None  # why it was turned away, told when its small body has come

    # ------------------------------------------------------------------------------------------ the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop's call."""
        self.transport = cast("asyncio.Transport", transport)
        self._listener.admission.take(self, self._listener.limits.connections)

    def data_received(self, data: bytes) -> None:
        """The loop's call."""
        if self.ending or self._refused is not None:
            return
        if not (self._reading or self._waiting or self.answering is not None or self._stuck is not None):
            listener = self._listener
            head = listener.heads.find(data)
            if head is not None and head.length <= listener.limits.body and self._admitted():
                self._known(head, data)
                return
            self._piece = data
        self._quiet += len(data)
        self._feed(data)
        self._piece = b""
        if self._quiet > self._listener.limits.head:
            self._refused = self._refused or self._long_head()
        if self._refused is not None and not self.ending and not self._owes():
            self._refuse(self._refused)

    def _known(self, head: Head, data: bytes) -> None:
        """A whole request whose head was parsed before: what the parser's calls would come to."""
        self._quiet, self.since, self.asked = 0, time.monotonic(), True
        self._url, self._headers = head.url, dict(head.headers)
        request = Request(head.method, head.path, head.query, self._headers)
        request.version = head.version
        if self._listener.observers:
            request.seen = Observation(self.since)
            request.seen.size = head.length
        away = self._app.admit(request)
        if away is None:
            request.body = data[head.start :]
            self._hold(head.length)
        self._answer(request, away, keep=True)

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                if self._offered:
                    data = self._head_again() + data[stopped.args[0] :]
                    self._parser = httptools.HttpRequestParser(self)
                    continue
            except httptools.HttpParserError:
                self._refused = self._refused or self._refusal(400, "this is no HTTP/1.1 request.")
            return

    def _head_again(self) -> bytes:
        """The head of a request without the other protocol that it offers: we need not take it, but the parser stops there."""
        parser = self._parser
        lines = [b"%b %b HTTP/%b" % (parser.get_method(), self._url, parser.get_http_version().encode())]
        lines += [b"%b: %b" % each for each in self._headers.items() if each[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _owes(self) -> bool:
        """Whether there are answers to what was asked before."""
        return self.answering is not None or self._stuck is not None or bool(self._waiting)

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop's call."""
        del exc
        self.ending = True
        self._listener.admission.lost(self)
        if self.answering is not None:
            self.answering.cancel()
            self._gone(self._keep[0])
        for request, _, _ in self._waiting:
            self._gone(request)
        if self._request is not None:  # its body was still to come
            self._gone(self._request)
        self._waiting.clear()
        self._clear()
        self._release(self._held)
        del self._parser  # it knows us: together we would wait for the collector of garbage

    def pause_writing(self) -> None:
        """The loop's call: the caller does not take what was written."""
        self._stuck, self._left = time.monotonic(), self.transport.get_write_buffer_size()
        self.transport.pause_reading()
        if isinstance(self.answering, EventWriter):
            self.answering.pause()

    def resume_writing(self) -> None:
        """The loop's call."""
        self._stuck = None
        if isinstance(self.answering, EventWriter):
            self.answering.resume()
            if not self._waiting:
                self.transport.resume_reading()  # a caller who leaves is seen at once
            return
        self._next()

    # ------------------------------------------------------------------------------------------ the parser calls

    def on_message_begin(self) -> None:
        """The parser's call."""
        self._clear()
        self._quiet, self._reading, self.since = 0, True, time.monotonic()

    def on_url(self, url: bytes) -> None:
        """The parser's call, with a part."""
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's call."""
        self._count(len(name) + len(value) + len(b": \r\n"))
        if self._headed or self._refused is not None:
            return  # what follows a chunked body says nothing of the request
        name, headers = name.lower(), self._headers
        if name not in headers:
            headers[name] = value
        elif name == b"host":
            self._refused = self._refusal(400, "a request names one host.")
        else:
            headers[name] += b", " + value

    def _count(self, more: int) -> None:
        self._quiet = 0
        self._head += more
        if self._head > self._listener.limits.head:
            self._refused = self._refused or self._long_head()

    def _long_head(self) -> Answer:
        return self._refusal(431, f"the head of a request may have {self._listener.limits.head} bytes.")

    def on_headers_complete(self) -> None:
        """The parser's call."""
        headers, self._headed = self._headers, True
        if self._refused is not None:
            return
        path, query = self._path()
        request = Request(self._parser.get_method().decode(), path.decode("latin-1"), query.decode("latin-1"), headers)
        request.version = self._parser.get_http_version()
        if self._listener.observers:
            request.seen = Observation(self.since)
        self._request = request
        length = int(headers.get(b"content-length") or 0)
        if not self._admitted() and not self._app.vital(request.path):
            self._refused = self._refusal(503, f"{self._listener.limits.connections} connections are open already.")
        elif b"upgrade" in headers and self._parser.should_upgrade() and request.method != "CONNECT":
            self._offered = True
        elif b"host" not in headers and request.version != "1.0":
            self._refused = self._refusal(400, "a request of HTTP/1.1 names its host.")
        elif length > self._listener.limits.body:
            self._refused = self._too_large()
        elif b"content-encoding" in headers and headers[b"content-encoding"].lower() not in ENCODINGS:
            self._refused = self._refusal(415, "a body may be compressed with gzip or deflate only.")
        else:
            cors = self._listener.cors
            self._away = (None if cors is None else cors.preflight(request)) or self._app.admit(request)
            if self._away is not None:
                if length > SMALL or b"transfer-encoding" in headers or b"expect" in headers:
                    self._refused, self._of = self._away, request
            elif b"expect" in headers and not self._owes() and request.version == "1.1":
                self.transport.write(CONTINUE)

    def on_body(self, part: bytes) -> None:
        """The parser's call, with a part."""
        self._quiet = 0
        self._body += len(part)
        listener, request = self._listener, self._request
        if self._body > listener.limits.body:
            self._refused = self._refused or self._too_large()
        elif (
            self._refused is None
            and self._away is None
            and request is not None
            and (request.predicts or request.receives)
        ):
            if self._body > SMALL and listener.held + len(part) > listener.limits.bodies:
                self._refused = self._refusal(
                    503, "the bodies of requests that are under way fill what there is for them."
                )
            else:
                self._keep_part(part)
                self._hold(len(part))
        if self._refused is not None and self._kept:
            self._release(len(self._kept))
            self._kept = b""

    def _keep_part(self, part: bytes) -> None:
        """The first part as it is, which mostly is all; more of them, which may be of one byte each, in one piece."""
        if not self._kept:
            self._kept = part
        elif isinstance(self._kept, bytearray):
            self._kept += part
        else:
            self._kept = bytearray(self._kept) + part

    def on_message_complete(self) -> None:
        """The parser's call."""
        self._quiet, self._reading, self.since = 0, False, time.monotonic()
        if self._refused is not None or self.ending or self._offered:
            return
        request, away = self._request, self._away
        assert request is not None
        self.asked = True
        request.body = bytes(self._kept)
        if request.seen is not None:
            request.seen.size = self._body
        keep = self._parser.should_keep_alive() and request.method != "CONNECT" and self._admitted()
        self._request, self._kept = None, b""
        if self._piece and keep and request.predicts and away is None:
            self._listener.heads.keep(self._piece, self._url, request)
        self._piece = b""
        if self._owes():
            self._waiting.append((request, away, keep))
            self.transport.pause_reading()
        else:
            self._answer(request, away, keep=keep)

    def _admitted(self) -> bool:
        admission = self._listener.admission
        return not admission.spares or admission.admit(self, self._listener.limits.connections)

    def _path(self) -> tuple[bytes, bytes]:
        """Path and query; a proxy may name scheme and host before them."""
        url = self._url
        if not url.startswith(b"/") and b"://" in url:
            url = b"/" + url.partition(b"://")[2].partition(b"/")[2]
        path, _, query = url.partition(b"?")
        return path, query

    def _refusal(self, status: int, message: str) -> Answer:
        """The last answer of this connection. It is known by now what it refuses: another head may follow in the same bytes."""
        request = self._request
        if request is None:  # its head has not come, or not to its end
            path, query = self._path()
            method = self._parser.get_method().decode() if path else ""
            request = Request(method, path.decode("latin-1"), query.decode("latin-1"), self._headers)
            if self._listener.observers:
                request.seen = Observation(self.since)
        self._of = request
        return self._app.refusal(request.path, status, message)

    def _too_large(self) -> Answer:
        return self._refusal(413, f"a body may have {self._listener.limits.body} bytes.")

    def _hold(self, many: int) -> None:
        self._held += many
        self._listener.held += many

    def _release(self, many: int) -> None:
        self._held -= many
        self._listener.held -= many

    # ------------------------------------------------------------------------------------------ answers

    def _answer(self, request: Request, away: Answer | None, *, keep: bool) -> None:
        answer = self._app.answer(request) if away is None else away
        if isinstance(answer, Answer):
            if request.body:
                self._release(len(request.body))
            self._write(answer, request, keep=keep)
            return
        self._keep = request, keep
        self.answering = answer
        answer.add_done_callback(self._answered)

    def _answered(self, coming: PendingResponse) -> None:
        self.answering = None
        if self.ending or coming.cancelled():
            if not coming.cancelled():
                forget(coming.result())
            return
        request, keep = self._keep
        del self._keep
        self._release(len(request.body))
        self._write(coming.result(), request, keep=keep)
        if self.answering is None:
            self._next()

    def _next(self) -> None:
        while self._waiting and self.answering is None and self._stuck is None and not self.ending:
            request, away, keep = self._waiting.popleft()
            self._answer(request, away, keep=keep)
        if self._owes() or self.ending:
            return
        if self._refused is not None:
            self._refuse(self._refused)
            return
        if self._reading:
            self.since = time.monotonic()  # it was we who did not read
        self.transport.resume_reading()

    def _write(self, answer: Answer, request: Request, *, keep: bool) -> None:
        status, body, kind, headers, events = answer
        headers += caller.lines(request.headers)
        if self._listener.cors is not None:
            headers += self._listener.cors.lines(request.headers)
        if events is not None:
            self._stream(events, answer, headers, request, keep=keep)
            return
        if not keep or (self._listener.draining and not self._waiting):
            headers += CLOSE
            self.ending, self.since = True, time.monotonic()
        self.transport.write(
            b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
            % (STATUS[status], self._listener.date, kind, len(body), headers, b"" if request.method == "HEAD" else body)
        )
        self._app.answered(request.path, request.method, status)
        if request.seen is not None:
            self._observed(request, request.seen, answer)
        if self.ending:
            self.transport.close()

    def _stream(
        self, events: AsyncGenerator[Event, None], answer: Answer, headers: bytes, request: Request, *, keep: bool
    ) -> None:
        """Writes the head, and has the events written; what was asked behind it waits. HTTP/1.0 reads until we close."""
        chunked = request.version != "1.0"
        keep = keep and chunked and not (self._listener.draining and not self._waiting)
        framing = b"transfer-encoding: chunked\r\n" if chunked else b""
        self.transport.write(
            b"%b%bcontent-type: text/event-stream\r\ncache-control: no-store\r\n%b%b%b\r\n"
            % (STATUS[answer.status], self._listener.date, framing, headers, b"" if keep else CLOSE)
        )
        self._hold(len(request.body))  # was released as of an answer that is there
        self._keep = request, keep
        writer = EventWriter(
            self.transport,
            events,
            chunked=chunked,
            heartbeat=self._listener.limits.heartbeat,
            silent=request.method == "HEAD",
        )
        self.answering = writer
        if self._stuck is not None:
            writer.pause()
        writer.start(answer, self._streamed)

    def _streamed(self, writer: EventWriter) -> None:
        """The last event is written."""
        self.answering = None
        if self.ending:
            return
        request, keep = self._keep
        del self._keep
        self._release(len(request.body))
        self.since = time.monotonic()
        self._app.answered(request.path, request.method, writer.result().status)
        if request.seen is not None:
            request.seen.streamed = writer.written
            self._observed(request, request.seen, writer.result())
        if keep:
            self._next()
        else:
            self._close()

    def _observed(self, request: Request, seen: Observation, answer: Answer | None) -> None:
        for each in self._listener.observers:
            each.answered(request, seen, answer)

    def _gone(self, request: Request) -> None:
        """Its caller did not wait for the answer."""
        self._app.answered(request.path, request.method, GONE)
        if request.seen is not None:
            self._observed(request, request.seen, None)

    def _refuse(self, answer: Answer) -> None:
        """Says why, and closes: what else comes is not read. First only our half, so that the caller gets to read it."""
        self.ending, self.since, self._refused = True, time.monotonic(), answer
        request, came = self._of, self._body
        assert request is not None  # who refuses says what
        self._clear()
        self._release(self._held)
        status, body, kind, headers, _ = answer
        headers += caller.lines(request.headers)
        if self._listener.cors is not None:
            headers += self._listener.cors.lines(request.headers)
        self.transport.write(
            b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n%b"
            % (STATUS[status], self._listener.date, kind, len(body), headers, CLOSE, body)
        )
        self._app.answered(request.path, request.method, status)
        if request.seen is not None:
            request.seen.size = came
            self._observed(request, request.seen, answer)
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    # ------------------------------------------------------------------------------------------ time

    def look(self, now: float) -> None:
        """Ends what takes too long."""
        limits = self._listener.limits
        waited = now - self.since
        if self._stuck is not None:
            left = self.transport.get_write_buffer_size()
            if left < self._left:
                self._stuck, self._left = now, left
            elif now - self._stuck > limits.write:
                self.transport.abort()
        elif self.answering is not None:
            return
        elif self.ending:
            if waited > (limits.write if self._refused is None else LINGER):
                self.transport.abort()
        elif self._reading and waited > limits.read:
            self._refuse(self._refusal(408, f"a request must come within {limits.read:g} s."))
        elif not self._reading and waited > (limits.idle if self.asked else limits.read):
            self._close()

    def idleness(self, before: float) -> int:
        """The order in which it is dropped: 1 for one that never asked, 2 between requests, 3 for one whose head began before
        a moment and has not come; 0 for never.
        """
        if self.ending or self._owes():
            return 0
        if not self._reading:
            return 2 if self.asked else 1
        return 3 if not self._headed and self.since <= before else 0

    def drop(self) -> None:
        """Makes room for another one."""
        self.ending = True
        self._listener.admission.lost(self)
        self.transport.abort()

    def drained(self) -> None:
        """Closes a connection on which nothing is asked."""
        if not self._reading and not self._owes() and not self.ending:
            self._close()

    def _close(self) -> None:
        self.ending, self.since = True, time.monotonic()
        self.transport.close()
