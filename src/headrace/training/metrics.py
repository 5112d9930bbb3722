"""How good outputs are against labels, on all rows and on slices of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.core.errors import DataError
from headrace.training.declarations import METRICS, Binary, Multiclass
from headrace.training.extras import need
from headrace.training.slices import slice_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

    from headrace.training.declarations import Model, Task

PREFIX = "probability_"
COMPARING = ("roc_auc", "average_precision", "r2")  # labels with each other: they need two
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


class UndefinedMetricError(Exception):
    """A metric has no meaning on these rows."""


def evaluate(
    task: Task,
    y: pd.Series,
    output: pd.DataFrame,
    slices: pd.DataFrame | None = None,
    *,
    metrics: Sequence[str] = (),
) -> list[Measure]:
    """Measures outputs against labels.

    Args:
        task: what is predicted.
        y: the labels.
        output: as the model gives it, same length: `probability`, or `prediction` and `probability_<class>`.
        slices: columns to slice by, same length; each value of each column is measured on its own, the hundred largest.
        metrics: names; by default all of the task.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    names = tuple(metrics) or tuple(METRICS[type(task).__name__])
    label = y.reset_index(drop=True)
    result = output.reset_index(drop=True)
    measures = [_measure(task, name, label, result) for name in names]
    for key, value, places in places_by_value(slices):
        measures += [
            _measure(task, name, label.iloc[places], result.iloc[places], key=key, value=value) for name in names
        ]
    return measures


def check_measurable(model: Model, y: pd.Series) -> None:
    """Refuses test rows on which the main metric has no meaning.

    Raises:
        DataError: all labels are the same, and the metric compares different ones.
    """
    metric = model.metrics[0]
    if metric in COMPARING and y.nunique() < 2:
        others = [name for name in METRICS[type(model.task).__name__] if name not in COMPARING]
        raise DataError(
            f"all {len(y)} rows to test on have the same label, {y.iloc[0]:g}: {metric} has no value on them.",
            hint="Hold out a longer window, Evaluate(test=…), choose another training moment with --as-of, or measure "
            f"first what has a value there: Evaluate(metrics=[{others[0]!r}, …]).",
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
    task: Task, metric: str, y: pd.Series, output: pd.DataFrame, *, key: str | None = None, value: str | None = None
) -> Measure:
    measured, reason = None, "no rows"
    if not y.empty:
        try:
            measured, reason = float(_compute(task)[metric](y, output)), ""
        except UndefinedMetricError as error:
            reason = str(error)
    return Measure(metric=metric, slice_key=key, slice_value=value, value=measured, rows=len(y), reason=reason)


def _compute(task: Task) -> Mapping[str, Callable[[pd.Series, pd.DataFrame], float]]:
    if isinstance(task, Binary):
        return BINARY
    return MULTICLASS if isinstance(task, Multiclass) else REGRESSION


def _sklearn() -> Any:
    return need("sklearn.metrics", "train", "evaluation")


def _two(y: pd.Series) -> Any:
    labels = y.to_numpy(dtype="float64")
    if len(np.unique(labels)) < 2:
        raise UndefinedMetricError(f"all {len(labels)} labels are {labels[0]:g}")
    return labels


def _average_precision(y: pd.Series, output: pd.DataFrame) -> float:
    return _sklearn().average_precision_score(_two(y), output["probability"])


def _binary_log_loss(y: pd.Series, output: pd.DataFrame) -> float:
    return _sklearn().log_loss(y.to_numpy(dtype="float64"), output["probability"], labels=[0.0, 1.0])


def _log_loss(y: pd.Series, output: pd.DataFrame) -> float:
    """A class that was never fitted has probability 0, which the metric bounds."""
    names = [str(name) for name in output.columns]
    given = {name.removeprefix(PREFIX): output[name] for name in names if name.startswith(PREFIX)}
    labels = y.astype(str)
    classes = sorted({*given, *labels})
    if len(classes) < 2:
        raise UndefinedMetricError("there is one class")
    probability = np.column_stack([given[name] if name in given else np.zeros(len(y)) for name in classes])
    return _sklearn().log_loss(labels.to_numpy(dtype=object), probability, labels=classes)


def _texts(values: pd.Series) -> Any:
    return values.astype(str).to_numpy(dtype=object)


def _r2(y: pd.Series, output: pd.DataFrame) -> float:
    if len(y) < 2 or y.nunique() < 2:
        raise UndefinedMetricError("all labels are equal")
    return _sklearn().r2_score(y, output["prediction"])


BINARY: Mapping[str, Callable[[pd.Series, pd.DataFrame], float]] = {
    "roc_auc": lambda y, output: _sklearn().roc_auc_score(_two(y), output["probability"]),
    "log_loss": _binary_log_loss,
    "brier": lambda y, output: float(np.mean((output["probability"].to_numpy() - y.to_numpy(dtype="float64")) ** 2)),
    "average_precision": _average_precision,
    "accuracy": lambda y, output: float(
        np.mean((output["probability"].to_numpy() >= 0.5) == (y.to_numpy(dtype="float64") == 1))
    ),
}
MULTICLASS: Mapping[str, Callable[[pd.Series, pd.DataFrame], float]] = {
    "accuracy": lambda y, output: float(np.mean(_texts(y) == _texts(output["prediction"]))),
    "log_loss": _log_loss,
    "f1_macro": lambda y, output: _sklearn().f1_score(
        _texts(y), _texts(output["prediction"]), average="macro", zero_division=0.0
    ),
}
REGRESSION: Mapping[str, Callable[[pd.Series, pd.DataFrame], float]] = {
    "rmse": lambda y, output: float(
        np.sqrt(np.mean((output["prediction"].to_numpy() - y.to_numpy(dtype="float64")) ** 2))
    ),
    "mae": lambda y, output: float(np.mean(np.abs(output["prediction"].to_numpy() - y.to_numpy(dtype="float64")))),
    "r2": _r2,
}
