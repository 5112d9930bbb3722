"""What a collection of answers leaves in the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.core.text import counted
from headrace.jobs.step_output import StepOutput


@dataclass(frozen=True, kw_only=True)
class CollectedLog(StepOutput):
    """Answers of servers that came into the inference table.

    Attributes:
        rows: answers.
        segments: files of the spool that they were in.
        requests_counted: requests that were counted without being logged.
        traces: answers that are traces in MLflow now.
    """

    rows: int
    segments: int
    requests_counted: int
    traces: int

    def summary(self) -> str:
        counts = f", {counted(self.requests_counted, 'request')} counted" if self.requests_counted else ""
        traces = f", {counted(self.traces, 'trace')}" if self.traces else ""
        return counted(self.rows, "answer") + counts + traces


@dataclass(frozen=True, kw_only=True)
class ImportedRecords(StepOutput):
    """Answers from a file that came into the inference table.

    Attributes:
        rows: answers that were not there yet.
    """

    rows: int

    def summary(self) -> str:
        return counted(self.rows, "answer") if self.rows else "there already"
