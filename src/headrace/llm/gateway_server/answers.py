"""Answers in OpenAI's protocol. `model` is the name of the route, as it was requested; what answered is under `headrace`."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.core.ids import new_id
from headrace.core.money import NANO_PER_DOLLAR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.llm.gateway.requests import Completion, Embeddings


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What all parts of one answer have in common.

    Attributes:
        route: the requested route.
        is_chat: whether it is one of `/v1/chat/completions`, and not of `/v1/completions`.
    """

    route: str
    is_chat: bool
    id: str = field(default_factory=new_id)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, completion: Completion) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        if self.is_chat:
            content: dict[str, Any] = {"message": {"role": "assistant", "content": completion.text, "refusal": None}}
        else:
            content = {"text": completion.text}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": _reason(completion)}
        name = "chat.completion" if self.is_chat else "text_completion"
        return {**self._head(name), "choices": [choice], "usage": usage(completion), "headrace": details(completion)}

    def piece(self, text: str, *, first: bool = False) -> dict[str, Any]:
        """The data of an event with more text."""
        if not self.is_chat:
            return {
                **self._of_stream(),
                "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": None}],
            }
        delta = {"role": "assistant", "content": text} if first else {"content": text}
        return {**self._of_stream(), "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}

    def end(self, completion: Completion) -> dict[str, Any]:
        """The data of the event that says why the answer ended."""
        content: dict[str, Any] = {"delta": {}} if self.is_chat else {"text": ""}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": _reason(completion)}
        return {**self._of_stream(), "choices": [choice], "headrace": details(completion)}

    def used(self, completion: Completion) -> dict[str, Any]:
        """The data of the event with the tokens."""
        return {**self._of_stream(), "choices": [], "usage": usage(completion)}

    def _of_stream(self) -> dict[str, Any]:
        return self._head("chat.completion.chunk" if self.is_chat else "text_completion")

    def _head(self, name: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self.is_chat else "cmpl"
        return {"id": f"{prefix}-{self.id}", "object": name, "created": self.created, "model": self.route}


def usage(completion: Completion) -> dict[str, int]:
    """The tokens of an answer; 0 for one of the cache."""
    sent, answered = completion.input_tokens, completion.output_tokens
    return {"prompt_tokens": sent, "completion_tokens": answered, "total_tokens": sent + answered}


def details(completion: Completion) -> dict[str, Any]:
    """What the gateway knows of an answer beside its text."""
    return {
        "route": completion.route,
        "model": completion.model,
        "attempts": completion.attempts,
        "cached": completion.cached,
        "cost_dollars": completion.cost_nano / NANO_PER_DOLLAR,
        "latency_ms": round(completion.latency_ms, 3),
        "call_id": completion.call_id,
        "warnings": list(completion.warnings),
    }


def embeddings(route: str, embedded: Embeddings, *, as_base64: bool) -> dict[str, Any]:
    """The body of an answer of `/v1/embeddings`."""
    rows: Iterable[Any] = (
        (base64.b64encode(row.astype("<f4").tobytes()).decode() for row in embedded.vectors)
        if as_base64
        else embedded.vectors.tolist()
    )
    return {
        "object": "list",
        "model": route,
        "data": [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(rows)],
        "usage": {"prompt_tokens": embedded.input_tokens, "total_tokens": embedded.input_tokens},
        "headrace": {
            "route": embedded.route,
            "model": embedded.model,
            "attempts": embedded.attempts,
            "cost_dollars": embedded.cost_nano / NANO_PER_DOLLAR,
            "call_id": embedded.call_id,
        },
    }


def model(route: str) -> dict[str, Any]:
    """A route as `/v1/models` lists it."""
    return {"id": route, "object": "model", "created": 0, "owned_by": "headrace"}


def _reason(completion: Completion) -> str:
    return "stop" if completion.finish_reason == "other" else completion.finish_reason
