"""Metrics of outputs against labels, on all rows and on slices of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.core.errors import DataError, NotFoundError
from headrace.training.metrics.base import Metric, UndefinedMetricError
from headrace.training.metrics.known import metrics_of
from headrace.training.slices import slice_codes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from headrace.training.declarations import Model
    from headrace.training.tasks.base import Task

LARGEST = 100  # slices of one column: those with the most rows


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric on one set of rows.

    Attributes:
        slice_key: a column of the spine; None for all rows.
        slice_value: its value as text, by `slice_text`.
        value: None when the metric has no meaning on these rows.
        rows: how many there are.
        reason: why there is no value.
    """

    metric: str
    slice_key: str | None = None
    slice_value: str | None = None
    value: float | None
    rows: int
    reason: str = ""


def evaluate(
    task: Task,
    y: pd.Series,
    output: pd.DataFrame,
    slices: pd.DataFrame | None = None,
    *,
    metrics: Sequence[str | Metric] = (),
) -> list[Measure]:
    """Measures outputs against labels.

    Args:
        task: what is predicted.
        y: the labels.
        output: as the model gives it, same length: `probability`, or `prediction` and `probability_<class>`.
        slices: columns to slice by, same length; each value of each column is measured on its own, the hundred largest.
        metrics: own ones, or names of the task's; by default all of the task.

    Raises:
        NotFoundError: the task has no metric of that name.
        DataError: a value is not a finite number, or outside of the metric's bounds.
        UserCodeError: the function of an own metric raised.
        MissingExtraError: scikit-learn is not installed.
    """
    chosen = [metric_of(task, each) for each in metrics] or list(metrics_of(task.name, task.metrics).values())
    label = y.reset_index(drop=True)
    result = output.reset_index(drop=True)
    measures = [_measure(metric, label, result) for metric in chosen]
    for key, value, places in places_by_value(slices):
        measures += [
            _measure(metric, label.iloc[places], result.iloc[places], key=key, value=value) for metric in chosen
        ]
    return measures


def metric_of(task: Task, metric: str | Metric) -> Metric:
    """A metric as it is, or the one that the task has by that name.

    Raises:
        NotFoundError: it has none.
    """
    if isinstance(metric, Metric):
        return metric
    known = metrics_of(task.name, task.metrics)
    if metric not in known:
        raise NotFoundError(f"metric for {task.name}", metric, known)
    return known[metric]


def check_measurable(model: Model, y: pd.Series) -> None:
    """Refuses test rows on which the main metric has no meaning.

    Raises:
        DataError: all labels are the same, and the metric compares different ones.
    """
    metric = model.measured[0]
    if metric.two_labels and y.nunique() < 2:
        others = [each.name for each in model.known_metrics.values() if not each.two_labels]
        also = f", or measure first what has a value there: Evaluate(metrics=[{others[0]!r}, …])" if others else ""
        more = (
            "a longer window, Evaluate(test=…), choose another training moment with --as-of"
            if model.split.by_time
            else "some of each label, Evaluate(test=hr.stratified(0.3))"
        )
        raise DataError(
            f"all {len(y)} rows to test on have the same label, {y.iloc[0]:g}: {metric.name} has no value on them.",
            hint=f"Hold out {more}{also}.",
        )


def by_name(measures: Sequence[Measure]) -> dict[str, float | None]:
    """The values on all rows, by metric."""
    return {measure.metric: measure.value for measure in measures if measure.slice_key is None}


def places_by_value(columns: pd.DataFrame | None) -> Iterator[tuple[str, str, Any]]:
    """Column, value as text and the positions of its rows, for the values of each column that have the most rows."""
    if columns is None:
        return
    for key in columns.columns:
        codes, texts = slice_codes(columns[key])
        rows = np.bincount(codes, minlength=len(texts))
        largest = sorted(range(len(texts)), key=lambda place: (-rows[place], texts[place]))[:LARGEST]
        for place in sorted(largest):
            yield str(key), texts[place], np.flatnonzero(codes == place)


def _measure(
    metric: Metric, y: pd.Series, output: pd.DataFrame, *, key: str | None = None, value: str | None = None
) -> Measure:
    measured, reason = None, "no rows"
    if not y.empty:
        try:
            measured, reason = metric.measure(y, output), ""
        except UndefinedMetricError as error:
            reason = str(error)
    return Measure(metric=metric.name, slice_key=key, slice_value=value, value=measured, rows=len(y), reason=reason)
