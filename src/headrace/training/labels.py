"""Labels as they were known at the training moment, joined to decisions by key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from headrace.core.errors import DataError, DeclarationError
from headrace.training.classes import plain
from headrace.training.declarations import Binary, Regression

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.training.declarations import Task

SHOWN = 5  # offending values in a message


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The label of each decision, in the order of the decisions.

    Attributes:
        y: the label that was the last to become known by the training moment; missing where there is none.
            Binary: 0.0 and 1.0, Regression: float64, Multiclass: texts or whole numbers (as objects).
        first_known: when the first label of this decision became known, UTC; missing where there is none.
        replaced: label rows that a later one of the same key replaced.
        not_yet: label rows that became known after the training moment and therefore do not exist for it.
    """

    y: pd.Series
    first_known: pd.Series
    replaced: int
    not_yet: int


def attach(decisions: pd.DataFrame, labels: pd.DataFrame, *, task: Task, as_of: datetime) -> Labels:
    """Finds the label of each decision.

    Args:
        decisions: one row each, with the key columns of the label's table.
        labels: the label's table: its key columns, its time and the label.
        task: says which table and column.
        as_of: the training moment.

    Raises:
        DeclarationError: the label's table has no time.
        DataError: a label is null, or is not what the task predicts.
    """
    table, column = task.label.table, task.label.name
    if table.time is None:
        raise DeclarationError(
            f"{table.where}: {table.name!r} holds the label {column!r} and needs time=, the column with the moment when it became known.",
            hint="Training uses only labels that were known at the training moment.",
        )
    keys = list(table.keys)
    times = instants(labels[table.time])
    known = labels.loc[times <= as_of, keys].assign(value=labels[column], time=times).reset_index(drop=True)
    if known["value"].isna().any():
        null = known[known["value"].isna()]
        raise DataError(
            f"the label {table.name}.{column} is null in {len(null)} of {len(known)} rows.",
            findings=[", ".join(f"{key}={row[key]!r}" for key in keys) for _, row in null.head(SHOWN).iterrows()],
            hint="A decision without a label has no row in the label's table: filter it in the table's SQL.",
        )
    known["value"] = checked(known["value"], task)
    known = known.sort_values("time", kind="stable")
    grouped = known.groupby(keys, sort=False, dropna=True)
    latest = grouped.agg(value=("value", "last"), first=("time", "first"))
    joined = decisions[keys].join(latest, on=keys)
    joined.index = decisions.index
    return Labels(
        y=joined["value"],
        first_known=joined["first"],
        replaced=len(known) - len(latest),
        not_yet=int((times > as_of).sum()),
    )


def instants(values: pd.Series) -> pd.Series:
    """A column of times as UTC; without a zone it is UTC."""
    return pd.Series(pd.to_datetime(values, utc=True), index=values.index).astype(pd.DatetimeTZDtype("us", "UTC"))


def checked(values: pd.Series, task: Task) -> pd.Series:
    """Labels as the task needs them: 0.0 and 1.0, numbers, or classes.

    Raises:
        DataError: a value is none.
    """
    if isinstance(task, Binary):
        return _fitting(values, task, values.isin([0, 1, True, False]), "neither true nor false (nor 1 or 0)").astype(
            "float64"
        )
    if isinstance(task, Regression):
        numbers = pd.Series(pd.to_numeric(values, errors="coerce"), index=values.index).astype("float64")
        return _fitting(numbers, task, pd.Series(np.isfinite(numbers), index=numbers.index), "no finite number")
    classes, fits = plain(values)
    _fitting(values, task, fits, "no class, which is a text or a whole number below 2^63")
    return classes


def _fitting(values: pd.Series, task: Task, fits: pd.Series, wrong: str) -> pd.Series:
    if not fits.all():
        odd = values[~fits]
        shown = ", ".join(repr(value) for value in odd.unique()[:SHOWN].tolist())
        raise DataError(
            f"the label {task.label.table.name}.{task.label.name} is {wrong} in {len(odd)} of {len(values)} rows: {shown}.",
            hint=f"The task is {type(task).__name__}; cast the label in the table's SQL, or declare another task.",
        )
    return values
