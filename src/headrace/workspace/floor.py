"""The floor of an environment, stored in its state database: the first command that changes something writes it, later ones may
raise it, and an admin may lower it. A command that only reads stores nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, delete, insert, select

from headrace.access.audit import AUDIT, record
from headrace.access.identity import Access
from headrace.access.rights import roles
from headrace.core.clock import now
from headrace.core.errors import ConfigError
from headrace.core.state import Instant
from headrace.environments.keys import FILE
from headrace.environments.policy import Floor
from headrace.environments.signing_keys import PublicKey

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from headrace.core.ids import Json
    from headrace.core.state import State
    from headrace.environments.policy import Ruling

POLICY = Table(
    "environment_policy",
    MetaData(),
    Column("one", Integer, primary_key=True, autoincrement=False),  # there is one row
    Column("code", String(10), nullable=False),
    Column("releases", String(200), nullable=False),
    Column("approvals", JSON, nullable=False),
    Column("attested_by", JSON, nullable=False),
    Column("runtime", String(10), nullable=False),
    Column("order", JSON, nullable=False),
    Column("by", String(200), nullable=False),
    Column("at", Instant, nullable=False),
)


def read(state: State) -> Floor | None:
    """The floor; None before the first use."""
    return _floor(state.one(select(POLICY), POLICY))


def keep(state: State, name: str, before: Floor | None, after: Floor, *, by: str) -> bool:
    """Writes a floor, the first one or a stricter one; False when another process has written one since `before` was read."""
    state.create(POLICY, AUDIT)
    with state.begin() as connection:
        if _read(connection) != before:
            return False
        action = "policy.set" if before is None else "policy.raised"
        _write(connection, after, by, action, name, {"before": _said(before), "after": _said(after)})
    return True


def take_over(state: State, name: str, ruling: Ruling, *, reason: str) -> Floor:
    """The committed policy becomes the floor, also where it is looser. Gives it.

    Raises:
        RefusedError: whoever runs this is no admin.
        ConfigError: nothing is committed, or no reason is given.
    """
    me = Access(state).me()
    me.require(*roles("env policy --take-over"), to=f"change what may run in {name}")
    if not reason.strip():
        raise ConfigError("there is no reason.", hint=f"headrace env policy --env {name} --take-over --reason '…'")
    if ruling.committed is None:
        raise ConfigError(
            f"no commit says what may run in {name!r}.", hint=f"git add {FILE} && git commit, then take it over."
        )
    after = Floor.of(ruling.committed)
    state.create(POLICY)
    with state.begin() as connection:
        before = _read(connection)
        details: dict[str, Json] = {"before": _said(before), "after": _said(after), "reason": reason.strip()}
        _write(connection, after, me.name, "policy.taken_over", name, details)
    return after


def written(state: State) -> dict[str, Any] | None:
    """Who wrote the floor, and when; None before the first use."""
    found = state.one(select(POLICY.c.by, POLICY.c.at), POLICY)
    return None if found is None else {"by": found.by, "at": found.at}


def _read(connection: Connection) -> Floor | None:
    return _floor(connection.execute(select(POLICY)).first())


def _floor(row: Row[Any] | None) -> Floor | None:
    if row is None:
        return None
    return Floor(
        code=row.code,
        releases=row.releases,
        approvals=tuple(row.approvals),
        attested_by=tuple(PublicKey(**key) for key in row.attested_by),
        runtime=row.runtime,
        order=tuple(row.order),
    )


def _write(connection: Connection, floor: Floor, who: str, action: str, name: str, details: dict[str, Json]) -> None:
    connection.execute(delete(POLICY))
    connection.execute(insert(POLICY).values(one=1, by=who, at=now(), **_columns(floor)))
    record(connection, who, action, name, details)


def _columns(floor: Floor) -> dict[str, Any]:
    return {
        **vars(floor),
        "approvals": list(floor.approvals),
        "attested_by": [dict(vars(key)) for key in floor.attested_by],
        "order": list(floor.order),
    }


def _said(floor: Floor | None) -> Json:
    return None if floor is None else _columns(floor)
