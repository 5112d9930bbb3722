"""The contract of a metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from headrace.core.errors import DataError, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import pandas as pd

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Value = Callable[[pd.Series, pd.DataFrame], float | None]
    Covariance = Callable[[pd.Series, Sequence[pd.DataFrame]], Floats]
    Resampled = Callable[[pd.Series, pd.DataFrame], Callable[[Floats], float]]

Direction = Literal["maximize", "minimize"]
SLACK = 1e-5  # beyond a bound: probabilities are accepted with what rounding leaves


class UndefinedMetricError(Exception):
    """A metric has no meaning on these rows; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number that says how good outputs are against labels.

    Attributes:
        name: under which it is stored, and by which gates, alerts and guardrails may name it.
        tasks: the names of the tasks that it is for.
        direction: in which it is good.
        bounds: the lowest and the highest value that it can have, infinite where there is none.
        value: labels and output of the same rows, at least one → the value, a finite number within the bounds. None, or
            UndefinedMetricError, means that it has no meaning on these rows.
        covariance: labels and several outputs of the same rows, at least two → the covariance matrix of the values over the
            outputs, in closed form; None for a bootstrap.
        resampled: labels and output → a function that gives the value when row i counts `times[i]` times (NaN where there
            is none), which makes the bootstrap quicker; None to call `value` on the drawn rows.
        two_labels: whether it compares labels with each other, and so has a value only where two of them differ.
        content: digest of an own metric's function; empty for a built-in one.
    """

    name: str
    tasks: tuple[str, ...]
    direction: Direction
    bounds: tuple[float, float]
    value: Value
    covariance: Covariance | None = None
    resampled: Resampled | None = None
    two_labels: bool = False
    content: str = ""

    def measure(self, y: pd.Series, output: pd.DataFrame) -> float:
        """The value on these rows.

        Args:
            y: the labels.
            output: as the model gives it, same length: the columns of the task.

        Raises:
            UndefinedMetricError: it has no meaning on them.
            DataError: the value is not a finite number, or outside of the bounds.
        """
        if self.two_labels and y.nunique() < 2:
            raise UndefinedMetricError(f"all {len(y)} labels are {_shown(y.iloc[0])}")
        given = self.value(y, output)
        if given is None:
            raise UndefinedMetricError("it has no value on these rows")
        low, high = self.bounds
        try:
            value = float(given)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value) or not low - SLACK <= value <= high + SLACK:
            raise DataError(
                f"the metric {self.name!r} is {given!r} on {len(y):,} rows; it is a number from {low:g} to {high:g}.",
                hint="Return None where it has no meaning, or declare other bounds: hr.metric(…, bounds=(low, high)).",
            )
        return value


def metric_name(of: str, metric: str | Metric) -> str:
    """The name of a metric that a declaration takes as a name or as `hr.metric(…)` returned it.

    Raises:
        DeclarationError: it is neither.
    """
    name = metric.name if isinstance(metric, Metric) else metric
    if not isinstance(name, str) or not name:
        raise DeclarationError(
            f"{of}({metric!r}) names no metric.",
            hint='Write the name of one, "roc_auc", or what hr.metric(function, …) returned.',
        )
    return name


def _shown(label: object) -> str:
    return f"{label:g}" if isinstance(label, Real) else repr(label)
