"""What a refresh leaves in the ledger, a record for each source and each table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.text import counted
from headrace.jobs.step_output import StepOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class LoadedSource(StepOutput):
    """A source that was loaded into its table.

    Attributes:
        table: the source's table.
        version: its version in the lakehouse.
        rows: how many were new.
        files_new: files that were loaded; None for a source that is a function.
        files_known: files that had been loaded before.
        notes: what a person should know of how files were read.
        widened: columns whose type became wider.
    """

    table: str
    version: int | None
    rows: int
    files_new: int | None
    files_known: int | None
    notes: Sequence[str]
    widened: Sequence[str]

    def summary(self) -> str:
        known = (self.files_new or 0) + (self.files_known or 0)
        files = "" if self.files_new is None else f", {self.files_new} of {known} files new"
        return "; ".join([f"{self.rows:,} new rows{files}", *self.widened])

    def remarks(self) -> Sequence[str]:
        return self.notes


@dataclass(frozen=True, kw_only=True)
class BuiltTable(StepOutput):
    """A table that was built from the versions that its inputs had.

    Attributes:
        table: its name.
        version: its version in the lakehouse.
        id: of the table itself, which another one of the same name does not have.
        rows: how many were written.
        quarantined: reason → rows that were set aside.
        repaired: reason → rows that were repaired.
        warned: reason → rows that were kept although they break an expectation.
        widened: columns whose type became wider.
    """

    table: str
    version: int
    id: str
    rows: int
    quarantined: Mapping[str, int]
    repaired: Mapping[str, int]
    warned: Mapping[str, int]
    widened: Sequence[str]

    def summary(self) -> str:
        actions = {"quarantined": self.quarantined, "repaired": self.repaired, "warned": self.warned}
        told = [f"{sum(reasons.values()):,} {action}" for action, reasons in actions.items() if reasons]
        return ", ".join([counted(self.rows, "row"), *told, *self.widened])
