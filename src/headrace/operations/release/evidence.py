"""Releases of an environment with what speaks for them: their attestations, and what an admin allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError, NotFoundError, RefusedError
from headrace.environments import code, config
from headrace.operations import release_history
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.releases import overrides

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.operations.operation import At
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class ReleaseReport(Record):
    """A release, and what speaks for it.

    Attributes:
        tag: the tag.
        commit: git's id of its commit.
        may_run: whether it may run in the environment.
        runs: whether it is the one that runs now, where nobody names another.
        attested_by: the name of the trusted key that signed an attestation that counts; None without one.
        attested_at: when the test ended.
        tested: the steps of the test that passed.
        allowed_by: the admin who lets it run without an attestation; None where nobody does.
        reason: why it is allowed, or why it may not run; empty otherwise.
        first_run_at: when it first ran here; None before.
        first_run_by: who ran it first; None before.
    """

    tag: str
    commit: str
    may_run: bool
    runs: bool
    attested_by: str | None
    attested_at: datetime | None
    tested: tuple[str, ...]
    allowed_by: str | None
    reason: str
    first_run_at: datetime | None
    first_run_by: str | None


def releasing(at: At) -> At:
    """The same place, in the highest environment of the project where none is named: releases run there.

    Raises:
        ConfigError: there is no project, or its `headrace.toml` is malformed.
    """
    if at.env is not None:
        return at
    return replace(at, env=config.load(at.folder).environments[-1].name)


@operation("release list")
def list_releases(workspace: Workspace, *, limit: int = 50) -> list[ReleaseReport]:
    """The releases of an environment, the highest version first.

    Args:
        workspace: the environment, whose pattern of tags, trusted keys and overrides count.
        limit: the most that are listed.
    """
    tags = list(code.releases(workspace.config.folder, workspace.environment.releases).items())[:limit]
    running = _running(workspace)
    return [_report(workspace, tag, commit, running) for tag, commit in tags]


@operation("release verify", of="tag")
def verify_release(workspace: Workspace, tag: str) -> ReleaseReport:
    """One release, and whether it may run.

    Raises:
        NotFoundError: there is no such release.
    """
    known = code.releases(workspace.config.folder, workspace.environment.releases)
    if tag not in known:
        raise NotFoundError("release", tag, known, hint="Releases are git tags: headrace release fetch.")
    return _report(workspace, tag, known[tag], _running(workspace))


@operation("release allow", of="tag")
def allow_release(workspace: Workspace, tag: str, *, reason: str) -> ReleaseReport:
    """Lets a release run without an attestation; it stays in the audit record.

    Args:
        workspace: the environment.
        tag: the release.
        reason: why it may.

    Raises:
        NotFoundError: there is no such release.
        ConfigError: there is no reason, or nothing that would have to be allowed.
    """
    if not reason.strip():
        raise ConfigError("there is no reason.", hint=f"headrace release allow {tag} --reason '…'")
    found = verify_release(workspace, tag)
    if not workspace.environment.attested_by:
        raise ConfigError(
            f"{workspace.environment.name} asks for no attestation: {tag} may run.",
            hint=f'[env.{workspace.environment.name}] attested_by = ["ci"] would ask for one.',
        )
    if found.attested_by is None:
        by = workspace.access.me().name
        overrides.allow(workspace.state, tag=tag, commit=found.commit, reason=reason.strip(), by=by)
    return _report(workspace, tag, found.commit, _running(workspace))


@operation("release allow", of="tag")
def withdraw_allowance(workspace: Workspace, tag: str, *, reason: str) -> ReleaseReport:
    """Takes back what `allow_release` gave: from then on the release runs only with an attestation.

    Args:
        workspace: the environment.
        tag: the release.
        reason: why; it stays in the audit record.

    Raises:
        NotFoundError: there is no such release.
        ConfigError: there is no reason, or the release was not allowed.
    """
    if not reason.strip():
        raise ConfigError("there is no reason.", hint=f"headrace release allow {tag} --withdraw --reason '…'")
    found = verify_release(workspace, tag)
    by = workspace.access.me().name
    if not overrides.withdraw(workspace.state, tag=tag, commit=found.commit, reason=reason.strip(), by=by):
        raise ConfigError(
            f"{tag} was not allowed to run without an attestation.", hint="headrace release list shows what was."
        )
    return _report(workspace, tag, found.commit, _running(workspace))


def _running(workspace: Workspace) -> str | None:
    try:
        return workspace.code.release
    except RefusedError:
        return None


def _report(workspace: Workspace, tag: str, commit: str, running: str | None) -> ReleaseReport:
    trusted = workspace.environment.attested_by
    try:
        found = workspace.attested.evidence(commit, trusted) if trusted else None
        reason = "; ".join(found.reasons) if found else ""
    except RefusedError as error:  # the project is not in that commit
        found, reason = None, error.what
    allowed = workspace.attested.allowed(commit)
    attestation = found.attestation if found else None
    first = release_history.first_run(workspace, tag)
    return ReleaseReport(
        tag=tag,
        commit=commit,
        may_run=attestation is not None or allowed is not None or not (trusted or reason),
        runs=tag == running,
        attested_by=found.key if found else None,
        attested_at=attestation.at if attestation else None,
        tested=attestation.passed if attestation else (),
        allowed_by=allowed.by if allowed and attestation is None else None,
        reason=allowed.reason if allowed and attestation is None else reason,
        first_run_at=first["at"] if first else None,
        first_run_by=first["by"] if first else None,
    )
