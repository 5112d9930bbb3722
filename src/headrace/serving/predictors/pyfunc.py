"""The tier `pyfunc`: prediction by MLflow itself."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.frames import frame, lists

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from headrace.serving.predictors.base import Answer, Row


def own(model: Any) -> Callable[[Any, Mapping[str, Any]], Any]:
    """The `predict` of a flavour, past MLflow's checks.

    Raises:
        UnfitError: it cannot be had.
    """
    predict = getattr(model, "_predict_fn", None)
    if predict is None:
        raise UnfitError("this MLflow keeps the flavour's predict() elsewhere")
    takes = inspect.signature(predict).parameters.get("params")
    if takes is not None and takes.kind is not inspect.Parameter.VAR_KEYWORD:
        return lambda data, params: predict(data, params=dict(params))
    return lambda data, _: predict(data)


class Pyfunc:
    """The model as `mlflow.pyfunc.load_model` gives it, past MLflow's checks of types: what a request holds was checked."""

    tier = "pyfunc"

    def __init__(self, folder: Path) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import load_model

        try:
            self._model: Any = load_model(str(folder))
        except (MlflowException, OSError, ImportError) as error:
            raise UnfitError(str(error)) from error
        self._ask = own(self._model)
        self._inputs = list(self._model.metadata.signature.inputs.input_names())
        self.columns = tuple(self._model.metadata.signature.outputs.input_names())

    def many(self, rows: list[Row]) -> list[Answer]:
        """See Predictor."""
        return lists(self._ask(frame(self._inputs, rows), {}))

    def one(self, row: Row) -> Answer:
        """See Predictor."""
        return self.many([row])[0]
