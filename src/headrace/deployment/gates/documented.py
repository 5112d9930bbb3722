"""The gate `documented`: the model and its tables have descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.text import counted
from headrace.deployment.findings import GateFinding
from headrace.deployment.gates.base import Gate, Phase

if TYPE_CHECKING:
    from headrace.deployment.gates.evidence import Evidence


@dataclass(frozen=True)
class Documented(Gate):
    """The model and the tables that it reads have a description."""

    @property
    def name(self) -> str:
        """`documented`."""
        return "documented"

    @property
    def phase(self) -> Phase:
        """On the version alone."""
        return "check"

    def evaluate(self, evidence: Evidence) -> GateFinding:
        """Failed when one of them has none; the reason names them all."""
        things = {f"model {evidence.model.name}": evidence.model.description, **evidence.descriptions}
        silent = [name for name, text in things.items() if not text.strip()]
        reason = f"no description: {', '.join(silent)}" if silent else counted(len(things), "description")
        result = "failed" if silent else "passed"
        return GateFinding(gate=self.name, result=result, value=len(silent), limit=0, reason=reason)


def documented() -> Documented:
    """A gate: the model and the tables that it reads have a description.

    Returns:
        The gate, for `hr.Deployment(gates=[…])`.

    Example:
        `evidence` is what is known of a version, one of whose tables has no description:

        >>> finding = hr.documented().evaluate(evidence)
        >>> finding.result, finding.reason
        ('failed', 'no description: gold.arrivals')
    """
    return Documented()
