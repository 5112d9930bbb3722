"""The share of the labels' variance that predictions explain; 0 for their mean, negative for worse."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from headrace.training.metrics.base import Metric
from headrace.training.metrics.rows import numbers, sklearn

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from headrace.training.metrics.base import Floats


def _value(y: pd.Series, output: pd.DataFrame) -> float:
    return sklearn().r2_score(y, output["prediction"])


def _resampled(y: pd.Series, output: pd.DataFrame) -> Callable[[Floats], float]:
    import numpy as np

    label = numbers(y)
    squares = (numbers(output["prediction"]) - label) ** 2

    def value(times: Floats) -> float:
        if np.ptp(label[times > 0]) == 0:
            return np.nan
        mean = float(times @ label / times.sum())
        return float(1 - times @ squares / (times @ (label - mean) ** 2))

    return value


R2 = Metric(
    name="r2",
    tasks=("Regression",),
    direction="maximize",
    bounds=(-inf, 1.0),
    value=_value,
    resampled=_resampled,
    two_labels=True,
)
