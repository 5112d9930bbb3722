"""A container image: the container file beside the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.deployment.targets.tree import USER, ExportTarget, image, template

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.registry.records import Version

PORT = 8080
# What scrapes /metrics has no token; they hold numbers of requests, and nothing of anybody.
API_KEYS = "/run/secrets/headrace/api-keys.json"


def texts(version: Version) -> dict[str, str]:  # noqa: ARG001 - the container file is the same for all
    """Path → text. Without a file of API keys, callers are refused: see `headrace api-key create`."""
    return {
        "Containerfile": template(
            "Containerfile", user=USER, port=PORT, open="", arguments=f'"--api-keys", "{API_KEYS}", "--open-metrics"'
        )
    }


def steps(version: Version, into: Path) -> list[str]:
    """What to type."""
    keys = f"--volume API_KEYS.json:{API_KEYS}:ro"
    return [
        f"podman build -t {image(version)} {into}",
        f"podman run --read-only {keys} --volume SPOOL:/srv/headrace/spool -p 127.0.0.1:{PORT}:{PORT} {image(version)}",
    ]


TARGET = ExportTarget(texts=texts, steps=steps)
