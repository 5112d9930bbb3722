"""One answer of a model that answers, and how it came about."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import NotFoundError
from headrace.core.money import NANO_PER_DOLLAR
from headrace.operations.answer_log import (
    ANSWER,
    CUT,
    LOG,
    QUESTION,
    AnswerReport,
    FeedbackWord,
    answering,
    declared_log,
    read_log,
    shown,
    whole,
    words_on,
)
from headrace.operations.language_models import generation_models
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.operations.answer_log import Row
    from headrace.workspace.workspace import Workspace

NUMBERS = ("input_tokens", "output_tokens", "cost", "latency_ms")


@dataclass(frozen=True, kw_only=True)
class PassageReport(Record):
    """A passage that was retrieved for an answer; of a long one its beginning is kept."""

    id: str
    score: float
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class MessageReport(Record):
    """A message that was sent to a language model; of a long one its beginning is kept."""

    role: str
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ModelCallReport(Record):
    """A call of a language model.

    Attributes:
        prompt: the name of the prompt; empty where messages were given.
        prompt_version: the digest of its text.
        route: that answered.
        model: as the answer names it.
        input_tokens: that were sent, over all attempts.
        output_tokens: that were answered.
        cost_dollars: of the call.
        latency_ms: from the request to the end of the answer.
        attempts: requests to endpoints.
        cached: whether the cache answered.
        finish_reason: why the model ended.
        messages: what was sent; nothing where texts are left out of the log.
        text: what was answered; None where it is left out.
    """

    prompt: str
    prompt_version: str
    route: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_dollars: float
    latency_ms: float
    attempts: int
    cached: bool
    finish_reason: str
    messages: tuple[MessageReport, ...]
    text: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AnswerDetails(AnswerReport):
    """An answer with how it came about.

    Attributes:
        inputs: name → value; None where it is left out of the log.
        whole_answer: its text; None where it is left out.
        passages: that were retrieved, in the order of the searches.
        calls: of language models, in their order.
        words: the last words of people on it, with their texts, the latest first.
        client_request_id: what the caller sent as `X-Request-Id`; None where nothing.
        path: of the request.
        texts_kept: whether the log has the texts of the calls.
        redacted: what the deployment leaves out of its log now.
        times: how many answers the log has of this id: the latest one is shown, unless its request is named.
    """

    inputs: Mapping[str, str | None] = field(repr=False)
    whole_answer: str | None = field(repr=False)
    passages: tuple[PassageReport, ...]
    calls: tuple[ModelCallReport, ...]
    words: tuple[FeedbackWord, ...]
    client_request_id: str | None
    path: str
    texts_kept: bool
    redacted: tuple[str, ...]
    times: int


@operation("trace show", of="trace")
def show_answer(
    workspace: Workspace, trace: str, *, model: str | None = None, request: str | None = None
) -> AnswerDetails:
    """One answer: what was asked, retrieved, sent and answered, what it took, and what people said of it.

    Args:
        workspace: the environment.
        trace: the id of the prediction, or that of its request.
        model: that answered; None: any.
        request: the id of the request, where the same was answered several times; None: the latest.

    Raises:
        NotFoundError: there is no such model, or no such answer in its log.
    """
    for name in answering(generation_models(workspace), model):
        rows = read_log(
            workspace,
            name,
            f"""
            SELECT *, left({QUESTION}, $cut) AS question, length({QUESTION}) AS question_length, {ANSWER} AS whole,
                count(*) OVER () AS times
            FROM {LOG} WHERE model = $model AND (prediction_id = $trace OR request_id = $trace)
            QUALIFY row_number() OVER (
                ORDER BY coalesce(request_id = $request, false) DESC, requested_at DESC, request_id DESC, "row"
            ) = 1
            """,
            trace=trace,
            request=request,
            cut=CUT,
        )
        if rows:
            return _details(workspace, name, rows[0])
    raise NotFoundError(
        "answer",
        trace,
        None,
        hint="headrace trace list shows the latest; headrace run ingest-log takes over what servers have answered since.",
    )


def _details(workspace: Workspace, model: str, row: Row) -> AnswerDetails:
    outputs, inputs = _object(row["outputs"]), _object(row["inputs"])
    words = words_on(workspace, model, [row["prediction_id"]]).get(row["prediction_id"], [])
    text = row["whole"]
    calls = tuple(map(_call, _list(outputs.get("prediction_calls"))))
    report = shown(
        model,
        {
            **row,
            "answer": None if text is None else text[:CUT],
            "answer_length": len(text or ""),
            **{name: _number(outputs.get(f"prediction_{name}")) for name in NUMBERS},
            "finish_reason": outputs.get("prediction_finish_reason"),
        },
        words,
    )
    return AnswerDetails(
        **report,
        inputs={
            name: value if value is None or isinstance(value, str) else json.dumps(value)
            for name, value in inputs.items()
        },
        whole_answer=text,
        passages=tuple(
            PassageReport(
                id=str(each.get("id")), score=_number(each.get("score")) or 0.0, text=str(each.get("text", ""))
            )
            for each in _list(outputs.get("prediction_passages"))
        ),
        calls=calls,
        words=tuple(words),
        client_request_id=row["client_request_id"],
        path=row["path"],
        texts_kept=not calls or any(each.messages or each.text is not None for each in calls),
        redacted=declared_log(workspace, model).redacted,
        times=row["times"],
    )


def _call(given: Row) -> ModelCallReport:
    cost = _number(given.get("cost_nano")) or 0.0
    return ModelCallReport(
        prompt=str(given.get("prompt", "")),
        prompt_version=str(given.get("prompt_version", "")),
        route=str(given.get("route", "")),
        model=str(given.get("model", "")),
        input_tokens=whole(_number(given.get("input_tokens"))) or 0,
        output_tokens=whole(_number(given.get("output_tokens"))) or 0,
        cost_dollars=cost / NANO_PER_DOLLAR,
        latency_ms=_number(given.get("latency_ms")) or 0.0,
        attempts=whole(_number(given.get("attempts"))) or 0,
        cached=bool(given.get("cached")),
        finish_reason=str(given.get("finish_reason", "")),
        messages=tuple(MessageReport(role=str(role), text=str(text)) for role, text in given.get("messages", ())),
        text=given.get("text"),
    )


def _object(text: str | None) -> dict[str, Any]:
    with suppress(ValueError):
        found: object = json.loads(text or "{}")
        if isinstance(found, dict):
            return cast("dict[str, Any]", found)
    return {}


def _list(text: object) -> list[dict[str, Any]]:
    """A JSON list of objects in a column; nothing where it is not kept."""
    with suppress(ValueError):
        found: object = json.loads(text) if isinstance(text, str) else None
        if isinstance(found, list):
            return [cast("dict[str, Any]", each) for each in cast("list[object]", found) if isinstance(each, dict)]
    return []


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
