"""Who acts in an environment, and which roles they hold.

A person at this machine is known by the name of the operating system's user; somebody else shows a token
(`HEADRACE_TOKEN`). Whoever can write the state database's file can make himself anybody: on a laptop this guards against
mistakes, behind a server that holds the database against people.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, String, Table, delete, insert, select, update

from headrace.access.audit import AUDIT, record
from headrace.access.rights import ADMIN, ENGINEER, VARIABLE
from headrace.core import vault
from headrace.core.clock import now
from headrace.core.errors import ConfigError, NotFoundError, RefusedError
from headrace.core.state import Instant
from headrace.core.system import user

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from headrace.core.state import State

metadata = MetaData()
ROLE = re.compile(r"[a-z][a-z_]{1,40}")
NAME = re.compile(r"[\w.@+-]{1,200}")
TOKEN_LIFE = timedelta(days=90)

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
    Column("at", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
    Column("revoked", Instant),
)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody who acts, with the roles that they hold here."""

    name: str
    roles: frozenset[str]

    def holds(self, *roles: str) -> bool:
        """Whether they hold one of these roles."""
        return not self.roles.isdisjoint(roles)

    def require(self, *roles: str, to: str) -> None:
        """Refuses whoever holds none of these roles.

        Raises:
            RefusedError: says who, what for, and which role is missing.
        """
        if not self.holds(*roles):
            held = ", ".join(sorted(self.roles)) or "none"
            raise RefusedError(
                f"{self.name} may not {to}: it takes the role {' or '.join(roles)}; {self.name} holds {held}.",
                hint=f"An admin grants it: headrace access grant {self.name} {roles[0]}",
            )


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A role that somebody holds."""

    name: str
    role: str
    by: str
    at: datetime


class Access:
    """Identities and roles of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(AUDIT, GRANTS, TOKENS)

    def me(self) -> Identity:
        """Whoever runs this process.

        Raises:
            RefusedError: the token is unknown, has expired or was revoked.
        """
        token = vault.read(VARIABLE)
        with self.state.read() as connection:
            name = _local_user() if token is None else _bearer(connection, token)
            return Identity(name=name, roles=_roles(connection, name, local=token is None))

    def grants(self) -> list[Grant]:
        """Every role that was granted, by name."""
        with self.state.read() as connection:
            rows = connection.execute(select(GRANTS).order_by(GRANTS.c.name, GRANTS.c.role)).mappings()
            return [Grant(**dict(row)) for row in rows]

    def grant(self, name: str, role: str) -> None:
        """Gives somebody a role; again is the same. The first one to grant keeps the roles that he had alone.

        Raises:
            RefusedError: whoever runs this is no admin.
            ConfigError: not a name, or not a role.
        """
        me = self.me()
        me.require(ADMIN, to="grant roles")
        if not NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is not a name.", hint="Letters, digits and . @ + - _.")
        if not ROLE.fullmatch(role):
            raise ConfigError(f"{role!r} is not a role.", hint="Small letters and _, such as governance.")
        with self.state.begin() as connection:
            if not connection.execute(select(GRANTS).limit(1)).first():
                for kept in sorted(me.roles):
                    _grant(connection, me.name, kept, me.name)
            _grant(connection, name, role, me.name)

    def revoke(self, name: str, role: str) -> None:
        """Takes a role away.

        Raises:
            NotFoundError: nobody of that name holds it.
            RefusedError: whoever runs this is no admin, or it is the last admin.
        """
        me = self.me()
        me.require(ADMIN, to="revoke roles")
        with self.state.begin() as connection:
            admins = connection.execute(select(GRANTS.c.name).where(GRANTS.c.role == ADMIN)).scalars().all()
            if role == ADMIN and list(admins) == [name]:
                raise RefusedError(f"{name} is the only admin.", hint=f"headrace access grant SOMEBODY {ADMIN}")
            gone = connection.execute(delete(GRANTS).where(GRANTS.c.name == name, GRANTS.c.role == role))
            if gone.rowcount == 0:
                known = connection.execute(select(GRANTS.c.name).where(GRANTS.c.role == role)).scalars()
                raise NotFoundError(f"grant of {role} to", name, known)
            record(connection, me.name, "role.revoked", name, {"role": role})

    def token(self, name: str, *, life: timedelta = TOKEN_LIFE) -> str:
        """A new token by which somebody is known; shown once, kept as a hash.

        Raises:
            RefusedError: whoever runs this is no admin.
            NotFoundError: nobody of that name holds a role.
        """
        me = self.me()
        me.require(ADMIN, to="make tokens")
        made, at = f"hr_{secrets.token_urlsafe(32)}", now()
        with self.state.begin() as connection:
            known = set(connection.execute(select(GRANTS.c.name)).scalars())
            if name not in known:
                raise NotFoundError(
                    "person", name, known, hint=f"Grant a role first: headrace access grant {name} ROLE"
                )
            connection.execute(insert(TOKENS).values(hash=_hash(made), name=name, by=me.name, at=at, expires=at + life))
            record(connection, me.name, "token.made", name, {"expires": (at + life).isoformat()})
        return made

    def revoke_tokens(self, name: str) -> int:
        """Ends every token of a person; gives how many there were.

        Raises:
            RefusedError: whoever runs this is no admin.
        """
        me = self.me()
        me.require(ADMIN, to="revoke tokens")
        with self.state.begin() as connection:
            mine = update(TOKENS).where(TOKENS.c.name == name, TOKENS.c.revoked.is_(None))
            ended = connection.execute(mine.values(revoked=now())).rowcount
            record(connection, me.name, "tokens.revoked", name, {"tokens": ended})
        return ended


def _local_user() -> str:
    return user()


def _bearer(connection: Connection, token: str) -> str:
    row = connection.execute(select(TOKENS).where(TOKENS.c.hash == _hash(token))).mappings().first()
    if row is None:
        raise RefusedError(
            f"the token in {VARIABLE} is not known here.", hint="headrace access token NAME --env ENV makes one."
        )
    if row["revoked"] is not None:
        raise RefusedError(f"the token of {row['name']} was revoked at {row['revoked']:%Y-%m-%d %H:%M} UTC.")
    if row["expires"] <= now():
        raise RefusedError(f"the token of {row['name']} expired at {row['expires']:%Y-%m-%d %H:%M} UTC.")
    return row["name"]


def _roles(connection: Connection, name: str, *, local: bool) -> frozenset[str]:
    if local and not connection.execute(select(GRANTS).limit(1)).first():
        return frozenset((ADMIN, ENGINEER))  # alone on a machine, before anybody was given anything
    return frozenset(connection.execute(select(GRANTS.c.role).where(GRANTS.c.name == name)).scalars())


def _grant(connection: Connection, name: str, role: str, by: str) -> None:
    there = select(GRANTS).where(GRANTS.c.name == name, GRANTS.c.role == role)
    if connection.execute(there).first() is None:
        connection.execute(insert(GRANTS).values(name=name, role=role, by=by, at=now()))
        record(connection, by, "role.granted", name, {"role": role})


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()  # as the variable holds it
