"""What a person changes of the traffic: shares, shadows, the end of it. A version that servers could not load gets none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.access.rights import roles
from headrace.core.errors import RefusedError
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


def _begin(operation: str, registry: Registry, model: str, identity: Identity, why: str) -> Split:
    identity.require(*roles(operation), to=f"change the traffic of {model}")
    if not why.strip():
        raise RefusedError(
            "a change of the traffic without a reason.", hint="Say why: --why, for whoever reads the record."
        )
    return registry.traffic.current(model)
