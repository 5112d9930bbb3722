"""The inputs and outputs of a version in MLflow's types: those of its training rows as a DataFrame.

MLflow itself infers a signature from the rows that a model was fitted on, and refuses other types: an integer column
that never missed a value is `long`, and one that did is `double`, as pandas has it. It has no type for two kinds of
values and accepts them unchanged: instants with a time zone, and times outside the range of its nanoseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from headrace.tracking.records import SignatureColumn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.features.plan import FeaturePlan, Input
    from headrace.tracking.records import ColumnType

NUMBERS: Mapping[str, ColumnType] = {"i": "long", "b": "boolean"}
OUTPUTS: Mapping[str, ColumnType] = {"f": "double", "i": "long", "b": "boolean"}


def inputs(plan: FeaturePlan, rows: pd.DataFrame) -> list[SignatureColumn]:
    """The columns of a full row, as these rows have them."""
    return [SignatureColumn(name=column.name, type=_type(column, rows[column.name])) for column in plan.inputs]


def example(columns: Sequence[SignatureColumn], rows: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """Rows in the types of the signature that JSON can hold, from what was written and what a plan read of it."""
    exact = ("long", "boolean")
    return pd.DataFrame({each.name: (rows if each.type in exact else read)[each.name] for each in columns})


def outputs(given: pd.DataFrame) -> list[SignatureColumn]:
    """The columns of what a version answers."""
    return [
        SignatureColumn(name=str(name), type=OUTPUTS.get(given[name].dtype.kind, "string")) for name in given.columns
    ]


def _type(column: Input, values: pd.Series) -> ColumnType:
    if column.kind == "number":
        return "boolean" if _flags(values) else NUMBERS.get(values.dtype.kind, "double")
    if column.kind == "timestamp":
        return "datetime" if _in_nanoseconds(values) else "any"
    return "string" if column.kind == "string" else "any"


def _flags(values: pd.Series) -> bool:
    """Booleans of which some are missing are objects."""
    known = values.dropna() if values.dtype == object else []
    return len(known) > 0 and all(isinstance(each, bool) for each in known)


def _in_nanoseconds(values: pd.Series) -> bool:
    try:
        return pd.to_datetime(values).astype("datetime64[ns]").dt.tz is None
    except (pd.errors.OutOfBoundsDatetime, OverflowError, TypeError, ValueError, AttributeError):
        return False
