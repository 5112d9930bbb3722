"""`headrace up`: scheduler and serving on this machine, in one command."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from headrace.cli.output import bold, env_option, say, wrong
from headrace.core import processes, vault
from headrace.core.errors import BusyError, ConfigError
from headrace.core.locks import hold
from headrace.core.shutdown import on_stop, stop_all

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import datetime

    from headrace.core.processes import Process
    from headrace.workspace.workspace import Workspace

ROUND = 5.0  # seconds
LOOK = 0.05  # seconds between looks at a job
GRACE = 5.0  # seconds that an interrupted job may take to close its run; one that is killed continues next time too
DRAIN = 40.0  # seconds, longer than servers take by themselves
LAST = 15.0  # seconds in which people are told of what is left, when it is to end
SOON = 30.0  # seconds: a server that ends so soon, by what it was told, would end again


@click.command(name="up")
@env_option
@click.option("--port", type=click.IntRange(1, 65000), default=8080, show_default=True, help="Of the first server.")
@click.option("--once", is_flag=True, help="One round of what is due, without servers.")
def command(env: str | None, port: int, once: bool) -> None:
    """Run what is due, serve what is in Production, take over the log, tell who wants to be told; until Ctrl-C.

    A server that ends is started again; one that ends at once, because its port is taken, ends the rest too, exit 1. With
    --once it exits 1, too, when a job failed, or what is due could not be told.
    """
    from headrace.core.clock import now
    from headrace.workspace.workspace import open_workspace

    stop = threading.Event()
    began = now()
    with on_stop(stop.set), open_workspace(env) as workspace, _alone(workspace), _telling(env, stop):
        say(
            f"{bold(f'{workspace.config.name} is up in {workspace.environment.name}')}"
            f"{': one round' if once else '; Ctrl-C ends it'}"
        )
        servers, done = Servers(workspace, port), Round()
        try:
            if not once:
                servers.start()
            while not stop.is_set():
                done = _round(workspace, servers, began, stop)
                if not done.serves or once or stop.wait(ROUND):
                    break
        finally:
            servers.end()
    if servers.failed or (once and done.failed):
        sys.exit(1)


@contextmanager
def _telling(env: str | None, stop: threading.Event) -> Generator[None]:
    """Meanwhile people are told, in a thread of its own: whoever takes long to be told keeps nothing else."""
    ended = threading.Event()
    thread = threading.Thread(target=_tell, args=(env, ended), name="tell", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(None if not stop.is_set() else LAST)


def _tell(env: str | None, ended: threading.Event) -> None:
    from headrace.operations.sync import tell
    from headrace.workspace.workspace import open_workspace

    last, workspace = False, None
    with ExitStack() as opened:
        while not last:
            last = ended.wait(ROUND)
            try:
                workspace = workspace or opened.enter_context(open_workspace(env))
                troubles = [f"{trouble.channel}: {trouble.error}" for trouble in tell(workspace)]
            except Exception as error:  # noqa: BLE001  # nothing is lost, and the next round tells it
                troubles = [f"nobody can be told: {error}"]
            for trouble in troubles:
                wrong(trouble)


@contextmanager
def _alone(workspace: Workspace) -> Generator[None]:
    """One scheduler in an environment of this machine."""
    workspace.environment.root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(hold(workspace.up_lock))
        except BlockingIOError:
            raise BusyError(
                f"{workspace.config.name} is up in {workspace.environment.name} already.", hint="One is enough."
            ) from None
        yield


class Round(NamedTuple):
    """What became of a round.

    Attributes:
        serves: no server is one that cannot start.
        failed: a job did, or what is due could not be told.
    """

    serves: bool = True
    failed: bool = False


def _round(workspace: Workspace, servers: Servers, began: datetime, stop: threading.Event) -> Round:
    """What is due, one job after the other; servers and their log are looked after meanwhile.

    When `stop` is set, the job that runs is interrupted, as Ctrl-C does it, and none is begun: each continues next time.
    """
    from headrace.operations import scheduler

    untold, ended = False, 0
    try:
        due = scheduler.due(workspace, since=began)
    except Exception as error:  # noqa: BLE001  # a registry that is down is no reason to end servers
        wrong(f"what is due cannot be told: {error}")
        due, untold = [], True
    failed: str | None = None
    for job in due:
        if stop.is_set():
            break
        if job.reason == failed:
            wrong(f"headrace run {' '.join(job.arguments)} is left out: the job before it failed")
            continue
        say(f"{job.reason}: headrace run {' '.join(job.arguments)}")
        with _job(workspace, job.arguments) as running:
            while (code := _ended(running, stop)) is None:
                _tend(workspace)
                servers.tend()
        ended = ended or code
        failed = job.reason if code and job.arguments[0] in ("refresh", "publish", "score") else None
    if stop.is_set():
        return Round()
    _tend(workspace)
    return Round(serves=servers.tend(), failed=untold or ended != 0)


def _tend(workspace: Workspace) -> None:
    from headrace.operations import scheduler

    troubles = scheduler.tend(workspace)
    done, more = scheduler.rollouts(workspace)
    for line in done:
        say(line)
    for trouble in (*troubles, *more):
        wrong(trouble)


def _ended(process: Process, stop: threading.Event) -> int | None:
    """Waits for a job for the length of a round; returns its exit code, or None while it runs."""
    until = time.monotonic() + ROUND
    while process.poll() is None and time.monotonic() < until:
        if stop.wait(LOOK):
            stop_all([process], within=GRACE, how=signal.SIGINT)
    return process.returncode


def _command(env: str, arguments: tuple[str, ...]) -> list[str]:
    """A job in a process of its own; what it says is its own, and so is its failure."""
    return processes.module("headrace.cli", "run", *arguments, "--env", env)


def _job(workspace: Workspace, arguments: tuple[str, ...]) -> Process:
    command = _command(workspace.environment.name, arguments)
    return processes.start(command, env=processes.own_environment(), secrets=vault.held())


class Servers:
    """A server for each deployment that declares one, on ports in a row, and a worker for each that declares a stream.

    Attributes:
        failed: one could not start.
    """

    def __init__(self, workspace: Workspace, port: int) -> None:
        from headrace.deployment.declarations import Deployment
        from headrace.operations import serving

        self._commands: dict[str, Callable[[], list[str]]] = {}  # made at each start: tokens may be new
        deployments = workspace.project.all(Deployment)
        parent = ["--parent", str(os.getpid())]
        for place, each in enumerate(each for each in deployments if each.serve is not None):
            home = workspace.home(each.name)
            home.mkdir(parents=True, exist_ok=True)
            command = partial(serving.command, workspace.environment, home, port=port + place, arguments=parent)
            self._commands[f"server of {each.name}"] = command
        self._servers = frozenset(self._commands)
        self._environment = workspace.environment
        for each in deployments:
            if each.stream is not None:
                arguments = ("stream", "--model", each.name, *parent)
                self._commands[f"stream of {each.name}"] = partial(_command, workspace.environment.name, arguments)
        self._running: dict[str, tuple[float, Process]] = {}
        self.failed = False

    def start(self) -> None:
        """All of them."""
        for name in self._commands:
            self._start(name)

    def tend(self) -> bool:
        """Starts again what has ended; gives False when one cannot start."""
        for name, (began, server) in list(self._running.items()):
            if server.poll() is None:
                continue
            wrong(f"the {name} ended with {server.returncode}")
            soon = server.returncode == ConfigError.exit_code and time.monotonic() - began < SOON
            if soon and name in self._servers:  # a stream whose topic is not there yet is no reason to end servers
                self.failed = True
            else:
                self._start(name)
        return not self.failed

    def end(self) -> None:
        """Drains and ends them."""
        stop_all([server for _, server in self._running.values()], within=DRAIN)

    def _start(self, name: str) -> None:
        if name in self._servers:
            from headrace.operations import serving

            how: dict[str, Any] = {"secrets": serving.secrets(self._environment), "cwd": self._environment.root}
        else:
            how = {"env": processes.own_environment(), "secrets": vault.held()}
        self._running[name] = time.monotonic(), processes.start(self._commands[name](), start_new_session=True, **how)
