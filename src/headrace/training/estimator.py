"""Fitted estimators in their stored form, so that the evaluated estimator is the packed one.

LightGBM and XGBoost models are kept in their library's own text or JSON: no pickle, the same bytes for the same model,
and the library's scikit-learn wrapper is not needed to predict. ONNX graphs are kept in their own format, imported models
of MLflow's other flavours with all of their files. Everything else with `predict` is kept by cloudpickle, with the project's own modules by value. (MLflow's flavours would keep
scikit-learn wrappers as skops, which asks for a list of trusted types for most pipelines, is one more dependency, and
loads only through MLflow.)

A booster alone lacks the parameters of its scikit-learn wrapper, so `adopt` compares the stored form with the wrapper's
own predictions on fitting rows, and stores the whole wrapper if the booster predicts differently.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from shutil import copytree
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast

import numpy as np

from headrace.core.errors import UserCodeError
from headrace.core.extras import need
from headrace.features.matrix import user_frames
from headrace.training.difference import told_difference
from headrace.training.missing_values import refused_value
from headrace.training.mlflow_files import MlflowFiles
from headrace.training.onnx import FILE as GRAPH
from headrace.training.onnx import Graph
from headrace.training.parts import one_thread
from headrace.training.quick_scorer import QuickScorer
from headrace.training.tasks.known import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from headrace.training.difference import Numbers
    from headrace.training.tasks.base import Class, Task

Format = Literal["lightgbm", "xgboost", "onnx", "mlflow", "pickle", "chain"]
COMPARED = 500  # fitting rows
FEW_THREADS = 3  # with more, LightGBM itself is quicker than one thread of QuickScorer
BOOSTERS = ("lightgbm.Booster", "xgboost.Booster")
FACES = ("lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor", "xgboost.XGBClassifier", "xgboost.XGBRegressor")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the file of an estimator does not say, and predicting needs.

    Attributes:
        order: where each of the package's classes is among the estimator's; None when they are in the same order.
        missing: the number that XGBoost was told to take for a missing value; None is NaN.
    """

    order: tuple[int, ...] | None = None
    missing: float | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Settings:
        """What `asdict` gave, after a round through text."""
        order = stored["order"]
        return cls(order=None if order is None else tuple(order), missing=stored["missing"])


class Estimator(Protocol):
    """A fitted model that can be kept in a folder.

    Attributes:
        format: how it is kept.
        fitted: what the user's function gave; None once it was read back.
        settings: what is kept beside its file.
    """

    format: ClassVar[Format]
    fitted: object
    settings: Settings

    def values(self, X: pd.DataFrame, width: int = 1) -> Numbers:  # noqa: N803
        """Predicted numbers: one a row, or rows by `width` where that is more than 1."""
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

    def __init__(self, booster: Any, settings: Settings, fitted: object = None) -> None:
        self.booster, self.settings, self.fitted = booster, settings, fitted
        self.quick: QuickScorer | None = None
        self._tried = False

    def expect_many(self, threads: int) -> bool:
        """Prepares for rows by the thousand; see `PackagePredictor.expect_many`."""
        if threads <= FEW_THREADS and not self._tried:
            self.quick, self._tried = QuickScorer.of(self.booster), True
        return self.quick is not None

    def values(self, X: pd.DataFrame, width: int = 1) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _column(self._predict(X), len(X), "predict", width)

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _by_class(self._predict(X), self.settings.order, classes, len(X))

    def _predict(self, X: pd.DataFrame) -> Any:  # noqa: N803
        """The same bits, whoever computes them."""
        quick = self.quick
        if quick is not None and X.shape[1] == quick.width and all(kind == np.float64 for kind in X.dtypes):
            return quick.predict([values.to_numpy() for _, values in X.items()])
        return self.booster.predict(X)

    def save(self, folder: Path, *, by_value: Sequence[str]) -> set[str]:
        """See Estimator."""
        del by_value
        self.booster.save_model(folder / self.FILE)
        return {"lightgbm"}

    @classmethod
    def load(cls, folder: Path, settings: Settings) -> LightGBM:
        """Reads what `save` wrote."""
        lightgbm = need("lightgbm", "lightgbm", "this model")
        return cls(lightgbm.Booster(model_file=folder / cls.FILE), settings)


