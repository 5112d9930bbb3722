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
from headrace.environments.environment_policy import RUNS, RUNTIMES, EnvironmentPolicy, read_policy
from headrace.environments.keys import FILE
from headrace.environments.toml import TomlFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.environments.config import Environment
    from headrace.environments.environment_policy import Runs, RuntimeRule
    from headrace.environments.signing_keys import PublicKey


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What may not be loosened in an environment: the part of a `Policy` that is remembered."""

    code: Runs
    releases: str
    approvals: tuple[str, ...]
    attested_by: tuple[PublicKey, ...] = ()
    runtime: RuntimeRule = "any"
    order: tuple[str, ...]

    @staticmethod
    def of(policy: EnvironmentPolicy) -> Floor:
        """The floor that a policy would be."""
        return Floor(
            code=policy.code,
            releases=policy.releases,
            approvals=policy.approvals,
            attested_by=policy.attested_by,
            runtime=policy.runtime,
            order=policy.order,
        )


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
            ttl=policy.ttl,
            trials=policy.trials,
            approvals=policy.approvals,
            attested_by=policy.attested_by,
            runtime=policy.runtime,
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


def rule(
    folder: Path,
    environment: Environment,
    floor: Floor | None,
    *,
    release: str | None = None,
    unproven: Callable[[str, tuple[PublicKey, ...]], str | None] = lambda _commit, _trusted: None,
) -> Ruling:
    """Weighs what is written, what is committed, and the floor.

    Args:
        folder: the project's.
        environment: as the folder says, committed or not: that holds where any code may run, and can make stricter.
        floor: what the state database remembers; None before the first use.
        release: the one that was asked for.
        unproven: of a commit and the trusted keys, why it may not run for want of evidence; None where it may.

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
    trusted = _trusted(remembered.attested_by, there.attested_by)
    ruled = (
        _released(folder, name, pattern, release, lambda commit: unproven(commit, trusted))
        if runs == "release"
        else None
    )
    governs = ruled or there
    approvals = tuple(dict.fromkeys((*remembered.approvals, *governs.approvals)))
    runtime: RuntimeRule = max((remembered.runtime, there.runtime), key=RUNTIMES.index)
    policy = replace(governs, code=runs, releases=pattern, approvals=approvals, attested_by=trusted, runtime=runtime)
    return Ruling(
        policy=policy,
        committed=head,
        floor=_raised(head, before, policy, remembered, governs) if head else floor,
        looser=(
            *_looser(there, governs, remembered),
            *_untrusted(there.attested_by, trusted),
            *_unlocked(there.runtime, runtime),
        ),
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


def _released(
    folder: Path, name: str, pattern: str, wanted: str | None, unproven: Callable[[str], str | None]
) -> EnvironmentPolicy | None:
    """What the release that runs says of its environment."""
    try:
        _, commit = code.find_release(folder, name, pattern, wanted, unproven=unproven)
    except (RefusedError, NotFoundError, FileNotFoundError):  # there is none, or no git: whoever runs code is told so
        return None
    return committed(folder, commit, name)


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
    return Floor(
        code=kind,
        releases=policy.releases,
        approvals=approvals,
        attested_by=policy.attested_by,
        runtime=policy.runtime,
        order=remembered.order,
    )


def _trusted(remembered: tuple[PublicKey, ...], committed: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
    """The keys whose attestations count.

    The first keys that are committed count by themselves, because they make an environment stricter, and a key that is taken
    out counts no more. One that is added, and the last one that is taken out, need an admin: else whoever may commit could
    attest what he likes.
    """
    if not remembered:
        return committed
    return tuple(key for key in remembered if key in committed) or remembered


def _untrusted(committed: tuple[PublicKey, ...], trusted: tuple[PublicKey, ...]) -> tuple[str, ...]:
    found = [f"attested_by: {key.name} is committed, and does not count yet" for key in committed if key not in trusted]
    gone = [key.name for key in trusted if key not in committed]
    return (
        *found,
        *([f"attested_by: {', '.join(gone)} still has to sign, though no longer committed"] if gone else []),
    )


def _unlocked(committed: RuntimeRule, runtime: RuntimeRule) -> tuple[str, ...]:
    return () if committed == runtime else (f"runtime: {runtime!r} holds, not the committed {committed!r}",)


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
