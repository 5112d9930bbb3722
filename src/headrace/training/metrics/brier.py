"""The mean squared distance of a probability from what came (Brier 1950)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.training.metrics.base import Metric
from headrace.training.metrics.rows import PROBABILITY, mean_of, numbers

if TYPE_CHECKING:
    import pandas as pd

    from headrace.training.metrics.base import Floats


def _value(y: pd.Series, output: pd.DataFrame) -> float:
    import numpy as np

    return float(np.mean((output[PROBABILITY].to_numpy() - numbers(y)) ** 2))


def _rows(y: pd.Series, output: pd.DataFrame) -> Floats:
    return (numbers(output[PROBABILITY]) - numbers(y)) ** 2


BRIER = Metric(
    name="brier",
    tasks=("Binary",),
    direction="minimize",
    bounds=(0.0, 1.0),
    value=_value,
    covariance=mean_of(_rows),
)
