"""A local model as a process of its own, for the length of a block."""

from __future__ import annotations

import http.client
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from headrace.core.errors import UnavailableError
from headrace.core.processes import PIPE, environment, module, start
from headrace.core.shutdown import stop_all
from headrace.llm.local.weights import find_model, need_libraries

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import IO

    from headrace.core.processes import Process

LAST = 2000  # characters of what a process said that are shown


@dataclass(frozen=True, kw_only=True)
class LocalEndpoint:
    """A model that is served.

    Attributes:
        base_url: what OpenAI's clients call `base_url`.
        model: its name.
        process: that serves it.
    """

    base_url: str
    model: str
    process: Process


@contextmanager
def running(
    model: str = "smollm2",
    *,
    threads: int | None = None,
    queue: int = 16,
    within: float = 300,
) -> Generator[LocalEndpoint]:
    """Serves a model on a free port of this machine until the block ends; if this process dies, so does that one.

    Args:
        model: `"smollm2"`, or the folder of a model.
        threads: of PyTorch; defaults to the number of cores.
        queue: how many requests may wait.
        within: seconds in which it has to be ready.

    Raises:
        NotFoundError: there is no such model.
        MissingExtraError: PyTorch, aiohttp or what reads its files is not installed.
        UnavailableError: it did not start, or not in time.
    """
    files = find_model(model)
    need_libraries(files)
    options = ["--model", model, "--port", "0", "--queue", str(queue), "--while-stdin-is-open"]
    options += ["--threads", str(threads)] if threads else []
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        process = start(
            module("headrace.llm.local", *options),
            env=environment(PYTHONUNBUFFERED="1"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
        )
        try:
            address = _address(process, Path(folder) / "log")
            _wait(process, address, Path(folder) / "log", time.monotonic() + within)
            yield LocalEndpoint(base_url=f"http://{address}/v1", model=files.name, process=process)
        finally:
            stop_all([process], within=10)
            for stream in (process.stdin, process.stdout):
                cast("IO[bytes]", stream).close()


def _address(process: Process, log: Path) -> str:
    line = cast("IO[bytes]", process.stdout).readline().decode()
    if not line.startswith("listening on http://"):
        process.wait()
        raise _not_started(log)
    return line.removeprefix("listening on http://").strip()


def _wait(process: Process, address: str, log: Path, until: float) -> None:
    while not _ready(address):
        if process.poll() is not None:
            raise _not_started(log)
        if time.monotonic() > until:
            raise UnavailableError("the local model was not loaded in time.", hint="Allow it more seconds: within=….")
        time.sleep(0.1)


def _ready(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _not_started(log: Path) -> UnavailableError:
    return UnavailableError("the local model did not start.", hint=log.read_text(errors="replace")[-LAST:].strip())
