"""One fit by the user's function, and one evaluation of the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import DataError, UserCodeError
from headrace.features.matrix import user_frames
from headrace.training.declarations import TrainingData
from headrace.training.estimator import adopt
from headrace.training.measures import by_name, evaluate
from headrace.training.output import output
from headrace.training.split import check_labels, last, latest

if TYPE_CHECKING:
    import pandas as pd

    from headrace.training.declarations import Model, Params
    from headrace.training.estimator import Estimator
    from headrace.training.metrics.base import Direction


def training_data(model: Model, X: pd.DataFrame, y: pd.Series, at: pd.Series) -> TrainingData:  # noqa: N803
    """What a fit function is given: labels in the type that the task casts them to.

    Args:
        model: says the task.
        X: the matrix.
        y: labels as `labels.attach` gave them, same length.
        at: the moment of each decision, same length.

    Raises:
        DataError: the labels are all the same.
    """
    check_labels(y, "fit on")
    return TrainingData(X=X, y=model.task.cast(y).set_axis(X.index), at=at.set_axis(X.index))


def fit(model: Model, data: TrainingData, params: Params) -> Estimator:
    """Calls the user's function.

    Raises:
        DeclarationError: the model declares no function.
        UserCodeError: it raised (with the place in the user's file), or gave nothing that predicts or can be kept.
    """
    function = model.fitting
    try:
        fitted = function(data, params)
    except (Exception, SystemExit) as error:
        raise UserCodeError(
            f"fit of model {model.name!r} raised {type(error).__name__}: {error}", findings=user_frames(error)
        ) from error
    return adopt(fitted, task=model.task, classes=model.task.classes(data.y), X=data.X, y=data.y)


def direction(model: Model) -> Direction:
    """Whether the model's main metric is good when it is high."""
    return model.measured[0].direction


def judge(model: Model, data: TrainingData, params: Params, *, validate: float) -> float:
    """The main metric of a fit on the earlier rows, on the latest share of them: how a trial is judged.

    Raises:
        DataError: the metric has no value there.
        UserCodeError: as `fit`.
    """
    early, late = (latest if model.has_time else last)(data.at, validate)
    earlier = TrainingData(X=data.X.iloc[early], y=data.y.iloc[early], at=data.at.iloc[early])
    check_labels(earlier.y, "fit on in a trial")
    estimator = fit(model, earlier, params)
    given = output(model.task, model.task.classes(earlier.y), estimator, data.X.iloc[late])
    metric = model.measured[0]
    measures = evaluate(model.task, data.y.iloc[late], given, metrics=[metric])
    value = by_name(measures)[metric.name]
    if value is None:
        raise DataError(
            f"a trial cannot be judged by {metric.name} on the latest {len(late)} rows to fit on: {measures[0].reason}.",
            hint="Give Tune(validate=…) a larger share, or fit on more data.",
        )
    return value
