"""The finding of a gate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.core.ids import Json

Result = Literal["passed", "failed", "no decision", "needs review"]
WORST_FIRST: tuple[Result, ...] = ("failed", "no decision", "needs review")


@dataclass(frozen=True, kw_only=True)
class GateFinding:
    """One gate's answer.

    Attributes:
        gate: its name.
        result: `no decision` and `needs review` are no pass.
        value: what was measured.
        limit: what was asked for.
        reason: one sentence for a person.
        details: the figures behind it.
        evidence: what a gate of the project's own shows, as `gates.evidence.kept` keeps it: `numbers`, `tables`, `pictures`
            and `cut`. None for the gates of Headrace.
    """

    gate: str
    result: Result
    value: float | str | None
    limit: float | str | None
    reason: str
    details: dict[str, Json] | None = None
    evidence: dict[str, Json] | None = None

    def __post_init__(self) -> None:
        if self.result not in get_args(Result):
            raise DataError(
                f"the gate {self.gate!r} found {self.result!r}, which is no result.", hint=f"One of {get_args(Result)}."
            )

    def to_json(self) -> dict[str, Json]:
        """As evidence."""
        return cast("dict[str, Json]", asdict(self))


def together(findings: Sequence[GateFinding]) -> Result:
    """The answer of all gates: the worst of failed, no decision, needs review and passed."""
    results = {finding.result for finding in findings}
    for result in WORST_FIRST:
        if result in results:
            return result
    return "passed"
