"""Kubernetes: the container, and manifests with probes, scaling, a graceful shutdown and least rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.deployment.targets import container
from headrace.deployment.targets.tree import USER, ExportTarget, image, name, template
from headrace.serving.options import DRAIN

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.registry.records import Version

NAMES = ("deployment", "service", "scaling", "disruption", "network", "spool")
BEFORE_STOP = 5  # seconds in which the service takes a pod off before it stops listening


def texts(version: Version) -> dict[str, str]:
    """Path → text."""
    values = {
        "name": name(version.model),
        "image": image(version),
        "version": version.version,
        "port": container.PORT,
        "api_keys": container.API_KEYS,
        "user": USER,
        "before_stop": BEFORE_STOP,
        "grace": BEFORE_STOP + round(DRAIN) + 10,
    }
    written = {f"kubernetes/{each}.yaml": template(f"{each}.yaml", **values) for each in NAMES}
    resources = "".join(f"  - {each}.yaml\n" for each in NAMES)
    kustomization = f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{resources}"
    return {**container.texts(version), **written, "kubernetes/kustomization.yaml": kustomization}


def steps(version: Version, into: Path) -> list[str]:
    """What to type."""
    return [
        f"podman build -t {image(version)} {into}",
        f"kubectl create secret generic {name(version.model)}-api-keys --from-file=api-keys.json=API_KEYS.json",
        f"kubectl apply -k {into / 'kubernetes'}",
    ]


TARGET = ExportTarget(texts=texts, steps=steps)
