"""The mean negative logarithm of the probability of what came."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from headrace.training.metrics.base import Metric, UndefinedMetricError
from headrace.training.metrics.rows import PREFIX, PROBABILITY, mean_of, numbers, sklearn, smallest, texts

if TYPE_CHECKING:
    import pandas as pd

    from headrace.training.metrics.base import Floats


def _value(y: pd.Series, output: pd.DataFrame) -> float:
    if PROBABILITY in output.columns:
        return sklearn().log_loss(numbers(y), output[PROBABILITY], labels=[0.0, 1.0])
    return _of_classes(y, output)


def _of_classes(y: pd.Series, output: pd.DataFrame) -> float:
    """A class that was never fitted has probability 0, which the metric bounds."""
    import numpy as np

    names = [str(name) for name in output.columns]
    given = {name.removeprefix(PREFIX): output[name] for name in names if name.startswith(PREFIX)}
    labels = y.astype(str)
    classes = sorted({*given, *labels})
    if len(classes) < 2:
        raise UndefinedMetricError("there is one class")
    probability = np.column_stack([given[name] if name in given else np.zeros(len(y)) for name in classes])
    return sklearn().log_loss(labels.to_numpy(dtype=object), probability, labels=classes)


def _rows(y: pd.Series, output: pd.DataFrame) -> Floats:
    import numpy as np

    if PROBABILITY in output.columns:
        p, label = numbers(output[PROBABILITY]), numbers(y)
        return -np.log(np.clip(np.where(label == 1, p, 1 - p), smallest(), 1))
    given = {str(name).removeprefix(PREFIX): output[name].to_numpy() for name in output if str(name).startswith(PREFIX)}
    own = [given[text][place] if text in given else 0.0 for place, text in enumerate(texts(y))]
    return -np.log(np.clip(np.asarray(own, dtype="float64"), smallest(), 1))


LOG_LOSS = Metric(
    name="log_loss",
    tasks=("Binary", "Multiclass"),
    direction="minimize",
    bounds=(0.0, inf),
    value=_value,
    covariance=mean_of(_rows),
)
