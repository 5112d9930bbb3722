"""Figures of a fitted version: ROC and calibration curve, residuals, importance.

Each raises MissingExtraError where matplotlib or scikit-learn is not installed. They are drawn without a display and without
pyplot's global state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.core.extras import need

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

BINS = 10
MOST = 30  # features drawn
POINTS = 5000  # rows drawn


def _axes(title: str, across: str, up: str, height: float = 4.5) -> tuple[Any, Any]:
    figure = need("matplotlib.figure", "train", "plots").Figure(figsize=(6, height), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=across, ylabel=up)
    return figure, axes


def roc(y: pd.Series, probability: pd.Series) -> object:
    """True against false positive rate at every threshold; y is 0 or 1."""
    wrong, right, _ = need("sklearn.metrics", "train", "plots").roc_curve(y.to_numpy(dtype="float64"), probability)
    figure, axes = _axes("ROC on test rows", "false positive rate", "true positive rate")
    axes.plot(wrong, right)
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    return figure


def calibration(y: pd.Series, probability: pd.Series) -> object:
    """Tenths of the rows, from the least to the most probable: what was said against what came."""
    order = np.argsort(probability.to_numpy(), kind="stable")
    tenths = [places for places in np.array_split(order, BINS) if len(places)]
    said = [float(probability.to_numpy()[places].mean()) for places in tenths]
    came = [float(y.to_numpy(dtype="float64")[places].mean()) for places in tenths]
    figure, axes = _axes("Calibration on test rows", "probability", "observed rate")
    axes.plot(said, came, marker="o")
    highest = max(*said, *came, 1e-9)
    axes.plot([0, highest], [0, highest], linestyle=":", color="grey")
    return figure


def predicted(y: pd.Series, prediction: pd.Series) -> object:
    """Predicted against true numbers, of at most 5,000 rows."""
    places = np.unique(np.linspace(0, len(y) - 1, min(len(y), POINTS)).astype(int))
    true = y.to_numpy(dtype="float64")[places]
    figure, axes = _axes("Predicted and true on test rows", "true", "predicted")
    axes.scatter(true, prediction.to_numpy()[places], s=4, alpha=0.4)
    axes.plot([true.min(), true.max()], [true.min(), true.max()], linestyle=":", color="grey")
    return figure


def importance(weights: Mapping[str, float]) -> object:
    """The features that matter most, by the library's own measure."""
    shown = sorted(weights.items(), key=lambda pair: pair[1])[-MOST:]
    figure, axes = _axes("Importance", "by the library's own measure", "", height=1.5 + 0.22 * len(shown))
    axes.barh([name for name, _ in shown], [value for _, value in shown])
    return figure
