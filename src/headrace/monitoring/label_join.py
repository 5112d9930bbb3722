"""Predictions of a version joined to the labels that are known at a moment."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headrace.lakehouse.identifiers import column, json_pointer, literal, quoted
from headrace.lakehouse.scan import duckdb_type
from headrace.monitoring import windows
from headrace.monitoring.columns import features_of, outputs_of, slices_of
from headrace.scoring.columns import is_log, key_columns, log_key
from headrace.training import labels as known_labels
from headrace.training.labels import moment_sql

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
class WindowState:
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

    def states(self) -> list[WindowState]:
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
        return [WindowState(**{**row, "start": row["start"].astimezone(UTC)}) for row in rows.to_pylist()]

    def rows(self, start: datetime) -> pd.DataFrame:
        """The predictions of a window, in an order that is always the same: outputs, `_label`, columns to slice by."""
        where = f"_start = {moment_sql(start)}"
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
    fitted: tuple[datetime, datetime] | None = None,
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
        fitted: the first and the last decision that the version was fitted on: what it says of those is no quality.

    Raises:
        NotFoundError: there is no such table, feature or column.
        DeclarationError: the label's table has no time.
    """
    snapshot = lakehouse.snapshot(predictions)
    known_labels.check_time(model.task)
    of_server = is_log(predictions)
    watched = outputs_of(snapshot.schema, model.task)
    outputs = model.task.read_by_metrics(snapshot.schema.names)
    cuts = slices_of(
        snapshot.schema,
        slices,
        features_of(snapshot.schema, watched),
        keys=model.decisions.table.keys,
        table=predictions,
    )
    with lakehouse.connect({predictions: snapshot.version, model.task.label.table.name: None}) as connection:
        labels = lakehouse.snapshot(model.task.label.table.name)
        connection.execute(f"create temp table known as {known_labels.known_sql(model.task, labels.schema, as_of)}")
        same = _same_decision(model, snapshot, labels)
        at = "p.decision_time::timestamptz"
        seen = f"and not {at} between {moment_sql(fitted[0])} and {moment_sql(fitted[1])}" if fitted else ""
        early = f"coalesce(known._first < {at}, false)"
        not_counted = _not_counted(connection, model, snapshot, as_of, same)
        chosen = ["p.prediction_id", *(f"p.{column(name)}" for name in outputs)]
        chosen += [f"p.{each.expression} as {column(SLICE + each.name)}" for each in cuts]
        # a server may have been asked for the same decision several times: the last answer counts
        last = "qualify row_number() over (partition by p.prediction_id order by p.requested_at desc) = 1"
        connection.execute(
            f"""
            create temp table joined as
            select {", ".join(chosen)}, {windows.sql(at, granularity)} as _start,
                case when not {early} then known._value end as {LABEL},
                {at} as _at, greatest(epoch(known._first - {at}), 0) as _delay
            from {quoted(predictions)} p
                left join known on {same} and known._value is not null
            where p.model = {literal(model.name)} and p.model_version = {int(version)} and {at} < {moment_sql(as_of)}
                {seen}
            {last if of_server else ""}
            """
        )
        yield Labelled(connection, outputs, as_of, not_counted)


def _not_counted(
    connection: duckdb.DuckDBPyConnection, model: Model, predictions: Snapshot, as_of: datetime, same: str
) -> NotCounted:
    label, made = model.task.label.table, quoted(predictions.name)
    time = column(label.time or "")
    rows = connection.sql(
        f"""
        select
            (
                select count(*) from known anti join {made} p on {same}
                where known._first >= (select min(decision_time)::timestamptz from {made})
            ) as unknown,
            (select coalesce(sum(_rows - 1), 0)::bigint from known) as replaced,
            (select count(*) from {quoted(label.name)} where {time}::timestamptz > {moment_sql(as_of)}) as not_yet
        """
    )
    return NotCounted(**rows.to_arrow_table().to_pylist()[0])


def _same_decision(model: Model, predictions: Snapshot, labels: Snapshot) -> str:
    """SQL that holds for a prediction `p` and the label row `known` of its decision. Keys are compared in their type."""
    stored = key_columns(model.decisions.table.keys)
    names = predictions.schema.names
    parts: list[str] = []
    for place, key in enumerate(model.task.label.table.keys):
        kind = duckdb_type(labels.schema.field(key).type)
        if not is_log(predictions.name):
            mine = f"p.{column(stored[key])}"
        else:  # rows that came without types have JSON alone
            text = f"json_extract_string(p.keys, {literal(json_pointer(key))})"
            mine = f"try_cast({text} as {kind})"
            if log_key(key) in names:
                mine = f"coalesce(p.{column(log_key(key))}, {mine})"
        parts.append(f"{mine} = known.{known_labels.key_name(place)}")
    return " and ".join(parts)
