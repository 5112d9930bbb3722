"""Tens of thousands of requests of all sizes, of ordinary and of hostile callers: neither memory nor descriptors grow."""

import gzip
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

from tests.serving.conftest import manifest, serving
from tests.serving.test_fuzz import KEYED, ROW, request

ROUNDS = 40  # of about 600 requests
MOST = 6.0  # MB


def memory(server):
    """MB that are this process's own."""
    lines = Path(f"/proc/{server.process.pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def descriptors(server):
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def asked(rows):
    return request("/invocations", b"application/json", {"instances": [list(ROW.values())] * rows})


SMALL = [
    *[asked(1)] * 12,
    *[asked(7)] * 4,
    request("/predict", b"application/json", {"rows": [KEYED] * 3, "features": True}),
    request("/invocations", b"application/json", {"instances": [["x" * 5000, "no", 1, 1]]}),
    request("/nowhere", b"application/json", {}),
    b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
]
LARGE = [asked(300), asked(2000), request("/invocations", b"application/json", {"instances": "x" * 300_000})]
BOMB = gzip.compress(b" " * 40_000_000)
UPLOAD = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 16000000\r\n\r\n" + b" " * 15_000_000
BAD = [
    b"nonsense\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b"
    % (len(BOMB), BOMB),
    b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n" + b"a" * 70_000,
]


def answers(caller, count):
    """Reads so many answers."""
    with caller.makefile("rb") as read:
        for _ in range(count):
            length = 0
            while (line := read.readline()) != b"\r\n":
                assert line
                if line.startswith(b"content-length"):
                    length = int(line.split()[1])
            read.read(length)


def storm(server):
    """One round: pipelines on one connection, large ones, bad ones, and callers that hang up in the middle."""
    done = 0
    for _ in range(14):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as caller:
            caller.sendall(b"".join(SMALL * 2))
            answers(caller, len(SMALL) * 2)
        done += len(SMALL) * 2
    for each in LARGE:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as caller:
            caller.sendall(each)
            answers(caller, 1)
    for each in BAD:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as caller, suppress(OSError):
            caller.sendall(each)
            answers(caller, 1)
    for each in (LARGE[1], LARGE[1][:30_000], SMALL[0][:50], LARGE[2][:-1], b"", UPLOAD):
        caller = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a farewell
        with suppress(OSError):
            caller.sendall(each)
        caller.close()
    return done + len(LARGE) + len(BAD) + 6


def test_neither_memory_nor_descriptors_grow(home):
    manifest(home, log="required", max_log=2**32)
    with serving(home) as server:

        def storms(count):
            done.append(sum(storm(server) for _ in range(count)))

        def together(count):
            threads = [threading.Thread(target=storms, args=(count // 2,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        done = []
        together(10)  # warm
        before, opened = memory(server), descriptors(server)
        together(ROUNDS)
        after = memory(server)
        assert sum(done[2:]) > 20_000
        assert after - before < MOST, f"{before:.1f} MB, and {after:.1f} after {sum(done[2:])} requests"
        for _ in range(100):
            if descriptors(server) <= opened:
                break
            server.ask("/health")
        assert descriptors(server) <= opened
        assert server.ask("/ready")[1]["status"] == "ready"
        assert "Traceback" not in server.end()[1]
