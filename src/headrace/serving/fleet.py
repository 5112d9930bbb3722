"""Several server processes at one port: the kernel divides the connections, and a process that dies is restarted."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core import vault
from headrace.core.errors import ConfigError
from headrace.core.processes import module, start
from headrace.core.shutdown import on_stop, stop_all
from headrace.serving.manifest import hold_address

if TYPE_CHECKING:
    from headrace.core.processes import Process
    from headrace.serving.options import Options

LOG = logging.getLogger(__name__)

LOOK = 0.2  # seconds
SOON = 5.0  # seconds: a process that ends so soon would end again; it is not started at once
MORE = 5.0  # seconds in which each of them has ended after its own time to drain


def run(options: Options) -> None:
    """Keeps the processes running until SIGTERM, SIGINT or the end of the parent; then drains them.

    Raises:
        ConfigError: one of them cannot start.
    """
    ended = threading.Event()
    with on_stop(ended.set), tempfile.TemporaryDirectory(prefix="headrace-serving-") as folder:
        command = _command(options, Path(folder))
        running = [_start(options, command) for _ in range(options.processes)]
        refused = False
        try:
            while not (ended.wait(LOOK) or _orphaned(options) or refused):
                refused = _reconcile(options, command, running)
        finally:
            stop_all([process for _, process in running], within=options.drain + MORE)
    if refused:
        raise ConfigError("a server process could not start; what it said is above.")


def _reconcile(options: Options, command: list[str], running: list[tuple[float, Process]]) -> bool:
    """Starts again what has ended; gives whether one cannot start."""
    for place, (began, process) in enumerate(running):
        code = process.poll()
        if code is None:
            continue
        if code == ConfigError.exit_code:
            return True
        if time.monotonic() - began < SOON:
            continue
        LOG.warning("server process %s ended with %s; another one starts", process.pid, code)
        running[place] = _start(options, command)
    return False


def _start(options: Options, command: list[str]) -> tuple[float, Process]:
    if options.home is not None:
        hold_address(options.home)
    return time.monotonic(), start(command, secrets=vault.held(), start_new_session=True)


def _orphaned(options: Options) -> bool:
    return options.parent is not None and os.getppid() != options.parent


def _command(options: Options, folder: Path) -> list[str]:
    given = {
        "home": options.home,
        "mlflow": options.mlflow,
        "host": options.host,
        "port": options.port,
        "parent": os.getpid(),
        "siblings": folder,
        "tls-certificate": options.certificate,
        "tls-key": options.key,
        "api-keys": options.api_keys,
        "connections": options.connections,
        "patience": options.patience,
        "drain": options.drain,
        "log-format": options.log_format,
        "log-level": options.log_level,
    }
    command = module("headrace.serving")
    for name, value in given.items():
        command += [] if value is None else [f"--{name}", str(value)]
    said = {
        "--open-metrics": options.open_metrics,
        "--anonymous": options.anonymous,
        "--must-load": options.must_load,
        "--access-log": options.access_log,
        "--traces": options.traces,
    }
    return command + [name for name, value in said.items() if value]
