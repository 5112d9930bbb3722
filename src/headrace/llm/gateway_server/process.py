"""One worker of the gateway's server: it listens, and lets calls end before it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, MissingExtraError
from headrace.core.shutdown import on_stop
from headrace.core.state import State
from headrace.environments import config
from headrace.environments.llm import EXAMPLE, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from headrace.environments.config import Environment
    from headrace.llm.gateway_server.metrics import GatewayMetrics
    from headrace.llm.gateway_server.options import Options
    from headrace.llm.gateway_server.worker_metrics import WorkerCounters

LOG = logging.getLogger("headrace.llm.gateway_server")
LOOK = 0.2  # seconds between looks at the process that started this one
THREADS = 8  # that write the state database, which has one writer at a time
BACKLOG = 1_024


def serve(options: Options) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        ConfigError: there are no routes, or the address cannot be had or would be open to everybody.
        DataError: the API keys cannot be read.
        MissingExtraError: the web server is not installed.
    """
    _check_open(options)
    environment = config.load(options.project).environment(options.env)
    if not environment.llm.routes:
        raise ConfigError(f"the environment {environment.name!r} has no routes to language models.", hint=EXAMPLE)
    try:
        import aiohttp  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError:
        raise MissingExtraError("aiohttp", "llm", "the gateway's server") from None
    context = _tls(options)
    if options.parent is None:
        _try(options.host, options.port)
    if options.workers > 1 and options.parent is None:
        from headrace.llm.gateway_server.fleet import run

        run(options)
        return
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(options, environment, context))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        return import_module("uvloop").new_event_loop
    except ModuleNotFoundError:
        return None


def _check_open(options: Options) -> None:
    keys = options.api_keys is not None and (options.api_keys.exists() or not options.open_without_keys)
    if not keys and not options.anonymous and not is_loopback(options.host):
        raise ConfigError(
            f"at {options.host} other machines could call, and no API key would be needed.",
            hint="headrace api-key create NAME --scope gateway makes one; --anonymous lets everybody call.",
        )


def _tls(options: Options) -> ssl.SSLContext | None:
    if options.certificate is None and options.key is None:
        return None
    if options.certificate is None or options.key is None:
        raise ConfigError("HTTPS needs a certificate and its key.", hint="--tls-certificate FILE --tls-key FILE")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.certificate, options.key, password="")
    except (OSError, ssl.SSLError) as error:
        what = f"the certificate {str(options.certificate)!r} and its key cannot be used: {error}."
        raise ConfigError(what, hint="Both are PEM files; the key has no passphrase.") from None
    return context


def _try(host: str, port: int) -> None:
    """Tries the address: workers that share a port would share it with a stranger too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except (OSError, OverflowError) as error:
            raise _taken(host, port, error) from None


def _taken(host: str, port: int, error: OSError | OverflowError) -> ConfigError:
    return ConfigError(
        f"the address {host}:{port} cannot be had: {getattr(error, 'strerror', None) or error}.",
        hint=f"Choose another one with --port, or see who listens: ss -ltnp 'sport = :{port}'",
    )


async def _serve(options: Options, environment: Environment, tls: ssl.SSLContext | None) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="gateway-state"))
    state = State(environment.state_url)
    try:
        with on_stop(lambda: loop.call_soon_threadsafe(ended.set)):
            await _until(ended, options, environment, state, tls)
    finally:
        state.close()


async def _until(
    ended: asyncio.Event, options: Options, environment: Environment, state: State, tls: ssl.SSLContext | None
) -> None:
    from aiohttp import web

    from headrace.llm.gateway.async_gateway import AsyncGateway
    from headrace.llm.gateway.opening import metering
    from headrace.llm.gateway_server.app import GatewayApp
    from headrace.llm.gateway_server.callers import Callers
    from headrace.llm.gateway_server.metrics import GatewayMetrics
    from headrace.llm.gateway_server.worker_metrics import WorkerCounters

    routes = environment.llm
    gateway = AsyncGateway(routes, metering=await asyncio.to_thread(metering, routes, state))
    metrics = GatewayMetrics()
    workers = None if options.siblings is None else WorkerCounters(options.siblings)
    callers = None if options.api_keys is None else Callers(options.api_keys, open_without=options.open_without_keys)
    app = GatewayApp(gateway, routes, callers=callers, metrics=metrics, workers=workers).application()
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=options.drain, keepalive_timeout=75.0
    )
    try:
        await runner.setup()
        await _listen(runner, options, tls)
        scheme = "http" if tls is None else "https"
        LOG.info("the gateway listens on %s://%s:%s/v1", scheme, options.host, options.port)
        ends = [asyncio.create_task(each) for each in (ended.wait(), _orphaned(options.parent))]
        writing = asyncio.create_task(_write(workers, metrics))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in (*ends, writing):
            task.cancel()
    finally:
        await runner.cleanup()  # open calls have `drain` seconds
        await gateway.close()
    LOG.info("the gateway has ended")


async def _listen(runner: web.AppRunner, options: Options, tls: ssl.SSLContext | None) -> None:
    from aiohttp import web

    shared = True if options.parent is not None else None
    site = web.TCPSite(runner, options.host, options.port, ssl_context=tls, reuse_port=shared, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        raise _taken(options.host, options.port, error) from None


async def _write(workers: WorkerCounters | None, metrics: GatewayMetrics) -> None:
    while workers is not None:
        workers.write(metrics)
        await asyncio.sleep(1.0)


async def _orphaned(parent: int | None) -> None:
    """Comes back when the process that started this one is gone; never without one."""
    while parent is None or os.getppid() == parent:  # noqa: ASYNC110  # nobody tells of it
        await asyncio.sleep(LOOK)
    LOG.warning("process %s, which started this worker, is gone", parent)
