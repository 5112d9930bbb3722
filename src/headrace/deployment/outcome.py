"""Which of two versions is better by one metric: labels or feedback, while traffic is divided or after a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.errors import HeadraceError
from headrace.deployment import feedback_metrics, sequential, traffic_metrics
from headrace.deployment.declarations import ERROR_RATE
from headrace.deployment.holds import Hold
from headrace.deployment.judgement import Judgement, RuleResult, is_of_feedback
from headrace.deployment.traffic_metrics import ERRORS_SCALE, PART, SCALE, UNBOUNDED
from headrace.llm.feedback import declarations as feedbacks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.deployment.traffic_metrics import Estimate, Gap
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.feedback.declarations import Feedback
    from headrace.registry.records import RolloutPlan
    from headrace.training.declarations import Model


@dataclass(frozen=True, kw_only=True)
class Arms:
    """Two versions that share the traffic.

    Attributes:
        model: its name.
        splits: in which they did.
        since: asked after it.
        until: asked by then, and feedback given by then.
        entity: columns that name the entity, for rows whose log does not say what they were divided by.
    """

    model: str
    candidate: int
    primary: int
    splits: tuple[str, ...]
    since: datetime
    until: datetime
    entity: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How two versions compare by one metric.

    Attributes:
        winner: the version that is better, where chance is ruled out; None where it is not.
        requests: that servers answered with either, as they counted.
        known: values of both that the comparison rests on.
        candidate_value: of the metric; None where too little is known.
        primary_value: that of the version in Production.
        difference: candidate less Production, within splits; None where too little is known.
        p_value: valid however often one looks.
        p_value_once: for one look that was fixed beforehand.
    """

    metric: str
    candidate: int
    primary: int
    winner: int | None
    requests: int
    known: int
    candidate_value: float | None
    primary_value: float | None
    difference: float | None
    p_value: float | None
    p_value_once: float | None

    @property
    def explanation(self) -> str:
        """Figures, for a person."""
        if self.p_value is None:
            return f"{self.metric}: too little is known, {self.known:,} values"
        mine, other = ("?" if value is None else f"{value:.3f}" for value in (self.candidate_value, self.primary_value))
        figures = f"{self.metric} is {mine} against {other} of version {self.primary}, p = {self.p_value:.2g}"
        if self.winner is None:
            return f"{figures}, which is undecided"
        return f"{figures}: version {self.winner} wins"


def scale(metric: str, value: float | None, feedback: Feedback | None) -> float:
    """The size of a difference that one reckons with."""
    if is_of_feedback(metric) and feedback is not None:
        return feedback_metrics.scale(metric, feedback)
    if metric == ERROR_RATE:
        return ERRORS_SCALE
    return PART * abs(value or 1.0) if metric in UNBOUNDED else SCALE


def outcome(
    lakehouse: Lakehouse,
    arms: Arms,
    metric: str,
    model: Model | None,
    feedback: Feedback | None,
    *,
    alpha: float,
    as_of: datetime,
) -> Outcome:
    """Compares two versions.

    Args:
        lakehouse: where servers count, and answers, labels and feedback are.
        arms: the versions, and where they met.
        metric: of the model, or `feedback.thumbs` and the like.
        model: as declared now; None leaves its metrics unknown.
        feedback: as declared now; None leaves its metrics unknown.
        alpha: the probability that a winner is named where there is none, over all looks together.
        as_of: labels known by then count.

    Raises:
        HeadraceError: labels cannot be read.
    """
    known, values, gap, up = _measured(lakehouse, arms, metric, model, feedback, as_of=as_of)
    counts = traffic_metrics.counted(lakehouse, arms.model, since=arms.since)
    requests = sum(
        traffic_metrics.total(counts, version, role, arms.splits).requests
        for version, role in ((arms.candidate, "candidate"), (arms.primary, "primary"))
    )
    always = once = winner = None
    if gap is not None:
        mine = None if values[0] is None else values[0].value
        evidence = sequential.different(gap.value, gap.variance, scale=scale(metric, mine, feedback))
        always, once = sequential.p_value(evidence), sequential.p_value_once(gap.value, gap.variance)
        if evidence >= sequential.needed(alpha):
            winner = arms.candidate if (gap.value > 0) == up else arms.primary
    first, second = (None if each is None else each.value for each in values)
    return Outcome(
        metric=metric,
        candidate=arms.candidate,
        primary=arms.primary,
        winner=winner,
        requests=requests,
        known=known,
        candidate_value=first,
        primary_value=second,
        difference=None if gap is None else gap.value,
        p_value=always,
        p_value_once=once,
    )


