"""API keys of programs that call a server: only their hashes are stored, each with its scope and its expiry.

A file beside the environment's state, replaced in one rename, so that a server reads it without a database.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, get_args

from headrace.access import names
from headrace.core.clock import now
from headrace.core.errors import ConfigError, ConflictError, DataError, NotFoundError
from headrace.core.locks import hold

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Scope = Literal["predict", "metrics", "feedback", "gateway"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "hr_"


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """What is kept of an API key.

    Attributes:
        name: of the program that shows it.
        hash: SHA-256 of its text, in hexadecimal.
        scopes: what it is good for.
        created: when it was made, as ISO 8601.
        expires: when it ends, as ISO 8601; None for a key that does not expire.
    """

    name: str
    hash: str
    scopes: tuple[Scope, ...]
    created: str
    expires: str | None

    def is_valid(self, at: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires is None or datetime.fromisoformat(self.expires) > at


def read(file: Path) -> list[ApiKey]:
    """The API keys of a file; none where there is no file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return [_api_key(each) for each in stored["keys"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"the API keys in {str(file)!r} cannot be read: {error}.") from error


def _api_key(stored: dict[str, Any]) -> ApiKey:
    values: dict[str, Any] = {**stored, "scopes": tuple(stored["scopes"])}
    return ApiKey(**values)


def create(file: Path, name: str, *, scopes: Sequence[Scope], lasts: timedelta | None) -> str:
    """Makes an API key.

    Args:
        file: in which its hash is kept.
        name: of the program that is to show it.
        scopes: what it is good for.
        lasts: after which time it expires; None for a key that does not expire.

    Returns:
        Its text, which nobody can read again.

    Raises:
        ConfigError: no name, one that looks like another one's, or an unknown scope.
        ConflictError: there is an API key of this name.
    """
    names.check(name)
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise ConfigError(f"{unknown[0]!r} is no scope.", hint=f"There is {', '.join(SCOPES)}.")
    text = PREFIX + secrets.token_urlsafe(32)
    created = now()
    key = ApiKey(
        name=name,
        hash=hashed(text),
        scopes=tuple(scopes),
        created=created.isoformat(),
        expires=None if lasts is None else (created + lasts).isoformat(),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with hold(file.with_suffix(".lock"), wait=True):
        there = read(file)
        if any(each.name == name for each in there):
            raise ConflictError(f"there is an API key {name!r} already.", hint=f"headrace api-key revoke {name}")
        names.check_free(name, [each.name for each in there])
        _write(file, [*there, key])
    return text


def revoke(file: Path, name: str) -> None:
    """Ends an API key.

    Raises:
        NotFoundError: there is none of this name.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with hold(file.with_suffix(".lock"), wait=True):
        there = read(file)
        left = [each for each in there if each.name != name]
        if len(left) == len(there):
            raise NotFoundError("API key", name, [each.name for each in there])
        _write(file, left)


def hashed(text: str) -> str:
    """The hash of an API key: its text is random and long, so that no salt is needed."""
    return sha256(text.encode()).hexdigest()


def _write(file: Path, keys: Sequence[ApiKey]) -> None:
    making = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump({"keys": [asdict(each) for each in keys]}, opened, indent=1)
        opened.flush()
        os.fsync(opened.fileno())
    making.replace(file)
