"""One fit of the user's function, and one judgement of what it gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DataError, UserCodeError
from headrace.features.matrix import user_frames
from headrace.training.declarations import METRICS, Binary, Multiclass, TrainingData
from headrace.training.estimator import adopt
from headrace.training.metrics import by_name, evaluate
from headrace.training.output import classes_of, kind, output
from headrace.training.split import check_labels, latest

if TYPE_CHECKING:
    import pandas as pd

    from headrace.training.declarations import Direction, Model, Params
    from headrace.training.estimator import Estimator


def training_data(model: Model, X: pd.DataFrame, y: pd.Series, at: pd.Series) -> TrainingData:  # noqa: N803
    """What a fit function is given: 0 and 1 as int64, numbers as float64, classes as they are.

    Args:
        model: says the task.
        X: the matrix.
        y: labels as `labels.attach` gave them, same length.
        at: the moment of each decision, same length.

    Raises:
        DataError: the labels are all the same.
    """
    check_labels(y, "fit on")
    if isinstance(model.task, Binary):
        y = y.astype("int64")
    elif isinstance(model.task, Multiclass):
        y = y.infer_objects()
    else:
        y = y.astype("float64")
    return TrainingData(X=X, y=y.set_axis(X.index), at=at.set_axis(X.index))


def fit(model: Model, data: TrainingData, params: Params) -> Estimator:
    """Calls the user's function.

    Raises:
        UserCodeError: it raised (with the place in the user's file), or gave nothing that predicts or can be kept.
    """
    try:
        fitted = model.fit(data, params)
    except (Exception, SystemExit) as error:
        raise UserCodeError(
            f"fit of model {model.name!r} raised {type(error).__name__}: {error}", findings=user_frames(error)
        ) from error
    return adopt(fitted, task=kind(model.task), classes=classes_of(model.task, data.y), X=data.X, y=data.y)


def direction(model: Model) -> Direction:
    """Whether the model's main metric is good when it is high."""
    return METRICS[kind(model.task)][model.metrics[0]]


def judge(model: Model, data: TrainingData, params: Params, *, validate: float) -> float:
    """The main metric of a fit on the earlier rows, on the latest share of them: how a trial is judged.

    Raises:
        DataError: the metric has no value there.
        UserCodeError: as `fit`.
    """
    early, late = latest(data.at, validate)
    earlier = TrainingData(X=data.X.iloc[early], y=data.y.iloc[early], at=data.at.iloc[early])
    check_labels(earlier.y, "fit on in a trial")
    estimator = fit(model, earlier, params)
    given = output(kind(model.task), classes_of(model.task, earlier.y), estimator, data.X.iloc[late])
    metric = model.metrics[0]
    measures = evaluate(model.task, data.y.iloc[late], given, metrics=[metric])
    value = by_name(measures)[metric]
    if value is None:
        raise DataError(
            f"a trial cannot be judged by {metric} on the latest {len(late)} rows to fit on: {measures[0].reason}.",
            hint="Give Tune(validate=…) a larger share, or fit on more data.",
        )
    return value