def _measured(
    lakehouse: Lakehouse, arms: Arms, metric: str, model: Model | None, feedback: Feedback | None, *, as_of: datetime
) -> tuple[int, tuple[Estimate | None, Estimate | None], Gap | None, bool]:
    """How many values there are, the metric of either version, the difference, and whether more is better."""
    nothing = 0, (None, None), None, True
    if is_of_feedback(metric):
        if feedback is None or metric not in feedback.metrics:
            return nothing
        period: dict[str, Any] = {"since": arms.since, "until": arms.until, "entity": arms.entity}
        found = feedback_metrics.rated(lakehouse, arms.model, metric, feedback, **period)
        mine, other = (
            feedback_metrics.within(found.get(who, feedback_metrics.Rated()), arms.splits)
            for who in ((arms.candidate, "candidate"), (arms.primary, "primary"))
        )
        width = feedback_metrics.width(metric, feedback)
        return (
            mine.rated + other.rated,
            (feedback_metrics.estimate(mine, width=width), feedback_metrics.estimate(other, width=width)),
            feedback_metrics.gap(mine, other, width=width),
            feedbacks.direction(metric) == "maximize",
        )
    if model is None or metric not in model.known_metrics:
        return nothing
    common: dict[str, Any] = {"as_of": as_of, "since": arms.since, "entity": arms.entity}
    rows = [
        traffic_metrics.answered(lakehouse, model, version, role=role, **common)
        for version, role in ((arms.candidate, "candidate"), (arms.primary, "primary"))
    ]
    if rows[0] is None or rows[1] is None:
        return nothing
    first, second = (each.within(arms.splits).labelled for each in rows if each is not None)
    return (
        len(first) + len(second),
        (traffic_metrics.estimate(model, metric, first), traffic_metrics.estimate(model, metric, second)),
        traffic_metrics.gap(model, metric, first, second),
        traffic_metrics.direction(model, metric) == "maximize",
    )


def main_metric(
    lakehouse: Lakehouse,
    arms: Arms,
    plan: RolloutPlan,
    model: Model | None,
    feedback: Feedback | None,
    *,
    as_of: datetime,
) -> Judgement:
    """What the metric that a candidate must win by says: it stops where Production wins, and holds the end while undecided."""
    assert plan.metric is not None, "asked of plans that have one"
    rule = f"{plan.metric} better"
    reason = _unknown(plan.metric, arms.model, model, feedback)
    if reason:
        return Judgement(holds=[Hold(rule=rule, reason=f"{rule}: {reason}")])
    try:
        found = outcome(lakehouse, arms, plan.metric, model, feedback, alpha=plan.alpha, as_of=as_of)
    except HeadraceError as error:  # labels that are none: a person has to look
        return Judgement(holds=[Hold(rule=rule, reason=f"{rule} cannot be told: {error.what}")])
    lost = found.winner == arms.primary
    told: Sequence[RuleResult] = [RuleResult(rule=rule, fired=lost, explanation=found.explanation)]
    if found.winner is None:
        return Judgement(told=told, holds=[Hold(rule=rule, reason=found.explanation, at_the_end=True)])
    return Judgement(told=told, won="" if lost else found.explanation)


def _unknown(metric: str, name: str, model: Model | None, feedback: Feedback | None) -> str:
    """Why a metric cannot be told at all; empty where it can."""
    if is_of_feedback(metric):
        declared = () if feedback is None else feedback.metrics
        return "" if metric in declared else f"{name} is declared without that feedback now"
    if model is None:
        return f"the project does not declare {name} any more"
    return "" if metric in model.known_metrics else f"{name} is declared without such a metric now"
