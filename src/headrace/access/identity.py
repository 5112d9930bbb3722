"""The identity of a caller in an environment, and its roles.

A person at this machine is identified by the name of the operating system's user, anybody else by a token
(`HEADRACE_TOKEN`). A person who can write the file of the state database can act as anybody: on a laptop the checks
protect against mistakes, and with the database behind a server of its own against people.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from headrace.access import names, people
from headrace.access.audit import AUDIT, record
from headrace.access.people import GRANTS, PEOPLE, TOKENS
from headrace.access.rights import ADMIN, ENGINEER, ENROLLER, VARIABLE, roles
from headrace.core import vault
from headrace.core.clock import now
from headrace.core.errors import ConfigError, NotFoundError, RefusedError
from headrace.core.system import user
from headrace.environments.environment_policy import ROLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy import Connection

    from headrace.core.ids import Json
    from headrace.core.state import State

TOKEN_LIFE = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody who acts, with the roles that they hold here.

    Attributes:
        hands: who could act as them: the makers of the token that they show, up to the operating system's user or to the
            bootstrap identity; nobody for the operating system's user.
        simulated: whether they stand for a person that there is not.
    """

    name: str
    roles: frozenset[str]
    hands: frozenset[str] = frozenset()
    simulated: bool = False

    def shares_hands(self, name: str, hands: Collection[str]) -> bool:
        """Whether this may be the same person as somebody known by a token that came through these hands."""
        return name == self.name or name in self.hands or self.name in hands

    def holds(self, *roles: str) -> bool:
        """Whether they hold one of these roles."""
        return not self.roles.isdisjoint(roles)

    def require(self, *roles: str, to: str) -> None:
        """Refuses whoever holds none of these roles.

        Raises:
            RefusedError: says who, what for, and which role is missing.
        """
        if not roles:
            raise RefusedError(f"{self.name} may not {to}: it takes no role that is missing.")
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
    simulated: bool


class Access:
    """Identities and roles of one environment."""

    def __init__(self, state: State) -> None:
        self.state = state
        state.create(AUDIT, *people.ALL)

    def me(self, *, enrolling: bool = False) -> Identity:
        """Whoever runs this process.

        Args:
            enrolling: whether it may be the bootstrap identity, which enrols people and does nothing else.

        Raises:
            RefusedError: the token is unknown, has expired or was revoked; the operating system's user is called as
                nobody can be; it is the bootstrap identity.
        """
        with self.state.read() as connection:
            found = _identity(connection, vault.read(VARIABLE))
        if found.name == names.BOOTSTRAP and not enrolling:
            raise RefusedError(
                f"{found.name} enrols people and does nothing else.",
                hint=f"Set {VARIABLE} to a person's token, or unset it.",
            )
        return found

    def people(self) -> frozenset[str]:
        """Who holds a role; before anybody was granted one, the operating system's user alone."""
        with self.state.read() as connection:
            return people.people(connection)

    def simulated(self) -> frozenset[str]:
        """Who stands for a person that there is not, as in a demonstration."""
        with self.state.read() as connection:
            return people.simulated(connection)

    def advice(self, role: str, *, asked_by: str) -> str:
        """How there comes to be somebody to sign with a role, where nobody but the one who asks is here; else empty."""
        with self.state.read() as connection:
            return people.advice(connection, role, asked_by=asked_by)

    def grants(self) -> list[Grant]:
        """Every role that was granted, by name."""
        with self.state.read() as connection:
            wanted = select(GRANTS, PEOPLE.c.simulated).join(PEOPLE, PEOPLE.c.name == GRANTS.c.name)
            rows = connection.execute(wanted.order_by(GRANTS.c.name, GRANTS.c.role)).mappings()
            return [Grant(**dict(row)) for row in rows]

    def bootstrap(
        self,
        *,
        simulated: bool = False,
        life: timedelta = TOKEN_LIFE,
        keep: Callable[[str], None] | None = None,
    ) -> str:
        """Makes the identity that enrols people, and gives its token, shown once; whoever runs this keeps their roles.

        Who makes a token can act by it, so that nobody whom one enrols oneself is a second pair of eyes. At the root
        somebody is trusted: who makes this identity and uses it alone can be two people, and the record shows it.

        Args:
            simulated: whether those whom it enrols stand for people that there are not, and are labelled so.
            life: of the token.
            keep: called with the token before the identity exists: what it keeps is not lost where this process dies.

        Raises:
            RefusedError: somebody was granted a role here before.
        """
        me = self.me()
        with self.state.begin() as connection:
            if connection.execute(select(GRANTS).limit(1)).first() or _exists(connection, names.BOOTSTRAP):
                raise RefusedError(
                    f"{names.BOOTSTRAP} is made once, while nobody was granted anything here.",
                    hint="An admin enrols more people: headrace access grant NAME ROLE, headrace access token NAME.",
                )
            _keep_roles(connection, me)
            people.add(connection, names.BOOTSTRAP, by=me.name, simulated=simulated)
            _grant(connection, names.BOOTSTRAP, ENROLLER, me)
            token = _token(connection, names.BOOTSTRAP, me, None, life, {"simulated": True} if simulated else {})
            if keep is not None:
                keep(token)
            return token

    def grant(self, name: str, role: str) -> None:
        """Gives somebody a role; again is the same. The first one to grant keeps the roles that he had alone.

        Raises:
            RefusedError: whoever runs this may not enrol, or is simulated and the other one is not.
            ConfigError: not a name, one that looks like somebody else's, or not a role.
        """
        me = self.me(enrolling=True)
        me.require(*roles("access grant"), to="grant roles")
        names.check(name)
        if not ROLE.fullmatch(role):
            raise ConfigError(f"{role!r} is not a role.", hint="Small letters and _, such as governance.")
        if role == ENROLLER:
            raise RefusedError(
                f"{ENROLLER} is the role of {names.BOOTSTRAP} alone.", hint=f"The role {ADMIN} enrols people, too."
            )
        with self.state.begin() as connection:
            if not connection.execute(select(GRANTS).limit(1)).first():
                _keep_roles(connection, me)
            _check_simulated(connection, me, name)
            people.add(connection, name, by=me.name, simulated=me.simulated)
            _grant(connection, name, role, me)
            # after the entry in the record, on which two who write at once wait for each other: both are seen here
            names.check_free(name, people.known(connection))

    def revoke(self, name: str, role: str) -> None:
        """Takes a role away.

        Raises:
            NotFoundError: nobody of that name holds it.
            RefusedError: whoever runs this is no admin, or it is the last admin.
        """
        me = self.me()
        me.require(*roles("access revoke"), to="revoke roles")
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
        """A new token by which somebody is known; shown once, kept as a hash, and by which token it was made.

        Raises:
            RefusedError: whoever runs this may not enrol, or is simulated and the other one is not.
            ConfigError: nobody can be called so.
            NotFoundError: nobody of that name holds a role.
        """
        me = self.me(enrolling=True)
        me.require(*roles("access token"), to="make tokens")
        names.check_free(name, ())
        shown = vault.read(VARIABLE)
        with self.state.begin() as connection:
            holders = set(connection.execute(select(GRANTS.c.name)).scalars())
            if name not in holders:
                raise NotFoundError(
                    "person", name, holders, hint=f"Grant a role first: headrace access grant {name} ROLE"
                )
            _check_simulated(connection, me, name)
            return _token(connection, name, me, shown, life, {"simulated": True} if me.simulated else {})

    def revoke_tokens(self, name: str) -> int:
        """Ends every token of a person; gives how many there were.

        Raises:
            RefusedError: whoever runs this is no admin.
        """
        me = self.me()
        me.require(*roles("access revoke"), to="revoke tokens")
        with self.state.begin() as connection:
            mine = update(TOKENS).where(TOKENS.c.name == name, TOKENS.c.revoked.is_(None))
            ended = connection.execute(mine.values(revoked=now())).rowcount
            record(connection, me.name, "access_token.revoked", name, {"tokens": ended})
        return ended


