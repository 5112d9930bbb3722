"""The policy of an environment: what is committed, the floor below which it does not fall, and what is in effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.workspace import floor

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.environments.environment_policy import EnvironmentPolicy, Runs, RuntimeRule
    from headrace.environments.policy import Ruling
    from headrace.environments.signing_keys import PublicKey
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class FloorReport(Record):
    """What may not be loosened in an environment but by an admin.

    Attributes:
        code: what may run: `any`, `commit` or `release`.
        releases: the pattern that the tag of a release matches.
        approvals: roles whose approval Production takes.
        attested_by: the keys of which one has to have signed the attestation of a release.
        runtime: what code may run with: `any` or `locked`.
        order: all environments, from the lowest to the highest.
        by: who wrote it; None before it is written, which the first one does who changes something.
        at: when it was written; None before.
    """

    code: Runs
    releases: str
    approvals: tuple[str, ...]
    attested_by: tuple[PublicKey, ...]
    runtime: RuntimeRule
    order: tuple[str, ...]
    by: str | None
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class PolicyReport(Record):
    """What may run in an environment.

    Attributes:
        env: the environment.
        effective: what is in effect.
        committed: what the commit that is checked out says; None where nothing of this environment is committed.
        floor: what the state database remembers; None as long as nothing is committed.
        looser: in what the committed policy is looser than the floor, which holds: a line each.
        changed: in what it differs so that nothing may run until an admin has taken it over: a line each.
    """

    env: str
    effective: EnvironmentPolicy
    committed: EnvironmentPolicy | None
    floor: FloorReport | None
    looser: tuple[str, ...]
    changed: tuple[str, ...]


@operation("env policy")
def environment_policy(workspace: Workspace, *, take_over: bool = False, reason: str = "") -> PolicyReport:
    """What may run in an environment, and why.

    Args:
        workspace: where.
        take_over: whether the committed policy becomes the floor first, also where it is looser.
        reason: why it does; it stays in the audit record.

    Raises:
        RefusedError: the caller is no admin.
        ConfigError: there is a reason and nothing to take over, or the other way round; or nothing is committed.
    """
    if reason and not take_over:
        raise ConfigError("--reason is why something is taken over.", hint="Add --take-over.")
    name = workspace.configured.name
    if take_over:
        floor.take_over(workspace.state, name, workspace.ruling, reason=reason)
        del workspace.ruling  # it holds no more: the next look weighs the new floor
    ruling = workspace.ruling
    return PolicyReport(
        env=name,
        effective=ruling.policy,
        committed=ruling.committed,
        floor=_floor(workspace, ruling),
        looser=ruling.looser,
        changed=ruling.changed,
    )


def _floor(workspace: Workspace, ruling: Ruling) -> FloorReport | None:
    if ruling.floor is None:
        return None
    written = floor.written(workspace.state) or {"by": None, "at": None}
    return FloorReport(**vars(ruling.floor), **written)
