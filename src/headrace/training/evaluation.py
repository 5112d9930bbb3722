"""Evaluation of a version on the held-out rows, in the form in which it will predict: loaded back from MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.lakehouse.writes import Append
from headrace.training.measures import by_name, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model
    from headrace.training.training_set import TrainingSet

TABLE = "metrics.evaluations"


def judge(
    lakehouse: Lakehouse,
    model: Model,
    data: TrainingSet,
    predict: Callable[[pd.DataFrame], pd.DataFrame],
    *,
    id: str,  # noqa: A002
    run_id: str,
) -> dict[str, float | None]:
    """Measures the test rows, whole and by slice, into `metrics.evaluations`.

    Args:
        lakehouse: where the table is.
        model: its task, metrics and slices.
        data: the training set that the version was fitted on.
        predict: full rows → the task's output.
        id: the write's identity.
        run_id: of the MLflow run.

    Returns:
        The metrics on all test rows.
    """
    rows = data.rows.loc[data.part("test")]
    slices = rows[list(model.evaluate.slices)] if model.evaluate.slices else None
    measures = evaluate(model.task, data.y.loc[rows.index], predict(rows), slices, metrics=model.measured)
    records = pa.Table.from_pylist(
        [
            {
                "model": model.name,
                "run_id": run_id,
                "part": "test",
                "slice_key": measure.slice_key,
                "slice_value": measure.slice_value,
                "metric": measure.metric,
                "value": measure.value,
                "rows": measure.rows,
                "reason": measure.reason,
            }
            for measure in measures
        ],
        schema=SCHEMA,
    )
    lakehouse.commit(TABLE, id, lambda _: Append(records))
    return by_name(measures)


SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("run_id", pa.string()),
        ("part", pa.string()),
        ("slice_key", pa.string()),
        ("slice_value", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("rows", pa.int64()),
        ("reason", pa.string()),
    ]
)
