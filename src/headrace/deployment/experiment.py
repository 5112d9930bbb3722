"""Comparison of versions while traffic is divided: requests, errors, latency, and the difference in quality.

Each interval is valid over all evaluations together (`sequential`). Several intervals are not corrected for each other:
of twenty comparisons one may be wrong by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from headrace.deployment import feedback_metrics, ratio, sequential, traffic_metrics
from headrace.deployment.declarations import ERROR_RATE
from headrace.deployment.outcome import Arms, outcome
from headrace.deployment.outcome import scale as scale_of
from headrace.llm.feedback.declarations import PREFIX, direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from headrace.deployment.outcome import Outcome
    from headrace.deployment.ratio import Ratio
    from headrace.deployment.traffic_metrics import Counted, Gap, Key
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.feedback.declarations import Feedback
    from headrace.registry.records import TrafficSplit
    from headrace.registry.registry import Registry
    from headrace.training.declarations import Model

Verdict = Literal["better", "worse", "undecided"]
ALPHA = 0.05
SCORE = f"{PREFIX}score"
SKEW = timedelta(days=1)  # that a server's clock may be behind
WITHOUT_SPLIT = timedelta(days=1)  # looked back at where nothing is divided


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A version in a role.

    Attributes:
        share: of the entities; a shadow's of the requests.
        p50: seconds, as `p95` and `p99`.
    """

    version: int
    role: str
    share: float
    requests: int
    rows: int
    error_rate: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, kw_only=True)
