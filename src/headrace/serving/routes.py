"""The paths that a server has, as patterns: a label for metrics and traces of which there are few, whatever strangers ask."""

from __future__ import annotations

PLAIN = frozenset(
    (
        "/invocations",
        "/predict",
        "/health",
        "/ready",
        "/ping",
        "/version",
        "/metrics",
        "/openapi.json",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
    )
)
MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"
METHODS = frozenset(("GET", "HEAD", "POST", "OPTIONS"))
OTHER = "other"


def route(path: str) -> str:
    """The pattern of a path, `/v2/models/{model}/infer`; `other` for one that no server has."""
    if path in PLAIN:
        return path
    if not path.startswith("/v2/models/"):
        return OTHER
    rest = path.split("/")[4:]
    base = MODEL
    if len(rest) >= 2 and rest[0] == "versions":
        base, rest = VERSION, rest[2:]
    if not rest:
        return base
    return f"{base}/{rest[0]}" if rest in (["infer"], ["ready"]) else OTHER
