"""The part of a server's OpenAPI document on feedback; nothing where the model takes none."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from headrace.llm.feedback.declarations import SOURCES
from headrace.llm.feedback.message import NAME, TEXT
from headrace.serving.openapi_parts import Schema, failure, list_of, object_of
from headrace.serving.route import FEEDBACK, WIDGET

if TYPE_CHECKING:
    from headrace.llm.feedback.declarations import Feedback
    from headrace.serving.manifest import Manifest

IDENTIFIER = {"type": "string", "pattern": "^[!-~]{1,128}$"}
REASONS = {
    "400": "The body is no JSON.",
    "413": "A text, or the body, is too long.",
    "415": "The body is no application/json.",
    "422": "It is no feedback that this model takes; `message` says why.",
    "503": "Nothing is served yet, or it cannot be stored; try again.",
}


def feedback_paths(manifest: Manifest) -> Schema:
    """The paths that take feedback, and give the widget."""
    declared = manifest.feedback
    if declared is None:
        return {}
    answer: Schema = {
        "description": "It is stored.",
        "content": {"application/json": {"schema": object_of({"feedback_ids": list_of({"type": "string"}, least=1)})}},
    }
    body = object_of(_fields(declared), required=["prediction_id"]) | {"minProperties": 2}
    paths: Schema = {
        FEEDBACK.pattern.replace("{model}", quote(manifest.model, safe="")): {
            "post": {
                "summary": "Takes feedback on an answer.",
                "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                "responses": {"202": answer, **{status: failure(reason) for status, reason in REASONS.items()}},
            }
        }
    }
    if declared.widget:
        script = {"description": "The script.", "content": {"text/javascript": {"schema": {"type": "string"}}}}
        paths[WIDGET.pattern] = {"get": {"summary": "The widget for web pages.", "responses": {"200": script}}}
    return paths


def _fields(declared: Feedback) -> Schema:
    low, high = declared.scale
    text: Schema = {"type": "string", "minLength": 1, "maxLength": TEXT}
    kinds: Schema = {
        "thumbs": {"enum": ["up", "down"]},
        "score": {"type": "number", "minimum": low, "maximum": high},
        "correction": text,
        "text": text,
    }
    return {
        "prediction_id": IDENTIFIER,
        **{kind: kinds.get(kind, {"const": True}) for kind in declared.takes},
        "id": IDENTIFIER,
        "user": {"type": "string", "minLength": 1, "maxLength": NAME},
        "version": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
        "source": {"enum": list(SOURCES)},
    }
