"""Several workers of the gateway at one port: the kernel divides the connections."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core import fleet
from headrace.core.processes import module

if TYPE_CHECKING:
    from headrace.llm.gateway_server.options import Options


def run(options: Options) -> None:
    """Keeps the workers running until SIGTERM or SIGINT; then lets them end.

    Raises:
        ConfigError: one of them cannot start.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-gateway-") as folder:
        fleet.run(_command(options, Path(folder)), options.workers, drain=options.drain)


def _command(options: Options, folder: Path) -> list[str]:
    given = {
        "project": options.project,
        "env": options.env,
        "host": options.host,
        "port": options.port,
        "parent": os.getpid(),
        "siblings": folder,
        "api-keys": options.api_keys,
        "tls-certificate": options.certificate,
        "tls-key": options.key,
        "drain": options.drain,
        "log-format": options.log_format,
        "log-level": options.log_level,
    }
    command = module("headrace.llm.gateway_server")
    for name, value in given.items():
        command += [] if value is None else [f"--{name}", str(value)]
    said = {"--anonymous": options.anonymous, "--open-without-keys": options.open_without_keys}
    return command + [name for name, value in said.items() if value]
