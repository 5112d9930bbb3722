"""A listener without an app, and callers who speak to it in bytes."""

import asyncio
import contextlib
import socket
import threading
import time
from urllib.parse import parse_qs

import uvloop

from headrace.serving.limits import ConnectionLimits
from headrace.serving.listener import Listener
from headrace.serving.messages import Answer, refusal
from headrace.serving.routes import KNOWN

QUICK = ConnectionLimits(body=10_000, head=4_000, connections=20, read=0.6, idle=0.9, write=0.8)


class Echo:
    """Says what it was asked; `?wait=` seconds later, `?size=` bytes long. Nobody is let in at `/no`."""

    def __init__(self):
        self.seen = []
        self.gone = 0
        self.counted = []

    def admit(self, request):
        request.predicts = request.path != "/told"
        return refusal(401, "no") if request.path == "/no" else None

    def answer(self, request):
        self.seen.append((request.method, request.path, request.body, request.headers))
        asked = {name: float(values[0]) for name, values in parse_qs(request.query).items()}
        body = b"x" * int(asked["size"]) if "size" in asked else b"%b %d" % (request.path.encode(), len(request.body))
        if "wait" not in asked:
            return Answer(200, body, b"text/plain")
        return asyncio.get_running_loop().create_task(self._later(asked["wait"], body))

    def answered(self, path, method, status):
        self.counted.append((path, method, status))

    def refusal(self, path, status, message):
        return KNOWN.refusal(path, status, message)

    def vital(self, path):
        return path == "/health"

    async def _later(self, seconds, body):
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.gone += 1
            raise
        return Answer(200, body, b"text/plain")


class Listening:
    """A listener in a thread of its own."""

    def __init__(self):
        self.echo = Echo()
        self.listener = Listener(self.echo, QUICK)
        self.loop = uvloop.new_event_loop()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.call(self.listener.start("127.0.0.1", self.port))

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def end(self, within=0.0):
        drained = self.call(self.listener.stop(within=within))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        return drained


@contextlib.contextmanager
def connected(server, *sent, **options):
    """A connection on which parts are sent, one after the other."""
    with socket.socket() as caller:
        for option, value in options.items():
            caller.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
        caller.settimeout(10)
        caller.connect(("127.0.0.1", server.port))
        for part in sent:
            caller.sendall(part)
        yield caller


def all_of(caller):
    """What comes until the server closes."""
    read = b""
    with contextlib.suppress(ConnectionResetError):
        while part := caller.recv(65536):
            read += part
    return read


def told(server, *sent):
    """What comes back until the server closes."""
    with connected(server, *sent) as caller:
        return all_of(caller)


def exactly(caller, size):
    """That many bytes, and a failure where the server closes before: reading on would never end."""
    read = bytearray()
    while len(read) < size:
        part = caller.recv(size - len(read))
        assert part, bytes(read[-1_000:])
        read += part
    return bytes(read)


def until_blank(caller):
    """What comes up to a blank line, with it."""
    read = b""
    while not read.endswith(b"\r\n\r\n"):
        read += exactly(caller, 1)
    return read


def one(caller):
    """The next answer: status, headers in small letters, body."""
    status, headers = head_of(until_blank(caller))
    return status, headers, exactly(caller, int(headers["content-length"]))


def head_of(read):
    first, *lines = read.split(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines)


def until(what, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("not in time")
