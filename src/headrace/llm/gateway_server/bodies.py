"""Bodies of requests in OpenAI's protocol, as the gateway's own requests. What would change the answer and cannot be sent on
is refused, never left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

from headrace.llm.gateway.protocols.base import loads
from headrace.llm.gateway.requests import ChatRequest, Message
from headrace.llm.gateway_server.refusals import bad_request

LONGEST_USER = 512  # characters
MOST_STOPS = 16
MOST_INPUTS = 2_048
MOST_TOKENS = 2**31
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
IGNORED = frozenset(
    {"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "parallel_tool_calls"}
)  # they do not change an answer
NEUTRAL: dict[str, tuple[Any, ...]] = {  # such a value says the same as none
    "n": (1,),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "modalities": (["text"],),
    "echo": (False,),
    "suffix": ("",),
}
OF_ALL = frozenset({"model", "user", "stream", "stream_options", "temperature", "top_p", "seed", "stop", "max_tokens"})
OF_CHAT = OF_ALL | {"messages", "max_completion_tokens", "response_format"}
OF_COMPLETIONS = OF_ALL | {"prompt"}
OF_EMBEDDINGS = frozenset({"model", "user", "input", "encoding_format"})


@dataclass(frozen=True, kw_only=True)
class ChatCall:
    """A call of `/v1/chat/completions` or `/v1/completions`.

    Attributes:
        route: the name of a route, as the field `model` has it.
        user: for budgets; empty where the request has none.
        request: the messages and settings.
        stream: whether the answer comes piece by piece.
        with_usage: whether a stream ends with the tokens that were used.
    """

    route: str
    user: str
    request: ChatRequest
    stream: bool
    with_usage: bool


@dataclass(frozen=True, kw_only=True)
class EmbeddingCall:
    """A call of `/v1/embeddings`.

    Attributes:
        route: the name of a route, as the field `model` has it.
        user: for budgets; empty where the request has none.
        texts: in order.
        base64: whether the vectors are bytes of float32, and not numbers.
    """

    route: str
    user: str
    texts: list[str]
    base64: bool


def chat_call(data: bytes) -> ChatCall:
    """Reads the body of `/v1/chat/completions`.

    Raises:
        CallRefusedError: it is not possible; the message names the field.
    """
    body = _body(data, OF_CHAT)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages must be a list with at least one message.", "messages")
    texts = [_message(each, place) for place, each in enumerate(cast("list[Any]", messages))]
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    form = body.get("response_format")
    if form is not None and not isinstance(form, dict):
        raise bad_request("response_format must be an object.", "response_format")
    form = None if form == {"type": "text"} else form
    return _call(body, texts, limit, cast("dict[str, Any] | None", form))


def completion_call(data: bytes) -> ChatCall:
    """Reads the body of `/v1/completions`: its prompt is sent as the message of a user.

    Raises:
        CallRefusedError: it is not possible; the message names the field.
    """
    body = _body(data, OF_COMPLETIONS)
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(cast("list[Any]", prompt)) == 1:
        prompt = cast("list[Any]", prompt)[0]
    if not isinstance(prompt, str):
        raise bad_request("prompt must be a text; several prompts are several requests.", "prompt")
    return _call(body, [Message("user", prompt)], body.get("max_tokens"), None)


def embedding_call(data: bytes) -> EmbeddingCall:
    """Reads the body of `/v1/embeddings`.

    Raises:
        CallRefusedError: it is not possible; the message names the field.
    """
    body = _body(data, OF_EMBEDDINGS)
    given = body.get("input")
    texts = cast("list[Any]", [given] if isinstance(given, str) else given)
    if not isinstance(texts, list) or not 0 < len(texts) <= MOST_INPUTS or not all(map(_is_text, texts)):
        raise bad_request(f"input must be a text or up to {MOST_INPUTS:,} texts, none of them empty.", "input")
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise bad_request("encoding_format must be 'float' or 'base64'.", "encoding_format")
    return EmbeddingCall(route=_route(body), user=_user(body), texts=texts, base64=form == "base64")


def _body(data: bytes, sent: frozenset[str]) -> dict[str, Any]:
    try:
        body = loads(data)
    except (ValueError, RecursionError):
        raise bad_request("the body is not JSON.") from None
    if not isinstance(body, dict):
        raise bad_request("the body must be an object of JSON.")
    found = {name: value for name, value in cast("dict[str, Any]", body).items() if value is not None}
    for name, value in found.items():
        if name not in sent and name not in IGNORED and value not in NEUTRAL.get(name, ()):
            raise bad_request(f"{name[:100]!r} is not supported by this gateway: leave it out.", name[:100])
    return found


def _call(body: dict[str, Any], texts: list[Message], limit: object, form: dict[str, Any] | None) -> ChatCall:
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise bad_request("stream_options must be an object.", "stream_options")
    request = ChatRequest(
        texts,
        temperature=_number(body, "temperature", 0, 100),
        top_p=_number(body, "top_p", 0, 1),
        max_tokens=_whole(limit, "max_tokens", 1, MOST_TOKENS),
        seed=_whole(body.get("seed"), "seed", -(2**63), 2**63 - 1),
        stop=_stops(body),
        response_format=form,
    )
    return ChatCall(
        route=_route(body),
        user=_user(body),
        request=request,
        stream=_flag(body, "stream"),
        with_usage=_flag(cast("dict[str, Any]", options), "include_usage"),
    )


def _message(given: Any, place: int) -> Message:
    where = f"messages[{place}]"
    if not isinstance(given, dict):
        raise bad_request(f"{where} must be an object.", where)
    message = cast("dict[str, Any]", given)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise bad_request(f"{where}.role must be one of {', '.join(ROLES)}.", f"{where}.role")
    if message.get("tool_calls") or message.get("function_call"):
        raise bad_request(f"{where}: calls of tools are not supported by this gateway.", where)
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_part(each, where) for each in cast("list[Any]", content))
    if not isinstance(content, str):
        raise bad_request(f"{where}.content must be a text.", f"{where}.content")
    return Message(ROLES[role], content)


def _part(given: Any, where: str) -> str:
    part = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    if part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise bad_request(f"{where}.content: only parts of type 'text' are supported.", f"{where}.content")
    return part["text"]


def _route(body: dict[str, Any]) -> str:
    if not _is_text(name := body.get("model")):
        raise bad_request("model must be the name of a route: GET /v1/models lists them.", "model")
    return cast("str", name)


def _user(body: dict[str, Any]) -> str:
    user = body.get("user", "")
    if not isinstance(user, str) or len(user) > LONGEST_USER:
        raise bad_request(f"user must be a text of up to {LONGEST_USER} characters.", "user")
    return user


def _stops(body: dict[str, Any]) -> list[str]:
    given = body.get("stop", [])
    stops = cast("list[Any]", [given] if isinstance(given, str) else given)
    if not isinstance(stops, list) or len(stops) > MOST_STOPS or not all(map(_is_text, stops)):
        raise bad_request(f"stop must be a text or up to {MOST_STOPS} texts.", "stop")
    return stops


def _number(body: dict[str, Any], name: str, least: float, most: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise bad_request(f"{name} must be a number.", name)
    if not least <= value <= most:
        raise bad_request(f"{name} must be from {least:g} to {most:g}.", name)
    return value


def _whole(value: object, name: str, least: int, most: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise bad_request(f"{name} must be a whole number from {least:,}.", name)
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false.", name)
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
