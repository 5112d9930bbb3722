"""The console as a server on loopback."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from headrace.core.errors import UnavailableError
from headrace.core.extras import need

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import uvicorn

HOST = "127.0.0.1"
PORT = 8765
LOOK = 1.0  # seconds


def run_console(
    folder: Path | None = None,
    *,
    port: int,
    ready: Callable[[str], None],
    sign_in: bool = False,
    parent: int | None = None,
) -> None:
    """Answers until it is stopped.

    Args:
        folder: of the project; None: the current one.
        port: on loopback; 0: any that is free.
        ready: called with the address once it listens.
        sign_in: whether nobody sees or does anything who has not signed in.
        parent: the process whose end is its end, too; None: nobody's.

    Raises:
        ConfigError: there is no project.
        MissingExtraError: a package of the extra `console` is not installed.
        UnavailableError: the port is taken.
    """
    import socket

    need("uvicorn", "console", "the console")
    need("starlette", "console", "the console")
    import uvicorn

    from headrace.console.app import create_app

    app = create_app(folder, sign_in=sign_in, ahead=True)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise UnavailableError(
            f"port {port} cannot be used: {error.strerror or error}.",
            hint="headrace console --port 0 takes a free one.",
        ) from None
    ready(f"http://{HOST}:{listening.getsockname()[1]}")
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1))
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, server), daemon=True).start()
    with listening:
        server.run(sockets=[listening])


def _end_with(parent: int, server: uvicorn.Server) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    server.should_exit = True
