"""What a person changes of the traffic: shares, shadows, the end of it. A version that servers could not load gets none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.access.rights import roles
from headrace.core.errors import ConflictError, NotFoundError, RefusedError
from headrace.deployment.ramps import check_copy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.access.identity import Identity
    from headrace.registry.records import Ramp, Split
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
    why: str,
) -> Split:
    """Gives candidates their shares of the entities; who is not named has none.

    Args:
        registry: which keeps it.
        model: its name.
        candidates: version -> share.
        columns: that name the entity; None keeps those of now.
        home: where servers of the model look.
        expect: the number of the change that this one follows; the latest unless said.
        identity: who does it: an ML engineer or an admin.
        why: kept with the change.

    Raises:
        RefusedError: the role or the reason is missing, a version may not answer or cannot be loaded, a share is not
            possible, or requests have no such column.
        NotFoundError: no such model or version.
        ConflictError: somebody changed the split meanwhile.
    """
    now = _begin("traffic set", registry, model, identity, why)
    named = now.columns if columns is None else tuple(columns)
    for number in candidates:
        check_copy(registry, registry.get(model, number), home=home, columns=named)
    number = now.number if expect is None else expect
    return registry.traffic.divide(model, candidates, columns=named, expect=number, by=identity.name, why=why)


def shadow(
    registry: Registry,
    model: str,
    version: int,
    share: float,
    *,
    home: Path,
    expect: int | None,
    identity: Identity,
    why: str,
) -> Split:
    """Asks a version too, for a share of the requests, and only logs what it answers; 0 ends that.

    Raises:
        RefusedError: as `divide`.
        NotFoundError: no such model or version.
        ConflictError: somebody changed the split meanwhile.
    """
    now = _begin("traffic shadow", registry, model, identity, why)
    if share:
        check_copy(registry, registry.get(model, version), home=home)
    number = now.number if expect is None else expect
    return registry.traffic.shadow(model, version, share, expect=number, by=identity.name, why=why)


def stop(registry: Registry, model: str, *, identity: Identity, why: str) -> Ramp | None:
    """All traffic to the version in Production at once: ends shares, shadows and a ramp, which it gives.

    Raises:
        RefusedError: the role or the reason is missing.
        NotFoundError: there is nothing to end.
    """
    _begin("traffic stop", registry, model, identity, why)
    return registry.ramps.end(model, by=identity.name, why=why)


def waive(registry: Registry, model: str, rules: Sequence[str], *, identity: Identity, why: str) -> Ramp:
    """Lets a ramp go on without rules that hold it, because nothing can be said of them. A rule that fires still stops it.

    The rules are a part of what was approved, so it takes who could approve: somebody with a role of the request, who did not
    make it; where no person had to approve, an ML engineer or an admin.

    Args:
        registry: which keeps the ramp.
        model: its name.
        rules: that hold it; none for all of those.
        identity: who does it.
        why: kept with it.

    Raises:
        RefusedError: the role or the reason is missing, or nothing holds the ramp.
        NotFoundError: no such model, no ramp runs, or no such rule holds it.
        ConflictError: the ramp went on or ended meanwhile.
    """
    registry.versions(model)
    ramp = registry.ramps.running(model)
    if ramp is None:
        raise NotFoundError("ramp of", model, None, hint=f"headrace traffic history {model}")
    request = registry.requests.get(registry.requests.decided(ramp.decision).request)
    what = f"waive a rule of the ramp of {model}"
    if request.roles and identity.shares_hands(request.by, request.hands):
        raise RefusedError(
            f"request {request.id} came through the hands of {identity.name}, who cannot {what}: four eyes see more than two.",
            hint=f"Somebody else with the role {' or '.join(request.roles)} can.",
        )
    identity.require(*(request.roles or roles("traffic waive")), to=what)
    if not why.strip():
        raise RefusedError("a rule waived without a reason.", hint="Say why: --why, for whoever reads the record.")
    if not ramp.held:
        raise RefusedError(f"no rule holds the ramp of {model}.", hint=f"headrace traffic show {model}")
    for rule in rules:
        if rule not in ramp.held:
            raise NotFoundError(f"rule that holds the ramp of {model}", rule, sorted(ramp.held))
    if not registry.ramps.waive(ramp, tuple(rules) or tuple(ramp.held), by=identity.name, why=why):
        raise ConflictError(f"the ramp of {model} went on or ended meanwhile.", hint=f"headrace traffic show {model}")
    return ramp


def _begin(operation: str, registry: Registry, model: str, identity: Identity, why: str) -> Split:
    identity.require(*roles(operation), to=f"change the traffic of {model}")
    if not why.strip():
        raise RefusedError(
            "a change of the traffic without a reason.", hint="Say why: --why, for whoever reads the record."
        )
    return registry.traffic.current(model)
