"""The gate `signature`: the version is unchanged since its registration, and both predictors return the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.deployment.findings import GateFinding
from headrace.deployment.gates.base import Gate, Phase

if TYPE_CHECKING:
    from headrace.deployment.gates.evidence import Evidence


@dataclass(frozen=True)
class Signature(Gate):
    """The artifact is whole, its signature is that of the plan, and it predicts its own samples as MLflow's pyfunc does."""

    @property
    def name(self) -> str:
        """`signature`."""
        return "signature"

    @property
    def phase(self) -> Phase:
        """On the version alone."""
        return "check"

    def evaluate(self, evidence: Evidence) -> GateFinding:
        """Passed when the columns are the same and no sample differs; without samples there is no decision."""
        staged = evidence.staged
        answers = evidence.model.predict is not None  # two answers of a language model differ: none are compared
        if staged is None or (not answers and staged.samples == 0 and staged.plan_inputs == staged.signature_inputs):
            return GateFinding(
                gate=self.name, result="no decision", value=0, limit=1, reason="there are no rows to try it on"
            )
        planned, logged = staged.plan_inputs, staged.signature_inputs
        passed = planned == logged and not staged.mismatches
        if planned != logged:
            stray = sorted({*planned} ^ {*logged}) or logged
            reason = f"the logged signature is not that of the features: {', '.join(stray)}"
        elif staged.mismatches:
            reason = f"{staged.mismatches} of {staged.samples} samples differ between MLflow's pyfunc and ours"
        elif answers:
            reason = f"{len(logged)} inputs"
        else:
            reason = f"{len(logged)} inputs; {staged.samples} samples answered alike to the last bit"
        result = "passed" if passed else "failed"
        return GateFinding(gate=self.name, result=result, value=staged.mismatches, limit=0, reason=reason)


def signature() -> Signature:
    """A gate: the version is what was registered, and predicts its samples to the last bit as MLflow's pyfunc does.

    Returns:
        The gate, for `hr.Deployment(gates=[…])`.

    Example:
        `evidence` is what is known of a version, of which a copy for serving was made:

        >>> hr.signature().evaluate(evidence).reason
        '2 inputs; 200 samples answered alike to the last bit'
    """
    return Signature()
