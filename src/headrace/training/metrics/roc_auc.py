"""The area under the ROC curve; its covariance by DeLong, DeLong and Clarke-Pearson (1988), in the fast form of Sun and Xu (2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.training.metrics.base import Metric
from headrace.training.metrics.rows import PROBABILITY, numbers, of_means, sklearn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from headrace.training.metrics.base import Floats


def _value(y: pd.Series, output: pd.DataFrame) -> float:
    return sklearn().roc_auc_score(numbers(y), output[PROBABILITY])


def _covariance(y: pd.Series, outputs: Sequence[pd.DataFrame]) -> Floats:
    return delong(numbers(y), [numbers(output[PROBABILITY]) for output in outputs])


def delong(y: Floats, scores: Sequence[Floats]) -> Floats:
    """The covariance matrix of areas under the ROC curve on the same rows.

    With mid-ranks T over all rows and T⁺ over the positive ones, a positive row's component is (T - T⁺)/n⁻ and a negative
    row's 1 - (T - T⁻)/n⁺; the covariance is cov(components⁺)/n⁺ + cov(components⁻)/n⁻.

    Args:
        y: 0 or 1.
        scores: one array a model.
    """
    positive = y == 1
    up, down = int(positive.sum()), int((~positive).sum())
    ours: list[Floats] = []
    theirs: list[Floats] = []
    for score in scores:
        ranks = _midranks(score)
        ours.append((ranks[positive] - _midranks(score[positive])) / down)
        theirs.append(1 - (ranks[~positive] - _midranks(score[~positive])) / up)
    return of_means(ours) + of_means(theirs)


def _midranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share their mean rank."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


ROC_AUC = Metric(
    name="roc_auc",
    tasks=("Binary",),
    direction="maximize",
    bounds=(0.0, 1.0),
    value=_value,
    covariance=_covariance,
    two_labels=True,
)
