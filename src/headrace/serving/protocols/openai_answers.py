"""Answers in the shapes of OpenAI's protocol, whole and as events."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from headrace.serving.messages import Event
from headrace.training.generated import FINISH_REASON, PREDICTION

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from headrace.serving.protocols.prediction_request import RequestPart

DONE = Event(b"[DONE]")
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}  # finish reason → as responses name it
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Made(NamedTuple):
    """An answer.

    Attributes:
        text: of it.
        input_tokens: that its calls of language models sent.
        output_tokens: that they answered.
        finish_reason: why the last of them ended: `length` where a limit of tokens cut it, `content_filter`, otherwise `stop`.
    """

    text: str
    input_tokens: int
    output_tokens: int
    finish_reason: str = "stop"


def made(part: RequestPart) -> Made:
    """The answer of a part that has one."""
    found = dict(zip(part.serving.columns, part.answers[0], strict=True))
    sent, answered = (int(found[f"{PREDICTION}_{which}_tokens"]) for which in ("input", "output"))
    reason = found[FINISH_REASON]
    return Made(found[PREDICTION], sent, answered, reason if reason in INCOMPLETE else "stop")


def refused(status: int, message: str) -> bytes:
    """The body of a refusal."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": None}})


def chat(name: str, model: str, answer: Made) -> bytes:
    """Of `/v1/chat/completions`."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    return orjson.dumps({**_head(name, "chat.completion", model), "choices": [choice], "usage": _usage(answer)})


async def chat_events(name: str, model: str, part: RequestPart, *, usage: bool) -> AsyncGenerator[Event, None]:
    """The same as events; they end when the answer is in the log."""
    head = _head(name, "chat.completion.chunk", model)

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**head, "choices": [choice], **({"usage": None} if usage else {})})

    assert part.pieces is not None  # it streams
    yield chunk({"role": "assistant", "content": ""})
    async for piece in part.pieces:
        yield chunk({"content": piece})
    answer = made(part)
    yield chunk({}, answer.finish_reason)
    if usage:
        yield _event({**head, "choices": [], "usage": _usage(answer)})
    yield DONE


def completion(name: str, model: str, answer: Made) -> bytes:
    """Of `/v1/completions`."""
    choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": answer.finish_reason}
    return orjson.dumps({**_head(name, "text_completion", model), "choices": [choice], "usage": _usage(answer)})


async def completion_events(name: str, model: str, part: RequestPart, *, usage: bool) -> AsyncGenerator[Event, None]:
    """The same as events."""
    head = _head(name, "text_completion", model)

    def chunk(text: str, finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
        return _event({**head, "choices": [choice], **({"usage": None} if usage else {})})

    assert part.pieces is not None  # it streams
    async for piece in part.pieces:
        yield chunk(piece)
    answer = made(part)
    yield chunk("", answer.finish_reason)
    if usage:
        yield _event({**head, "choices": [], "usage": _usage(answer)})
    yield DONE


def response(name: str, model: str, answer: Made) -> bytes:
    """Of `/v1/responses`."""
    return orjson.dumps(_response(name, model, int(time.time()), answer))


async def response_events(name: str, model: str, part: RequestPart) -> AsyncGenerator[Event, None]:
    """The same as events, each with its name and its number."""
    number, created = 0, int(time.time())

    def event(kind: str, **more: Any) -> Event:
        nonlocal number
        told = {"type": kind, "sequence_number": number, **more}
        number += 1
        return _event(told, kind)

    assert part.pieces is not None  # it streams
    at = {"item_id": _item_name(name), "output_index": 0, "content_index": 0}
    begun = _response(name, model, created)
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    yield event("response.output_item.added", output_index=0, item=_item(name))
    yield event("response.content_part.added", **at, part=_content(""))
    async for piece in part.pieces:
        yield event("response.output_text.delta", **at, delta=piece, logprobs=[])
    answer = made(part)
    yield event("response.output_text.done", **at, text=answer.text, logprobs=[])
    yield event("response.content_part.done", **at, part=_content(answer.text))
    yield event("response.output_item.done", output_index=0, item=_item(name, answer))
    whole = _response(name, model, created, answer)
    yield event(f"response.{whole['status']}", response=whole)
    yield DONE


def embeddings(model: str, vectors: Any, *, base64: bool, tokens: int) -> bytes:
    """Of `/v1/embeddings`; vectors are float32, one a text."""
    little = vectors.astype("<f4")
    data = [
        {
            "object": "embedding",
            "index": place,
            "embedding": b64encode(vector.tobytes()).decode() if base64 else vector.tolist(),
        }
        for place, vector in enumerate(little)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage})


def described(model: str, promoted: int) -> dict[str, Any]:
    """A model in the list of models."""
    return {"id": model, "object": "model", "created": promoted, "owned_by": "headrace"}


def _head(name: str, kind: str, model: str) -> dict[str, Any]:
    return {"id": name, "object": kind, "created": int(time.time()), "model": model}


def _usage(answer: Made) -> dict[str, int]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }


def _response(name: str, model: str, created: int, answer: Made | None = None) -> dict[str, Any]:
    usage = None
    if answer is not None:
        usage = {
            "input_tokens": answer.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.input_tokens + answer.output_tokens,
        }
    return {
        "id": name,
        "object": "response",
        "created_at": created,
        "status": _status(answer),
        "error": None,
        "incomplete_details": _incomplete(answer),
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [] if answer is None else [_item(name, answer)],
        "parallel_tool_calls": False,
        "temperature": None,
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "usage": usage,
    }


def _item(name: str, answer: Made | None = None) -> dict[str, Any]:
    return {
        "id": _item_name(name),
        "type": "message",
        "status": _status(answer),
        "role": "assistant",
        "content": [] if answer is None else [_content(answer.text)],
    }


def _status(answer: Made | None) -> str:
    if answer is None:
        return "in_progress"
    return "incomplete" if answer.finish_reason in INCOMPLETE else "completed"


def _incomplete(answer: Made | None) -> dict[str, str] | None:
    reason = None if answer is None else INCOMPLETE.get(answer.finish_reason)
    return None if reason is None else {"reason": reason}


def _item_name(name: str) -> str:
    return f"msg_{name}"


def _content(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _event(told: Mapping[str, Any], name: str = "") -> Event:
    return Event(orjson.dumps(told), name)
