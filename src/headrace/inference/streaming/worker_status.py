"""The status of a stream worker: a file for each worker of a stream, Prometheus metrics on a port, and log messages.

<root>/streams/<model>/<worker>.json      replaced in one rename, once a second; removed at a clean end
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.core.clock import now
from headrace.core.errors import ConfigError
from headrace.core.exposition import Sample, metric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.inference.streaming.requests import Scored
    from headrace.inference.streaming.sources.base import Batch

EVERY = 1.0  # seconds
COUNTED = {
    "batches": "Batches that were written.",
    "messages": "Messages that were read.",
    "predictions": "Predictions that were written.",
    "dead_letters": "Messages that could not be scored.",
    "rewinds": "Batches that another worker had taken over.",
}
GONE = 60.0  # seconds after which a worker that tells nothing is not at work


@dataclass(kw_only=True)
class Figures:
    """Counts since the start of a worker, and where it stands.

    Attributes:
        version: that predicted last; 0 before.
        lag: partition → messages (versions, of a change feed) that wait.
        delay_s: from when the oldest message of the last batch was sent until its prediction was written.
        rewinds: batches that another worker had taken over.
        held: why it waits; empty when it does not.
    """

    model: str
    source: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    began: str = field(default_factory=lambda: now().isoformat())
    at: str = ""
    version: int = 0
    batches: int = 0
    messages: int = 0
    predictions: int = 0
    dead_letters: int = 0
    rewinds: int = 0
    delay_s: float | None = None
    lag: dict[int, int] = field(default_factory=dict[int, int])
    held: str = ""


class WorkerStatus:
    """See above.

    Args:
        figures: as the worker begins.
        folder: of the stream.
        say: words, for a person.
    """

    def __init__(self, figures: Figures, folder: Path, say: Callable[[str], None]) -> None:
        self.figures, self._say = figures, say
        self._file = folder / f"{figures.host}-{figures.pid}.json"
        self._told = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        for each in told(folder.parent.parent):
            if each["gone"] and each["model"] == figures.model:  # somebody is at work again
                Path(each["file"]).unlink(missing_ok=True)
        self._write()

    def wrote(self, batch: Batch, scored: Scored, version: int, lag: Mapping[int, int]) -> None:
        """A batch is done."""
        figures = self.figures
        if version != figures.version:
            self._say(f"{figures.model} version {version} predicts")
        figures.version, figures.held = version, ""
        figures.batches += 1
        figures.messages += len(batch.messages)
        figures.predictions += 0 if scored.predictions is None else scored.predictions.num_rows
        figures.dead_letters += len(scored.letters)
        sent = [each.at for each in batch.messages if each.at is not None]
        figures.delay_s = (now() - min(sent)).total_seconds() if sent else None
        self.idle(lag)

    def idle(self, lag: Mapping[int, int]) -> None:
        """Nothing came, or nothing is left to say of what came."""
        self.figures.lag, self.figures.held = dict(lag), ""
        if time.monotonic() - self._told >= EVERY:
            self._write()

    def rewound(self, reason: str) -> None:
        """Another worker came first."""
        self.figures.rewinds += 1
        self._say(f"read again: {reason}")

    def waits(self, reason: str) -> None:
        """Something cannot be had now; it is tried again."""
        if reason != self.figures.held:
            self._say(f"waits: {reason}")
        self.figures.held = reason
        self._write()

    def end(self) -> None:
        """The worker ends, and there is nothing to tell any more."""
        self._file.unlink(missing_ok=True)

    def prometheus(self) -> str:
        """In Prometheus' text format."""
        figures, here = self.figures, {"model": self.figures.model}
        lags = [Sample({**here, "partition": each}, lag) for each, lag in sorted(figures.lag.items())]
        told = [metric("headrace_stream_lag", "gauge", "Messages that were not read yet.", lags)]
        for name, what in COUNTED.items():
            total = Sample(here, getattr(figures, name))
            told.append(metric(f"headrace_stream_{name}_total", "counter", what, [total]))
        gauges = (
            ("version", "The version in Production.", figures.version),
            ("held", "Whether something is waited for: 1, or 0.", int(bool(figures.held))),
            ("delay_seconds", "Seconds from the oldest message of the last batch to its prediction.", figures.delay_s),
        )
        for name, what, value in gauges:
            if value is not None:
                told.append(metric(f"headrace_stream_{name}", "gauge", what, [Sample(here, value)]))
        return "".join(told)

    def listen(self, host: str, port: int) -> int:
        """Answers `GET /metrics` in a thread of its own; gives the port.

        Raises:
            ConfigError: the address cannot be had.
        """
        telling = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.path == "/metrics"
                body = telling.prometheus().encode() if known else b"there is /metrics\n"
                self.send_response(200 if known else 404)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing: a line for each look would bury what matters."""

        try:
            server = ThreadingHTTPServer((host, port), Answer)
        except OSError as error:
            raise ConfigError(
                f"the address {host}:{port} cannot be had: {error.strerror}.", hint="Choose another --metrics-port."
            ) from None
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        return int(server.server_address[1])

    def _write(self) -> None:
        self._told = time.monotonic()
        self.figures.at = now().isoformat()
        making = self._file.with_suffix(".new")
        making.write_text(json.dumps(asdict(self.figures)))
        making.replace(self._file)


def told(root: Path) -> list[dict[str, Any]]:
    """What the workers of an environment told last, each with `gone`: whether it ended without saying so."""
    found: list[dict[str, Any]] = []
    for file in sorted((root / "streams").glob("*/*.json")):
        with suppress(OSError, ValueError):
            figures = json.loads(file.read_text())
            if "pid" in figures:
                found.append({**figures, "file": str(file), "gone": _gone(figures)})
    return found


def _gone(figures: Mapping[str, Any]) -> bool:
    """Its process is not there; of one on another machine only how long it has been silent is known."""
    if figures["host"] != socket.gethostname():
        return (now() - datetime.fromisoformat(figures["at"])).total_seconds() > GONE
    try:
        os.kill(figures["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
