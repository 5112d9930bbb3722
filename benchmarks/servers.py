"""Model servers as benchmarks start, load and weigh them: theirs, ours, and a constant answer as the limit."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Server:
    """One that runs.

    Attributes:
        cold_s: from its start to its first answer with 200.
    """

    pid: int
    port: int
    path: str
    cold_s: float


@contextmanager
def started(command: Sequence[str], path: str, body: bytes, *, env: dict[str, str], cwd: Path) -> Iterator[Server]:
    """Starts a server, waits for its first answer, and kills it with all that it started. `<port>` stands for it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    settings["PATH"] = f"{Path(command[0]).parent}:{settings['PATH']}"
    arguments = [each.replace("<port>", str(port)) for each in command]
    began = time.perf_counter()
    process = subprocess.Popen(
        arguments, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=cwd
    )
    try:
        _first_answer(f"http://127.0.0.1:{port}{path}", body, process)
        yield Server(pid=process.pid, port=port, path=path, cold_s=time.perf_counter() - began)
    finally:
        for pid in family(process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()


def _first_answer(url: str, body: bytes, process: subprocess.Popen[bytes]) -> None:
    for _ in range(30_000):
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        try:
            post(url, body)
        except OSError:
            time.sleep(0.004)
        else:
            return
    raise SystemExit(f"{process.args} did not answer for two minutes")


def post(url: str, body: bytes) -> bytes:
    """One answer."""
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


# ---------------------------------------------------------------------------------------------- the load


def load(port: int, path: str, bodies: Sequence[bytes], seconds: float, connections: int) -> dict[str, float]:
    """Keeps every connection busy, with the bodies in turn, and says how long answers took. For a process of its own."""
    asked = [
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
        for body in bodies
    ]
    taken: list[float] = []
    wrong = broken = 0

    async def one(until: float, place: int) -> None:
        nonlocal broken
        while time.perf_counter() < until:
            try:
                await connected(until, place)
            except (ConnectionError, asyncio.IncompleteReadError):  # the server has closed it
                broken += 1

    async def connected(until: float, place: int) -> None:
        nonlocal wrong
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            place += 1
            began = time.perf_counter()
            writer.write(asked[place % len(asked)])
            head = await reader.readuntil(b"\r\n\r\n")
            wrong += not head.startswith(b"HTTP/1.1 200")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if lengths:
                await reader.readexactly(int(lengths[0].split(b":")[1]))
            else:
                await reader.readuntil(b"\r\n0\r\n\r\n")  # in chunks
            taken.append(time.perf_counter() - began)
        writer.close()

    async def run() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(one(until, place) for place in range(connections)))

    asyncio.run(run())
    taken.sort()
    at = lambda share: taken[min(int(share * len(taken)), len(taken) - 1)] * 1000  # noqa: E731
    return {"requests": len(taken), "wrong": wrong, "broken": broken, "p50_ms": at(0.5), "p99_ms": at(0.99)}


def measure(server: Server, bodies: Path, *, seconds: float, connections: int) -> dict[str, float]:
    """The server's CPU time for each request, over all of its processes, after it was warmed by a short load.

    Args:
        bodies: a file with one body a line.
    """
    command = [sys.executable, __file__, str(server.port), server.path, str(bodies), "", str(connections)]
    for warming in (True, False):
        command[-2] = "0.3" if warming else str(seconds)
        before = cpu(server.pid)
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    if told["broken"]:
        print(f"{server.path}: {told['broken']:.0f} connections were closed by the server", file=sys.stderr)
    if told["wrong"]:
        raise SystemExit(f"{told['wrong']} answers of {server.path} were no 200")
    spent = cpu(server.pid) - before
    return {
        "cpu_us": spent / told["requests"] * 1e6,
        "rps": told["requests"] / seconds,
        "p50_ms": told["p50_ms"],
        "p99_ms": told["p99_ms"],
    }


def family(pid: int) -> list[int]:
    """A process and all that it started and that still lives."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu(pid: int) -> float:
    """Seconds of a process and its living children."""
    total = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def memory(pid: int) -> float:
    """MB in RAM, shared pages counted once over the family."""
    total = 0
    for each in family(pid):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


# ---------------------------------------------------------------------------------------------- the limit


def constant(kind: str, port: int) -> None:
    """A constant answer: `ours`, from the connection that our server has; `granian`, from the fastest one of others."""
    import uvloop

    said = b'{"predictions":[{"probability":0.5}]}'

    async def ours() -> None:
        from headrace.serving.limits import ConnectionLimits
        from headrace.serving.listener import Listener
        from headrace.serving.messages import Answer

        class App:
            def admit(self, request: object) -> None:
                del request

            def answer(self, request: object) -> Answer:
                del request
                return Answer(200, said)

            def answered(self, path: str, method: str, status: int) -> None:
                del path, method, status

        await Listener(App(), ConnectionLimits()).start("127.0.0.1", port)
        await asyncio.Event().wait()

    async def granian() -> None:
        from granian.constants import Interfaces
        from granian.server.embed import Server as Granian

        class App:
            async def __rsgi__(self, scope: object, proto: object) -> None:
                del scope
                await proto()
                proto.response_bytes(200, [("content-type", "application/json")], said)

        await Granian(App(), port=port, interface=Interfaces.RSGI, log_enabled=False, websockets=False).serve()

    uvloop.run(ours() if kind == "ours" else granian())


if __name__ == "__main__":
    if sys.argv[1] == "constant":
        constant(sys.argv[2], int(sys.argv[3]))
    else:
        where, asked_path, file, duration, at_once = sys.argv[1:]
        lines = Path(file).read_bytes().splitlines()
        print(json.dumps(load(int(where), asked_path, lines, float(duration), int(at_once))))
