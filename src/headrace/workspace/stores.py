"""The stores that an environment's state database knows as its own: the tables, MLflow's runs, the online store.

The mark of a store names its state database (`headrace.core.ownership`), but a person who can name another store by a
variable can have it marked. So the state database stores the id in the mark of each store that was first changed
through it. The id is part of the files, so a project may be moved and copied; another store is refused until an admin
accepts it. An online store contains nothing that cannot be published again: one that is empty at its usual place, such
as a restarted Redis, counts as the same store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Column, MetaData, String, Table, Text, delete, insert, select

from headrace.core import ownership
from headrace.core.clock import now
from headrace.core.errors import RefusedError
from headrace.core.state import Instant

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from headrace.core.ownership import Marked, Owner
    from headrace.core.state import State

Kind = Literal["lakehouse", "tracking", "online"]  # as `headrace.toml` names it
KINDS: tuple[Kind, ...] = ("lakehouse", "tracking", "online")
STORES = Table(
    "state_stores",
    MetaData(),
    Column("kind", String(20), primary_key=True),
    Column("id", String(40), nullable=False),
    Column("place", Text, nullable=False),  # where it was; empty where that says nothing
    Column("at", Instant, nullable=False),
)


def check(state: State, owner: Owner, kind: Kind, what: str, store: Marked, *, place: str = "") -> None:
    """Makes sure that a store is the one that the state database knows; the first one is marked and remembered.

    Args:
        state: the state database.
        owner: what it is known by.
        kind: of the store.
        what: the store and where it is, the beginning of a sentence.
        store: itself.
        place: where it is, if it may be empty there and still be the same one.

    Raises:
        RefusedError: it belongs to another state database, or is another store.
    """
    known, mark = known_id(state, kind), store.owner()
    if not ownership.reads_only() and (known is None or mark is None):
        with state.begin() as connection:
            row = connection.execute(select(STORES).where(STORES.c.kind == kind)).one_or_none()
            known, mark = row and row.id, store.owner()
            if row is None or (mark is None and place and row.place == place):
                take(connection, owner, kind, what, store, place)
                return
    if mark is None and known is None:
        return
    if mark is None or (owner.check(mark, what).store != known and known is not None):
        name = owner.environment
        raise RefusedError(
            f"{what} is not the one that {name!r} has used until now. Nothing was done.",
            hint=f"Is it what [env.{name}] or HEADRACE_ENV__{name}__{kind} should name? If it was made anew, an admin takes "
            f"it over: headrace env stores --env {name} --take-over {kind} --reason …",
        )


def remembered(state: State) -> dict[str, dict[str, Any]]:
    """The id of each store that is known, and since when, by kind."""
    state.create(STORES)
    with state.read() as connection:
        rows = connection.execute(select(STORES)).mappings()
        return {row["kind"]: {"id": row["id"], "at": row["at"]} for row in rows}


def forget(state: State) -> None:
    """No store is known any more: the next ones are."""
    state.create(STORES)
    with state.begin() as connection:
        connection.execute(delete(STORES))


def known_id(state: State, kind: Kind) -> str | None:
    """The id of the store that is known; None before one is."""
    found = state.one(select(STORES.c.id).where(STORES.c.kind == kind), STORES)
    return None if found is None else found.id


def take(connection: Connection, owner: Owner, kind: Kind, what: str, store: Marked, place: str) -> str | None:
    """Marks and remembers a store; gives its id, None where it has no mark and cannot be written."""
    mark = store.claim(owner.mark())
    if mark is None:
        return None
    found = owner.check(mark, what).store
    connection.execute(delete(STORES).where(STORES.c.kind == kind))
    connection.execute(insert(STORES).values(kind=kind, id=found, place=place, at=now()))
    return found
