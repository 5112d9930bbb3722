"""Shutdown of a process that runs until it is stopped: its signals, its child processes, and its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from headrace.core.processes import LateError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from threading import Thread

    from headrace.core.processes import Process

SIGNALS = (signal.SIGTERM, signal.SIGINT)
ABANDONED: list[Thread] = []  # threads that nobody waits for any more: they were told to end and did not


@contextmanager
def on_stop(stop: Callable[[], object]) -> Generator[None]:
    """Calls `stop` at each SIGTERM and SIGINT, inside a signal handler of the main thread; ignores both afterwards.

    It is for a process that ends when the block ends. Python gives custom handlers back to the system while it shuts
    down, so a second Ctrl-C that arrives then would make a process that has finished its work die of the signal, and
    its exit code would report a failure. What is ignored stays ignored until the process is gone.
    """
    for number in SIGNALS:
        signal.signal(number, lambda *_: stop())
    try:
        yield
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def stop_all(processes: Iterable[Process], *, within: float, how: signal.Signals = signal.SIGTERM) -> None:
    """Asks the processes that still run to end, waits for all of them, and kills what has not ended `within` seconds."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(how)
    until = time.monotonic() + within
    for process in running:
        try:
            process.wait(max(until - time.monotonic(), 0.1))
        except LateError:
            process.kill()
            process.wait()


def leave(code: int) -> NoReturn:
    """Ends the process with an exit code.

    Python ends a thread at its next step once it shuts down; one that is inside of a C++ library then aborts the process.
    So with an abandoned thread still at work Python does not shut down: what was said is written, and the process is gone.
    """
    if any(thread.is_alive() for thread in ABANDONED):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