class XGBoost:
    """An XGBoost booster, with or without a scikit-learn face around it."""

    format: ClassVar[Format] = "xgboost"
    FILE: ClassVar[str] = "model.json"

    def __init__(self, booster: Any, settings: Settings, fitted: object = None) -> None:
        self.booster, self.settings, self.fitted = booster, settings, fitted

    def _predict(self, X: pd.DataFrame) -> Any:  # noqa: N803
        xgboost = need("xgboost", "xgboost", "this model")
        best = self.booster.attr("best_iteration")
        rounds = (0, 0) if best is None else (0, int(best) + 1)
        missing = np.nan if self.settings.missing is None else self.settings.missing
        return self.booster.predict(
            xgboost.DMatrix(X, missing=missing, enable_categorical=True), iteration_range=rounds
        )

    def values(self, X: pd.DataFrame, width: int = 1) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _column(self._predict(X), len(X), "predict", width)

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _by_class(self._predict(X), self.settings.order, classes, len(X))

    def save(self, folder: Path, *, by_value: Sequence[str]) -> set[str]:
        """See Estimator."""
        del by_value
        self.booster.save_model(folder / self.FILE)
        return {"xgboost"}

    @classmethod
    def load(cls, folder: Path, settings: Settings) -> XGBoost:
        """Reads what `save` wrote."""
        booster = need("xgboost", "xgboost", "this model").Booster()
        booster.load_model(folder / cls.FILE)
        return cls(booster, settings)


class Onnx:
    """An ONNX graph; see `training.onnx` for what it takes and gives."""

    format: ClassVar[Format] = "onnx"

    def __init__(self, content: bytes, settings: Settings, fitted: object = None) -> None:
        self._content, self.settings, self.fitted = content, settings, fitted
        self._graph = Graph(content)

    def values(self, X: pd.DataFrame, width: int = 1) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _column(self._numbers(X), len(X), "the graph", width)

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _by_class(self._numbers(X), self.settings.order, classes, len(X))

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
    def load(cls, folder: Path, settings: Settings) -> Onnx:
        """Reads what `save` wrote."""
        return cls((folder / GRAPH).read_bytes(), settings)


