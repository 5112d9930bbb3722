"""How far predicted numbers are from the true ones: the root of the mean square, and the mean absolute distance."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from headrace.training.metrics.base import Metric
from headrace.training.metrics.rows import mean_of, numbers, of_means, smallest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from headrace.training.metrics.base import Floats


def _rmse(y: pd.Series, output: pd.DataFrame) -> float:
    import numpy as np

    return float(np.sqrt(np.mean((output["prediction"].to_numpy() - numbers(y)) ** 2)))


def _rmse_covariance(y: pd.Series, outputs: Sequence[pd.DataFrame]) -> Floats:
    """By the delta method: d sqrt(m) = dm / (2 sqrt(m))."""
    import numpy as np

    squares = [_gap(y, output) ** 2 for output in outputs]
    roots = np.array([max(np.sqrt(np.mean(each)), smallest()) for each in squares])
    return of_means(squares) / (4 * np.outer(roots, roots))


def _mae(y: pd.Series, output: pd.DataFrame) -> float:
    import numpy as np

    return float(np.mean(np.abs(output["prediction"].to_numpy() - numbers(y))))


def _mae_rows(y: pd.Series, output: pd.DataFrame) -> Floats:
    import numpy as np

    return np.abs(_gap(y, output))


def _gap(y: pd.Series, output: pd.DataFrame) -> Floats:
    return numbers(output["prediction"]) - numbers(y)


RMSE = Metric(
    name="rmse",
    tasks=("Regression",),
    direction="minimize",
    bounds=(0.0, inf),
    value=_rmse,
    covariance=_rmse_covariance,
)
MAE = Metric(
    name="mae",
    tasks=("Regression",),
    direction="minimize",
    bounds=(0.0, inf),
    value=_mae,
    covariance=mean_of(_mae_rows),
)
