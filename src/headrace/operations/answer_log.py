"""The inference log of models that answer, as lists and traces read it, with what people said of the answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.core.errors import HeadraceError, NotFoundError
from headrace.deployment.declarations import Deployment
from headrace.operations.record import Record
from headrace.scoring.columns import log_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.workspace.workspace import Workspace

    Row = Mapping[str, Any]

WORDS, WORDS_IN_SQL = "metrics.feedback", '"metrics"."feedback"'
LOG = "the_log"  # stands for its name in SQL
CUT = 200  # characters of a question and an answer in a list
# the last word of each person on each answer, in each kind
LAST_WORDS = """
SELECT prediction_id, kind, value, text, "user", source, "at" FROM "metrics"."feedback" WHERE model = $model
QUALIFY row_number() OVER (
    PARTITION BY prediction_id, kind, coalesce("user", ''), coalesce(api_key, '') ORDER BY "at" DESC, feedback_id DESC
) = 1
"""
QUESTION = "array_to_string(try(json_extract_string(inputs, '$.*')), chr(10))"
ANSWER = "try(json_extract_string(outputs, '$.prediction'))"


@dataclass(frozen=True, kw_only=True)
class LogReport(Record):
    """What the deployment of a model declares of its log now.

    Attributes:
        model: its name.
        log: `required`, `best_effort` or `none`; None where no deployment serves it.
        sample: the share of the requests that is logged.
        redacted: inputs and outputs whose values are left out.
    """

    model: str
    log: str | None
    sample: float
    redacted: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FeedbackWord(Record):
    """The last word of one person on an answer, in one kind.

    Attributes:
        kind: `thumbs`, `score`, `correction`, `text`, `retry`, `copy` or `handover`.
        value: 1 for thumbs up and what people do, 0 for thumbs down, or the score; None for texts.
        text: the correction or the comment; None for other kinds.
        user: the pseudonym of the person; None where none was sent.
        source: `api`, `widget`, `sdk` or `simulated`.
        at: when the server took it.
    """

    kind: str
    value: float | None
    text: str | None
    user: str | None
    source: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class AnswerReport(Record):
    """An answer, as lists show it.

    Attributes:
        trace: names it: the id of the prediction.
        request: the id of the request.
        model: that answered.
        version: its number.
        role: `primary`, `candidate` or `shadow`: what shadows answer, nobody gets.
        at: when it was requested.
        question: the first 200 characters of the inputs; None where they are left out of the log.
        question_length: characters of the whole.
        answer: the first 200 characters; None where it is left out.
        answer_length: characters of the whole.
        finish_reason: `stop`, `length`, `content_filter`, `cancelled` or `error`.
        input_tokens: that were sent; None where it is not logged, as below.
        output_tokens: that were answered.
        cost_dollars: of all calls.
        latency_ms: from the request to its answer.
        feedback: on it: the last words of people, without their texts: `thumbs down`, `score 4`, `correction`.
    """

    trace: str
    request: str
    model: str
    version: int
    role: str
    at: datetime
    question: str | None = field(repr=False)
    question_length: int
    answer: str | None = field(repr=False)
    answer_length: int
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_dollars: float | None
    latency_ms: float | None
    feedback: tuple[str, ...]


def answering(models: Sequence[str], model: str | None) -> Sequence[str]:
    """The models whose answers are read.

    Args:
        models: those that answer.
        model: the name of one of them; None: all.

    Raises:
        NotFoundError: it is none of them.
    """
    if model is None:
        return models
    if model not in models:
        raise NotFoundError(
            "model that answers", model, models, hint="A model with predict= answers: headrace model list"
        )
    return (model,)


def shown(model: str, row: Row, words: Sequence[FeedbackWord]) -> dict[str, Any]:
    """What a list has of an answer."""
    latency = row["latency_ms"] if row["latency_us"] is None else row["latency_us"] / 1_000
    return {
        "trace": row["prediction_id"],
        "request": row["request_id"],
        "model": model,
        "version": row["model_version"],
        "role": row["role"],
        "at": row["requested_at"],
        "question": row["question"] or None,
        "question_length": row["question_length"] or 0,
        "answer": row["answer"],
        "answer_length": row["answer_length"] or 0,
        "finish_reason": row["finish_reason"],
        "input_tokens": whole(row["input_tokens"]),
        "output_tokens": whole(row["output_tokens"]),
        "cost_dollars": row["cost"],
        "latency_ms": latency,
        "feedback": tuple(dict.fromkeys(map(_said, words))),
    }


def words_on(workspace: Workspace, model: str, traces: Sequence[str]) -> dict[str, list[FeedbackWord]]:
    """The last words of people on these answers, the latest first."""
    if not traces or not workspace.lakehouse.exists(WORDS):
        return {}
    with workspace.lakehouse.connect({WORDS: None}) as connection:
        rows = connection.sql(
            f'SELECT * FROM ({LAST_WORDS}) AS said WHERE list_contains($traces, prediction_id) ORDER BY "at" DESC',
            params={"model": model, "traces": list(traces)},
        ).to_arrow_table()
    found: dict[str, list[FeedbackWord]] = {}
    for row in rows.to_pylist():
        found.setdefault(row.pop("prediction_id"), []).append(FeedbackWord(**row))
    return found


def read_log(workspace: Workspace, model: str, sql: str, **values: object) -> list[Row]:
    """The rows of a SELECT over the log of a model; none where nothing is logged yet."""
    log = log_table(model)
    if not workspace.lakehouse.exists(log):
        return []
    schema, _, name = log.partition(".")
    tables = [log, *((WORDS,) if WORDS_IN_SQL in sql else ())]
    with workspace.lakehouse.connect(dict.fromkeys(tables)) as connection:
        found = connection.sql(sql.replace(LOG, f'"{schema}"."{name}"'), params={"model": model, **values})
        return found.to_arrow_table().to_pylist()


def declared_log(workspace: Workspace, model: str) -> LogReport:
    """What is logged of a model, as declared now; nothing where the program is broken."""
    declared = None
    with suppress(HeadraceError):
        declared = next((each for each in workspace.project.all(Deployment) if each.name == model), None)
    serve = None if declared is None else declared.serve
    if serve is None:
        return LogReport(model=model, log=None, sample=1.0, redacted=())
    return LogReport(model=model, log=serve.log, sample=serve.sample, redacted=tuple(serve.redact))


def _said(word: FeedbackWord) -> str:
    if word.kind == "thumbs":
        return f"thumbs {'up' if word.value else 'down'}"
    return f"score {word.value:g}" if word.kind == "score" and word.value is not None else word.kind


def whole(value: float | None) -> int | None:
    """A number of tokens, which outputs have as every number; None where it is not logged."""
    return None if value is None else int(value)