class Pickled:
    """Any object with `predict`, and `predict_proba` for classes."""

    format: ClassVar[Format] = "pickle"
    FILE: ClassVar[str] = "model.pkl"

    def __init__(self, fitted: object, settings: Settings) -> None:
        self.fitted, self.settings = fitted, settings

    def values(self, X: pd.DataFrame, width: int = 1) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _column(self._ask("predict", X), len(X), "predict", width)

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator."""
        return _by_class(self._ask("predict_proba", X), self.settings.order, classes, len(X))

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
            numbers = X.select_dtypes("number")
            refused = refused_value(error, numbers.to_numpy(), list(numbers.columns))
            if refused is not None:
                raise refused from error
            if isinstance(error, ModuleNotFoundError):
                raise UserCodeError(
                    f"{type(self.fitted).__name__}.{method}() needs {error.name!r}, which is not installed.",
                    hint=f"pip install {error.name}",
                ) from error
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
    def load(cls, folder: Path, settings: Settings) -> Pickled:
        """Reads what `save` wrote."""
        with (folder / cls.FILE).open("rb") as file:
            fitted = pickle.load(file)  # noqa: S301 - a package is code; artifact_hash binds it to its registration
        one_thread(fitted)
        return cls(fitted, settings)


class Mlflow(Pickled):
    """A model that MLflow logged, of a flavour that has no form here; see `training.mlflow_files`."""

    format: ClassVar[Format] = "mlflow"
    FILES: ClassVar[str] = "mlflow"

    def __init__(self, fitted: MlflowFiles, settings: Settings) -> None:
        super().__init__(fitted, settings)
        self._files = fitted

    def save(self, folder: Path, *, by_value: Sequence[str]) -> set[str]:
        """See Estimator. What the flavour imports is found when the package is loaded alone."""
        del by_value
        copytree(self._files.folder, folder / self.FILES)
        return {"mlflow"}

    @classmethod
    def load(cls, folder: Path, settings: Settings) -> Mlflow:
        """Reads what `save` wrote."""
        return cls(MlflowFiles(folder / cls.FILES), settings)


LOADERS: dict[Format, Callable[[Path, Settings], Estimator]] = {
    "lightgbm": LightGBM.load,
    "xgboost": XGBoost.load,
    "onnx": Onnx.load,
    "mlflow": Mlflow.load,
    "pickle": Pickled.load,
}


class _Own(Pickled):
    """What the fitted object itself predicts. A regression whose numbers are probabilities has no `predict_proba`."""

    def probabilities(self, X: pd.DataFrame, classes: Sequence[object]) -> Numbers:  # noqa: N803
        """See Estimator."""
        if callable(getattr(self.fitted, "predict_proba", None)):
            return super().probabilities(X, classes)
        return _by_class(self._ask("predict", X), self.settings.order, classes, len(X))


def adopt(
    fitted: object,
    *,
    task: Task | str,
    classes: Sequence[Class],
    X: pd.DataFrame,  # noqa: N803
    y: pd.Series,
) -> Estimator:
    """The form in which a fitted object is kept: the smallest that predicts fitting rows as the object itself does.

    Args:
        fitted: what the user's function gave.
        task: what is predicted, or the name of a built-in task.
        classes: of the labels, sorted; none for a task without classes.
        X: the matrix to fit on.
        y: its labels.

    Raises:
        UserCodeError: it has no `predict`, is a graph that cannot be used, has other classes than the labels, or cannot be
            kept so that it predicts the same.
    """
    name = type_name(fitted)
    if name not in (*BOOSTERS, "onnx.ModelProto") and not callable(getattr(fitted, "predict", None)):
        raise UserCodeError(
            f"fit() gave {type(fitted).__name__}, which has no predict().",
            hint="Return the fitted estimator, return LGBMClassifier(**params).fit(data.X, data.y), or an onnx.ModelProto.",
        )
    task = resolve(task)
    known = None if task.method == "predict" else _classes(fitted)
    order, by_value = match_classes(None if known is None else task.classes_of(known), classes)
    try:
        kept = _form(fitted, name, order)
    except (AttributeError, TypeError, ValueError) as error:  # scikit-learn's NotFittedError is two of them
        raise UserCodeError(
            f"fit() gave {type(fitted).__name__}, which cannot be kept: {error}",
            hint="Return the fitted estimator, return LGBMClassifier(**params).fit(data.X, data.y).",
        ) from error
    places = sample(X)
    rows = X.iloc[places]
    itself = own(kept)
    if itself is not kept and (told := _difference(kept, itself, rows, task, classes)):
        if task.method != "predict" and not callable(getattr(fitted, "predict_proba", None)):
            raise UserCodeError(
                f"the booster of {type(fitted).__name__} alone predicts otherwise than {type(fitted).__name__}.predict(): {told}.",
                hint="Fit the library's classifier: what it is told is kept with it.",
            )
        kept = Pickled(fitted, Settings(order=order))
    if task.checks_order and not by_value:
        _check_guess(itself.probabilities(rows, classes), y.iloc[places], known, classes)
    return kept


def own(estimator: Estimator) -> Estimator:
    """What the fitted object itself predicts, where it is kept in another form than the one that predicts."""
    if type_name(estimator.fitted) in FACES and not isinstance(estimator, Pickled):
        return _Own(estimator.fitted, estimator.settings)
    return estimator


def sample(X: pd.DataFrame, rows: int = COMPARED) -> list[int]:  # noqa: N803
    """Places of rows that stand for all: of each column the smallest, the largest, a zero and a missing one, then any."""
    chosen: set[int] = set()
    for name in X.columns:
        values = X[name]
        if len(chosen) >= rows or values.empty:
            break
        numbers = values.cat.codes.astype("float64") if values.dtype == "category" else values
        array = numbers.to_numpy(dtype="float64")
        marked = [np.isnan(array), array == 0]
        if not marked[0].all():
            chosen |= {int(np.nanargmin(array)), int(np.nanargmax(array))}
        chosen |= {int(mark.argmax()) for mark in marked if mark.any()}
    order = np.random.default_rng(0).permutation(len(X)).tolist()
    return sorted([*chosen, *(place for place in order if place not in chosen)][:rows])


def match_classes(known: Sequence[object] | None, classes: Sequence[Class]) -> tuple[tuple[int, ...] | None, bool]:
    """Where each class of the labels is among an estimator's; None when they are in the same order.

    Returns:
        Beside it whether that is known by value. Otherwise they are taken for the places of the labels in sorted order.

    Raises:
        UserCodeError: neither way goes.
    """
    if known is None or not classes:
        return None, False
    for name in (_plain, _as_text):
        theirs, ours = [name(each) for each in known], [name(each) for each in classes]
        if len(set(theirs)) == len(theirs) and sorted(theirs, key=repr) == sorted(ours, key=repr):
            order = tuple(theirs.index(each) for each in ours)
            return (None if order == tuple(range(len(order))) else order), True
    if [_plain(each) for each in known] == list(range(len(classes))):
        return None, False
    shown = [_plain(each) for each in known[:10]]
    raise UserCodeError(
        f"the estimator's classes are {shown!r}{'…' if len(known) > 10 else ''}; "
        f"the labels are {list(classes)[:10]!r}{'…' if len(classes) > 10 else ''}.",
        hint="Fit on data.y as it is, or on the places of the classes in sorted order: 0, 1, 2…",
    )


def _form(fitted: object, name: str, order: tuple[int, ...] | None) -> Estimator:
    given, settings = cast("Any", fitted), Settings(order=order)
    if isinstance(fitted, MlflowFiles):
        return Mlflow(fitted, settings)
    if name == "onnx.ModelProto":
        return Onnx(given.SerializeToString(deterministic=True), settings, fitted)
    if name.startswith("lightgbm.") and name in (*BOOSTERS, *FACES):
        return LightGBM(given if name in BOOSTERS else given.booster_, settings, fitted)
    if name == "xgboost.Booster":
        return XGBoost(given, settings, fitted)
    if name in FACES:
        missing = np.nan if given.missing is None else float(given.missing)
        told = Settings(order=order, missing=None if np.isnan(missing) else missing)
        return XGBoost(given.get_booster(), told, fitted)
    return Pickled(fitted, settings)


def _classes(fitted: object) -> list[object] | None:
    known = getattr(fitted, "classes_", None)
    if known is None:
        return None
    try:
        return list(known)
    except TypeError:
        raise UserCodeError(
            f"the classes_ of the fitted {type(fitted).__name__} are {known!r}, which is no list of classes."
        ) from None


def type_name(fitted: object) -> str:
    """The library and the class of a fitted object: `lightgbm.Booster`."""
    return f"{type(fitted).__module__.partition('.')[0]}.{type(fitted).__name__}"


def _difference(
    kept: Estimator,
    itself: Estimator,
    X: pd.DataFrame,  # noqa: N803
    task: Task,
    classes: Sequence[Class],
) -> str:
    """How what is kept predicts otherwise than the object itself, with rows and values; empty where it does not."""
    theirs = raw(itself, X, task, classes)
    try:
        ours = raw(kept, X, task, classes)
    except Exception as error:  # noqa: BLE001  # whatever a library says of a booster without its face
        return f"it raised {type(error).__name__}: {error}"
    return told_difference(ours, theirs)


def raw(estimator: Estimator, X: pd.DataFrame, task: Task, classes: Sequence[Class]) -> Numbers:  # noqa: N803
    """The numbers that a task takes of an estimator, by the method that it names."""
    return estimator.values(X, task.width) if task.method == "predict" else estimator.probabilities(X, classes)


def _check_guess(probability: Numbers, y: pd.Series, known: Sequence[object] | None, classes: Sequence[Class]) -> None:
    """Refuses classes that were taken for places, where the labels say that they are others.

    The estimator was fitted on these rows: if another assignment of its classes is right far more often than the assumed
    one, it was fitted on another numbering. "Far" is four standard deviations of a count, and a tenth of the rows.

    Raises:
        UserCodeError: they are others.
    """
    from headrace.core.extras import need

    places = {name: place for place, name in enumerate(classes)}
    count = np.zeros((len(classes), len(classes)), dtype="int64")
    np.add.at(count, (probability.argmax(axis=1), y.map(places).to_numpy(dtype="int64")), 1)
    _, best = need("scipy.optimize", "train", "models of several classes").linear_sum_assignment(count, maximize=True)
    right, could = int(np.trace(count)), int(count[np.arange(len(classes)), best].sum())
    if could - right <= max(0.1 * len(y), 4 * np.sqrt(len(y))):
        return
    told = "says no classes_" if known is None else f"has the classes {[_plain(each) for each in known[:10]]!r}"
    raise UserCodeError(
        f"the estimator {told}; taken in the order of the labels, {list(classes)[:10]!r}, it is right on {right} of "
        f"{len(y)} fitting rows; in the order {[classes[place] for place in best[:10]]!r} it would be on {could}.",
        hint="Fit on data.y as it is, or on the places of the classes in sorted order: 0, 1, 2…",
    )


def _plain(value: object) -> object:
    """Python's own value of a class: 1.0, true and Decimal(1) are 1."""
    value = cast("Any", value).item() if isinstance(value, np.generic) else value
    if isinstance(value, str):
        return str(value)
    try:
        return int(cast("Any", value)) if value == int(cast("Any", value)) else value
    except (TypeError, ValueError, OverflowError):
        return value if getattr(value, "__hash__", None) else repr(value)


