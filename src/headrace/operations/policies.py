"""Puts the gates of the running code in force before anything is decided by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.deployment import policy
from headrace.deployment.declarations import Deployment
from headrace.operations import release_history
from headrace.registry.records import policy_hash

if TYPE_CHECKING:
    from headrace.registry.records import PromotionPolicy
    from headrace.workspace.workspace import Workspace


def needed(workspace: Workspace, deployment: Deployment) -> tuple[str, ...]:
    """Whose approval Production takes: of the roles that gates name, and of those that the environment asks for.

    Nobody's in the lowest environment while one person alone is there and any code runs: there is nobody else to see it. Nobody's
    in the temporary environment of a test, which decides nothing.
    """
    if workspace.configured.temporary:
        return ()
    asked = policy.roles(deployment, workspace.environment.approvals)
    alone = workspace.is_lowest and workspace.environment.code == "any" and len(workspace.access.people()) == 1
    return () if alone else asked


def declare(workspace: Workspace, deployment: Deployment, *, by: str) -> PromotionPolicy:
    """What this deployment asks for is in force from now on.

    Raises:
        RefusedError: an older release says so, or one of another repository.
    """
    release_history.check_newest(workspace, to=f"decide on {deployment.name}")
    roles = needed(workspace, deployment)
    return policy.declare(workspace.registry, deployment, roles=roles, code=str(workspace.code), by=by)


def declare_for(workspace: Workspace, model: str, *, by: str) -> PromotionPolicy | None:
    """The same for a model of that name; None where the code that runs deploys none: what was in force stays."""
    for deployment in workspace.project.all(Deployment):
        if deployment.name == model:
            return declare(workspace, deployment, by=by)
    return None


def hash_of(workspace: Workspace, deployment: Deployment) -> str:
    """What would be in force, for a dry run."""
    rollout = None if deployment.rollout is None else deployment.rollout.plan.to_json()
    return policy_hash(policy.gates(deployment), needed(workspace, deployment), rollout)
