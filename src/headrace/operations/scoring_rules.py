"""Rules of scoring: which version may score, which rows, and where its predictions may be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.access.rights import roles
from headrace.core.errors import RefusedError
from headrace.deployment.declarations import Deployment
from headrace.inference.declarations import Files
from headrace.inference.destinations.place import folder, same
from headrace.operations import reserved_tables

if TYPE_CHECKING:
    from typing import Literal

    from headrace.inference.declarations import Into
    from headrace.workspace.workspace import Workspace

SCRATCH = "--into scratch.predictions"


def gates_hold(workspace: Workspace, model: str) -> bool:
    """Whether only the version in Production speaks for a model: gates are declared, and this is not the lowest environment.

    Gates count that the code which runs declares, and those that are in force: an older release may know of none.
    """
    if workspace.is_lowest and workspace.environment.code == "any":
        return False
    declared = any(each.gates for each in workspace.project.all(Deployment) if each.name == model)
    return declared or bool(workspace.registry.policies.current(model).gates)


def check(
    workspace: Workspace,
    deployment: Deployment,
    *,
    version: int | Literal["then"] | None,
    into: tuple[Into, ...] | None,
    given: bool,
) -> bool:
    """Refuses a version that no gate has passed where gates hold, rows that somebody chose, and places of something else.

    Args:
        workspace: the environment.
        deployment: of the model.
        version: that was asked for.
        into: where predictions were asked to go; default: as declared.
        given: whether rows are scored that somebody gives, instead of the spine.

    Returns:
        Whether only the version in Production scores here.

    Raises:
        RefusedError: a version that is not in Production, or given rows, would write what the declared places hold; whoever
            asked has no right to choose a version; or a place is not one for these predictions.
    """
    for each in into or ():
        _check_place(workspace, deployment, each)
    gated = gates_hold(workspace, deployment.name)
    if not gated:
        return gated
    places = ", ".join(sorted(map(str, deployment.score.destinations)))
    into_declared = into is None or any(_is_declared(workspace, deployment, each) for each in into)
    if isinstance(version, int):
        _check_version(workspace, deployment, version, into_declared=into_declared, said=into is not None)
    if given and into_declared:
        raise RefusedError(
            f"rows that are given are not scored into {places}, which holds what Production says of the spine's own decisions.",
            hint=f"Say where: {SCRATCH}",
        )
    return gated


def _check_version(
    workspace: Workspace, deployment: Deployment, version: int, *, into_declared: bool, said: bool
) -> None:
    """A version that is named, where gates hold."""
    registry = workspace.registry
    found = registry.get(deployment.name, version)
    if found.stage == "Production":
        return
    workspace.access.me().require(
        *roles("run score --version N", lowest=workspace.is_lowest),
        to=f"score by {found.name}, which is in {found.stage}",
    )
    served = registry.authorization.has_served(found)
    if into_declared and not (said and served):
        places = ", ".join(sorted(map(str, deployment.score.destinations)))
        raise RefusedError(
            f"{found.name} is in {found.stage}: what it predicts does not go into {places}, which holds what Production says.",
            hint=f"Say where: {SCRATCH}" + (f", or --into {places} to have it there all the same." if served else "."),
        )


def _is_declared(workspace: Workspace, deployment: Deployment, into: Into) -> bool:
    return any(same(into, each, workspace.environment) for each in reserved_tables.predictions(deployment))


def _check_place(workspace: Workspace, deployment: Deployment, into: Into) -> None:
    """Predictions overwrite nothing else."""
    project, environment = workspace.project, workspace.environment
    held = reserved_tables.declared_tables(project).get(into) if isinstance(into, str) else None
    own = reserved_tables.predictions(deployment)
    if held is None and any(_equal(into, each, workspace) for each in own):
        return
    if isinstance(into, Files):
        reserved_tables.check_outside(
            workspace, folder(into, environment), f"predictions of {deployment.name} do not go"
        )
    if isinstance(into, str):
        held = held or reserved_tables.derived_tables(project).get(into)
    for other in project.all(Deployment):
        if other.name != deployment.name and any(
            same(into, each, environment) for each in reserved_tables.predictions(other)
        ):
            held = held or f"predictions of {other.name}"
    if held is not None:
        raise RefusedError(
            f"predictions of {deployment.name} do not go into {str(into)!r}, which holds something else: {held}.",
            hint=f"Name a place of its own: {SCRATCH}",
        )


def _equal(one: Into, other: Into, workspace: Workspace) -> bool:
    """The same place; a folder inside of a declared one is another."""
    environment = workspace.environment
    if isinstance(one, Files) and isinstance(other, Files):
        return folder(one, environment) == folder(other, environment)
    return same(one, other, environment)
