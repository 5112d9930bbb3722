"""Parts of OpenAPI documents for protocols: schemas, requests, answers and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.features.keys import FLOATS, INTEGERS, TIMES

if TYPE_CHECKING:
    from headrace.serving.version import Serving

Schema = dict[str, Any]

NUMBER: Schema = {"type": ["number", "boolean", "null"]}
TEXT: Schema = {"type": ["string", "null"]}
TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
KINDS = {"number": NUMBER, "string": TEXT, "timestamp": TIME, "timestamp_utc": TIME}
ERRORS = {
    "400": "The body cannot be read: the message names the row and the column.",
    "408": "The request took too long to come.",
    "413": "Too many rows or bytes.",
    "415": "The body is of another content type, or compressed otherwise than with gzip or deflate.",
    "429": "Too many requests of this API key at the same time.",
    "431": "The head of the request is too long.",
    "500": "The model failed.",
    "503": "Nothing is served yet, or too much is asked, or what is needed cannot be reached; try again.",
}


def key_schema(kind: str) -> Schema:
    """The schema of a column of a key, of a declared type: what `features.keys.typed` takes."""
    if kind in INTEGERS:
        bound = 1 << INTEGERS[kind]
        return {"type": "integer", "minimum": -bound, "maximum": bound - 1}
    if kind in ("string", "bool"):
        return {"type": "string" if kind == "string" else "boolean"}
    if kind in TIMES:
        return {"type": "string", "format": "date" if kind == "date" else "date-time"}
    return {"type": "number"} if kind in FLOATS else {"type": ["number", "string"]}


def asks(summary: str, content: Schema, answer: Schema, *, error: str = "Error") -> Schema:
    """A POST that asks for predictions.

    Args:
        summary: a sentence.
        content: of the body, by content type.
        answer: what 200 says; see `answers`.
        error: the name of the schema of refusals.
    """
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answer, **{status: failure(reason, error) for status, reason in ERRORS.items()}},
    }


def gets(summary: str, *, waits: bool = False) -> Schema:
    """A GET that answers with a JSON object; `waits` where it may be 503 for a while."""
    responses: Schema = {
        "200": {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}
    }
    if waits:
        responses["503"] = {"description": "Not now."}
    return {"summary": summary, "responses": responses}


def failure(reason: str, error: str = "Error") -> Schema:
    """A refusal, for a reason, with the schema of this name."""
    schema = {"$ref": f"#/components/schemas/{error}"}
    return {"description": reason, "content": {"application/json": {"schema": schema}}}


def answers(summary: str, schema: Schema) -> Schema:
    """An answer with predictions, in JSON, and the headers that all of them have."""
    return {
        "description": summary,
        "headers": {
            "x-headrace-version": {"description": "The version that answered.", "schema": {"type": "string"}},
            "x-headrace-request": {
                "description": "The id of the request in the inference log.",
                "schema": {"type": "string"},
            },
            "x-request-id": {
                "description": "The caller's id of the request, or that of the log where it gave none.",
                "schema": {"type": "string"},
            },
        },
        "content": {"application/json": {"schema": schema}},
    }


def object_of(properties: Schema, *, required: list[str] | None = None) -> Schema:
    """An object with these properties and no others; all of them are required unless some are named."""
    found = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": found, "additionalProperties": False}


def list_of(items: Schema, *, least: int = 0) -> Schema:
    """An array of items."""
    return {"type": "array", "items": items, "minItems": least}


def kinds_of(serving: Serving) -> dict[str, str]:
    """The inputs of a version, each with its kind in requests: a key of `KINDS`."""
    return dict(zip(serving.codec.names, serving.codec.kinds, strict=True))


def outputs_of(serving: Serving) -> Schema:
    """The schema of one answer of a version, by the names of its outputs."""
    return object_of({name: _output(serving.sample, place) for place, name in enumerate(serving.columns)})


def _output(sample: tuple[Any, ...], place: int) -> Schema:
    value = sample[place] if sample else 0.0
    return (
        {"type": "string"}
        if isinstance(value, str)
        else {"type": "integer"}
        if type(value) is int
        else {"type": "number"}
    )
