"""The server's OpenAPI document, generated from the loaded versions and the protocols, so that it matches what they accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.system import release
from headrace.serving.openapi_feedback import feedback_paths
from headrace.serving.openapi_parts import Schema, failure, gets, object_of

if TYPE_CHECKING:
    from headrace.serving.routes import RouteTable
    from headrace.serving.traffic import ServedTraffic

TOLD = {
    "/health": "The process is alive.",
    "/ready": "Whether requests are answered with predictions, and how old features are.",
    "/ping": "The same as /ready, as SageMaker asks for it.",
    "/version": "The version in Production, and how it is predicted with.",
    "/metrics": "Counters for Prometheus.",
    "/openapi.json": "This document.",
}
DENIED = {"401": "No valid API key.", "403": "The API key is not good for this."}


def document(traffic: ServedTraffic, routes: RouteTable, *, secured: bool) -> Schema:
    """Of a server.

    Args:
        traffic: the versions at work; the rows are those of the primary.
        routes: of the protocols at work.
        secured: API keys are needed.
    """
    paths: Schema = {}
    schemas: Schema = {"Error": _error(("error_code", "message"))}
    errors: dict[str, str] = {}  # path → the schema of its refusals
    for protocol in routes.protocols:
        mine = protocol.openapi(traffic)
        paths |= mine
        errors |= dict.fromkeys(mine, protocol.error)
        schemas[protocol.error] = protocol.error_schema()
    paths |= {path: {"get": gets(summary)} for path, summary in TOLD.items()}
    paths["/metrics"]["get"]["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    paths |= feedback_paths(traffic.manifest)
    for path in ("/ready", "/ping"):
        paths[path]["get"]["responses"]["503"] = {"description": "Not now."}
    told: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": traffic.manifest.model,
            "version": release(),
            "description": f"Version {traffic.primary.served.version} is in Production.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if secured:
        told["components"]["securitySchemes"] = {"api_key": {"type": "http", "scheme": "bearer"}}
        told["security"] = [{"api_key": []}]
        for path, methods in paths.items():
            match = routes.find(path)
            for operation in methods.values():
                if match is not None and match.route.open:
                    operation["security"] = []
                else:
                    error = errors.get(path, "Error")
                    operation["responses"] |= {status: failure(reason, error) for status, reason in DENIED.items()}
    return told


def _error(names: tuple[str, ...]) -> Schema:
    return object_of({name: {"type": "string"} for name in names})
