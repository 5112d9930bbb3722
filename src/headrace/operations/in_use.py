"""Which processes use an environment, by locks on this machine: writers share a lock, and a process that deletes holds it alone.

The run ledger alone is not enough: between reading it and deleting the first file, a run may begin.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from headrace.core.errors import BusyError, HeadraceError, RefusedError
from headrace.core.locks import hold
from headrace.operations.serving import lock_file

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from headrace.workspace.workspace import Workspace


def work_lock(workspace: Workspace) -> Path:
    """Held, shared, by each run, stream and load of an environment that was started on this machine."""
    return workspace.environment.root / "work.lock"


@contextmanager
def at_work(workspace: Workspace) -> Generator[None]:
    """Nothing of the environment is taken away meanwhile; any number of processes may be at work.

    Where the folder of an environment cannot be written, nothing in it can be taken away either, and there is no lock.

    Raises:
        BusyError: something is being taken away, or the environment was reset since this process opened it.
    """
    name = workspace.environment.name
    with ExitStack() as held:
        try:
            workspace.environment.root.mkdir(parents=True, exist_ok=True)
            held.enter_context(hold(work_lock(workspace), shared=True))
        except BlockingIOError:
            raise BusyError(
                f"something is being taken away from {name!r}, or a parity check has its tables. Nothing was begun.",
                hint="Start again afterwards.",
            ) from None
        except OSError:
            pass
        if workspace.state_is_gone():
            raise BusyError(f"{name!r} has just been reset. Nothing was begun.", hint="Start again.")
        yield


@contextmanager
def idle(workspace: Workspace, what: str) -> Generator[None]:
    """No run, stream or load writes the environment, or begins to. A scheduler may have it: itself, between two jobs.

    Args:
        workspace: the environment.
        what: is to be done, after "to".

    Raises:
        BusyError: says who does.
    """
    with ExitStack() as held:
        try:
            held.enter_context(hold(work_lock(workspace)))
        except BlockingIOError:
            _check_idle(workspace, what)
            raise BusyError(
                f"another process is at work in {workspace.environment.name!r}. Nothing was done.",
                hint=f"Wait for its end, to {what}: `headrace runs list` shows runs.",
            ) from None
        _check_idle(workspace, what)  # on other machines, too
        yield


@contextmanager
def alone(workspace: Workspace, what: str) -> Generator[None]:
    """Nothing else writes the environment, or begins to: no run, no scheduler, no stream, no load.

    Args:
        workspace: the environment.
        what: is to be done, after "to".

    Raises:
        BusyError: says who does.
    """
    environment = workspace.environment
    environment.root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(hold(workspace.up_lock))
        except BlockingIOError:
            raise BusyError(
                f"`headrace up` runs in {environment.name!r}. Nothing was done.", hint=f"Stop it first, to {what}."
            ) from None
        held.enter_context(idle(workspace, what))
        yield


def _check_idle(workspace: Workspace, what: str) -> None:
    """Names the stream or the run that is at work, on whatever machine.

    Raises:
        BusyError: there is one.
    """
    from headrace.inference.streaming.worker_status import told

    for each in told(workspace.environment.root):
        if not each["gone"]:
            raise BusyError(
                f"a stream of {each['model']} is at work (pid {each['pid']} on {each['host']}); it would go on writing. "
                "Nothing was done.",
                hint=f"Stop it first: kill {each['pid']}",
            )
    with unless_unreadable():
        running = workspace.ledger.alive()
        if running:
            raise BusyError(
                f"{running[0].job} is being run by {running[0].owner}, since "
                f"{running[0].started:%Y-%m-%d %H:%M:%S} UTC (run {running[0].id}). Nothing was done.",
                hint=f"Wait for it, or stop it, to {what}.",
            )


@contextmanager
def without_servers(workspace: Workspace) -> Generator[None]:
    """No server of the environment runs on this machine.

    Raises:
        BusyError: one does.
    """
    with ExitStack() as held:
        try:
            held.enter_context(hold(lock_file(workspace.environment)))
        except BlockingIOError:
            raise BusyError(
                f"`headrace serve` runs in {workspace.environment.name!r}. Nothing was done.",
                hint="Stop it first: its models and its log would go.",
            ) from None
        yield


@contextmanager
def unless_unreadable() -> Generator[None]:
    """A state database that cannot be read is one more reason to begin anew; a refusal stays one."""
    try:
        yield
    except RefusedError:
        raise
    except (HeadraceError, SQLAlchemyError):
        pass
