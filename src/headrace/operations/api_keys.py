"""API keys of programs that call the servers of an environment. Only their hashes are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.access import api_keys
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.serving import api_keys_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.access.api_keys import Scope
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class NewApiKey(Record):
    """An API key that was just made. This is the only time that its text can be read.

    Attributes:
        name: of the program that is to show it.
        scopes: what it is good for.
        key: its text, which goes into `authorization: Bearer …`.
    """

    name: str
    scopes: tuple[Scope, ...]
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ApiKeyReport(Record):
    """An API key, without its text.

    Attributes:
        name: of the program that shows it.
        scopes: what it is good for.
        created: when it was made, as ISO 8601.
        expires: when it ends, as ISO 8601; None for a key that does not expire.
    """

    name: str
    scopes: tuple[Scope, ...]
    created: str
    expires: str | None


@operation("api-key create", of="name")
def create_api_key(
    workspace: Workspace, name: str, *, scopes: Sequence[Scope] = ("predict",), days: int | None = None
) -> NewApiKey:
    """Makes an API key. As soon as there is one, servers that start require one of every caller.

    Args:
        workspace: where.
        name: of the program that is to show it.
        scopes: what it is good for, of `predict`, `metrics`, `feedback` and `gateway`.
        days: after which it expires; None for a key that does not expire.

    Raises:
        ConfigError: there is no name, it looks like another one's, or a scope is unknown.
        ConflictError: there is an API key of this name.
    """
    lasts = None if days is None else timedelta(days=days)
    key = api_keys.create(api_keys_file(workspace.configured), name, scopes=scopes, lasts=lasts)
    return NewApiKey(name=name, scopes=tuple(scopes), key=key)


@operation("api-key list")
def list_api_keys(workspace: Workspace) -> list[ApiKeyReport]:
    """The API keys of an environment, in the order in which they were made.

    Raises:
        DataError: their file cannot be read.
    """
    return [
        ApiKeyReport(name=each.name, scopes=each.scopes, created=each.created, expires=each.expires)
        for each in api_keys.read(api_keys_file(workspace.configured))
    ]


@operation("api-key revoke", of="name")
def revoke_api_key(workspace: Workspace, name: str) -> None:
    """Ends an API key; servers that run refuse it from now on.

    Raises:
        NotFoundError: there is none of this name.
    """
    api_keys.revoke(api_keys_file(workspace.configured), name)