def _identity(connection: Connection, token: str | None) -> Identity:
    name = _local_user(connection) if token is None else _bearer(connection, token)
    return Identity(
        name=name,
        roles=_roles(connection, name, local=token is None),
        hands=people.hands(connection, None if token is None else people.token_hash(token)),
        simulated=name in people.simulated(connection),
    )


def _local_user(connection: Connection) -> str:
    """The operating system's user, if they are called as a person can be and like nobody else here."""
    name = user()
    try:
        return names.check_free(name, connection.execute(select(PEOPLE.c.name)).scalars().all())
    except ConfigError as error:
        raise RefusedError(
            f"the operating system's user cannot act here: {error.what}",
            hint=f"Act as another one, or by a token: an admin makes it, and it goes into {VARIABLE}.",
        ) from None


def _bearer(connection: Connection, token: str) -> str:
    row = connection.execute(select(TOKENS).where(TOKENS.c.hash == people.token_hash(token))).mappings().first()
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


def _exists(connection: Connection, name: str) -> bool:
    return connection.execute(select(PEOPLE).where(PEOPLE.c.name == name)).first() is not None


def _keep_roles(connection: Connection, me: Identity) -> None:
    """The first one who enrols somebody keeps as grants what he had alone."""
    people.add(connection, me.name, by=me.name, simulated=False)
    for role in sorted(me.roles):
        _grant(connection, me.name, role, me)


def _check_simulated(connection: Connection, me: Identity, name: str) -> None:
    """What is simulated makes nothing for somebody who is not: the label would be missing there."""
    if me.simulated and _exists(connection, name) and name not in people.simulated(connection):
        raise RefusedError(
            f"{me.name} is simulated and {name} is not.", hint="Who is simulated enrols simulated people only."
        )


def _grant(connection: Connection, name: str, role: str, me: Identity) -> None:
    there = select(GRANTS).where(GRANTS.c.name == name, GRANTS.c.role == role)
    if connection.execute(there).first() is None:
        connection.execute(insert(GRANTS).values(name=name, role=role, by=me.name, at=now()))
        told: dict[str, Json] = {"role": role}
        record(connection, me.name, "role.granted", name, told | ({"simulated": True} if me.simulated else {}))


def _token(
    connection: Connection, name: str, me: Identity, shown: str | None, life: timedelta, told: dict[str, Json]
) -> str:
    made, at = f"hr_{secrets.token_urlsafe(32)}", now()
    maker = None if shown is None else people.token_hash(shown)
    values = {
        "hash": people.token_hash(made),
        "name": name,
        "by": me.name,
        "maker": maker,
        "at": at,
        "expires": at + life,
    }
    connection.execute(insert(TOKENS).values(**values))
    record(connection, me.name, "access_token.created", name, {"expires": (at + life).isoformat(), **told})
    return made
