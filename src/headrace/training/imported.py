"""A fitted estimator from elsewhere: read from an MLflow model, a pickle or an ONNX graph, and held against a model.

A pickle is code: reading one runs it, with the rights of whoever imports. So is an MLflow model of most flavours.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, cast

import yaml

from headrace.core.errors import DataError, DeclarationError, NotFoundError, UserCodeError
from headrace.core.extras import need
from headrace.core.folders import folder_digest
from headrace.tracking import store
from headrace.training.estimator import BOOSTERS, FACES, type_name
from headrace.training.mlflow_files import MlflowFiles, input_types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from headrace.features.plan import FeaturePlan
    from headrace.training.declarations import Model

MLMODEL = "MLmodel"
NATIVE = ("sklearn", "lightgbm", "xgboost")  # loaded as the library's own object
PICKLES = (".joblib", ".pkl", ".pickle")
GRAPH, GRAPHS = "onnx.ModelProto", ".onnx"
POSSIBLE = "a folder with an MLmodel file, a .joblib, .pkl or .onnx file, models:/NAME/VERSION, models:/NAME@ALIAS or runs:/ID/PATH"
OTHER_VERSION = "InconsistentVersionWarning"  # of scikit-learn, which may not be installed
MLFLOWS_NOTES = "registered_model_meta"  # left in the folder when a model is registered
Checked = Literal["names", "number", "nothing"]


@dataclass(frozen=True, kw_only=True)
class ImportedModel:
    """A fitted estimator and what it says of its inputs.

    Attributes:
        fitted: the estimator; an `onnx.ModelProto` for a graph.
        source: where it came from, in words.
        digest: of the files, or of the pickled object.
        names: of its inputs, in order; None where it says none.
        width: how many inputs it takes; None where it does not say.
        by_name: it takes each input by its name, so the order does not matter.
    """

    fitted: object
    source: str
    digest: str
    names: tuple[str, ...] | None
    width: int | None
    by_name: bool = False

    @property
    def origin(self) -> dict[str, str]:
        """What is kept with the version."""
        return {"source": self.source, "digest": self.digest}


def of_object(fitted: object, source: str = "") -> ImportedModel:
    """A fitted estimator of this process.

    Raises:
        UserCodeError: it is no fitted estimator, or cannot be pickled.
    """
    import cloudpickle

    _check_estimator(fitted, source or f"the {type(fitted).__name__}")
    try:
        content: bytes = _serialized(fitted) if _is_graph(fitted) else cloudpickle.dumps(fitted)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise UserCodeError(
            f"the fitted {type(fitted).__name__} cannot be kept: {error}.",
            hint="It must be picklable: no open files, locks, connections or generators.",
        ) from error
    return _described(fitted, source or f"{type(fitted).__name__} in memory", hashlib.sha256(content).hexdigest())


def read(path: Path, *, source: str, force: bool = False) -> ImportedModel:
    """What a local path holds.

    Args:
        path: a folder with an `MLmodel` file, a pickle, or an ONNX graph.
        source: what it is called in messages and in the version.
        force: take an estimator that was pickled by another version of scikit-learn.

    Raises:
        NotFoundError: there is no such path.
        DataError: it is none of these, cannot be read, or was pickled by another version of scikit-learn.
        MissingExtraError: ONNX is not installed.
    """
    if not path.exists():
        raise NotFoundError("file or folder", source, None, hint=f"SOURCE is {POSSIBLE}.")
    if path.is_dir():
        return _read_mlflow(path, source, force=force)
    suffix = path.suffix.lower()
    if suffix not in (*PICKLES, GRAPHS):
        raise DataError(
            f"{source} is no model: its name ends in {suffix or 'nothing'!r}.", hint=f"SOURCE is {POSSIBLE}."
        )
    if suffix == GRAPHS:
        fitted = _loaded(lambda: need("onnx", "onnx", "an ONNX file").load(path), source, force=force)
    else:
        fitted = _loaded(lambda: _unpickled(path), source, force=force)
    _check_estimator(fitted, source)
    content = _serialized(fitted) if _is_graph(fitted) else path.read_bytes()  # weights may lie beside a graph's file
    return _described(fitted, source, hashlib.sha256(content).hexdigest())


def check(imported: ImportedModel, model: Model, plan: FeaturePlan) -> Checked:
    """That an estimator takes what a model gives it, and gives what the model's task takes.

    Returns:
        Whether its inputs were compared by name and order, by their number, or not at all, because it says neither.

    Raises:
        DeclarationError: other features, in another order, or another task.
    """
    try:
        _check_task(imported, model)
        _check_texts(imported, plan)
        return _check_features(imported, plan.names)
    except DeclarationError as error:
        raise error.at(model.where) from None


def _check_features(imported: ImportedModel, names: Sequence[str]) -> Checked:
    theirs = imported.names
    if theirs is None:
        if imported.width is None:
            return "nothing"
        if imported.width != len(names):
            raise DeclarationError(
                f"{imported.source} takes {imported.width} inputs, and the model has {len(names)} features.",
                hint=f"It has no names of inputs; they are taken in the order of features=: {_listed(names)}.",
            )
        return "number"
    missing, extra = [name for name in theirs if name not in names], [name for name in names if name not in theirs]
    if missing or extra:
        raise DeclarationError(
            f"{imported.source} was fitted on other inputs than the model's features.",
            findings=[
                *(f"it takes {name!r}, which is no feature of the model" for name in missing),
                *(f"the model has the feature {name!r}, which it does not take" for name in extra),
            ],
            hint=f"Declare features= with these columns, in this order: {_listed(theirs)}.",
        )
    if tuple(theirs) != tuple(names) and not imported.by_name:
        place = next(place for place, (one, other) in enumerate(zip(theirs, names, strict=True)) if one != other)
        raise DeclarationError(
            f"{imported.source} takes its inputs in another order: number {place + 1} is {theirs[place]!r} there and "
            f"{names[place]!r} in the model.",
            hint=f"Declare features= in this order: {_listed(theirs)}.",
        )
    return "names"


def _check_task(imported: ImportedModel, model: Model) -> None:
    fitted, task = imported.fitted, model.task
    name, kind = type(fitted).__name__, type_name(fitted)
    if isinstance(fitted, MlflowFiles) or kind in (*BOOSTERS, GRAPH):
        return  # these say only by predicting what they predict
    proba = callable(getattr(fitted, "predict_proba", None))
    if task.method == "predict" and (proba or hasattr(fitted, "classes_")):
        raise DeclarationError(
            f"{imported.source} is a classifier ({name}), and the task is {task.name}, which takes numbers.",
            hint="Declare task=hr.Binary(label=…) or hr.Multiclass(label=…), or import a regressor.",
        )
    if task.method == "predict_proba" and not proba:
        raise DeclarationError(
            f"{imported.source} gives no probabilities ({name} has no predict_proba), and the task is {task.name}.",
            hint="Import a classifier with predict_proba, or declare task=hr.Regression(label=…).",
        )


def _check_texts(imported: ImportedModel, plan: FeaturePlan) -> None:
    """Refuses texts for what encodes them by numbers of its own, which nobody else knows."""
    texts = [feature.name for feature in plan.features if feature.kind == "string"]
    kind = type_name(imported.fitted)
    if texts and (kind in (*BOOSTERS, *FACES) or (kind == GRAPH and not imported.by_name)):
        raise DeclarationError(
            f"{imported.source} ({kind}) takes texts by numbers that it was fitted with, and {texts[0]!r} is a text.",
            hint="Import a pipeline that encodes texts itself, or declare an on-demand function that gives the numbers.",
        )


def _read_mlflow(folder: Path, source: str, *, force: bool) -> ImportedModel:
    file = folder / MLMODEL
    if not file.is_file():
        raise DataError(f"{source} holds no model: there is no {MLMODEL} file.", hint=f"SOURCE is {POSSIBLE}.")
    try:
        described = yaml.safe_load(file.read_text(encoding="utf-8"))
        flavors: dict[str, Any] = dict(described["flavors"])
    except (OSError, UnicodeError, TypeError, KeyError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{source} cannot be read: its {MLMODEL} is damaged ({_line(error)}).") from error
    names, width = _signature(folder, source)
    digest = folder_digest(folder, without=(MLFLOWS_NOTES,))
    native = next((name for name in NATIVE if name in flavors), None)
    if native:
        fitted = _loaded(
            lambda: store.load(f"mlflow.{native}").load_model(str(folder)), source, force=force, folder=folder
        )
    elif "onnx" in flavors:
        graph = folder / str(flavors["onnx"].get("data", "model.onnx"))
        if not graph.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{source} cannot be read: its {MLMODEL} names a graph outside of it, {graph}.")
        fitted = _loaded(lambda: need("onnx", "onnx", "an ONNX model").load(graph), source, force=force)
    elif "python_function" in flavors:
        fitted = MlflowFiles.copied(folder)
        _loaded(fitted.load, source, force=force, folder=folder)
    else:
        raise DataError(
            f"{source} has the flavours {', '.join(flavors)}, and no python_function, by which MLflow predicts.",
            hint="Log it by a flavour of MLflow that predicts from a data frame.",
        )
    _check_estimator(fitted, source)
    found = _described(fitted, source, digest)
    if found.names is None and names is not None:
        return replace(found, names=names, width=len(names))
    return found if found.width is not None else replace(found, width=width)


def _signature(folder: Path, source: str) -> tuple[tuple[str, ...] | None, int | None]:
    """The names of a logged model's inputs in order, and their number, as far as its signature says so."""
    mlflow = store.load("mlflow.models")
    try:
        signature: Any = mlflow.Model.load(str(folder)).signature
    except (mlflow.model.MlflowException, TypeError, KeyError, ValueError) as error:
        raise DataError(f"{source} cannot be read: its {MLMODEL} is damaged ({_line(error)}).") from error
    names = tuple(input_types(signature))
    if names:
        return names, len(names)
    inputs = None if signature is None else signature.inputs
    if inputs is None or not inputs.is_tensor_spec() or len(inputs.inputs) != 1:
        return None, None
    shape = inputs.inputs[0].shape
    return None, int(shape[1]) if len(shape) == 2 and shape[1] > 0 else None


