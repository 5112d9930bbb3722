"""Comparison of versions while traffic is divided: requests, errors, latency, and the difference in quality.

Each interval is valid over all evaluations together (`sequential`). Several intervals are not corrected for each other:
of twenty comparisons one may be wrong by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from headrace.deployment import ratio, sequential, traffic_metrics
from headrace.deployment.declarations import ERROR_RATE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pandas as pd

    from headrace.deployment.ratio import Ratio
    from headrace.deployment.traffic_metrics import Counted, Gap, Key
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.registry.records import TrafficSplit
    from headrace.registry.registry import Registry
    from headrace.training.declarations import Model

Verdict = Literal["better", "worse", "undecided"]
ALPHA = 0.05
WITHOUT_SPLIT = timedelta(days=1)  # looked back at where nothing is divided
SCALES = {ERROR_RATE: 0.01, "rmse": None, "mae": None, "log_loss": None}  # differences that one reckons with
SCALE, PART = (
    0.02,
    0.05,
)  # of other metrics, which lie between 0 and 1; and of those without bounds, as a part of the value


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
        labelled: rows whose label is known; requests, for an error rate.
        difference: to the version in Production.
        difference_low: of the interval around it.
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
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Since when, who, and how they compare.

    Attributes:
        ratios: whether entities are divided as asked, in each split that divided any.
    """

    split: TrafficSplit
    since: datetime
    arms: tuple[Arm, ...]
    compared: tuple[ComparedMetric, ...]
    ratios: tuple[Ratio, ...] = ()


def experiment(
    registry: Registry,
    lakehouse: Lakehouse,
    name: str,
    model: Model | None,
    *,
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
    ratios = ratio.ratios(lakehouse, name, registry.traffic.experiment(name), since=start)
    return Experiment(split=split, since=start, arms=tuple(arms), compared=tuple(compared), ratios=tuple(ratios))


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
    if model.task.label.table.time is None:
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


def _compared(
    arm: Arm, metric: str, value: float | None, variance: float | None, rows: int, gap: Gap | None, *, better: int
) -> ComparedMetric:
    scale = SCALES.get(metric, SCALE) or PART * abs(value or 1.0)
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
        verdict=verdict,
    )
