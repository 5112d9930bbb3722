"""The contract of a task: its labels, the columns of its output, and how they are computed from numbers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from headrace.core.errors import DataError, DeclarationError, UserCodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd

    from headrace.core.ids import Json
    from headrace.lakehouse.declarations import LabelColumn
    from headrace.training.calibration import Calibration
    from headrace.training.metrics.base import Metric

    Numbers = np.ndarray[Any, np.dtype[np.float64]]
    Mask = np.ndarray[Any, np.dtype[np.bool_]]

Class = int | str  # a label of a task with classes
Method = Literal["predict", "predict_proba", "generate"]
Scalar = Literal["number", "probability", "classes"]
SHOWN = 5  # offending labels in a message
LOWEST, HIGHEST = -1e-6, 1 + 1e-6  # probabilities, but for rounding
PREDICTION, PROBABILITY = "prediction", "probability"
OUTPUTS = (PREDICTION, PROBABILITY)
RESERVED = "prediction_id"  # of tables of predictions


@dataclass(frozen=True)
class Task(ABC):
    """What a model predicts. Subclass it to add a task; `hr.Model(task=…)` takes an instance.

    A task of a project travels with the version: its class is at the top level of a module, and whatever it needs beside
    the label is a field of a frozen dataclass that JSON can hold. Methods that take part in predicting (`columns`,
    `finish`, `empty`) must not use `label`, which an instance that was read from a package does not have.

    Args:
        label: the column with the label, `table["column"]`.

    Attributes:
        name: under which a package keeps the task; defaults to the name of the class. No two tasks share one.
        method: of the fitted estimator: `predict`, which returns numbers, or `predict_proba`, which returns rows by classes.
            (`generate` is of `hr.Generation` alone.)
        width: how many numbers `predict` returns for a row. `predict_proba` returns one for each class.
        metrics: the default metrics, by name or as `hr.metric(…)` returns them; the first is the main one.
        scalar: what a server's own fast code makes of the numbers; None (of every task from outside) means that servers
            take the slower way of batch scoring.
        checks_order: whether an estimator that does not say its classes by value is compared with the labels.
        mean_output: the output column whose mean monitoring compares with the mean of the labels; None where there is none.
        probability_output: the output column with the probability that a label is 1, from which quality is estimated before
            labels are known; None where there is none.

    Example:
        >>> import numpy as np
        >>> class Count(hr.Task):  # how many parcels: never fewer than 0
        ...     metrics = ("mae",)
        ...     def columns(self, classes):
        ...         return ["prediction"]
        ...     def finish(self, numbers, classes, calibration):
        ...         return {"prediction": numbers.clip(min=0)}
        ...     def baseline(self, y):
        ...         return {"prediction": float(y.median())}
        >>> days = hr.Table("silver.days", key="day", time="known_at", sql="SELECT * FROM bronze.days")
        >>> Count(label=days["parcels"]).finish(np.array([-0.4, 3.2]), (), None)["prediction"].tolist()
        [0.0, 3.2]
    """

    name: ClassVar[str] = "Task"
    method: ClassVar[Method] = "predict"
    width: ClassVar[int] = 1
    metrics: ClassVar[Sequence[str | Metric]] = ()
    scalar: ClassVar[Scalar | None] = None
    checks_order: ClassVar[bool] = False
    mean_output: ClassVar[str | None] = None
    probability_output: ClassVar[str | None] = None

    label: LabelColumn

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = cls.__name__

    # ------------------------------------------------------------------------------------------ labels

    @property
    def label_sql(self) -> str:
        """The expression over the label's table that is the label. Defaults to the column."""
        from headrace.lakehouse.identifiers import column

        return column(self.label.name)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns of the label's table that `label_sql` reads."""
        return (self.label.name,)

    def check(self, values: pd.Series) -> pd.Series:
        """Returns labels as the task needs them, same index. Defaults to finite numbers as float64.

        Args:
            values: labels as the table has them, without missing ones.

        Raises:
            DataError: a value is not a label of this task (`refuse` raises it).
        """
        import numpy as np
        import pandas as pd

        numbers = pd.Series(pd.to_numeric(values, errors="coerce"), index=values.index).astype("float64")
        self.refuse(numbers, ~np.isfinite(numbers.to_numpy()), "no finite number")
        return numbers

    def refuse(self, values: pd.Series, wrong: Mask, what: str, hint: str = "") -> None:
        """Refuses labels.

        Args:
            values: all labels.
            wrong: whether each of them is refused, same length.
            what: what a refused label is, to end the sentence "the label is …": `"a negative number"`.
            hint: the way out; defaults to a cast or another task.

        Raises:
            DataError: one is; the message says how many, and shows the first of them.
        """
        if not wrong.any():
            return
        odd = values[wrong]
        shown = ", ".join(repr(value) for value in odd.unique()[:SHOWN].tolist())
        raise DataError(
            f"the label {self.label.table.name}.{self.label.name} is {what} in {len(odd)} of {len(values)} rows: {shown}.",
            hint=hint or f"The task is {self.name}; cast the label in the table's SQL, or declare another task.",
        )

    def cast(self, y: pd.Series) -> pd.Series:
        """Returns checked labels in the type in which the fit function gets them. Defaults to float64.

        Args:
            y: the labels, as `check` returned them.
        """
        return y.astype("float64")

    def classes(self, y: pd.Series) -> tuple[Class, ...]:
        """Returns the classes of the labels to fit on, sorted; defaults to none.

        Args:
            y: the checked labels of the fitting rows.
        """
        del y
        return ()

    def classes_of(self, known: Sequence[object]) -> Sequence[object]:
        """Returns the classes that an estimator says of itself, as those of the labels. Defaults to the same.

        One that was fitted elsewhere may say them as the column has them.

        Args:
            known: the classes, in the estimator's order.
        """
        return known

    def check_classes(self, y: pd.Series) -> None:
        """Refuses classes that no table of predictions can hold beside each other. Defaults to nothing.

        Args:
            y: the checked labels of the fitting rows.

        Raises:
            DataError: there are such classes.
        """
        del y

    # ------------------------------------------------------------------------------------------ outputs

    @abstractmethod
    def columns(self, classes: Sequence[Class]) -> list[str]:
        """Returns the names of the output columns.

        Each is `prediction`, `probability`, or begins with `prediction_` or `probability_`, so that no key or feature of a
        table of predictions is called the same.

        Args:
            classes: as `classes` returned them.
        """

    @abstractmethod
    def finish(
        self, numbers: Numbers, classes: Sequence[Class], calibration: Calibration | None
    ) -> Mapping[str, np.ndarray[Any, Any]]:
        """Makes the output columns of the numbers that an estimator returned.

        A row's output depends on the numbers of that row alone.

        Args:
            numbers: finite; of shape (rows,) for `predict` with a width of 1, (rows, width) otherwise, and (rows, classes)
                with values from 0 to 1 for `predict_proba`.
            classes: in the order of the columns of `numbers`; none for `predict`.
            calibration: as `calibration` returned it; None before it was fitted, and for tasks without one.

        Returns:
            Column → array of one value a row, in the order of `columns`.
        """

    def empty(self, classes: Sequence[Class]) -> pd.DataFrame:
        """Returns the output for no rows, with the types that an output of rows has. Defaults to float64 columns.

        Args:
            classes: as `classes` returned them.
        """
        import numpy as np
        import pandas as pd

        return pd.DataFrame({name: np.zeros(0) for name in self.columns(classes)})

    @abstractmethod
    def baseline(self, y: pd.Series) -> Mapping[str, float | int | str]:
        """Returns the best constant prediction, column → value: what a first version has to beat.

        Args:
            y: the checked labels of the fitting rows, at least one.
        """

    # ------------------------------------------------------------------------------------------ calibration

    @property
    def sets_aside(self) -> bool:
        """Whether half of the held-out rows are set aside to calibrate on. Defaults to no."""
        return False

    def calibration(self, raw: pd.DataFrame, y: pd.Series) -> Calibration | None:
        """Returns the correction that `finish` applies, fitted on the rows that were set aside. Defaults to none.

        Args:
            raw: the output without calibration.
            y: the labels, same length.
        """
        del raw, y

    # ------------------------------------------------------------------------------------------ pictures, monitoring

    def plots(self, y: pd.Series, output: pd.DataFrame) -> Mapping[str, object]:
        """Returns file name (`roc.png`) → matplotlib figure, of test rows. Defaults to none.

        Args:
            y: the labels.
            output: the output columns, same length.

        Raises:
            MissingExtraError: matplotlib or scikit-learn is not installed.
        """
        del y, output
        return {}

    def watched(self, names: Sequence[str]) -> list[str]:
        """Returns which columns of a table of predictions monitoring watches as outputs. Defaults to all of `columns(())`.

        Args:
            names: of the columns of the table.
        """
        return [name for name in self.columns(()) if name in names]

    def read_by_metrics(self, names: Sequence[str]) -> list[str]:
        """Returns which columns of a table of predictions its metrics read. Defaults to those that are watched.

        Args:
            names: of the columns of the table.
        """
        return self.watched(names)

    # ------------------------------------------------------------------------------------------ in a package

    @property
    def settings(self) -> dict[str, Json]:
        """What an instance has beside its label, by name, as JSON keeps it.

        Raises:
            DeclarationError: a value is not one that JSON can hold.
        """
        held = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "label"}
        try:
            return cast("dict[str, Json]", json.loads(json.dumps(held, allow_nan=False)))
        except (TypeError, ValueError) as error:
            raise DeclarationError(
                f"{self.name}({', '.join(f'{name}={value!r}' for name, value in held.items())}) cannot travel with a "
                f"version: {error}.",
                hint="The fields of a task are texts, numbers, booleans, None, and tuples of these.",
            ) from error

    @classmethod
    def restore(cls, settings: Mapping[str, Json]) -> Self:
        """An instance to predict with: it has the settings, their lists as tuples, and no label.

        Args:
            settings: as the property `settings` returned them.
        """
        task = object.__new__(cls)
        for each in fields(cls):
            if each.name in settings:
                object.__setattr__(task, each.name, _tuples(settings[each.name]))
        return task


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def is_output(name: str) -> bool:
    """Whether some version may have an output of that name, in any case: `prediction`, `probability`, `probability_a`."""
    low = name.lower()
    return low in OUTPUTS or (low.startswith((f"{PREDICTION}_", f"{PROBABILITY}_")) and low != RESERVED)


def finite(numbers: Numbers) -> Numbers:
    """The numbers of an estimator.

    Raises:
        UserCodeError: some of them are NaN or infinite.
    """
    import numpy as np

    if not np.isfinite(numbers).all():
        raise UserCodeError(
            f"the estimator gives {int((~np.isfinite(numbers)).sum())} values that are no finite numbers.",
            hint="Some estimators give NaN for rows with missing values: fill them in a pipeline, or use one that takes them.",
        )
    return numbers


def probabilities(numbers: Numbers) -> Numbers:
    """The probabilities of an estimator.

    Raises:
        UserCodeError: some of them are not between 0 and 1.
    """
    if numbers.min() < LOWEST or numbers.max() > HIGHEST:
        raise UserCodeError(
            f"the estimator gives probabilities from {numbers.min():g} to {numbers.max():g}.",
            hint="They must be between 0 and 1: is it a regression, or a raw score of a custom objective?",
        )
    return numbers
