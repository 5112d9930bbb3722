"""Compliance: what a version must be like before it comes to Staging, whatever it predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.text import counted
from headrace.deployment.declarations import AtLeast, Documented, ForbidInputs, SignatureGate
from headrace.deployment.findings import GateFinding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.deployment.declarations import Gate
    from headrace.deployment.serving_bundle import Staged
    from headrace.features.plan import FeaturePlan
    from headrace.registry.records import Version
    from headrace.training.declarations import Model


def comply(
    gates: Sequence[Gate], model: Model, version: Version, staged: Staged, described: Mapping[str, str]
) -> list[GateFinding]:
    """The findings of the gates that look at one version alone, in declared order.

    Args:
        gates: of the deployment.
        model: as the running code declares it.
        version: which is to come to Staging.
        staged: its copy for serving, with the samples.
        described: table → description, of every table that the model reads.
    """
    return list(_findings(gates, model, version, staged, described))


def _findings(
    gates: Sequence[Gate], model: Model, version: Version, staged: Staged, described: Mapping[str, str]
) -> Iterator[GateFinding]:
    for gate in gates:
        if isinstance(gate, SignatureGate):
            yield _signature(staged)
        elif isinstance(gate, Documented):
            yield _documented(model, described)
        elif isinstance(gate, ForbidInputs):
            yield _forbidden(gate, staged.plan)
        elif isinstance(gate, AtLeast):
            yield _at_least(gate, model, version)


def _signature(staged: Staged) -> GateFinding:
    expected, found = list(staged.plan_inputs), list(staged.signature_inputs)
    if expected != found:
        stray = sorted(set(expected) ^ set(found)) or found
        reason = f"the logged signature is not that of the features: {', '.join(stray)}"
    elif staged.mismatches:
        reason = f"{staged.mismatches} of {staged.samples} samples differ between MLflow's pyfunc and ours"
    elif staged.samples == 0:
        return GateFinding(
            gate="signature", result="no decision", value=0, limit=1, reason="there are no rows to try it on"
        )
    else:
        reason = f"{len(found)} inputs; {staged.samples} samples answered alike to the last bit"
        return GateFinding(gate="signature", result="passed", value=0, limit=0, reason=reason)
    return GateFinding(gate="signature", result="failed", value=staged.mismatches, limit=0, reason=reason)


def _documented(model: Model, described: Mapping[str, str]) -> GateFinding:
    things = {f"model {model.name}": model.description, **described}
    silent = [name for name, text in things.items() if not text.strip()]
    reason = f"no description: {', '.join(silent)}" if silent else counted(len(things), "description")
    return GateFinding(
        gate="documented", result="failed" if silent else "passed", value=len(silent), limit=0, reason=reason
    )


def _forbidden(gate: ForbidInputs, plan: FeaturePlan) -> GateFinding:
    sources = {
        *plan.spine_columns,
        *(column for lookup in plan.lookups for pair in lookup.columns for column in pair),
        *(column for call in plan.calls for column in call.inputs),
    }
    used = [name for name in gate.columns if name in sources]
    reason = f"features are made from {', '.join(used)}" if used else f"none of {', '.join(gate.columns)} is used"
    return GateFinding(
        gate="forbid_inputs", result="failed" if used else "passed", value=", ".join(used), limit="none", reason=reason
    )


def _at_least(gate: AtLeast, model: Model, version: Version) -> GateFinding:
    value = version.metrics.get(gate.metric)
    said = f"{gate.metric} on the test rows"
    if value is None:
        reason = f"{said} was not measured" if gate.metric not in version.metrics else f"{said} has no value"
        return GateFinding(gate="at_least", result="no decision", value=None, limit=gate.limit, reason=reason)
    high_is_good = model.known_metrics[gate.metric].direction == "maximize"
    good = value >= gate.limit if high_is_good else value <= gate.limit
    reason = f"{said} is {value:.4f}, {'at least' if high_is_good else 'at most'} {gate.limit:g} is asked for"
    return GateFinding(
        gate="at_least", result="passed" if good else "failed", value=value, limit=gate.limit, reason=reason
    )
