"""What a deployment leaves in the ledger, a record for each of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.text import counted, percent
from headrace.deployment.findings import GateFinding
from headrace.jobs.step_output import StepOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self


@dataclass(frozen=True, kw_only=True)
class StagedCopy(StepOutput):
    """The copy of a version that servers start from.

    Attributes:
        samples: rows that it was tried on.
        mismatches: of them, answers unlike those of MLflow's pyfunc.
    """

    samples: int
    mismatches: int

    def summary(self) -> str:
        if not self.samples:
            return "no answers compared with MLflow's pyfunc"
        return f"{counted(self.samples, 'sample')}, {self.mismatches} unlike MLflow's pyfunc"


@dataclass(frozen=True, kw_only=True)
class EvaluatedGates(StepOutput):
    """What gates found.

    Attributes:
        findings: of each gate, in the order of their declaration.
    """

    findings: Sequence[Mapping[str, Any]]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self | None:
        read = super().from_json(stored)
        try:
            return read if read is None or read.of_gates() is not None else None
        except TypeError:  # findings of another release
            return None

    def of_gates(self) -> list[GateFinding]:
        """The findings as records."""
        return [GateFinding(**each) for each in self.findings]

    def summary(self) -> str:
        found = self.of_gates()
        bad = [f"{each.gate} {each.result}: {each.reason}" for each in found if each.result != "passed"]
        if bad:
            return "; ".join(bad)
        last = [each.reason for each in found if each.details]
        return last[-1] if last else f"{counted(len(found), 'gate')} passed"


@dataclass(frozen=True, kw_only=True)
class MadeRequest(StepOutput):
    """A request for a stage.

    Attributes:
        request: its number.
        by: who requests.
        roles: whose approval it takes.
    """

    request: int
    by: str
    roles: Sequence[str]

    def summary(self) -> str:
        waits = f", takes the approval of {', '.join(self.roles)}" if self.roles else ""
        return f"request {self.request} by {self.by}{waits}"


@dataclass(frozen=True, kw_only=True)
class MadeDecision(StepOutput):
    """What gates decided on a request.

    Attributes:
        decision: its number.
        request: the request.
        approved: whether it was.
    """

    decision: int
    request: int
    approved: bool

    def summary(self) -> str:
        return f"request {self.request} {'approved' if self.approved else 'rejected'}"


@dataclass(frozen=True, kw_only=True)
class MovedStage(StepOutput):
    """A version that came to a stage.

    Attributes:
        at: when, ISO 8601.
        decision: that allows it.
        by: who made the decision.
    """

    at: str
    decision: int
    by: Sequence[str]

    def summary(self) -> str:
        return f"by decision {self.decision} of {', '.join(self.by)}"


@dataclass(frozen=True, kw_only=True)
class BegunRollout(StepOutput):
    """A rollout at its first step.

    Attributes:
        rollout: its number.
        share: of the entities, 0 to 1.
        decision: that allows it.
    """

    rollout: int
    share: float
    decision: int

    def summary(self) -> str:
        return f"{percent(self.share)} by decision {self.decision}"


@dataclass(frozen=True, kw_only=True)
class FollowedStages(StepOutput):
    """Aliases, servers and channels after a move.

    Attributes:
        late: channels that could not be told yet; they are tried again.
    """

    late: Sequence[str]

    def summary(self) -> str:
        late = ", ".join(self.late)
        return f"told everybody but {late}, tried again later" if late else "aliases and serving.json"
