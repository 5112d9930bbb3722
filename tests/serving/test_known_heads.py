"""A head that was parsed before says what it said: with and without that memory, connections do the same to the last byte."""

import random

import pytest

from headrace.serving.connection import Connection
from headrace.serving.known_heads import LONGEST, MOST, KnownHeads
from headrace.serving.limits import SMALL, ConnectionLimits
from headrace.serving.listener import Listener
from headrace.serving.messages import Request

from .listening import Echo

LIMITS = ConnectionLimits(body=200, head=900)


class Forgetful(KnownHeads):
    """Knows no head."""

    def find(self, data):
        return None


class Transport:
    def __init__(self):
        self.written, self.closed = b"", False

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True

    abort = close

    def can_write_eof(self):
        return False

    def pause_reading(self):
        pass

    resume_reading = pause_reading


def connect(heads, limits=LIMITS):
    echo = Echo()
    listener = Listener(echo, limits)
    listener.heads = heads
    connection, transport = Connection(listener), Transport()
    connection.connection_made(transport)
    return echo, listener, connection, transport


def post(path="/a", body=b"abc", *lines, length=None, version=b"1.1", host=b"host: x\r\n"):
    length = b"content-length: %d" % len(body) if length is None else length
    head = b"\r\n".join([b"POST %b HTTP/%b" % (path.encode(), version), *lines, length])
    return head + b"\r\n" + host + b"\r\n" + body


REQUESTS = [
    post(),
    post(body=b"xyz"),
    post(body=b"0123456789"),
    post("/b?x=1", b"abc", b"content-type: application/json"),
    post("http://h/b", b"abc"),
    post(body=b"\r\n\r\n"),
    post(body=b"a\r\n\r\nb\r\n\r\n"),
    post(body=b""),
    post(body=b"y" * 201),
    post(body=b"z" * 200),
    post("/no"),
    post("/no", b"q" * 100),
    post("/told", b"kept by nobody"),
    post("/a", b"abc", b"connection: close"),
    post("/a", b"abc", b"connection: keep-alive", version=b"1.0"),
    post("/a", b"abc", version=b"1.0", host=b""),
    post("/a", b"abc", host=b""),
    post("/a", b"abc", b"x-request-id: 7"),
    post("/a", b"abc", b"X-A: 1", b"x-a: 2"),
    post("/a", b"abc", b"content-encoding: gzip"),
    post("/a", b"abc", b"content-encoding: br"),
    post("/a", b"abc", b"expect: 100-continue"),
    post("/a", b"abc", b"origin: https://elsewhere"),
    post("/a", b"3\r\nabc\r\n0\r\n\r\n", length=b"transfer-encoding: chunked"),
    post("/a", b"abc", length=b"content-length: 03"),
    post("/a", b"abc", length=b"content-length: 3\r\ncontent-length: 3"),
    post("/a", b"abc", length=b"content-length: 3\r\ncontent-length: 4"),
    post("/a", b"", length=b"x: y"),
    post("/" + "p" * 600, b"abc"),
    post("/a", b"abc", b"x: " + b"h" * 950),
    post().replace(b"\r\n", b"\n"),
    b"\r\n" + post(),
    b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n",
    b"OPTIONS /a HTTP/1.1\r\nhost: x\r\norigin: https://elsewhere\r\naccess-control-request-method: POST\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"\x00\xff",
]


def pieces(draw):
    """Requests, mostly the first ones again and again, whole, in halves, or several in one piece."""
    for _ in range(draw.randint(1, 25)):
        some = b"".join(
            draw.choice(REQUESTS[: draw.choice((3, 5, len(REQUESTS)))]) for _ in range(draw.choice((1, 1, 1, 2, 3)))
        )
        if draw.random() < 0.2:
            at = draw.randint(0, len(some))
            yield from (part for part in (some[:at], some[at:]) if part)
        else:
            yield some


@pytest.mark.parametrize("seed", range(40))
def test_connections_answer_alike_with_and_without_known_heads(seed):
    draw, shared = random.Random(seed), KnownHeads()
    for _ in range(25):
        asked = list(pieces(draw))
        ours, theirs = connect(shared), connect(Forgetful())
        for piece in asked:
            ours[2].data_received(piece)
            theirs[2].data_received(piece)
            assert ours[1].held == theirs[1].held, asked
        assert ours[0].seen == theirs[0].seen, asked
        assert ours[0].counted == theirs[0].counted, asked
        assert (ours[3].written, ours[3].closed) == (theirs[3].written, theirs[3].closed), asked
        assert (ours[2].ending, ours[2].asked) == (theirs[2].ending, theirs[2].asked), asked


def test_a_request_whose_head_is_known_is_not_parsed():
    heads = KnownHeads()
    echo, _, connection, _ = connect(heads)
    connection.data_received(post())
    parsed = connection._parser
    connection._parser = None
    connection.data_received(post(body=b"xyz"))
    assert [each[2] for each in echo.seen] == [b"abc", b"xyz"]
    connection._parser = parsed
    connection.data_received(post(body=b"four"))
    assert echo.seen[-1][2] == b"four"


def test_headers_of_one_request_are_not_those_of_the_next():
    echo, _, connection, _ = connect(KnownHeads())
    for _ in range(3):
        connection.data_received(post())
        assert echo.seen[-1][3] == {b"host": b"x", b"content-length": b"3"}
        echo.seen[-1][3][b"authorization"] = b"Bearer of another"


def test_a_body_that_has_become_too_large_is_refused():
    heads = KnownHeads()
    _, listener, connection, transport = connect(heads)
    connection.data_received(post(body=b"a" * 100))
    listener.limits = ConnectionLimits(body=50, head=900)
    connection.data_received(post(body=b"a" * 100))
    assert transport.written.count(b"HTTP/1.1 200") == 1
    assert b"HTTP/1.1 413" in transport.written


def test_one_who_is_refused_now_is_refused_though_the_head_was_let_in_before():
    heads = KnownHeads()
    echo, listener, connection, transport = connect(heads)
    connection.data_received(post())
    listener.app.admit = lambda request: listener.app.refusal(request.path, 401, "your key was revoked")
    connection.data_received(post())
    assert [len(echo.seen), transport.written.count(b"HTTP/1.1 401")] == [1, 1]


def test_strangers_do_not_make_it_grow():
    heads = KnownHeads()
    for number in range(3 * MOST):
        request = Request("POST", f"/{number}", "", {b"content-length": b"3"}, b"abc")
        heads.keep(post(f"/{number}"), b"/", request)
    assert len(heads._known) <= MOST
    long = "/" + "p" * LONGEST
    heads.keep(post(long), b"/", Request("POST", long, "", {b"content-length": b"3"}, b"abc"))
    large = b"x" * (SMALL + 1)
    heads.keep(
        post("/large", large), b"/", Request("POST", "/large", "", {b"content-length": b"%d" % len(large)}, large)
    )
    assert not any(b"ppp" in known or b"/large" in known for known in heads._known)
