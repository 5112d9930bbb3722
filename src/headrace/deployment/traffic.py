"""Manual changes of the traffic: shares, shadows, a stop. A version that servers could not load gets no share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.access.rights import roles
from headrace.core.errors import ConflictError, NotFoundError, RefusedError
from headrace.deployment.rollouts import check_copy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.access.identity import Identity
    from headrace.registry.records import RolloutState, TrafficSplit
    from headrace.registry.registry import Registry


def divide(
    registry: Registry,
    model: str,
    candidates: Mapping[int, float],
    *,
    columns: Sequence[str] | None,
    home: Path,
    expect: int | None,
    identity: Identity,
    reason: str,
) -> TrafficSplit:
    """Gives candidates their shares of the entities; who is not named has none.

    Args:
        registry: which keeps it.
        model: its name.
        candidates: version -> share.
        columns: that name the entity; None keeps those of now.
        home: where servers of the model look.
        expect: the number of the change that this one follows; default: the latest.
        identity: who does it: an ML engineer or an admin.
        reason: kept with the change.

    Raises:
        RefusedError: the role or the reason is missing, a version may not answer or cannot be loaded, a share is not
            possible, or requests have no such column.
        NotFoundError: no such model or version.
        ConflictError: somebody changed the split meanwhile.
    """
    now = _begin("traffic set", registry, model, identity, reason)
    named = now.columns if columns is None else tuple(columns)
    for number in candidates:
        check_copy(registry, registry.get(model, number), home=home, columns=named)
    number = now.number if expect is None else expect
    return registry.traffic.divide(model, candidates, columns=named, expect=number, by=identity.name, reason=reason)


def shadow(
    registry: Registry,
    model: str,
    version: int,
    share: float,
    *,
    home: Path,
    expect: int | None,
    identity: Identity,
    reason: str,
) -> TrafficSplit:
    """Asks a version too, for a share of the requests, and only logs what it answers; 0 ends that.

    Raises:
        RefusedError: as `divide`.
        NotFoundError: no such model or version.
        ConflictError: somebody changed the split meanwhile.
    """
    now = _begin("traffic shadow", registry, model, identity, reason)
    if share:
        check_copy(registry, registry.get(model, version), home=home)
    number = now.number if expect is None else expect
    return registry.traffic.shadow(model, version, share, expect=number, by=identity.name, reason=reason)


def stop(registry: Registry, model: str, *, identity: Identity, reason: str) -> RolloutState | None:
    """All traffic to the version in Production at once: ends shares, shadows and a rollout, which it gives.

    Raises:
        RefusedError: the role or the reason is missing.
        NotFoundError: there is nothing to end.
    """
    _begin("traffic stop", registry, model, identity, reason)
    return registry.rollouts.end(model, by=identity.name, reason=reason)


def waive(registry: Registry, model: str, rules: Sequence[str], *, identity: Identity, reason: str) -> RolloutState:
    """Lets a rollout go on without rules that hold it, because nothing can be said of them. A rule that fires still stops it.

    The rules are a part of what was approved, so it takes who could approve: somebody with a role of the request, who did not
    make it; where no person had to approve, an ML engineer or an admin.

    Args:
        registry: which keeps the rollout.
        model: its name.
        rules: that hold it; none for all of those.
        identity: who does it.
        reason: kept with it.

    Raises:
        RefusedError: the role or the reason is missing, or nothing holds the rollout.
        NotFoundError: no such model, no rollout runs, or no such rule holds it.
        ConflictError: the rollout went on or ended meanwhile.
    """
    registry.versions(model)
    rollout = registry.rollouts.running(model)
    if rollout is None:
        raise NotFoundError("rollout of", model, None, hint=f"headrace traffic history {model}")
    request = registry.requests.get(registry.requests.decided(rollout.decision).request)
    what = f"waive a rule of the rollout of {model}"
    if request.roles and identity.shares_hands(request.by, request.hands):
        raise RefusedError(
            f"request {request.id} came through the hands of {identity.name}, who cannot {what}: four eyes see more than two.",
            hint=f"Somebody else with the role {' or '.join(request.roles)} can.",
        )
    identity.require(*(request.roles or roles("traffic waive")), to=what)
    if not reason.strip():
        raise RefusedError("a rule waived without a reason.", hint="Say why: --reason, for whoever reads the record.")
    if not rollout.held:
        raise RefusedError(f"no rule holds the rollout of {model}.", hint=f"headrace traffic show {model}")
    for rule in rules:
        if rule not in rollout.held:
            raise NotFoundError(f"rule that holds the rollout of {model}", rule, sorted(rollout.held))
    if not registry.rollouts.waive(rollout, tuple(rules) or tuple(rollout.held), by=identity.name, reason=reason):
        raise ConflictError(
            f"the rollout of {model} went on or ended meanwhile.", hint=f"headrace traffic show {model}"
        )
    return rollout


def _begin(operation: str, registry: Registry, model: str, identity: Identity, reason: str) -> TrafficSplit:
    identity.require(*roles(operation), to=f"change the traffic of {model}")
    if not reason.strip():
        raise RefusedError(
            "a change of the traffic without a reason.", hint="Say why: --reason, for whoever reads the record."
        )
    return registry.traffic.current(model)
