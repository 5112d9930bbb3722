"""Amazon SageMaker's own containers: started with `serve`, called at `/ping` and `/invocations` on port 8080.

AWS authorises callers before a request arrives here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.deployment.targets.tree import USER, ExportTarget, image, template

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.registry.records import Version

PORT = 8080


def texts(version: Version) -> dict[str, str]:  # noqa: ARG001 - the container file is the same for all
    """Path → text."""
    given = template("Containerfile", user=USER, port=PORT, open=', "--anonymous"', arguments='"serve"')
    return {"Containerfile": given + "LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true\n"}


def steps(version: Version, into: Path) -> list[str]:
    """What to type."""
    return [f"podman build -t {image(version)} {into}", f"podman push {image(version)} REGISTRY/{image(version)}"]


TARGET = ExportTarget(texts=texts, steps=steps)
