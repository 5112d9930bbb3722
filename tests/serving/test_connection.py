"""HTTP as strangers speak it: slowly, by halves, too much, and in shapes that two servers would read in two ways."""

import contextlib
import json
import re
import socket
import threading
import time

import pytest

from headrace.serving.admission import SPARE

from .listening import QUICK, all_of, connected, exactly, head_of, one, told, until, until_blank

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
SLOW = b"GET /a?wait=3 HTTP/1.1\r\nhost: x\r\n\r\n"


class TestReading:
    def test_a_request_may_come_byte_by_byte(self, listening):
        request = b"POST /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc"
        answer = told(listening, *(bytes([each]) for each in request))
        assert head_of(answer)[0] == 200
        assert answer.endswith(b"/a 3")
        assert listening.echo.seen[0][:3] == ("POST", "/a", b"abc")

    @pytest.mark.parametrize("begun", [b"GET /a", b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\na"])
    def test_one_that_trickles_is_told_when_its_time_is_up(self, listening, begun):
        began = time.monotonic()
        with connected(listening, begun) as caller:
            caller.settimeout(0.1)
            answer = b""
            while not answer and time.monotonic() < began + 5:
                with contextlib.suppress(TimeoutError):
                    answer = caller.recv(65536)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    caller.sendall(b"b" if b"POST" not in begun else b"")
        assert head_of(answer)[0] == 408
        assert QUICK.read < time.monotonic() - began < QUICK.read + 2
        assert not listening.echo.seen

    def test_one_that_asks_nothing_is_closed(self, listening):
        began = time.monotonic()
        assert told(listening) == b""
        assert told(listening, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").count(b"HTTP/1.1 200") == 1
        assert time.monotonic() - began < 2 * QUICK.idle + 3

    def test_chunks_are_put_together_and_what_follows_them_says_nothing_of_the_request(self, listening):
        head = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        answer = told(listening, head, b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\n", b"authorization: Bearer x\r\n\r\n")
        assert head_of(answer)[0] == 200
        (_, _, body, headers) = listening.echo.seen[0]
        assert body == b"abcde"
        assert b"authorization" not in headers

    def test_a_body_is_asked_for_only_where_it_will_be_read(self, listening):
        head = b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
        with connected(listening, head % 3) as caller:
            assert caller.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            caller.sendall(b"abc")
            assert one(caller)[2] == b"/a 3"
        answer = told(listening, head % 20_000)
        assert head_of(answer)[0] == 413
        assert b"100 Continue" not in answer

    def test_names_that_come_twice_are_one_list(self, listening):
        told(listening, b"GET /a HTTP/1.1\r\nhost: x\r\nX-A: 1\r\nx-a: 2\r\nconnection: close\r\n\r\n")
        assert listening.echo.seen[0][3][b"x-a"] == b"1, 2"

    def test_another_protocol_that_is_offered_is_not_taken(self, listening):
        """As Java's client asks by default."""
        offer = b"host: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n"
        with connected(listening, b"POST /a HTTP/1.1\r\n", offer, b"content-length: 3\r\n\r\nabc") as caller:
            assert one(caller)[::2] == (200, b"/a 3")
            caller.sendall(b"GET /b HTTP/1.1\r\n" + offer + b"\r\n" + GET)
            assert one(caller)[::2] == (200, b"/b 0")
            assert one(caller)[::2] == (200, b"/a 0")
            caller.sendall((b"GET /c HTTP/1.1\r\n" + offer + b"\r\n") * 1500)  # a row of them is no recursion
            assert {one(caller)[::2] for _ in range(1500)} == {(200, b"/c 0")}

    def test_a_proxy_may_name_the_whole_address(self, listening):
        told(listening, b"GET http://x:80/a/b?size=3 HTTP/1.1\r\nhost: x:80\r\nconnection: close\r\n\r\n")
        assert listening.echo.seen[0][1] == "/a/b"


class TestAnswers:
    def test_what_is_asked_in_a_row_is_answered_in_order(self, listening):
        asked = [b"/%d?wait=%s" % (place, b"0.1" if place % 3 == 0 else b"0.01") for place in range(12)]
        asked[5] = b"/5"
        with connected(listening, b"".join(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path for path in asked)) as caller:
            answers = [one(caller) for _ in asked]
        assert [body for _, _, body in answers] == [b"/%d 0" % place for place in range(12)]

    def test_a_long_row_of_requests_is_answered(self, listening):
        with connected(listening) as caller:
            sending = threading.Thread(target=caller.sendall, args=(GET * 20_000,))
            sending.start()
            read = bytearray()
            while not read.endswith(b"/a 0") or read.count(b"/a 0") < 20_000:
                part = caller.recv(1 << 20)
                assert part, read[-1_000:]
                read += part
            sending.join()
        assert read.count(b"HTTP/1.1 200") == 20_000
        assert len(listening.echo.seen) == 20_000

    def test_what_cannot_be_read_is_refused_after_what_was_asked_before(self, listening):
        """Otherwise the refusal would be taken for the answer to the first request."""
        slow = b"GET /slow?wait=0.3 HTTP/1.1\r\nhost: x\r\n\r\n"
        answer = told(listening, slow + b"GET /b?wait=0.1 HTTP/1.1\r\nhost: x\r\n\r\n" + b"nonsense\r\n\r\n")
        assert [part[:3] for part in re.findall(rb"HTTP/1.1 (\d+)", answer)] == [b"200", b"200", b"400"]
        assert answer.index(b"/slow 0") < answer.index(b"/b 0") < answer.index(b" 400 ")

    def test_a_connection_is_kept_unless_one_side_says_otherwise(self, listening):
        with connected(listening, GET) as caller:
            status, headers, _ = one(caller)
            assert status == 200
            assert "connection" not in headers
            caller.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + GET)
            answer = all_of(caller)
        assert answer.count(b"HTTP/1.1 200") == 1
        assert head_of(answer)[1]["connection"] == "close"
        assert told(listening, b"GET /a HTTP/1.0\r\n\r\n").endswith(b"/a 0")

    def test_head_is_answered_without_a_body(self, listening):
        with connected(listening, b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n" + GET) as caller:
            status, headers = head_of(until_blank(caller))
            assert (status, headers["content-length"]) == (200, "4")
            assert one(caller)[2] == b"/a 0"

    def test_one_that_closes_its_half_gets_what_is_there_and_ends_what_takes_longer(self, listening):
        with connected(listening, b"GET /a?size=300000 HTTP/1.1\r\nhost: x\r\n\r\n") as caller:
            caller.shutdown(socket.SHUT_WR)
            assert len(all_of(caller)) > 300_000
        with connected(listening, b"GET /a?wait=60 HTTP/1.1\r\nhost: x\r\n\r\n") as caller:
            until(lambda: len(listening.echo.seen) == 2)
            caller.shutdown(socket.SHUT_WR)
            assert all_of(caller) == b""
        until(lambda: listening.echo.gone == 1)

    def test_one_that_does_not_read_is_ended(self, listening):
        with connected(listening, b"GET /a?size=30000000 HTTP/1.1\r\nhost: x\r\n\r\n", SO_RCVBUF=8192):
            until(lambda: listening.listener.connections)
            until(lambda: not listening.listener.connections, seconds=QUICK.write + 3)

    def test_one_that_does_not_read_the_last_answer_is_ended(self, listening):
        asked = b"GET /a?size=30000000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        with connected(listening, asked, SO_RCVBUF=8192):
            until(lambda: listening.listener.connections)
            until(lambda: not listening.listener.connections, seconds=QUICK.write + 3)

    @pytest.mark.parametrize("close", [b"", b"connection: close\r\n"])
    def test_one_that_reads_slowly_gets_all_of_it(self, listening, close):
        size = 8_000_000
        asked = b"GET /a?size=%d HTTP/1.1\r\nhost: x\r\n%b\r\n" % (size, close)
        with connected(listening, asked, SO_RCVBUF=65536) as caller:
            read, end = 0, time.monotonic() + 3 * QUICK.write
            while time.monotonic() < end:
                read += len(caller.recv(60_000))
                time.sleep(0.03)  # the slowness that is tested
            assert read < size / 2
            exactly(caller, size - read)

    def test_a_slow_answer_is_not_cut_because_it_took_long(self, listening):
        asked = b"GET /a?wait=2.5&size=5000000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        with connected(listening, asked, SO_RCVBUF=8192) as caller:
            first = caller.recv(1)
            time.sleep(0.4)  # longer than the listener's look at its connections
            assert len(first + all_of(caller)) > 5_000_000


class TestLimits:
    @pytest.mark.parametrize(
        "begun",
        [
            b"GET /a HTTP/1.1\r\nhost: x\r\nx-a: ",
            b"GET /",
            b"GET /a HTTP/1.1\r\nhost: x\r\nx",
            b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-a: ",
            b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;",
        ],
        ids=["value", "path", "name", "trailer", "extension"],
    )
    def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(self, listening, begun):
        with connected(listening, begun) as caller:
            sent, answer = 0, b""
            caller.settimeout(0.02)
            while not answer and sent < 2**20:
                with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
                    sent += caller.send(b"a" * 1000)
                    answer = caller.recv(65536)
        assert head_of(answer)[0] in (431, 400)
        assert sent <= 5 * QUICK.head
        assert not listening.echo.seen

    def test_many_headers_are_too_long_ahead_of(self, listening):
        many = b"".join(b"a%d:\r\n" % number for number in range(900))
        assert head_of(told(listening, b"GET /a HTTP/1.1\r\nhost: x\r\n", many, b"\r\n"))[0] == 431

    @pytest.mark.parametrize("way", ["length", "chunks"])
    def test_a_long_body_is_refused_before_it_has_come(self, listening, way):
        head = b"POST /a HTTP/1.1\r\nhost: x\r\n"
        if way == "length":
            asked = [head + b"content-length: 1000000000\r\n\r\n"]
        else:
            asked = [head + b"transfer-encoding: chunked\r\n\r\n", *[b"fa0\r\n" + b"a" * 4000 + b"\r\n"] * 3]
        began = time.monotonic()
        with connected(listening, *asked) as caller:
            status, headers, body = one(caller)
            assert time.monotonic() - began < 0.5
        assert (status, headers["connection"]) == (413, "close")
        assert b"10000 bytes" in body
        assert not listening.echo.seen

    def test_one_that_goes_on_sending_can_read_why_it_was_refused(self, listening):
        with connected(listening, b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n") as caller:
            caller.sendall(b"a" * 3_000_000)
            assert one(caller)[0] == 413

    def test_more_connections_than_allowed_are_told_so(self, listening):
        with contextlib.ExitStack() as held:
            busy = [held.enter_context(connected(listening, SLOW)) for _ in range(QUICK.connections)]
            until(lambda: len(listening.echo.seen) == QUICK.connections)
            status, headers = head_of(told(listening, GET))
            assert (status, headers["retry-after"]) == (503, "1")
            status, headers = head_of(told(listening, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"))
            assert (status, headers["connection"]) == (200, "close")
            assert one(busy[0])[0] == 200
            assert one(busy[-1])[0] == 200

    def test_who_says_nothing_or_little_makes_room_for_who_asks(self, listening):
        with contextlib.ExitStack() as held:
            idle = held.enter_context(connected(listening, GET))
            assert one(idle)[0] == 200
            silent = [held.enter_context(connected(listening)) for _ in range(QUICK.connections - 1)]
            until(lambda: len(listening.listener.connections) == QUICK.connections)
            with connected(listening, GET) as caller:
                assert one(caller)[0] == 200
                assert all_of(silent[0]) == b""  # the oldest; not the one that has asked before
                idle.sendall(GET)
                assert one(idle)[0] == 200
            assert len(listening.listener.connections) <= QUICK.connections

    def test_beyond_the_limit_health_is_told_whoever_holds_the_rest(self, listening):
        with contextlib.ExitStack() as held:
            for _ in range(QUICK.connections):
                held.enter_context(connected(listening, SLOW))
            until(lambda: len(listening.echo.seen) == QUICK.connections)
            for _ in range(SPARE + 30):
                held.enter_context(connected(listening))
            assert head_of(told(listening, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"))[0] == 200

    def test_one_that_never_says_anything_is_closed_sooner_than_one_between_requests(self, listening):
        with connected(listening, GET) as idle, connected(listening) as silent:
            began = time.monotonic()
            assert one(idle)[0] == 200
            assert all_of(silent) == b""
            assert QUICK.read - 0.1 < time.monotonic() - began < QUICK.idle + 0.5
            assert all_of(idle) == b""


CHUNKED = b"transfer-encoding: chunked\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 3\r\n" + CHUNKED,
        CHUNKED + b"content-length: 3\r\n",
        b"content-length: 3\r\ncontent-length: 4\r\n",
        b"content-length: 3, 3\r\n",
        b"content-length: +3\r\n",
        b"content-length: 0x3\r\n",
        b"content-length: -1\r\n",
        b"content-length: 99999999999999999999999\r\n",
        b"content-length : 3\r\n",
        b"transfer-encoding: gzip\r\n",
        b"transfer-encoding: chunked, gzip\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        b"transfer-encoding : chunked\r\n",
        b"x-a: 1\r\n continued\r\n",
        b"x-a: 1\nx-b: 2\r\n",
        b"x-a: 1\rx-b: 2\r\n",
        b"x-a: \x00\r\n",
        b"x(a): 1\r\n",
        b": 1\r\n",
        b"host: y\r\n",
    ],
)
def test_what_two_servers_could_read_in_two_ways_is_refused(listening, head):
    request = b"POST /a HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n"
    answer = told(listening, request + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n")
    assert head_of(answer)[0] == 400, answer
    assert len(re.findall(rb"HTTP/1.1 \d", answer)) == 1
    assert not listening.echo.seen


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/2.0\r\n\r\n",
        b"GET /a\r\n\r\n",
        b"get /a HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /a\x00b HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n",
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(listening, request_):
    answer = told(listening, request_)
    assert head_of(answer)[0] == 400, answer
    assert not listening.echo.seen


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"", b"gzip\r\ncontent-encoding: deflate"])
def test_a_body_that_is_compressed_otherwise_than_with_gzip_or_deflate_is_refused(listening, encoding):
    head = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-encoding: %b\r\ncontent-length: 3\r\n\r\nabc" % encoding
    assert head_of(told(listening, head))[0] == 415


@pytest.mark.parametrize(
    ("path", "shape"), [(b"/v2", {"error"}), (b"/v2/a", {"error"}), (b"/v2a", {"error_code", "message"})]
)
@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"content-length: 99999999999\r\n\r\n", 413),
        (b"content-encoding: br\r\ncontent-length: 1\r\n\r\na", 415),
        (b"x: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"host: y\r\n\r\n", 400),
    ],
)
def test_what_is_refused_before_the_app_has_the_shape_of_its_protocol(listening, path, shape, rest, status):
    answer = told(listening, b"POST %b HTTP/1.1\r\nhost: x\r\n%b" % (path, rest))
    assert head_of(answer)[0] == status
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == shape


def test_connect_is_an_answer_and_the_end(listening):
    answer = told(listening, b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n" + GET)
    assert answer.count(b"HTTP/1.1") == 1
    assert head_of(answer)[1]["connection"] == "close"


class TestDrain:
    def test_what_was_asked_is_answered_and_nobody_else_is_let_in(self, listening):
        slow = b"GET /%d?wait=%s HTTP/1.1\r\nhost: x\r\n\r\n"
        with connected(listening, slow % (1, b"0.6") + slow % (2, b"0.1")) as busy, connected(listening, GET) as idle:
            assert one(idle)[0] == 200
            until(lambda: len(listening.echo.seen) == 2)
            ending = threading.Thread(target=lambda: drained.append(listening.end(within=10)))
            drained = []
            ending.start()
            assert all_of(idle) == b""
            with pytest.raises(ConnectionRefusedError), connected(listening):
                pass
            assert one(busy)[2] == b"/1 0"
            status, headers, body = one(busy)
            assert (status, headers["connection"], body) == (200, "close", b"/2 0")
            assert all_of(busy) == b""
            ending.join()
        assert drained == [True]

    def test_what_takes_too_long_is_given_up(self, listening):
        with connected(listening, b"GET /a?wait=60 HTTP/1.1\r\nhost: x\r\n\r\n") as busy:
            until(lambda: listening.echo.seen)
            began = time.monotonic()
            assert listening.end(within=0.3) is False
            assert time.monotonic() - began < 3
            assert all_of(busy) == b""
