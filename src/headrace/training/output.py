"""The output of a model for each row: the same columns in evaluation, batch scoring and the packaged model.

The task (`training.tasks`) defines the columns, and how they are computed from an estimator's numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from headrace.core.errors import UserCodeError
from headrace.training.difference import told_difference
from headrace.training.estimator import raw
from headrace.training.tasks.base import PREDICTION, PROBABILITY, finite, is_output, probabilities
from headrace.training.tasks.known import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.training.calibration import Calibration
    from headrace.training.chain_estimator import ChainEstimator
    from headrace.training.estimator import Estimator
    from headrace.training.tasks.base import Class, Task


def columns(task: Task | str, classes: Sequence[Class]) -> list[str]:
    """The names of the columns that come out.

    Args:
        task: itself, or the name of a built-in one.
        classes: of the labels, as the task gave them.

    Raises:
        DataError: no task of that name is known.
        UserCodeError: two names are the same in lower case, or one is not that of an output.
    """
    known = resolve(task)
    names = list(known.columns(classes))
    odd = [name for name in names if not is_output(name)]
    if odd or not names or len({name.lower() for name in names}) < len(names):
        raise UserCodeError(
            f"the task {known.name} has the output columns {', '.join(map(repr, names)) or 'of none'}.",
            hint="At least one, none twice in whatever case; each is 'prediction', 'probability', or begins with 'prediction_' or 'probability_'.",
        )
    return names


def output(
    task: Task | str,
    classes: Sequence[Class],
    estimator: Estimator,
    X: pd.DataFrame,  # noqa: N803
    *,
    calibration: Calibration | None = None,
) -> pd.DataFrame:
    """The model's output for each row of its matrix, same index.

    Args:
        task: itself, or the name of a built-in one.
        classes: of the labels, as the task gave them.
        estimator: fitted.
        X: the matrix.
        calibration: as the task fitted it; None where it has none.

    Raises:
        DataError: no task of that name is known.
        UserCodeError: the estimator gives no numbers, too few of them, or probabilities outside 0 to 1; or the task makes
            other columns of them than it says.
    """
    known = resolve(task)
    if X.empty:
        return known.empty(classes)
    if known.method == "generate":
        texts = {name: np.asarray(values) for name, values in cast("ChainEstimator", estimator).generate(X).items()}
        return _framed(known, texts, columns(known, classes), X.index)
    numbers = finite(raw(estimator, X, known, classes))
    if known.method == "predict_proba":
        numbers = probabilities(numbers)
    return _framed(known, known.finish(numbers, classes, calibration), columns(known, classes), X.index)


def _framed(
    task: Task, made: Mapping[str, np.ndarray[Any, Any]], names: Sequence[str], index: pd.Index
) -> pd.DataFrame:
    if list(made) != list(names) or any(len(values) != len(index) for values in made.values()):
        found = ", ".join(f"{name} of {len(values)}" for name, values in made.items())
        raise UserCodeError(
            f"the task {task.name} made the columns {found or 'of none'} for {len(index)} rows; it says {', '.join(names)}.",
            hint="finish() returns an array of one value a row for each name of columns(), in that order.",
        )
    each = {name: np.asarray(values) for name, values in made.items()}
    return pd.DataFrame(
        {
            name: pd.Series(values, index=index).infer_objects() if values.dtype == object else values
            for name, values in each.items()
        },
        index=index,
    )


def baseline_output(task: Task, y: pd.Series) -> Callable[[int], pd.DataFrame]:
    """The best constant prediction by the labels that a model was fitted on: the heuristic that it has to beat.

    Args:
        task: what is predicted.
        y: the labels of the fitting rows.

    Returns:
        A function of a number of rows that gives the task's output.
    """
    constant = task.baseline(y)
    return lambda rows: pd.DataFrame({name: [value] * rows for name, value in constant.items()})


def differing(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """How many rows of two outputs differ by more than rounding, and the first of them; empty where none does.

    A predicted class is the one with the highest probability, so that only the probabilities are compared.
    """
    if list(ours.columns) != list(theirs.columns):
        return f"columns {', '.join(ours.columns)} for {', '.join(theirs.columns)}"
    if len(ours) != len(theirs):
        return f"{len(ours)} rows for {len(theirs)}"
    of_classes = any(str(name).startswith(f"{PROBABILITY}_") for name in theirs.columns)
    compared = [name for name in theirs.columns if not (of_classes and name == PREDICTION)]
    numbers = [name for name in compared if pd.api.types.is_numeric_dtype(theirs[name])]
    for name in compared:
        if name not in numbers and (odd := (ours[name].to_numpy() != theirs[name].to_numpy()).sum()):
            return f"{odd} of {len(theirs)} rows differ in {name!r}"
    return told_difference(ours[numbers].to_numpy(dtype="float64"), theirs[numbers].to_numpy(dtype="float64"))
