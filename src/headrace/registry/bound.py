"""What a decision is bound to: one move, one artifact, one set of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import RefusedError
from headrace.core.ids import digest

if TYPE_CHECKING:
    from headrace.registry.records import Decision, Stage, TransitionRequest, Version


def check_bound(version: Version, to: Stage, decision: Decision, request: TransitionRequest) -> None:
    """Refuses a decision that is not for this move, this artifact and the evidence of its request.

    Raises:
        RefusedError: says for what it is.
    """
    if not decision.approved:
        raise RefusedError(
            f"request {decision.request} was rejected by {', '.join(decision.by)}: {decision.reason or 'without a reason'}."
        )
    bound = (decision.model, decision.version, decision.to)
    if bound != (version.model, version.version, to):
        raise RefusedError(
            f"the decision on request {decision.request} is for {decision.model}/{decision.version} to {decision.to}, "
            f"not for {version.name} to {to}."
        )
    if decision.seal != version.seal:
        raise RefusedError(f"the decision on request {decision.request} is for another artifact of {version.name}.")
    if digest(request.evidence) != decision.evidence_hash:
        raise RefusedError(
            f"the evidence of request {request.id} is not what was decided on: it was changed afterwards."
        )
