"""The answers of a version to its evaluation data, and what each is worth: two versions are compared by them, and nobody is asked again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.ids import digest
from headrace.lakehouse.writes import Append
from headrace.training.generated import PASSAGES, PREDICTION, references
from headrace.training.metrics.base import UndefinedMetricError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model
    from headrace.training.metrics.base import Metric

TABLE = "metrics.evaluated_answers"
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("run_id", pa.string()),
        ("question_id", pa.string()),
        ("inputs", pa.string()),
        ("reference", pa.string()),
        ("answer", pa.string()),
        ("passages", pa.string()),
        ("scores", pa.string()),
        ("cost", pa.float64()),
        ("latency_ms", pa.float64()),
    ]
)


def keep(
    lakehouse: Lakehouse,
    model: Model,
    rows: pd.DataFrame,
    y: pd.Series,
    output: pd.DataFrame,
    *,
    inputs: Sequence[str],
    id: str,  # noqa: A002
    run_id: str,
) -> None:
    """Writes one row for each question.

    Args:
        lakehouse: where the table is.
        model: its name and metrics.
        rows: full rows.
        y: the labels, same length.
        output: the answers, with the verdicts of judges, same length.
        inputs: the columns that the answers were made from.
        id: the write's identity.
        run_id: of the MLflow run.
    """
    answered = output.reset_index(drop=True)
    labels = y.reset_index(drop=True)
    records: list[dict[str, object]] = []
    for place, given in enumerate(rows[list(inputs)].to_dict("records")):
        one = slice(place, place + 1)
        made = answered.iloc[place]
        asked = {str(name): value for name, value in given.items()}
        records.append(
            {
                "model": model.name,
                "run_id": run_id,
                "question_id": digest([asked, str(labels.iloc[place])]),
                "inputs": json.dumps(asked, ensure_ascii=False),
                "reference": json.dumps(references(labels.iloc[place]), ensure_ascii=False),
                "answer": made[PREDICTION],
                "passages": json.dumps([each["id"] for each in json.loads(made[PASSAGES])], ensure_ascii=False),
                "scores": json.dumps(_scores(model.measured, labels.iloc[one], answered.iloc[one])),
                "cost": made[f"{PREDICTION}_cost"],
                "latency_ms": made[f"{PREDICTION}_latency_ms"],
            }
        )
    lakehouse.commit(TABLE, id, lambda _: Append(pa.Table.from_pylist(records, schema=SCHEMA)))


def _scores(metrics: Sequence[Metric], y: pd.Series, output: pd.DataFrame) -> Mapping[str, float | None]:
    """Each metric on one answer; None where it has no value there."""
    return {metric.name: _score(metric, y, output) for metric in metrics}


def _score(metric: Metric, y: pd.Series, output: pd.DataFrame) -> float | None:
    try:
        return metric.measure(y, output)
    except UndefinedMetricError:
        return None
