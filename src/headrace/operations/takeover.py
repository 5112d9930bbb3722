"""Another store becomes the one of an environment: an admin's decision, with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.access.audit import AUDIT, record
from headrace.access.rights import roles
from headrace.core.errors import ConfigError
from headrace.workspace import stores

if TYPE_CHECKING:
    from headrace.core.ids import Json
    from headrace.workspace.stores import Kind
    from headrace.workspace.workspace import Workspace


def take_over(workspace: Workspace, kind: Kind, *, reason: str) -> None:
    """The store that is configured now becomes the one of the environment.

    Raises:
        RefusedError: whoever runs this is no admin, or the store belongs to another state database.
        ConfigError: no reason is given, or the store cannot be marked.
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
