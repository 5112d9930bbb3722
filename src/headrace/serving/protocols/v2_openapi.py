"""The part of Open Inference, version 2, in a server's OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.serving.openapi_parts import Schema, answers, asks, gets, list_of, object_of
from headrace.serving.protocols.tensors import CONTENT, DATATYPES

if TYPE_CHECKING:
    from headrace.serving.traffic import ServedTraffic
    from headrace.serving.version import Serving


def paths(traffic: ServedTraffic) -> dict[str, Any]:
    """Its paths, with the name of the model and the number of the version in Production."""
    serving, model = traffic.primary, traffic.manifest.model
    infer = answers("The outputs as tensors.", _inference(model))
    infer["headers"]["inference-header-content-length"] = {
        "description": "Bytes of JSON, where binary data comes behind it.",
        "schema": {"type": "integer"},
    }
    infer["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    models = (f"/v2/models/{model}", f"/v2/models/{model}/versions/{serving.number}")
    content = {
        "application/json": {"schema": _tensors(serving)},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    found: dict[str, Any] = {
        f"{path}/infer": {"post": asks("Open Inference V2.", content, infer, error="ErrorV2")} for path in models
    }
    found["/v2"] = {"get": gets("The server, by Open Inference V2.")}
    found["/v2/health/live"] = {"get": gets("The process is alive.")}
    found["/v2/health/ready"] = {"get": gets("Whether requests are answered with predictions.", waits=True)}
    found |= {path: {"get": gets("What the model takes and gives, by Open Inference V2.")} for path in models}
    found |= {f"{path}/ready": {"get": gets("Whether the model answers.", waits=True)} for path in models}
    return found


def _tensors(serving: Serving) -> Schema:
    """Of a request whose tensors are all JSON."""
    content: Schema = {"enum": sorted(CONTENT)}
    tensor = object_of(
        {
            "name": {"enum": serving.codec.names},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": sorted(DATATYPES)},
            "parameters": object_of({"content_type": content}, required=[]),
            "data": {"type": "array"},
        },
        required=["name", "shape", "datatype", "data"],
    )
    wanted = object_of({"binary_data": {"type": "boolean"}, "content_type": content}, required=[])
    output = object_of({"name": {"enum": list(serving.columns)}, "parameters": wanted}, required=["name"])
    params = object_of({"binary_data_output": {"type": "boolean"}, "content_type": content}, required=[])
    params["additionalProperties"] = serving.params is not None
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "parameters": params,
            "inputs": list_of(tensor, least=1),
            "outputs": {"type": "array", "items": output},
        },
        "required": ["inputs"],
        "additionalProperties": False,
    }


def _inference(model: str) -> Schema:
    tensor = object_of(
        {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"enum": sorted(DATATYPES)},
            "data": {"type": "array"},
            "parameters": object_of({"binary_data_size": {"type": "integer"}}),
        },
        required=["name", "shape", "datatype"],
    )
    return object_of(
        {
            "model_name": {"const": model},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": list_of(tensor),
        }
    )
