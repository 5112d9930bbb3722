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
class UpdatedIndex(StepOutput):
    """A vector index that was brought up to date with its table.

    Attributes:
        index: its name.
        version: its version in the lakehouse.
        id: of its table, which another one of the same name does not have.
        source_id: of the table of the documents.
        source_version: the version of that table that the index holds.
        rows: documents or chunks that it holds.
        added: documents that are new.
        changed: documents whose text changed.
        removed: documents that are gone.
        embedded: texts that were embedded for it.
        skipped: documents without a text.
        recall: of the nearest ten, against a comparison with all; None of an empty index.
    """

    index: str
    version: int
    id: str
    source_id: str
    source_version: int
    rows: int
    added: int
    changed: int
    removed: int
    embedded: int
    skipped: int
    recall: float | None

    def summary(self) -> str:
        told = {"new": self.added, "changed": self.changed, "removed": self.removed, "skipped": self.skipped}
        counts = [f"{number:,} {name}" for name, number in told.items() if number]
        recall = [] if self.recall is None else [f"recall@10 {self.recall:.3f}"]
        return ", ".join([counted(self.rows, "row"), *counts, *recall])


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
