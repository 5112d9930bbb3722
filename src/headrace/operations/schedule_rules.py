"""A declared schedule of a job, and up to which moment its runs have settled it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.jobs.records import RunRecord
    from headrace.jobs.schedule import Cron
    from headrace.workspace.workspace import Workspace

ATTEMPTS = 3  # of a run that is interrupted each time


@dataclass(frozen=True, kw_only=True)
class JobSchedule:
    """A declared schedule of a model, or of a vector index.

    Attributes:
        model: its name, or that of the index.
        job: in the ledger; its last run is that of the schedule.
        cron: as declared.
        since: before the first run of the job, moments after this one are due.
        prepared: jobs that come first; one that failed keeps the job from being tried again and again.
        commands: the words after `headrace run`, of each command that is run when the schedule is due.
    """

    model: str
    job: str
    cron: Cron
    since: datetime
    prepared: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]


def settled_until(workspace: Workspace, schedule: JobSchedule) -> datetime:
    """The moment up to which nothing of a schedule is due any more: `run_until`, or when a preparation failed.

    A preparation that failed needs somebody, or the next moment.
    """
    failed = (each.started for each in failed_preparations(workspace, schedule))
    return max((run_until(workspace, schedule), *failed))


def run_until(workspace: Workspace, schedule: JobSchedule) -> datetime:
    """When the last run of a schedule began, or, before the first one, `since`.

    A run that was interrupted does not count: what it was for is due still. It does when each attempt ends so, or when a
    person saw that nothing is left to do.
    """
    attempts = 0
    for run in workspace.ledger.runs(schedule.job, limit=ATTEMPTS):
        attempts += run.attempt
        if run.status != "interrupted" or run.acknowledged_by or attempts >= ATTEMPTS:
            return run.started
    return schedule.since


def failed_preparations(workspace: Workspace, schedule: JobSchedule) -> list[RunRecord]:
    """The last runs of the jobs that come first, where they failed and nobody has acknowledged it."""
    last = [last_run(workspace, each) for each in schedule.prepared]
    return [each for each in last if each is not None and each.status == "failed" and not each.acknowledged_by]


def last_run(workspace: Workspace, job: str) -> RunRecord | None:
    """The latest run of a job; None before the first one."""
    return next(iter(workspace.ledger.runs(job, limit=1)), None)
