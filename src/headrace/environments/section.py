"""One section of `headrace.toml` with the variables that override it: each key is checked when it is read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from headrace.core import credentials
from headrace.core.errors import ConfigError
from headrace.environments.keys import VARIABLE
from headrace.environments.secret import BY_REFERENCE, Secret, is_credential
from headrace.environments.toml import Table, TomlFile, described, is_private, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.environments.secret import Value

DEFAULT_ENVIRONMENTS = ("dev", "staging", "prod")
ENV_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


def environment_tables(source: TomlFile) -> dict[str, object]:
    """Reads which environments a file declares.

    Returns:
        The name of each environment and what the file holds under it, from the lowest environment to the highest. A
        file without environments has dev, staging and prod.

    Raises:
        ConfigError: `env` is not a table, or a name is not possible.
    """
    tables = source.section("env", source.table.get("env", {})) or {name: {} for name in DEFAULT_ENVIRONMENTS}
    for name in tables:
        if not ENV_NAME.fullmatch(name):
            raise source.error(
                f"{name!r} is not the name of an environment.",
                section="env",
                key=name,
                hint="Small letters and digits, with single - or _ between them.",
            )
    return dict(tables)


@dataclass(frozen=True, kw_only=True)
class Section:
    """The keys of an environment, or of a table inside it.

    Attributes:
        source: the file.
        folder: the project's folder, at which relative paths start.
        name: the dotted name of the section: `env.prod.notify`.
        table: the keys and their values, those of variables included.
        overridden: the keys whose values come from a variable.
    """

    source: TomlFile
    folder: Path
    name: str
    table: Table
    overridden: frozenset[str] = frozenset()

    def error(self, key: str, what: str, *, hint: str = "", excerpt: bool = True) -> ConfigError:
        """Returns an error about a key, which names the line in the file or the variable that the value comes from."""
        if key in self.overridden:
            return ConfigError(f"{VARIABLE}{self.name.removeprefix('env.')}__{key}: {what}", hint=hint)
        return self.source.error(f"{key}: {what}", section=self.name, key=key, hint=hint, excerpt=excerpt)

    def wrong(self, key: str, value: object, reason: str, *, hint: str = "") -> ConfigError:
        """Returns an error about a value.

        The value of a variable is not repeated, because secrets are kept there; nor is an address of `notify` or `audit`.
        """
        hidden = key in self.overridden or is_private(self.name, key)
        shown = "its value" if hidden else described(value)
        return self.error(key, f"{shown} {reason}", hint=hint, excerpt=shown == repr(value))

    def inner(self, key: str, known: Iterable[str] | None, *, example: str) -> Section:
        """Reads a key that is a table.

        Args:
            key: the key. An absent one counts as an empty table.
            known: the keys that the table may have; None where the caller checks them.
            example: what to write, for the message of the error.

        Returns:
            The table as a section of its own, which no variable overrides.

        Raises:
            ConfigError: the value is not a table, or a key in it is unknown.
        """
        value = self.table.get(key, {})
        if not isinstance(value, Mapping):
            raise self.wrong(key, value, "is not a table.", hint=example)
        name, table = f"{self.name}.{key}", cast("Table", value)
        if known is not None:
            self.source.only(table, known, name)
        return Section(source=self.source, folder=self.folder, name=name, table=table)

    def text(self, key: str, default: str) -> str:
        """Returns a text that is not empty.

        Raises:
            ConfigError: the value is something else.
        """
        value = self.table.get(key, default)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, value, "is not a text.")
        return value

    def one_of(self, key: str, known: tuple[str, ...], default: str) -> str:
        """Returns one of the known texts.

        Raises:
            ConfigError: the value is another one.
        """
        value = self.text(key, default)
        if value not in known:
            raise self.wrong(key, value, "is not known.", hint=suggest(value, known))
        return value

    def share(self, key: str) -> float:
        """Returns a number over 0 and up to 1. Defaults to 1.

        Raises:
            ConfigError: the value is something else.
        """
        value = self.table.get(key, 1.0)
        try:
            share = float(cast("float", value))
        except (TypeError, ValueError):
            share = -1.0
        if isinstance(value, bool) or not 0 < share <= 1:
            raise self.wrong(key, value, "is not a share.", hint="A number over 0, up to 1: 0.02 is two in a hundred.")
        return share

    def path(self, key: str, default: str) -> Path:
        """Returns a folder on this machine. A relative path starts at the project's folder.

        Raises:
            ConfigError: the value is a URL, or not a text.
        """
        value = self.text(key, default)
        if "://" in value:
            raise self.wrong(
                key,
                value,
                "is a URL; this is a folder.",
                hint="An object store goes into lakehouse = and artifacts =.",
            )
        return Path(os.path.normpath(self.folder / Path(value).expanduser()))

    def place(self, key: str, default: Path) -> str:
        """Returns a folder, or the URL of an object store.

        Raises:
            ConfigError: there is a password in it, or it is not a text.
        """
        value = self.text(key, str(default))
        if credentials.is_in(value):  # the file has been checked already: it is the value of a variable
            hint = "It is shown where the place is. What gives access goes into storage_options."
            raise self.error(key, "an address with a password in it.", hint=hint)
        return value if "://" in value else str(self.path(key, str(default)))

    def url(self, key: str, default: str) -> Value:
        """Returns a URL, or a reference to a secret that is one.

        Raises:
            ConfigError: the value is something else.
        """
        value = self.secret_or_text(key, self.table.get(key, default))
        if isinstance(value, str) and "://" not in value:
            raise self.wrong(key, value, "is not a URL.", hint=f"For example: {default!r}.")
        return value

    def secret(self, key: str, value: object) -> Secret:
        """Returns a reference to a secret, which is never there in clear.

        Raises:
            ConfigError: the value is something else.
        """
        reference = self.secret_or_text(key, value)
        if not isinstance(reference, Secret):
            raise ConfigError(
                f"{self.source.path}: [{self.name}] {key}: a secret does not belong in a file.", hint=BY_REFERENCE
            )
        return reference

    def secret_or_text(self, key: str, value: object) -> Value:
        """Returns a text, or a reference to a secret. A variable that holds a credential is named and never repeated.

        Raises:
            ConfigError: the value is neither.
        """
        if isinstance(value, str) and value:
            return self.variable(key, key, value) if key in self.overridden else value
        if isinstance(value, Mapping):
            reference = cast("Table", value)
            if list(reference) == ["secret"] and isinstance(reference["secret"], str) and reference["secret"]:
                return Secret(reference["secret"])
        raise self.wrong(key, value, "is neither a text nor a secret.", hint='For example: {secret = "NAME"}.')

    def variable(self, key: str, option: str, value: str) -> Value:
        """Returns the value of a variable or, where it is a credential, a reference to the variable.

        Args:
            key: the key as the variable's name spells it.
            option: the dotted name of the option that it sets.
            value: the value of the variable.
        """
        if credentials.is_in(value) or is_credential(option):
            return Secret(f"{VARIABLE}{self.name.removeprefix('env.')}__{key}")
        return value

    def values(self, key: str, *, example: str) -> dict[str, Value]:
        """Reads a key that is a table of texts and secrets, of which variables may set single ones.

        Args:
            key: the key.
            example: what to write, for the message of the error.

        Returns:
            The values by their names; those of variables take precedence.

        Raises:
            ConfigError: it is not a table, or a value is neither a text nor a secret.
        """
        table = self.table.get(key, {})
        if not isinstance(table, Mapping):
            raise self.wrong(key, table, "is not a table.", hint=example)
        in_file = {name: self.secret_or_text(key, value) for name, value in cast("Table", table).items()}
        in_variables = {
            (name := split.removeprefix(f"{key}__")): self.variable(split, f"{key}.{name}", str(self.table[split]))
            for split in self.overridden
            if split.startswith(f"{key}__")
        }
        return {**in_file, **in_variables}
