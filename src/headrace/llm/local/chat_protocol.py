"""OpenAI's protocol, as much of it as a plain language model can answer: requests are read and refused, answers are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from headrace.core.errors import HeadraceError
from headrace.llm.local.generation import Sampling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.llm.local.generation import Piece

Kind = Literal["chat", "text"]
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
UNSUPPORTED = ("tools", "functions", "response_format", "logprobs", "logit_bias", "audio", "suffix")


class RequestError(HeadraceError):
    """A request that gets no answer.

    Args:
        what: what is wrong with it.
        status: of the HTTP response.
        code: OpenAI's word for it.
    """

    def __init__(self, what: str, *, status: int = 400, code: str = "invalid_request_error") -> None:
        super().__init__(what)
        self.status, self.code = status, code

    @property
    def body(self) -> dict[str, Any]:
        """The error as OpenAI's clients read it."""
        kind = (
            "server_error"
            if self.status >= 500
            else "rate_limit_error"
            if self.status == 429
            else "invalid_request_error"
        )
        return {"error": {"message": self.what, "type": kind, "param": None, "code": self.code}}


@dataclass(frozen=True, kw_only=True)
class TextRequest:
    """What a client wants written.

    Attributes:
        kind: a turn of a chat, or the continuation of a text.
        messages: of a chat.
        text: to be continued.
        sampling: how.
        stream: whether parts are sent as they come.
        usage: whether the stream ends with the number of tokens.
    """

    kind: Kind
    messages: tuple[dict[str, str], ...] = ()
    text: str = ""
    sampling: Sampling
    stream: bool
    usage: bool


def read(kind: Kind, body: bytes, *, model: str) -> TextRequest:
    """Reads a request.

    Raises:
        RequestError: it cannot be answered; it says which field is wrong.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError("the body is not JSON.") from None
    if not isinstance(fields, dict):
        raise RequestError("the body is not a JSON object.")
    fields = cast("dict[str, Any]", {name: value for name, value in fields.items() if value is not None})
    if (wanted := fields.get("model", model)) != model:
        raise RequestError(f"no model {str(wanted)[:100]!r}: there is {model!r}.", status=404, code="model_not_found")
    for name in UNSUPPORTED:
        if fields.get(name) and fields[name] != {"type": "text"}:
            raise RequestError(f"{name} is not supported by this endpoint.", code="unsupported_parameter")
    if fields.get("n", 1) != 1:
        raise RequestError("n must be 1: this endpoint writes one answer at a time.")
    options = fields.get("stream_options", {})
    return TextRequest(
        kind=kind,
        messages=_messages(fields) if kind == "chat" else (),
        text=_prompt(fields) if kind == "text" else "",
        sampling=_sampling(fields),
        stream=fields.get("stream") is True,
        usage=isinstance(options, dict) and cast("dict[str, Any]", options).get("include_usage") is True,
    )


def _messages(fields: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages must be a list of at least one message.")
    return tuple(_message(each) for each in cast("list[Any]", messages))


def _message(message: Any) -> dict[str, str]:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str) or role not in ROLES:
        raise RequestError(f"the role of a message is {role!r}: possible are {', '.join(ROLES)}.")
    content = message.get("content")
    if isinstance(content, list):
        content = _joined(cast("list[Any]", content))
    if not isinstance(content, str):
        raise RequestError("the content of a message must be a text.")
    return {"role": ROLES[role], "content": content}


def _joined(parts: list[Any]) -> str | None:
    """The text of content that comes in parts; None if one is no text."""
    texts = [each.get("text") for each in parts if isinstance(each, dict) and each.get("type") == "text"]
    known = [each for each in texts if isinstance(each, str)]
    return "".join(known) if len(known) == len(parts) else None


def _prompt(fields: Mapping[str, Any]) -> str:
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(cast("list[Any]", prompt)) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise RequestError("prompt must be one text that is not empty.")
    return prompt


def _sampling(fields: Mapping[str, Any]) -> Sampling:
    stops = fields.get("stop", [])
    stops = [stops] if isinstance(stops, str) else stops
    if not isinstance(stops, list) or len(stops) > 4 or not all(isinstance(each, str) and each for each in stops):
        raise RequestError("stop must be a text, or a list of up to four texts.")
    most = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    seed = fields.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not -(2**63) <= seed < 2**63):
        raise RequestError(f"seed is {seed!r}: it must be a whole number of 64 bits.")
    return Sampling(
        max_tokens=int(_number(fields, most, Sampling.max_tokens, 1, 1_000_000, whole=True)),
        temperature=_number(fields, "temperature", 0, 0, 2),
        top_p=_number(fields, "top_p", 1, 0, 1),
        seed=seed,
        stops=tuple(stops),
    )


def _number(
    fields: Mapping[str, Any], name: str, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    value = fields.get(name, default)
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not right or not low <= value <= high:
        raise RequestError(f"{name} is {value!r}: it must be a {'whole ' if whole else ''}number from {low} to {high}.")
    return value


class AnswerWriter:
    """Writes the answers to one request.

    Args:
        kind: of the request.
        identifier: of the answer.
        model: the name of the model.
        created: seconds since 1970.
        prompt_tokens: how many tokens the request has.
    """

    def __init__(self, kind: Kind, *, identifier: str, model: str, created: int, prompt_tokens: int) -> None:
        self.kind, self.prompt_tokens = kind, prompt_tokens
        self._common = {"id": identifier, "created": created, "model": model}

    def whole(self, text: str, last: Piece) -> dict[str, Any]:
        """The response to a request without stream."""
        choice = {"message": {"role": "assistant", "content": text}} if self.kind == "chat" else {"text": text}
        ended = {"index": 0, "logprobs": None, "finish_reason": last.finish}
        name = "chat.completion" if self.kind == "chat" else "text_completion"
        return {**self._common, "object": name, "choices": [{**choice, **ended}], "usage": self._usage(last.tokens)}

    def chunk(self, piece: Piece, *, first: bool) -> dict[str, Any]:
        """One event of a stream."""
        delta: dict[str, Any] = {"role": "assistant", "content": piece.text} if first else {"content": piece.text}
        choice = {"delta": delta} if self.kind == "chat" else {"text": piece.text}
        ended = {"index": 0, "logprobs": None, "finish_reason": piece.finish}
        return {**self._common, "object": self._of_stream(), "choices": [{**choice, **ended}]}

    def usage_chunk(self, tokens: int) -> dict[str, Any]:
        """The last event of a stream whose client wants to know the number of tokens."""
        return {**self._common, "object": self._of_stream(), "choices": [], "usage": self._usage(tokens)}

    def _of_stream(self) -> str:
        return "chat.completion.chunk" if self.kind == "chat" else "text_completion"

    def _usage(self, tokens: int) -> dict[str, int]:
        total = self.prompt_tokens + tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": tokens, "total_tokens": total}
