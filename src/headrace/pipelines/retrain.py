"""Retrain: the guards, a training, a deployment. Both are runs of their own, handed in by whoever puts the boxes together."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from headrace.deployment.retraining import RetrainDecision
from headrace.pipelines.deploy import DeploymentResult, Ending
from headrace.pipelines.outputs.retrain import DeployedVersion, RetrainGuards, TrainedVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.core.ids import Json
    from headrace.jobs.run import Run, StepContext, StepOutcome
    from headrace.training.declarations import Params


def retrain(
    run: Run,
    *,
    decide: Callable[[], RetrainDecision],
    params: Callable[[], Params | None],
    train: Callable[[Params | None, int | None], int],
    deploy: Callable[[int], DeploymentResult],
    listen: Callable[[StepOutcome[Any]], None] | None,
) -> tuple[RetrainDecision, DeploymentResult | None]:
    """Trains again when the guards allow it, then brings the version through its gates.

    Args:
        run: of the ledger; what it has done before it was cut off is not done again.
        decide: what the guards say.
        params: to fit with; None: they are searched for.
        train: with these parameters, for this alert; returns the number of the version.
        deploy: brings a version as far as its gates let it come.
        listen: called with what the guards say; trainings and deployments report by themselves.

    Returns:
        What the guards say, and how far the new version came; None when it was not trained.
    """
    key: dict[str, Json] = {"run": run.id}

    def guard(step: StepContext) -> RetrainGuards:
        decision = decide()
        for line in decision.against:
            step.log(line)
        return RetrainGuards(because=decision.because, against=decision.against, alert=decision.alert, params=params())

    def again(_: StepContext) -> TrainedVersion:
        return TrainedVersion(version=train(guards.params, guards.alert))

    def bring(_: StepContext) -> DeployedVersion:
        return DeployedVersion(**asdict(deploy(trained.version)))

    outcome = run.step("guards", key, guard, output=RetrainGuards)
    guards = outcome.output
    if listen:
        listen(outcome)
    decision = RetrainDecision(because=guards.because, against=tuple(guards.against), alert=guards.alert)
    if not decision.allowed:
        return decision, None
    trained = run.step("train", key, again, output=TrainedVersion).output
    came = run.step("deploy", key, bring, output=DeployedVersion).output
    return decision, DeploymentResult(
        version=came.version,
        ending=cast("Ending", came.ending),
        request=came.request,
        missing=tuple(came.missing),
        findings=tuple(came.findings),
    )
