"""Rollback to a version that has been in Production, or forward again: a decision of one person, because it is urgent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.access.rights import roles
from headrace.core.errors import ConflictError, NotFoundError, RefusedError
from headrace.core.ids import new_id
from headrace.deployment.serving_bundle import folder_name, is_whole

ROLLBACK = "rollback"  # begins the key of its request

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.access.identity import Identity
    from headrace.core.ids import Json
    from headrace.registry.records import StageChange, Version
    from headrace.registry.registry import Registry


def roll_back(
    registry: Registry,
    model: str,
    *,
    home: Path,
    to: int | None,
    expect: int | None = None,
    reason: str,
    identity: Identity,
) -> StageChange:
    """Brings a version back to Production that has been there, and so has passed its gates and approvals before.

    Args:
        registry: which moves.
        model: its name.
        home: where servers of this model look.
        to: the version; default: the one that was in Production before. Called again it goes one further back.
        expect: the version that is to be replaced; default: whichever is in Production.
        reason: kept with the request.
        identity: who does it; an ML engineer or an admin.

    Raises:
        RefusedError: the role is missing, there is no reason, the version has never been in Production, or servers could
            not start from its copy.
        NotFoundError: no such version, or none has been in Production before.
        ConflictError: another version than the expected one is in Production.
        DataError: its artifact is not what was registered.
    """
    identity.require(*roles("model rollback"), to=f"roll {model} back")
    if not reason.strip():
        raise RefusedError("a rollback without a reason.", hint="Say why: --reason, for whoever reads the record.")
    current = registry.current(model, "Production")
    if expect is not None and (current is None or current.version != expect):
        found = "nothing" if current is None else f"version {current.version}"
        raise ConflictError(
            f"version {expect} of {model} is not in Production any more: {found} is. Nothing was changed.",
            hint=f"headrace model history {model} shows who moved it.",
        )
    version = target(registry, model, home=home, to=to)
    served = [change for change in registry.history(model, version.version) if change.stage == "Production"]
    evidence: dict[str, Json] = {"in_production": [change.at.isoformat() for change in served], "reason": reason}
    request = registry.requests.ask(
        version,
        "Production",
        key=f"{ROLLBACK} {new_id()}",
        by=identity.name,
        hands=identity.hands,
        evidence=evidence,
        against=current.version if current else None,
        comment=f"rollback: {reason}",
    )
    decision = registry.requests.by_person(request.id, identity, reason=reason)
    return registry.move(version, "Production", expect=version.stage, decision=decision, by=identity.name)


def target(registry: Registry, model: str, *, home: Path, to: int | None = None) -> Version:
    """The version that a rollback would bring back, with all that can be looked at before.

    Args:
        registry: which knows where each has been.
        model: its name.
        home: where servers of this model look.
        to: the version; None: the one that was in Production before.

    Raises:
        RefusedError: the version is in Production, has never been there, or servers could not start from its copy.
        NotFoundError: no such version, or none has been in Production before.
    """
    registry.versions(model)
    current = registry.current(model, "Production")
    number = to or _before(registry, model)
    version = registry.get(model, number)
    if current is not None and current.version == number:
        raise RefusedError(f"{version.name} is in Production already.", hint=f"headrace model history {model}")
    if not any(change.stage == "Production" for change in registry.history(model, number)):
        raise RefusedError(
            f"{version.name} has never been in Production: there is nothing to go back to.",
            hint=f"It gets there through its gates: headrace run deploy --model {model} --version {number}",
        )
    if not is_whole(home / folder_name(version), version):
        raise RefusedError(
            f"the copy of {version.name} that servers start from is gone or was changed.",
            hint=f"It is made again on the way through its gates: headrace run deploy --model {model} --version {number}",
        )
    return version


def before(registry: Registry, model: str) -> int | None:
    """Where a rollback would go: the version before the one in Production, and of those that were rolled back none.

    Each version that came to Production lies on the one that was there; a rollback takes off what lies above its version.
    So a second one goes one further back, and never to what the first one took away.
    """
    stack: list[int] = []
    for change in registry.history(model):
        if change.stage == "Production":
            back = change.decision is not None and _is_rollback(registry, change.decision)
            if back and change.version in stack:
                del stack[stack.index(change.version) :]
            stack.append(change.version)
    current = registry.current(model, "Production")
    if current is not None and stack:
        stack.pop()
    others = [version for version in stack if current is None or version != current.version]
    return others[-1] if others else None


def _before(registry: Registry, model: str) -> int:
    found = before(registry, model)
    if found is not None:
        return found
    current = registry.current(model, "Production")
    served = {change.version for change in registry.history(model) if change.stage == "Production"}
    others = sorted(served - {current.version if current else None})
    if not others:
        raise NotFoundError(
            "earlier version in Production of",
            model,
            (),
            hint=f"headrace model history {model} shows where each has been.",
        )
    raise RefusedError(
        f"before version {current.version if current else '-'} nothing of {model} was in Production that was not rolled back.",
        hint=f"To one of those that were: headrace model rollback {model} --to {' or --to '.join(map(str, others))} --reason …",
    )


def _is_rollback(registry: Registry, decision: int) -> bool:
    asked = registry.requests.get(registry.requests.decided(decision).request)
    return asked.key.startswith(f"{ROLLBACK} ")
