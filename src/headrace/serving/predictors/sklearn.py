"""Estimators of scikit-learn on a block, without DataFrames and without the checks that cost more than most models.

Only estimators that consist of scikit-learn's own parts and take numbers by position are supported. One that needs
names of columns, or calls a user's function, uses the generic tier.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from headrace.serving.predictors.base import UnfitError
from headrace.training.missing_values import refused_value
from headrace.training.parts import one_thread, parts
from headrace.training.tasks.known import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.serving.predictors.base import Numbers

LARGEST = float(np.finfo(np.float32).max)  # trees compute in float32
BY_NAME = ("ColumnTransformer", "FunctionTransformer")


class Sklearn:
    """An estimator that was kept by pickle.

    Args:
        folder: of the estimator.
        alone: the block of one that `one` reads.
        spec: of the package.
    """

    def __init__(self, folder: Path, alone: Numbers, spec: Mapping[str, Any]) -> None:
        if any(feature["kind"] == "string" for feature in spec["plan"]["features"]):
            raise UnfitError("texts are categories of pandas for the estimator")
        with (folder / "model.pkl").open("rb") as file:
            estimator: Any = pickle.load(file)  # noqa: S301 - a package is code; its hash was checked
        _prepare(estimator)
        from sklearn import config_context

        self._context = config_context
        classes: list[Any] = spec["classes"]
        ask = TASKS[spec["task"]].method
        if not hasattr(estimator, ask):
            raise UnfitError(f"{type(estimator).__name__} has no {ask}()")
        self._ask = getattr(estimator, ask)
        self.outputs = len(classes) or 1
        self._alone = alone
        self._names = [feature["name"] for feature in spec["plan"]["features"]]

    def one(self) -> list[float]:
        """See Scorer."""
        return self.many(self._alone)[0].tolist()

    def many(self, block: Numbers) -> Numbers:
        """See Scorer."""
        given = np.asarray(self._quick(np.asfortranarray(block)), dtype="float64")  # columns first, as in a DataFrame
        numbers = given.reshape(len(block), -1)
        if numbers.shape[1] != self.outputs:
            raise UnfitError(f"it gives {numbers.shape[1]} numbers a row for {self.outputs}")
        return numbers

    def _quick(self, block: Numbers) -> Any:
        """Without the checks that this block would pass."""
        if not (np.abs(block) <= LARGEST).all():  # a missing value, or one that is too large: the estimator has its say
            try:
                return self._ask(block)
            except ValueError as error:
                raise refused_value(error, block, self._names) or error from error
        with self._context(assume_finite=True, skip_parameter_validation=True):
            return self._ask(block)


def _prepare(estimator: Any) -> None:
    """No names of columns, whose absence would be warned of, and one thread.

    Raises:
        UnfitError: it holds something that needs more than numbers.
    """
    inside = list(parts(estimator))
    if not inside or inside[0] is not estimator:
        raise UnfitError(f"{type(estimator).__name__} is no estimator of scikit-learn")
    for part in inside:
        name = type(part).__name__
        if not type(part).__module__.startswith("sklearn."):
            raise UnfitError(f"{name} is no part of scikit-learn")
        if name in BY_NAME:
            raise UnfitError(f"{name} takes columns by name, or as a DataFrame")
        cast("dict[str, Any]", vars(part)).pop("feature_names_in_", None)
    one_thread(estimator)
