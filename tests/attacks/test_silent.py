"""Connections that say nothing, or little, lock nobody out of a server; health is told whatever they do."""

import contextlib
import socket
import time

import pytest
from tests.serving.conftest import serving

MOST, PATIENCE = 40, 2.0
SILENT = 300
ARGUMENTS = ("--connections", MOST, "--patience", PATIENCE)
TRICKLES = {"silent": b"", "first line": b"GET /he", "headers": b"GET /health HTTP/1.1\r\nhost: x\r\nx-a: "}


@pytest.fixture
def server(tmp_path):
    """One that has nothing to serve yet: who gets through is told so."""
    with serving(tmp_path, wait=False, arguments=ARGUMENTS) as started:
        started.wait(lambda status, _: status == 503)
        yield started


def connect(server, sent):
    caller = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    caller.sendall(sent)
    return caller


@pytest.mark.parametrize("sent", TRICKLES.values(), ids=TRICKLES)
def test_hundreds_that_say_nothing_lock_nobody_out(server, sent):
    with contextlib.ExitStack() as held:
        for _ in range(SILENT):
            with contextlib.suppress(ConnectionError):
                held.enter_context(connect(server, sent))
        began = time.monotonic()
        assert server.ask("/health")[0] == 200
        assert server.ask("/ready")[0] == 503
        assert time.monotonic() - began < PATIENCE
        if sent:
            time.sleep(1.1)  # a head that has begun is given a second
        status, answer, _ = server.ask("/predict", {"rows": [{}]})
        assert status == 503
        assert "connections are open" not in answer["message"]


def test_one_that_says_nothing_is_closed(server):
    began = time.monotonic()
    with connect(server, b"") as caller:
        assert caller.recv(1) == b""
    assert PATIENCE - 0.1 < time.monotonic() - began < PATIENCE + 3
