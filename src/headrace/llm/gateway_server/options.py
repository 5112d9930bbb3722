"""Options of the gateway's server, from its command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.core.logs import Format, Level

HOST, PORT = "127.0.0.1", 8090
DRAIN = 10.0  # seconds that calls may take to their end


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the server runs.

    Attributes:
        project: the folder of the project, whose `headrace.toml` has the routes.
        env: the name of the environment.
        host: to listen at.
        port: to listen at.
        workers: processes that share the port.
        api_keys: the file with the API keys of callers; None where they need none.
        open_without_keys: whether nobody needs a key while there is no such file, as before the first key is made.
        anonymous: everybody who can reach the address may call, also where other machines can.
        certificate: for HTTPS, a PEM file; with `key`.
        key: the PEM file of its key.
        drain: seconds that calls may take to their end, once the server is to end.
        parent: the process that started this one; when it has died, this one ends too. Set for one of several workers.
        siblings: the folder in which several workers leave their counters.
        log_format: of the lines on stderr: `text` or `json`.
        log_level: the least level that is logged.
    """

    project: Path
    env: str
    host: str = HOST
    port: int = PORT
    workers: int = 1
    api_keys: Path | None = None
    open_without_keys: bool = False
    anonymous: bool = False
    certificate: Path | None = None
    key: Path | None = None
    drain: float = DRAIN
    parent: int | None = None
    siblings: Path | None = None
    log_format: Format = "text"
    log_level: Level = "info"
