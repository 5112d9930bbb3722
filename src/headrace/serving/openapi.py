"""The server's OpenAPI document, made from the versions at work: what it says is what the codec takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.core.system import release
from headrace.features.keys import FLOATS, INTEGERS, TIMES
from headrace.serving.protocols.tensors import DATATYPES
from headrace.serving.protocols.v2 import CONTENT

if TYPE_CHECKING:
    from headrace.serving.traffic import ServedTraffic
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
    "415": "The body is compressed otherwise than with gzip or deflate.",
    "429": "Too many requests of this token at the same time.",
    "431": "The head of the request is too long.",
    "500": "The model failed.",
    "503": "Nothing is served yet, or too much is asked, or what is needed cannot be reached; try again.",
}


def _key(kind: str) -> Schema:
    """What `features.keys.typed` takes."""
    if kind in INTEGERS:
        bound = 1 << INTEGERS[kind]
        return {"type": "integer", "minimum": -bound, "maximum": bound - 1}
    if kind in ("string", "bool"):
        return {"type": "string" if kind == "string" else "boolean"}
    if kind in TIMES:
        return {"type": "string", "format": "date" if kind == "date" else "date-time"}
    return {"type": "number"} if kind in FLOATS else {"type": ["number", "string"]}


def document(traffic: ServedTraffic, *, secured: bool) -> Schema:
    """Of a server.

    Args:
        traffic: the versions at work; the rows are those of the primary.
        secured: tokens are needed.
    """
    serving, model = traffic.primary, traffic.manifest.model
    kinds = dict(zip(serving.codec.names, serving.codec.kinds, strict=True))
    row = _object({name: KINDS[kind] for name, kind in kinds.items()}, required=list(kinds))
    asked = _object(
        {name: KINDS.get(kinds.get(name, ""), {}) for name in sorted(serving.takes)}
        | {name: _key(kind) for name, kind in serving.plan.key_columns}
        | {serving.plan.at: TIME},
        required=list(serving.features.needed),
    )
    outputs = _object({name: _output(serving.sample, place) for place, name in enumerate(serving.columns)})
    prediction = _object(
        {
            "prediction_id": {"type": "string"},
            **outputs["properties"],
            "version": {"type": "integer"},
            "features": {"type": "object"},
            "fresh": {"type": "object", "additionalProperties": TIME},
        },
        required=["prediction_id", *serving.columns],
    )
    infer = _answer("The outputs as tensors.", _inference(model))
    infer["headers"]["inference-header-content-length"] = {
        "description": "Bytes of JSON, where binary data comes behind it.",
        "schema": {"type": "integer"},
    }
    infer["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    models = (f"/v2/models/{model}", f"/v2/models/{model}/versions/{serving.served.version}")
    paths: Schema = {
        "/invocations": {
            "post": _asks(
                "Predictions for full rows, as MLflow's scoring server takes them.",
                {
                    "application/json": {"schema": {} if serving.shape == "whole" else _invocations(row, list(kinds))},
                    "text/csv": {"schema": {"type": "string"}},
                },
                _answer("The outputs, in the order of the rows.", _object({"predictions": _shaped(serving, outputs)})),
            )
        },
        "/predict": {
            "post": _asks(
                "Predictions for decisions by their keys; features come from the online store unless they are all given.",
                {
                    "application/json": {
                        "schema": _object(
                            {"rows": _list(asked, least=1), "features": {"type": "boolean"}}, required=["rows"]
                        )
                    }
                },
                _answer(
                    "The outputs, in the order of the rows.",
                    _object(
                        {"model": {"const": model}, "version": {"type": "integer"}, "predictions": _list(prediction)}
                    ),
                ),
            )
        },
        **{
            f"{path}/infer": {
                "post": _asks(
                    "Open Inference V2.",
                    {"application/json": {"schema": _tensors(serving)}},
                    infer,
                    error="ErrorV2",
                )
            }
            for path in models
        },
        **{path: {"get": _gets(summary)} for path, summary in _TOLD.items()},
        **{path: {"get": _gets("What the model takes and gives, by Open Inference V2.")} for path in models},
        **{f"{path}/ready": {"get": _gets("Whether the model answers.", waits=True)} for path in models},
    }
    if traffic.manifest.serve.missing == "refuse":
        paths["/predict"]["post"]["responses"]["422"] = _failure("A look-up finds nothing for a row's key.")
    paths["/metrics"]["get"]["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    for path in ("/ready", "/ping", "/v2/health/ready"):
        paths[path]["get"]["responses"]["503"] = {"description": "Not now."}
    told: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": model,
            "version": release(),
            "description": f"Version {serving.served.version} is in Production.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _error("error_code", "message"), "ErrorV2": _error("error")}},
    }
    if secured:
        told["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        told["security"] = [{"token": []}]
        for path, methods in paths.items():
            for operation in methods.values():
                if path in ("/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"):
                    operation["security"] = []
                else:
                    error = "ErrorV2" if path.startswith("/v2") else "Error"
                    operation["responses"] |= {status: _failure(reason, error) for status, reason in _DENIED.items()}
    return told


_TOLD = {
    "/health": "The process is alive.",
    "/ready": "Whether requests are answered with predictions, and how old features are.",
    "/ping": "The same as /ready, as SageMaker asks for it.",
    "/version": "The version in Production, and how it is predicted with.",
    "/metrics": "Counters for Prometheus.",
    "/openapi.json": "This document.",
    "/v2": "The server, by Open Inference V2.",
    "/v2/health/live": "The process is alive.",
    "/v2/health/ready": "Whether requests are answered with predictions.",
}
_DENIED = {"401": "No valid token.", "403": "The token is not good for this."}


def _asks(summary: str, content: Schema, answer: Schema, *, error: str = "Error") -> Schema:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answer, **{status: _failure(reason, error) for status, reason in ERRORS.items()}},
    }


def _gets(summary: str, *, waits: bool = False) -> Schema:
    responses: Schema = {
        "200": {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}
    }
    if waits:
        responses["503"] = {"description": "Not now."}
    return {"summary": summary, "responses": responses}


def _failure(reason: str, error: str = "Error") -> Schema:
    schema = {"$ref": f"#/components/schemas/{error}"}
    return {"description": reason, "content": {"application/json": {"schema": schema}}}


def _shaped(serving: Serving, outputs: Schema) -> Schema:
    """Predictions as MLflow's scoring server writes what such a model gives."""
    if serving.shape == "whole":
        return {}
    values = list(outputs["properties"].values())
    if serving.shape == "columns":
        return _object({name: _list(value) for name, value in outputs["properties"].items()})
    if serving.shape == "values":
        return _list(values[0])
    return _list(_list({"anyOf": values}) if serving.shape == "lists" else outputs)


