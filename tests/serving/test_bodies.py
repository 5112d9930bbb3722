"""Bodies of requests: who is not let in sends none, all that are kept are counted, and nothing of them outlives its caller."""

import gc
import json
import socket
import time
from contextlib import ExitStack, suppress

import pytest
from tests.serving.conftest import manifest, serving
from tests.serving.listening import connected, one, told, until
from tests.serving.test_server import ROW
from tests.serving.test_soak import memory

from headrace.serving.connection import Connection
from headrace.serving.limits import SMALL, ConnectionLimits

MB = 2**20
LARGE = ConnectionLimits(body=MB, read=20.0)


def head(path, length, more=""):
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{more}\r\n".encode()


@pytest.mark.parametrize("more", ["", "expect: 100-continue\r\n"])
def test_who_is_not_let_in_is_told_before_the_body(listening, more):
    listening.listener.limits = LARGE
    with connected(listening, head("/no", MB, more)) as caller:
        assert one(caller)[0] == 401
        assert caller.recv(1) == b""
    assert listening.echo.seen == []


def test_a_small_body_of_one_who_is_not_let_in_is_read_and_the_connection_kept(listening):
    with connected(listening, head("/no", 3) + b"abc" + head("/no", 2) + b"ab" + head("/a", 1) + b"a") as caller:
        assert [one(caller)[0] for _ in range(3)] == [401, 401, 200]
    assert [each[:3] for each in listening.echo.seen] == [("POST", "/a", b"a")]
    until(lambda: listening.listener.held == 0)


def test_a_chunked_body_of_one_who_is_not_let_in_is_not_waited_for(listening):
    assert b" 401 " in told(listening, b"POST /no HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc")


def test_the_body_of_what_asks_for_no_prediction_is_not_kept(listening):
    with connected(listening, head("/told", 4) + b"abcd") as caller:
        assert one(caller)[2] == b"/told 0"


def test_all_bodies_together_have_a_limit_and_small_ones_are_taken_beyond_it(listening):
    listening.listener.limits = LARGE
    with ExitStack() as open_:
        callers = [open_.enter_context(connected(listening, head("/a", MB), b" " * (MB - 1))) for _ in range(12)]
        until(lambda: listening.listener.held > 7 * MB)
        assert listening.listener.held <= LARGE.bodies
        with connected(listening, head("/a", SMALL), b" " * SMALL) as small:
            assert one(small)[0] == 200
        refused = 0
        for caller in callers:
            with suppress(OSError):
                caller.sendall(b" ")
                status, headers, _ = one(caller)
                refused += status == 503
                assert status == 200 or headers["retry-after"] == "1"
        assert 1 <= refused <= 5
    until(lambda: listening.listener.held == 0)


def test_what_waits_or_takes_long_is_counted_until_it_is_answered(listening):
    both = head("/a?wait=0.4", 300) + b"a" * 300 + head("/b", 200) + b"b" * 200
    with connected(listening, both) as caller:
        until(lambda: listening.listener.held == 500)
        assert [one(caller)[0], one(caller)[0]] == [200, 200]
    until(lambda: listening.listener.held == 0)


@pytest.mark.parametrize("chunk", [1, 7])
def test_a_body_in_tiny_chunks_takes_no_more_than_it_is(listening, chunk):
    listening.listener.limits = LARGE
    many = 100_000 // chunk
    parts = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + (
        b"%x\r\n%b\r\n" % (chunk, b"x" * chunk) * many
    )
    with connected(listening, parts) as caller:
        until(lambda: listening.listener.held == chunk * many)
        (kept,) = (each._kept for each in listening.listener.connections)
        assert len(kept) == chunk * many
        caller.sendall(b"0\r\n\r\n")
        assert one(caller)[2] == b"/a %d" % (chunk * many)


def test_nothing_of_a_caller_who_is_gone_waits_for_the_collector(listening):
    listening.listener.limits = LARGE

    def alive():
        return sum(issubclass(type(each), Connection) for each in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()
    try:
        for ask in (head("/a", MB), head("/a?wait=9", 5) + b"abcde", head("/no", MB), b"nonsense\r\n\r\n"):
            with connected(listening, ask, b" " * 1000):
                time.sleep(0.05)
        until(lambda: not listening.listener.connections and alive() <= before)
        assert listening.listener.held == 0
    finally:
        gc.enable()


def test_memory_stays_where_it_is_under_large_uploads_that_are_dropped(home):
    manifest(home, log="none")
    body = json.dumps({"instances": [list(ROW.values())] * 9_000}).encode()
    with serving(home) as server:

        def drop(many, size):
            callers = [socket.create_connection(("127.0.0.1", server.port), 60) for _ in range(many)]
            for caller in callers:
                with suppress(OSError):
                    caller.sendall(head("/invocations", 16 * MB))
                    caller.sendall(b" " * size)
            most = memory(server)
            for caller in callers:
                caller.close()
            return most

        for _ in range(3):
            assert server.ask("/invocations", body)[0] == 200
        drop(12, 15 * MB)
        began = memory(server)
        most = max(drop(12, 15 * MB) for _ in range(3))
        assert server.ask("/invocations", body)[0] == 200
        assert most - began < 8 * 16 + 50
        assert memory(server) - began < 50
