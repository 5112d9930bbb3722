"""MLflow's own way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.flavour import own
from headrace.serving.predictors.frames import frame, lists

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.serving.predictors.base import Answer, Row


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
