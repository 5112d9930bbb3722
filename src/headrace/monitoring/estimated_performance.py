"""Quality before the labels are known, estimated from calibrated probabilities. Always called estimated.

Confidence-based performance estimation (CBPE): a row with probability p is true with probability p. Expected true
positives at a threshold are the sum of p above it, expected false ones the sum of 1 - p, and so on; areas under curves
follow by going through the thresholds. It is valid while the probabilities are calibrated, and cannot detect labels
that shift for another reason than the features. So no estimate is made when such a shift is visible, and its error is
stored once labels come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.training.tasks.base import Task

Floats = np.ndarray[Any, np.dtype[np.float64]]
LOOKED_AT = 3  # realised windows before the one to estimate
LARGEST_SHIFT = 0.25  # of the label's standard deviation


@dataclass(frozen=True, kw_only=True)
class RealizedOutcome:
    """What came of a realised window.

    Attributes:
        labelled: rows.
        label_mean: the rate that came.
        prediction_mean: the rate that was predicted for the same rows.
    """

    labelled: int
    label_mean: float
    prediction_mean: float


def estimate(probability: Floats) -> dict[str, float]:
    """Expected values of the metrics if every probability is right; an area is left out where one class is impossible.

    Args:
        probability: calibrated, one a row; labels are not looked at.
    """
    found = {name: compute(probability) for name, compute in METRICS.items()} if len(probability) else {}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def refusal(task: Task, rows: int, recent: Sequence[RealizedOutcome], *, min_rows: int) -> str:
    """Why these rows cannot be estimated; empty when they can.

    Args:
        task: what is predicted.
        rows: how many there are.
        recent: the realised windows before, the latest last.
        min_rows: needed.
    """
    if task.probability_output is None:
        return f"only yes-or-no tasks can be estimated; this is {task.name}"
    if not task.sets_aside:
        return "the probabilities are not calibrated: hr.Binary(…, calibrate='isotonic')"
    if rows < min_rows:
        return f"{rows:,} rows; {min_rows:,} are needed (hr.Monitor(min_rows=…))"
    looked_at = recent[-LOOKED_AT:]
    if abs(shift(looked_at)) > LARGEST_SHIFT:
        came, said = _means(looked_at)
        return f"labels have shifted: {came:.3f} came where {said:.3f} was predicted"
    return ""


def shift(recent: Sequence[RealizedOutcome]) -> float:
    """How much more came than was predicted, in standard deviations of a yes-or-no label of the predicted rate."""
    if not recent:
        return 0.0
    came, said = _means(recent)
    spread = float(np.sqrt(said * (1 - said)))
    return (came - said) / spread if spread else 0.0


def _means(recent: Sequence[RealizedOutcome]) -> tuple[float, float]:
    weights = [each.labelled for each in recent]
    came = np.average([each.label_mean for each in recent], weights=weights)
    return float(came), float(np.average([each.prediction_mean for each in recent], weights=weights))


def _roc_auc(p: Floats) -> float:
    true, false = _counts(p)
    if not true[-1] or not false[-1]:
        return np.nan
    return float(np.diff(false) @ (true[1:] + true[:-1]) / (2 * true[-1] * false[-1]))  # trapezoids


def _average_precision(p: Floats) -> float:
    true, false = _counts(p)
    return float(np.diff(true) @ (true[1:] / (true[1:] + false[1:])) / true[-1]) if true[-1] else np.nan


def _counts(p: Floats) -> tuple[Floats, Floats]:
    """Expected true and false positives at each threshold, from none; rows of one probability are one step."""
    values, counts = np.unique(p, return_counts=True)
    values, counts = values[::-1], counts[::-1]
    return np.r_[0.0, np.cumsum(values * counts)], np.r_[0.0, np.cumsum((1 - values) * counts)]


def _log_loss(p: Floats) -> float:
    inside = np.clip(p, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    return float(-np.mean(p * np.log(inside) + (1 - p) * np.log(1 - inside)))


METRICS: Mapping[str, Callable[[Floats], float]] = {
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
    "brier": lambda p: float(np.mean(p * (1 - p))),
    "average_precision": _average_precision,
    "accuracy": lambda p: float(np.mean(np.where(p >= 0.5, p, 1 - p))),
}
