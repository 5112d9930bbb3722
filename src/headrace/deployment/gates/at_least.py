"""The gate `at_least`: a metric on the test rows reaches a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.declaration import check_numbers
from headrace.deployment.findings import GateFinding
from headrace.deployment.gates.base import Gate, Phase
from headrace.training.metrics.base import metric_name

if TYPE_CHECKING:
    from headrace.deployment.gates.evidence import Evidence
    from headrace.training.metrics.base import Metric


@dataclass(frozen=True)
class AtLeast(Gate):
    """The metric on the version's own test rows is at least as good as a limit."""

    metric: str
    limit: float

    @property
    def name(self) -> str:
        """`at_least`."""
        return "at_least"

    @property
    def phase(self) -> Phase:
        """On the version alone."""
        return "check"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one metric."""
        return (self.metric,)

    def evaluate(self, evidence: Evidence) -> GateFinding:
        """Passed when the value reaches the limit, in the metric's own direction; without a value there is no decision."""
        value = evidence.metrics.get(self.metric)
        where = f"{self.metric} on the test rows"
        if value is None:
            reason = f"{where} was not measured" if self.metric not in evidence.metrics else f"{where} has no value"
            return GateFinding(gate=self.name, result="no decision", value=None, limit=self.limit, reason=reason)
        high_is_good = evidence.model.known_metrics[self.metric].direction == "maximize"
        good = value >= self.limit if high_is_good else value <= self.limit
        reason = f"{where} is {value:.4f}, {'at least' if high_is_good else 'at most'} {self.limit:g} is asked for"
        result = "passed" if good else "failed"
        return GateFinding(gate=self.name, result=result, value=value, limit=self.limit, reason=reason)


def at_least(metric: str | Metric, limit: float) -> AtLeast:
    """A gate: the metric on the version's own test rows reaches a limit (is at most the limit, where low is good).

    Args:
        metric: the name of a metric of the model, or one that `hr.metric(…)` returns.
        limit: in the metric's own unit.

    Returns:
        The gate, for `hr.Deployment(gates=[…])`.

    Raises:
        DeclarationError: the limit is no finite number, or the metric is neither a name nor what `hr.metric(…)` returned.

    Example:
        `evidence` is what is known of a version; its Brier score, where low is good, is 0.168:

        >>> hr.at_least("roc_auc", 0.7).evaluate(evidence).reason
        'roc_auc on the test rows is 0.7350, at least 0.7 is asked for'
        >>> hr.at_least("brier", 0.15).evaluate(evidence).result
        'failed'
    """
    check_numbers("at_least", limit=limit)
    return AtLeast(metric_name("at_least", metric), limit)