class ComparedMetric:
    """A figure of a version beside that of the version in Production, in the same splits.

    Attributes:
        value: of the version; None while it is not known.
        low: of its interval.
        labelled: rows whose label is known; requests, for an error rate; what people said, for feedback.
        difference: to the version in Production.
        difference_low: of the interval around it.
        p_value: of the difference, valid however often one looks.
        p_value_once: of the difference, for one look that was fixed beforehand.
    """

    version: int
    role: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    labelled: int
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    p_value_once: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Since when, who, and how they compare.

    Attributes:
        ratios: whether entities are divided as asked, in each split that divided any.
        outcome: by the main metric, of the split of now or of the last rollout; None without a metric or versions to compare.
    """

    split: TrafficSplit
    since: datetime
    arms: tuple[Arm, ...]
    compared: tuple[ComparedMetric, ...]
    ratios: tuple[Ratio, ...] = ()
    outcome: Outcome | None = None


def experiment(
    registry: Registry,
    lakehouse: Lakehouse,
    name: str,
    model: Model | None,
    *,
    feedback: Feedback | None = None,
    metric: str | None = None,
    at: datetime,
    as_of: datetime,
    since: datetime | None = None,
) -> Experiment:
    """How the versions of a model do, since the split of now began.

    Args:
        registry: says who answers.
        lakehouse: where servers count, and answers and labels are.
        name: of the model.
        model: as declared; None leaves its metrics out.
        feedback: as declared; None leaves its metrics out.
        metric: the main one, as declared with a rollout; None for the first one of feedback, or else of the model.
        at: the present.
        as_of: labels known by then count.
        since: looks back to then instead.
    """
    split = registry.traffic.current(name)
    began = [each.at for each in registry.traffic.experiment(name) if each.at]
    start = since or (began[0] if began else at - WITHOUT_SPLIT)
    counts = traffic_metrics.counted(lakehouse, name, since=start)
    arms = [_arm(counts, *each) for each in _roles(split)]
    beside = [arm for arm in arms if arm.role != "primary"]
    compared = [_errors(counts, arm, split.primary) for arm in beside if split.primary is not None]
    if model is not None:
        compared += _metrics(lakehouse, model, split, arms, start, as_of)
    if feedback is not None:
        compared += _feedback(lakehouse, name, feedback, split, arms, start, at)
    ratios = ratio.ratios(lakehouse, name, registry.traffic.experiment(name), since=start)
    return Experiment(
        split=split,
        since=start,
        arms=tuple(arms),
        compared=tuple(compared),
        ratios=tuple(ratios),
        outcome=_outcome(registry, lakehouse, split, model, feedback, metric, start=start, at=at, as_of=as_of),
    )


def _roles(split: TrafficSplit) -> list[tuple[int, str, float]]:
    found = [] if split.primary is None else [(split.primary, "primary", split.primary_weight)]
    found += [(each.version, "candidate", each.weight) for each in split.candidates]
    return found + [(each.version, "shadow", each.weight) for each in split.shadows]


def _arm(counts: Mapping[Key, Counted], version: int, role: str, share: float) -> Arm:
    mine = traffic_metrics.total(counts, version, role)
    return Arm(
        version=version,
        role=role,
        share=share,
        requests=mine.requests,
        rows=mine.rows,
        error_rate=mine.error_rate,
        p50=mine.quantile(0.5),
        p95=mine.quantile(0.95),
        p99=mine.quantile(0.99),
    )


def _errors(counts: Mapping[Key, Counted], arm: Arm, primary: int) -> ComparedMetric:
    gap = traffic_metrics.error_gap(counts, arm.version, primary, role=arm.role)
    return _compared(arm, ERROR_RATE, arm.error_rate, None, arm.requests, gap, better=-1)


def _metrics(
    lakehouse: Lakehouse, model: Model, split: TrafficSplit, arms: list[Arm], since: datetime, as_of: datetime
) -> list[ComparedMetric]:
    if model.task.label.table.time is None or model.predict is not None:  # nobody labels what people ask of a chain
        return []
    known: dict[tuple[int, str], pd.DataFrame] = {}
    for arm in arms:
        rows = traffic_metrics.answers(
            lakehouse, model, arm.version, role=arm.role, as_of=as_of, since=since, entity=split.columns
        )
        if rows is not None:
            known[arm.version, arm.role] = rows
    found: list[ComparedMetric] = []
    for metric in model.metrics:
        up = 1 if traffic_metrics.direction(model, metric) == "maximize" else -1
        for arm in arms:
            rows, other = known.get((arm.version, arm.role)), known.get((split.primary or 0, "primary"))
            if rows is None or other is None:
                continue
            estimate = traffic_metrics.estimate(model, metric, rows)
            gap = None if arm.role == "primary" else traffic_metrics.gap(model, metric, rows, other)
            variance = None if estimate is None else estimate.variance
            value = None if estimate is None else estimate.value
            found.append(_compared(arm, metric, value, variance, len(rows), gap, better=up))
    return found


def _feedback(
    lakehouse: Lakehouse,
    name: str,
    feedback: Feedback,
    split: TrafficSplit,
    arms: list[Arm],
    since: datetime,
    until: datetime,
) -> list[ComparedMetric]:
    found: list[ComparedMetric] = []
    for metric in feedback.metrics:
        said = feedback_metrics.rated(lakehouse, name, metric, feedback, since=since, until=until, entity=split.columns)
        width, up = feedback_metrics.width(metric, feedback), 1 if direction(metric) == "maximize" else -1
        other = said.get((split.primary or 0, "primary"))
        for arm in arms:
            mine = said.get((arm.version, arm.role))
            if mine is None or other is None:
                continue
            estimate = feedback_metrics.estimate(mine, width=width)
            gap = None if arm.role == "primary" else feedback_metrics.gap(mine, other, width=width)
            value = sum(mine.totals) / mine.rated if mine.rated else None
            variance = None if estimate is None else estimate.variance
            shown = _compared(arm, metric, value, variance, mine.rated, gap, better=up, feedback=feedback)
            found.append(shown if metric == SCORE else _clipped(shown))
    return found


def _clipped(shown: ComparedMetric) -> ComparedMetric:
    """A share lies between 0 and 1, and so does its interval."""
    low = None if shown.low is None else max(0.0, shown.low)
    return replace(shown, low=low, high=None if shown.high is None else min(1.0, shown.high))


def _outcome(
    registry: Registry,
    lakehouse: Lakehouse,
    split: TrafficSplit,
    model: Model | None,
    feedback: Feedback | None,
    metric: str | None,
    *,
    start: datetime,
    at: datetime,
    as_of: datetime,
) -> Outcome | None:
    """Of the candidates of now; where there are none, of the last rollout."""
    name, found = split.model, next(iter(registry.rollouts.list(split.model)), None)
    past = not split.candidates
    if past and (found is None or found.ended is None):
        return None
    asked = found.plan.metric if found is not None and (past or found.status == "running") else None
    chosen = asked or metric or _first(model, feedback)
    if chosen is None:
        return None
    if past:
        assert found is not None, "otherwise there is nothing to tell"
        assert found.ended is not None, "otherwise it runs"
        period = [each for each in registry.traffic.history(name) if each.at and found.started <= each.at < found.ended]
        divided = [each for each in period if each.weight(found.version)]
        primary = next((each.primary for each in reversed(divided)), None)
        if primary is None:
            return None
        arms = [_arms(name, found.version, primary, period, found.started - SKEW, found.ended, found.plan.by)]
        alpha = found.plan.alpha
    elif split.primary is None:
        return None
    else:
        period = registry.traffic.experiment(name)
        arms = [_arms(name, each.version, split.primary, period, start, at, split.columns) for each in split.candidates]
        alpha = found.plan.alpha if found is not None and found.status == "running" else ALPHA
    told = [
        outcome(lakehouse, each, chosen, model, feedback, alpha=alpha / len(arms), as_of=as_of) for each in arms
    ]  # several candidates share alpha (Bonferroni)
    better = [each for each in told if each.winner == each.candidate]
    if better:
        return max(better, key=lambda each: abs(each.difference or 0.0))
    undecided = [each for each in told if each.winner is None]
    return min(undecided or told, key=lambda each: 1.0 if each.p_value is None else each.p_value)


def _arms(
    model: str,
    candidate: int,
    primary: int,
    splits: Sequence[TrafficSplit],
    since: datetime,
    until: datetime,
    entity: Sequence[str],
) -> Arms:
    return Arms(
        model=model,
        candidate=candidate,
        primary=primary,
        splits=tuple(each.id for each in splits),
        since=since,
        until=until,
        entity=tuple(entity),
    )


def _first(model: Model | None, feedback: Feedback | None) -> str | None:
    """What versions are compared by where nothing is declared: feedback, which comes soon, before labels."""
    if feedback is not None and feedback.metrics:
        return feedback.metrics[0]
    is_labelled = model is not None and model.predict is None and model.task.label.table.time is not None
    return model.metrics[0] if model is not None and is_labelled else None


def _compared(
    arm: Arm,
    metric: str,
    value: float | None,
    variance: float | None,
    rows: int,
    gap: Gap | None,
    *,
    better: int,
    feedback: Feedback | None = None,
) -> ComparedMetric:
    scale = scale_of(metric, value, feedback)
    own = None if variance is None else sequential.radius(variance, scale=scale, alpha=ALPHA)
    around = None if gap is None else sequential.radius(gap.variance, scale=scale, alpha=ALPHA)
    low = None if gap is None or around is None else gap.value - around
    high = None if gap is None or around is None else gap.value + around
    verdict: Verdict = "undecided"
    if low is not None and high is not None and (low > 0 or high < 0):
        verdict = "better" if (low > 0) == (better > 0) else "worse"
    return ComparedMetric(
        version=arm.version,
        role=arm.role,
        metric=metric,
        value=value,
        low=None if value is None or own is None else value - own,
        high=None if value is None or own is None else value + own,
        labelled=rows,
        difference=None if gap is None else gap.value,
        difference_low=low,
        difference_high=high,
        p_value=None if gap is None else sequential.p_value(sequential.different(gap.value, gap.variance, scale=scale)),
        p_value_once=None if gap is None else sequential.p_value_once(gap.value, gap.variance),
        verdict=verdict,
    )
