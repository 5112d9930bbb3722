"""The mean of the precision over the recall, step by step through the thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.training.metrics.base import Metric
from headrace.training.metrics.rows import PROBABILITY, numbers, sklearn

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from headrace.training.metrics.base import Floats


def _value(y: pd.Series, output: pd.DataFrame) -> float:
    return sklearn().average_precision_score(numbers(y), output[PROBABILITY])


def _resampled(y: pd.Series, output: pd.DataFrame) -> Callable[[Floats], float]:
    """Sorted once for all draws."""
    import numpy as np

    score = numbers(output[PROBABILITY])
    order = np.argsort(-score, kind="stable")
    positive = numbers(y)[order] == 1
    last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])  # of each group of equal scores

    def value(times: Floats) -> float:
        mine = times[order]
        found, taken = np.cumsum(mine * positive)[last], np.cumsum(mine)[last]
        if found[-1] in (0, taken[-1]):
            return np.nan
        precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
        return float(np.diff(found, prepend=0) @ precision / found[-1])

    return value


AVERAGE_PRECISION = Metric(
    name="average_precision",
    tasks=("Binary",),
    direction="maximize",
    bounds=(0.0, 1.0),
    value=_value,
    resampled=_resampled,
    two_labels=True,
)
