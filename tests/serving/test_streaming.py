"""Answers that stream: events over real sockets."""

import asyncio
from dataclasses import replace

import pytest
from tests.serving.listening import QUICK, connected, exactly, one, until

from headrace.serving.messages import Answer, Event

GET = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
LARGE = b"x" * 20_000


class Streams:
    """Streams as its path says, beside what Echo does."""

    def __init__(self, echo):
        self.made = self.closed = 0
        self.before = echo.answer
        echo.answer = self.answer

    def answer(self, request):
        if not request.path.startswith("/stream"):
            return self.before(request)
        return Answer(200, b"", events=self.events(request.path.removeprefix("/stream/")))

    async def events(self, what):
        try:
            if what == "quiet":
                await asyncio.sleep(0.5)
            for place in range(1500 if what == "large" else 3):
                self.made += 1
                yield Event(LARGE if what == "large" else b"line %d\nmore" % place, "tick" if what == "named" else "")
                if what == "error":
                    raise ValueError("secret")
                if what == "slow":
                    await asyncio.sleep(60)
        finally:
            self.closed += 1


@pytest.fixture
def streams(listening):
    return Streams(listening.echo)


def read(caller):
    """An answer that streams: its head, and its events without the framing. Nothing of what was asked behind it is read."""
    got, text = bytearray(), bytearray()

    def line():
        while b"\r\n" not in got:
            got.extend(exactly(caller, 1))
        found = bytes(got[: got.index(b"\r\n")])
        del got[: len(found) + 2]
        return found

    head = []
    while head[-1:] != [b""]:
        head.append(line())
    while size := int(line(), 16):
        text.extend(exactly(caller, size + 2)[:-2])
    line()
    return b"\n".join(head), bytes(text)


def test_events_come_as_they_are_specified_and_the_connection_is_kept(listening, streams):
    with connected(listening, GET % b"/stream/named", GET % b"/a") as caller:
        head, text = read(caller)
        assert b"content-type: text/event-stream" in head
        assert b"content-length" not in head
        assert text == b"".join(b"event: tick\ndata: line %d\ndata: more\n\n" % place for place in range(3))
        assert one(caller)[2] == b"/a 0"
    until(lambda: [each[2] for each in listening.echo.counted] == [200, 200])
    assert streams.closed == 1


def test_a_caller_of_http_1_0_reads_until_the_end(listening, streams):
    with connected(listening, b"POST /stream/a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n") as caller:
        got = b""
        while part := caller.recv(65536):
            got += part
    assert b"chunked" not in got
    assert got.endswith(b"data: line 2\ndata: more\n\n")


def test_an_error_in_the_middle_says_nothing_of_itself_and_ends_the_stream(listening, streams):
    with connected(listening, GET % b"/stream/error") as caller:
        _, text = read(caller)
    assert text.count(b"\n\n") == 2
    assert b'event: error\ndata: {"error_code"' in text
    assert b"secret" not in text
    assert streams.closed == 1


def test_silence_is_broken_by_a_comment(listening, streams):
    listening.listener.limits = replace(QUICK, heartbeat=0.1)
    with connected(listening, GET % b"/stream/quiet") as caller:
        _, text = read(caller)
    assert text.startswith(b":\n\n:\n\n")
    assert text.endswith(b"line 2\ndata: more\n\n")


def test_a_reader_that_leaves_closes_the_events(listening, streams):
    with connected(listening, GET % b"/stream/slow") as caller:
        until(lambda: streams.made == 1)
        caller.recv(100)
    until(lambda: streams.closed == 1)
    until(lambda: listening.echo.counted == [("/stream/slow", "POST", 499)])
    assert listening.listener.held == 0


def test_a_slow_reader_holds_the_events_and_not_memory(listening, streams):
    listening.listener.limits = replace(QUICK, write=30.0)
    with connected(listening, GET % b"/stream/large", SO_RCVBUF=8192) as caller:
        until(lambda: any(each.transport.get_write_buffer_size() > 65536 for each in listening.listener.connections))
        assert 0 < streams.made < 1000
        (connection,) = listening.listener.connections
        assert connection.transport.get_write_buffer_size() < 200_000
        _, text = read(caller)
    assert text.count(b"\n\n") == 1500
    assert streams.closed == 1


def test_a_reader_that_takes_nothing_is_cut(listening, streams):
    with connected(listening, GET % b"/stream/large", SO_RCVBUF=8192):
        until(lambda: streams.closed == 1)


def test_a_server_that_stops_waits_for_the_last_event(listening, streams):
    with connected(listening, GET % b"/stream/quiet") as caller:
        until(lambda: listening.listener.connections and next(iter(listening.listener.connections)).answering)
        assert listening.end(within=10.0)
        assert read(caller)[1].endswith(b"line 2\ndata: more\n\n")


def test_a_server_that_stops_does_not_wait_for_ever(listening, streams):
    with connected(listening, GET % b"/stream/slow"):
        until(lambda: streams.made == 1)
        assert not listening.end(within=0.2)
    assert streams.closed == 1
