"""A logged MLflow model of any flavour as an estimator: kept with all of its files, predicts as MLflow predicts.

Flavours that `training.estimator` has another form for (scikit-learn, LightGBM, XGBoost, ONNX) do not need this.
"""

from __future__ import annotations

import sys
import weakref
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import mkdtemp
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headrace.core.errors import UserCodeError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import pandas as pd

WHOLE: Mapping[str, Literal["int32", "int64"]] = {"integer": "int32", "long": "int64"}
LABELS = "iubOUS"  # kinds of arrays that hold no probabilities


class MlflowFiles:
    """A folder with an `MLmodel` file, which `mlflow.pyfunc` loads at the first prediction.

    Args:
        folder: it is read when it is loaded, and by some flavours later; it must stay.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()
        self._loaded: Any = None

    @classmethod
    def copied(cls, folder: Path) -> MlflowFiles:
        """The same of a folder that goes: a copy, which goes with the object."""
        parent = mkdtemp(prefix="headrace-mlflow-files-")
        made = cls(Path(parent, "model"))
        weakref.finalize(made, rmtree, parent, ignore_errors=True)
        copytree(folder, made.folder)
        return made

    def load(self) -> Any:
        """MLflow's `PyFuncModel`, loaded once."""
        with self._lock:
            if self._loaded is None:
                with _no_bytecode():
                    self._loaded = _pyfunc().load_model(str(self.folder))
            return self._loaded

    def predict(self, X: pd.DataFrame) -> Any:  # noqa: N803
        """What the model answers, as an array."""
        return np.asarray(self.load().predict(self._typed(X)))

    def predict_proba(self, X: pd.DataFrame) -> Any:  # noqa: N803
        """Probabilities: of the model inside, where it has `predict_proba`; else the answer, which must be of fractions.

        Raises:
            UserCodeError: it answers labels.
        """
        inside = self._inside()
        if inside is not None:
            return inside.predict_proba(self._typed(X))
        answer = self.predict(X)
        if answer.dtype.kind in LABELS:
            raise UserCodeError(
                f"the MLflow model answers labels ({answer.dtype}), and probabilities are needed.",
                hint='Log one that answers probabilities: mlflow.….log_model(…, pyfunc_predict_fn="predict_proba").',
            )
        return answer

    def _inside(self) -> Any:
        """The library's own object where it gives probabilities; None where there is none."""
        try:
            inside = self.load().get_raw_model()
        except NotImplementedError:
            return None
        own = isinstance(inside, _pyfunc().PythonModel)
        return inside if not own and callable(getattr(inside, "predict_proba", None)) else None

    def _typed(self, X: pd.DataFrame) -> pd.DataFrame:  # noqa: N803
        """The matrix in the types of the signature, which MLflow enforces; whole numbers with missing ones stay as they are."""
        types = input_types(self.load().metadata.signature)
        return X.assign(**{str(name): _cast(X[name], types.get(str(name), "")) for name in X.columns})


def input_types(signature: Any) -> dict[str, str]:
    """Input column → the name of its type in a signature of MLflow's, in order; empty where it has no named columns."""
    inputs = None if signature is None else signature.inputs
    if inputs is None or inputs.is_tensor_spec() or not inputs.has_input_names():
        return {}
    return {each.name: getattr(each.type, "name", "") for each in inputs.inputs}


@contextmanager
def _no_bytecode() -> Generator[None]:
    """Code that travels with the model is imported, and its folder stays as it is."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _pyfunc() -> Any:
    from headrace.tracking import store  # servers import this module for other models, and no database for them

    return store.load("mlflow.pyfunc")


def _cast(values: pd.Series, to: str) -> pd.Series:
    if values.dtype == "category":
        known = values.astype(object)
        return known.where(known.notna(), None)
    if to == "float":
        return values.astype("float32")
    if to == "boolean" and values.notna().all():
        return values.astype(bool)
    if to in WHOLE and values.notna().all():
        return values.astype(WHOLE[to])
    return values
