"""The gate `forbid_inputs`: no feature is computed from these columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.declaration import check_names
from headrace.core.errors import DeclarationError
from headrace.deployment.findings import GateFinding
from headrace.deployment.gates.base import Gate, Phase

if TYPE_CHECKING:
    from headrace.deployment.gates.evidence import Evidence


@dataclass(frozen=True)
class ForbidInputs(Gate):
    """Columns that no feature may be made from directly."""

    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """`forbid_inputs`."""
        return "forbid_inputs"

    @property
    def phase(self) -> Phase:
        """On the version alone."""
        return "check"

    def evaluate(self, evidence: Evidence) -> GateFinding:
        """Failed when the spine, a lookup or an on-demand function takes one of the columns; the reason names them."""
        plan = evidence.plan
        sources = {
            *plan.spine_columns,
            *(column for lookup in plan.lookups for pair in lookup.columns for column in pair),
            *(column for call in plan.calls for column in call.inputs),
        }
        used = [name for name in self.columns if name in sources]
        reason = f"features are made from {', '.join(used)}" if used else f"none of {', '.join(self.columns)} is used"
        result = "failed" if used else "passed"
        return GateFinding(gate=self.name, result=result, value=", ".join(used), limit="none", reason=reason)


def forbid_inputs(*columns: str) -> ForbidInputs:
    """A gate: no feature is made directly from one of these columns: `hr.forbid_inputs("date_of_birth")`.

    Args:
        *columns: names of columns of the spine, of feature tables, or taken by on-demand functions.

    Returns:
        The gate, for `hr.Deployment(gates=[…])`.

    Raises:
        DeclarationError: no column, or something that is no name.

    Example:
        `evidence` is what is known of a version whose features are `distance` and `airline`:

        >>> hr.forbid_inputs("pilot_age", "airline").evaluate(evidence).reason
        'features are made from airline'
    """
    if not columns:
        raise DeclarationError("forbid_inputs() names no column.")
    check_names("forbid_inputs", columns=columns)
    return ForbidInputs(columns)
