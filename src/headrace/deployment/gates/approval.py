"""The gate `approval`: a person with a role has to sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.declaration import check_texts
from headrace.deployment.findings import GateFinding
from headrace.deployment.gates.base import Gate, Phase

if TYPE_CHECKING:
    from headrace.deployment.gates.evidence import Evidence


@dataclass(frozen=True)
class Approval(Gate):
    """A person with this role, who did not make the request, approves the move to Production."""

    role: str

    @property
    def name(self) -> str:
        """`approval`."""
        return "approval"

    @property
    def phase(self) -> Phase:
        """By a person, on the request for Production."""
        return "approve"

    @property
    def roles(self) -> tuple[str, ...]:
        """The one role."""
        return (self.role,)

    def evaluate(self, evidence: Evidence) -> GateFinding:
        """Passed once somebody with the role has signed; until then there is no decision. A rejection ends the request."""
        signed = self.role in evidence.signed
        return GateFinding(
            gate=self.name,
            result="passed" if signed else "no decision",
            value=self.role if signed else None,
            limit=self.role,
            reason=f"{self.role} has approved" if signed else f"the approval of {self.role} is missing",
        )


def approval(role: str) -> Approval:
    """A gate: somebody with this role approves, and never the one who made the request.

    Args:
        role: the name of a role, `"governance"`: one that Headrace knows, or one of the project's own.

    Returns:
        The gate, for `hr.Deployment(gates=[…])`.

    Raises:
        DeclarationError: the role is no text.

    Example:
        `evidence` is what is known of a version, whose request nobody has approved yet:

        >>> finding = hr.approval("governance").evaluate(evidence)
        >>> finding.result, finding.reason
        ('no decision', 'the approval of governance is missing')
    """
    check_texts("approval", 'Write the name of a role: hr.approval("risk").', role=role)
    return Approval(role)
