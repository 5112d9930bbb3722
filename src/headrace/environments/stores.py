"""The stores of an environment: lakehouse, artifacts, state database, tracking store and online store.

No two environments may share a store, because a write in one environment would change the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core import vault
from headrace.environments.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.environments.secret import Value
    from headrace.environments.section import Section
    from headrace.environments.toml import TomlFile


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Where an environment keeps what it makes; see `Environment` for the attributes.

    Attributes:
        environment: the name of the environment.
    """

    environment: str
    root: Path
    lakehouse_root: str
    artifacts_root: str
    artifacts_declared: bool
    state: Value = field(repr=False)
    tracking: Value = field(repr=False)
    online: Value = field(repr=False)
    options: Mapping[str, Value] = field(repr=False)


def read_stores(section: Section, name: str) -> Stores:
    """Reads the stores of an environment. By default all of them are in the folder `.headrace/<name>`.

    Args:
        section: the environment's section.
        name: the name of the environment.

    Raises:
        ConfigError: a value is not possible.
    """
    root = section.path("root", f".headrace/{name}")
    return Stores(
        environment=name,
        root=root,
        lakehouse_root=section.place("lakehouse", root / "lakehouse"),
        artifacts_root=section.place("artifacts", root / "artifacts"),
        artifacts_declared="artifacts" in section.table,
        state=section.url("state", _sqlite(root / "state.db")),
        tracking=section.url("tracking", _sqlite(root / "mlflow.db")),
        online=_read_online(section, root / "online.db"),
        options=section.values("storage_options", example='For example: {AWS_REGION = "eu-west-1"}.'),
    )


def check_apart(source: TomlFile, stores: Sequence[Stores]) -> None:
    """Refuses two environments whose stores are in one place, or one inside the other.

    Args:
        source: the file, which the error names.
        stores: the stores of all environments.

    Raises:
        ConfigError: two environments share a lakehouse, a state database or an online store.
    """
    for i, one in enumerate(stores):
        for other in stores[i + 1 :]:
            for what, a, b in (
                ("lakehouse", one.lakehouse_root, other.lakehouse_root),
                ("state", _resolved(one.state), _resolved(other.state)),
                ("online store", _resolved(one.online), _resolved(other.online)),
            ):
                if a == b or (what == "lakehouse" and (f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/"))):
                    raise source.error(
                        f"environments {one.environment!r} and {other.environment!r} would share their {what}.",
                        section=f"env.{other.environment}",
                        hint="Give each environment a root of its own.",
                    )


def _read_online(section: Section, default: Path) -> Value:
    """A file, or a URL."""
    value = section.secret_or_text("online", section.table.get("online", str(default)))
    if isinstance(value, Secret):
        return value
    if "://" not in value:
        return str(section.path("online", str(default)))
    return value


def _sqlite(file: Path) -> str:
    """The URL of a database file; a question mark in its path would begin the URL's options."""
    return f"sqlite:///{file}".replace("%", "%25").replace("?", "%3F")


def _resolved(value: Value) -> str:
    """The present text of a value, for comparison: two references may lead to one place."""
    if isinstance(value, Secret):
        return vault.read(value.variable) or f"the secret {value.variable}"
    return value
