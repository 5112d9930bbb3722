"""How sure a metric is: an interval around one value, and around the difference of two models on the same rows.

The area under the ROC curve by DeLong, DeLong and Clarke-Pearson (1988) in the fast form of Sun and Xu (2014); means over
rows (log loss, Brier score, accuracy, absolute error) by the central limit theorem; the root of a mean by the delta
method; everything else by a paired bootstrap whose draws depend on the labels alone, so that the same rows give the same
interval.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from headrace.training.declarations import METRICS, Binary, Multiclass
from headrace.training.metrics import PREFIX, evaluate
from headrace.training.output import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.training.declarations import Direction, Task

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


def interval(task: Task, metric: str, y: pd.Series, output: pd.DataFrame, *, level: float = 0.95) -> Interval | None:
    """A metric with its interval; None where it has no meaning on these rows (one class, too few)."""
    value = _value(task, metric, y, output)
    if value is None or len(y) < 2:
        return None
    error = _errors(task, metric, y, [output])[0, 0]
    reach = NormalDist().inv_cdf((1 + level) / 2) * float(np.sqrt(error))
    low, high = _bounds(metric)
    return Interval(value=value, low=max(value - reach, low), high=min(value + reach, high))


def difference(
    task: Task,
    metric: str,
    y: pd.Series,
    champion: pd.DataFrame,
    challenger: pd.DataFrame,
    *,
    level: float = 0.95,
) -> MetricDifference | None:
    """Two models on the same rows; None where the metric has no meaning on them."""
    values = [_value(task, metric, y, output) for output in (champion, challenger)]
    if values[0] is None or values[1] is None or len(y) < 2:
        return None
    covariance = _errors(task, metric, y, [champion, challenger])
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
        direction=METRICS[kind(task)][metric],
    )


def baseline_output(task: Task, y: pd.Series) -> Callable[[int], pd.DataFrame]:
    """The best constant prediction by the labels that a model was fitted on: the heuristic that it has to beat.

    Args:
        task: what is predicted.
        y: the labels of the fitting rows.

    Returns:
        A function of a number of rows that gives the task's output.
    """
    if isinstance(task, Binary):
        rate = float(y.astype("float64").mean())
        return lambda rows: pd.DataFrame({"probability": np.full(rows, rate)})
    if isinstance(task, Multiclass):
        shares = y.value_counts(normalize=True).sort_index()
        most = shares.idxmax()
        return lambda rows: pd.DataFrame(
            {
                "prediction": [most] * rows,
                **{f"{PREFIX}{name}": np.full(rows, share) for name, share in shares.items()},
            }
        )
    mean = float(y.astype("float64").mean())
    return lambda rows: pd.DataFrame({"prediction": np.full(rows, mean)})


def _value(task: Task, metric: str, y: pd.Series, output: pd.DataFrame) -> float | None:
    return evaluate(task, y, output, metrics=[metric])[0].value


def _bounds(metric: str) -> tuple[float, float]:
    """The values that a metric can have."""
    if metric == "r2":
        return -np.inf, 1.0
    return 0.0, np.inf if metric in ("rmse", "mae", "log_loss") else 1.0


def _contrast(covariance: Floats) -> float:
    """The standard error of the second less the first; what rounding leaves between equal models is nothing."""
    if not np.isfinite(covariance).all():
        return np.inf
    total = covariance[0, 0] + covariance[1, 1]
    variance = total - 2 * covariance[0, 1]
    return float(np.sqrt(variance)) if variance > 8 * SMALLEST * total else 0.0


def _errors(task: Task, metric: str, y: pd.Series, outputs: list[pd.DataFrame]) -> Floats:
    """The covariance matrix of the metric's values over the outputs."""
    if metric == "roc_auc":
        return delong(y.to_numpy(dtype="float64"), [each["probability"].to_numpy(dtype="float64") for each in outputs])
    if metric == "rmse":
        squares = [_rows("squares", y, each) for each in outputs]
        roots = np.array([max(np.sqrt(np.mean(each)), SMALLEST) for each in squares])
        return _covariance(squares) / (4 * np.outer(roots, roots))  # d sqrt(m) = dm / (2 sqrt(m))
    if _by_rows(task, metric):
        return _covariance([_rows(metric, y, each) for each in outputs])
    return _bootstrap(metric, y, outputs)


def delong(y: Floats, scores: list[Floats]) -> Floats:
    """The covariance matrix of areas under the ROC curve on the same rows.

    With mid-ranks T over all rows and T⁺ over the positive ones, a positive row's component is (T - T⁺)/n⁻ and a negative
    row's 1 - (T - T⁻)/n⁺; the covariance is cov(components⁺)/n⁺ + cov(components⁻)/n⁻.

    Args:
        y: 0 or 1.
        scores: one array a model.
    """
    positive = y == 1
    up, down = int(positive.sum()), int((~positive).sum())
    ours, theirs = [], []
    for score in scores:
        ranks = _midranks(score)
        ours.append((ranks[positive] - _midranks(score[positive])) / down)
        theirs.append(1 - (ranks[~positive] - _midranks(score[~positive])) / up)
    return _covariance(ours) + _covariance(theirs)


