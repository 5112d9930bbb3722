"""Retirement of a model: its versions in Staging and Production are archived, by a decision of one person, with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.access.rights import roles
from headrace.core.ids import new_id

if TYPE_CHECKING:
    from headrace.access.identity import Identity
    from headrace.registry.records import StageChange
    from headrace.registry.registry import Registry


def retire(registry: Registry, model: str, *, reason: str, identity: Identity) -> list[StageChange]:
    """Archives the versions of a model that are in Staging or Production. Called again, there is nothing to archive.

    Args:
        registry: which moves.
        model: its name.
        reason: kept with each request.
        identity: who does it: an admin.

    Raises:
        RefusedError: the role is missing.
        DataError: the artifact of a version is not what was registered.
    """
    identity.require(*roles("apply --remove"), to=f"retire {model}")
    changes: list[StageChange] = []
    for version in registry.versions(model):
        if version.stage not in ("Staging", "Production"):
            continue
        request = registry.requests.ask(
            version,
            "Archived",
            key=f"retirement {new_id()}",
            by=identity.name,
            hands=identity.hands,
            evidence={"reason": reason},
            comment=f"retired: {reason}",
        )
        decision = registry.requests.by_person(request.id, identity, reason=reason)
        changes.append(registry.move(version, "Archived", expect=version.stage, decision=decision, by=identity.name))
    return changes
