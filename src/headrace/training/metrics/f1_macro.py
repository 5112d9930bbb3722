"""The mean over classes of the harmonic mean of precision and recall; a class that is never predicted counts 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.training.metrics.base import Metric
from headrace.training.metrics.rows import sklearn, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from headrace.training.metrics.base import Floats


def _value(y: pd.Series, output: pd.DataFrame) -> float:
    return sklearn().f1_score(texts(y), texts(output["prediction"]), average="macro", zero_division=0.0)


def _resampled(y: pd.Series, output: pd.DataFrame) -> Callable[[Floats], float]:
    import numpy as np
    import pandas as pd

    both = pd.concat([y.astype(str), output["prediction"].astype(str)], ignore_index=True)
    codes, names = pd.factorize(both)
    true, given, classes = codes[: len(y)], codes[len(y) :], len(names)

    def value(times: Floats) -> float:
        hits = np.bincount(true, times * (true == given), classes)
        there = np.bincount(true, times, classes) + np.bincount(given, times, classes)
        return float(np.mean(2 * hits[there > 0] / there[there > 0]))

    return value


F1_MACRO = Metric(
    name="f1_macro",
    tasks=("Multiclass",),
    direction="maximize",
    bounds=(0.0, 1.0),
    value=_value,
    resampled=_resampled,
)
