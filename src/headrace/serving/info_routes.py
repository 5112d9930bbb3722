"""What a server tells of itself and of its model: everything that is no prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import orjson

from headrace.core.system import release
from headrace.serving import openapi
from headrace.serving.messages import Answer
from headrace.serving.protocols import v2
from headrace.serving.protocols.prediction_request import RefusedRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.serving.api_keys import ApiKeys
    from headrace.serving.messages import Request
    from headrace.serving.metrics import Counters
    from headrace.serving.traffic import ServedTraffic

TEXT = b"text/plain; version=0.0.4"
ALIVE, READY = ("/health", "/v2/health/live"), ("/ready", "/ping", "/v2/health/ready")  # SageMaker asks `/ping`
VITAL = (*ALIVE, *READY)
SERVER = ("/v2", "/v2/")
TOLD = ("/version", "/metrics", "/openapi.json")
GETS = (*TOLD, "/v2", *ALIVE, *READY)
INFER = "/v2/models/<name>/infer"
KNOWN = (
    "POST /invocations, /predict, /v2/models/<name>/infer; "
    "GET /health, /ready, /ping, /version, /metrics, /openapi.json, /v2"
)


class Server(Protocol):
    """What is told of a server; see App."""

    @property
    def traffic(self) -> ServedTraffic | None:
        """The versions at work."""
        ...

    @property
    def trouble(self) -> str:
        """Why the latest `serving.json` is not followed."""
        ...

    @property
    def tokens(self) -> ApiKeys | None:
        """Who may ask."""
        ...

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        ...

    def ready(self) -> bool:
        """Whether requests are answered with predictions."""
        ...

    def features(self) -> dict[str, str] | None:
        """When each table was published."""
        ...

    def status(self, features: Mapping[str, str] | None) -> str:
        """`ready`, or why not."""
        ...

    def counted(self) -> Counters:
        """What all processes at the port have counted."""
        ...


def about(app: Server, request: Request) -> Answer:
    """The answer to a request that asks for no prediction.

    Raises:
        RefusedRequestError: there is no such path, or nothing to tell of yet.
    """
    path = request.path
    if request.method not in ("GET", "HEAD"):
        if path in GETS or (
            app.traffic is not None and path.startswith("/v2/models/") and _below(app.traffic, path) in ([], ["ready"])
        ):
            raise RefusedRequestError(405, f"{path} takes GET.", b"allow: GET, HEAD\r\n")
        raise RefusedRequestError(404, f"there is no such path; there is {KNOWN}.")
    if path == "/v2/health/live":
        return _json({"live": True})
    if path == "/v2/health/ready":
        return _json({"ready": app.ready()}, 200 if app.ready() else 503)
    if path in ALIVE:
        return _json({"status": "alive"})
    if path in READY:
        return _ready(app)
    if path in SERVER:
        return _json(v2.server(release()))
    known = path in TOLD or path.startswith("/v2/models/")
    if not known:
        raise RefusedRequestError(404, f"there is no such path; there is {KNOWN}.")
    traffic = app.traffic
    if traffic is None:
        raise RefusedRequestError(503, app.trouble)
    if path == "/version":
        return _json(_version(traffic))
    if path == "/openapi.json":
        return _json(openapi.document(traffic, secured=app.tokens is not None))
    if path == "/metrics":
        primary = traffic.primary.served.version
        text = app.counted().prometheus(model=traffic.manifest.model, version=primary, in_flight=app.in_flight)
        return Answer(200, text.encode(), TEXT)
    return _model(app, traffic, path)


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


def pinned(traffic: ServedTraffic, path: str) -> bool:
    """Whether a path to infer says which version is to answer.

    Raises:
        RefusedRequestError: there is no such path, or it is another model's or version's.
    """
    if _below(traffic, path) != ["infer"]:
        raise RefusedRequestError(404, f"there is no such path; there is {KNOWN}.")
    return path.count("/") > INFER.count("/")


def _below(traffic: ServedTraffic, path: str) -> list[str]:
    """The parts of a path below a model's name and version, where those are served.

    Raises:
        RefusedRequestError: it is another one.
    """
    name, *rest = path.removeprefix("/v2/models/").split("/")
    if unquote(name) != traffic.manifest.model:
        raise RefusedRequestError(404, "this server has another model.")
    if len(rest) >= 2 and rest[0] == "versions":
        if rest[1] != str(traffic.primary.served.version):
            raise RefusedRequestError(404, "this server has another version in Production.")
        rest = rest[2:]
    return rest


def _model(app: Server, traffic: ServedTraffic, path: str) -> Answer:
    rest = _below(traffic, path)
    if rest == ["ready"]:
        return _json({"name": traffic.manifest.model, "ready": app.ready()}, 200 if app.ready() else 503)
    if rest == ["infer"]:
        raise RefusedRequestError(405, "infer takes POST.", b"allow: POST\r\n")
    if rest:
        raise RefusedRequestError(404, f"there is no such path; there is {KNOWN}.")
    return _json(v2.model(traffic.primary, [str(traffic.primary.served.version)]))


def _json(told: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(told))
