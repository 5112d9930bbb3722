"""The policy of an environment in one version of `headrace.toml`; `policy.py` says which version counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from headrace.environments.section import Section, environment_tables
from headrace.environments.toml import described, suggest

if TYPE_CHECKING:
    from headrace.environments.toml import TomlFile

Runs = Literal["any", "commit", "release"]  # what may run, from the loosest to the strictest
RUNS: tuple[Runs, ...] = get_args(Runs)
ROLE = re.compile(r"[a-z][a-z_]{1,40}")


@dataclass(frozen=True, kw_only=True)
class EnvironmentPolicy:
    """What may happen in an environment.

    Attributes:
        code: what may run: `any` (the working tree), `commit` (committed code), `release` (a tagged commit). Defaults
            to `any` in the lowest environment, `release` in the highest, and `commit` between them.
        releases: the pattern that the tag of a release matches. Defaults to `v*`.
        reads: other environments whose tables can be read here, in order, and are never written. Defaults to the highest.
        sample: the share, over 0 and up to 1, of the decisions that models are trained on and score here. Defaults to 1.
        approvals: the roles whose approval Production takes here, whatever a program declares. Defaults to none.
        order: the environments from the lowest to the highest, on which defaults depend.
    """

    code: Runs
    releases: str
    reads: tuple[str, ...]
    sample: float
    approvals: tuple[str, ...]
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
    return policy_of(section, name, list(tables))


def policy_of(section: Section, name: str, names: list[str]) -> EnvironmentPolicy:
    """Reads the policy of one environment.

    Args:
        section: the environment's section.
        name: the name of the environment.
        names: all environments, from the lowest to the highest.

    Raises:
        ConfigError: a value is not possible.
    """
    lowest, highest = names[0], names[-1]
    default = "any" if name == lowest else "release" if name == highest else "commit"
    return EnvironmentPolicy(
        code=cast("Runs", section.one_of("code", RUNS, default)),
        releases=section.text("releases", "v*"),
        reads=_read_reads(section, name, names, () if name == highest else (highest,)),
        sample=section.share("sample"),
        approvals=_read_approvals(section),
        order=tuple(names),
    )


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


def _read_reads(section: Section, name: str, names: list[str], default: tuple[str, ...]) -> tuple[str, ...]:
    """Other environments, each once."""
    value = section.table.get("reads", list(default))
    if not isinstance(value, list):
        raise section.wrong("reads", value, "is not a list.", hint='For example: reads = ["prod"], or [] for none.')
    others = [other for other in names if other != name]
    for other in cast("list[object]", value):
        if other == name:
            raise section.wrong("reads", name, "reads its own tables anyway.")
        if other not in others:
            raise section.error(
                "reads",
                f"there is no environment {described(other)}.",
                hint=suggest(str(other), others),
                excerpt=isinstance(other, str),
            )
    return tuple(dict.fromkeys(cast("list[str]", value)))
