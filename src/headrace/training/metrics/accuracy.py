"""The share of the rows whose prediction is right; a probability of at least a half is a yes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.training.metrics.base import Metric
from headrace.training.metrics.rows import PROBABILITY, mean_of, numbers, texts

if TYPE_CHECKING:
    import pandas as pd

    from headrace.training.metrics.base import Floats


def _value(y: pd.Series, output: pd.DataFrame) -> float:
    import numpy as np

    return float(np.mean(_right(y, output)))


def _rows(y: pd.Series, output: pd.DataFrame) -> Floats:
    return _right(y, output).astype("float64")


def _right(y: pd.Series, output: pd.DataFrame) -> Any:
    if PROBABILITY in output.columns:
        return (numbers(output[PROBABILITY]) >= 0.5) == (numbers(y) == 1)
    return texts(y) == texts(output["prediction"])


ACCURACY = Metric(
    name="accuracy",
    tasks=("Binary", "Multiclass"),
    direction="maximize",
    bounds=(0.0, 1.0),
    value=_value,
    covariance=mean_of(_rows),
)
