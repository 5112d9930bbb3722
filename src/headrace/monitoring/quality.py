"""Realised quality: predictions joined to labels that have become known, measured by calendar month of the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.clock import now
from headrace.lakehouse.commit import Upsert
from headrace.lakehouse.sql import column, quoted
from headrace.training.declarations import Binary
from headrace.training.metrics import evaluate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pandas as pd

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model

TABLE = "metrics.model_quality"
IDENTITY = ("model", "version", "month", "metric")


@dataclass(frozen=True, kw_only=True)
class Window:
    """A month of decisions.

    Attributes:
        month: `2013-05`, by the decision's UTC time.
        rows: predictions.
        labelled: those whose label is known.
        label_mean: mean of the label (the rate of a binary one); None for classes, or without labels.
        metrics: metric → value; None where it is not defined, such as an AUC of one class.
    """

    month: str
    rows: int
    labelled: int
    label_mean: float | None
    metrics: dict[str, float | None]


def realised(lakehouse: Lakehouse, model: Model, predictions: str, *, version: int, as_of: datetime) -> list[Window]:
    """Quality by month of one model version's predictions, with the labels known at `as_of`."""
    label = model.task.label
    keys = label.table.keys
    on = " and ".join(f"p.{column(key)} = l.{column(key)}" for key in keys)
    moment = f"timestamptz '{as_of.isoformat()}'"
    known = f"where {column(label.table.time)} <= {moment}" if label.table.time else ""
    latest = f"order by {column(label.table.time)} desc" if label.table.time else "order by 1"
    with lakehouse.connect({predictions: None, label.table.name: None}) as connection:
        frame = connection.execute(
            f"""
            with labels as (
                select * exclude (_rank) from (
                    select {", ".join(column(key) for key in keys)}, {column(label.name)} as _label,
                        row_number() over (partition by {", ".join(column(key) for key in keys)} {latest}) as _rank
                    from {quoted(label.table.name)} {known}
                ) where _rank = 1 and _label is not null
            )
            select p.* exclude (features), l._label, strftime(p.predicted_for, '%Y-%m') as _month
            from {quoted(predictions)} p left join labels l on {on}
            where p.model_version = {int(version)} and p.predicted_for < {moment}
            order by p.prediction_id
            """
        ).df()
    return [_window(model, str(month), rows) for month, rows in frame.groupby("_month", sort=True)]


def keep(lakehouse: Lakehouse, model: str, version: int, windows: Sequence[Window], *, id: str) -> None:  # noqa: A002
    """Writes windows into `metrics.model_quality`, one row a metric; a window that was measured before is replaced."""
    at = now()
    rows = [
        {
            "model": model,
            "version": version,
            "month": window.month,
            "metric": metric,
            "value": value,
            "rows": window.rows,
            "labelled": window.labelled,
            "label_mean": window.label_mean,
            "measured_at": at,
        }
        for window in windows
        for metric, value in window.metrics.items()
    ]
    made = pa.Table.from_pylist(rows, schema=SCHEMA)
    if made.num_rows:
        lakehouse.commit(TABLE, id, lambda _: Upsert(made, key=IDENTITY))


def _window(model: Model, month: str, rows: pd.DataFrame) -> Window:
    labelled = rows[rows["_label"].notna()]
    measures = {}
    if len(labelled):
        measured = evaluate(model.task, labelled["_label"], labelled, metrics=model.metrics)
        measures = {measure.metric: measure.value for measure in measured}
    numeric = isinstance(model.task, Binary)
    return Window(
        month=month,
        rows=len(rows),
        labelled=len(labelled),
        label_mean=float(labelled["_label"].astype(float).mean()) if len(labelled) and numeric else None,
        metrics={metric: measures.get(metric) for metric in model.metrics},
    )


SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("version", pa.int64()),
        ("month", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("rows", pa.int64()),
        ("labelled", pa.int64()),
        ("label_mean", pa.float64()),
        ("measured_at", pa.timestamp("us", "UTC")),
    ]
)
