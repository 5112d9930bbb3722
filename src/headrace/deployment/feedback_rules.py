"""Guardrails of a rollout that go by feedback, and those of which nothing can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.text import counted as many
from headrace.deployment import feedback_metrics, holds, sequential
from headrace.deployment.feedback_metrics import FEWEST_RATED, FEWEST_UNITS, RATED, Rated
from headrace.deployment.holds import Hold
from headrace.deployment.judgement import Judgement, RuleResult, is_of_feedback, needed, rules
from headrace.llm.feedback.declarations import PREFIX, direction

if TYPE_CHECKING:
    from headrace.deployment.declarations import Guardrail
    from headrace.deployment.outcome import Arms
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.feedback.declarations import Feedback
    from headrace.registry.records import RolloutPlan


def judge(lakehouse: Lakehouse, arms: Arms, plan: RolloutPlan, feedback: Feedback | None) -> Judgement:
    """What the rules on feedback say.

    Args:
        lakehouse: where the inference log and the feedback are.
        arms: the versions that are compared.
        plan: says the rules.
        feedback: as declared now; rules that it does not know are held.
    """
    told: list[RuleResult] = []
    held: list[Hold] = []
    for rule in (each for each in rules(plan) if is_of_feedback(each.metric)):
        if feedback is None or rule.metric not in feedback.metrics:
            reason = f"{rule.name} cannot be told: {arms.model} is declared without that feedback now"
            held.append(Hold(rule=rule.name, reason=reason))
            continue
        found = feedback_metrics.rated(
            lakehouse, arms.model, rule.metric, feedback, since=arms.since, until=arms.until, entity=arms.entity
        )
        mine, other = (
            feedback_metrics.within(found.get(who, Rated()), arms.splits)
            for who in ((arms.candidate, "candidate"), (arms.primary, "primary"))
        )
        result = _said(rule, plan, arms.primary, mine, other, feedback)
        if result is not None:
            told.append(result)
        if (hold := _held(rule, mine, other, is_told=result is not None)) is not None:
            held.append(hold)
    return Judgement(told=told, holds=held)


def _said(
    rule: Guardrail, plan: RolloutPlan, primary: int, mine: Rated, other: Rated, feedback: Feedback
) -> RuleResult | None:
    """What a rule says; None where too little is known."""
    sign, width = (-1 if direction(rule.metric) == "maximize" else 1), feedback_metrics.width(rule.metric, feedback)
    if rule.worse_by is not None:
        gap = feedback_metrics.gap(mine, other, width=width)
        if gap is None:
            return None
        evidence = sequential.worse(sign * gap.value, gap.variance, margin=rule.worse_by, scale=rule.worse_by)
        figures = f"{rule.metric} is {gap.value:+.4f} against version {primary}; {rule.worse_by:g} worse is accepted"
    else:
        limit = rule.above if rule.above is not None else rule.below or 0.0
        known = feedback_metrics.estimate(mine, width=width)
        if known is None:
            return None
        beyond = feedback_metrics.scale(rule.metric, feedback)
        evidence = sequential.worse(sign * (known.value - limit), known.variance, margin=0.0, scale=beyond)
        figures = f"{rule.metric} is {known.value:.4f} of {known.rows:,}; the limit is {limit:g}"
    return RuleResult(rule=rule.name, fired=evidence >= needed(plan), explanation=f"{rule.name}: {figures}")


def _held(rule: Guardrail, mine: Rated, other: Rated, *, is_told: bool) -> Hold | None:
    """Missing feedback does not pass: a rule holds where the candidate's answers get far less of it, or nobody says anything."""
    if rule.metric.removeprefix(PREFIX) in RATED and (seen := holds.fewer(mine.seen, other.seen)) is not None:
        said, answers, theirs, of = seen
        return Hold(
            rule=rule.name,
            reason=f"{rule.name}: people rated {said:,} of {many(answers, 'answer')}, while they rated {theirs:,} of {of:,} "
            "of the version in Production in the same time: compare the prediction_id that is sent",
        )
    silent = feedback_metrics.silent(mine, other, rule.metric)
    if rule.late and (silent or not is_told):
        return None
    if silent or not is_told:
        counts = f"{many(mine.rated, 'value')} of the candidate and {other.rated:,} of the version in Production"
        least = f"it takes {FEWEST_RATED} of {FEWEST_UNITS} entities of each"
        return Hold(
            rule=rule.name,
            reason=f"{rule.name}: {silent or f'nothing can be said by {counts}; {least}'}",
            at_the_end=True,
        )
    return None
