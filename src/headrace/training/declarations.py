"""What a user declares about a model: how it is fitted, its task, its features, how it is tuned and judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from headrace.core.declaration import (
    Declaration,
    caller,
    check,
    check_durations,
    check_flags,
    check_names,
    check_numbers,
    check_whole,
)
from headrace.core.errors import DeclarationError, NotFoundError

if TYPE_CHECKING:
    import pandas as pd

    from headrace.features.declarations import ReferencedSelection
    from headrace.lakehouse.declarations import LabelColumn, Selection, Spine

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
Params = Mapping[str, bool | int | float | str]
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class TrainingData:
    """What a fit function is given.

    Attributes:
        X: one row a decision; numbers as float64, texts as categories, in the order of the declared features.
        y: the label, same index.
        at: the moment of each decision, UTC, same index.
    """

    X: pd.DataFrame
    y: pd.Series
    at: pd.Series


@dataclass(frozen=True)
class Binary:
    """Yes or no. The model's output is `probability`, of the label being true.

    Args:
        label: a column of booleans or of 0 and 1.
        calibrate: `"isotonic"` fits a monotone correction on held-out rows.
    """

    label: LabelColumn
    _: KW_ONLY
    calibrate: Literal["isotonic"] | None = None


@dataclass(frozen=True)
class Multiclass:
    """One of several classes. The output is `prediction`, and `probability_<class>` for each class."""

    label: LabelColumn


@dataclass(frozen=True)
class Regression:
    """A number. The output is `prediction`."""

    label: LabelColumn


Task = Binary | Multiclass | Regression
TaskKind = Literal["Binary", "Multiclass", "Regression"]
Class = int | str  # a label of Multiclass


@dataclass(frozen=True)
class Range:
    """A numeric search space, ends included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False


@dataclass(frozen=True)
class Choice:
    """A search space of given values."""

    values: tuple[bool | int | float | str, ...]


Space = Range | Choice


def _range(low: float, high: float, *, log: bool, integer: bool) -> Range:
    check_numbers("a search space", low=low, high=high)
    check_flags("a search space", log=log)
    if not low < high or (log and low <= 0):
        raise DeclarationError(
            f"{caller()}: a search space from {low} to {high} is empty{' or not positive' if log else ''}."
        )
    return Range(low, high, log, integer)


def uniform(low: float, high: float) -> Range:
    """A number between low and high."""
    return _range(low, high, log=False, integer=False)


def log_uniform(low: float, high: float) -> Range:
    """A positive number between low and high, even on a logarithmic scale."""
    return _range(low, high, log=True, integer=False)


def integer(low: int, high: int, *, log: bool = False) -> Range:
    """A whole number between low and high, ends included."""
    return _range(low, high, log=log, integer=True)


def choice(*values: bool | float | str) -> Choice:
    """One of the given values."""
    if not values:
        raise DeclarationError(f"{caller()}: choice() needs at least one value.")
    return Choice(values)


@dataclass(frozen=True)
class Tune:
    """A search for parameters, on the last part of the fitting rows; the test rows are never seen.

    Args:
        space: parameter → search space.
        trials: how many are tried.
        validate: the share of the fitting rows, the latest ones, that trials are judged on.
    """

    space: Mapping[str, Space]
    _: KW_ONLY
    trials: int = 10
    validate: float = 0.25

    def __post_init__(self) -> None:
        check("Tune", lambda space: isinstance(space, Mapping), 'Write {"depth": hr.integer(2, 8)}.', space=self.space)
        check_whole("Tune", trials=self.trials)
        check_numbers("Tune", validate=self.validate)
        if not self.space or not 0 < self.validate < 1:
            raise DeclarationError(f"{caller()}: Tune needs a space, trials >= 1 and 0 < validate < 1.")
        for name, space in self.space.items():
            if not isinstance(space, Space):  # pyright: ignore[reportUnnecessaryIsInstance]  # the user's program is not checked
                raise DeclarationError(
                    f"{caller()}: the search space of {name!r} is {space!r}.",
                    hint="Write hr.uniform(low, high), hr.log_uniform(low, high), hr.integer(low, high) or hr.choice(…); "
                    "a fixed value goes into params=.",
                )


@dataclass(frozen=True)
class Evaluate:
    """How a version is judged on rows that it was not fitted on.

    Args:
        test: the last stretch before the training moment, held out: `"30d"`.
        metrics: names; the first is the main one, which tuning optimises.
        slices: columns of the spine; metrics are also given for each of their values.
    """

    _: KW_ONLY
    test: str = "30d"
    metrics: Sequence[str] = ()
    slices: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_durations("Evaluate", test=self.test)
        check_names("Evaluate", metrics=self.metrics, slices=self.slices)


@dataclass(frozen=True)
class Model(Declaration):
    """A model: plain functions and values. Pipelines do the rest.

    Args:
        fit: `fit(data: TrainingData, params: Params)` gives a fitted estimator with `predict` (and `predict_proba`
            for classes).
        task: what is predicted, and the label.
        spine: the decisions, `table.at("column")`.
        features: selections from the spine and from feature tables, and on-demand functions.
        params: fixed parameters, passed to `fit` together with the tuned ones.
    """

    namespace: ClassVar[str] = "model"

    _: KW_ONLY
    fit: Callable[[TrainingData, Params], object]
    task: Task
    spine: Spine
    features: Sequence[Selection | ReferencedSelection | Callable[..., object]]
    params: Params = field(default_factory=dict[str, bool | int | float | str])
    tune: Tune | None = None
    evaluate: Evaluate = field(default_factory=Evaluate)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise DeclarationError(
                f"{self.where}: {self.name!r} is not a model name.",
                hint="Up to 63 letters from a to z, digits and underscores, no digit first: 'arrival_delay'. It names tables, folders and images.",
            )
        if not callable(self.fit):
            raise DeclarationError(f"{self.where}: model {self.name!r}: fit= is not a function.")
        if not self.features:
            raise DeclarationError(f"{self.where}: model {self.name!r} has no features.")
        label = self.task.label.table
        if stray := [key for key in label.keys if key not in self.spine.table.keys]:
            raise DeclarationError(
                f"{self.where}: model {self.name!r}: the label's table {label.name!r} has the key {stray[0]!r}, "
                f"which is no key of the spine {self.spine.table.name!r}.",
                hint=f"A label is joined by key; the spine has {', '.join(self.spine.table.keys)}.",
            )
        known = METRICS[type(self.task).__name__]
        for metric in self.evaluate.metrics:
            if metric not in known:
                raise NotFoundError(f"metric for {type(self.task).__name__}", metric, known, hint=f"at {self.where}")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The declared metrics, or the usual ones of the task; the first is the main one."""
        return tuple(self.evaluate.metrics) or tuple(METRICS[type(self.task).__name__])


METRICS: Mapping[str, Mapping[str, Direction]] = {
    "Binary": {
        "roc_auc": "maximize",
        "log_loss": "minimize",
        "brier": "minimize",
        "average_precision": "maximize",
        "accuracy": "maximize",
    },
    "Multiclass": {"accuracy": "maximize", "log_loss": "minimize", "f1_macro": "maximize"},
    "Regression": {"rmse": "minimize", "mae": "minimize", "r2": "maximize"},
}
