"""The processes that the assistant's demo needs beside it: endpoints of language models, and servers of a deployed model.

They end with the demo, also where it dies of SIGKILL: an endpoint sees the end of its standard input, whose other end the demo
holds, and a server looks after the process that started it. A demo that is started again waits until their ports are free.
"""

from __future__ import annotations

import http.client
import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from headrace.core import processes
from headrace.core.errors import UnavailableError
from headrace.core.shutdown import stop_all

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path
    from typing import IO

LAST = 2_000  # characters of what a process said that are shown
WITH_US = "--while-stdin-is-open"
LEAVING = 60  # seconds in which what an earlier demo left has ended: a server first answers what it was asked


@contextmanager
def endpoint(port: int, model: str, reply: str, log: Path) -> Generator[None]:
    """A deterministic endpoint that speaks OpenAI's protocol.

    Args:
        port: of this machine.
        model: that it says it has.
        reply: `package.module:function` that answers.
        log: a file for what it says.
    """
    command = ["--port", str(port), "--model", model, "--reply", reply, WITH_US]
    with _running(processes.module("headrace.testing.llm_endpoint", *command), port, "/health", log):
        yield


@contextmanager
def local_model(port: int, log: Path) -> Generator[None]:
    """SmolLM2 on this machine."""
    command = processes.module("headrace.llm.local", "--model", "smollm2", "--port", str(port), WITH_US)
    with _running(command, port, "/health", log):
        yield


@contextmanager
def server(folder: Path, env: str, model: str, port: int, log: Path) -> Generator[None]:
    """`headrace serve` of a model, as a user starts it."""
    options = ["--env", env, "--port", str(port), "--parent", str(os.getpid())]
    command = processes.module("headrace.cli", "serve", model, *options)
    with _running(command, port, "/ready", log, folder=folder):
        yield


@contextmanager
def _running(
    command: Sequence[str], port: int, path: str, log: Path, *, folder: Path | None = None, within: float = 240
) -> Generator[None]:
    _wait_until_free(port)
    with log.open("wb") as said:
        process = processes.start(
            command, cwd=folder, env=processes.environment(), stdin=processes.PIPE, stdout=said, stderr=said
        )
        try:
            until = time.monotonic() + within
            while not _answers(port, path):
                if process.poll() is not None or time.monotonic() > until:
                    told = log.read_text(encoding="utf-8", errors="replace")[-LAST:].strip()
                    raise UnavailableError(f"`{' '.join(command[1:5])} …` does not answer at port {port}.", hint=told)
                time.sleep(0.05)
            yield
        finally:
            stop_all([process], within=10)
            cast("IO[bytes]", process.stdin).close()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _wait_until_free(port: int) -> None:
    """Waits until nobody listens at a port: what an earlier demo left there would answer in place of ours, and then be gone."""
    until = time.monotonic() + LEAVING
    while _taken(port):
        if time.monotonic() > until:
            raise UnavailableError(
                f"something listens at port {port} of this machine, which this demo's project uses.",
                hint="End it, or start over in a folder of its own: headrace demo llm --dir DIR.",
            )
        time.sleep(0.1)


def _taken(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
