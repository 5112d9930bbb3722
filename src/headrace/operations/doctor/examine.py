"""Every check, in the order in which they build on each other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, HeadraceError
from headrace.environments import config
from headrace.environments.notify import unusable_channels
from headrace.operations.doctor import environment as of_environment
from headrace.operations.doctor.extras import extras_of_declarations, extras_of_environment, extras_of_program
from headrace.operations.doctor.finding import failed, warning
from headrace.operations.doctor.folders import folders
from headrace.operations.doctor.installation import installation
from headrace.operations.doctor.limits import Check, run
from headrace.operations.doctor.lock_file import lock_file
from headrace.operations.doctor.release_tags import release_tags
from headrace.operations.doctor.stores import LAKEHOUSE, STATE, TRACKING, ask_channels, ask_stores
from headrace.operations.operation import operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from headrace.operations.doctor.finding import CheckFinding
    from headrace.operations.operation import At
    from headrace.workspace.workspace import Workspace

SECONDS = 30.0  # for a check that may import the project
NEEDS = {  # check → the stores without which it is not made
    "who acts": (STATE,),
    "policy": (STATE,),
    "code": (STATE,),
    "runtime": (STATE,),
    "project": (STATE, LAKEHOUSE),
    "imports": (STATE,),
    "notify": (),
    "runs": (STATE,),
    "mlflow runs": (STATE, TRACKING),
    "release tags": (STATE,),
}


def diagnose(at: At) -> list[CheckFinding]:
    """Examines an environment, or the installation alone where there is no project.

    Args:
        at: where.

    Raises:
        ConfigError: the `headrace.toml` of the project is malformed.
        NotFoundError: the project has no such environment.
    """
    try:
        config.find(at.folder or _here())
    except ConfigError as error:
        way = "headrace init NAME makes one; inside it, doctor checks its environments, too."
        return [*_installed(), warning("project", error.what, way)]
    return examine(at)


def _here() -> Path:
    from pathlib import Path

    return Path.cwd()


@operation("doctor")
def examine(workspace: Workspace) -> list[CheckFinding]:
    """Runs every check of an environment. Whoever acts need not be known: that is a finding."""
    return list(_checks(workspace))


def _installed() -> list[CheckFinding]:
    return run([Check("installation", installation)])


def _checks(workspace: Workspace) -> Iterator[CheckFinding]:
    configured, project = workspace.configured, workspace.config
    yield from _installed()
    yield from run(
        [
            Check("extras", partial(extras_of_environment, configured)),
            Check("locked versions", partial(lock_file, project.folder)),
            Check("folders", partial(folders, project, configured), "Is it on a network drive that is gone?"),
        ]
    )
    stores = ask_stores(project, configured)
    yield from stores
    away = {finding.check: finding for finding in stores if finding.result == "failed"}
    checks = _of_environment(workspace)
    for check in checks:
        if not away.keys() & NEEDS[check.name]:
            yield from run([check], seconds=SECONDS)
    yield from _left_out(checks, away)


def _of_environment(workspace: Workspace) -> list[Check]:
    return [
        Check("who acts", partial(of_environment.identity, workspace)),
        Check("policy", partial(of_environment.policy, workspace)),
        Check("code", partial(of_environment.code, workspace)),
        Check("runtime", partial(of_environment.runtime, workspace)),
        Check("imports", partial(_imports, workspace)),
        Check("project", partial(_declared, workspace), "Importing its module has to end."),
        Check("notify", partial(_channels, workspace), "Making its channels has to end."),
        Check("runs", partial(of_environment.runs, workspace)),
        Check("mlflow runs", partial(of_environment.mlflow_runs, workspace)),
        Check("release tags", partial(release_tags, workspace)),
    ]


def _left_out(checks: list[Check], away: Mapping[str, CheckFinding]) -> Iterator[CheckFinding]:
    names = [check.name for check in checks if away.keys() & NEEDS[check.name]]
    if names:
        stores = [name for name in (STATE, LAKEHOUSE, TRACKING) if name in away]
        yield failed("not checked", f"{', '.join(names)}: the {' and the '.join(stores)} does not answer", "See above.")


def _imports(workspace: Workspace) -> Iterator[CheckFinding]:
    try:
        folder, module = workspace.code.folder, workspace.project.settings.module
    except HeadraceError:  # the check of the code says it
        return
    yield from extras_of_program(folder, module)


def _declared(workspace: Workspace) -> Iterator[CheckFinding]:
    """What is declared, and what that needs."""
    for finding in of_environment.project(workspace):
        yield finding
        if finding.result == "ok":
            yield from extras_of_declarations(workspace.project)


def _channels(workspace: Workspace) -> Iterator[CheckFinding]:
    configured = workspace.configured

    def unusable() -> Mapping[str, HeadraceError]:
        importing = lambda name: workspace.project.imported(name)  # noqa: E731, PLW0108  # only where a channel needs it
        return unusable_channels(configured.notify, configured.name, importing)

    yield from ask_channels(configured, unusable)
