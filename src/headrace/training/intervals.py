"""Intervals of a metric: around one value, and around the difference of two models on the same rows.

A metric with a covariance in closed form provides it (`training.metrics`); every other metric, also a project's own,
has a paired bootstrap whose draws depend on the labels alone, so that the same rows give the same interval.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.training.measures import evaluate, metric_of
from headrace.training.metrics.base import UndefinedMetricError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from headrace.training.metrics.base import Direction, Metric, Resampled
    from headrace.training.tasks.base import Task

Floats = np.ndarray[Any, np.dtype[np.float64]]
DRAWS = 300
SMALLEST = np.finfo(np.float64).eps


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value of a metric, and the interval that covers the true one with the asked-for probability."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class MetricDifference:
    """Challenger less champion on the same rows, in the metric's own unit.

    Attributes:
        champion: its value.
        challenger: its value.
        value: challenger - champion.
        low: of the interval around the difference.
        high: of the interval around the difference.
        error: standard error of the difference.
        direction: in which the metric is good.
    """

    champion: float
    challenger: float
    value: float
    low: float
    high: float
    error: float
    direction: Direction

    @property
    def gain(self) -> float:
        """How much better the challenger is; negative is worse."""
        return self.value if self.direction == "maximize" else -self.value

    def p_worse(self, margin: float) -> float:
        """The one-sided p-value of "worse by more than the margin": small means that it can be ruled out."""
        distance = self.gain + margin
        if self.error == 0:
            return 0.0 if distance >= 0 else 1.0
        return 1 - NormalDist().cdf(distance / self.error)

    def not_worse(self, margin: float, *, alpha: float) -> bool:
        """Whether "worse by more than the margin" is ruled out at a one-sided level: a test of non-inferiority."""
        return self.p_worse(margin) <= alpha

    def better(self, *, alpha: float) -> bool:
        """Whether "no better" is ruled out at a one-sided level."""
        return self.gain > 0 and self.p_worse(0.0) <= alpha


def interval(
    task: Task, metric: str | Metric, y: pd.Series, output: pd.DataFrame, *, level: float = 0.95
) -> Interval | None:
    """A metric with its interval; None where it has no meaning on these rows (one class, too few)."""
    measured = metric_of(task, metric)
    value = _value(task, measured, y, output)
    if value is None or len(y) < 2:
        return None
    error = _errors(measured, y, [output])[0, 0]
    reach = NormalDist().inv_cdf((1 + level) / 2) * float(np.sqrt(error))
    low, high = measured.bounds
    return Interval(value=value, low=max(value - reach, low), high=min(value + reach, high))


def difference(
    task: Task,
    metric: str | Metric,
    y: pd.Series,
    champion: pd.DataFrame,
    challenger: pd.DataFrame,
    *,
    level: float = 0.95,
) -> MetricDifference | None:
    """Two models on the same rows; None where the metric has no meaning on them."""
    measured = metric_of(task, metric)
    values = [_value(task, measured, y, output) for output in (champion, challenger)]
    if values[0] is None or values[1] is None or len(y) < 2:
        return None
    covariance = _errors(measured, y, [champion, challenger])
    error = _contrast(covariance)
    reach = NormalDist().inv_cdf((1 + level) / 2) * error
    gap = values[1] - values[0]
    return MetricDifference(
        champion=values[0],
        challenger=values[1],
        value=gap,
        low=gap - reach,
        high=gap + reach,
        error=error,
        direction=measured.direction,
    )


def _value(task: Task, metric: Metric, y: pd.Series, output: pd.DataFrame) -> float | None:
    return evaluate(task, y, output, metrics=[metric])[0].value


def _contrast(covariance: Floats) -> float:
    """The standard error of the second less the first; what rounding leaves between equal models is nothing."""
    if not np.isfinite(covariance).all():
        return np.inf
    total = covariance[0, 0] + covariance[1, 1]
    variance = total - 2 * covariance[0, 1]
    return float(np.sqrt(variance)) if variance > 8 * SMALLEST * total else 0.0


def _errors(metric: Metric, y: pd.Series, outputs: list[pd.DataFrame]) -> Floats:
    """The covariance matrix of the metric's values over the outputs."""
    return _bootstrap(metric, y, outputs) if metric.covariance is None else metric.covariance(y, outputs)


def _bootstrap(metric: Metric, y: pd.Series, outputs: list[pd.DataFrame]) -> Floats:
    """The covariance over draws of rows with replacement (Efron 1979), the same rows for every output."""
    seed = int.from_bytes(hashlib.sha256("\x1f".join(y.astype(str)).encode()).digest()[:8], "big")
    draw, rows = np.random.default_rng(seed), len(y)
    weigh = [(metric.resampled or _redrawn(metric))(y, output) for output in outputs]
    drawn: list[list[float]] = []
    for _ in range(DRAWS):
        times = np.bincount(draw.integers(0, rows, rows), minlength=rows).astype("float64")
        values = [value(times) for value in weigh]
        if not np.isnan(values).any():
            drawn.append(values)
    if len(drawn) < 2:
        return np.full((len(outputs), len(outputs)), np.inf)
    return np.atleast_2d(np.cov(np.asarray(drawn).T))


def _redrawn(metric: Metric) -> Resampled:
    """The value of a metric on the rows that were drawn, each as often as it was."""

    def resampled(y: pd.Series, output: pd.DataFrame) -> Callable[[Floats], float]:
        def value(times: Floats) -> float:
            places = np.repeat(np.arange(len(times)), times.astype("int64"))
            try:
                return metric.measure(y.iloc[places].reset_index(drop=True), output.iloc[places].reset_index(drop=True))
            except UndefinedMetricError:
                return np.nan

        return value

    return resampled
