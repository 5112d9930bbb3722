"""The policy of an environment in one version of `headrace.toml`; `policy.py` says which version counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, cast, get_args

from headrace.core.clock import duration
from headrace.core.errors import ConfigError
from headrace.environments.readable_tables import read_reads
from headrace.environments.section import Section, environment_tables
from headrace.environments.signing_keys import PublicKey, read_signing_keys
from headrace.environments.toml import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.environments.signing_keys import SigningKey
    from headrace.environments.toml import TomlFile

Runs = Literal["any", "commit", "release"]  # what may run, from the loosest to the strictest
RUNS: tuple[Runs, ...] = get_args(Runs)
RuntimeRule = Literal["any", "locked"]  # what code may run with, from the loosest to the strictest
RUNTIMES: tuple[RuntimeRule, ...] = get_args(RuntimeRule)
SHORTEST_TTL = timedelta(hours=1)  # a pipeline reads what it wrote before
ROLE = re.compile(r"[a-z][a-z_]{1,40}")


@dataclass(frozen=True, kw_only=True)
class EnvironmentPolicy:
    """What may happen in an environment.

    Attributes:
        code: what may run: `any` (the working tree), `commit` (committed code), `release` (a tagged commit). Defaults
            to `any` in the lowest environment, `release` in the highest, and `commit` between them.
        releases: the pattern that the tag of a release matches. Defaults to `v*`.
        reads: other environments whose tables can be read here and are never written, in order, each with patterns of the
            tables. Defaults to all tables of the highest.
        sample: the share, over 0 and up to 1, of the decisions that models are trained on and score here. Defaults to 1.
        ttl: how long a table that is not refreshed stays; None: for ever.
        trials: the most sets of parameters that tuning tries here; None: as many as a program declares.
        approvals: the roles whose approval Production takes here, whatever a program declares. Defaults to none.
        attested_by: the keys of which one has to have signed the attestation of a release. Defaults to none: any release runs.
        runtime: what code may run with: `any` (whatever is installed), `locked` (the Python and the distributions that the
            lock file of that code names). Defaults to `any`.
        order: the environments from the lowest to the highest, on which defaults depend.
    """

    code: Runs
    releases: str
    reads: Mapping[str, tuple[str, ...]]
    sample: float
    ttl: timedelta | None = None
    trials: int | None = None
    approvals: tuple[str, ...]
    attested_by: tuple[PublicKey, ...] = ()
    runtime: RuntimeRule = "any"
    order: tuple[str, ...]


def read_policy(source: TomlFile, name: str) -> EnvironmentPolicy | None:
    """Reads what a version of `headrace.toml` says may happen in an environment.

    Other keys are not looked at: an old version of the file may have had others.

    Args:
        source: the file.
        name: the name of the environment.

    Returns:
        The policy; None where the file does not know the environment.

    Raises:
        ConfigError: the file is malformed.
    """
    tables = environment_tables(source)
    if name not in tables:
        return None
    table = source.section(f"env.{name}", tables[name])
    section = Section(source=source, folder=source.path.parent, name=f"env.{name}", table=table)
    return policy_of(section, name, list(tables), read_signing_keys(source))


def policy_of(section: Section, name: str, names: list[str], keys: Mapping[str, SigningKey]) -> EnvironmentPolicy:
    """Reads the policy of one environment.

    Args:
        section: the environment's section.
        name: the name of the environment.
        names: all environments, from the lowest to the highest.
        keys: the signing keys of the same file, by name.

    Raises:
        ConfigError: a value is not possible.
    """
    lowest, highest = names[0], names[-1]
    default = "any" if name == lowest else "release" if name == highest else "commit"
    runs = cast("Runs", section.one_of("code", RUNS, default))
    attested_by = _read_attested_by(section, keys)
    if attested_by and runs != "release":
        raise section.error(
            "attested_by",
            f"releases are attested, and {name!r} runs {runs!r}.",
            hint='Add code = "release", or leave it out.',
        )
    return EnvironmentPolicy(
        code=runs,
        releases=section.text("releases", "v*"),
        reads=read_reads(section, name, names, () if name == highest else (highest,)),
        sample=section.share("sample"),
        ttl=_read_ttl(section, name, names),
        trials=_read_trials(section),
        approvals=_read_approvals(section),
        attested_by=attested_by,
        runtime=cast("RuntimeRule", section.one_of("runtime", RUNTIMES, "any")),
        order=tuple(names),
    )


def _read_ttl(section: Section, name: str, names: list[str]) -> timedelta | None:
    """A length of time of an hour or more, below the highest environment."""
    value = section.table.get("ttl")
    if value is None:
        return None
    if name == names[-1]:
        raise section.wrong("ttl", value, f"is not possible in {name!r}, the highest environment: its tables stay.")
    try:
        ttl = duration(value) if isinstance(value, str) else timedelta()
    except ConfigError:
        ttl = timedelta()
    if ttl < SHORTEST_TTL:
        raise section.wrong("ttl", value, "is no time to live.", hint='An hour or more: ttl = "14d", "36h".')
    return ttl


def _read_trials(section: Section) -> int | None:
    """A whole number from 1."""
    value = section.table.get("trials")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise section.wrong("trials", value, "is no number of trials.", hint="A whole number from 1: trials = 2.")
    return value


def _read_attested_by(section: Section, keys: Mapping[str, SigningKey]) -> tuple[PublicKey, ...]:
    """Keys by name, each once."""
    value = section.table.get("attested_by", [])
    names = cast("list[object]", value) if isinstance(value, list) else [None]
    for name in names:
        if not isinstance(name, str):
            raise section.wrong(
                "attested_by", value, "is not a list of keys.", hint='For example: attested_by = ["ci"].'
            )
        if name not in keys:
            hint = suggest(name, keys) if keys else f"headrace release keygen {name} makes it, and prints its table."
            raise section.error("attested_by", f"there is no [keys.{name}].", hint=hint)
    return tuple(keys[name].public for name in dict.fromkeys(cast("list[str]", names)))


def _read_approvals(section: Section) -> tuple[str, ...]:
    """Roles, each once."""
    value = section.table.get("approvals", [])
    roles = cast("list[object]", value) if isinstance(value, list) else [None]
    for role in roles:
        if not isinstance(role, str) or not ROLE.fullmatch(role):
            raise section.wrong(
                "approvals", value, "is not a list of roles.", hint='For example: approvals = ["governance"].'
            )
    return tuple(dict.fromkeys(cast("list[str]", roles)))
