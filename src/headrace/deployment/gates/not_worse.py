"""The gate `not_worse`: "worse than Production by more than a margin" is ruled out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.declaration import check_numbers, check_whole
from headrace.core.errors import DeclarationError
from headrace.deployment.findings import GateFinding
from headrace.deployment.gates.base import Gate, Phase
from headrace.training.metrics.base import metric_name

if TYPE_CHECKING:
    from headrace.deployment.gates.evidence import Evidence
    from headrace.training.intervals import MetricDifference
    from headrace.training.metrics.base import Metric

FEWEST, FEWEST_ANSWERS = 500, 30


@dataclass(frozen=True)
class NotWorse(Gate):
    """The version is not worse than the one in Production by more than a margin, on rows that neither was trained on.

    Attributes:
        metric: of the model.
        margin: how much worse is still accepted, in the metric's unit.
        alpha: the one-sided level at which "worse by more than the margin" must be ruled out.
        min_rows: with fewer labelled rows there is no decision, which is not a pass; None for the default of the task.
    """

    metric: str
    margin: float
    alpha: float = 0.05
    min_rows: int | None = None

    @property
    def name(self) -> str:
        """`not_worse`."""
        return "not_worse"

    @property
    def phase(self) -> Phase:
        """Beside the version in Production."""
        return "compare"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The one metric."""
        return (self.metric,)

    def evaluate(self, evidence: Evidence) -> GateFinding:
        """Passed when "worse by more than the margin" can be ruled out on the compared rows.

        A version that was trained on an alert must rule out "no better" as well. Too few rows, or a metric without a meaning
        on them, are no decision.
        """
        from headrace.training.intervals import difference

        compared = evidence.comparison
        rows = len(compared.labels)
        least = self.min_rows or (FEWEST_ANSWERS if evidence.model.predict is not None else FEWEST)
        if rows < least:
            return self._undecided(
                f"{rows:,} labelled decisions that neither has seen; {least:,} are needed (hr.not_worse(min_rows=…))"
            )
        metric = evidence.model.known_metrics[self.metric]
        measured = difference(evidence.model.task, metric, compared.labels, compared.champion, compared.challenger)
        if measured is None or not math.isfinite(measured.error):
            return self._undecided(f"{self.metric} has no meaning on these {rows:,} decisions")
        return self._decided(evidence, measured, rows)

    def _undecided(self, reason: str) -> GateFinding:
        return GateFinding(gate=self.name, result="no decision", value=None, limit=-self.margin, reason=reason)

    def _decided(self, evidence: Evidence, measured: MetricDifference, rows: int) -> GateFinding:
        champion, compared = evidence.champion, evidence.comparison
        passed, helps = measured.not_worse(self.margin, alpha=self.alpha), measured.better(alpha=self.alpha)
        against = f"version {champion.version}" if champion else "a constant prediction"
        reason = (
            f"{self.metric} {measured.challenger:.4f} against {measured.champion:.4f} of {against} on {rows:,} decisions: "
            f"{measured.value:+.4f} ({measured.low:+.4f} to {measured.high:+.4f})"
        )
        if evidence.must_help and passed and not helps:
            reason += "; it was trained to answer an alert, and does not help"
        return GateFinding(
            gate=self.name,
            result="passed" if passed and (helps or not evidence.must_help) else "failed",
            value=measured.value,
            limit=0.0 if evidence.must_help else -self.margin,
            reason=reason,
            details={
                "metric": self.metric,
                "champion": champion.version if champion else None,
                "champion_value": measured.champion,
                "challenger_value": measured.challenger,
                "low": measured.low,
                "high": measured.high,
                "alpha": self.alpha,
                "rows": rows,
                "since": compared.since.isoformat() if compared.since else None,
                "until": compared.until.isoformat() if compared.until else None,
            },
        )


def not_worse(
    metric: str | Metric, *, margin: float = 0.0, alpha: float = 0.05, min_rows: int | None = None
) -> NotWorse:
    """A gate: the version is not worse than the one in Production by more than a margin.

    Both predict the same labelled rows, which neither has seen; the first version is compared with a constant prediction.

    Args:
        metric: the name of a metric of the model, or one that `hr.metric(…)` returns.
        margin: how much worse is accepted, in the metric's own unit; defaults to nothing.
        alpha: the one-sided level at which "worse by more than the margin" must be ruled out; defaults to 0.05.
        min_rows: with fewer labelled rows there is no decision, which is no pass; defaults to 500, and to 30 answers of a model with
            `predict=`, whose evaluation data people write.

    Returns:
        The gate, for `hr.Deployment(gates=[…])`.

    Raises:
        DeclarationError: a negative margin, a level that is not between 0 and 0.5, or fewer than 2 rows.

    Example:
        `evidence` is what is known of version 2, beside version 1, which is in Production:

        >>> finding = hr.not_worse("roc_auc", margin=0.005).evaluate(evidence)
        >>> finding.result, finding.reason
        ('passed', 'roc_auc 0.7295 against 0.6979 of version 1 on 600 decisions: +0.0316 (+0.0279 to +0.0353)')
    """
    name = metric_name("not_worse", metric)
    check_numbers("not_worse", margin=margin, alpha=alpha)
    if min_rows is not None:
        check_whole("not_worse", 2, min_rows=min_rows)
    if margin < 0 or not 0 < alpha < 0.5:
        raise DeclarationError(
            f"not_worse({name!r}, margin={margin}, alpha={alpha}, min_rows={min_rows}) is not possible."
        )
    return NotWorse(name, margin, alpha, min_rows)
