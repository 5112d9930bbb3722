"""Brings the releases of a remote to this machine: their tags and the attestations of their commits."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.core.errors import RefusedError, UnavailableError
from headrace.environments import code, git
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.release.evidence import list_releases
from headrace.releases import attestation_notes

if TYPE_CHECKING:
    from headrace.operations.operation import At
    from headrace.operations.release.evidence import ReleaseReport
    from headrace.workspace.workspace import Workspace


CLOBBER = re.compile(r"\[rejected\]\s+(\S+)\s+-> .*would clobber")


@dataclass(frozen=True, kw_only=True)
class FetchReport(Record):
    """What came from a remote.

    Attributes:
        env: the environment whose releases these are.
        remote: its name or address, as it was given.
        new: releases that were not here, the highest version first.
        moved: tags that are another commit's there than here; they stay as they are here.
        attested: how many commits have an attestation here now; whether one counts, `release list` says.
    """

    env: str
    remote: str
    new: tuple[ReleaseReport, ...]
    moved: tuple[str, ...]
    attested: int


def fetch_releases(at: At, *, remote: str = "origin") -> FetchReport:
    """Fetches tags and attestations. Nothing is applied, and a tag that is here is not moved.

    Args:
        at: the environment, whose pattern of tags and trusted keys count.
        remote: the remote of the repository.

    Raises:
        UnavailableError: the remote cannot be asked; git's words are in the message.
    """
    before, fetched = _fetch(at, remote=remote)
    found = list_releases(at, limit=10_000)
    return replace(fetched, new=tuple(each for each in found if each.tag not in before))


@operation("release fetch")
def _fetch(workspace: Workspace, *, remote: str) -> tuple[frozenset[str], FetchReport]:
    """The releases that were here before, and what came, without the new ones: what counts is read anew afterwards."""
    folder = workspace.config.folder
    before = frozenset(code.releases(folder, workspace.environment.releases))
    moved: list[str] = []
    try:
        git.talk(folder, "fetch", "--tags", "--end-of-options", remote)
    except RefusedError as error:
        moved = [found[1] for line in error.findings if (found := CLOBBER.search(line))]
        if not moved:
            raise UnavailableError(
                f"git fetch from {remote} failed.", hint="git remote -v lists the remotes.", findings=error.findings
            ) from None
    attestation_notes.fetch(folder, remote)
    return before, FetchReport(
        env=workspace.environment.name,
        remote=remote,
        new=(),
        moved=tuple(moved),
        attested=len(attestation_notes.annotated(folder)),
    )
