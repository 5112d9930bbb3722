"""The stores that an environment knows as its own; accepting another store is an admin's decision, with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.access.audit import AUDIT, record
from headrace.access.rights import roles
from headrace.core import credentials
from headrace.core.errors import ConfigError
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.workspace import stores

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.workspace.stores import Kind
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class StoreReport(Record):
    """A store of an environment.

    Attributes:
        kind: `lakehouse`, `tracking` or `online`.
        where: as it is configured now, without credentials; of a secret its name.
        id: of the store that the environment knows as its own; None before one was used.
        since: when that one became its own; None before.
    """

    kind: Kind
    where: str
    id: str | None
    since: datetime | None


@operation("env stores")
def environment_stores(workspace: Workspace, *, take_over: Kind | None = None, reason: str = "") -> list[StoreReport]:
    """The lakehouse, the MLflow store and the online store of an environment.

    Args:
        workspace: where.
        take_over: the kind whose configured store becomes the one of the environment first; None changes nothing.
        reason: why it does; it stays in the audit record.

    Raises:
        RefusedError: the caller is no admin, or the store belongs to another state database.
        ConfigError: there is a reason and nothing to take over, or the other way round; or the store cannot be marked.
    """
    if reason and take_over is None:
        raise ConfigError("--reason is why something is taken over.", hint="Add --take-over KIND.")
    if take_over is not None:
        take_over_store(workspace, take_over, reason=reason)
    known, configured = stores.remembered(workspace.state), workspace.configured
    places = {
        "lakehouse": configured.lakehouse_root,
        "tracking": configured.tracking,
        "online": configured.online,
    }
    return [
        StoreReport(
            kind=kind,
            where=credentials.shown(place) if isinstance(place, str) else f"the secret {place.variable}",
            id=known.get(kind, {}).get("id"),
            since=known.get(kind, {}).get("at"),
        )
        for kind in stores.KINDS
        for place in (places[kind],)
    ]


def take_over_store(workspace: Workspace, kind: Kind, *, reason: str) -> None:
    """The store that is configured now becomes the one of the environment.

    Raises:
        RefusedError: the caller is no admin, or the store belongs to another state database.
        ConfigError: there is no reason, or the store cannot be marked.
    """
    state, name = workspace.state, workspace.configured.name
    me = workspace.access.me()
    me.require(*roles("env stores --take-over"), to=f"change the stores of {name}")
    if not reason.strip():
        raise ConfigError(
            "there is no reason.", hint=f"headrace env stores --env {name} --take-over {kind} --reason '…'"
        )
    what, store, place = workspace.store(kind)
    before = stores.known_id(state, kind)
    state.create(AUDIT)
    with state.begin() as connection:
        after = stores.take(connection, workspace.owner, kind, what, store, place)
        if after is None:
            raise ConfigError(f"{what} cannot be written, so it cannot be marked.", hint="Who may write there?")
        details: dict[str, Json] = {"what": what, "before": before, "after": after, "reason": reason.strip()}
        record(connection, me.name, "store.taken_over", kind, details)
