"""Fitted estimators in the form in which they are kept, so that what is judged is what is shipped.

LightGBM and XGBoost models are kept in their library's own text or JSON: no pickle, the same bytes for the same model,
and the library's scikit-learn face is not needed to predict. So are ONNX graphs. Everything else with `predict` is kept by cloudpickle, with
the project's own modules by value. (MLflow's flavours would keep scikit-learn faces as skops, which asks for a list of
trusted types for most pipelines, is one more dependency, and loads only through MLflow.)
"""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast

import numpy as np

from headrace.core.errors import UserCodeError
from headrace.features.matrix import user_frames
from headrace.training.extras import need
from headrace.training.onnx import FILE as GRAPH
from headrace.training.onnx import Graph
from headrace.training.parts import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pandas as pd

Format = Literal["lightgbm", "xgboost", "onnx", "pickle"]
Numbers = np.ndarray[Any, np.dtype[np.float64]]


class Estimator(Protocol):
    """A fitted model that can be kept in a folder.

    Attributes:
        format: how it is kept.
        fitted: what the user's function gave; None once it was read back.
    """

    format: ClassVar[Format]
    fitted: object

    def values(self, X: pd.DataFrame) -> Numbers:  # noqa: N803
        """Predicted numbers, one a row."""
        ...

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """Rows by classes, in the order of `classes`."""
        ...

    def save(self, folder: Path, *, by_value: Sequence[str]) -> set[str]:
        """Writes into an existing folder; gives the top-level modules that reading it back imports."""
        ...


class LightGBM:
    """A LightGBM booster, with or without a scikit-learn face around it."""

    format: ClassVar[Format] = "lightgbm"
    FILE: ClassVar[str] = "model.txt"

    def __init__(self, booster: Any, fitted: object = None) -> None:
        self.booster, self.fitted = booster, fitted

    def values(self, X: pd.DataFrame) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _column(self.booster.predict(X), len(X), "predict")

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _by_class(self.booster.predict(X), None, classes, len(X))

    def save(self, folder: Path, *, by_value: Sequence[str]) -> set[str]:
        """See Estimator."""
        del by_value
        self.booster.save_model(folder / self.FILE)
        return {"lightgbm"}

    @classmethod
    def load(cls, folder: Path) -> LightGBM:
        """Reads what `save` wrote."""
        lightgbm = need("lightgbm", "lightgbm", "this model")
        return cls(lightgbm.Booster(model_file=folder / cls.FILE))


class XGBoost:
    """An XGBoost booster, with or without a scikit-learn face around it."""

    format: ClassVar[Format] = "xgboost"
    FILE: ClassVar[str] = "model.json"

    def __init__(self, booster: Any, fitted: object = None) -> None:
        self.booster, self.fitted = booster, fitted

    def _predict(self, X: pd.DataFrame) -> Any:  # noqa: N803
        xgboost = need("xgboost", "xgboost", "this model")
        best = self.booster.attr("best_iteration")
        rounds = (0, 0) if best is None else (0, int(best) + 1)
        return self.booster.predict(xgboost.DMatrix(X, enable_categorical=True), iteration_range=rounds)

    def values(self, X: pd.DataFrame) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _column(self._predict(X), len(X), "predict")

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _by_class(self._predict(X), None, classes, len(X))

    def save(self, folder: Path, *, by_value: Sequence[str]) -> set[str]:
        """See Estimator."""
        del by_value
        self.booster.save_model(folder / self.FILE)
        return {"xgboost"}

    @classmethod
    def load(cls, folder: Path) -> XGBoost:
        """Reads what `save` wrote."""
        booster = need("xgboost", "xgboost", "this model").Booster()
        booster.load_model(folder / cls.FILE)
        return cls(booster)


class Onnx:
    """An ONNX graph; see `training.onnx` for what it takes and gives."""

    format: ClassVar[Format] = "onnx"

    def __init__(self, content: bytes, fitted: object = None) -> None:
        self._content, self.fitted = content, fitted
        self._graph = Graph(content)

    def values(self, X: pd.DataFrame) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _column(self._numbers(X), len(X), "the graph")

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _by_class(self._numbers(X), None, classes, len(X))

    def _numbers(self, X: pd.DataFrame) -> Numbers:  # noqa: N803
        texts: dict[str, list[str]] = {}
        block = np.empty(X.shape)
        for place, (name, values) in enumerate(X.items()):
            if values.dtype == "category":
                texts[str(name)] = values.cat.categories.to_list()
                codes = values.cat.codes.to_numpy()
                block[:, place] = np.where(codes < 0, np.nan, codes)
            else:
                block[:, place] = values.to_numpy()
        return self._graph.numbers(block, [str(name) for name in X.columns], texts)

    def save(self, folder: Path, *, by_value: Sequence[str]) -> set[str]:
        """See Estimator."""
        del by_value
        (folder / GRAPH).write_bytes(self._content)
        return {"onnxruntime"}

    @classmethod
    def load(cls, folder: Path) -> Onnx:
        """Reads what `save` wrote."""
        return cls((folder / GRAPH).read_bytes())


