"""Options of a server, from its command line."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.core.logs import Format, Level

DRAIN = 30.0  # seconds that requests may take to their end, by default
HOST, PORT = "127.0.0.1", 8080


@dataclass(frozen=True)
class Options:
    """How a server runs.

    Attributes:
        home: of the model, with `serving.json`; None where `mlflow` says what is served.
        mlflow: a model that MLflow keeps: a folder with `MLmodel`, or a URI.
        parent: the process that started this one; when it has died, this one drains and ends too.
        processes: that share the port.
        siblings: the folder in which they leave their counters; None for a process that is alone.
        certificate: for HTTPS, a PEM file; with `key`.
        api_keys: the file with the API keys of callers.
        open_without_keys: whether nobody needs a key while there is no such file, as before the first key is made.
        open_metrics: `/metrics` needs no API key.
        anonymous: everybody who can reach the address may ask, also where other machines can.
        must_load: ends with an error where what is to be served cannot be loaded at the start, instead of waiting for
            another `serving.json`. For a container, whose files never change.
        access_log: a line on stdout for each request, whatever the version declares.
        traces: to OpenTelemetry's collector, whatever the version declares.
        log_format: of the lines on stderr: `text` or `json`.
        log_level: the least level that is logged.
        connections: at the same time, as far as the process may open files.
        patience: seconds in which a request, and a connection's first byte, must have come.
        drain: seconds that requests may take to their end, once the server is to end.
    """

    home: Path | None = None
    _: KW_ONLY
    mlflow: str | None = None
    host: str = HOST
    port: int = PORT
    parent: int | None = None
    processes: int = 1
    siblings: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    api_keys: Path | None = None
    open_without_keys: bool = False
    open_metrics: bool = False
    anonymous: bool = False
    must_load: bool = False
    access_log: bool = False
    traces: bool = False
    log_format: Format = "text"
    log_level: Level = "info"
    connections: int = 2_000
    patience: float = 10.0
    drain: float = DRAIN