def _midranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def _covariance(columns: list[Floats]) -> Floats:
    """Of the means of columns: the sample covariance over the number of rows; one row says nothing of it: infinite."""
    rows = len(columns[0])
    if rows < 2:
        return np.full((len(columns), len(columns)), np.inf)
    return np.atleast_2d(np.cov(np.vstack(columns))) / rows


def _by_rows(task: Task, metric: str) -> bool:
    return metric in ("brier", "accuracy", "mae") or (metric == "log_loss" and isinstance(task, Binary | Multiclass))


def _rows(metric: str, y: pd.Series, output: pd.DataFrame) -> Floats:
    """What each row contributes to a metric that is a mean."""
    if metric in ("squares", "mae"):
        gap = output["prediction"].to_numpy(dtype="float64") - y.to_numpy(dtype="float64")
        return gap**2 if metric == "squares" else np.abs(gap)
    if "probability" in output.columns:
        p, label = output["probability"].to_numpy(dtype="float64"), y.to_numpy(dtype="float64")
        if metric == "brier":
            return (p - label) ** 2
        if metric == "accuracy":
            return ((p >= 0.5) == (label == 1)).astype("float64")
        return -np.log(np.clip(np.where(label == 1, p, 1 - p), SMALLEST, 1))
    texts = y.astype(str).to_numpy(dtype=object)
    if metric == "accuracy":
        return (texts == output["prediction"].astype(str).to_numpy(dtype=object)).astype("float64")
    given = {str(name).removeprefix(PREFIX): output[name].to_numpy() for name in output if str(name).startswith(PREFIX)}
    own = [given[text][place] if text in given else 0.0 for place, text in enumerate(texts)]
    return -np.log(np.clip(np.asarray(own, dtype="float64"), SMALLEST, 1))


def _bootstrap(metric: str, y: pd.Series, outputs: list[pd.DataFrame]) -> Floats:
    """The covariance over draws of rows with replacement (Efron 1979), the same rows for every output."""
    seed = int.from_bytes(hashlib.sha256("\x1f".join(y.astype(str)).encode()).digest()[:8], "big")
    draw, rows = np.random.default_rng(seed), len(y)
    weigh = [RESAMPLED[metric](y, output) for output in outputs]
    drawn: list[list[float]] = []
    for _ in range(DRAWS):
        times = np.bincount(draw.integers(0, rows, rows), minlength=rows).astype("float64")
        values = [value(times) for value in weigh]
        if not np.isnan(values).any():
            drawn.append(values)
    if len(drawn) < 2:
        return np.full((len(outputs), len(outputs)), np.inf)
    return np.atleast_2d(np.cov(np.asarray(drawn).T))


def _average_precision(y: pd.Series, output: pd.DataFrame) -> Callable[[Floats], float]:
    """The metric when row i counts `times[i]` times; sorted once for all draws."""
    score = output["probability"].to_numpy(dtype="float64")
    order = np.argsort(-score, kind="stable")
    positive = y.to_numpy(dtype="float64")[order] == 1
    last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])  # of each group of equal scores

    def value(times: Floats) -> float:
        mine = times[order]
        found, taken = np.cumsum(mine * positive)[last], np.cumsum(mine)[last]
        if found[-1] in (0, taken[-1]):
            return np.nan
        precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
        return float(np.diff(found, prepend=0) @ precision / found[-1])

    return value


def _f1_macro(y: pd.Series, output: pd.DataFrame) -> Callable[[Floats], float]:
    both = pd.concat([y.astype(str), output["prediction"].astype(str)], ignore_index=True)
    codes, names = pd.factorize(both)
    true, given, classes = codes[: len(y)], codes[len(y) :], len(names)

    def value(times: Floats) -> float:
        hits = np.bincount(true, times * (true == given), classes)
        there = np.bincount(true, times, classes) + np.bincount(given, times, classes)
        return float(np.mean(2 * hits[there > 0] / there[there > 0]))

    return value


def _r2(y: pd.Series, output: pd.DataFrame) -> Callable[[Floats], float]:
    label = y.to_numpy(dtype="float64")
    squares = (output["prediction"].to_numpy(dtype="float64") - label) ** 2

    def value(times: Floats) -> float:
        if np.ptp(label[times > 0]) == 0:
            return np.nan
        mean = float(times @ label / times.sum())
        return float(1 - times @ squares / (times @ (label - mean) ** 2))

    return value


RESAMPLED: Mapping[str, Callable[[pd.Series, pd.DataFrame], Callable[[Floats], float]]] = {
    "average_precision": _average_precision,
    "f1_macro": _f1_macro,
    "r2": _r2,
}
