"""What is printed while a step runs: by the user's `fit`, by libraries in C, by processes that they start.

The file descriptors of stdout and stderr lead into a pipe meanwhile. A thread hands everything on to stderr at once, so
that a terminal shows it and the JSON of `--json` stays alone on stdout, and keeps the lines for the run's log.
"""

from __future__ import annotations

import io
import os
import secrets
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Sink = Callable[[list[str]], None]

OUT, ERR = 1, 2
EVERY = 1.0  # seconds between two writes of lines: a process that is killed has told all but the last ones
MOST = 50_000  # lines of one step; a loop that prints each row is told about, not kept
LONGEST = 10_000  # characters of one line
ESCAPE = "\x1b["

_lock = threading.Lock()
_current: list[_Pipe] = []


@contextmanager
def captured(keep: Sink) -> Generator[None]:
    """Gives `keep` the lines that are printed inside.

    The descriptors are the process's: of several at once, as in a job that runs another job, the one that began last gets
    the lines.
    """
    lines = _Lines(keep)
    with _lock:
        if not _current:
            with suppress(OSError):  # a process without stdout or stderr prints nothing
                _current.append(_Pipe())
        pipe = _current[-1] if _current else None
        if pipe is not None:
            if pipe.keepers:
                pipe.settle()  # what the outer job printed before is on its way still
            pipe.keepers.append(lines)
    if pipe is None:
        yield
        return
    try:
        yield
    finally:
        pipe.settle()
        with _lock:
            pipe.keepers.remove(lines)
            if not pipe.keepers:  # the last of several threads
                _current.remove(pipe)
                pipe.close()
        lines.end()


class _Lines:
    """Lines as a terminal would show them: what a carriage return writes over, such as a progress bar, is gone."""

    def __init__(self, keep: Sink) -> None:
        self.keep, self.waiting, self.rest, self.count = keep, list[str](), "", 0
        self.told = time.monotonic()

    def feed(self, text: str) -> None:
        *whole, self.rest = (self.rest + text).replace("\r\n", "\n").split("\n")
        self.rest = self.rest.rpartition("\r")[2] if not self.rest.endswith("\r") else self.rest
        for line in whole:
            self.count += 1
            if self.count <= MOST:
                shown = line.rstrip("\r").rpartition("\r")[2]
                self.waiting.append(shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…")
        if self.waiting and time.monotonic() - self.told >= EVERY:
            self.flush()

    def end(self) -> None:
        last = self.rest.rstrip("\r").rpartition("\r")[2]
        if last and not last.startswith(ESCAPE):
            self.feed("\n")
        self.rest = ""
        if self.count > MOST:
            self.waiting.append(f"… {self.count - MOST:,} more lines were printed and are not kept.")
        self.flush()

    def flush(self) -> None:
        lines, self.waiting, self.told = self.waiting, [], time.monotonic()
        if lines:
            self.keep(lines)


class _Pipe:
    """Stands in for stdout and stderr of this process until it is closed."""

    def __init__(self) -> None:
        _flush()
        self.keepers: list[_Lines] = []
        self.saved = os.dup(OUT), os.dup(ERR)
        self.mark = f"\0{secrets.token_hex(16)}\0".encode()
        self.seen, self.settling = threading.Event(), threading.Lock()
        read, self.write = os.pipe()
        os.dup2(self.write, OUT)
        os.dup2(self.write, ERR)
        self.streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (self._stream(each, of) for each, of in zip(self.streams, (OUT, ERR), strict=True))
        threading.Thread(target=self._read, args=(read, os.dup(self.saved[1])), daemon=True).start()

    def _stream(self, stream: object, descriptor: int) -> object:
        """Python's own stream, where it writes to the descriptor; one that does, where a test or a notebook put another."""
        with suppress(AttributeError, OSError, ValueError):
            if stream.fileno() == descriptor:  # pyright: ignore[reportAttributeAccessIssue]
                return stream
        return io.TextIOWrapper(os.fdopen(os.dup(self.write), "wb", 0), "utf-8", "replace", write_through=True)

    def settle(self) -> None:
        """Waits until what was printed so far has come."""
        _flush()
        with self.settling:
            self.seen.clear()
            os.write(self.write, self.mark)
            self.seen.wait(timeout=30)

    def close(self) -> None:
        """Gives stdout and stderr back. Processes that were started inside and live on are still read, to stderr."""
        ours, (sys.stdout, sys.stderr) = (sys.stdout, sys.stderr), self.streams
        for stream in ours:
            if stream not in self.streams:
                stream.close()
        for saved, descriptor in zip(self.saved, (OUT, ERR), strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)
        os.close(self.write)

    def _read(self, read: int, onto: int) -> None:
        kept = b""
        while True:
            chunk = os.read(read, 65536)
            kept += chunk
            before, marked, after = kept.partition(self.mark)
            if marked:
                self._pass(before, onto)
                kept = after
                self.seen.set()
                continue
            # a mark, or a letter of several bytes, may be cut in two by the end of what was read
            cut = _cut(kept, self.mark) if chunk else len(kept)
            self._pass(kept[:cut], onto)
            kept = kept[cut:]
            if not chunk:
                os.close(read)
                os.close(onto)
                return

    def _pass(self, data: bytes, onto: int) -> None:
        if not data:
            return
        with suppress(OSError):  # nobody listens any more: the work goes on
            view = memoryview(data)
            while view:
                view = view[os.write(onto, view) :]
        with suppress(IndexError):  # the last one has just ended
            self.keepers[-1].feed(data.decode("utf-8", "replace"))


def _cut(data: bytes, mark: bytes) -> int:
    """Where to cut so that no beginning of the mark and no half letter is handed on."""
    begin = data.rfind(mark[:1])
    end = begin if begin >= 0 and mark.startswith(data[begin:]) else len(data)
    for back in range(1, min(4, end) + 1):
        byte = data[end - back]
        if byte & 0xC0 != 0x80:  # the first byte of a letter: is the letter whole?
            length = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return end if back >= length else end - back
    return end


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
