"""Which version may score here, and where its predictions may go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.access.rights import roles
from headrace.core.errors import RefusedError
from headrace.deployment.declarations import Deployment
from headrace.features.declarations import FeatureTable
from headrace.lakehouse.declarations import Source, Table

if TYPE_CHECKING:
    from typing import Literal

    from headrace.inference.declarations import Into
    from headrace.workspace.workspace import Workspace


def is_gated(workspace: Workspace, deployment: Deployment) -> bool:
    """Whether only the version in Production scores: gates are declared, and it is not the lowest environment.

    Gates count that the code which runs declares, and those that are in force: an older release may know of none.
    """
    if workspace.is_lowest and workspace.environment.code == "any":
        return False
    return bool(deployment.gates or workspace.registry.policies.current(deployment.name).gates)


def check(
    workspace: Workspace,
    deployment: Deployment,
    *,
    version: int | Literal["then"] | None,
    into: tuple[Into, ...] | None,
) -> bool:
    """Refuses a version that no gate has passed where gates hold, and predictions in tables that hold something else.

    Args:
        workspace: the environment.
        deployment: of the model.
        version: that was asked for.
        into: where predictions were asked to go; as declared unless said.

    Returns:
        Whether only the version in Production scores here.

    Raises:
        RefusedError: a version that is not in Production would write what the declared tables hold, whoever asked has no
            right to choose one, or a table is not one of predictions.
    """
    _check_tables(workspace, deployment, into or ())
    gated = is_gated(workspace, deployment)
    if not gated or not isinstance(version, int):
        return gated
    registry = workspace.registry
    found = registry.get(deployment.name, version)
    if found.stage == "Production":
        return gated
    workspace.access.me().require(
        *roles("run score --version N", lowest=workspace.is_lowest),
        to=f"score by {found.name}, which is in {found.stage}",
    )
    declared = {str(each) for each in deployment.score.destinations}
    into_declared = into is None or any(str(each) in declared for each in into)
    if into_declared and not (into is not None and registry.traffic.has_served(found)):
        table = ", ".join(sorted(declared))
        raise RefusedError(
            f"{found.name} is in {found.stage}: what it predicts does not go into {table}, which holds what Production says.",
            hint="Say where: --into scratch.predictions"
            + (f", or --into {table} to have it there all the same." if registry.traffic.has_served(found) else "."),
        )
    return gated


def _check_tables(workspace: Workspace, deployment: Deployment, into: tuple[Into, ...]) -> None:
    """Predictions overwrite no table of something else."""
    project = workspace.project
    others = {
        each.name: str(each.where) for each in (*project.all(Source), *project.all(Table), *project.all(FeatureTable))
    }
    for each in project.all(Deployment):
        if each.name != deployment.name:
            others |= dict.fromkeys(each.score.tables, f"predictions of {each.name}")
    for table in (each for each in into if isinstance(each, str)):
        if table in others:
            raise RefusedError(
                f"predictions of {deployment.name} do not go into {table!r}, which holds something else: {others[table]}.",
                hint="Name a table of its own: --into scratch.predictions",
            )
