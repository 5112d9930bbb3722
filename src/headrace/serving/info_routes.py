"""Information about a server and its model at separate paths: everything that is neither a prediction nor a protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from headrace.serving import openapi
from headrace.serving.feedback import widget
from headrace.serving.messages import Answer, RefusedRequestError
from headrace.serving.route import WIDGET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.serving.messages import Request
    from headrace.serving.routes import RouteTable
    from headrace.serving.server import Server
    from headrace.serving.traffic import ServedTraffic

TEXT = b"text/plain; version=0.0.4"


def about(app: Server, routes: RouteTable, request: Request) -> Answer:
    """The answer to a request that asks for no prediction.

    Args:
        app: what is told of.
        routes: of the protocols at work.
        request: with its route.

    Raises:
        RefusedRequestError: there is no such path, or nothing to tell of yet.
    """
    match, traffic = request.match, app.traffic
    protocol = None if match is None else routes.by_name.get(match.owner)
    if match is None or (match.owner and protocol is None):
        raise RefusedRequestError(404, f"there is no such path; there is {routes.listed()}.")
    if protocol is not None and traffic is not None:
        protocol.check(traffic, match)
    if request.method not in ("GET", "HEAD"):
        raise RefusedRequestError(405, f"{request.path} takes GET.", b"allow: GET, HEAD\r\n")
    if protocol is not None:
        return protocol.info(app, match)
    path = request.path
    if path == "/health":
        return _json({"status": "alive"})
    if path in ("/ready", "/ping"):
        return _ready(app)
    if traffic is None:
        raise RefusedRequestError(503, app.trouble)
    if match.route is WIDGET:
        return widget(traffic.manifest)
    if path == "/version":
        return _json(_version(traffic))
    if path == "/openapi.json":
        return _json(openapi.document(traffic, routes, secured=app.api_keys is not None))
    primary = traffic.primary.served.version
    text = app.counted().prometheus(model=traffic.manifest.model, version=primary, in_flight=app.in_flight)
    return Answer(200, text.encode(), TEXT)


def _ready(app: Server) -> Answer:
    traffic, features = app.traffic, app.features()
    status = app.status(features)
    told = {
        "status": status,
        "version": traffic.primary.served.version if traffic else None,
        "stale": app.trouble,
        "features": features,
    }
    return _json(told, 200 if status == "ready" else 503)


def _version(traffic: ServedTraffic) -> dict[str, Any]:
    serving, split = traffic.primary, traffic.split
    told: dict[str, Any] = {
        "model": traffic.manifest.model,
        "version": serving.served.version,
        "artifact_hash": serving.served.artifact_hash,
        "tier": serving.predictor.tier,
        "slower": list(serving.slower),
        "call_us": round(serving.call * 1e6, 1),
        "row_us": round(serving.row * 1e6, 2),
        "inputs": serving.codec.names,
        "outputs": list(serving.columns),
    }
    if split is not None or traffic.shadows:
        told["split"] = None if split is None else split.id
        told["versions"] = [
            {"version": each.version, "role": each.role, "weight": each.weight} for each in traffic.manifest.versions
        ]
    return told


def _json(told: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(told))