def _answer(summary: str, schema: Schema) -> Schema:
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


def _error(*names: str) -> Schema:
    return _object({name: {"type": "string"} for name in names})


def _object(properties: Schema, *, required: list[str] | None = None) -> Schema:
    found = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": found, "additionalProperties": False}


def _list(items: Schema, *, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def _output(sample: tuple[Any, ...], place: int) -> Schema:
    value = sample[place] if sample else 0.0
    return (
        {"type": "string"}
        if isinstance(value, str)
        else {"type": "integer"}
        if type(value) is int
        else {"type": "number"}
    )


def _invocations(row: Schema, names: list[str]) -> Schema:
    properties = list(row["properties"].values())
    values = {
        "type": "array",
        "prefixItems": properties,
        "minItems": len(names),
        "maxItems": len(names),
        "items": False,
    }
    records, rows = _list(row, least=1), _list(values, least=1)
    split = _object({"columns": {"const": names}, "index": {"type": "array"}, "data": rows}, required=["data"])
    columns = _object({name: _list(kind, least=1) for name, kind in row["properties"].items()})
    shapes = {
        "dataframe_split": split,
        "dataframe_records": records,
        "instances": {"anyOf": [rows, records]},
        "inputs": {"anyOf": [rows, records, columns]},
    }
    params = {"type": ["object", "null"], "maxProperties": 0}
    return {
        "oneOf": [_object({name: shape, "params": params}, required=[name]) for name, shape in shapes.items()],
    }


def _tensors(serving: Serving) -> Schema:
    """Of a request whose tensors are all JSON."""
    content: Schema = {"enum": sorted(CONTENT)}
    tensor = _object(
        {
            "name": {"enum": serving.codec.names},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": sorted(DATATYPES)},
            "parameters": _object({"content_type": content}, required=[]),
            "data": {"type": "array"},
        },
        required=["name", "shape", "datatype", "data"],
    )
    wanted = _object({"binary_data": {"type": "boolean"}, "content_type": content}, required=[])
    output = _object({"name": {"enum": list(serving.columns)}, "parameters": wanted}, required=["name"])
    params = _object({"binary_data_output": {"type": "boolean"}, "content_type": content}, required=[])
    params["additionalProperties"] = serving.params is not None
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "parameters": params,
            "inputs": _list(tensor, least=1),
            "outputs": {"type": "array", "items": output},
        },
        "required": ["inputs"],
        "additionalProperties": False,
    }


def _inference(model: str) -> Schema:
    tensor = _object(
        {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"enum": sorted(DATATYPES)},
            "data": {"type": "array"},
            "parameters": _object({"binary_data_size": {"type": "integer"}}),
        },
        required=["name", "shape", "datatype"],
    )
    return _object(
        {
            "model_name": {"const": model},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": _list(tensor),
        }
    )
