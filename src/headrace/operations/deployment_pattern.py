"""Where the versions of a model are made, by its deployment pattern: here, or in the lowest environment, from which they come up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError, RefusedError
from headrace.deployment.declarations import Deployment

if TYPE_CHECKING:
    from headrace.deployment.declarations import Pattern
    from headrace.workspace.workspace import Workspace


def pattern_of(workspace: Workspace, model: str) -> Pattern:
    """The pattern that a model's deployment declares; `code` for a model without one."""
    declared: list[Pattern] = [each.pattern for each in workspace.project.all(Deployment) if each.name == model]
    return declared[0] if declared else "code"


def comes_up(workspace: Workspace, model: str) -> bool:
    """Whether a version that a release asks for comes up from the environment below, and is not trained here.

    The lowest environment trains, and so does a temporary one, whose training is the test of it.
    """
    return pattern_of(workspace, model) != "code" and not _is_origin(workspace)


def trains_here(workspace: Workspace, model: str) -> bool:
    """Whether versions of a model may be trained in this environment."""
    return pattern_of(workspace, model) != "models" or _is_origin(workspace)


def check_trains_here(workspace: Workspace, model: str) -> None:
    """Refuses training where versions come up from below alone.

    Raises:
        RefusedError: the deployment's pattern is `models`, and this is not the lowest environment.
    """
    if trains_here(workspace, model):
        return
    lowest, here = workspace.ruling.policy.order[0], workspace.configured.name
    raise RefusedError(
        f"{model} is not trained in {here}: its deployment has pattern='models', so {lowest} trains it.",
        hint=f"headrace model promote {model} --env {here} brings a version up; pattern='hybrid' trains here, too.",
    )


def to_deploy(workspace: Workspace, model: str, version: int | None) -> int | None:
    """The number of the version that is deployed where that one is asked for, or none; None: the newest that is not archived.

    Raises:
        RefusedError: it was trained here, where versions come up from below alone.
        NotFoundError: there is no such version, or none that came up.
    """
    if trains_here(workspace, model) or model not in workspace.registry.models():
        return version
    if version is None:
        up = [each.version for each in workspace.registry.versions(model) if each.promoted and each.stage != "Archived"]
        if not up:
            raise NotFoundError(
                "active version that came up of model",
                model,
                None,
                hint=f"headrace model promote {model} brings one up.",
            )
        return up[-1]
    if workspace.registry.get(model, version).promoted is None:
        raise RefusedError(
            f"{model}/{version} was trained in {workspace.configured.name}, and its deployment has pattern='models'.",
            hint=f"headrace model promote {model} brings a version up; pattern='hybrid' takes those that are trained here, too.",
        )
    return version


def _is_origin(workspace: Workspace) -> bool:
    return workspace.is_lowest or workspace.configured.temporary
