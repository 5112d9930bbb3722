"""The bodies of answers, as OpenAI's and Anthropic's protocols write them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PIECE = re.compile(r"\s*\S+|\s+\Z")  # a token of this endpoint: a word with the space before it
CREATED = 1_767_225_600  # 2026-01-01, so that answers are the same at each run


def pieces(text: str) -> list[str]:
    """Returns the text cut into the tokens of this endpoint: words, each with the space before it."""
    return PIECE.findall(text)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is answered, before a protocol writes it.

    Attributes:
        id: the identifier of the answer.
        model: the model that it names.
        pieces: the text as it is streamed.
        finish: `stop`, or `length` where the limit of tokens cut it.
        input_tokens: the tokens of the messages.
    """

    id: str
    model: str
    pieces: Sequence[str]
    finish: str
    input_tokens: int

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def usage(self) -> dict[str, int]:
        """The tokens as OpenAI counts them."""
        used = len(self.pieces)
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": used,
            "total_tokens": self.input_tokens + used,
        }


def answer(text: str, *, model: str, prompt: str, limit: int | None, stop: Sequence[str]) -> Answer:
    """Returns the answer with a text, cut at the first stop sequence and at the limit of tokens."""
    ends = [place for each in stop if each and (place := text.find(each)) >= 0]
    text = text[: min(ends)] if ends else text
    whole = pieces(text)
    kept = whole if limit is None else whole[:limit]
    name = hashlib.sha256(f"{model}\0{prompt}\0{text}".encode(errors="replace")).hexdigest()[:24]
    return Answer(
        id=name,
        model=model,
        pieces=kept,
        finish="stop" if len(kept) == len(whole) else "length",
        input_tokens=len(pieces(prompt)),
    )


def chat(said: Answer) -> dict[str, Any]:
    """Returns the body of `/v1/chat/completions`."""
    message = {"role": "assistant", "content": said.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish}
    return {
        "id": f"chatcmpl-{said.id}",
        "object": "chat.completion",
        "created": CREATED,
        "model": said.model,
        "choices": [choice],
        "usage": said.usage,
    }


def completion(said: Answer) -> dict[str, Any]:
    """Returns the body of `/v1/completions`."""
    choice = {"index": 0, "text": said.text, "logprobs": None, "finish_reason": said.finish}
    return {
        "id": f"cmpl-{said.id}",
        "object": "text_completion",
        "created": CREATED,
        "model": said.model,
        "choices": [choice],
        "usage": said.usage,
    }


def message(said: Answer) -> dict[str, Any]:
    """Returns the body of Anthropic's `/v1/messages`."""
    return {
        "id": f"msg_{said.id}",
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": [{"type": "text", "text": said.text}],
        "stop_reason": _stop_reason(said),
        "stop_sequence": None,
        "usage": {"input_tokens": said.input_tokens, "output_tokens": len(said.pieces)},
    }


def _stop_reason(said: Answer) -> str:
    return "max_tokens" if said.finish == "length" else "end_turn"


def chat_events(said: Answer, *, usage: bool) -> Iterator[str]:
    """Yields the events of a stream of `/v1/chat/completions`: one before the text, one a piece, and the rest."""
    base = {
        "id": f"chatcmpl-{said.id}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": said.model,
    }

    def chunk(delta: dict[str, Any], finish: str | None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**base, "choices": [choice], **({"usage": None} if usage else {})})

    yield chunk({"role": "assistant", "content": ""}, None)
    for piece in said.pieces:
        yield chunk({"content": piece}, None)
    last = chunk({}, said.finish)
    if usage:
        last += _data({**base, "choices": [], "usage": said.usage})
    yield last + "data: [DONE]\n\n"


def completion_events(said: Answer, *, usage: bool) -> Iterator[str]:
    """Yields the events of a stream of `/v1/completions`."""
    base = {"id": f"cmpl-{said.id}", "object": "text_completion", "created": CREATED, "model": said.model}

    def chunk(text: str, finish: str | None) -> str:
        return _data({**base, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]})

    yield ""
    for piece in said.pieces:
        yield chunk(piece, None)
    last = chunk("", said.finish)
    if usage:
        last += _data({**base, "choices": [], "usage": said.usage})
    yield last + "data: [DONE]\n\n"


def message_events(said: Answer) -> Iterator[str]:
    """Yields the events of a stream of Anthropic's `/v1/messages`."""
    usage = {"input_tokens": said.input_tokens, "output_tokens": 0}
    start = {**message(said), "content": [], "stop_reason": None, "usage": usage}
    yield (
        _event("message_start", message=start)
        + _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + _event("ping")
    )
    for piece in said.pieces:
        yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
    yield (
        _event("content_block_stop", index=0)
        + _event(
            "message_delta",
            delta={"stop_reason": _stop_reason(said), "stop_sequence": None},
            usage={"output_tokens": len(said.pieces)},
        )
        + _event("message_stop")
    )


def embeddings(vectors: Sequence[Any], *, model: str, tokens: int, encoded: bool) -> dict[str, Any]:
    """Returns the body of `/v1/embeddings`.

    Args:
        vectors: a float32 array a text.
        model: the model that the answer names.
        tokens: the tokens of the texts.
        encoded: each vector as base64 of its little-endian bytes, and not as a list.
    """
    shown = [base64.b64encode(each.tobytes()).decode() if encoded else each.tolist() for each in vectors]
    data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(shown)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def hashed_embedding(text: str, dimension: int) -> Any:
    """Returns a float32 unit vector: the sum of a fixed pseudo-random vector for each word, so that texts with words in
    common are near each other.
    """
    import numpy as np

    words = re.findall(r"\w+", text.lower()) or [text]
    total = np.sum([_word_vector(word, dimension) for word in words], axis=0, dtype=np.float64)
    return (total / (np.linalg.norm(total) or 1.0)).astype("<f4")


@lru_cache(maxsize=50_000)
def _word_vector(word: str, dimension: int) -> Any:
    import numpy as np

    seed = hashlib.shake_256(word.encode(errors="replace")).digest(4 * dimension)
    return (np.frombuffer(seed, dtype="<u4") / 2.0**31 - 1.0).astype("<f4")


def error(what: str, status: int, *, anthropic: bool) -> dict[str, Any]:
    """Returns the body of an error."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "api_error")
    if anthropic:
        return {"type": "error", "error": {"type": kind, "message": what}}
    return {"error": {"message": what, "type": kind, "param": None, "code": None}}


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _event(kind: str, **values: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n"
