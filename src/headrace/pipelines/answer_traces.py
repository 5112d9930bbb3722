"""Answers as traces in MLflow: those of an evaluation, of a table of answers, and served ones as their log is ingested."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from headrace.chains.answer_trace import ENVIRONMENT, ORIGIN, VERSION, answer_trace
from headrace.scoring.columns import FEATURES, ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from headrace.deployment.declarations import Deployment
    from headrace.inference.inference_record import Row
    from headrace.tracking.tracking import Tracking

MOST = 5_000  # served answers that become traces in one ingestion of the log


def trace_answers(
    tracking: Tracking,
    model: str,
    inputs: pd.DataFrame,
    answers: pd.DataFrame,
    *,
    keys: Sequence[str],
    ended: Sequence[datetime],
    tags: Mapping[str, str],
    run_id: str = "",
) -> int:
    """Writes the traces of answers that are in memory; gives their number. What is written again replaces itself.

    Args:
        tracking: where they go.
        model: that answered.
        inputs: a row an answer, the columns that the model was given.
        answers: the columns of the output, in the same order.
        keys: the id of each.
        ended: when each was there.
        tags: for searches in MLflow.
        run_id: the MLflow run that they belong to; empty for none.

    Raises:
        UnavailableError: MLflow does not take them now.
    """
    given = cast("list[dict[str, Any]]", inputs.to_dict("records"))
    made = cast("list[dict[str, Any]]", answers.to_dict("records"))
    traces = [
        answer_trace(asked, row, key=key, model=model, ended=when, tags=tags, run_id=run_id)
        for key, asked, row, when in zip(keys, given, made, ended, strict=True)
    ]
    tracking.log_traces(model, traces)
    return len(traces)


def trace_scored(tracking: Tracking, deployment: Deployment, environment: str) -> Callable[[pa.Table, int], int] | None:
    """What writes the traces of answers of batch scoring; None where the model has none.

    Args:
        tracking: where they go.
        deployment: says which share of the answers have a trace.
        environment: its name, a tag of each trace.

    Returns:
        Takes prediction records, and the version that made them; gives the number of traces. It raises UnavailableError where
        MLflow takes none now.
    """
    if deployment.model.predict is None or not deployment.traces:
        return None
    hidden = deployment.serve.redact if deployment.serve is not None else ()

    def write(records: pa.Table, version: int) -> int:
        rows = [row for row in records.to_pylist() if _is_chosen(row[ID], deployment.traces)]
        return trace_answers(
            tracking,
            deployment.name,
            pd.DataFrame([_without(row[FEATURES], hidden) for row in rows]),
            pd.DataFrame([_without(row, hidden) for row in rows]),
            keys=[row[ID] for row in rows],
            ended=[row["scored_at"] for row in rows],
            tags={VERSION: str(version), ENVIRONMENT: environment, ORIGIN: "batch"},
        )

    return write


def keeps_texts(deployment: Deployment) -> bool:
    """Whether answers keep the texts of searches and calls, of which traces are made. They hold what is redacted."""
    return bool(deployment.traces) and not (deployment.serve is not None and deployment.serve.redact)


def _without(values: Mapping[str, Any], hidden: Sequence[str]) -> dict[str, Any]:
    return {name: None if name in hidden else value for name, value in values.items()}


def trace_served(
    tracking: Tracking, deployment: Deployment, environment: str
) -> Callable[[Sequence[Row]], tuple[int, int]] | None:
    """What writes the traces of served answers, for `inference.ingest`; None where the model has none.

    Args:
        tracking: where they go.
        deployment: says which share of the answers have a trace.
        environment: its name, a tag of each trace.

    Returns:
        Takes rows of the log; gives the number of traces, and of answers that are beyond the most of one ingestion. It raises
        UnavailableError where MLflow takes none now.
    """
    if deployment.model.predict is None or not deployment.traces:
        return None
    left = MOST

    def write(rows: Sequence[Row]) -> tuple[int, int]:
        nonlocal left
        chosen = [row for row in rows if _is_chosen(str(row.values["prediction_id"]), deployment.traces)]  # noqa: PD011  # no frame
        beyond = max(len(chosen) - left, 0)
        chosen = chosen[:left]
        left -= len(chosen)
        tracking.log_traces(deployment.name, [_trace(row.values, deployment.name, environment) for row in chosen])
        return len(chosen), beyond

    return write


def _is_chosen(prediction_id: str, share: float) -> bool:
    """The same answer is, or is not, whoever asks."""
    return int.from_bytes(blake2b(prediction_id.encode(), digest_size=4).digest()) < share * 2**32


def _trace(values: Mapping[str, Any], model: str, environment: str) -> Any:
    tags = {
        VERSION: str(values["model_version"]),
        ENVIRONMENT: environment,
        ORIGIN: "shadow" if values["role"] == "shadow" else "served",
        "headrace.request_id": str(values["request_id"]),
    }
    return answer_trace(
        json.loads(values["inputs"]),
        json.loads(values["outputs"]),
        key=values["prediction_id"],
        model=model,
        ended=values["requested_at"],
        tags=tags,
    )
