"""What a deployment would do now, for a dry run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.text import percent
from headrace.deployment import comparison
from headrace.deployment.gates.base import of_phase
from headrace.pipelines.candidate import choose
from headrace.pipelines.planned_step import PlannedStep
from headrace.pipelines.stage_steps import standing_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.deployment.declarations import Deployment
    from headrace.registry.records import Version
    from headrace.registry.registry import Registry


def outline(
    deployment: Deployment, registry: Registry, *, version: int | None, roles: Sequence[str], policy: str
) -> list[PlannedStep]:
    """What a deployment of a version would do now.

    Args:
        deployment: declares the gates.
        registry: where the version stands; nothing of it is changed.
        version: its number; default: the newest that is not archived.
        roles: whose approval it takes.
        policy: the hash of what the running code declares.
    """
    gates = [gate.name for gate in of_phase(deployment.gates, "check")]
    compared = [" ".join((gate.name, *gate.metrics)) for gate in of_phase(deployment.gates, "compare")]
    on_rollout = registry.current(deployment.name, "Production") is not None  # the first version comes there at once
    found = (
        None
        if version is None and deployment.name not in registry.models()
        else choose(registry, deployment.name, version)
    )
    to_staging, to_production, last = _runs(registry, found, policy)
    return [
        PlannedStep(
            step="copy", runs="yes" if found else last, writes="the copy that servers start from, with samples"
        ),
        PlannedStep(step="check", runs=to_staging, takes=", ".join(gates), writes="findings on the version"),
        PlannedStep(step="ask for Staging", runs=to_staging, writes="a request with the findings"),
        PlannedStep(step="Staging", runs=to_staging, takes="all checks passed", writes="the stage"),
        PlannedStep(step="compare", runs=to_production, takes=", ".join(compared), writes=comparison.TABLE),
        PlannedStep(
            step="ask for Production",
            runs=to_production,
            takes="all comparisons passed",
            writes="a request with the evidence",
        ),
        *_last_steps(deployment, roles, on_rollout=on_rollout, runs=last),
    ]


def _runs(registry: Registry, version: Version | None, policy: str) -> tuple[str, str, str]:
    """Whether the steps up to Staging, those up to the request for Production, and the last one run, and why not."""
    if version is None:
        return _thrice("once a version is trained")
    if version.stage == "Production":
        return _thrice("no: it is in Production")
    request = standing_request(registry, version, policy, "Production")
    to_production = "yes" if request is None else f"no: request {request.id} stands, {request.status}"
    if version.stage != "Staging":
        return "yes", to_production, "yes"
    decision = registry.authorization.to_staging(version)
    if decision is not None and decision.policy_hash == policy:
        return f"no: decision {decision.id} stands", to_production, "yes"
    return "again: the gates have changed", to_production, "yes"


def _thrice(reason: str) -> tuple[str, str, str]:
    return reason, reason, reason


def _last_steps(deployment: Deployment, roles: Sequence[str], *, on_rollout: bool, runs: str) -> list[PlannedStep]:
    approved = ", ".join(f"approval by {role}" for role in roles)
    if deployment.rollout is None or not on_rollout:
        return [PlannedStep(step="Production", runs=runs, takes=approved, writes="the stage")]
    plan, stops = deployment.rollout.plan, ", ".join(rule.name for rule in deployment.rollout.guardrails)
    steps = ", ".join(percent(each) for each in plan.steps)
    return [
        PlannedStep(step="rollout", runs=runs, takes=approved, writes=f"a share of the entities: {steps}"),
        PlannedStep(
            step="Production", runs=runs, takes=f"its steps, and no stop by {stops or 'a person'}", writes="the stage"
        ),
    ]
