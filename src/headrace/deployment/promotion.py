"""Moves an approved version to its stage: at once, or by a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.deployment import rollouts

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.registry.records import Decision
    from headrace.registry.registry import Registry


def promote(registry: Registry, decision: Decision, *, home: Path, by: str) -> bool:
    """Moves a version by a decision, or begins the rollout that it was approved with.

    Args:
        registry: which moves.
        decision: that approved it; it is spent by this.
        home: the folder in which servers of the model look.
        by: who moves it.

    Returns:
        Whether it is on a rollout.
    """
    version, plan = registry.get(decision.model, decision.version), registry.authorization.plan(decision)
    if plan is None:
        registry.move(version, decision.to, expect=version.stage, decision=decision, by=by)
    else:
        reason = f"request {decision.request} approved"
        rollouts.begin(registry, version, decision, plan, home=home, by=by, reason=reason)
    return plan is not None
