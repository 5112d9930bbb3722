"""Shadows: versions that get copies of the primary's requests, in separate processes, and whose answers are only logged.

The server passes copies of requests on without ever waiting: a request that a shadow does not accept is counted and
left out. A shadow that dies is restarted; it cannot slow or fail the server.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import orjson

from headrace.core import vault
from headrace.core.errors import HeadraceError
from headrace.core.processes import PIPE, module, start_beside
from headrace.scoring.spool import SpoolFullError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from headrace.serving.log import Log
    from headrace.serving.manifest import Manifest, Served
    from headrace.serving.messages import Request
    from headrace.serving.metrics import Counters
    from headrace.serving.routes import RouteTable
    from headrace.serving.traffic import ServedTraffic

HEAD = struct.Struct("<II")
HEADERS = ("content-type", "content-encoding", "inference-header-content-length")  # that say how a body is read
BEHIND = 4 * 2**20  # bytes that a shadow may be behind
AGAIN = 5.0  # seconds before a shadow that died is started again
LOOK = 0.5  # seconds
INTERVAL = 5.0  # seconds between two records of what a shadow did


class Shadows:
    """The shadows of a server."""

    def __init__(self, home: Path, served: Sequence[Served], counters: Counters) -> None:
        self.served = tuple(served)
        self._home, self._counters = home, counters
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._tasks = [asyncio.create_task(self._keep(each)) for each in self.served]

    def ask(self, request_id: str, request: Request) -> None:
        """Hands a request over."""
        head: bytes | None = None
        for served in self.served:
            if served.weight < 1 and not _asked(request_id, served):
                continue
            running = self._running.get(served.version)
            pipe = running.stdin if running is not None and running.returncode is None else None
            if pipe is None or pipe.is_closing() or pipe.transport.get_write_buffer_size() > BEHIND:
                self._counters.shadow_dropped += 1
                continue
            if head is None:
                headers = {name: request.headers.get(name.encode(), b"").decode("latin-1") for name in HEADERS}
                told = {"id": request_id, "at": datetime.now(UTC), "path": request.path, "headers": headers}
                head = orjson.dumps(told)
            pipe.write(HEAD.pack(len(head), len(request.body)) + head + request.body)

    def end(self) -> None:
        """Lets them finish what they have, without waiting."""
        for task in self._tasks:
            task.cancel()
        for running in self._running.values():
            if running.stdin is not None:
                running.stdin.close()

    async def _keep(self, served: Served) -> None:
        while True:
            command = module("headrace.serving.shadow", str(self._home), str(served.version))
            running = await start_beside(command, secrets=vault.held(), stdin=PIPE)
            self._running[served.version] = running
            await running.wait()
            await asyncio.sleep(AGAIN)


def _asked(request_id: str, served: Served) -> bool:
    place = int.from_bytes(blake2b(request_id.encode(), digest_size=4, key=b"%d" % served.version).digest())
    return place < served.weight * 2**32


# ---------------------------------------------------------------------------------------------- the shadow's process


def main(home: Path, version: int) -> None:
    """Answers what comes on the standard input, into the log, until it is closed."""
    from headrace.scoring.spool import Spool
    from headrace.serving import llm_gateway
    from headrace.serving.loading import load_served, routes_of
    from headrace.serving.log import Log
    from headrace.serving.manifest import FILE, read_manifest
    from headrace.serving.metrics import Counters, Kind
    from headrace.serving.traffic import ServedTraffic

    os.nice(10)
    file = home / FILE
    manifest = read_manifest(file)
    counters = Counters()
    llm_gateway.prepare(counters)
    served = next(each for each in manifest.versions if each.version == version and each.role == "shadow")
    serving = load_served(file, manifest, served)
    routes = routes_of(file, manifest)
    traffic = ServedTraffic(manifest=manifest, primary=serving)
    log = Log(f"shadow-{os.getpid()}")
    serve = manifest.serve
    with Spool((home / manifest.spool).resolve(), limit_bytes=serve.max_log, fsync=serve.fsync) as spool:
        log.spool = spool
        ended = Event()
        telling = Thread(target=_tell, args=(log, counters, manifest, ended))
        telling.start()
        for head, body in _frames(sys.stdin.buffer):
            began, status, rows = time.perf_counter(), 200, 0
            try:
                rows = _answer(traffic, routes, log, counters, head, body, began)
            except Exception as error:  # noqa: BLE001  # whatever it does, the next request is tried
                status = 400 if isinstance(error, HeadraceError) else 500
            counters.answered(Kind(version, "shadow", status), time.perf_counter() - began, rows)
        ended.set()
        telling.join()


def _tell(log: Log, counters: Counters, manifest: Manifest, ended: Event) -> None:
    """Seals the log's segment when no request does, and tells of each interval."""
    assert log.spool is not None
    since, told, last = datetime.now(UTC), time.monotonic(), False
    while not last:
        last = ended.wait(LOOK)
        if last or time.monotonic() - told > INTERVAL:
            record = log.counted(manifest.model, since, counters.interval(), manifest.split)
            if record is not None:
                with suppress(SpoolFullError):
                    log.append([record])
            since, told = datetime.now(UTC), time.monotonic()
        log.tick()


def _answer(
    traffic: ServedTraffic,
    routes: RouteTable,
    log: Log,
    counters: Counters,
    head: dict[str, Any],
    body: bytes,
    began: float,
) -> int:
    from headrace.serving.chain_answers import fill
    from headrace.serving.inflate import CODED, inflated
    from headrace.serving.messages import Request
    from headrace.serving.predictors import ChainPredictor

    headers = {name.encode(): value.encode("latin-1") for name, value in head["headers"].items() if value}
    request = Request("POST", head["path"], "", headers, body)
    serving = traffic.primary
    match = request.match = routes.find(request.path)
    protocol = None if match is None else routes.by_name[match.owner]
    if CODED in headers:
        request = inflated(request, serving.manifest.serve.max_body)
    assert protocol is not None  # the server that sent it found one
    (part,) = protocol.read(traffic, request, head["id"])
    if part.asked is not None:
        part.complete()
    if part.work is not None:
        return 0
    if isinstance(serving.predictor, ChainPredictor):
        fill(part, serving.predictor, serving.predictor.answers(part.rows))
    else:
        part.answers = serving.predictor.many(part.rows)
    if serving.manifest.serve.log == "none":
        return len(part.rows)
    record = log.answered(
        part,
        traffic.manifest.split,
        request_id=head["id"],
        path=head["path"],
        ids=part.ids(head["id"]),
        seconds=time.perf_counter() - began,
        caller={},
    )
    if record is not None:
        try:
            log.append([record])
        except SpoolFullError:
            counters.log_dropped += 1
    return len(part.rows)


def _frames(source: BinaryIO) -> Iterator[tuple[dict[str, Any], bytes]]:
    while len(read := source.read(HEAD.size)) == HEAD.size:
        head, body = HEAD.unpack(read)
        given, asked = source.read(head), source.read(body)
        if len(given) < head or len(asked) < body:
            return
        yield orjson.loads(given), asked


if __name__ == "__main__":
    vault.close()
    main(Path(sys.argv[1]), int(sys.argv[2]))
