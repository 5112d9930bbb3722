"""The gates of the code that runs here, put in force before anything is decided by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.deployment import policy
from headrace.deployment.declarations import Deployment
from headrace.registry.records import policy_hash

if TYPE_CHECKING:
    from headrace.registry.records import Policy
    from headrace.workspace.workspace import Workspace


def declare(workspace: Workspace, deployment: Deployment, *, by: str) -> Policy:
    """What this deployment asks for is in force from now on."""
    return policy.declare(workspace.registry, deployment, code=str(workspace.code), by=by)


def declare_for(workspace: Workspace, model: str, *, by: str) -> Policy | None:
    """The same for a model of that name; None where the code that runs deploys none: what was in force stays."""
    for deployment in workspace.project.all(Deployment):
        if deployment.name == model:
            return declare(workspace, deployment, by=by)
    return None


def hash_of(deployment: Deployment) -> str:
    """What would be in force, for a dry run."""
    ramp = None if deployment.ramp is None else deployment.ramp.plan.to_json()
    return policy_hash(policy.gates(deployment), policy.roles(deployment), ramp)
