"""What scoring leaves in the ledger, a record for each partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.core.clock import instant
from headrace.core.text import counted
from headrace.jobs.step_output import StepOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.core.ids import Json


@dataclass(frozen=True, kw_only=True)
class ScoredPartition(StepOutput):
    """Decisions of a stretch of time with their predictions.

    Attributes:
        table: the first destination.
        version: of it in the lakehouse; None where no destination is a table.
        rows: decisions.
        identity: of each destination, which another one at the same place does not have.
        written: rows in each destination.
        rows_per_second: while it was scored.
        notes: what a person should know of how rows were read.
        traces: answers that are traces in MLflow.
        untraced: whether MLflow took none.
    """

    table: str
    version: int | None
    rows: int
    identity: Sequence[Json]
    written: Sequence[int]
    rows_per_second: int
    notes: Sequence[str]
    traces: int = 0
    untraced: bool = False

    def summary(self) -> str:
        traces = f", {counted(self.traces, 'trace')}" if self.traces else ""
        return f"{counted(self.rows, 'decision')}, {self.rows_per_second:,} a second{traces}"

    def remarks(self) -> Sequence[str]:
        return self.notes


@dataclass(frozen=True, kw_only=True)
class NothingToScore(StepOutput):
    """There was no decision.

    Attributes:
        rows: none.
        since: from when decisions were looked for, ISO 8601; None where there was not one row.
        until: to when.
    """

    rows: int = 0
    since: str | None
    until: str | None

    def summary(self) -> str:
        if self.since is None or self.until is None:
            return "no rows"
        return f"nothing from {instant(self.since):%Y-%m-%d} to {instant(self.until):%Y-%m-%d}"

    def remarks(self) -> Sequence[str]:
        known = self.since is not None
        return (
            ["Decisions that the version was trained on are scored from an earlier moment on: --since."]
            if known
            else []
        )


@dataclass(frozen=True, kw_only=True)
class DecisionsWithoutVersion(StepOutput):
    """Decisions of times when nothing was in Production.

    Attributes:
        left_out: how many.
    """

    left_out: int

    def summary(self) -> str:
        return f"{counted(self.left_out, 'decision')} left out: nothing was in Production then"


@dataclass(frozen=True, kw_only=True)
class MeasuredQuality(StepOutput):
    """Realised quality of a version by window.

    Attributes:
        months: the windows, with the metrics of each.
        metric: the model's first one.
        values: of it, in the windows that have changed; None where a window has no labels.
        reopened: windows that had ended and have changed since.
    """

    months: Sequence[Mapping[str, Any]]
    metric: str
    values: Sequence[float | None]
    reopened: int

    def summary(self) -> str:
        known = [value for value in self.values if value is not None]
        if not self.values:
            return f"no window of {len(self.months)} has changed" if self.months else "no predictions"
        if not known:
            return f"{counted(len(self.values), 'window')}, no labels yet"
        span = f"{known[0]:.4f}" if len(known) == 1 else f"{min(known):.4f} to {max(known):.4f}"
        again = f", {self.reopened} reopened" if self.reopened else ""
        return f"{self.metric} {span} in {counted(len(known), 'window')}{again}"
