"""One server process: web server, the watch on `serving.json`, and a drain at its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, HeadraceError, MissingExtraError
from headrace.core.locks import hold
from headrace.scoring.spool import Spool, SpoolFullError

if TYPE_CHECKING:
    from collections.abc import Generator

    from headrace.serving.app import App
    from headrace.serving.manifest import Manifest

Mark = tuple[int, int] | None  # of serving.json
LOOK = 0.2  # seconds between looks at serving.json
DRAIN = 30.0  # seconds that requests may take to their end
HOST, PORT = "127.0.0.1", 8080


def serve(home: Path, *, host: str = HOST, port: int = PORT, parent: int | None = None) -> None:
    """Serves what `<home>/serving.json` names, and follows it, until SIGTERM or SIGINT.

    Args:
        home: of the model.
        host: to listen at.
        port: to listen at.
        parent: the process that started this one; when it has died, this one drains and ends too.

    Raises:
        ConfigError: the address cannot be had.
        MissingExtraError: the web server is not installed.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # scale by processes
    try:
        import granian  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import orjson  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import uvloop
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "granian", "serve", "Serving") from None
    with _alone(host, port):
        _check(host, port)
        uvloop.run(_serve(home, host, port, parent))


@contextmanager
def _alone(host: str, port: int) -> Generator[None]:
    """One server of this user at an address: between the try of an address and listening, another one could come."""
    place = Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}-{port}.lock"
    with ExitStack() as held:
        try:
            held.enter_context(hold(place))
        except BlockingIOError:
            raise _taken(host, port, "another server of yours starts or listens there") from None
        yield


def _check(host: str, port: int) -> None:
    """Tries the address: the web server itself would share a port that another one listens at."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that is still closing is no owner
        try:
            tried.bind((host, port))
        except (OSError, OverflowError) as error:
            raise _taken(host, port, str(getattr(error, "strerror", error))) from None


def _taken(host: str, port: int, why: str) -> ConfigError:
    return ConfigError(
        f"the address {host}:{port} cannot be had: {why}.",
        hint=f"Choose another one with --port, or see who listens: ss -ltnp 'sport = :{port}'",
    )


async def _serve(home: Path, host: str, port: int, parent: int | None) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server

    from headrace.serving.app import App

    app = App()
    seen = await _follow(app, home)
    server = Server(app, address=host, port=port, interface=Interfaces.RSGI, log_enabled=False, websockets=False)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    running = asyncio.create_task(server.serve())
    watching = asyncio.create_task(_watch(app, home, seen))
    _say(f"serving on http://{host}:{port}" + ("" if app.serving else f"; {app.trouble}"))
    ends = [running, watching, asyncio.create_task(ended.wait()), asyncio.create_task(_orphaned(parent))]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        app.draining = True
        drained = await _drain(app)
        if not running.done():
            server.stop()
        await running  # raises what made the server end by itself
        if watching.done():
            watching.result()
    finally:
        for task in ends[1:]:
            task.cancel()
        if app.spool is not None:
            app.spool.close()
    _say("drained; nothing is lost" if drained else f"{app.in_flight} requests were not answered within {DRAIN:.0f} s")


async def _drain(app: App) -> bool:
    """Waits for what is being answered; gives whether all was in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN):
            while app.in_flight:  # noqa: ASYNC110  # an event would cost every request something, this only the last ones
                await asyncio.sleep(0.01)
    return not app.in_flight


async def _watch(app: App, home: Path, seen: Mark) -> None:
    """Follows `serving.json`, and seals the log's segment when no request does. A round that fails is told, and tried again."""
    file = home / "serving.json"
    while True:
        await asyncio.sleep(LOOK)
        try:
            if _mark(file) != seen:
                seen = await _follow(app, home)
            if app.spool is not None:
                app.spool.tick()
        except SpoolFullError as error:
            app.trouble = str(error)


async def _orphaned(parent: int | None) -> None:
    """Comes back when the process that started this one is gone; never without one."""
    while parent is None or os.getppid() == parent:  # noqa: ASYNC110  # nobody tells of it
        await asyncio.sleep(LOOK)
    _say(f"process {parent}, which started this server, is gone")


async def _follow(app: App, home: Path) -> Mark:
    """Loads what `serving.json` names, beside the version at work, then swaps. What does not load leaves things as they are.

    Gives the mark that the file had before it was read: one that came meanwhile has another.
    """
    from headrace.serving.app import NOTHING
    from headrace.serving.version import load

    file = home / "serving.json"
    mark = _mark(file)
    if mark is None:
        app.trouble = "serving.json is gone; the last version goes on." if app.serving else NOTHING
        return mark
    try:
        loaded = await asyncio.get_running_loop().run_in_executor(None, load, file)
        _log_to(app, home, loaded.manifest)
    except Exception as error:  # noqa: BLE001  # whatever a package holds, the version at work stays
        told = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
        app.trouble = told
        app.counters.failed_swaps += 1
        _say(f"not followed: {told}")
        return mark
    manifest = loaded.manifest
    app.counters.swaps += app.serving is not None
    app.serving, app.trouble = loaded, ""
    slower = f" ({'; '.join(loaded.slower)})" if loaded.slower else ""
    _say(f"{manifest.model} version {loaded.served.version}, {loaded.predictor.tier} tier{slower}")
    with suppress(HeadraceError):
        if behind := loaded.features.behind():
            _say(
                f"by key, requests of now find nothing in {', '.join(behind)}: "
                "never published, or longer ago than the look-back. Next: headrace run publish"
            )
    return mark


def _log_to(app: App, home: Path, manifest: Manifest) -> None:
    """The spool that a version declares; the one at work, where it is the same."""
    place, limit = (home / manifest.spool).resolve(), manifest.serve.max_log
    if manifest.serve.log == "none":
        return
    if app.spool is not None and (app.spool.folder, app.spool.limit_bytes) == (place, limit):
        return
    before, app.spool = app.spool, Spool(place, limit_bytes=limit)
    if before is not None:
        before.close()


def _mark(file: Path) -> Mark:
    """What changes when the file is replaced."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
