"""What a gate found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.ids import Json

Result = Literal["passed", "failed", "no decision"]


@dataclass(frozen=True, kw_only=True)
class GateFinding:
    """One gate's answer.

    Attributes:
        gate: its name.
        result: `no decision` is no pass.
        value: what was measured.
        limit: what was asked for.
        reason: one sentence for a person.
        details: the figures behind it.
    """

    gate: str
    result: Result
    value: float | str | None
    limit: float | str | None
    reason: str
    details: dict[str, Json] | None = None

    def to_json(self) -> dict[str, Json]:
        """As evidence."""
        return cast("dict[str, Json]", asdict(self))


def together(findings: Sequence[GateFinding]) -> Result:
    """The answer of all gates: one that failed fails, one without a decision leaves it open."""
    results = {finding.result for finding in findings}
    return "failed" if "failed" in results else "no decision" if "no decision" in results else "passed"
