"""Checks of an installation and a project: each reports what was checked, whether it is in order, and what to do."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy.exc import SQLAlchemyError

from headrace.core.errors import HeadraceError
from headrace.operations.left_running import left_running
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.workspace.workspace import Workspace

CORE = ("click", "deltalake", "duckdb", "mlflow-skinny", "numpy", "pandas", "pyarrow", "sqlalchemy", "sqlglot")
MLFLOW = "3.17."
_RUNS = {"any": "any code", "commit": "committed code", "release": "releases"}


@dataclass(frozen=True, kw_only=True)
class CheckFinding(Record):
    """What one check found.

    Attributes:
        check: what was looked at.
        result: `ok`, `warning` or `failed`.
        found: what is there, in words.
        way: the next step; empty where all is well.
    """

    check: str
    result: Literal["ok", "warning", "failed"]
    found: str
    way: str = ""


@operation("doctor")
def examine(workspace: Workspace) -> list[CheckFinding]:
    """Runs every check, in the order in which they build on each other. Whoever acts need not be known: that is a finding."""
    return list(_checks(workspace))


def _checks(workspace: Workspace) -> Iterator[CheckFinding]:
    yield _python()
    yield _libraries()
    yield _mlflow()
    yield _git()
    yield from _folders(workspace)
    yield _identity(workspace)
    yield _policy(workspace)
    yield _code(workspace)
    yield from _project(workspace)
    yield _runs(workspace)
    yield _mlflow_runs(workspace)


def _python() -> CheckFinding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return CheckFinding(
        check="python",
        result="ok" if sys.version_info >= (3, 11) else "failed",
        found=found,
        way="" if sys.version_info >= (3, 11) else "Headrace needs 3.11 or newer.",
    )


def _libraries() -> CheckFinding:
    found, missing = [], []
    for name in CORE:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return CheckFinding(
            check="libraries", result="failed", found=f"missing: {', '.join(missing)}", way="pip install headrace"
        )
    return CheckFinding(check="libraries", result="ok", found=", ".join(found))


def _mlflow() -> CheckFinding:
    found = version("mlflow-skinny")
    well = found.startswith(MLFLOW)
    return CheckFinding(
        check="mlflow version",
        result="ok" if well else "failed",
        found=found,
        way=""
        if well
        else f"pip install 'mlflow-skinny=={MLFLOW}*': another minor migrates the store and locks this one out.",
    )


def _git() -> CheckFinding:
    found = shutil.which("git")
    return CheckFinding(
        check="git",
        result="ok" if found else "warning",
        found=found or "not installed",
        way="" if found else "staging and prod run committed code only.",
    )


def _folders(workspace: Workspace) -> Iterator[CheckFinding]:
    environment = workspace.configured
    for check, place in (("lakehouse folder", environment.lakehouse_root), ("state folder", environment.root)):
        if "://" in str(place):
            continue
        folder = Path(place)
        nearest = next(each for each in (folder, *folder.parents) if each.exists())
        well = os.access(nearest, os.W_OK)
        yield CheckFinding(
            check=check,
            result="ok" if well else "failed",
            found=str(folder),
            way="" if well else f"{nearest} cannot be written.",
        )
    free = shutil.disk_usage(workspace.config.folder).free / 2**30
    yield CheckFinding(
        check="disk",
        result="ok" if free > 1 else "warning",
        found=f"{free:.1f} GiB free",
        way="" if free > 1 else "make room.",
    )


def _identity(workspace: Workspace) -> CheckFinding:
    try:
        me = workspace.access.me()
    except HeadraceError as error:
        return CheckFinding(check="who acts", result="failed", found=error.what, way=error.hint)
    return CheckFinding(
        check="who acts", result="ok", found=f"{me.name}, {', '.join(sorted(me.roles)) or 'without a role'}"
    )


def _policy(workspace: Workspace) -> CheckFinding:
    """What may run, and whether the state database is that of the environment's folder."""
    try:
        ruling = workspace.ruling
    except (HeadraceError, SQLAlchemyError) as error:
        return _failed("policy", error)
    name, policy = workspace.configured.name, ruling.policy
    lines = (*ruling.changed, *ruling.looser)
    return CheckFinding(
        check="policy",
        result="failed" if ruling.changed else "warning" if lines else "ok",
        found="; ".join(lines) or f"{name} runs {_RUNS[policy.code]}",
        way=f"headrace env policy --env {name} shows it; --take-over makes what is committed the floor."
        if lines
        else "",
    )


def _failed(check: str, error: Exception) -> CheckFinding:
    said = error.what if isinstance(error, HeadraceError) else type(error).__name__
    found = "; ".join((said, *error.findings)) if isinstance(error, HeadraceError) else said
    return CheckFinding(
        check=check, result="failed", found=found, way=error.hint if isinstance(error, HeadraceError) else ""
    )


def _code(workspace: Workspace) -> CheckFinding:
    try:
        code = workspace.code
    except HeadraceError as error:
        return CheckFinding(check="code", result="failed", found=error.what, way=error.hint)
    found = code.release or code.commit or "the working tree, outside git"
    return CheckFinding(
        check="code",
        result="warning" if code.dirty else "ok",
        found=f"{code.kind} {found}",
        way="uncommitted changes run in dev only." if code.dirty else "",
    )


def _project(workspace: Workspace) -> Iterator[CheckFinding]:
    from headrace.pipelines.refresh import outline
    from headrace.training.declarations import Model

    try:
        tables = outline(workspace.project, workspace.lakehouse)
        models = workspace.project.all(Model)
    except HeadraceError as error:
        yield CheckFinding(check="project", result="failed", found=str(error).splitlines()[0], way=error.hint)
        return
    yield CheckFinding(check="project", result="ok", found=f"{len(tables)} tables, {len(models)} models declared")


def _runs(workspace: Workspace) -> CheckFinding:
    try:
        swept = workspace.ledger.sweep()
    except HeadraceError as error:
        return CheckFinding(check="runs", result="failed", found=error.what, way=error.hint)
    if swept:
        return CheckFinding(
            check="runs",
            result="warning",
            found=f"closed {len(swept)} runs of dead processes",
            way="the same command continues where they stopped.",
        )
    return CheckFinding(check="runs", result="ok", found="none was left by a dead process")


def _mlflow_runs(workspace: Workspace) -> CheckFinding:
    try:
        left = left_running(workspace)
    except (HeadraceError, SQLAlchemyError) as error:
        return _failed("mlflow runs", error)
    if left:
        return CheckFinding(
            check="mlflow runs",
            result="warning",
            found=f"left RUNNING by dead processes: {', '.join(sorted(left))}",
            way="the next `headrace run train` closes them as KILLED.",
        )
    return CheckFinding(check="mlflow runs", result="ok", found="none was left RUNNING by a dead process")
