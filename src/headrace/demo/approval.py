"""The approval of somebody else, which a demo needs and has nobody for: a simulated person, who is labelled so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from headrace.core.vault import bearing
from headrace.operations.access import BOOTSTRAP, bootstrap, create_access_token, grant_role, list_grants
from headrace.operations.requests import approve_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.operations.operation import At

GOVERNANCE = "governance"


def approve(at: At, request: int, *, approver: str, kept: Path, reason: str, note: Callable[[str, str], None]) -> None:
    """Approves a request, as a person whose token whoever runs the demo did not create.

    Args:
        at: the environment.
        request: that waits for the approval.
        approver: the simulated person.
        kept: a file that holds the token of the bootstrap identity until the end, so that a demo may go on.
        reason: of the approval.
        note: called with what was done to enrol the person.
    """
    with bearing(_enroller(at, approver, kept, note)):
        grant_role(at, approver, GOVERNANCE)
        hers = create_access_token(at, approver).token
    with bearing(hers):
        approve_request(at, request, reason=reason)


def _enroller(at: At, approver: str, kept: Path, note: Callable[[str, str], None]) -> str:
    """The token of the bootstrap identity. It is in the file before the identity exists, so that no death in between loses it."""
    if all(grant.name != BOOTSTRAP for grant in list_grants(at)):
        bootstrap(at, simulated=True, keep=lambda token: _write(kept, token))
        note(f"enrol {approver}", "simulated: by the bootstrap identity, which only enrols")
    return kept.read_text(encoding="utf-8")


def _write(file: Path, token: str) -> None:
    """For its owner alone, and whole or not at all."""
    making = file.with_suffix(".new")
    making.unlink(missing_ok=True)
    with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as to:
        to.write(token)
    making.replace(file)