def _described(fitted: object, source: str, digest: str) -> ImportedModel:
    given = cast("Any", fitted)
    if _is_graph(fitted):
        constant = {each.name for each in given.graph.initializer}
        inputs = [each for each in given.graph.input if each.name not in constant]
        if len(inputs) > 1:
            names = tuple(str(each.name) for each in inputs)
            return ImportedModel(
                fitted=fitted, source=source, digest=digest, names=names, width=len(names), by_name=True
            )
        sizes = [each.dim_value for each in inputs[0].type.tensor_type.shape.dim] if inputs else []
        width = sizes[1] if len(sizes) == 2 and sizes[1] else None
        return ImportedModel(fitted=fitted, source=source, digest=digest, names=None, width=width)
    names, width = getattr(given, "feature_names_in_", None), getattr(given, "n_features_in_", None)
    if type_name(fitted) == "lightgbm.Booster":
        names, width = given.feature_name(), given.num_feature()
    elif type_name(fitted) == "xgboost.Booster":
        names, width = given.feature_names, given.num_features()
    named = None if names is None else tuple(str(name) for name in names)
    if named == tuple(f"Column_{place}" for place in range(len(named or ()))):  # LightGBM's own, of an array
        named = None
    return ImportedModel(fitted=fitted, source=source, digest=digest, names=named, width=len(named) if named else width)


