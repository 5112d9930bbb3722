"""Identities in an environment, their roles, and their tokens."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.access import people
from headrace.access.names import BOOTSTRAP
from headrace.access.rights import ROLES
from headrace.core.errors import ConfigError, HeadraceError
from headrace.deployment.declarations import Deployment
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Caller(Record):
    """Whoever runs this process.

    Attributes:
        name: by which the environment knows them.
        roles: that they hold there, by name.
        simulated: whether they stand for a person who does not exist, as in a demonstration.
    """

    name: str
    roles: tuple[str, ...]
    simulated: bool


@dataclass(frozen=True, kw_only=True)
class GrantReport(Record):
    """A role that somebody holds.

    Attributes:
        name: of the person or the program.
        role: that they hold.
        by: who granted it.
        at: when it was granted.
        simulated: whether the person does not exist, as in a demonstration.
    """

    name: str
    role: str
    by: str
    at: datetime
    simulated: bool

    @property
    def label(self) -> str:
        """The name as people read it: a simulated person is labelled."""
        return people.label(self.name, [self.name] if self.simulated else [])


@dataclass(frozen=True, kw_only=True)
class Granted(Record):
    """A role was granted.

    Attributes:
        name: who holds it now.
        role: the role.
        env: the environment in which they hold it.
        doubt: why the role may be misspelt, in whole sentences; empty when a gate or Headrace itself knows it.
    """

    name: str
    role: str
    env: str
    doubt: str


@dataclass(frozen=True, kw_only=True)
class Revoked(Record):
    """A role was taken away, or tokens were ended, or both.

    Attributes:
        name: of the person.
        role: which they do not hold any more; None when no role was named.
        tokens: how many tokens were ended; None when tokens were left alone.
    """

    name: str
    role: str | None
    tokens: int | None


@dataclass(frozen=True, kw_only=True)
class AccessToken(Record):
    """A new token by which somebody is known. Only its hash is kept, so this is the only time that it can be read.

    Attributes:
        name: whose token it is.
        by: who made it.
        token: its text, which goes into the variable HEADRACE_TOKEN.
        bars_approval: whether neither of the two can approve what the other one requests, because `by` has seen the token.
    """

    name: str
    by: str
    token: str = field(repr=False)
    bars_approval: bool


@operation("access me")
def current_caller(workspace: Workspace) -> Caller:
    """Who runs this process, and the roles that they hold."""
    me = workspace.access.me(enrolling=True)
    return Caller(name=me.name, roles=tuple(sorted(me.roles)), simulated=me.simulated)


@operation("access list")
def list_grants(workspace: Workspace) -> list[GrantReport]:
    """Every role that was granted, by name and role; nothing while the operating system's user is alone, and admin."""
    return [GrantReport(**vars(grant)) for grant in workspace.access.grants()]


@operation("access bootstrap")
def bootstrap(
    workspace: Workspace, *, simulated: bool = False, keep: Callable[[str], None] | None = None
) -> AccessToken:
    """Makes the identity that enrols people, once, before anybody was granted a role.

    Args:
        workspace: where.
        simulated: whether those whom it enrols stand for people who do not exist, and are labelled so.
        keep: called with the token before the identity exists: what it keeps is not lost where this process dies.

    Returns:
        The token of the new identity.

    Raises:
        RefusedError: somebody was granted a role here before, or the caller is no admin.
    """
    me = workspace.access.me()
    text = workspace.access.bootstrap(simulated=simulated, keep=keep)
    return AccessToken(name=BOOTSTRAP, by=me.name, token=text, bars_approval=False)


@operation("access grant", of="name")
def grant_role(workspace: Workspace, name: str, role: str) -> Granted:
    """Grants a role to a person or a program; granting it again changes nothing.

    Args:
        workspace: where.
        name: who is to hold it.
        role: one that Headrace knows, or one for which a gate of the project asks, such as `governance`.

    Raises:
        RefusedError: the caller may not enrol people, or is simulated and the other one is not.
        ConfigError: this is not a name or not a role, or the name looks like somebody else's.
    """
    workspace.access.grant(name, role)
    return Granted(name=name, role=role, env=workspace.configured.name, doubt=_doubt(workspace, name, role))


@operation("access revoke", of="name")
def revoke_access(workspace: Workspace, name: str, role: str | None = None, *, tokens: bool = False) -> Revoked:
    """Takes a role away, ends somebody's tokens, or both.

    Args:
        workspace: where.
        name: of the person.
        role: that they do not hold any more; None leaves their roles alone.
        tokens: whether every token of theirs ends.

    Raises:
        ConfigError: neither a role nor the tokens are to be revoked.
        NotFoundError: nobody of that name holds the role.
        RefusedError: the caller is no admin, or this is the only admin.
    """
    if role is None and not tokens:
        raise ConfigError(f"nothing of {name} is to be revoked.", hint="Name a role, or the tokens.")
    if role is not None:
        workspace.access.revoke(name, role)
    return Revoked(name=name, role=role, tokens=workspace.access.revoke_tokens(name) if tokens else None)


@operation("access token", of="name")
def create_access_token(workspace: Workspace, name: str) -> AccessToken:
    """Makes a token by which somebody is known for 90 days.

    Args:
        workspace: where.
        name: of somebody who holds a role.

    Raises:
        RefusedError: the caller may not enrol people, or is simulated and the other one is not.
        NotFoundError: nobody of that name holds a role.
    """
    text = workspace.access.token(name)
    by = workspace.access.me(enrolling=True).name
    return AccessToken(name=name, by=by, token=text, bars_approval=by not in (BOOTSTRAP, name))


def _doubt(workspace: Workspace, name: str, role: str) -> str:
    """What is odd about a role: no gate of the project asks for it, and Headrace does not know it itself."""
    try:
        deployments = workspace.project.all(Deployment)
    except HeadraceError:  # a program that cannot be loaded asks for nothing that can be known
        return ""
    required = {role for each in deployments for gate in each.gates for role in gate.roles}
    known = sorted({*ROLES, *required})
    if role in known:
        return ""
    near = difflib.get_close_matches(role, known, n=1)
    possible = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(map(repr, known))}."
    return (
        f"No gate of the project asks for the role {role!r}: {possible} "
        f"To take it back: headrace access revoke {name} {role} --env {workspace.configured.name}"
    )
