"""OpenAI's protocol, which most servers of models speak."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from headrace.core.errors import MalformedAnswerError
from headrace.llm.gateway.protocols.base import ParsedAnswer, StreamState, count, mapping, most_tokens, text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from headrace.environments.llm import LlmRoute
    from headrace.llm.gateway.requests import ChatRequest, FinishReason

FINISHES: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
}


@dataclass(frozen=True)
class OpenAIProtocol:
    """`/chat/completions` and `/embeddings`."""

    chat_path: str = "/chat/completions"

    def headers(self, key: str | None) -> dict[str, str]:
        """Returns the headers; the key is the bearer's."""
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def body(self, route: LlmRoute, request: ChatRequest, *, stream: bool) -> tuple[dict[str, Any], list[str]]:
        """Returns the body; everything can be sent."""
        body: dict[str, Any] = {"model": route.model, "messages": request.plain_messages}
        limit = most_tokens(route, request)
        if limit is not None:  # OpenAI's own models refuse the name that all others know
            own = urlsplit(route.url).hostname == "api.openai.com"
            body["max_completion_tokens" if own else "max_tokens"] = limit
        for name in ("temperature", "top_p", "seed", "response_format"):
            if (value := getattr(request, name)) is not None:
                body[name] = value
        if request.stop:
            body["stop"] = list(request.stop)
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body, []

    def answer(self, body: Any) -> ParsedAnswer:
        """Reads the first choice."""
        whole = mapping(body, "the answer")
        choices = whole.get("choices")
        if not isinstance(choices, list) or not choices:
            raise MalformedAnswerError("the answer has no 'choices'")
        choice = mapping(cast("list[Any]", choices)[0], "the choice")
        said = mapping(choice.get("message"), "the message").get("content")
        if said is not None and not isinstance(said, str):
            raise MalformedAnswerError("the content is not a text")
        usage = _usage(whole)
        return ParsedAnswer(
            text=said or "",
            finish_reason=FINISHES.get(text(choice.get("finish_reason")), "other"),
            model=text(whole.get("model")),
            input_tokens=usage[0],
            output_tokens=usage[1],
        )

    def event(self, data: Any, state: StreamState) -> str:
        """Reads a chunk."""
        if data == "[DONE]":
            state.done = True
            return ""
        chunk = mapping(data, "the event")
        if chunk.get("error"):
            raise MalformedAnswerError("the stream reports an error")
        state.model = state.model or text(chunk.get("model"))
        if chunk.get("usage") is not None:
            state.input_tokens, state.output_tokens = _usage(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return ""
        choice = mapping(cast("list[Any]", choices)[0], "the choice")
        if (finish := choice.get("finish_reason")) is not None:
            state.finish_reason = FINISHES.get(text(finish), "other")
        delta = choice.get("delta")
        return text(mapping(delta, "the delta").get("content")) if delta is not None else ""

    def embeddings_body(self, route: LlmRoute, texts: list[str], dimensions: int | None) -> dict[str, Any]:
        """Returns the body of a request for embeddings."""
        body: dict[str, Any] = {"model": route.model, "input": texts, "encoding_format": "base64"}
        return body if dimensions is None else {**body, "dimensions": dimensions}

    def embeddings(self, body: Any, texts: int) -> tuple[npt.NDArray[np.float32], str, int | None]:
        """Reads embeddings: the vectors in the order of the texts, the model, and the tokens that were sent."""
        import numpy as np

        whole = mapping(body, "the answer")
        data = whole.get("data")
        if not isinstance(data, list) or len(cast("list[Any]", data)) != texts:
            raise MalformedAnswerError(f"the answer has not {texts} embeddings")
        rows: dict[int, npt.NDArray[np.float32]] = {}
        for place, each in enumerate(cast("list[Any]", data)):
            item = mapping(each, "the embedding")
            index = count(item.get("index", place))
            rows[place if index is None else index] = _vector(item.get("embedding"))
        if set(rows) != set(range(texts)) or len({len(row) for row in rows.values()}) != 1:
            raise MalformedAnswerError("the embeddings differ in their dimensions, or are not one for each text")
        vectors = np.stack([rows[place] for place in range(texts)])
        if not np.isfinite(vectors).all():
            raise MalformedAnswerError("an embedding is not finite")
        return vectors, text(whole.get("model")), _usage(whole)[0]


def _vector(value: Any) -> npt.NDArray[np.float32]:
    import numpy as np

    try:
        if isinstance(value, str):
            vector = np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
        else:
            vector = np.asarray(value, dtype=np.float32)
    except (ValueError, TypeError):
        vector = np.empty((0, 0), dtype=np.float32)
    if vector.ndim != 1 or not len(vector):
        raise MalformedAnswerError("an embedding is not a list of numbers")
    return vector.astype(np.float32)


def _usage(whole: dict[str, Any]) -> tuple[int | None, int | None]:
    usage = whole.get("usage")
    if not isinstance(usage, dict):
        return None, None
    found = cast("dict[str, Any]", usage)
    return count(found.get("prompt_tokens")), count(found.get("completion_tokens"))
