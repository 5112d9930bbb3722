"""The access log: a line of JSON for each request, on stdout.

Text from callers cannot end a line or control a terminal: the path is percent-encoded, and an id and a trace are
written only if they are well formed. The query, which may contain secrets, and the API key are left out; the name of
the key is written. A thread writes the lines, so an output that is not read delays no request. Lines that it does not
accept are counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from headrace.serving.caller import said

if TYPE_CHECKING:
    from headrace.serving.messages import Answer, Request
    from headrace.serving.metrics import Counters
    from headrace.serving.observation import Observation

LOG = logging.getLogger(__name__)

STDOUT = 1
TOGETHER = 0.05  # seconds that lines may gather
MOST = 4 * 2**20  # bytes of them that may wait for the output
AT_ONCE = 4096  # bytes that a pipe takes as a whole, so that lines of processes with the same output stay apart
LONGEST = 512  # characters of a path
LAST = 1.0  # seconds that the last lines may take
SAFE = "/%:@!$&'()*+,;=-._~<>[]{}|^`"


class AccessLog:
    """See the module.

    Args:
        counters: in which lines that are lost are counted.
        output: the descriptor that they are written to.
    """

    def __init__(self, counters: Counters, output: int = STDOUT) -> None:
        self._counters, self._output = counters, output
        self._gathered: list[bytes] = []
        self._taken = self._done = 0  # bytes: on the loop, and in the thread
        self._chunks: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._failed = False
        self._thread = Thread(target=self._write, name="access-log", daemon=True)
        self._thread.start()

    def answered(self, request: Request, seen: Observation, answer: Answer | None) -> None:
        """See Observer."""
        line = _line(request, seen, answer)
        if self._taken - self._done + len(line) > MOST:
            self._counters.access_log_dropped += 1
            return
        if not self._gathered:
            asyncio.get_running_loop().call_later(TOGETHER, self._hand_over)
        self._gathered.append(line)
        self._taken += len(line)

    def end(self) -> None:
        """See Observer."""
        self._hand_over()
        self._chunks.put(None)
        self._thread.join(LAST)

    def _hand_over(self) -> None:
        if self._gathered:
            self._chunks.put(self._gathered)
            self._gathered = []

    # ------------------------------------------------------------------------------------------ in the thread

    def _write(self) -> None:
        while (lines := self._chunks.get()) is not None:
            several: list[bytes] = []
            size = 0
            for line in lines:
                if size + len(line) > AT_ONCE:
                    self._put(several)
                    several, size = [], 0
                several.append(line)
                size += len(line)
            self._put(several)

    def _put(self, lines: list[bytes]) -> None:
        left = b"".join(lines)
        self._done += len(left)
        try:
            while left:
                left = left[os.write(self._output, left) :]
        except OSError as error:
            self._counters.access_log_dropped += len(lines)
            if not self._failed:
                LOG.warning("the access log cannot be written: %s", error.strerror)
            self._failed = True
        else:
            self._failed = False


def _line(request: Request, seen: Observation, answer: Answer | None) -> bytes:
    seconds = time.monotonic() - seen.began
    caller = said(request.headers)
    told: dict[str, Any] = {
        "time": datetime.fromtimestamp(time.time() - seconds, UTC).isoformat(timespec="milliseconds"),
        "method": request.method or None,
        "path": plain(request.path),
        "status": None if answer is None else answer.status,
        "duration_ms": round(seconds * 1000, 3),
        "request_bytes": seen.size,
        "response_bytes": 0 if answer is None or request.method == "HEAD" else len(answer.body) + seen.streamed,
        "request_id": caller.get("request") or seen.id or None,
        "traceparent": caller.get("trace"),
        "api_key": request.api_key,
        "model": seen.model or None,
        "versions": seen.versions,
    }
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


def plain(path: str) -> str:
    """A path of a request, as strangers wrote it, in visible ASCII, and not longer than needed."""
    if len(path) > LONGEST:
        path = path[:LONGEST] + "..."
    return path if path.isascii() and path.isprintable() else quote(path.encode("latin-1"), safe=SAFE)