class Pickled:
    """Any object with `predict`, and `predict_proba` for classes."""

    format: ClassVar[Format] = "pickle"
    FILE: ClassVar[str] = "model.pkl"

    def __init__(self, fitted: object) -> None:
        self.fitted = fitted

    def values(self, X: pd.DataFrame) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _column(self._ask("predict", X), len(X), "predict")

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator."""
        known = getattr(self.fitted, "classes_", None)
        return _by_class(self._ask("predict_proba", X), None if known is None else list(known), classes, len(X))

    def _ask(self, method: str, X: pd.DataFrame) -> Any:  # noqa: N803
        ask = getattr(self.fitted, method, None)
        if not callable(ask):
            raise UserCodeError(
                f"the fitted {type(self.fitted).__name__} has no {method}().",
                hint="fit() should return an estimator with predict(X), and predict_proba(X) where classes are predicted.",
            )
        try:
            return ask(X)
        except Exception as error:
            raise UserCodeError(
                f"{type(self.fitted).__name__}.{method}() raised {type(error).__name__}: {error}",
                findings=user_frames(error),
            ) from error

    def save(self, folder: Path, *, by_value: Sequence[str]) -> set[str]:
        """See Estimator."""
        import cloudpickle

        modules = [sys.modules[name] for name in by_value if name in sys.modules]
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            with (folder / self.FILE).open("wb") as file:
                cloudpickle.dump(self.fitted, file)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise UserCodeError(
                f"the fitted {type(self.fitted).__name__} cannot be kept: {error}.",
                hint="It must be picklable: no open files, locks, connections or generators.",
            ) from error
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)
        return _imported_by(folder / self.FILE)

    @classmethod
    def load(cls, folder: Path) -> Pickled:
        """Reads what `save` wrote."""
        with (folder / cls.FILE).open("rb") as file:
            fitted = pickle.load(file)  # noqa: S301 - a package is code; artifact_hash binds it to its registration
        one_thread(fitted)
        return cls(fitted)


LOADERS: dict[Format, Callable[[Path], Estimator]] = {
    "lightgbm": LightGBM.load,
    "xgboost": XGBoost.load,
    "onnx": Onnx.load,
    "pickle": Pickled.load,
}


def adopt(fitted: object) -> Estimator:
    """The form in which a fitted object is kept.

    Raises:
        UserCodeError: it has no `predict`, or is a graph that cannot be used.
    """
    kind = f"{type(fitted).__module__.partition('.')[0]}.{type(fitted).__name__}"
    given = cast("Any", fitted)
    if kind == "lightgbm.Booster":
        return LightGBM(given, fitted)
    if kind in ("lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor"):
        return LightGBM(given.booster_, fitted)
    if kind == "xgboost.Booster":
        return XGBoost(given, fitted)
    if kind in ("xgboost.XGBClassifier", "xgboost.XGBRegressor"):
        return XGBoost(given.get_booster(), fitted)
    if kind == "onnx.ModelProto":
        return Onnx(given.SerializeToString(deterministic=True), fitted)
    if not callable(getattr(fitted, "predict", None)):
        raise UserCodeError(
            f"fit() gave {type(fitted).__name__}, which has no predict().",
            hint="Return the fitted estimator, return LGBMClassifier(**params).fit(data.X, data.y), or an onnx.ModelProto.",
        )
    return Pickled(fitted)


def importances(estimator: Estimator, names: Sequence[str]) -> dict[str, float]:
    """How much each feature matters, by the library's own measure (gain for boosted trees); empty where it has none."""
    if isinstance(estimator, LightGBM):
        return dict(zip(names, estimator.booster.feature_importance("gain").tolist(), strict=True))
    if isinstance(estimator, XGBoost):
        gains = estimator.booster.get_score(importance_type="total_gain")
        return {name: float(gains.get(name, 0.0)) for name in names}
    given = getattr(estimator.fitted, "feature_importances_", None)
    if given is None:
        return {}
    values = np.asarray(given, dtype="float64")
    return dict(zip(names, values.tolist(), strict=True)) if values.shape == (len(names),) else {}


def _column(given: Any, rows: int, method: str) -> Numbers:
    try:
        numbers = np.asarray(given, dtype="float64")
    except (TypeError, ValueError) as error:
        raise UserCodeError(f"{method}() gave no numbers: {error}.") from error
    if numbers.shape not in ((rows,), (rows, 1)):
        raise UserCodeError(f"{method}() gave shape {numbers.shape} for {rows} rows; it should give one value a row.")
    return numbers.reshape(rows)


def _by_class(given: Any, known: list[object] | None, classes: Sequence[object], rows: int) -> Numbers:
    numbers = np.asarray(given, dtype="float64")
    if len(classes) == 2 and numbers.shape == (rows,):
        numbers = np.column_stack([1.0 - numbers, numbers])
    if numbers.shape != (rows, len(classes)):
        raise UserCodeError(
            f"the probabilities have shape {numbers.shape} for {rows} rows and {len(classes)} classes.",
            hint=f"One column a class, in the order {', '.join(repr(name) for name in classes[:10])}.",
        )
    if known is None or known == list(classes) or known == list(range(len(classes))):
        return numbers
    try:
        return numbers[:, [known.index(name) for name in classes]]
    except ValueError:
        raise UserCodeError(
            f"the estimator's classes are {known[:10]!r}; the labels are {list(classes)[:10]!r}.",
            hint="Fit on data.y as it is, or on the places of the classes in sorted order: 0, 1, 2…",
        ) from None


def _imported_by(file: Path) -> set[str]:
    """The top-level modules that unpickling imports; and the proof that it works."""
    modules: set[str] = set()

    class Recording(pickle.Unpickler):
        def find_class(self, module_name: str, global_name: str, /) -> Any:
            modules.add(module_name.partition(".")[0])
            found = super().find_class(module_name, global_name)
            if global_name != "subimport":
                return found

            def subimport(name: str) -> Any:
                modules.add(name.partition(".")[0])
                return found(name)

            return subimport

    with file.open("rb") as opened:
        Recording(opened).load()
    return modules - set(sys.stdlib_module_names)
