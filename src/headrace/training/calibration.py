"""Isotonic calibration: fitted with scikit-learn, stored as two lists of numbers, applied without scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

LOWEST, HIGHEST = 0.001, 0.999  # never certain: one wrong certain answer makes the log loss infinite

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A monotone map from a model's probability to the observed rate: linear between the points, flat outside."""

    points: tuple[float, ...]
    rates: tuple[float, ...]

    def apply(self, probability: Floats) -> Floats:
        """The calibrated probabilities, between 0.001 and 0.999."""
        return np.interp(probability, np.asarray(self.points), np.asarray(self.rates))


def isotonic(probability: Floats, y: pd.Series) -> Calibration:
    """Fits the map on held-out rows.

    Args:
        probability: of each row, as the model gives it.
        y: 0 or 1, same length.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    from headrace.core.extras import need

    regression = need("sklearn.isotonic", "train", "calibration").IsotonicRegression(
        out_of_bounds="clip", y_min=LOWEST, y_max=HIGHEST
    )
    regression.fit(probability, y.to_numpy(dtype="float64"))
    return Calibration(points=tuple(regression.X_thresholds_.tolist()), rates=tuple(regression.y_thresholds_.tolist()))
