"""What publishing leaves in the ledger, a record for each feature table."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.core.clock import instant
from headrace.jobs.step_output import StepOutput


@dataclass(frozen=True, kw_only=True)
class PublishedTable(StepOutput):
    """A feature table in the online store.

    Attributes:
        table: its name.
        rows: that were written.
        mode: how: everything, what has changed, or nothing.
        as_of: the moment as of which the store has it, ISO 8601.
    """

    table: str
    rows: int
    mode: str
    as_of: str

    def summary(self) -> str:
        stands = f", {instant(self.as_of):%Y-%m-%d %H:%M} stands there" if self.mode == "nothing" else ""
        return f"{self.rows:,} rows ({self.mode}{stands})"
