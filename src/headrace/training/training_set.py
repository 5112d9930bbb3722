"""The training set: decisions with their features as of each, the labels known at the training moment, and the split.

It is written to `training.<model>` and read back from the version that was written, so that tuning, fitting and
evaluation use the same rows, even days apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd
import pyarrow as pa

from headrace.features.keys import MICROSECOND
from headrace.features.matrix import compute, encode, fit_categories, read
from headrace.features.rows import full_rows
from headrace.lakehouse.declarations import ROW_ID
from headrace.lakehouse.difference import same_rows
from headrace.lakehouse.writes import Overwrite
from headrace.training import labels as known_labels
from headrace.training.declarations import TrainingData
from headrace.training.split import split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from headrace.features.plan import FeaturePlan
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model
    from headrace.training.split import Counts
    from headrace.training.tasks.base import Task

DIGEST = 32  # digits of a key by content, without the counter of equal rows: these stay on one side of the hold-out
PART = "_part"
LABEL = "_label"
Part = Literal["fit", "calibrate", "test"]
PARTS: tuple[Part, ...] = ("fit", "calibrate", "test")


@dataclass(frozen=True, kw_only=True)
class WrittenTrainingSet:
    """A training set that was written: where, which version, and what became of the decisions."""

    table: str
    version: int
    counts: Counts
    fit_from: datetime
    fit_to: datetime


def table_name(model: Model) -> str:
    """The table that holds a model's training sets; each training makes a version."""
    return table_of(model.name)


def table_of(name: str) -> str:
    """The table that holds the training sets of a model of this name."""
    return f"training.{name.lower()}"


@dataclass(frozen=True, kw_only=True)
class FittedRows:
    """The decisions that a version was fitted on where it was trained.

    Attributes:
        until: the last one, where the split is by time: all up to it count.
        keys: of those that were fitted on or calibrated with, where it is not: the columns that name a decision.
    """

    until: datetime | None = None
    keys: pd.DataFrame | None = None

    def among(self, decisions: pd.DataFrame, at: str) -> pd.Series:
        """Which of these decisions, whose moment is in the column `at`, are among them."""
        if self.keys is None:
            assert self.until is not None, "one of the two"
            return known_labels.instants(decisions[at]) <= pd.Timestamp(self.until)
        names = list(self.keys.columns)
        seen = pd.MultiIndex.from_frame(decisions[names]).isin(pd.MultiIndex.from_frame(self.keys))
        return pd.Series(seen, index=decisions.index)


def fitted_rows(lakehouse: Lakehouse, model: Model, plan: FeaturePlan, training_set: int) -> pd.DataFrame:
    """The keys, and the moments where the model has a time, of the decisions that a version was fitted on or calibrated with.

    Args:
        lakehouse: the tables of the environment in which it was trained.
        model: as declared.
        plan: of its features.
        training_set: the version of the table `training.<model>`.

    Raises:
        NotFoundError: there is no such version any more.
    """
    by = list(dict.fromkeys((*plan.keys, *((plan.at,) if model.has_time else ()))))
    rows = lakehouse.snapshot(table_name(model), training_set).to_arrow(columns=[*by, PART]).to_pandas()
    return rows.loc[rows[PART] != "test", by]


@dataclass(frozen=True, kw_only=True)
class AssembledTrainingSet:
    """A training set in memory: full rows with `_label` and `_part`, and what became of the decisions.

    Attributes:
        rows: the decisions that are in it, in the order of keys.
        counts: of all decisions.
        fit_from: the first decision that is fitted on; the training moment where nothing is fitted.
        fit_to: the last one.
    """

    rows: pa.Table
    counts: Counts
    fit_from: datetime
    fit_to: datetime


