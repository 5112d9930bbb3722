"""The policy of an environment: what the committed configuration declares, and never less than the floor.

Connections and secrets come from the folder and from variables, which everybody who can start a command can set. The
policy is the kind of code, the pattern of release tags, the roles that have to approve, and the environments that are
read. Where `code` is `commit` or `release`, it comes from git: from the release that runs, from HEAD if commits run,
and from both where they are stricter. The floor is the policy that the state database has stored since the first use;
only an admin lowers it (`headrace env policy --take-over`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError, RefusedError
from headrace.environments import code, git
from headrace.environments.environment_policy import RUNS, EnvironmentPolicy, read_policy
from headrace.environments.keys import FILE
from headrace.environments.toml import TomlFile

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.environments.config import Environment
    from headrace.environments.environment_policy import Runs


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What may not be loosened in an environment: the part of a `Policy` that is remembered."""

    code: Runs
    releases: str
    approvals: tuple[str, ...]
    order: tuple[str, ...]

    @staticmethod
    def of(policy: EnvironmentPolicy) -> Floor:
        """The floor that a policy would be."""
        return Floor(code=policy.code, releases=policy.releases, approvals=policy.approvals, order=policy.order)


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What holds in an environment now.

    Attributes:
        policy: what is in effect.
        committed: what HEAD says; None where nothing of this environment is committed.
        floor: what the state database has to remember from now on; None as long as nothing is committed.
        looser: in what the committed configuration is looser than the floor, which holds: a line each.
        changed: in what it differs so that nothing may run until an admin has taken it over: a line each.
    """

    policy: EnvironmentPolicy
    committed: EnvironmentPolicy | None
    floor: Floor | None
    looser: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def apply(self, environment: Environment) -> Environment:
        """The environment with what is in effect."""
        policy = self.policy
        return replace(
            environment,
            code=policy.code,
            releases=policy.releases,
            reads=policy.reads,
            sample=policy.sample,
            approvals=policy.approvals,
        )

    def check(self, name: str) -> None:
        """Refuses to run code while something waits for an admin.

        Raises:
            RefusedError: something does; says the command.
        """
        if self.changed:
            raise RefusedError(
                f"what may run in {name!r} was changed in the committed {FILE}. Nothing was done.",
                findings=self.changed,
                hint=f"Change it back, or let an admin say why: headrace env policy --env {name} --take-over --reason …",
            )


def rule(folder: Path, environment: Environment, floor: Floor | None, *, release: str | None = None) -> Ruling:
    """Weighs what is written, what is committed, and the floor.

    Args:
        folder: the project's.
        environment: as the folder says, committed or not: that holds where any code may run, and can make stricter.
        floor: what the state database remembers; None before the first use.
        release: the one that was asked for.

    Raises:
        ConfigError: the committed configuration is malformed.
        RefusedError: git refuses to work here.
    """
    name, written = environment.name, environment.policy
    head = committed(folder, "HEAD", name)
    before = None if floor is None or floor.code == "any" else floor  # where any code may run, nothing else is held
    runs = strictest(written.code, head.code if head else "any", floor.code if floor else "any")
    if runs == "any":
        return Ruling(policy=written, committed=head, floor=floor or (Floor.of(head) if head else None))
    there = head or written
    remembered = before or Floor.of(there)
    pattern = remembered.releases if remembered.code == "release" else there.releases
    governs = (_released(folder, name, pattern, release) if runs == "release" else None) or there
    approvals = tuple(dict.fromkeys((*remembered.approvals, *governs.approvals)))
    policy = replace(governs, code=runs, releases=pattern, approvals=approvals)
    return Ruling(
        policy=policy,
        committed=head,
        floor=_raised(head, before, policy, remembered, governs) if head else floor,
        looser=_looser(there, governs, remembered),
        changed=_changed(name, there, remembered),
    )


def committed(folder: Path, revision: str, name: str) -> EnvironmentPolicy | None:
    """What a revision's `headrace.toml` says of an environment; None where it says nothing, or there is no git.

    Raises:
        ConfigError: it is malformed.
        RefusedError: git refuses to work here.
    """
    try:
        content = git.ask(folder, "cat-file", "blob", f"{revision}:./{FILE}")
    except FileNotFoundError:  # git is not installed
        return None
    except RefusedError:
        git.inside(folder)  # raises where git would not look; otherwise there is nothing to look at
        return None
    return read_policy(TomlFile.parse(folder / f"{FILE} of {revision.removeprefix('refs/tags/')}", content), name)


def strictest(*kinds: Runs) -> Runs:
    """The strictest of what may run."""
    return max(kinds, key=RUNS.index)


def _released(folder: Path, name: str, pattern: str, wanted: str | None) -> EnvironmentPolicy | None:
    """What the release that runs says of its environment."""
    try:
        tag = code.find_release(folder, name, pattern, wanted)
    except (RefusedError, NotFoundError):  # there is none yet: whoever runs code is told so
        return None
    return committed(folder, f"refs/tags/{tag}", name)


def _raised(
    head: EnvironmentPolicy,
    before: Floor | None,
    policy: EnvironmentPolicy,
    remembered: Floor,
    governs: EnvironmentPolicy,
) -> Floor:
    """What is to be remembered: what is only written in the folder is not.

    A role is once the code that runs and HEAD both ask for it: what an admin took over, the last release may still ask for.
    """
    kind = strictest(head.code, before.code if before else "any")
    if kind == "any":
        return Floor.of(head)
    both = (role for role in governs.approvals if role in head.approvals)
    approvals = tuple(dict.fromkeys((*remembered.approvals, *both)))
    return Floor(code=kind, releases=policy.releases, approvals=approvals, order=remembered.order)


def _looser(head: EnvironmentPolicy, governs: EnvironmentPolicy, floor: Floor) -> tuple[str, ...]:
    found: list[str] = []
    if RUNS.index(head.code) < RUNS.index(floor.code):
        found.append(f"code: {floor.code!r} holds, not the committed {head.code!r}")
    dropped = [role for role in floor.approvals if role not in governs.approvals]
    if dropped:
        found.append(f"approvals: {', '.join(dropped)} still has to agree, though it is no longer committed")
    return tuple(found)


def _changed(name: str, head: EnvironmentPolicy, floor: Floor) -> tuple[str, ...]:
    found: list[str] = []
    if floor.code == "release" and head.releases != floor.releases:
        found.append(f"releases: tagged {floor.releases!r} until now, committed is {head.releases!r}")
    if not _same_order(name, head.order, floor.order):
        found.append(f"order: {' < '.join(floor.order)} until now, committed is {' < '.join(head.order)}")
    return tuple(found)


def _same_order(name: str, order: tuple[str, ...], before: tuple[str, ...]) -> bool:
    """Whether the environments of both stand as they did, and none was put above this one."""
    if name not in before:
        return False
    both = set(order) & set(before)
    above = set(order[order.index(name) :]) - set(before)
    return not above and [each for each in order if each in both] == [each for each in before if each in both]
