"""`headrace up`: scheduler and serving on this machine, in one command."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING

import click

from headrace.cli.output import env_option, log_format_option, log_level_option
from headrace.core import logs
from headrace.core.shutdown import on_stop

if TYPE_CHECKING:
    from headrace.operations.scheduler import SchedulerStart

LOG = logging.getLogger("headrace.up")


@click.command(name="up")
@env_option
@click.option("--port", type=click.IntRange(1, 65000), default=8080, show_default=True, help="Of the first server.")
@click.option("--once", is_flag=True, help="One round of what is due, without servers.")
@log_format_option
@log_level_option
def command(env: str | None, port: int, once: bool, log_format: logs.Format, log_level: logs.Level) -> None:
    """Run what is due, serve what is in Production, take over the log, tell who wants to be told; until Ctrl-C.

    A server that ends is started again; one that ends at once, because its port is taken, ends the rest too, exit 1. With
    --once it exits 1, too, when a job failed, or what is due could not be told.
    """
    from headrace.operations.operation import At
    from headrace.operations.scheduler import run_scheduler

    logs.configure(log_format, log_level)
    stop = threading.Event()
    with on_stop(stop.set):
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


def _announce(start: SchedulerStart) -> None:
    how = ": one round" if start.once else "; Ctrl-C ends it"
    LOG.info("%s is up in %s%s", start.project, start.env, how)
