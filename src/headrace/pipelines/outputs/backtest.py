"""What a back-test leaves in the ledger, a record for each month."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.jobs.step_output import StepOutput

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class BacktestedMonth(StepOutput):
    """What a model that was fitted before a month would have reached in it.

    Attributes:
        metrics: name → value; None where it has none on these rows.
        metric: the model's first one.
        fitted: decisions that it was fitted on.
    """

    metrics: Mapping[str, float | None]
    metric: str
    fitted: int

    def summary(self) -> str:
        value = self.metrics[self.metric]
        return f"{self.metric} {'no value' if value is None else f'{value:.4f}'}, fitted on {self.fitted:,} decisions"
