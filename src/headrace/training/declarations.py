"""Declarations of a model: its fit function, its task, its features, its tuning and its evaluation."""

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
from headrace.features.declarations import AllColumns, ReferencedSelection
from headrace.lakehouse.declarations import ARRIVED_AT, ArrivalTable, Selection, Source, Spine
from headrace.training.metrics.base import Metric
from headrace.training.metrics.known import metrics_of
from headrace.training.splits.at_random import AtRandom
from headrace.training.splits.base import Split
from headrace.training.splits.by_column import ByColumn
from headrace.training.splits.by_group import ByGroup
from headrace.training.splits.by_time import ByTime
from headrace.training.tasks.known import check_task

if TYPE_CHECKING:
    import pandas as pd

    from headrace.training.tasks.base import Task

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
Params = Mapping[str, bool | int | float | str]


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
    """A search space: a number between low and high, ends included.

    Args:
        low: the lowest value.
        high: the highest value.

    Returns:
        The space, for `hr.Tune({"parameter": …})`.

    Raises:
        DeclarationError: low is not below high.
    """
    return _range(low, high, log=False, integer=False)


def log_uniform(low: float, high: float) -> Range:
    """A search space: a positive number between low and high, drawn evenly on a logarithmic scale.

    Args:
        low: the lowest value, above 0.
        high: the highest value.

    Returns:
        The space, for `hr.Tune({"parameter": …})`.

    Raises:
        DeclarationError: low is not above 0, or not below high.
    """
    return _range(low, high, log=True, integer=False)


def integer(low: int, high: int, *, log: bool = False) -> Range:
    """A search space: a whole number between low and high, ends included.

    Args:
        low: the lowest value.
        high: the highest value.
        log: whether it is drawn evenly on a logarithmic scale; defaults to no.

    Returns:
        The space, for `hr.Tune({"parameter": …})`.

    Raises:
        DeclarationError: low is not below high.
    """
    return _range(low, high, log=log, integer=True)


