"""What a retraining leaves in the ledger: the guards, and what the two runs that it starts came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.jobs.step_output import StepOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class RetrainGuards(StepOutput):
    """Whether there is a reason to train, and what stands against it.

    Attributes:
        because: the reason; empty where there is none.
        against: what forbids it now.
        alert: that asks for it.
        params: to fit with; None: they are searched for.
    """

    because: str
    against: Sequence[str]
    alert: int | None
    params: Mapping[str, bool | float | str] | None

    def summary(self) -> str:
        return "; ".join(self.against) or self.because or "nothing asks for it"


@dataclass(frozen=True, kw_only=True)
class TrainedVersion(StepOutput):
    """The version that was trained.

    Attributes:
        version: its number.
    """

    version: int

    def summary(self) -> str:
        return f"version {self.version}"


@dataclass(frozen=True, kw_only=True)
class DeployedVersion(StepOutput):
    """How far the version came; the attributes are those of `DeploymentResult`."""

    version: int
    ending: str
    request: int | None
    missing: Sequence[str]
    findings: Sequence[str]

    def summary(self) -> str:
        return f"version {self.version}: {self.ending}"
