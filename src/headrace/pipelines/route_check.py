"""Evidence holds for the language models that it was gathered with: a version whose routes lead to others is not deployed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from headrace.chains.gateways import current
from headrace.chains.routes import changes
from headrace.core.errors import RefusedError

if TYPE_CHECKING:
    from headrace.registry.records import Version

LOG = logging.getLogger(__name__)


def check_routes(version: Version) -> None:
    """Refuses a version that was evaluated with other language models than its routes lead to now.

    A version in Production stays there: what changed is logged.

    Raises:
        RefusedError: it is another stage.
    """
    found = changes(version.routes, current()) if version.routes else []
    if not found:
        return
    if version.stage == "Production":
        LOG.warning("%s was evaluated with other language models: %s", version.name, "; ".join(found))
        return
    raise RefusedError(
        f"{version.name} was evaluated with other language models than its routes lead to now: its evidence no longer holds.",
        findings=found,
        hint=f"{_again(version)}, which evaluates with those of now. Or put the routes in headrace.toml back.",
    )


def _again(version: Version) -> str:
    if version.promoted is None:
        return f"Train again: headrace run train --model {version.model}"
    source, number = version.promoted["environment"], version.promoted["version"]
    return f"Promote it again: headrace model promote {version.model} --from {source} --version {number}"