def _as_text(value: object) -> object:
    """A class as a text column has it."""
    plain = cast("Any", value).item() if isinstance(value, np.generic) else value
    return str(plain) if isinstance(plain, bool) else str(_plain(plain))


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


def _column(given: Any, rows: int, method: str, width: int) -> Numbers:
    try:
        numbers = np.asarray(given, dtype="float64")
    except (TypeError, ValueError) as error:
        raise UserCodeError(f"{method}() gave no numbers: {error}.") from error
    if width > 1:
        if numbers.shape != (rows, width):
            raise UserCodeError(f"{method}() gave shape {numbers.shape} for {rows} rows of {width} values each.")
        return numbers
    if numbers.shape not in ((rows,), (rows, 1)):
        raise UserCodeError(f"{method}() gave shape {numbers.shape} for {rows} rows; it should give one value a row.")
    return numbers.reshape(rows)


def _by_class(given: Any, order: tuple[int, ...] | None, classes: Sequence[object], rows: int) -> Numbers:
    try:
        numbers = np.asarray(given, dtype="float64")
    except (TypeError, ValueError) as error:
        raise UserCodeError(f"the probabilities are no table of numbers: {error}.") from error
    if len(classes) == 2 and numbers.shape in ((rows,), (rows, 1)):
        numbers = numbers.reshape(rows)
        numbers = np.column_stack([1.0 - numbers, numbers])
    if numbers.shape != (rows, len(classes)):
        raise UserCodeError(
            f"the probabilities have shape {numbers.shape} for {rows} rows and {len(classes)} classes.",
            hint=f"One column a class, in the order {', '.join(repr(name) for name in classes[:10])}.",
        )
    return numbers if order is None else numbers[:, list(order)]


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
