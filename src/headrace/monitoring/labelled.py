"""Predictions of a version joined to the labels that are known at a moment."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.errors import DeclarationError, NotFoundError
from headrace.lakehouse.sql import column, literal, quoted
from headrace.monitoring import windows

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import duckdb
    import pandas as pd

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.monitoring.declarations import Granularity
    from headrace.training.declarations import Model

LABEL = "_label"
SLICE = "_slice "  # before the name of a column to slice by
USUAL = 0.99  # of the known labels took at most the time that is waited for


@dataclass(frozen=True, kw_only=True)
class State:
    """What is in a window.

    Attributes:
        start: its beginning, UTC.
        rows: predictions.
        labelled: those whose label is known.
        checksum: any other prediction or label makes it another one.
    """

    start: datetime
    rows: int
    labelled: int
    checksum: str


@dataclass(frozen=True, kw_only=True)
class NotCounted:
    """Labels that make no difference.

    Attributes:
        unknown: of decisions that no version predicted, known since the first prediction.
        replaced: by a later one of the same decision.
        not_yet: of a later time, which do not exist yet.
    """

    unknown: int
    replaced: int
    not_yet: int


@dataclass(frozen=True)
class Labelled:
    """Each prediction of a version once, with its window, and its label where that is known."""

    connection: duckdb.DuckDBPyConnection
    outputs: Sequence[str]
    as_of: datetime
    not_counted: NotCounted

    def wait(self) -> timedelta | None:
        """How long 99 % of the known labels took to come.

        None while that cannot be told: it is believed up to half of the time since the first decision, for early on only
        the quick labels can be there, whatever the slow ones will take.
        """
        sql = f"select quantile_cont(_delay, {USUAL}), epoch(min(_at)) from joined"
        delay, first = self.connection.sql(sql).fetchall()[0]
        if delay is None or delay > (self.as_of.timestamp() - first) / 2:
            return None
        return timedelta(seconds=delay)

    def states(self) -> list[State]:
        """The windows that have predictions, in order of time."""
        parts = ["prediction_id", *(column(name) for name in self.outputs), LABEL]
        text = " || '|' || ".join(f"coalesce({part}::varchar, '')" for part in parts)
        rows = self.connection.sql(
            f"""
            select _start as start, count(*) as rows, count({LABEL}) as labelled,
                to_hex(bit_xor(md5_number_lower({text}))) as checksum
            from joined group by _start order by _start
            """
        ).to_arrow_table()
        return [State(**{**row, "start": row["start"].astimezone(UTC)}) for row in rows.to_pylist()]

    def rows(self, start: datetime) -> pd.DataFrame:
        """The predictions of a window, in an order that is always the same: outputs, `_label`, columns to slice by."""
        where = f"_start = {_moment(start)}"
        rows = self.connection.sql(f"select * exclude (_start, _at, _delay) from joined where {where}")
        return rows.order("prediction_id").df()


@contextmanager
def labelled(
    lakehouse: Lakehouse,
    model: Model,
    predictions: str,
    *,
    version: int,
    as_of: datetime,
    granularity: Granularity,
    slices: Sequence[str] = (),
) -> Generator[Labelled]:
    """Joins them, in a connection that ends with the block.

    Args:
        lakehouse: the tables.
        model: says the label.
        predictions: a table of batch scoring, which has the keys as columns, or of a server, which keeps them as JSON.
        version: of the model.
        as_of: neither labels nor decisions of a later time exist.
        granularity: of the windows.
        slices: features or columns of the predictions.

    Raises:
        NotFoundError: there is no such table, feature or column.
        DeclarationError: the label's table has no time.
    """
    snapshot = lakehouse.snapshot(predictions)
    names = snapshot.schema.names
    outputs = [name for name in names if name == "prediction" or name.startswith("probability")]
    with lakehouse.connect({predictions: snapshot.version, model.task.label.table.name: None}) as connection:
        _latest_labels(connection, model, as_of)
        not_counted = _not_counted(connection, model, snapshot, as_of)
        at = "p.predicted_for::timestamptz"
        chosen = ["p.prediction_id", *(f"p.{column(name)}" for name in outputs)]
        chosen += [f"{_slice(snapshot, name)} as {column(SLICE + name)}" for name in slices]
        # a server may have been asked for the same decision several times: the last answer counts
        last = "qualify row_number() over (partition by p.prediction_id order by p.asked_at desc) = 1"
        connection.execute(
            f"""
            create temp table joined as
            select {", ".join(chosen)}, {windows.sql(at, granularity)} as _start, known.{LABEL},
                {at} as _at, greatest(epoch(known._first::timestamptz - {at}), 0) as _delay
            from {quoted(predictions)} p
                left join known on {_same_decision(model, snapshot)} and known.{LABEL} is not null
            where p.model = {literal(model.name)} and p.model_version = {int(version)} and {at} < {_moment(as_of)}
            {last if "asked_at" in names else ""}
            """
        )
        yield Labelled(connection, outputs, as_of, not_counted)


def _latest_labels(connection: duckdb.DuckDBPyConnection, model: Model, as_of: datetime) -> None:
    """Makes the table `known`: of each decision the label that was the last to become known, null where that was taken back."""
    label = model.task.label
    if label.table.time is None:
        raise DeclarationError(
            f"{label.table.where}: {label.table.name!r} holds the label {label.name!r} and needs time=, the column with the moment when it became known."
        )
    keys = ", ".join(column(key) for key in label.table.keys)
    time, value = column(label.table.time), column(label.name)
    connection.execute(
        f"""
        create temp table known as
        select {keys}, arg_max(struct_pack(_value := {value}), struct_pack(_time := {time}, _value := {value}))._value as {LABEL},
            min({time}) as _first, count(*) as _labels
        from {quoted(label.table.name)} where {time} <= {_moment(as_of)}
        group by {keys}
        """
    )


def _not_counted(
    connection: duckdb.DuckDBPyConnection, model: Model, predictions: Snapshot, as_of: datetime
) -> NotCounted:
    label, made = model.task.label.table, quoted(predictions.name)
    assert label.time is not None
    time = column(label.time)
    rows = connection.sql(
        f"""
        select
            (
                select count(*) from known anti join {made} p on {_same_decision(model, predictions)}
                where known._first::timestamptz >= (select min(predicted_for)::timestamptz from {made})
            ) as unknown,
            (select coalesce(sum(_labels - 1), 0)::bigint from known) as replaced,
            (select count(*) from {quoted(label.name)} where {time} > {_moment(as_of)}) as not_yet
        """
    )
    return NotCounted(**rows.to_arrow_table().to_pylist()[0])


def _same_decision(model: Model, predictions: Snapshot) -> str:
    return " and ".join(
        f"p.{column(key)} = known.{column(key)}"
        if key in predictions.schema.names
        else f"json_extract_string(p.keys, {literal(f'$.{column(key)}')}) = known.{column(key)}::varchar"
        for key in model.task.label.table.keys
    )


def _slice(predictions: Snapshot, name: str) -> str:
    schema = predictions.schema
    if name in schema.names:
        return f"p.{column(name)}"
    features = schema.field("features").type if "features" in schema.names else pa.struct([])
    fields = [field.name for field in features] if pa.types.is_struct(features) else []
    if name not in fields:
        raise NotFoundError(f"feature or column of {predictions.name}", name, [*fields, *schema.names])
    return f"p.features.{column(name)}"


def _moment(moment: datetime) -> str:
    return f"timestamptz '{moment.isoformat()}'"
