"""OpenAI's protocol in a server's OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.serving.openapi_parts import Schema, answers, asks, failure, gets, list_of, object_of

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT: Schema = {"type": "string"}
MORE = {
    "404": "The body names another model.",
    "502": "No language model gave an answer that can be used.",
    "504": "The language model did not answer in time.",
}


def error() -> Schema:
    """A refusal."""
    told = {"message": TEXT, "type": TEXT, "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}}
    return object_of({"error": object_of(told)})


def paths(model: str, inputs: Sequence[str], refusals: str) -> dict[str, Any]:
    """The paths for a model.

    Args:
        model: its name.
        inputs: of the model; all but the first are fields of a body, or in its `metadata`.
        refusals: the name of the schema of refusals.
    """
    message = {
        "type": "object",
        "properties": {"role": TEXT, "content": {"anyOf": [TEXT, list_of({"type": "object"})]}},
        "required": ["role", "content"],
    }
    messages = list_of(message, least=1)
    sources = {
        "/v1/chat/completions": ("messages", messages, "An answer to the last message of the user."),
        "/v1/completions": ("prompt", TEXT, "An answer to a text."),
        "/v1/responses": (
            "input",
            {"anyOf": [TEXT, messages]},
            "An answer to a text, or to the last message of the user.",
        ),
    }
    found: dict[str, Any] = {}
    for path, (source, schema, summary) in sources.items():
        body = {
            "type": "object",
            "properties": {
                "model": {"const": model},
                source: schema,
                "stream": {"type": "boolean"},
                "user": TEXT,
                "metadata": {"type": "object"},
                **dict.fromkeys(inputs[1:], TEXT),
            },
            "required": ["model", source],
        }
        found[path] = {"post": _posts(summary, body, {"type": "object"}, refusals, streams=True)}
    texts = {
        "type": "object",
        "properties": {
            "model": {"const": model},
            "input": {"anyOf": [TEXT, list_of(TEXT, least=1)]},
            "encoding_format": {"enum": ["float", "base64"]},
        },
        "required": ["model", "input"],
    }
    found["/v1/embeddings"] = {"post": _posts("The vectors of texts.", texts, {"type": "object"}, refusals)}
    found["/v1/models"] = {"get": gets("The model that is served here.", waits=True)}
    found[f"/v1/models/{model}"] = {"get": gets("The model.", waits=True)}
    return found


def _posts(summary: str, body: Schema, answer: Schema, refusals: str, *, streams: bool = False) -> Schema:
    operation = asks(summary, {"application/json": {"schema": body}}, answers("The answer.", answer), error=refusals)
    if streams:
        operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": TEXT}
    operation["responses"] |= {status: failure(reason, refusals) for status, reason in MORE.items()}
    return operation
