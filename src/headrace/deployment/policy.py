"""The gates, roles and rollout that a deployment declares, as the registry stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.deployment.declarations import Deployment
    from headrace.registry.records import PromotionPolicy
    from headrace.registry.registry import Registry


def gates(deployment: Deployment) -> tuple[str, ...]:
    """Each gate with all that it says, in declared order."""
    return tuple(repr(gate) for gate in deployment.gates)


def roles(deployment: Deployment, also: Sequence[str] = ()) -> tuple[str, ...]:
    """Whose approval Production takes: of the roles that gates name, and of those that the environment asks for."""
    return tuple(dict.fromkeys([*(role for gate in deployment.gates for role in gate.roles), *also]))


def declare(registry: Registry, deployment: Deployment, *, roles: Sequence[str], code: str, by: str) -> PromotionPolicy:
    """Puts what a deployment says in force: what was asked for and approved under other gates is replaced.

    Args:
        registry: which keeps it.
        deployment: of the code that runs.
        roles: whose approval Production takes.
        code: that runs.
        by: who runs it.
    """
    return registry.policies.declare(
        deployment.name,
        gates=gates(deployment),
        roles=roles,
        rollout=None if deployment.rollout is None else deployment.rollout.plan.to_json(),
        code=code,
        by=by,
    )
