"""Keys that attest tests: a new pair, and the one that signs here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.core import vault
from headrace.core.errors import ConfigError
from headrace.environments.signing_keys import NAME, VARIABLE, find_key
from headrace.operations.record import Record
from headrace.releases.attestation import new_pair, public_of

if TYPE_CHECKING:
    from headrace.environments.config import Config
    from headrace.environments.signing_keys import SigningKey


@dataclass(frozen=True, kw_only=True)
class NewKey(Record):
    """A new pair of keys.

    Attributes:
        name: what the project calls it.
        public: the public key.
        private: the private key: nothing keeps it.
        variable: the environment variable that the private key goes into, where tests are signed.
        table: the lines for `headrace.toml`.
    """

    name: str
    public: str
    private: str = field(repr=False)
    variable: str
    table: str


def new_key(name: str) -> NewKey:
    """Makes a pair of keys.

    Raises:
        ConfigError: this is no name of a key.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not the name of a key.", hint="Small letters and digits, with single - or _ between them."
        )
    public, private = new_pair()
    table = f'[keys.{name}]\npublic = "{public}"\nprivate = {{secret = "{VARIABLE}"}}'
    return NewKey(name=name, public=public, private=private, variable=VARIABLE, table=table)


def find_signer(project: Config, name: str | None) -> SigningKey | None:
    """The key that signs: the named one, else the only one whose private part is here; None where there is none.

    Raises:
        ConfigError: it is not here, or is that of another public key.
    """
    if name is None:
        here = [
            key for key in project.keys.values() if vault.read(key.private.variable)
        ]  # CI hosts make a secret that is not there empty
        if len(here) != 1:
            return None
        chosen = here[0]
    else:
        chosen = find_key(project.keys, name)
    if public_of(private_key(chosen), chosen.name) != chosen.public.public:
        raise ConfigError(
            f"the private key in {chosen.private.variable} is not that of [keys.{chosen.name}].",
            hint="Put the private key of that pair there, or leave the variable unset to test without an attestation.",
        )
    return chosen


def private_key(key: SigningKey) -> str:
    """The private part of a key.

    Raises:
        ConfigError: it is not here.
    """
    return key.private.read(f"[keys.{key.name}] private")
