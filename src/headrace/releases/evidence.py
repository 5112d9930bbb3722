"""What speaks for a commit: the attestations of its tests that trusted keys signed, and why others do not count."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import DataError, RefusedError
from headrace.environments import git
from headrace.environments.lock_file import NAME as LOCK
from headrace.releases import attestation_notes
from headrace.releases.attestation import verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.environments.signing_keys import PublicKey
    from headrace.releases.attestation import Attestation

NONE = "it has no attestation of a test"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was attested of a commit.

    Attributes:
        commit: its id.
        attestation: the newest one that counts; None where there is none.
        key: the name of the key that signed it.
        reasons: why what there is does not count, a line each; empty where one counts.
    """

    commit: str
    attestation: Attestation | None
    key: str | None
    reasons: tuple[str, ...]


def find_evidence(folder: Path, project: str, commit: str, tree: str, trusted: Sequence[PublicKey]) -> Evidence:
    """Looks for an attestation of a commit that counts: signed by a trusted key, of this very code, and passed.

    Args:
        folder: of the project, in its repository.
        project: its name.
        commit: the id of the commit.
        tree: git's id of the project's tree in it.
        trusted: the keys that count.
    """
    reasons: list[str] = []
    found: list[tuple[Attestation, str]] = []
    names = ", ".join(key.name for key in trusted) or "no key"
    for envelope in attestation_notes.envelopes(folder, commit):
        try:
            attested = verify(envelope, trusted)
        except DataError as error:
            reasons.append(error.what)
            continue
        if attested is None:
            reasons.append(f"an attestation is not signed by {names}")
            continue
        wrong = _wrong(attested[0], folder, project, commit, tree)
        if wrong:
            reasons.append(f"the attestation that {attested[1]} signed at {attested[0].at:%Y-%m-%d %H:%M} UTC {wrong}")
        else:
            found.append(attested)
    if not found:
        return Evidence(commit=commit, attestation=None, key=None, reasons=tuple(reasons) or (NONE,))
    newest, key = max(found, key=lambda each: each[0].at)
    return Evidence(commit=commit, attestation=newest, key=key, reasons=())


def lock_digest(folder: Path, commit: str) -> str | None:
    """The SHA-256 of the lock file of the project in a commit; None where it has none."""
    try:
        content = git.ask(folder, "cat-file", "blob", f"{commit}:./{LOCK}")
    except RefusedError:
        return None
    return hashlib.sha256(content).hexdigest()


def _wrong(attested: Attestation, folder: Path, project: str, commit: str, tree: str) -> str | None:
    """Why an attestation does not speak for a commit, whoever signed it."""
    if attested.commit != commit:
        return f"is of another commit, {attested.commit[:8]}"
    if attested.tree != tree:
        return f"is of other code, the tree {attested.tree[:8]}"
    if attested.project != project:
        return f"is of another project, {attested.project!r}"
    if attested.lock != lock_digest(folder, commit):
        return f"was made with another {LOCK}"
    if attested.failed or not attested.passed:
        return f"says that {', '.join(attested.failed) or 'nothing'} {'failed' if attested.failed else 'was tested'}"
    return None
