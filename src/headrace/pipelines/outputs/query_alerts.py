"""What the evaluation of rules on saved queries leaves in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.jobs.step_output import StepOutput

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class JudgedQuery(StepOutput):
    """A rule on a saved query, and its answer.

    Attributes:
        alerts: ids of the alerts of the rule that hold.
        reason: what the answer says, in words.
    """

    alerts: Sequence[int]
    reason: str

    def summary(self) -> str:
        return f"{self.reason}: alert {', '.join(map(str, self.alerts))}" if self.alerts else self.reason
