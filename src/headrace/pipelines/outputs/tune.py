"""What a tuning leaves in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.jobs.step_output import StepOutput

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class TunedPrompts(StepOutput):
    """The best texts that a search found, beside the declared ones on examples that it never saw.

    Attributes:
        metric: by which was searched.
        prompts: prompt → its whole text.
        improved: whether they are others than the declared ones, and better.
        before: mean of the declared prompts on the held-out examples.
        after: of those that were found.
        low: the lower end of the 95 % interval of the difference.
        high: its upper end.
        examples: that were held out.
        calls: answers that were asked for, over all attempts.
        proposals: texts that were proposed.
        tried: candidates, with the declared one.
        evaluated: examples with the inputs of a row of the evaluation data, whose figures then flatter the tuned prompts.
        all_examples: held out or not.
    """

    metric: str
    prompts: Mapping[str, str]
    improved: bool
    before: float
    after: float
    low: float
    high: float
    examples: int
    calls: int
    proposals: int
    tried: int
    evaluated: int
    all_examples: int

    def remarks(self) -> list[str]:
        if not self.evaluated:
            return []
        shared = (
            f"{self.evaluated:,} of {self.all_examples:,} examples of the tuning are questions of the evaluation, too"
        )
        return [f"{shared}: its metrics will flatter the tuned prompts"]

    def summary(self) -> str:
        told = f"{self.metric} {self.before:.4f} → {self.after:.4f} on {self.examples} held-out examples"
        return f"{told}, {self.calls} answers, {self.tried} candidates" + ("" if self.improved else ": nothing better")
