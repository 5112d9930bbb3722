"""The training set: decisions with their features as of each, the labels known at the training moment, and the split.

It is written to `training.<model>` and read back from the version that was written, so that tuning, fitting and
evaluation use the same rows, even days apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import pandas as pd
import pyarrow as pa

from headrace.features.matrix import compute, read
from headrace.features.rows import full_rows
from headrace.lakehouse.declarations import ROW_ID
from headrace.lakehouse.writes import Overwrite
from headrace.training import labels as known_labels
from headrace.training.split import split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from headrace.features.plan import FeaturePlan
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model
    from headrace.training.split import Counts

DIGEST = 32  # digits of a key by content, without the counter of equal rows: these stay on one side of the hold-out
PART = "_part"
LABEL = "_label"
Part = Literal["fit", "calibrate", "test"]
SECOND = timedelta(microseconds=1)


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
    return f"training.{model.name.lower()}"


def build(
    lakehouse: Lakehouse,
    model: Model,
    plan: FeaturePlan,
    versions: Mapping[str, int],
    *,
    as_of: datetime,
    id: str,  # noqa: A002
    sample: float = 1.0,
) -> WrittenTrainingSet:
    """Makes the training set as of a moment, from pinned table versions.

    Raises:
        DataError: nothing to fit or test on, a label that is not what the task predicts.
    """
    test = model.split
    rows = full_rows(
        lakehouse, plan, versions, until=as_of + SECOND, keep=[*model.evaluate.slices, *test.columns], sample=sample
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
    commit = lakehouse.commit(table_name(model), id, lambda _: Overwrite(made))
    fitted = known_labels.instants(frame[plan.at]).iloc[parts.fit]
    return WrittenTrainingSet(
        table=table_name(model),
        version=commit.version,
        counts=parts.counts,
        fit_from=fitted.iloc[0].to_pydatetime(),
        fit_to=fitted.iloc[-1].to_pydatetime(),
    )


class TrainingSet:
    """A version of a training set, read back: the computed features, the label and the parts.

    Attributes:
        rows: everything that was written, in the order of keys.
        computed: the features before texts become categories, same index.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        model: Model,
        plan: FeaturePlan,
        functions: Mapping[str, Callable[..., object]],
        version: int,
    ) -> None:
        self.plan = plan
        snapshot = lakehouse.snapshot(table_name(model), version)
        self.rows = snapshot.to_arrow().to_pandas()
        self.rows = self.rows.sort_values([plan.at, *plan.keys], ignore_index=True)
        self.inputs = read(plan, self.rows)
        self.computed = compute(plan, functions, self.inputs)

    def part(self, name: Part) -> pd.Index:
        """The rows of one part, in order of time."""
        return self.rows.index[self.rows[PART] == name]

    @property
    def y(self) -> pd.Series:
        """The label."""
        return self.rows[LABEL]

    @property
    def at(self) -> pd.Series:
        """The moment of each decision."""
        return known_labels.instants(self.rows[self.plan.at])
