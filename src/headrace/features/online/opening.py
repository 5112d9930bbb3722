"""An online store from its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core import vault
from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.features.online.base import OnlineStore

VARIABLE = "env:"  # before the name of the environment variable that holds the address


def open_store(address: str, folder: Path) -> OnlineStore:
    """Opens a store; nothing is connected yet.

    Args:
        address: of a file, at which a relative path starts in `folder`; a URL of a Redis; or `env:NAME`, the environment
            variable that holds one of these, where it is a secret.
        folder: of what names the address.

    Raises:
        ConfigError: the variable is not set, or the address is none.
    """
    if address.startswith(VARIABLE):
        name = address.removeprefix(VARIABLE)
        found = vault.read(name)
        if found is None:
            raise ConfigError(
                f"the address of the online store is the secret {name!r}, and no such environment variable is set.",
                hint=f"export {name}=…",
            )
        address = found
    if "://" in address:
        from headrace.features.online.redis import RedisStore

        return RedisStore(address)
    from headrace.features.online.sqlite import SqliteStore

    return SqliteStore((folder / address).resolve())
