"""Several server processes at one port: the kernel divides the connections, and a process that dies is restarted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core import fleet
from headrace.core.processes import module
from headrace.serving.manifest import hold_address

if TYPE_CHECKING:
    from headrace.serving.options import Options


def run(options: Options) -> None:
    """Keeps the processes running until SIGTERM, SIGINT or the end of the parent; then drains them.

    Raises:
        ConfigError: one of them cannot start.
    """

    def before() -> None:
        if options.home is not None:
            hold_address(options.home)

    with tempfile.TemporaryDirectory(prefix="headrace-serving-") as folder:
        command = _command(options, Path(folder))
        fleet.run(command, options.processes, drain=options.drain, parent=options.parent, before=before)


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
        "--open-without-keys": options.open_without_keys,
        "--anonymous": options.anonymous,
        "--must-load": options.must_load,
        "--access-log": options.access_log,
        "--traces": options.traces,
    }
    return command + [name for name, value in said.items() if value]