def choice(*values: bool | float | str) -> Choice:
    """A search space: one of some values.

    Args:
        *values: booleans, numbers or texts.

    Returns:
        The space, for `hr.Tune({"parameter": …})`.

    Raises:
        DeclarationError: no value.
    """
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
        test: which labelled decisions are held out: the last stretch before the training moment, as `"30d"`; or a split:
            `hr.at_random(0.2)`, `hr.stratified(0.2)`, `hr.by_group("customer")`, `hr.by_column("part")`, or an instance
            of a subclass of `hr.Split`. Defaults to `"30d"`; of rows without a time, to `hr.at_random(0.2)`.
        metrics: names of the task's, or own ones as `hr.metric(…)` returns them; the first is the main one, which tuning
            optimises. Defaults to those of the task.
        slices: columns of the spine; metrics are also given for each of their values.
    """

    _: KW_ONLY
    test: str | Split | None = None
    metrics: Sequence[str | Metric] = ()
    slices: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.test is not None and not isinstance(self.test, Split):
            check_durations("Evaluate", test=self.test)
        check_names("Evaluate", slices=self.slices)
        if isinstance(self.metrics, list | tuple):
            names = [each.name if isinstance(each, Metric) else each for each in self.metrics]
            check_names("Evaluate", metrics=names)
            if len(set(names)) < len(names):
                raise DeclarationError(f"Evaluate(metrics={names!r}) has one of them twice.", hint="Once is enough.")
        else:
            check_names("Evaluate", metrics=self.metrics)


@dataclass(frozen=True)
class Model(Declaration):
    """A model: plain functions and values. Pipelines do the rest.

    Args:
        name: up to 63 letters from a to z, digits and underscores, no digit first.
        fit: `fit(data: TrainingData, params: Params)` returns a fitted estimator with `predict` (and `predict_proba` for
            classes). Defaults to none: then its versions are those that `headrace model import` brings.
        task: what is predicted, and the label: `hr.Binary(label)`, or an instance of a subclass of `hr.Task`.
        spine: the decisions, `table.at("column")`; or a source, `hr.Source(…)`, whose rows have neither key nor time: each
            is a decision of the moment when it arrived.
        features: selections from the spine and from feature tables, and on-demand functions; or `"all columns"` of the
            spine, as `[hr.all_columns()]`.
        params: fixed parameters, passed to `fit` together with the tuned ones; defaults to none.
        tune: a search for parameters; defaults to none.
        evaluate: how a version is judged; defaults to the last 30 days and the metrics of the task.
        description: what it is, for people; defaults to none. `hr.documented()` asks for it.
        owner: who is responsible, for people; defaults to nobody.

    Raises:
        DeclarationError: a name that is not possible, no features, or a label that cannot be joined to the spine.
        NotFoundError: a metric that the task does not have.
    """

    namespace: ClassVar[str] = "model"

    _: KW_ONLY
    fit: Callable[[TrainingData, Params], object] | None = None
    task: Task
    spine: Spine | Source
    features: Literal["all columns"] | Sequence[Selection | ReferencedSelection | AllColumns | Callable[..., object]]
    params: Params = field(default_factory=dict[str, bool | int | float | str])
    tune: Tune | None = None
    evaluate: Evaluate = field(default_factory=Evaluate)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise DeclarationError(
                f"{self.where}: {self.name!r} is not a model name.",
                hint="Up to 63 letters from a to z, digits and underscores, no digit first: 'arrival_delay'. It names tables, folders and images.",
            )
        if self.fit is not None and not callable(self.fit):  # pyright: ignore[reportUnnecessaryComparison]
            raise DeclarationError(f"{self.where}: model {self.name!r}: fit= is not a function.")
        if self.fit is None and (self.tune is not None or self.params):
            raise DeclarationError(
                f"{self.where}: model {self.name!r} declares {'tune=' if self.tune else 'params='} and no fit=, which would use it.",
                hint="Add fit=, or leave it out: a model without fit= is imported, headrace model import.",
            )
        if not self.features:
            raise DeclarationError(f"{self.where}: model {self.name!r} has no features.")
        if isinstance(self.features, str) and self.features != "all columns":
            raise DeclarationError(
                f"{self.where}: model {self.name!r}: features={self.features!r} is not possible.",
                hint='Write "all columns", or a list: [table.select("column")].',
            )
        if not isinstance(self.spine, Spine | Source):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DeclarationError(
                f"{self.where}: model {self.name!r}: spine={self.spine!r} is no spine.",
                hint='Write table.at("column") with the moment of each decision; or a source whose rows have no time.',
            )
        check_task(f"{self.where}: model {self.name!r}", self.task)
        label, spine = self.task.label.table, self.decisions.table
        if stray := [key for key in label.keys if key not in spine.keys]:
            raise DeclarationError(
                f"{self.where}: model {self.name!r}: the label's table {label.name!r} has the key {stray[0]!r}, "
                f"which is no key of the spine {spine.name!r}.",
                hint=f"A label is joined by key; the spine has {', '.join(spine.keys)}.",
            )
        if not self.has_time:
            self._check_without_time()
        for metric in self.evaluate.metrics:
            self._check_metric(metric)

    def _check_without_time(self) -> None:
        """Refuses what goes by the moment of a decision, where decisions have none."""
        name = self.decisions.table.name.partition(".")[2] if isinstance(self.spine, Spine) else self.spine.name
        hint = f'Declare the moment of each decision: hr.Table(…, key=…, time="moment", sql="SELECT … FROM {name}").'
        if isinstance(self.evaluate.test, str | ByTime):
            raise DeclarationError(
                f"{self.where}: model {self.name!r}: Evaluate(test={self.evaluate.test!r}) holds out the latest decisions, and the rows "
                f"of {name!r} have no time.",
                hint=f"Write hr.at_random(0.2) or hr.stratified(0.2), or: {hint}",
            )
        if self.task.label.table.name != self.decisions.table.name:
            raise DeclarationError(
                f"{self.where}: model {self.name!r}: the label is a column of {self.task.label.table.name!r}, and the rows of {name!r} "
                "have no key by which it could be joined.",
                hint=f'Take it from the same source, hr.Binary(label=rows["target"]), or: {hint}',
            )
        for feature in self.inputs:
            if isinstance(feature, ReferencedSelection) or (
                isinstance(feature, Selection) and feature.table.name != self.decisions.table.name
            ):
                table = feature.name if isinstance(feature, ReferencedSelection) else feature.table.name
                raise DeclarationError(
                    f"{self.where}: model {self.name!r}: features of {table!r} are looked up as of the moment of each decision, "
                    f"and the rows of {name!r} have none.",
                    hint=hint,
                )

    def _check_metric(self, metric: str | Metric) -> None:
        if not isinstance(metric, Metric):
            if metric not in self._task_metrics:
                raise NotFoundError(f"metric for {self.task.name}", metric, self._task_metrics, hint=f"at {self.where}")
        elif self.task.name not in metric.tasks and metric not in self._task_metrics.values():
            raise DeclarationError(
                f"{self.where}: the metric {metric.name!r} is for {', '.join(metric.tasks)}; model {self.name!r} is {self.task.name}.",
                hint=f"Where its function understands that output: hr.metric(…, tasks=[{self.task.name!r}]).",
            )

    @property
    def fitting(self) -> Callable[[TrainingData, Params], object]:
        """The function that fits it.

        Raises:
            DeclarationError: it declares none, so it can only be imported.
        """
        if self.fit is None:
            raise DeclarationError(
                f"{self.where}: model {self.name!r} declares no fit=, so it cannot be trained.",
                hint=f"`headrace model import {self.name} SOURCE` brings a fitted one.",
            )
        return self.fit

    @property
    def _task_metrics(self) -> Mapping[str, Metric]:
        return metrics_of(self.task.name, self.task.metrics)

    @property
    def has_time(self) -> bool:
        """Whether a decision has a moment of its own; otherwise it is the moment when its row arrived."""
        return not isinstance(self.decisions.table, ArrivalTable)

    @property
    def decisions(self) -> Spine:
        """The spine: the rows to predict for, and the column with the moment of each."""
        return self.spine.arrivals.at(ARRIVED_AT) if isinstance(self.spine, Source) else self.spine

    @property
    def inputs(self) -> tuple[Selection | ReferencedSelection | AllColumns | Callable[..., object], ...]:
        """The declared features; all columns include neither the label nor what only says which rows are held out."""
        features = (AllColumns(),) if isinstance(self.features, str) else self.features
        label = self.task.label
        own = [label.name] if label.table.name == self.decisions.table.name else []
        own += self.split.columns if isinstance(self.split, ByColumn | ByGroup) else ()
        return tuple(
            AllColumns(tuple(dict.fromkeys((*each.but, *own)))) if isinstance(each, AllColumns) else each
            for each in features
        )

    @property
    def split(self) -> Split:
        """Which labelled decisions are held out to test."""
        test = self.evaluate.test
        if test is None:
            return ByTime("30d") if self.has_time else AtRandom(0.2, 0)
        return test if isinstance(test, Split) else ByTime(test)

    @property
    def known_metrics(self) -> Mapping[str, Metric]:
        """Name → metric, of all that gates, alerts and guardrails may name: the task's, and own ones that are evaluated."""
        own = {each.name: each for each in self.evaluate.metrics if isinstance(each, Metric)}
        return {**self._task_metrics, **own}

    @property
    def measured(self) -> tuple[Metric, ...]:
        """The declared metrics, or the default ones of the task; the first is the main one."""
        known = self.known_metrics
        chosen = tuple(self.evaluate.metrics) or tuple(self.task.metrics)
        return tuple(known[each.name if isinstance(each, Metric) else each] for each in chosen)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what is measured; the first is the main one."""
        return tuple(each.name for each in self.measured)
