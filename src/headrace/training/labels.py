"""The label of a decision at a moment: one statement for training, comparison, back-test and quality.

Of all rows that the label's table has for the decision's key and that were known by then, the latest counts: the
greatest time; among rows of one time the one that was written last, then the greatest value. A null (or NaN) there
removes the label: the decision has none. A decision whose first label was known before the decision has none either,
because using it for training or evaluation would be a leak.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from headrace.core.errors import DeclarationError, NotFoundError
from headrace.features.plan import family
from headrace.lakehouse.columns import type_name
from headrace.lakehouse.identifiers import column, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import duckdb

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model
    from headrace.training.tasks.base import Task

WRITTEN = "_written_at"  # when a row of a feature table was last written


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The label of each decision, in the order of the decisions.

    Attributes:
        y: the label at the training moment; missing where there is none.
            In the type of the task: float64, or texts and whole numbers as objects.
        early: whether the label was known before the decision, so that it counts for nothing (`y` is missing).
        replaced: label rows that a later one of the same key replaced.
        not_yet: label rows that became known after the training moment and therefore do not exist for it.
    """

    y: pd.Series
    early: pd.Series
    replaced: int
    not_yet: int


class LabelTable:
    """The label's table, as it is now or as a version of it was.

    Args:
        lakehouse: where it is.
        task: says which table and column.
        version: of the table; None for the latest.

    Raises:
        DeclarationError: the table has no time.
    """

    def __init__(self, lakehouse: Lakehouse, task: Task, version: int | None = None) -> None:
        check_time(task)
        self._lakehouse, self._task = lakehouse, task
        self._snapshot = lakehouse.snapshot(task.label.table.name, version)

    def attach(self, decisions: pa.Table, *, at: str, as_of: datetime) -> Labels:
        """Finds the label of each decision; see the function."""
        with self._lakehouse.connect({self._snapshot.name: self._snapshot.version}) as connection:
            return attach(connection, self._snapshot.schema, decisions, task=self._task, at=at, as_of=as_of)


def attach(
    connection: duckdb.DuckDBPyConnection,
    schema: pa.Schema,
    decisions: pa.Table,
    *,
    task: Task,
    at: str,
    as_of: datetime,
) -> Labels:
    """Finds the label of each decision.

    Args:
        connection: where the label's table is.
        schema: of that table.
        decisions: one row each, with the key columns of the label's table, and its moment.
        task: says which table and column.
        at: the column with the moment.
        as_of: the training moment.

    Raises:
        DataError: a label is not what the task predicts.
    """
    table = task.label.table
    names = [key_name(place) for place in range(len(table.keys))]
    wanted = {name: decisions[key] for name, key in zip(names, table.keys, strict=True)}
    connection.register("__decisions", pa.table({**wanted, "_at": decisions[at], "_row": np.arange(len(decisions))}))
    same = " and ".join(f"d.{name} = known.{name}" for name in names)
    known = known_sql(task, schema, as_of)
    found = connection.sql(
        f"""
        with known as ({known})
        select known._value as value, coalesce(known._first < d._at::timestamptz, false) as early
        from __decisions d left join known on {same}
        order by d._row
        """
    ).to_arrow_table()
    counts = connection.sql(
        f"""
        select coalesce(sum(_rows - 1), 0)::bigint as replaced,
            (select count(*) from {quoted(table.name)} where {_time(task)} > {moment_sql(as_of)}) as not_yet
        from ({known})
        """
    ).to_arrow_table()
    connection.unregister("__decisions")
    early = found["early"].to_pandas().astype(bool)
    values = checked(found["value"].drop_null().to_pandas(), task)
    y = pd.Series(None, index=early.index, dtype=object)
    y[found["value"].is_valid().to_pandas()] = values.to_numpy()
    y[early] = None
    typed = y if values.dtype == object else y.astype(values.dtype)
    return Labels(y=typed, early=early, **counts.to_pylist()[0])


# ---------------------------------------------------------------------------------------------- the statement


