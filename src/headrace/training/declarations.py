"""Declarations of a model: its fit function, its task, its features, its tuning and its evaluation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from headrace.chains.declarations import Use, check_predict, check_uses
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
from headrace.lakehouse.declarations import ARRIVED_AT, ArrivalTable, LabelColumn, Selection, Source, Spine, Table
from headrace.llm.evaluation.judge import Judge
from headrace.llm.evaluation.retrieval import is_retrieval_metric
from headrace.training.metrics.base import Metric
from headrace.training.metrics.judged import judged
from headrace.training.metrics.known import metrics_of
from headrace.training.metrics.retrieval import retrieval
from headrace.training.prompt_tuning import PromptTuning
from headrace.training.splits.at_random import AtRandom
from headrace.training.splits.base import Split
from headrace.training.splits.by_column import ByColumn
from headrace.training.splits.by_group import ByGroup
from headrace.training.splits.by_time import ByTime
from headrace.training.splits.everything import Everything
from headrace.training.tasks.generation import Generation
from headrace.training.tasks.known import check_task

if TYPE_CHECKING:
    import pandas as pd

    from headrace.training.tasks.base import Task

DATASET_KEY, DATASET_TIME = "question_id", "known_at"  # of tables that `headrace feedback to-dataset` keeps
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
Params = Mapping[str, bool | int | float | str]
"""The parameters that a fit function is called with, by name: those of `hr.Model(params=…)` and the tuned ones.

Example:
    >>> from sklearn.linear_model import LogisticRegression
    >>> def estimator(params: hr.Params) -> LogisticRegression:
    ...     return LogisticRegression(**params)
    >>> estimator({"C": 0.5, "max_iter": 200})
    LogisticRegression(C=0.5, max_iter=200)