def _check_estimator(fitted: object, source: str) -> None:
    if isinstance(fitted, type) or not (
        _is_graph(fitted) or type_name(fitted) in BOOSTERS or callable(getattr(fitted, "predict", None))
    ):
        what = f"the class {fitted.__name__}" if isinstance(fitted, type) else f"a {type(fitted).__name__}"
        raise UserCodeError(
            f"{source} is {what}, and no fitted estimator: it has no predict().",
            hint="Keep the fitted object itself: joblib.dump(estimator, 'model.joblib').",
        )
    if find_spec("sklearn") is None or not hasattr(fitted, "get_params"):
        return
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(fitted)
    except NotFittedError:
        raise UserCodeError(
            f"{source} is a {type(fitted).__name__} that is not fitted.", hint="Call its fit() first."
        ) from None
    except TypeError:
        return  # not of scikit-learn


def _loaded(load: Callable[[], object], source: str, *, force: bool, folder: Path | None = None) -> object:
    """What a library reads, or why it cannot; with the version of scikit-learn that wrote it compared.

    Raises:
        DataError: it cannot be read, needs what is not installed, or was pickled by another version of scikit-learn.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            loaded: object = load()
            failed = None
        except ModuleNotFoundError as error:
            raise DataError(
                f"{source} needs {error.name!r}, which is not installed here.",
                hint=f"{_requirements(folder, (error.name or '').partition('.')[0])}, then import again.",
            ) from error
        except Exception as error:  # noqa: BLE001  # whatever the code of a pickle raises
            loaded, failed = None, error
    other = next((cast("Any", each.message) for each in caught if each.category.__name__ == OTHER_VERSION), None)
    if other is not None and (failed is not None or not force):
        theirs, ours = other.original_sklearn_version, other.current_sklearn_version
        raise DataError(
            f"{source} was pickled by scikit-learn {theirs}, and {ours} is installed: it may predict otherwise here.",
            hint=f"pip install scikit-learn=={theirs}, or pickle it again with {ours}"
            + (f" (it cannot be read here: {_line(failed)})." if failed else "; --force takes it as it is."),
        )
    if failed is not None:
        if type(failed).__module__.startswith("headrace."):
            raise failed
        raise DataError(f"{source} cannot be read as a model: {type(failed).__name__}: {_line(failed)}") from failed
    return loaded


def _requirements(folder: Path | None, module: str) -> str:
    """How to install a module that a logged model needs: by the line of its requirements, or all of them."""
    file = folder / "requirements.txt" if folder else None
    lines = file.read_text(encoding="utf-8").split("\n") if file and file.is_file() else []
    wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    named = [line for line in wanted if re.split(r"[^\w.-]", line)[0].lower().replace("-", "_") == module.lower()]
    if not wanted:
        return f"Install what holds {module!r}"
    return f"pip install {' '.join(repr(line) for line in named or wanted)}"


def _unpickled(path: Path) -> object:
    if find_spec("joblib") is not None:
        return need("joblib", "train", "a .joblib file").load(path)
    if path.suffix.lower() == ".joblib":
        need("joblib", "train", "a .joblib file")
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 - whoever imports says that this file is theirs to run


def _is_graph(fitted: object) -> bool:
    return type_name(fitted) == GRAPH


def _serialized(graph: object) -> bytes:
    """A graph with its weights."""
    return cast("Any", graph).SerializeToString(deterministic=True)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:50])}{' …' if len(names) > 50 else ''}"


def _line(error: BaseException | None) -> str:
    return str(error).strip().partition("\n")[0]
