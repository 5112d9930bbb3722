"""Several processes that do the same, as the workers of a server at one port: one that ends is started again."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from headrace.core import vault
from headrace.core.errors import ConfigError
from headrace.core.processes import start
from headrace.core.shutdown import on_stop, stop_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.core.processes import Process

LOG = logging.getLogger(__name__)

LOOK = 0.2  # seconds
SOON = 5.0  # seconds: a process that ends so soon would end again; it is not started at once
MORE = 5.0  # seconds in which each of them has ended after its own time to drain


def run(
    command: Sequence[str],
    count: int,
    *,
    drain: float,
    parent: int | None = None,
    before: Callable[[], object] = lambda: None,
) -> None:
    """Keeps the processes running until SIGTERM, SIGINT or the end of the parent; then lets them end.

    Each is handed the secrets that the vault holds.

    Args:
        command: of each of them.
        count: of the processes.
        drain: seconds that each takes at most to finish what it has begun.
        parent: the process whose end is their end, too; None: nobody's.
        before: called before each start.

    Raises:
        ConfigError: one of them cannot start.
    """
    ended = threading.Event()

    def begin() -> tuple[float, Process]:
        before()
        return time.monotonic(), start(command, secrets=vault.held(), start_new_session=True)

    with on_stop(ended.set):
        running = [begin() for _ in range(count)]
        refused = False
        try:
            while not (ended.wait(LOOK) or (parent is not None and os.getppid() != parent) or refused):
                refused = _reconcile(running, begin)
        finally:
            stop_all([process for _, process in running], within=drain + MORE)
    if refused:
        raise ConfigError("a server process could not start; what it said is above.")


def _reconcile(running: list[tuple[float, Process]], begin: Callable[[], tuple[float, Process]]) -> bool:
    """Starts again what has ended. Returns whether one cannot start."""
    for place, (began, process) in enumerate(running):
        code = process.poll()
        if code is None:
            continue
        if code == ConfigError.exit_code:
            return True
        if time.monotonic() - began < SOON:
            continue
        LOG.warning("server process %s ended with %s; another one starts", process.pid, code)
        running[place] = begin()
    return False
