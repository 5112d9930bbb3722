"""Small models, really fitted, packaged and logged as MLflow keeps them, with what its pyfunc answers."""

import shutil

import numpy as np
import pandas as pd

from headrace.features.matrix import encode, fit_categories, read
from headrace.features.plan import Feature, FeaturePlan, Input
from headrace.serving.manifest import Parity
from headrace.training import package
from headrace.training.estimator import adopt

COLOURS = ["blue", "green", "red"]


def rows(count, *, seed=0, texts=False, missing=True):
    """Full rows as objects: three numbers, one of them whole, and perhaps a text; some are missing."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": draw.normal(size=count), "b": draw.integers(0, 9, count), "c": draw.normal(size=count)})
    if texts:
        frame.insert(1, "colour", draw.choice(COLOURS, count))
    frame = frame.astype(object)
    if missing:
        for name in frame.columns:
            frame.loc[draw.random(count) < 0.1, name] = None
    return frame


def labels(frame, *, seed=0):
    """Something to fit_categories."""
    score = frame["a"].astype(float).fillna(0) + frame["b"].astype(float).fillna(0) / 4
    if "colour" in frame:
        score = score + (frame["colour"] == "red")
    return score + np.random.default_rng(seed).normal(size=len(frame)) / 2


def plan(frame):
    """Every column is a feature."""
    kinds = {name: "string" if name == "colour" else "number" for name in frame.columns}
    return FeaturePlan(
        spine="s.t",
        at="at",
        keys=("id",),
        key_types=("int64",),
        inputs=tuple(Input(name=name, kind=kind, origin="spine") for name, kind in kinds.items()),
        features=tuple(Feature(name=name, kind=kind, origin="spine", optional=False) for name, kind in kinds.items()),
        lookups=(),
        calls=(),
    )


def logged(
    folder, fit, frame, y, *, task="Binary", classes=(0, 1), calibration=None, planned=None, functions=None, **more
):
    """A version's copy, and the parity file of its first rows."""
    from headrace.features.matrix import compute

    planned = planned or plan(frame)
    computed = compute(planned, functions or {}, read(planned, frame))
    categories = fit_categories(planned, computed)
    X = encode(planned, categories, computed)
    written = package.write(
        folder.parent,
        model="small",
        task=task,
        classes=classes,
        plan=planned,
        categories=categories,
        estimator=adopt(fit(X, y), task=task, classes=classes, X=X, y=labelled(y, classes, task)),
        calibration=calibration,
        params={},
        origin=more.get("origin"),
    )
    keep(folder, written.folder, planned)
    return folder, parity(folder, frame.head(60))


def labelled(y, classes, task):
    """Labels by their places among the classes, as they are in a table."""
    y = pd.Series(y).reset_index(drop=True)
    return y if task == "Regression" or y.isin(classes).all() else y.map(dict(enumerate(classes)))


def keep(folder, packaged, planned):
    """As `tracking` logs it."""
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    from headrace.training.output import columns
    from headrace.training.package import read_spec

    spec = read_spec(packaged)
    outputs = [
        ColSpec("string" if name == "prediction" and isinstance((*spec.classes, 0)[0], str) else "double", name)
        for name in columns(spec.task, spec.classes)
    ]
    inputs = [ColSpec(AnyType(), column.name, required=False) for column in planned.inputs]
    shutil.copytree(packaged, folder / "data" / "package")
    model = Model(signature=ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs)))
    mlflow.pyfunc.add_to_model(model, loader_module="headrace.scoring.pyfunc", data="data")
    model.save(str(folder / "MLmodel"))


def parity(folder, frame):
    """What pyfunc answers."""
    from mlflow.pyfunc import load_model

    model = load_model(str(folder))
    given = model.predict(frame)
    alone = [model.predict(frame.iloc[[place]].reset_index(drop=True)) for place in range(10)]
    return Parity(
        artifact_hash="0",
        columns=tuple(frame.columns),
        rows=tuple(tuple(row) for row in frame.to_numpy().tolist()),
        output_columns=tuple(given.columns),
        outputs=tuples(given),
        alone=tuple(row for each in alone for row in tuples(each)),
    )


def tuples(frame):
    return tuple(tuple(row) for row in frame.astype(object).to_numpy().tolist())


def given(parity):
    return [list(row) for row in parity.rows], [list(row) for row in parity.outputs]
