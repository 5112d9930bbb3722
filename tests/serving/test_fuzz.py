"""Valid requests with bytes and values changed at random: whatever comes, it is no 5xx, and the server stays as it was."""

import json
import os
import random
import re
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.serving.conftest import serving
from tests.serving.test_malformed import FORMATS, KEYED, NAMES, ROW

SECONDS = 4.0
SEED = int(os.environ.get("HEADRACE_FUZZ", "20240615"))
ODD = [
    *(None, True, 0, -1, 1.5, -0.0, 2**63, 2**64, 1e308, 5e-324, "", "x", "é", "\x00", "s1", "2024-01-01", "9" * 400),
    *([], {}, [None], [[]], {"": None}, "9999-12-31T23:59:59.999999+23:59", "0001-01-01T00:00:00Z", *NAMES, *KEYED),
]
CUTS = [
    b"\r\n",
    b"\r\n\r\n",
    b":",
    b" ",
    b"\x00",
    b"\xff",
    b"chunked",
    b"0\r\n\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b"-",
    b"1e999",
]


@pytest.fixture
def attacked(live):
    """The server, which must be as well afterwards as it was before."""
    before = live.ask("/invocations", {"instances": [list(ROW.values())]})[1]
    sockets = _sockets(live)
    yield live
    assert live.process.poll() is None
    assert live.ask("/invocations", {"instances": [list(ROW.values())]})[1] == before
    end = time.monotonic() + 10
    while _sockets(live) > sockets:
        assert time.monotonic() < end, "sockets are left"
        time.sleep(0.05)


def _sockets(server):
    found = 0
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(OSError):
            found += str(link.readlink()).startswith("socket:")
    return found


def bodies():
    """Valid ones: path, content type, body."""
    for written in FORMATS:
        path, body = written([ROW, {**ROW, "kind": None}])
        kind = b"text/csv" if isinstance(body, bytes) else b"application/json"
        yield path, kind, body
    yield "/predict", b"application/json", {"rows": [KEYED, {**KEYED, "ride": 8}], "features": True}


def request(path, kind, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: %b\r\n" % (path.encode(), kind)
    return head + b"content-length: %d\r\n\r\n" % len(data) + data


def chunked(path, kind, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % (
        path.encode(),
        kind,
    )
    parts = [data[place : place + 40] for place in range(0, len(data), 40)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def changed(chance, given):
    """Bytes cut out, put in, doubled, swapped, or overwritten."""
    data = bytearray(given)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice((1, 2, 8, 60)))
        how = chance.randrange(5)
        if how == 0:
            del data[at:to]
        elif how == 1:
            data[at:at] = chance.choice(CUTS)
        elif how == 2:
            data[at:at] = data[at:to] * chance.choice((1, 3, 50))
        elif how == 3:
            data[at:to] = bytes(chance.randrange(256) for _ in range(to - at))
        elif at < len(data):
            data[at] ^= 1 << chance.randrange(8)
    return bytes(data)


def twisted(chance, value):
    """JSON with values, names and nesting changed."""
    if chance.random() < 0.15:
        return chance.choice(ODD)
    if isinstance(value, dict):
        pairs = [(name, twisted(chance, each)) for name, each in value.items() if chance.random() > 0.03]
        if chance.random() < 0.05:
            pairs.append((str(chance.choice(ODD)), chance.choice(ODD)))
        return dict(pairs)
    if isinstance(value, list):
        items = [twisted(chance, each) for each in value if chance.random() > 0.03]
        return items * 2 if chance.random() < 0.03 else items
    return value


def statuses(server, sent):
    """Of the answers to what is sent on a connection, which is closed after it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as caller:
        read = b""
        with suppress(ConnectionResetError, BrokenPipeError):
            caller.sendall(sent)
            caller.shutdown(socket.SHUT_WR)
            while part := caller.recv(65536):
                read += part
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", read)], read


def test_bytes_of_requests(attacked):
    chance, end, count = random.Random(SEED), time.monotonic() + SECONDS, 0
    valid = [way(*each) for each in bodies() for way in (request, chunked)]
    seen = set()
    while time.monotonic() < end:
        sent = b"".join(changed(chance, chance.choice(valid)) for _ in range(chance.choice((1, 1, 3))))
        found, read = statuses(attacked, sent)
        assert all(status < 500 for status in found), (sent, read)
        seen.update(found)
        count += 1
    assert count > 200
    assert {200, 400} <= seen


def test_values_of_bodies(attacked):
    chance, end, count = random.Random(SEED), time.monotonic() + SECONDS, 0
    valid = [each for each in bodies() if not isinstance(each[2], bytes)]
    seen = set()
    while time.monotonic() < end:
        asked = [(path, kind, twisted(chance, body)) for path, kind, body in chance.choices(valid, k=5)]
        found, read = statuses(attacked, b"".join(request(*each) for each in asked))
        assert len(found) == 5, (asked, read)
        assert set(found) <= {200, 400}, (asked, read)
        assert str(attacked.root).encode() not in read
        seen.update(found)
        count += 5
    assert count > 500
    assert seen == {200, 400}


def test_nothing_that_was_answered_is_unreadable_in_the_log(home):
    """What strangers made the server log must not stop whoever reads it."""
    from tests.serving.test_server import logged

    chance = random.Random(SEED)
    valid = [each for each in bodies() if not isinstance(each[2], bytes)]
    with serving(home) as server:
        answered = 0
        for _ in range(100):
            asked = [(path, kind, twisted(chance, body)) for path, kind, body in chance.choices(valid, k=5)]
            answered += statuses(server, b"".join(request(*each) for each in asked))[0].count(200)
        assert server.end()[0] == 0
    assert len(logged(home)) == answered > 0
