"""Opens an online store by its address."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from headrace.core import credentials, vault
from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.features.online.base import OnlineStore

KINDS = {  # scheme of the address → what opens it; a file has none
    "": "headrace.features.online.sqlite:open_sqlite",
    "redis": "headrace.features.online.redis:open_redis",
    "rediss": "headrace.features.online.redis:open_redis",
    "unix": "headrace.features.online.redis:open_redis",
}
VARIABLE = "env:"  # before the name of the environment variable that holds the address


def open_store(address: str, folder: Path) -> OnlineStore:
    """Opens a store; nothing is connected yet.

    Args:
        address: of a file, at which a relative path starts in `folder`; a URL of one of `KINDS`; or `env:NAME`, the environment
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
    scheme = address.partition("://")[0] if "://" in address else ""
    if scheme not in KINDS:
        known = ", ".join(f"{each}://" for each in KINDS if each)
        raise ConfigError(
            f"{credentials.shown(address)!r} is no address of an online store.", hint=f"A file, or one of {known}."
        )
    module, _, name = KINDS[scheme].partition(":")
    store: Callable[[str, Path], OnlineStore] = getattr(import_module(module), name)
    return store(address, folder)