"""


@dataclass(frozen=True)
class TrainingData:
    """The rows that a fit function is called with.

    Attributes:
        X: one row a decision, one column a feature, in the order of the declared features; numbers as float64, texts as
            categories. A missing value is NaN.
        y: the label of each decision, same index: int64 0 and 1 for `hr.Binary`, the classes for `hr.Multiclass`, float64 for
            `hr.Regression`.
        at: the moment of each decision, UTC, same index.

    Example:
        Give a fit function some rows, to try it:

        >>> import pandas as pd
        >>> X = pd.DataFrame({"distance": [200.0, 1400.0, 300.0, 2500.0]})
        >>> at = pd.Series(pd.date_range("2013-05-01", periods=4, tz="UTC"))
        >>> data = hr.TrainingData(X, pd.Series([0, 1, 0, 1]), at)
        >>> def fit(data, params):
        ...     from sklearn.linear_model import LogisticRegression
        ...     return LogisticRegression(**params).fit(data.X, data.y)
        >>> fit(data, {"C": 1.0}).predict(data.X).tolist()
        [0, 1, 0, 1]
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

    Example:
        >>> hr.uniform(0.5, 1.0)
        Range(low=0.5, high=1.0, log=False, integer=False)
        >>> hr.uniform(1.0, 0.5)
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: ...: a search space from 1.0 to 0.5 is empty.
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

    Example:
        >>> hr.log_uniform(0.001, 0.1)
        Range(low=0.001, high=0.1, log=True, integer=False)
        >>> hr.log_uniform(0, 0.1)
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: ...: a search space from 0 to 0.1 is empty or not positive.
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

    Example:
        >>> hr.integer(8, 256, log=True)
        Range(low=8, high=256, log=True, integer=True)
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

    Example:
        >>> hr.choice("gini", "entropy")
        Choice(values=('gini', 'entropy'))
    """
    if not values:
        raise DeclarationError(f"{caller()}: choice() needs at least one value.")
    return Choice(values)


@dataclass(frozen=True)
class Tune:
    """A search for parameters on the fitting rows; it never sees the test rows.

    Args:
        space: parameter → search space, `{"depth": hr.integer(2, 8)}`.
        trials: how many sets of parameters are tried; defaults to 10.
        validate: the share of the fitting rows, the latest ones, on which each trial is measured; the trial is fitted on the
            others. Between 0 and 1; defaults to 0.25.

    Raises:
        DeclarationError: an empty space, a value in it that is no search space, or a number that is not possible.

    Example:
        >>> tune = hr.Tune({"learning_rate": hr.log_uniform(0.01, 0.3), "depth": hr.integer(2, 8)}, trials=25)
        >>> list(tune.space), tune.trials
        (['learning_rate', 'depth'], 25)
        >>> hr.Tune({"depth": 8})
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: ...: the search space of 'depth' is 8.
        Write hr.uniform(low, high), hr.log_uniform(low, high), hr.integer(low, high) or hr.choice(…); a fixed value goes into params=.
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
        slices: columns of the spine, `["airline"]`; metrics are also measured for each of their values. Defaults to none.
        dataset: of a model with `predict=`, the questions that it is judged on: a source, a table with `key=` and `time=`, or the
            name of a table that `headrace feedback to-dataset` keeps. It has a column for each input, and the one with the right
            answers.
            Such a model may also have metrics of retrieval, `"recall@5"`, and judges, `hr.judge("faithful")`.

    Raises:
        DeclarationError: a `test` that is neither a duration nor a split, or metrics or slices that are no list of names. Whether
            the task has a metric of that name is checked by `hr.Model`.

    Example:
        >>> hr.Evaluate(test=hr.by_group("customer"), metrics=["roc_auc", "log_loss"])
        Evaluate(test=ByGroup(group=('customer',), share=0.2, seed=0), metrics=['roc_auc', 'log_loss'], slices=(), dataset=None)
        >>> hr.Evaluate(test="30d", slices="airline")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: Evaluate(slices='airline') is not possible.
        Write ['airline'].
    """

    _: KW_ONLY
    test: str | Split | None = None
    metrics: Sequence[str | Metric | Judge] = ()
    slices: Sequence[str] = ()
    dataset: Source | Table | str | None = None

    def __post_init__(self) -> None:
        if self.test is not None and not isinstance(self.test, Split):
            check_durations("Evaluate", test=self.test)
        check_names("Evaluate", slices=self.slices)
        if isinstance(self.metrics, list | tuple):
            names = [each.name if isinstance(each, Metric | Judge) else each for each in self.metrics]
            check_names("Evaluate", metrics=names)
            if len(set(names)) < len(names):
                raise DeclarationError(f"Evaluate(metrics={names!r}) has one of them twice.", hint="Once is enough.")
        else:
            check_names("Evaluate", metrics=self.metrics)


@cache
def _kept_dataset(name: str) -> Table:
    """A table that `headrace feedback to-dataset` keeps, the same for all models that name it."""
    return Table(name, key=DATASET_KEY, time=DATASET_TIME)


@dataclass(frozen=True)
class Model(Declaration):
    """A model: plain functions and values. Pipelines do the rest.

    Args:
        name: up to 63 letters from a to z, digits and underscores, no digit first.
        fit: `fit(data: TrainingData, params: Params)` returns a fitted estimator with `predict` (and `predict_proba` for
            classes). Defaults to none: then its versions are those that `headrace model import` brings.
        predict: in place of `fit`, a function that answers by itself: `answer(question: str, ctx: hr.LLMContext) -> str`. Each
            parameter but `ctx` is an input, a text. A version of it holds its code and what it uses. It goes with
            `task=hr.Generation()` and `evaluate=hr.Evaluate(dataset=…)`, and has neither spine nor features. Defaults to none.
        uses: what `predict` may use of its context: prompts, vector indexes and one route; defaults to nothing.
        task: what is predicted, and the label: `hr.Binary(label)`, or an instance of a subclass of `hr.Task`.
        spine: the decisions, `table.at("column")`; or a source, `hr.Source(…)`, whose rows have neither key nor time: each
            is a decision of the moment when it arrived.
        features: selections from the spine and from feature tables, and on-demand functions; or `"all columns"` of the
            spine, as `[hr.all_columns()]`.
        params: fixed parameters, passed to `fit` together with the tuned ones; defaults to none.
        tune: a search for parameters; of a model with `predict=`, for its instructions: `hr.PromptTuning(…)`. Defaults to none.
        evaluate: how a version is judged; defaults to the last 30 days and the metrics of the task.
        description: what it is, for people; defaults to none. `hr.documented()` asks for it.
        owner: who is responsible, for people; defaults to nobody.

    Raises:
        DeclarationError: a name that is not possible, no features, or a label that cannot be joined to the spine.
        NotFoundError: a metric that the task does not have.

    Example:
        >>> def fit(data, params):
        ...     from sklearn.linear_model import LogisticRegression
        ...     return LogisticRegression(**params).fit(data.X, data.y)
        >>> flights = hr.Table("silver.flights", key="flight_id", sql="SELECT * FROM bronze.flights")
        >>> arrivals = hr.Table("gold.arrivals", key="flight_id", time="landed_at", sql="SELECT * FROM bronze.arrivals")
        >>> model = hr.Model("late_arrival", fit=fit, task=hr.Binary(label=arrivals["late"]), spine=flights.at("predict_at"),
        ...                  features=[flights.select("distance")], evaluate=hr.Evaluate(test="14d", metrics=["brier"]))
        >>> model.split, model.metrics
        (ByTime(window='14d'), ('brier',))
    """

    namespace: ClassVar[str] = "model"

    _: KW_ONLY
    fit: Callable[[TrainingData, Params], object] | None = None
    predict: Callable[..., object] | None = None
    uses: Sequence[Use] = ()
    task: Task
    spine: Spine | Source | None = None
    features: (
        Literal["all columns"] | Sequence[Selection | ReferencedSelection | AllColumns | Callable[..., object]]
    ) = ()
    params: Params = field(default_factory=dict[str, bool | int | float | str])
    tune: Tune | PromptTuning | None = None
    evaluate: Evaluate = field(default_factory=Evaluate)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise DeclarationError(
                f"{self.where}: {self.name!r} is not a model name.",
                hint="Up to 63 letters from a to z, digits and underscores, no digit first: 'arrival_delay'. It names tables, folders and images.",
            )
        if self.predict is not None:
            self._derive_from_predict()
        elif self.uses or self.evaluate.dataset is not None or isinstance(self.task, Generation):
            what = "uses=" if self.uses else "dataset=" if self.evaluate.dataset is not None else "hr.Generation()"
            raise DeclarationError(
                f"{self.where}: model {self.name!r} has {what} and no predict=.",
                hint="def answer(question: str, ctx: hr.LLMContext) -> str: …, and predict=answer.",
            )
        if self.fit is not None and not callable(self.fit):  # pyright: ignore[reportUnnecessaryComparison]
            raise DeclarationError(f"{self.where}: model {self.name!r}: fit= is not a function.")
        if self.fit is None and self.predict is None and (self.tune is not None or self.params):
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
        if not isinstance(self.spine, Spine | Source):
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
            if isinstance(metric, Judge):
                raise DeclarationError(
                    f"{self.where}: the judge {metric.name!r} judges texts; model {self.name!r} has none."
                )
            self._check_metric(metric)
        searched = self.prompt_tuning.metric if self.prompt_tuning else None
        if searched is not None and searched not in self.known_metrics:
            raise NotFoundError("metric for a tuning", searched, self.known_metrics, hint=f"at {self.where}")

    def _derive_from_predict(self) -> None:
        """Spine, features and label of a model with `predict=`: they are the columns of its evaluation data."""
        said = f"{self.where}: model {self.name!r}"
        for name, given in (
            ("fit", self.fit),
            ("params", self.params),
            ("spine", self.spine),
            ("features", self.features),
        ):
            if given:
                raise DeclarationError(
                    f"{said} declares predict= and {name}=, which do not go together.", hint="Leave one of them out."
                )
        if not isinstance(self.task, Generation):
            raise DeclarationError(f"{said} has predict= and task={self.task!r}.", hint="Write task=hr.Generation().")
        if isinstance(self.tune, Tune):
            raise DeclarationError(
                f"{said} declares predict= and hr.Tune(…).", hint="Prompts are tuned by hr.PromptTuning(…)."
            )
        inputs = check_predict(said, self.predict)
        check_uses(said, self.uses)
        spine = self._questions(said)
        self._check_tuning(said)
        table = spine.arrivals if isinstance(spine, Source) else spine.table
        metrics = tuple(
            judged(each)
            if isinstance(each, Judge)
            else retrieval(each)
            if isinstance(each, str) and is_retrieval_metric(each)
            else each
            for each in self.evaluate.metrics
        )
        judges = tuple(each for each in self.evaluate.metrics if isinstance(each, Judge))
        for name, value in {
            "task": replace(self.task, label=LabelColumn(table, self.task.reference)),
            "spine": spine,
            "features": (table.select(*inputs),),
            "evaluate": replace(self.evaluate, metrics=metrics),
            "_judges": judges,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def judges(self) -> tuple[Judge, ...]:
        """The judges among the metrics."""
        return getattr(self, "_judges", ())

    def asked_of(self, dataset: Source | Table | str) -> Model:
        """A model with `predict=` that is the same, asked of other data, of which only the right answers are looked at.

        Args:
            dataset: as of `hr.Evaluate(dataset=…)`.

        Returns:
            The model.
        """
        reference = cast("Generation", self.task).reference
        return Model(
            self.name,
            predict=self.predict,
            uses=self.uses,
            task=Generation(reference=reference),
            evaluate=Evaluate(dataset=dataset),
            where=self.where,
        )

    @property
    def parameter_search(self) -> Tune | None:
        """The search for parameters of `fit`; None for none."""
        return self.tune if isinstance(self.tune, Tune) else None

    @property
    def prompt_tuning(self) -> PromptTuning | None:
        """The search for instructions of `predict`; None for none."""
        return self.tune if isinstance(self.tune, PromptTuning) else None

    def _questions(self, said: str) -> Spine | Source:
        """The rows that it is evaluated on."""
        dataset = self.evaluate.dataset
        if isinstance(dataset, str):
            dataset = _kept_dataset(dataset)
        if isinstance(dataset, Table):
            if dataset.time is None:
                raise DeclarationError(
                    f"{said}: dataset={dataset.name!r} has no time=, the column with the moment when an answer became known.",
                    hint="Declare it, or give the source of rows without a time: hr.Source(…).",
                )
            return dataset.at(dataset.time)
        if isinstance(dataset, Source):
            return dataset
        raise DeclarationError(
            f"{said} has no evaluation data: Evaluate(dataset={dataset!r}).",
            hint='Give it questions with right answers: evaluate=hr.Evaluate(dataset=hr.Source("gold.qa", files="questions.jsonl")).',
        )

    def _check_tuning(self, said: str) -> None:
        """Refuses a tuning on the evaluation data: the figures of what was found on them would say nothing."""
        evaluated, tuned = self.evaluate.dataset, self.prompt_tuning.dataset if self.prompt_tuning else None
        name = evaluated if isinstance(evaluated, str) else evaluated.name if evaluated else None
        if name is not None and name == (tuned if isinstance(tuned, str) else tuned.name if tuned else None):
            raise DeclarationError(
                f"{said} tunes its prompts on the data of its evaluation, {name!r}.",
                hint='Give the tuning other questions: tune=hr.PromptTuning("gold.tuning"), or hr.Evaluate(…) others.',
            )

    def _check_without_time(self) -> None:
        """Refuses what goes by the moment of a decision, where decisions have none."""
        name = self.spine.name if isinstance(self.spine, Source) else self.decisions.table.name.partition(".")[2]
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
            DeclarationError: it declares none, so it can only be imported; or `predict=`, which needs no fit.
        """
        if self.predict is not None:
            raise DeclarationError(f"{self.where}: model {self.name!r} declares predict=: nothing is fitted.")
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
        if isinstance(self.spine, Source):
            return self.spine.arrivals.at(ARRIVED_AT)
        assert self.spine is not None, "checked when it was declared"
        return self.spine

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
        if test is None and self.predict is not None:
            return Everything()
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
        return tuple(known[each if isinstance(each, str) else each.name] for each in chosen)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what is measured; the first is the main one."""
        return tuple(each.name for each in self.measured)
