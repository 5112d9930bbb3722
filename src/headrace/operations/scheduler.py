"""The scheduler of an environment: in each round it runs due jobs, keeps servers running, and updates projections."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.errors import BusyError
from headrace.core.locks import hold
from headrace.core.shutdown import stop_all
from headrace.operations import run_process, schedule
from headrace.operations.dashboard_schedule import DashboardSchedule
from headrace.operations.expiration import ExpirationSchedule
from headrace.operations.operation import operation
from headrace.operations.reconcile import reconcile
from headrace.operations.record import Record
from headrace.operations.server_fleet import ServerFleet
from headrace.operations.sync import tell
from headrace.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import datetime

    from headrace.core.processes import Process
    from headrace.workspace.workspace import Workspace

ROUND = 5.0  # seconds
LOOK = 0.05  # seconds between looks at a job
GRACE = 5.0  # seconds that an interrupted job may take to close its run; one that is killed continues next time too
LEFT = 2.0  # seconds in which what a job has printed is read, once it has ended
LAST = 15.0  # seconds in which people are told of what is left, when it is to end


@dataclass(frozen=True, kw_only=True)
class SchedulerStart(Record):
    """A scheduler begins.

    Attributes:
        project: its name.
        env: the environment.
        once: whether it ends after one round, without servers.
    """

    project: str
    env: str
    once: bool


@dataclass(frozen=True, kw_only=True)
class SchedulerReport(Record):
    """How a scheduler ended.

    Attributes:
        server_failed: whether a server could not start, which ended the rest.
        round_failed: whether a job of the only round failed, or what is due could not be found out; False for a scheduler
            that runs until it is stopped.
    """

    server_failed: bool
    round_failed: bool


@dataclass(frozen=True, kw_only=True)
class _Callbacks:
    """What whoever runs the scheduler hears, and how it is stopped."""

    stopping: Callable[[float], bool]
    say: Callable[[str], None]
    warn: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _RoundResult:
    """What became of a round.

    Attributes:
        serves: whether every server can start.
        failed: whether a job failed, or what is due could not be found out.
    """

    serves: bool = True
    failed: bool = False


@operation("up")
def run_scheduler(
    workspace: Workspace,
    *,
    port: int = 8080,
    once: bool = False,
    logs: Sequence[str] = (),
    stopping: Callable[[float], bool],
    say: Callable[[str], None],
    warn: Callable[[str], None],
    begin: Callable[[SchedulerStart], None] | None = None,
) -> SchedulerReport:
    """Runs what is due, serves what is in Production, takes over the log, renews dashboards, and tells people, until it is stopped.

    When it is stopped, the job that runs is interrupted, as Ctrl-C does it, and none is begun: each continues next time. A
    server that ends is started again; one that cannot start ends the scheduler.

    Args:
        workspace: where.
        port: of the first server; the others are at the ports after it.
        once: whether it ends after one round, without servers.
        logs: words of the command lines of servers and streams that say how they log.
        stopping: waits for so many seconds, or until the scheduler is to end; returns whether it is.
        say: called with a line for each job that begins and for each step of a rollout.
        warn: called with a line for what did not work; also from another thread.
        begin: called once before the first round.

    Raises:
        BusyError: another scheduler of this environment runs on this machine.
    """
    began, callbacks = now(), _Callbacks(stopping=stopping, say=say, warn=warn)
    with _alone(workspace), _telling_people(workspace, callbacks):
        if begin is not None:
            begin(SchedulerStart(project=workspace.config.name, env=workspace.environment.name, once=once))
        fleet, result = ServerFleet(workspace, port=port, logs=logs, warn=warn), _RoundResult()
        expiration, dashboards = ExpirationSchedule(workspace), DashboardSchedule(workspace)
        try:
            if not once:
                fleet.start()
            while not stopping(0):
                result = _run_round(workspace, fleet, began, callbacks)
                _expire(expiration, callbacks)
                _refresh_dashboards(dashboards, callbacks)
                if not result.serves or once or stopping(ROUND):
                    break
        finally:
            fleet.end()
    return SchedulerReport(server_failed=fleet.failed, round_failed=once and result.failed)


@contextmanager
def _alone(workspace: Workspace) -> Generator[None]:
    """There is one scheduler of an environment on this machine."""
    workspace.environment.root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(hold(workspace.up_lock))
        except BlockingIOError:
            raise BusyError(
                f"{workspace.config.name} is up in {workspace.environment.name} already.", hint="One is enough."
            ) from None
        yield


@contextmanager
def _telling_people(workspace: Workspace, callbacks: _Callbacks) -> Generator[None]:
    """Meanwhile people are told, in a thread of its own: a channel that takes long keeps nothing else."""
    ended = threading.Event()
    arguments = (workspace, ended, callbacks.warn)
    thread = threading.Thread(target=_tell_people, args=arguments, name="tell", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LAST if callbacks.stopping(0) else None)


def _tell_people(scheduler: Workspace, ended: threading.Event, warn: Callable[[str], None]) -> None:
    """Once a round, and once more at the end, in an environment that this thread opens for itself."""
    last, workspace = False, None
    where, folder, release = scheduler.configured.name, scheduler.config.folder, scheduler.release
    with ExitStack() as opened:
        while not last:
            last = ended.wait(ROUND)
            try:
                workspace = workspace or opened.enter_context(open_workspace(where, folder=folder, release=release))
                troubles = [f"{failure.channel}: {failure.error}" for failure in tell(workspace)]
            except Exception as error:  # noqa: BLE001  # nothing is lost, and the next round tells it
                troubles = [f"nobody can be told: {error}"]
            for trouble in troubles:
                warn(trouble)


def _run_round(workspace: Workspace, fleet: ServerFleet, began: datetime, callbacks: _Callbacks) -> _RoundResult:
    """What is due, one job after the other; servers and their log are looked after meanwhile."""
    unknown, code = False, 0
    try:
        due = schedule.due(workspace, since=began)
    except Exception as error:  # noqa: BLE001  # a registry that is down is no reason to end servers
        callbacks.warn(f"what is due cannot be told: {error}")
        due, unknown = [], True
    failed: str | None = None
    for job in due:
        if callbacks.stopping(0):
            break
        words = f"headrace run {' '.join(job.arguments)}"
        if job.reason == failed:
            callbacks.warn(f"{words} is left out: the job before it failed")
            continue
        callbacks.say(f"{job.reason}: {words}")
        ended = _run_job(workspace, fleet, job.arguments, callbacks)
        code = code or ended
        failed = job.reason if ended and job.arguments[0] in ("refresh", "publish", "score") else None
    if callbacks.stopping(0):
        return _RoundResult()
    _reconcile(workspace, callbacks)
    return _RoundResult(serves=fleet.reconcile(), failed=unknown or code != 0)


def _expire(expiration: ExpirationSchedule, callbacks: _Callbacks) -> None:
    """Between two rounds, when no job runs: tables that have lived as long as they may are removed."""
    if callbacks.stopping(0):
        return
    try:
        for line in expiration.run_due():
            callbacks.say(line)
    except Exception as error:  # noqa: BLE001  # what is left expires another time
        callbacks.warn(f"tables do not expire: {error}")


def _refresh_dashboards(dashboards: DashboardSchedule, callbacks: _Callbacks) -> None:
    """Between two rounds: answers of dashboards that are as old as they may be are renewed."""
    if callbacks.stopping(0):
        return
    try:
        for line in dashboards.run_due(lambda: callbacks.stopping(0)):
            callbacks.say(line)
    except Exception as error:  # noqa: BLE001  # what is due stays due
        callbacks.warn(f"dashboards are not refreshed: {error}")


def _run_job(workspace: Workspace, fleet: ServerFleet, arguments: tuple[str, ...], callbacks: _Callbacks) -> int:
    """Runs one job to its end, and says each line that it prints; returns its exit code."""
    process = run_process.start(workspace, arguments, piped=True)
    reader = threading.Thread(target=_say_lines, args=(process, arguments[0], callbacks.say), name="job", daemon=True)
    reader.start()
    while (code := _wait(process, callbacks)) is None:
        _reconcile(workspace, callbacks)
        fleet.reconcile()
    reader.join(LEFT)  # longer only where a process that the job left behind still holds its stderr
    return code


def _say_lines(process: Process, job: str, say: Callable[[str], None]) -> None:
    assert process.stdout is not None  # it was started with a pipe
    with process.stdout as printed:
        for line in printed:
            if text := line.decode("utf-8", "replace").strip():
                say(f"{job}: {text}")


def _wait(process: Process, callbacks: _Callbacks) -> int | None:
    """Waits for a job for the length of a round; returns its exit code, or None while it runs."""
    until = time.monotonic() + ROUND
    while process.poll() is None and time.monotonic() < until:
        if callbacks.stopping(LOOK):
            stop_all([process], within=GRACE, how=signal.SIGINT)
    return process.returncode


def _reconcile(workspace: Workspace, callbacks: _Callbacks) -> None:
    report = reconcile(workspace)
    for line in report.done:
        callbacks.say(line)
    for trouble in report.troubles:
        callbacks.warn(trouble)
