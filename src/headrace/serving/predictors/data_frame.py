"""The tier `frame`: numbers through a block into one DataFrame, which the estimator's own `predict` gets as in batch scoring.

For objects of a user's own, and for estimators that want names of columns. A DataFrame of one block costs a tenth of one
that is put together from columns; its values lie in memory in the same order, so that sums round alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.native import Native
from headrace.training.tasks.known import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from headrace.serving.predictors.base import Numbers, Scorer


class DataFrameScorer:
    """An estimator that takes a DataFrame of numbers.

    Args:
        folder: of the estimator.
        alone: the block of one that `one` reads.
        spec: of the package.
    """

    def __init__(self, folder: Path, alone: Numbers, spec: Mapping[str, Any]) -> None:
        if any(feature["kind"] == "string" for feature in spec["plan"]["features"]):
            raise UnfitError  # nothing is to be said: the tier `native` says it
        import pandas as pd

        from headrace.training.estimator import LOADERS, Settings

        settings = replace(Settings.from_json(spec["settings"]), order=None)  # the last step orders the classes
        self._estimator = LOADERS[spec["estimator"]](folder, settings)
        self._classes: list[Any] = spec["classes"]
        self._predicts = TASKS[spec["task"]].method == "predict"
        self.outputs = 1 if self._predicts else len(self._classes)
        self._alone = alone
        self._frame = pd.DataFrame
        self._names = pd.Index([feature["name"] for feature in spec["plan"]["features"]])

    def one(self) -> list[float]:
        """See Scorer."""
        return self.many(self._alone)[0].tolist()

    def many(self, block: Numbers) -> Numbers:
        """See Scorer."""
        columns_first = np.array(block.T, order="C")  # a copy, which the estimator may keep or change
        X = self._frame(columns_first.T, columns=self._names, copy=False)  # noqa: N806
        if self._predicts:
            return self._estimator.values(X).reshape(-1, 1)
        return self._estimator.probabilities(X, self._classes)


class Frame(Native):
    """See the module."""

    tier = "frame"
    scorers: ClassVar[Mapping[str, Callable[[Path, Numbers, Mapping[str, Any]], Scorer]]] = {
        "pickle": DataFrameScorer,
        "mlflow": DataFrameScorer,
    }

    def why_not(self, kept: str) -> str:
        """See Native: nothing is to be said, for such an estimator never comes here."""
        del kept
        return ""
