"""The trace of an answer, out of the columns in which it is kept."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from headrace.core.money import NANO_PER_DOLLAR
from headrace.tracking.traces import Trace, TraceSpan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

PREDICTION_ID, MODEL, VERSION = "headrace.prediction_id", "headrace.model", "headrace.version"
ENVIRONMENT, ORIGIN = "headrace.environment", "headrace.origin"


def answer_trace(
    inputs: Mapping[str, object],
    row: Mapping[str, object],
    *,
    key: str,
    model: str,
    ended: datetime,
    tags: Mapping[str, str],
    run_id: str = "",
    user: str = "",
) -> Trace:
    """The trace of an answer.

    Args:
        inputs: by name; None for what is not kept.
        row: the columns of `Answer.row`; without texts, a call shows the name of its prompt in their place. What is missing, or
            None, is left out.
        key: the id of the prediction.
        model: that answered.
        ended: when it had answered.
        tags: for searches in MLflow.
        run_id: the MLflow run that it belongs to; empty for none.
        user: who asked; empty for nobody.
    """
    latency = _number(row.get("prediction_latency_ms"))
    output = row.get("prediction")
    return Trace(
        key=key,
        name=model,
        began=ended - timedelta(milliseconds=latency),
        latency_ms=latency,
        inputs=dict(inputs),
        output=output,
        spans=sorted((*_searches(row), *_calls(row, output)), key=lambda span: span.began_ms),
        tags={PREDICTION_ID: key, MODEL: model, **tags},
        user=user,
        run_id=run_id,
    )


def _searches(row: Mapping[str, object]) -> Iterator[TraceSpan]:
    passages = iter(_list(row.get("prediction_passages")))
    for each in _list(row.get("prediction_searches")):
        found = [passage for _, passage in zip(range(int(each["found"])), passages, strict=False)]
        yield TraceSpan(
            name=f"search {each['index']}",
            kind="RETRIEVER",
            inputs={"query": each.get("text"), "k": each["k"]},
            outputs=[
                {"page_content": one["text"], "metadata": {"score": one["score"]}, "id": one["id"]} for one in found
            ],
            attributes={"headrace.index": each["index"]},
            began_ms=_number(each["began_ms"]),
            latency_ms=_number(each["latency_ms"]),
        )


def _calls(row: Mapping[str, object], output: object) -> Iterator[TraceSpan]:
    calls = _list(row.get("prediction_calls"))
    for each in calls:
        text = each.get("text", output if len(calls) == 1 else None)
        messages = [{"role": role, "content": content} for role, content in each.get("messages", ())]
        cost, input_cost = each["cost_nano"], each["input_cost_nano"]
        yield TraceSpan(
            name=f"{each['prompt'] or 'chat'} by {each['route'] or each['model']}",
            kind="CHAT_MODEL",
            inputs={"messages": messages} if messages else {"prompt": each["prompt"]},
            outputs={
                "model": each["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": each.get("finish_reason") or "stop",
                    }
                ],
            },
            attributes={
                "mlflow.message.format": "openai",
                "mlflow.llm.model": each["model"],
                "mlflow.chat.tokenUsage": {
                    "input_tokens": each["input_tokens"],
                    "output_tokens": each["output_tokens"],
                    "total_tokens": each["input_tokens"] + each["output_tokens"],
                },
                "mlflow.llm.cost": {
                    "input_cost": input_cost / NANO_PER_DOLLAR,
                    "output_cost": (cost - input_cost) / NANO_PER_DOLLAR,
                    "total_cost": cost / NANO_PER_DOLLAR,
                },
                **({"mlflow.llm.provider": each["provider"]} if each["provider"] else {}),
                "headrace.prompt": each["prompt"],
                "headrace.prompt_version": each["prompt_version"],
                "headrace.route": each["route"],
                "headrace.cached": each["cached"],
                "headrace.attempts": each["attempts"],
                "headrace.call_id": each["call_id"],
            },
            began_ms=_number(each.get("began_ms")),
            latency_ms=_number(each["latency_ms"]),
        )


def _list(kept: object) -> list[dict[str, Any]]:
    """A JSON list of a column; nothing where it is not kept."""
    return cast("list[dict[str, Any]]", json.loads(kept)) if isinstance(kept, str) and kept else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value == value else 0.0  # noqa: PLR0124  # NaN
