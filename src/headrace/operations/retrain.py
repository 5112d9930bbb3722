"""Retrains a model on an alert, on schedule or on request, unless a guard prevents it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.deployment.declarations import Retrain
from headrace.deployment.retraining import may_retrain
from headrace.monitoring import quality
from headrace.monitoring.declarations import Monitor
from headrace.operations import release_history
from headrace.operations.deploy import DeployReport, report_deployment, run_deployment
from headrace.operations.deployment_pattern import trains_here
from headrace.operations.job import announce, as_of_text, moment, one_deployment, open_job
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.train import run_training
from headrace.pipelines import retrain as pipeline
from headrace.pipelines.outputs.train import RegisteredVersion

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.deployment.declarations import Deployment
    from headrace.deployment.retraining import RetrainDecision
    from headrace.operations.job import Announcer, Listener
    from headrace.pipelines.deploy import DeploymentResult
    from headrace.training.declarations import Params
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class RetrainReport(Record):
    """What the guards say, and how far the new version came.

    Attributes:
        env: the environment.
        model: its name.
        because: what asks for it; empty where nothing does.
        against: the guards that are against it.
        alert: that asks for it.
        delivered: how far the new version came; None when it was not trained.
    """

    env: str
    model: str
    because: str
    against: tuple[str, ...]
    alert: int | None
    delivered: DeployReport | None


@operation("run retrain", of="name", publishes_catalog=True)
def retrain(
    workspace: Workspace,
    name: str | None = None,
    *,
    as_of: datetime | None = None,
    force: bool = False,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> RetrainReport:
    """Trains again when something asks for it and no guard is against it, then goes through the same gates.

    Args:
        workspace: where.
        name: the model; may be left out when there is only one that has a deployment.
        as_of: the training moment; None: the project's, or the present.
        force: a person asks: no alert is needed, cool-down and giving up do not bind.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    deployment = one_deployment(workspace.project, name)
    release_history.check_newest(workspace, to=f"train {deployment.name} again")
    registry, model = workspace.registry, deployment.model
    settings: dict[str, Json] = {"as_of": as_of_text(workspace, as_of), "force": force}
    declared, deployments = deployment.retrain or Retrain(), list[str]()
    announce(workspace, begin)
    with open_job(workspace, f"retrain {model.name}", settings, None) as run:
        at = moment(run)

        def params() -> Params | None:
            current = registry.current(model.name, "Production")
            return None if declared.tune or current is None else dict(current.params)

        def train(params: Params | None, alert: int | None) -> int:
            trained = run_training(workspace, model.name, as_of=at, params=params, alert=alert, listen=listen)
            return trained.outputs(RegisteredVersion, prefix="register")[0].version

        def deploy(version: int) -> DeploymentResult:
            deployed, result = run_deployment(workspace, deployment, version=version, as_of=at, listen=listen)
            deployments.append(deployed.id)
            return result

        decision, result = pipeline.retrain(
            run,
            decide=lambda: decide_retraining(workspace, deployment, as_of=at, force=force),
            params=params,
            train=train,
            deploy=deploy,
            listen=listen,
        )
    return RetrainReport(
        env=workspace.environment.name,
        model=deployment.name,
        because=decision.because,
        against=decision.against,
        alert=decision.alert,
        delivered=None
        if result is None
        else report_deployment(workspace, deployment.name, deployments[-1] if deployments else run.id, result),
    )


def decide_retraining(
    workspace: Workspace, deployment: Deployment, *, as_of: datetime, force: bool = False
) -> RetrainDecision:
    """What the guards of a training say now; nothing is done."""
    registry, model = workspace.registry, deployment.name
    decision = may_retrain(
        deployment.retrain or Retrain(),
        alerts=workspace.alerts.active(model),
        versions=registry.versions(model) if model in registry.models() else [],
        history=registry.history(model),
        refreshes=workspace.ledger.runs("refresh", limit=1),
        coverage=_coverage(workspace, deployment),
        as_of=as_of,
        force=force,
    )
    if trains_here(workspace, model):
        return decision
    lowest = workspace.ruling.policy.order[0]
    return replace(
        decision, against=(f"pattern='models': {lowest} trains it, and a version comes up", *decision.against)
    )


def _coverage(workspace: Workspace, deployment: Deployment) -> float | None:
    """The share of the decisions of the last judged window whose label is known."""
    current = workspace.registry.current(deployment.name, "Production")
    if current is None:
        return None
    window = (deployment.monitor or Monitor()).window
    kept = quality.stored(workspace.lakehouse, deployment.name, current.version, window)
    mature = [each for each in kept if each.mature]
    return mature[-1].coverage if mature else None