def assemble(
    lakehouse: Lakehouse,
    model: Model,
    plan: FeaturePlan,
    versions: Mapping[str, int],
    *,
    as_of: datetime,
    sample: float = 1.0,
    fitted: FittedRows | None = None,
) -> AssembledTrainingSet:
    """The training set as of a moment, from pinned table versions; nothing is written.

    With `fitted`, which are the rows that a version was fitted on elsewhere, none of these is among those that test it.

    Raises:
        DataError: nothing to fit or test on, a label that is not what the task predicts.
    """
    test = model.split
    rows = full_rows(
        lakehouse,
        plan,
        versions,
        until=as_of + MICROSECOND,
        keep=[*model.evaluate.slices, *test.columns],
        sample=sample,
    )
    decisions = rows.select(list(dict.fromkeys((*plan.keys, plan.at, *test.columns))))
    labels = known_labels.LabelTable(lakehouse, model.task, versions[model.task.label.table.name])
    found = labels.attach(decisions, at=plan.at, as_of=as_of)
    frame = decisions.to_pandas()
    parts = split(
        frame[plan.at],
        frame[list(plan.keys)] if model.has_time else frame[[ROW_ID]].apply(lambda key: key.str[:DIGEST]),
        found,
        as_of=as_of,
        test=test,
        calibrate=model.task.sets_aside,
        columns=frame[list(test.columns)],
        fits=model.predict is None and fitted is None,
        seen=None if fitted is None else fitted.among(frame, plan.at),
    )
    part = pd.Series(None, index=frame.index, dtype=object)
    for name, places in (("fit", parts.fit), ("calibrate", parts.calibrate), ("test", parts.test)):
        part.iloc[places] = name
    taken = part.notna().to_numpy()
    y = found.y[taken]
    made = (
        rows.filter(pa.array(taken))
        .append_column(LABEL, pa.array(y.tolist()))
        .append_column(PART, pa.array(part[taken].tolist(), pa.string()))
    )
    on = known_labels.instants(frame[plan.at]).iloc[parts.fit]
    return AssembledTrainingSet(
        rows=made,
        counts=parts.counts,
        fit_from=on.iloc[0].to_pydatetime() if len(on) else as_of,
        fit_to=on.iloc[-1].to_pydatetime() if len(on) else as_of,
    )


def build(
    lakehouse: Lakehouse,
    model: Model,
    plan: FeaturePlan,
    versions: Mapping[str, int],
    *,
    as_of: datetime,
    id: str,  # noqa: A002
    sample: float = 1.0,
    fitted: FittedRows | None = None,
) -> WrittenTrainingSet:
    """Assembles the training set as of a moment, and writes it, unless the latest version of the table is the same rows.

    Raises:
        DataError: as `assemble`.
    """
    made = assemble(lakehouse, model, plan, versions, as_of=as_of, sample=sample, fitted=fitted)
    latest = _latest(lakehouse, table_name(model), made.rows)
    if latest is None:
        latest = lakehouse.commit(table_name(model), id, lambda _: Overwrite(made.rows)).version
    return WrittenTrainingSet(
        table=table_name(model),
        version=latest,
        counts=made.counts,
        fit_from=made.fit_from,
        fit_to=made.fit_to,
    )


def _latest(lakehouse: Lakehouse, table: str, rows: pa.Table) -> int | None:
    """The latest version of a table of training sets, if it holds these rows; None otherwise."""
    if not lakehouse.exists(table, own=True):
        return None
    snapshot = lakehouse.snapshot(table)
    if snapshot.rows() != rows.num_rows:  # of the log: nothing is read
        return None
    return snapshot.version if same_rows(lakehouse, snapshot, rows) else None


class TrainingSet:
    """A training set with its computed features, the label and the parts.

    Args:
        plan: of the features.
        functions: that compute on-demand features, by name.
        rows: full rows with `_label` and `_part`, as `assemble` makes them.

    Attributes:
        rows: the same in the order of time and keys, with the index 0, 1, 2 and so on.
        inputs: the input columns, cast; same index.
        computed: the features before texts become categories, same index.
    """

    def __init__(self, plan: FeaturePlan, functions: Mapping[str, Callable[..., object]], rows: pa.Table) -> None:
        self.plan = plan
        self.rows = rows.to_pandas().sort_values([plan.at, *plan.keys], ignore_index=True)
        self.inputs = read(plan, self.rows)
        self.computed = compute(plan, functions, self.inputs)

    @classmethod
    def stored(
        cls,
        lakehouse: Lakehouse,
        model: Model,
        plan: FeaturePlan,
        functions: Mapping[str, Callable[..., object]],
        version: int,
    ) -> TrainingSet:
        """A version of the table `training.<model>`, read back.

        Raises:
            NotFoundError: there is no such version.
        """
        return cls(plan, functions, lakehouse.snapshot(table_name(model), version).to_arrow())

    def part(self, name: Part) -> pd.Index:
        """The rows of one part, in order of time."""
        return self.rows.index[self.rows[PART] == name]

    def parts(self, task: Task) -> dict[Part, TrainingData]:
        """The rows of each part as a fit function is given them; texts have the categories of the fitting rows."""
        categories = fit_categories(self.plan, self.computed.loc[self.part("fit")])
        found: dict[Part, TrainingData] = {}
        for name in PARTS:
            rows = self.part(name)
            X = encode(self.plan, categories, self.computed.loc[rows])  # noqa: N806
            y = task.cast(self.y.loc[rows]).set_axis(rows)
            found[name] = TrainingData(X=X, y=y, at=self.at.loc[rows])
        return found

    @property
    def y(self) -> pd.Series:
        """The label."""
        return self.rows[LABEL]

    @property
    def at(self) -> pd.Series:
        """The moment of each decision."""
        return known_labels.instants(self.rows[self.plan.at])
