"""The monitored columns of a table of predictions, and their names in results.

An output keeps its name. A feature keeps its name, too, unless the name is taken: a feature with the name of an output
(ignoring case) or of the row for the whole table, or one that looks already renamed, is reported as `features.<name>`.
So no two columns share a name, and a feature has the same name in every table, alert and message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pyarrow as pa

from headrace.core.errors import NotFoundError
from headrace.lakehouse.identifiers import column
from headrace.monitoring.blocks import MonitoredColumn
from headrace.scoring.columns import FEATURES, key_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.monitoring.blocks import Kind
    from headrace.training.tasks.base import Task

TABLE = ":table"  # the row about all columns together
INSIDE = f"{FEATURES}."


def outputs_of(schema: pa.Schema, task: Task) -> list[MonitoredColumn]:
    """What a model of this task predicts, in a table of predictions."""
    return [
        MonitoredColumn(name=name, expression=column(name), kind=_kind(schema.field(name).type))
        for name in task.watched(schema.names)
    ]


def features_of(schema: pa.Schema, outputs: Sequence[MonitoredColumn]) -> list[MonitoredColumn]:
    """The features that predictions were made from, under names that none of the outputs has."""
    taken = {TABLE, *(output.name.casefold() for output in outputs)}
    return [
        MonitoredColumn(
            name=_apart(field.name, taken),
            expression=f"{FEATURES}.{column(field.name)}",
            kind=_kind(field.type),
            feature=field.name,
        )
        for field in _fields(schema)
    ]


def slices_of(
    schema: pa.Schema, names: Sequence[str], features: Sequence[MonitoredColumn], *, keys: Sequence[str], table: str
) -> list[MonitoredColumn]:
    """Columns to slice by: a key of the spine, a feature by its name or as it is told, or another column of the predictions.

    In this order, so that a name means the same here as in training, which has keys and features and nothing else.

    Raises:
        NotFoundError: no such feature or column.
    """
    there = {name: column(name) for name in schema.names if name != FEATURES}
    there |= {each.name: each.expression for each in features}
    there |= {each.feature: each.expression for each in features if each.feature is not None}
    there |= {key: column(kept) for key, kept in key_columns(keys).items() if kept in schema.names}
    for name in names:
        if name not in there:
            raise NotFoundError(f"feature or column of {table}", name, sorted(there))
    plain = {each.expression: each.feature for each in features}
    return [
        MonitoredColumn(name=name, expression=there[name], kind="string", feature=plain.get(there[name]))
        for name in names
    ]


def _apart(name: str, taken: set[str]) -> str:
    low = name.casefold()
    return f"{INSIDE}{name}" if low in taken or low.startswith(INSIDE) else name


def _fields(schema: pa.Schema) -> list[pa.Field]:
    found = schema.field(FEATURES).type if FEATURES in schema.names else pa.struct([])
    return list(cast("pa.StructType", found)) if pa.types.is_struct(found) else []


def _kind(found: pa.DataType) -> Kind:
    return "string" if pa.types.is_string(found) or pa.types.is_large_string(found) else "number"
