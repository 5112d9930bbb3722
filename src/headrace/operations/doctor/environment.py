"""One environment: who acts, what may run, what is declared, and what dead processes left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError
from headrace.environments.lock_file import NAME as LOCK
from headrace.operations.doctor.finding import CheckFinding, bounded, failed, ok, warning
from headrace.operations.left_running import left_running
from headrace.workspace.runtime import latest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.workspace.workspace import Workspace

_RUNS = {"any": "any code", "commit": "committed code", "release": "releases"}


def identity(workspace: Workspace) -> Iterator[CheckFinding]:
    """Who acts, with their roles."""
    me = workspace.access.me()
    yield ok("who acts", f"{me.name}, {', '.join(sorted(me.roles)) or 'without a role'}")


def policy(workspace: Workspace) -> Iterator[CheckFinding]:
    """What may run, and whether the state database is that of the environment's folder."""
    ruling, name = workspace.ruling, workspace.configured.name
    lines = (*ruling.changed, *ruling.looser)
    yield CheckFinding(
        check="policy",
        result="failed" if ruling.changed else "warning" if lines else "ok",
        found="; ".join(lines) or f"{name} runs {_RUNS[ruling.policy.code]}",
        way=f"headrace env policy --env {name} shows it; --take-over makes what is committed the floor."
        if lines
        else "",
    )


def code(workspace: Workspace) -> Iterator[CheckFinding]:
    """The code that runs here."""
    found = workspace.code
    told = f"{found.kind} {found.release or found.commit or 'the working tree, outside git'}"
    yield warning("code", told, "uncommitted changes run in dev only.") if found.dirty else ok("code", told)


def runtime(workspace: Workspace) -> Iterator[CheckFinding]:
    """What is installed, against the lock file of the code that runs, and what the latest run had."""
    locked = workspace.environment.runtime == "locked"
    try:
        found = workspace.runtime
    except HeadraceError:  # the check of the code says it
        return
    more = f"; not locked, and installed: {bounded(found.extra)}" if found.extra and not found.unusable else ""
    ran = latest(workspace.state)
    more += f"; the latest run had Python {ran.python} on {ran.platform}, {ran.at:%Y-%m-%d %H:%M} UTC" if ran else ""
    if found.unusable or found.different:
        what = found.unusable or f"{len(found.different):,} differ: {bounded(found.different)}"
        way = f"pip install --no-index --find-links wheels -r {LOCK}, with the wheels of: headrace release bundle"
        yield (failed if locked else warning)("runtime", f"{what}{more}", way)
        return
    yield ok("runtime", f"the {found.locked:,} of {LOCK} of {workspace.code} are installed{more}")


def project(workspace: Workspace) -> Iterator[CheckFinding]:
    """What that code declares."""
    from headrace.pipelines.refresh import outline
    from headrace.training.declarations import Model

    try:
        tables = outline(workspace.project, workspace.lakehouse)
        models = workspace.project.all(Model)
    except HeadraceError as error:
        yield failed("project", str(error).splitlines()[0], error.hint)
        return
    yield ok("project", f"{len(tables)} tables, {len(models)} models declared")


def runs(workspace: Workspace) -> Iterator[CheckFinding]:
    """Runs of dead processes, which are closed."""
    swept = workspace.ledger.sweep()
    if swept:
        way = "the same command continues where they stopped."
        yield warning("runs", f"closed {len(swept)} runs of dead processes", way)
    else:
        yield ok("runs", "none was left by a dead process")


def mlflow_runs(workspace: Workspace) -> Iterator[CheckFinding]:
    """MLflow runs of dead processes."""
    left = left_running(workspace)
    if left:
        told = f"left RUNNING by dead processes: {', '.join(sorted(left))}"
        yield warning("mlflow runs", told, "the next `headrace run train` closes them as KILLED.")
    else:
        yield ok("mlflow runs", "none was left RUNNING by a dead process")
