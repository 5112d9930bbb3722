"""Secrets in `headrace.toml`: given as names of environment variables, and refused in clear."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from headrace.core import credentials, vault
from headrace.core.errors import ConfigError
from headrace.environments.keys import CLUSTERS, VARIABLE

if TYPE_CHECKING:
    from headrace.environments.toml import Table, TomlFile

CLIENT = "sasl.oauthbearer.client"  # has a property `secret`, which is no reference to one
KEY_ITSELF = re.compile(r"\.pem$|^ssl\.key$", re.IGNORECASE)  # a property of a Kafka client; elsewhere it names a file
VARIABLE_NAME = re.compile(rf"[A-Z][A-Z0-9_]*|{VARIABLE}\w+")  # another text in its place may be the secret itself
BY_REFERENCE = 'Name an environment variable instead: {secret = "NAME"}.'


@dataclass(frozen=True)
class Secret:
    """A value by reference: the environment variable that holds it. It is read when it is used, and never shown."""

    variable: str

    def __post_init__(self) -> None:
        """Takes the variable out of the environment before code of the project is imported (`core.vault`)."""
        vault.hold(self.variable)

    def read(self, wanted_by: str) -> str:
        """Reads the value from the environment variable.

        Args:
            wanted_by: the key that needs the secret, for the message of the error.

        Returns:
            The secret in clear.

        Raises:
            ConfigError: the variable is not set.
        """
        value = vault.read(self.variable)
        if value is None:
            if VARIABLE_NAME.fullmatch(self.variable):
                what = f"{wanted_by} is the secret {self.variable!r}, and no such environment variable is set."
                raise ConfigError(what, hint=f"export {self.variable}=…")
            raise ConfigError(
                f"{wanted_by} is a secret, and the environment variable that it names is not set.",
                hint='A reference holds the name of a variable, not the secret: {secret = "NAME"}, and export NAME=….',
            )
        return value


Value = str | Secret


def clear_text(value: Value, environment: str, key: str) -> str:
    """Reads a value of an environment, with secrets in clear: for a client only, never for a log.

    Args:
        value: a text, or a reference to a secret.
        environment: the name of the environment, for the message of the error.
        key: the key that the value belongs to, for the message of the error.

    Returns:
        The text.

    Raises:
        ConfigError: the environment variable of the secret is not set.
    """
    return value.read(f"[env.{environment}] {key}") if isinstance(value, Secret) else value


def refuse_credentials(source: TomlFile, section: str, table: Table, prefix: str = "") -> None:
    """Refuses a credential anywhere in an environment's table: it would be committed with it.

    Args:
        source: the file, which the error names.
        section: the name of the environment's section.
        table: the keys of the section, or of a table inside it.
        prefix: the dotted name of that inner table, with a dot at its end. Defaults to the section itself.

    Raises:
        ConfigError: there is one. The message does not repeat it.
    """
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            inner = cast("Table", value)
            by_reference = list(inner) == ["secret"] and not name.endswith(CLIENT)
            if not by_reference or credentials.is_in(str(inner["secret"])):
                refuse_credentials(source, section, inner, f"{name}.")
            continue
        texts = [text for text in _texts(value) if credentials.is_in(text)]
        if texts or (isinstance(value, str) and value and is_credential(name)):
            what = "a password" if texts else "a secret"
            raise source.error(
                f"{name}: {what} does not belong in a file.",
                section=section,
                key=name.partition(".")[0],
                hint=BY_REFERENCE,
                excerpt=False,
            )


def is_credential(name: str) -> bool:
    """Whether an option holds a credential, to judge by its dotted name.

    The names of databases and clusters, and of the keys of an environment themselves, say nothing about their values.
    """
    what, _, option = name.partition(".")
    if what == "notify":
        option = option.rpartition(".")[2]
    if what == CLUSTERS:
        option = option.partition(".")[2]
    return (
        what in ("storage_options", "notify", CLUSTERS)
        and bool(option)
        and (credentials.is_name(option) or (what == CLUSTERS and bool(KEY_ITSELF.search(option))))
    )


def _texts(value: object) -> list[str]:
    if isinstance(value, list):
        return [text for item in cast("list[object]", value) for text in _texts(item)]
    return [value] if isinstance(value, str) else []
