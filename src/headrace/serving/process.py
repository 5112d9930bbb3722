"""One server process: it listens, follows `serving.json`, and drains at its end."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import resource
import socket
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.access import api_keys
from headrace.core.errors import ConfigError, MissingExtraError
from headrace.core.locks import hold
from headrace.core.shutdown import on_stop

if TYPE_CHECKING:
    from collections.abc import Generator

    from headrace.serving.app import App
    from headrace.serving.certificate import Certificate
    from headrace.serving.model_reloader import Follower
    from headrace.serving.options import Options

LOG = logging.getLogger(__name__)

LOOK = 0.2  # seconds between looks at the process that started this one
FILES = 256  # descriptors that are for no connection, or for one that is being refused


def serve(options: Options) -> None:
    """Serves what `<home>/serving.json` names, and follows it, until SIGTERM or SIGINT.

    Raises:
        ConfigError: the address cannot be had, or would be open to everybody; the certificate cannot be read.
        DataError: the API keys cannot be read.
        ConfigError: with `must_load`, nothing can be loaded.
        MissingExtraError: what the web server, or traces, need is not installed.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # scale by processes
    try:
        import httptools  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import orjson  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import uvloop
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "httptools", "serve", "Serving") from None
    if options.traces:
        from headrace.serving import tracing

        tracing.check()  # here, where it ends the processes that would share the port too
    _check_open(options)
    tls = _tls(options)
    if options.api_keys is not None:
        api_keys.read(options.api_keys)  # here, where it ends the processes that would share the port too
    if options.siblings is not None:
        uvloop.run(_serve(options, tls))
        return
    with _alone(options.host, options.port):
        _check(options.host, options.port)
        if options.processes > 1:
            from headrace.serving.fleet import run

            run(options)
        else:
            uvloop.run(_serve(options, tls))


def _check_open(options: Options) -> None:
    if not _keys_needed(options) and not options.anonymous and not _is_loopback(options.host):
        raise ConfigError(
            f"at {options.host} other machines could ask, and no API key would be needed.",
            hint="headrace api-key create NAME makes one; --anonymous lets everybody ask.",
        )


def _keys_needed(options: Options) -> bool:
    return options.api_keys is not None and (options.api_keys.exists() or not options.open_without_keys)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(options: Options) -> Certificate | None:
    if options.certificate is None and options.key is None:
        return None
    from headrace.serving.certificate import Certificate

    if options.certificate is None or options.key is None:
        raise ConfigError("HTTPS needs a certificate and its key.", hint="--tls-certificate FILE --tls-key FILE")
    return Certificate(options.certificate, options.key)


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
    """Tries the address: processes that share a port would share it with a stranger too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that is still closing is no owner
        try:
            tried.bind((host, port))
        except (OSError, OverflowError) as error:
            raise _taken(host, port, str(getattr(error, "strerror", error))) from None


def _taken(host: str, port: int, reason: str) -> ConfigError:
    return ConfigError(
        f"the address {host}:{port} cannot be had: {reason}.",
        hint=f"Choose another one with --port, or see who listens: ss -ltnp 'sport = :{port}'",
    )


async def _serve(options: Options, tls: Certificate | None) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    with on_stop(lambda: loop.call_soon_threadsafe(ended.set)):  # the loop's own handlers would go with the loop
        await _until(ended, options, tls)


async def _until(ended: asyncio.Event, options: Options, tls: Certificate | None) -> None:
    """Serves until `ended` is set, or the process that started this one is gone; then drains."""
    from headrace.serving import llm_gateway
    from headrace.serving.api_keys import ApiKeys
    from headrace.serving.app import App
    from headrace.serving.limits import ConnectionLimits
    from headrace.serving.listener import Listener
    from headrace.serving.observers import Observers
    from headrace.serving.worker_metrics import Siblings

    keys = options.api_keys
    open_without, metrics = options.open_without_keys, options.open_metrics
    app = App(api_keys=None if keys is None else ApiKeys(keys, metrics=metrics, open_without=open_without))
    llm_gateway.prepare(app.counters)
    follower = _follower(app, options)
    follower.observers = Observers(
        app.counters, app.name, access_log=options.access_log, traces=options.traces, secure=tls is not None
    )
    follower.observers.prepare(None)
    follower.beside = [each for each in (app.api_keys, tls) if each is not None]
    if options.siblings is not None:
        follower.siblings = Siblings(options.siblings, app.name)
        app.siblings = follower.siblings.read
    await follower.follow()
    if options.must_load and app.traffic is None:
        raise ConfigError(
            "nothing can be served: the version could not be loaded.",
            findings=[app.trouble],
            hint="The line that begins with `not followed` says why. Mend what it names, or export another version.",
        )
    listener = Listener(app, ConnectionLimits(connections=_connections(options.connections), read=options.patience))
    follower.listen(listener)
    try:
        await listener.start(
            options.host, options.port, tls=None if tls is None else tls.context, shared=options.siblings is not None
        )
    except OSError as error:
        raise _taken(options.host, options.port, error.strerror or str(error)) from None
    where = f"{'http' if tls is None else 'https'}://{options.host}:{options.port}"
    LOG.info("serving on %s%s", where, "" if app.traffic else f"; {app.trouble}")
    ends = [asyncio.create_task(each) for each in (follower.watch(), ended.wait(), _orphaned(options.parent))]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        app.draining = True
        drained = await listener.stop(within=options.drain)
        if ends[0].done():
            ends[0].result()
    finally:
        for task in ends:
            task.cancel()
        follower.end()
    left = f"{app.in_flight} requests were not answered within {options.drain:g} s; their connections were cut"
    LOG.log(logging.INFO if drained else logging.WARNING, "%s", "drained; nothing is lost" if drained else left)


def _connections(wanted: int) -> int:
    """As many connections as the process may have open and still write its log."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted + FILES:
        return wanted
    most = wanted + FILES if hard == resource.RLIM_INFINITY else min(hard, wanted + FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, min(wanted, most - FILES))


def _follower(app: App, options: Options) -> Follower:
    if options.mlflow is not None:
        from headrace.serving.static_model import Fixed

        return Fixed(app, options.mlflow)
    from headrace.serving.model_reloader import Follower

    if options.home is None:
        raise ConfigError("nothing says what is to be served.", hint="--home FOLDER, or --mlflow URI")
    return Follower(app, options.home)


async def _orphaned(parent: int | None) -> None:
    """Comes back when the process that started this one is gone; never without one."""
    while parent is None or os.getppid() == parent:  # noqa: ASYNC110  # nobody tells of it
        await asyncio.sleep(LOOK)
    LOG.warning("process %s, which started this server, is gone", parent)
