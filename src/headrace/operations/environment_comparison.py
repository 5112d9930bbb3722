"""The parity of two environments: what they differ in, and whether the project declares that."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from sqlalchemy.exc import SQLAlchemyError

from headrace.core.errors import ConfigError, HeadraceError, NotFoundError
from headrace.environments import config
from headrace.environments.parity import ALWAYS
from headrace.operations.environment_profile import NONE, UNKNOWN, EnvironmentProfile, configuration, describe
from headrace.operations.operation import At
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.environments.config import Config

Parity = Literal["same", "declared", "undeclared", "unknown"]


@dataclass(frozen=True, kw_only=True)
class ComparedAspect(Record):
    """One aspect of two environments.

    Attributes:
        aspect: its name: `stores.state`, `lock.numpy`, `installed.python`.
        one: its value in the first environment; `none` where it has none, `?` where it is not known here.
        other: its value in the second environment.
        parity: `same`; `declared`, they differ and may; `undeclared`, they differ and nothing says that they may; `unknown`, one
            of them is not known here.
    """

    aspect: str
    one: str
    other: str
    parity: Parity


@dataclass(frozen=True, kw_only=True)
class EnvironmentComparison(Record):
    """Two environments side by side.

    Attributes:
        one: the name of the first environment.
        other: the name of the second one.
        aspects: all aspects that one of them has, by name.
        notes: what is not known of an environment, and why: a sentence each.
    """

    one: str
    other: str
    aspects: tuple[ComparedAspect, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no difference is undeclared."""
        return all(each.parity != "undeclared" for each in self.aspects)


def compare_environments(
    one: str | None = None, other: str | None = None, *, at: At | None = None
) -> EnvironmentComparison:
    """Compares the configuration and the runtime of two environments; nothing is changed.

    Args:
        one: the first environment; None: the one below the highest.
        other: the second one; None: the highest.
        at: the project; its environment plays no part.

    Raises:
        ConfigError: `headrace.toml` is malformed, or both are one.
        NotFoundError: there is no such environment.
    """
    project = config.load(at.folder if at else None)
    names = [each.name for each in project.environments]
    other = other or names[-1]
    one = one or next((name for name in reversed(names[:-1]) if name != other), names[0])
    for name in (one, other):
        if name not in names:
            raise NotFoundError("environment", name, names)
    if one == other:
        raise ConfigError(f"{one!r} is compared with itself.", hint=f"Name two of: {', '.join(names)}.")
    left, right = (_profile(project, name) for name in (one, other))
    return EnvironmentComparison(
        one=one,
        other=other,
        aspects=tuple(_compared(left, right, (*ALWAYS, *project.parity))),
        notes=tuple(
            f"{each.env}: {group} is not known here: {reason}"
            for each in (left, right)
            for group, reason in each.unknown.items()
        ),
    )


def _profile(project: Config, name: str) -> EnvironmentProfile:
    """What an environment is; where its state database cannot be read, what its configuration says."""
    try:
        return describe(At(env=name, folder=project.folder))
    except (HeadraceError, SQLAlchemyError) as error:
        reason = error.what if isinstance(error, HeadraceError) else type(error).__name__
        return EnvironmentProfile(
            env=name,
            aspects=configuration(project.environment(name)),
            unknown=dict.fromkeys(("lock", "installed", "the policy in effect"), reason),
        )


def _compared(
    left: EnvironmentProfile, right: EnvironmentProfile, allowed: tuple[str, ...]
) -> Iterator[ComparedAspect]:
    unknown = {group for each in (left, right) for group in each.unknown}
    for aspect in sorted({*left.aspects, *right.aspects}):
        group = aspect.partition(".")[0]
        missing = UNKNOWN if group in unknown else NONE
        one, other = left.aspects.get(aspect, missing), right.aspects.get(aspect, missing)
        yield ComparedAspect(aspect=aspect, one=one, other=other, parity=_parity(aspect, one, other, allowed))


def _parity(aspect: str, one: str, other: str, allowed: tuple[str, ...]) -> Parity:
    if UNKNOWN in (one, other):
        return "unknown"
    if one == other:
        return "same"
    return "declared" if any(fnmatchcase(aspect, pattern) for pattern in allowed) else "undeclared"
