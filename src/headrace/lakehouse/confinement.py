"""A thread in which nothing can be written: the kernel refuses every write (Landlock, Linux 5.13).

The restriction applies to a thread and to everything that it starts; the rest of the process is not restricted. It is
cheap (less than a millisecond), and holds for root. No library that keeps a pool of threads for the whole process may
be called in this thread: a thread of Arrow or delta-rs that starts in it could never write. DuckDB's threads belong to
a connection.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from headrace.core.errors import UnavailableError
from headrace.core.shutdown import ABANDONED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CREATE_RULESET, ADD_RULE, RESTRICT_SELF, NO_NEW_PRIVILEGES = 444, 445, 446, 38  # the same on every 64-bit machine
RIGHTS = {1: 13, 2: 14, 3: 15}  # Landlock's version → how many rights it knows; from 3 on, to cut a file short
READING = 1 << 0 | 1 << 2 | 1 << 3  # run a file, read a file, list a folder: these stay
GRACE = 5.0  # seconds in which a question has to stop when it is told to
AGAIN = 0.1

T = TypeVar("T")


def run(
    work: Callable[[], T],
    *,
    stop: Callable[[], None],
    writable: Sequence[Path] | None,
    seconds: float | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> T:
    """Does work in a thread of its own, and gives what it gives, or raises what it raises.

    Args:
        work: calls nothing that keeps threads for the whole process, unless it may write.
        stop: makes the work end early; called again until it has.
        writable: folders in which it may write; None: as this process may.
        seconds: how long it may take.
        cancelled: asked several times a second whether it is to end now; None: nobody ends it.

    Raises:
        TimeoutError: it took longer.
        InterruptedError: it was cancelled.
        UnavailableError: the kernel does not restrict the thread; the work was not begun.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def inside() -> None:
        try:
            if writable is not None:
                _restrict(writable)
            results.append(work())
        except BaseException as error:  # noqa: BLE001  # raised again where somebody waits for it
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=inside, name="headrace-sql", daemon=True)
    thread.start()
    try:
        ended = _wait(done, seconds, cancelled)
    except BaseException:  # Ctrl-C
        _end(thread, done, stop)
        raise
    if ended is not None:
        _end(thread, done, stop)
        raise ended
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@cache
def possible() -> bool:
    """Whether the kernel keeps a thread from writing, found out by trying."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        try:
            run(lambda: file.write_bytes(b""), stop=lambda: None, writable=[])
        except PermissionError:
            return True
        except (OSError, UnavailableError):
            return False
        return False


def _wait(
    done: threading.Event, seconds: float | None, cancelled: Callable[[], bool] | None
) -> type[TimeoutError | InterruptedError] | None:
    """Why the work does not go on; None: it is done."""
    until = math.inf if seconds is None else time.monotonic() + seconds
    while True:
        left = max(until - time.monotonic(), 0.0)
        pause = left if cancelled is None else min(left, AGAIN)
        if done.wait(None if pause == math.inf else pause):
            return None
        if cancelled is not None and cancelled():
            return InterruptedError
        if time.monotonic() >= until:
            return TimeoutError


def _end(thread: threading.Thread, done: threading.Event, stop: Callable[[], None]) -> None:
    """Tells it to stop until it does: between two statements there is nothing that would hear it."""
    for _ in range(round(GRACE / AGAIN)):
        stop()
        if done.wait(AGAIN):
            return
    ABANDONED.append(thread)


def _restrict(writable: Sequence[Path]) -> None:
    """Takes from this thread, for good, the right to write anywhere but below these folders."""
    if platform.system() != "Linux":
        raise UnavailableError("only Linux can keep a thread from writing.")
    kernel = ctypes.CDLL(None, use_errno=True)
    version = kernel.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        raise UnavailableError("the kernel has no Landlock.")
    rights = (1 << RIGHTS[min(version, max(RIGHTS))]) - 1 & ~READING
    rules = _called(kernel, CREATE_RULESET, ctypes.byref(ctypes.c_uint64(rights)), ctypes.c_size_t(8), 0)
    try:
        for folder in writable:
            opened = os.open(folder, os.O_PATH | os.O_CLOEXEC)  # type: ignore[attr-defined]
            try:
                rule = rights.to_bytes(8, sys.byteorder) + opened.to_bytes(4, sys.byteorder)
                _called(kernel, ADD_RULE, rules, 1, rule, 0)
            finally:
                os.close(opened)
        if kernel.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise UnavailableError("the kernel does not let a thread give up privileges.")
        _called(kernel, RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _called(kernel: ctypes.CDLL, number: int, *arguments: object) -> int:
    answer = kernel.syscall(number, *arguments)
    if answer < 0:
        raise UnavailableError(f"the kernel does not restrict a thread: {os.strerror(ctypes.get_errno())}.")
    return answer