def known_sql(task: Task, schema: pa.Schema, as_of: datetime) -> str:
    """SELECT of one row for each key that has a label row known at a moment.

    Its columns have names that no key has: `_key_0`, `_key_1`, …; `_value`, null where the label was taken back; `_first`,
    when the first of the rows became known; `_rows`, how many there are.
    """
    label = task.label
    keys = ", ".join(f"{column(key)} as {key_name(place)}" for place, key in enumerate(label.table.keys))
    value, time = task.label_sql, _time(task)
    if pa.types.is_floating(schema.field(label.name).type):
        value = f"case when not isnan({value}) then {value} end"
    written = f"coalesce({column(WRITTEN)}, timestamptz '-infinity')" if WRITTEN in schema.names else "null"
    order = f"struct_pack(_time := {time}, _written := {written}, _value := {value})"
    places = ", ".join(map(str, range(1, len(label.table.keys) + 1)))
    return f"""
        select {keys}, arg_max(struct_pack(_value := {value}), {order})._value as _value,
            min({time}) as _first, count(*) as _rows
        from {quoted(label.table.name)} where {time} <= {moment_sql(as_of)}
        group by {places}
        """


def key_name(place: int) -> str:
    """What the key column at a place of the label's key is called in `known_sql`."""
    return f"_key_{place}"


def moment_sql(moment: datetime) -> str:
    """A moment as SQL."""
    return f"timestamptz '{moment.isoformat()}'"


def check_time(task: Task) -> None:
    """Refuses a label whose table does not say when it became known.

    Raises:
        DeclarationError: the table has no time.
    """
    table = task.label.table
    if table.time is None:
        raise DeclarationError(
            f"{table.where}: {table.name!r} holds the label {task.label.name!r} and needs time=, the column with the moment when it became known.",
            hint="Only labels that were known at a moment exist for it.",
        )


def check_label(model: Model, schemas: Mapping[str, pa.Schema]) -> None:
    """Refuses a label that can never meet its decision.

    Args:
        model: says the label and the spine.
        schemas: of both tables.

    Raises:
        DeclarationError: a key has another type than the spine's, or the time is none.
        NotFoundError: a column is not there.
    """
    check_time(model.task)
    label, spine = model.task.label.table, model.decisions.table
    there = schemas[label.name]
    for name in (*label.keys, label.time or ""):
        if name not in there.names:
            raise NotFoundError(f"column of {label.name}", name, there.names, hint=f"Declared at {label.where}.")
    time = there.field(label.time or "").type
    if not (pa.types.is_timestamp(time) or pa.types.is_date(time)):
        raise DeclarationError(
            f"{label.where}: {label.time!r} of {label.name!r} is {type_name(time)}, not a time.",
            hint="time= is the column with the moment when a label became known: cast it in the table's SQL.",
        )
    for key in label.keys:
        ours, theirs = schemas[spine.name].field(key).type, there.field(key).type
        if family(ours) != family(theirs):
            raise DeclarationError(
                f"{label.where}: key {key!r} of {label.name!r} is {type_name(theirs)}, but of spine {spine.name!r} it is {type_name(ours)}.",
                hint="Cast one of them in its table's SQL: keys of different types never meet.",
            )


def _time(task: Task) -> str:
    return f"{column(task.label.table.time or '')}::timestamptz"


# ---------------------------------------------------------------------------------------------- values


def instants(values: pd.Series) -> pd.Series:
    """A column of times as UTC; without a zone it is UTC."""
    return pd.Series(pd.to_datetime(values, utc=True), index=values.index).astype(pd.DatetimeTZDtype("us", "UTC"))


def checked(values: pd.Series, task: Task) -> pd.Series:
    """Labels as the task needs them; decimals are numbers.

    Raises:
        DataError: a value is none.
    """
    if values.dtype == object and any(isinstance(value, Decimal) for value in values):
        values = _without_decimals(values)
    return task.check(values)


def _without_decimals(values: pd.Series) -> pd.Series:
    """Whole numbers where all of them are whole, else float64."""
    if all(value == value.to_integral_value() for value in values):
        return pd.Series([int(value) for value in values], index=values.index, dtype=object).infer_objects()
    return values.astype("float64")
