"""The loader that MLflow calls for a logged model, on any machine: `mlflow.pyfunc.load_model("models:/name/1")`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.scoring.predictor import PackagePredictor
from headrace.training.package import FOLDER

if TYPE_CHECKING:
    import pandas as pd


class Pyfunc:
    """MLflow's face of a predictor."""

    def __init__(self, predictor: PackagePredictor) -> None:
        self._predictor = predictor

    def predict(self, model_input: pd.DataFrame, params: object = None) -> pd.DataFrame:
        """Full rows → the task's output. There are no parameters."""
        del params
        return self._predictor.predict(model_input)


def _load_pyfunc(path: str) -> Pyfunc:  # pyright: ignore[reportUnusedFunction]  # MLflow calls it by this name
    folder = Path(path)
    return Pyfunc(PackagePredictor(folder / FOLDER if (folder / FOLDER).is_dir() else folder))
