"""A version of another environment, taken out of its stores, to be registered in this one as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.registry.records import Version
    from headrace.training.training_set import FittedRows


@dataclass(frozen=True, kw_only=True)
class PromotedVersion:
    """A version that comes up from a lower environment.

    Attributes:
        environment: from which it comes.
        version: as it is registered there.
        files: a copy of what MLflow keeps of it, without MLflow's own note of the registration.
        fitted: the decisions that it was fitted on; None where nothing is fitted, or nothing is known of it.
    """

    environment: str
    version: Version
    files: Path
    fitted: FittedRows | None

    @property
    def name(self) -> str:
        """`dev/3`."""
        return f"{self.environment}/{self.version.version}"

    @property
    def origin(self) -> dict[str, str]:
        """What is kept with the version: from where it was copied, and which one was trained (`Version.promoted`)."""
        before = self.version.promoted
        return {
            "environment": self.environment,
            "version": str(self.version.version),
            "origin": before["origin"] if before else self.name,
            "run": before["run"] if before else self.version.run_id,
        }
