"""What an answer did, as spans by OpenTelemetry's conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans. Contents are left out unless they are asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.clock import NANOSECONDS_PER_MILLISECOND
from headrace.core.money import NANO_PER_DOLLAR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.chains.answer import Answer, Call, Search
    from headrace.serving.observation import EmbeddingCall

OWN = "headrace"  # who answers where no endpoint does: a function of a route, an embedder of this process


@dataclass(frozen=True, kw_only=True)
class GenerationSpan:
    """A span below that of a request.

    Attributes:
        name: by the conventions: the operation, and what it is on.
        attributes: by their names.
        began_ms: after the beginning of the answer.
        latency_ms: what it took.
    """

    name: str
    attributes: Mapping[str, Any]
    began_ms: float
    latency_ms: float


def spans_of(answer: Answer, *, contents: bool) -> list[GenerationSpan]:
    """The spans of an answer, in the order in which they began.

    Args:
        answer: what was done.
        contents: whether messages, answers and what was searched for are in them.
    """
    found = [*(_search(each, contents) for each in answer.searches), *(_call(each, contents) for each in answer.calls)]
    return sorted(found, key=lambda span: span.began_ms)


def embedding_span(call: EmbeddingCall) -> GenerationSpan:
    """The span of an embedder that made vectors for a caller."""
    return GenerationSpan(
        name=f"embeddings {call.model}",
        attributes={
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": OWN,
            "gen_ai.system": OWN,
            "gen_ai.request.model": call.model,
            "gen_ai.response.model": call.model,
            "gen_ai.embeddings.dimension.count": call.dimension,
            "gen_ai.usage.input_tokens": call.tokens,
        },
        began_ms=0,
        latency_ms=(call.ended - call.began) / NANOSECONDS_PER_MILLISECOND,
    )


def _search(search: Search, contents: bool) -> GenerationSpan:
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": search.index,
        "gen_ai.request.top_k": search.k,
        "headrace.retrieval.documents": search.found,
    }
    if contents:
        attributes["gen_ai.retrieval.query.text"] = search.text
    return GenerationSpan(
        name=f"retrieval {search.index}",
        attributes=attributes,
        began_ms=search.began_ms,
        latency_ms=search.latency_ms,
    )


def _call(call: Call, contents: bool) -> GenerationSpan:
    requested, provider = call.requested or call.model, call.provider or OWN
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.system": provider,  # as it was called before version 1.37 of the conventions
        "gen_ai.request.model": requested,
        "gen_ai.response.model": call.model,
        "gen_ai.response.id": call.call_id,
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "gen_ai.response.finish_reasons": [call.finish_reason or "stop"],
        "headrace.route": call.route,
        "headrace.prompt.name": call.prompt,
        "headrace.prompt.version": call.prompt_version,
        "headrace.cost.dollars": call.cost_nano / NANO_PER_DOLLAR,
        "headrace.cached": call.cached,
        "headrace.attempts": call.attempts,
    }
    if call.first_ms is not None:
        attributes["gen_ai.request.stream"] = True
        attributes["gen_ai.response.time_to_first_chunk"] = call.first_ms / 1000
    if contents:
        attributes["gen_ai.input.messages"] = _messages(call.messages)
        attributes["gen_ai.output.messages"] = _messages([("assistant", call.text)])
    return GenerationSpan(
        name=f"chat {requested}".rstrip(),
        attributes={name: value for name, value in attributes.items() if value != ""},
        began_ms=call.began_ms,
        latency_ms=call.latency_ms,
    )


def _messages(given: Any) -> str:
    return json.dumps(
        [{"role": role, "parts": [{"type": "text", "content": content}]} for role, content in given],
        ensure_ascii=False,
    )
