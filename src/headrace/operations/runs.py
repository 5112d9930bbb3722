"""Runs of pipelines: the latest runs, one run with its steps, its log, and acknowledging a failed run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.jobs.records import RunRecord, RunStatus, StepRecord, StepStatus
    from headrace.workspace.workspace import Workspace

LIMIT = 20  # runs


@dataclass(frozen=True, kw_only=True)
class RunSummary(Record):
    """One run of a job.

    Attributes:
        run: its id.
        job: its name, as `train arrival_delay`.
        status: `running`, `done`, `failed` or `interrupted`.
        started: when its first attempt began.
        ended: when it ended; None while it runs.
        seconds: from its start to its end; None while it runs.
        attempt: 1, and one more each time that a later process took the run over from a dead one.
        code: that its latest attempt ran.
        owner: the process of its latest attempt: user, host, process id.
        by: the identity for which its latest attempt ran; None where nobody was identified.
        params: of the job, by name.
        error: why it failed or was interrupted; None where it did not.
        acknowledged_by: who has seen that it failed; None before.
        reason: why nothing is left to do; None before.
    """

    run: str
    job: str
    status: RunStatus
    started: datetime
    ended: datetime | None
    seconds: float | None
    attempt: int
    code: str
    owner: str
    by: str | None
    params: Mapping[str, Json]
    error: str | None
    acknowledged_by: str | None
    reason: str | None

    @property
    def needs_a_person(self) -> bool:
        """Whether it did not come to its end, and nobody has acknowledged it."""
        return self.status in ("failed", "interrupted") and self.acknowledged_by is None


@dataclass(frozen=True, kw_only=True)
class RunList(Record):
    """The latest runs of an environment.

    Attributes:
        env: the environment.
        runs: the latest first.
    """

    env: str
    runs: tuple[RunSummary, ...]


@dataclass(frozen=True, kw_only=True)
class StepSummary(Record):
    """A step of a run.

    Attributes:
        step: its name.
        status: `running`, `done`, `unchanged`, `failed` or `interrupted`.
        seconds: from its start to its end; None while it runs.
        summary: its result in one line, or its error; None where there is neither.
        output: what it returned; None where it returned nothing.
    """

    step: str
    status: StepStatus
    seconds: float | None
    summary: str | None
    output: Mapping[str, Json] | None


@dataclass(frozen=True, kw_only=True)
class RunDetails(RunSummary):
    """One run of a job with its steps.

    Attributes:
        steps: in the order in which they were begun.
    """

    steps: tuple[StepSummary, ...]


@dataclass(frozen=True, kw_only=True)
class LogLineReport(Record):
    """A line of the log of a run.

    Attributes:
        at: when it was written.
        step: the name of the step that wrote it; empty for a line about the run itself.
        line: the text.
    """

    at: datetime
    step: str
    line: str


@dataclass(frozen=True, kw_only=True)
class RunLog(Record):
    """The log of a run.

    Attributes:
        run: whose log it is.
        lines: in the order in which they were written.
        count: how many the whole log has.
    """

    run: RunSummary
    lines: tuple[LogLineReport, ...]
    count: int


@operation("runs list")
def list_runs(workspace: Workspace, *, limit: int = LIMIT, offset: int = 0) -> RunList:
    """The latest runs, the latest first.

    Args:
        workspace: the environment.
        limit: the number of runs.
        offset: how many of the latest are left out before them.
    """
    workspace.ledger.sweep()
    runs = workspace.ledger.runs(limit=limit, offset=offset)
    return RunList(env=workspace.environment.name, runs=tuple(_summary(run) for run in runs))


@operation("runs show", of="run")
def show_run(workspace: Workspace, run: str) -> RunDetails:
    """One run and its steps.

    Args:
        workspace: the environment.
        run: its id, or the beginning of it.

    Raises:
        NotFoundError: there is no such run, or more than one.
    """
    record = workspace.ledger.run(run)
    steps = tuple(_step(step) for step in workspace.ledger.steps(record.id))
    return RunDetails(**vars(_summary(record)), steps=steps)


@operation("runs logs", of="run")
def show_run_log(workspace: Workspace, run: str, *, latest: int | None = None) -> RunLog:
    """All that the steps of a run logged, and what was printed meanwhile.

    Args:
        workspace: the environment.
        run: its id, or the beginning of it.
        latest: only so many of the latest lines; None: all.

    Raises:
        NotFoundError: there is no such run, or more than one.
    """
    record = workspace.ledger.run(run)
    lines = workspace.ledger.logs(record.id, latest=latest)
    return RunLog(
        run=_summary(record),
        lines=tuple(LogLineReport(at=line.at, step=line.step, line=line.line) for line in lines),
        count=len(lines) if latest is None else workspace.ledger.count_logs(record.id),
    )


@operation("runs acknowledge", of="run")
def acknowledge_run(workspace: Workspace, run: str, *, reason: str) -> RunSummary:
    """Somebody has seen that a run failed, and nothing is left to do: it does not need a person any more.

    Args:
        workspace: the environment.
        run: its id, or the beginning of it.
        reason: why nothing is left to do; it is kept in the audit record.

    Raises:
        NotFoundError: there is no such run, or more than one.
        RefusedError: the run has not failed.
    """
    return _summary(workspace.ledger.acknowledge(run, by=workspace.access.me().name, reason=reason))


def _summary(run: RunRecord) -> RunSummary:
    return RunSummary(
        run=run.id,
        job=run.job,
        status=run.status,
        started=run.started,
        ended=run.ended,
        seconds=(run.ended - run.started).total_seconds() if run.ended else None,
        attempt=run.attempt,
        code=run.code,
        owner=run.owner,
        by=run.by,
        params=run.params,
        error=run.error,
        acknowledged_by=run.acknowledged_by,
        reason=run.reason,
    )


def _step(step: StepRecord) -> StepSummary:
    return StepSummary(
        step=step.name,
        status=step.status,
        seconds=(step.ended - step.started).total_seconds() if step.ended else None,
        summary=step.summary or step.error,
        output=step.output,
    )
