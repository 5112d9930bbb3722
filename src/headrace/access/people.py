"""People who are known in an environment, their roles, and the chain of people through whom they got their tokens."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import Boolean, Column, ForeignKey, MetaData, String, Table, insert, select

from headrace.access import names
from headrace.access.audit import AUDIT
from headrace.access.rights import ENGINEER
from headrace.core.clock import now
from headrace.core.state import Instant
from headrace.core.system import user

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

metadata = MetaData()

PEOPLE = Table(  # nobody is taken out: a name stays whose it was
    "access_people",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("simulated", Boolean, nullable=False),
    Column("by", String(200), nullable=False),
    Column("at", Instant, nullable=False),
)
GRANTS = Table(
    "access_grants",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("role", String(50), primary_key=True),
    Column("by", String(200), nullable=False),
    Column("at", Instant, nullable=False),
)
TOKENS = Table(
    "access_tokens",
    metadata,
    Column("hash", String(64), primary_key=True),  # the token itself is kept nowhere
    Column("name", String(200), nullable=False),
    Column("by", String(200), nullable=False),
    Column("maker", ForeignKey("access_tokens.hash")),  # the token that `by` showed; null: the operating system's user
    Column("at", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
    Column("revoked", Instant),
)
ALL = (PEOPLE, GRANTS, TOKENS)


def token_hash(token: str) -> str:
    """What is kept of a token, as the variable holds it: it is random and long, so that no salt is needed."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def people(connection: Connection) -> frozenset[str]:
    """Who holds a role; before anybody was granted one, the operating system's user alone."""
    granted = frozenset(connection.execute(select(GRANTS.c.name).distinct()).scalars())
    return granted - {names.BOOTSTRAP} if granted else frozenset((user(),))


def known(connection: Connection) -> set[str]:
    """Whoever was ever granted something, or has acted."""
    acted = set(connection.execute(select(AUDIT.c.who).distinct()).scalars())
    return acted | set(connection.execute(select(PEOPLE.c.name)).scalars())


def simulated(connection: Connection) -> frozenset[str]:
    """Who stands for a person that there is not, as in a demonstration."""
    return frozenset(connection.execute(select(PEOPLE.c.name).where(PEOPLE.c.simulated)).scalars())


def add(connection: Connection, name: str, *, by: str, simulated: bool) -> None:
    """Keeps that there is somebody; who is known already stays what they are."""
    if connection.execute(select(PEOPLE).where(PEOPLE.c.name == name)).first() is None:
        connection.execute(insert(PEOPLE).values(name=name, simulated=simulated, by=by, at=now()))


def hands(connection: Connection, token: str | None) -> frozenset[str]:
    """Who could act by a token of this hash beside its bearer: its maker, the maker of the maker's token, and so on.

    It ends at the operating system's user, and at the bootstrap identity, whose own maker is trusted.
    """
    found: set[str] = set()
    while token is not None:
        row = connection.execute(select(TOKENS).where(TOKENS.c.hash == token)).mappings().one()
        if row["name"] == names.BOOTSTRAP:
            break
        found.add(row["by"])
        token = row["maker"]
    return frozenset(found)


def advice(connection: Connection, role: str, *, asked_by: str) -> str:
    """How there comes to be somebody who could sign with a role, where nobody but the one who asks is here; else empty."""
    if people(connection) - {asked_by}:
        return ""
    granted = set(connection.execute(select(GRANTS.c.name)).scalars())
    enrol = f"headrace access grant NAME {role} and headrace access token NAME"
    if names.BOOTSTRAP in granted:
        return f"Nobody else is here. Whoever has the token of {names.BOOTSTRAP} enrols another person: {enrol}"
    if not granted:
        return f"Nobody else is here. headrace access bootstrap shows a token, with which another person is enrolled: {enrol}"
    return (
        f"Nobody else is here. Enrol two people, one who asks and one who signs: headrace access grant NAME {ENGINEER}, "
        f"headrace access grant OTHER {role}, and a token for each: headrace access token NAME. Who made a token cannot sign for its bearer."
    )


def label(name: str, simulated: Collection[str]) -> str:
    """A name as people read it: who is simulated is shown so."""
    return f"{name} (simulated)" if name in simulated else name
