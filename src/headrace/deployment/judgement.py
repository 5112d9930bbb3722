"""What rules say of a rollout, and which of them cannot be judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.deployment import sequential
from headrace.deployment.declarations import ERROR_RATE, LATENCIES, Guardrail
from headrace.llm.feedback.declarations import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.deployment.holds import Hold
    from headrace.registry.records import RolloutPlan

LIMIT_SCALE = 0.05  # how far beyond a limit of a metric one reckons with, as a share of the limit


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """What a rule says of what was observed so far.

    Attributes:
        fired: whether chance can be ruled out.
        explanation: figures, for a person.
    """

    rule: str
    fired: bool
    explanation: str


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the log, the labels and feedback say of a rollout.

    Attributes:
        won: why the candidate is better by the main metric; empty where there is none, or that is not known.
    """

    told: Sequence[RuleResult] = ()
    holds: Sequence[Hold] = ()
    won: str = ""


def rules(plan: RolloutPlan) -> list[Guardrail]:
    """As they were declared."""
    return [Guardrail(**each) for each in plan.guardrails]  # pyright: ignore[reportArgumentType]


def is_counted(rule: Guardrail) -> bool:
    """Whether servers count what it goes by."""
    return rule.metric == ERROR_RATE or rule.metric in LATENCIES


def is_of_feedback(metric: str) -> bool:
    """Whether people's feedback tells it."""
    return metric.startswith(PREFIX)


def is_of_labels(rule: Guardrail) -> bool:
    """Whether it needs labels."""
    return not is_counted(rule) and not is_of_feedback(rule.metric)


def needed(plan: RolloutPlan) -> float:
    """The rules share alpha: that any of them fires without reason is at most that probable (Bonferroni)."""
    return sequential.needed(plan.alpha / max(len(plan.guardrails), 1))
