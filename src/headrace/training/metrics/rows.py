"""Shared parts of metrics that are means over rows: their covariance, and labels and classes as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.core.extras import need

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from headrace.training.metrics.base import Covariance, Floats

PREFIX = "probability_"
PROBABILITY = "probability"


def sklearn() -> Any:
    """The metrics of scikit-learn.

    Raises:
        MissingExtraError: it is not installed.
    """
    return need("sklearn.metrics", "train", "evaluation")


def smallest() -> float:
    """The distance from 1 to the next float64, below which a probability is not told from 0."""
    import numpy as np

    return float(np.finfo(np.float64).eps)


def of_means(columns: Sequence[Floats]) -> Floats:
    """Of the means of columns: the sample covariance over the number of rows; one row says nothing of it: infinite."""
    import numpy as np

    rows = len(columns[0])
    if rows < 2:
        return np.full((len(columns), len(columns)), np.inf)
    return np.atleast_2d(np.cov(np.vstack(columns))) / rows


def mean_of(contribution: Callable[[pd.Series, pd.DataFrame], Floats]) -> Covariance:
    """The covariance of a metric that is the mean of what each row contributes, by the central limit theorem."""
    return lambda y, outputs: of_means([contribution(y, output) for output in outputs])


def numbers(values: pd.Series) -> Floats:
    """As float64."""
    return values.to_numpy(dtype="float64")


def texts(values: pd.Series) -> Any:
    """Classes as texts."""
    return values.astype(str).to_numpy(dtype=object)
