"""`[keys.<name>]`: the public keys of whoever attests that a commit was tested, and where the private ones are."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from headrace.core.errors import NotFoundError
from headrace.environments.keys import SIGNING_KEYS
from headrace.environments.secret import BY_REFERENCE, Secret
from headrace.environments.toml import described

if TYPE_CHECKING:
    from headrace.environments.toml import Table, TomlFile

NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
ALGORITHM = "ed25519:"
LENGTH = 32  # bytes of a public key of Ed25519
VARIABLE = "HEADRACE_SIGNING_KEY"  # holds the private key where nothing else is named


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """A key that signatures are checked with.

    Attributes:
        name: what the project calls it.
        public: `ed25519:` and its 32 bytes in base64.
    """

    name: str
    public: str

    @property
    def content(self) -> bytes:
        """The 32 bytes."""
        return base64.b64decode(self.public.removeprefix(ALGORITHM), validate=True)


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A pair of keys: the public one, and the reference to the private one.

    Attributes:
        name: what the project calls it.
        public: the public key.
        private: the environment variable that holds the private key, on the machine that signs.
    """

    name: str
    public: PublicKey
    private: Secret


def read_signing_keys(source: TomlFile) -> dict[str, SigningKey]:
    """Reads every `[keys.<name>]` of a file, by name.

    Raises:
        ConfigError: a name, a key or a value is not possible; a private key that is there in clear is not repeated.
    """
    tables = source.section("keys", source.table.get("keys", {}))
    return {name: _read(source, name, value) for name, value in tables.items()}


def find_key(keys: Mapping[str, SigningKey], name: str) -> SigningKey:
    """Looks up a key.

    Raises:
        NotFoundError: there is none of that name.
    """
    if name not in keys:
        raise NotFoundError("signing key", name, keys, hint=f"headrace release keygen {name} makes one.")
    return keys[name]


def _read(source: TomlFile, name: str, value: object) -> SigningKey:
    section = f"keys.{name}"
    if not NAME.fullmatch(name):
        raise source.error(
            f"{name!r} is not the name of a key.",
            section=section,
            hint="Small letters and digits, with single - or _ between them.",
        )
    table = source.section(section, value)
    source.only(table, SIGNING_KEYS, section)
    public = PublicKey(name=name, public=_read_public(source, section, table))
    return SigningKey(name=name, public=public, private=_read_private(source, section, table))


def _read_public(source: TomlFile, section: str, table: Table) -> str:
    value = table.get("public")
    if isinstance(value, str) and value.startswith(ALGORITHM):
        try:
            if len(base64.b64decode(value.removeprefix(ALGORITHM), validate=True)) == LENGTH:
                return value
        except binascii.Error:
            pass
    raise source.error(
        "public: there is no public key." if value is None else "public: this is no public key.",
        section=section,
        key="public",
        hint="headrace release keygen NAME makes a pair, and prints the lines of this table.",
        excerpt=False,  # somebody may have put the private one here
    )


def _read_private(source: TomlFile, section: str, table: Table) -> Secret:
    value = table.get("private", {"secret": VARIABLE})
    if isinstance(value, Mapping):
        reference = cast("Table", value)
        if list(reference) == ["secret"] and isinstance(reference["secret"], str) and reference["secret"]:
            return Secret(reference["secret"])
    shown = described(value) if isinstance(value, Mapping) else "its value"
    raise source.error(
        f"private: {shown} is no reference to a secret.",
        section=section,
        key="private",
        hint=BY_REFERENCE,
        excerpt=False,
    )
