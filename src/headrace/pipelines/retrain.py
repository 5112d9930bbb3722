"""Retrain: the guards, a training, a deployment. Both are runs of their own, handed in by whoever puts the boxes together."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from headrace.deployment.retraining import RetrainDecision
from headrace.pipelines.deploy import DeploymentResult

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
    listen: Callable[[StepOutcome], None] | None,
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

    def guard(step: StepContext) -> dict[str, Json]:
        decision = decide()
        for line in decision.against:
            step.log(line)
        known = params()
        return {
            "because": decision.because,
            "against": list(decision.against),
            "alert": decision.alert,
            "params": None if known is None else dict(known),
            "says": decision.because if decision.allowed else "; ".join(decision.against) or "nothing asks for it",
        }

    def again(_: StepContext) -> dict[str, Json]:
        number = train(guards["params"], guards["alert"])
        return {"version": number, "says": f"version {number}"}

    def bring(_: StepContext) -> dict[str, Json]:
        result = deploy(trained["version"])
        return {**asdict(result), "says": f"version {result.version}: {result.ending}"}

    outcome = run.step("guards", key, guard)
    guards = cast("dict[str, Any]", outcome.output)
    if listen:
        listen(outcome)
    decision = RetrainDecision(because=guards["because"], against=tuple(guards["against"]), alert=guards["alert"])
    if not decision.allowed:
        return decision, None
    trained = cast("dict[str, Any]", run.step("train", key, again).output)
    came = cast("dict[str, Any]", run.step("deploy", key, bring).output)
    return decision, DeploymentResult(
        version=came["version"],
        ending=came["ending"],
        request=came["request"],
        missing=tuple(came["missing"]),
        findings=tuple(came["findings"]),
    )
