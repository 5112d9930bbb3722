"""Anthropic's protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import MalformedAnswerError
from headrace.llm.gateway.protocols.base import (
    MOST_TOKENS,
    ParsedAnswer,
    StreamState,
    count,
    mapping,
    most_tokens,
    text,
)

if TYPE_CHECKING:
    from headrace.environments.llm import LlmRoute
    from headrace.llm.gateway.requests import ChatRequest, FinishReason

VERSION = "2026-10-21"  # as Anthropic's own client sends it; a test compares the headers
FINISHES: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
CACHED_INPUT = ("cache_creation_input_tokens", "cache_read_input_tokens")  # counted apart by the endpoint


@dataclass(frozen=True)
class AnthropicProtocol:
    """`/messages`."""

    chat_path: str = "/messages"

    def headers(self, key: str | None) -> dict[str, str]:
        """Returns the headers; the key is the bearer's."""
        headers = {"Content-Type": "application/json", "anthropic-version": VERSION}
        return headers | ({"Authorization": f"Bearer {key}"} if key else {})

    def body(self, route: LlmRoute, request: ChatRequest, *, stream: bool) -> tuple[dict[str, Any], list[str]]:
        """Returns the body, and the settings that this protocol does not have."""
        system = "\n\n".join(each.content for each in request.texts if each.role == "system")
        body: dict[str, Any] = {
            "model": route.model,
            "max_tokens": most_tokens(route, request) or MOST_TOKENS,
            "messages": [each for each in request.plain_messages if each["role"] != "system"],
        }
        if system:
            body["system"] = system
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if stream:
            body["stream"] = True
        unsent = [name for name in ("temperature", "top_p", "seed") if getattr(request, name) is not None]
        if request.response_format is not None:
            schema = request.response_format.get("json_schema")
            if isinstance(schema, dict) and "schema" in schema:
                form = {"type": "json_schema", "schema": cast("dict[str, Any]", schema)["schema"]}
                body["output_config"] = {"format": form}
            else:
                unsent.append("response_format")
        return body, unsent

    def answer(self, body: Any) -> ParsedAnswer:
        """Reads all blocks of text."""
        whole = mapping(body, "the answer")
        blocks = whole.get("content")
        if not isinstance(blocks, list):
            raise MalformedAnswerError("the answer has no 'content'")
        items = [mapping(each, "the block") for each in cast("list[Any]", blocks)]
        usage = _usage(whole)
        return ParsedAnswer(
            text="".join(text(each.get("text")) for each in items if each.get("type") == "text"),
            finish_reason=FINISHES.get(text(whole.get("stop_reason")), "other"),
            model=text(whole.get("model")),
            input_tokens=usage[0],
            output_tokens=usage[1],
        )

    def event(self, data: Any, state: StreamState) -> str:
        """Reads an event."""
        event = mapping(data, "the event")
        kind = event.get("type")
        if kind == "content_block_delta":
            delta = mapping(event.get("delta"), "the delta")
            return text(delta.get("text")) if delta.get("type") == "text_delta" else ""
        if kind == "message_start":
            message = mapping(event.get("message"), "the message")
            state.model = text(message.get("model"))
            state.input_tokens, state.output_tokens = _usage(message)
        elif kind == "message_delta":
            delta = mapping(event.get("delta"), "the delta")
            if delta.get("stop_reason") is not None:
                state.finish_reason = FINISHES.get(text(delta["stop_reason"]), "other")
            sent, answered = _usage(event)
            state.input_tokens = state.input_tokens if sent is None else sent
            state.output_tokens = state.output_tokens if answered is None else answered
        elif kind == "message_stop":
            state.done = True
        elif kind == "error":
            raise MalformedAnswerError("the stream reports an error")
        return ""


def _usage(whole: dict[str, Any]) -> tuple[int | None, int | None]:
    usage = whole.get("usage")
    if not isinstance(usage, dict):
        return None, None
    found = cast("dict[str, Any]", usage)
    sent = count(found.get("input_tokens"))
    if sent is not None:
        sent += sum(count(found.get(name)) or 0 for name in CACHED_INPUT)
    return sent, count(found.get("output_tokens"))
