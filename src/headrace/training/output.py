"""What a model says about each row, by task: the same columns in evaluation, batch scoring and the packaged model.

Binary: `probability`, calibrated. Regression: `prediction`. Multiclass: `prediction`, and `probability_<class>` each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from headrace.core.errors import DataError, UserCodeError
from headrace.training.declarations import Binary, Multiclass
from headrace.training.difference import told_difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.training.calibration import Calibration
    from headrace.training.declarations import Class, Task, TaskKind
    from headrace.training.estimator import Estimator


def kind(task: Task) -> TaskKind:
    """The name under which a package keeps the task."""
    if isinstance(task, Binary):
        return "Binary"
    return "Multiclass" if isinstance(task, Multiclass) else "Regression"


def classes_of(task: Task, y: pd.Series) -> tuple[Class, ...]:
    """The classes of a task, sorted: 0 and 1, those of the labels to fit on, or none."""
    if isinstance(task, Binary):
        return (0, 1)
    return tuple(sorted(y.unique().tolist())) if isinstance(task, Multiclass) else ()


def check_classes(task: Task, y: pd.Series) -> None:
    """Refuses classes that no table of predictions can hold beside each other.

    A column is named after each class, and a table's columns are the same in upper and lower case.

    Raises:
        DataError: two classes differ only in case, or a class is neither a text nor a whole number.
    """
    if not isinstance(task, Multiclass):
        return
    first: dict[str, Class] = {}
    label = f"{task.label.table.name}.{task.label.name}"
    for name in classes_of(task, y):
        other = first.setdefault(str(name).lower(), name)
        if other != name:
            raise DataError(
                f"the classes {other!r} and {name!r} of {label} differ only in upper and lower case: both would be "
                f"the column {f'probability_{name}'.lower()!r} of predictions.",
                hint="Make them one in the table's SQL, lower(…), or give one of them another name.",
            )


def columns(task: TaskKind, classes: Sequence[Class]) -> list[str]:
    """The names of the columns that come out."""
    if task == "Binary":
        return ["probability"]
    return ["prediction", *(f"probability_{name}" for name in classes)]


def output(
    task: TaskKind,
    classes: Sequence[Class],
    estimator: Estimator,
    X: pd.DataFrame,  # noqa: N803
    *,
    calibration: Calibration | None = None,
) -> pd.DataFrame:
    """The model's output for each row of its matrix, same index.

    Raises:
        UserCodeError: the estimator gives no numbers, too few of them, or probabilities outside 0 to 1.
    """
    if X.empty:
        return empty(task, classes)
    if task == "Regression":
        return pd.DataFrame({"prediction": _finite(estimator.values(X))}, index=X.index)
    probability = _finite(estimator.probabilities(X, classes))
    if probability.min() < -1e-6 or probability.max() > 1 + 1e-6:
        raise UserCodeError(
            f"the estimator gives probabilities from {probability.min():g} to {probability.max():g}.",
            hint="They must be between 0 and 1: is it a regression, or a raw score of a custom objective?",
        )
    if task == "Binary":
        yes = probability[:, 1]
        return pd.DataFrame(
            {"probability": yes if calibration is None else calibration.apply(yes)}, index=X.index, dtype="float64"
        )
    chosen = np.asarray(classes, dtype=object)[probability.argmax(axis=1)]
    each = {f"probability_{name}": probability[:, place] for place, name in enumerate(classes)}
    return pd.DataFrame({"prediction": pd.Series(chosen, index=X.index).infer_objects(), **each}, index=X.index)


def empty(task: TaskKind, classes: Sequence[Class]) -> pd.DataFrame:
    """The output for no rows."""
    frame = pd.DataFrame({name: np.zeros(0) for name in columns(task, classes)})
    if task == "Multiclass":
        frame["prediction"] = frame["prediction"].astype("int64" if isinstance(classes[0], int) else "str")
    return frame


def differing(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """How many rows of two outputs differ by more than rounding, and the first of them; empty where none does.

    A class is the one with the highest probability, so that only numbers are compared.
    """
    if list(ours.columns) != list(theirs.columns):
        return f"columns {', '.join(ours.columns)} for {', '.join(theirs.columns)}"
    if len(ours) != len(theirs):
        return f"{len(ours)} rows for {len(theirs)}"
    numbers = [name for name in theirs.columns if name != "prediction"] or ["prediction"]
    return told_difference(ours[numbers].to_numpy(dtype="float64"), theirs[numbers].to_numpy(dtype="float64"))


def _finite(numbers: np.ndarray) -> np.ndarray:
    if not np.isfinite(numbers).all():
        raise UserCodeError(
            f"the estimator gives {int((~np.isfinite(numbers)).sum())} values that are no finite numbers.",
            hint="Some estimators give NaN for rows with missing values: fill them in a pipeline, or use one that takes them.",
        )
    return numbers
