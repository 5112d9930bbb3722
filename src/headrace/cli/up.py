"""`headrace up`: scheduler, serving and the console on this machine, in one command."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from headrace.cli.output import env_option, log_format_option, log_level_option
from headrace.console.server import PORT
from headrace.core import logs, vault
from headrace.core.processes import module, own_environment, start
from headrace.core.shutdown import on_stop, stop_all

if TYPE_CHECKING:
    from collections.abc import Generator

    from headrace.operations.scheduler import SchedulerStart

LOG = logging.getLogger("headrace.up")


@click.command(name="up")
@env_option
@click.option("--port", type=click.IntRange(1, 65000), default=8080, show_default=True, help="Of the first server.")
@click.option(
    "--console/--no-console", default=True, show_default=True, help="Whether pages for people are there, too."
)
@click.option(
    "--console-port",
    type=click.IntRange(1, 65535),
    default=PORT,
    show_default=True,
    help="Of the console, at 127.0.0.1.",
)
@click.option("--once", is_flag=True, help="One round of what is due, without servers or console.")
@log_format_option
@log_level_option
def command(
    env: str | None,
    port: int,
    console: bool,
    console_port: int,
    once: bool,
    log_format: logs.Format,
    log_level: logs.Level,
) -> None:
    """Run what is due, serve what is in Production, show pages, take over the log, tell who wants to be told; until Ctrl-C.

    A server that ends is started again; one that ends at once, because its port is taken, ends the rest too, exit 1. With
    --once it exits 1, too, when a job failed, or what is due could not be told.
    """
    from headrace.operations.operation import At
    from headrace.operations.scheduler import run_scheduler

    logs.configure(log_format, log_level)
    stop = threading.Event()
    with on_stop(stop.set), _pages(console_port) if console and not once else nullcontext():
        report = run_scheduler(
            At(env=env),
            port=port,
            once=once,
            logs=("--log-format", log_format, "--log-level", log_level),
            stopping=stop.wait,
            say=LOG.info,
            warn=LOG.warning,
            begin=_announce,
        )
    if report.server_failed or report.round_failed:
        sys.exit(1)


@contextmanager
def _pages(port: int) -> Generator[None]:
    """The console as a process beside it. Where its packages are missing or its port is taken, the rest goes on."""
    if find_spec("uvicorn") is None or find_spec("starlette") is None or find_spec("jinja2") is None:
        LOG.info("there is no console: pip install 'headrace[console]'")
        yield
        return
    me = str(os.getpid())
    pages = start(
        module("headrace.cli", "console", "--port", str(port), "--parent", me),
        env=own_environment(),
        secrets=vault.held(),
        start_new_session=True,
    )
    try:
        yield
    finally:
        stop_all([pages], within=5.0)


def _announce(start: SchedulerStart) -> None:
    how = ": one round" if start.once else "; Ctrl-C ends it"
    LOG.info("%s is up in %s%s", start.project, start.env, how)
