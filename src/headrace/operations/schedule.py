"""Jobs that are due: scoring and retraining by their schedules, and retraining for an alert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.deployment.declarations import Deployment
from headrace.operations.retrain import decide_retraining

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.jobs.records import RunRecord
    from headrace.jobs.schedule import Cron
    from headrace.workspace.workspace import Workspace

ATTEMPTS = 3  # of a run that is interrupted each time
BEFORE = ("refresh", "publish")  # what a scoring is prepared with


@dataclass(frozen=True, kw_only=True)
class DueJob:
    """A command of `headrace run` that is due.

    Attributes:
        arguments: the words after `headrace run`.
        reason: why it is due.
    """

    arguments: tuple[str, ...]
    reason: str


def due(workspace: Workspace, *, since: datetime) -> list[DueJob]:
    """The jobs that are due, in the order in which they are to run.

    Args:
        workspace: the environment.
        since: when the scheduler began: what has never been run and never been in Production is due the first time after it.
    """
    workspace.ledger.sweep()
    jobs: list[DueJob] = []
    for deployment in workspace.project.all(Deployment):
        model = ("--model", deployment.name)
        schedule = deployment.score.every
        if schedule is not None and _is_due(
            workspace, f"score {deployment.name}", schedule, _promoted(workspace, deployment.name) or since, BEFORE
        ):
            reason = f"scoring of {deployment.name} is due: {schedule.expression}"
            jobs += [DueJob(arguments=("refresh",), reason=reason), DueJob(arguments=("publish",), reason=reason)]
            jobs.append(DueJob(arguments=("score", *model), reason=reason))
            if deployment.monitor is not None:
                jobs.append(DueJob(arguments=("monitor", *model), reason=reason))
        jobs += _retraining(workspace, deployment, since)
    return jobs


def _retraining(workspace: Workspace, deployment: Deployment, since: datetime) -> list[DueJob]:
    declared = deployment.retrain
    if declared is None or declared.on == "manual":
        return []
    arguments = ("retrain", "--model", deployment.name)
    if declared.every is not None:
        made = [version.created for version in workspace.registry.versions(deployment.name)]
        late = _is_due(workspace, f"retrain {deployment.name}", declared.every, max(made, default=since))
        return [DueJob(arguments=arguments, reason=f"due: {declared.every.expression}")] if late else []
    verdict = decide_retraining(workspace, deployment, as_of=workspace.project.as_of or now())
    if not verdict.allowed or verdict.alert is None or _is_taken_care_of(workspace, deployment.name, verdict.alert):
        return []
    return [DueJob(arguments=arguments, reason=verdict.because)]


def _is_taken_care_of(workspace: Workspace, model: str, alert: int) -> bool:
    """One training an open alert: it made a version, or it failed, and then it is for a person to look at."""
    if workspace.alerts.get(alert).status != "open":
        return True
    if any(version.alert == alert for version in workspace.registry.versions(model)):
        return True
    last = _last(workspace, f"retrain {model}")
    return last is not None and last.status == "failed" and last.started > workspace.alerts.get(alert).opened


def _promoted(workspace: Workspace, model: str) -> datetime | None:
    """When a version first came to Production; None before."""
    changes = workspace.registry.history(model)
    return min((change.at for change in changes if change.stage == "Production"), default=None)


def _is_due(workspace: Workspace, job: str, schedule: Cron, since: datetime, prepared: Sequence[str] = ()) -> bool:
    """Whether a moment of the schedule came after the last run began, or, before the first one, after another moment.

    A run that was interrupted does not count: what it was for is due still. It does when each attempt ends so, or when a
    person saw that nothing is left to do. A preparation that failed counts, too: that needs somebody, or the next moment.

    Args:
        workspace: the environment.
        job: of the ledger.
        schedule: as declared.
        since: the other moment.
        prepared: jobs that come first.
    """
    began, attempts = since, 0
    for run in workspace.ledger.runs(job, limit=ATTEMPTS):
        attempts += run.attempt
        if run.status != "interrupted" or run.acknowledged_by or attempts >= ATTEMPTS:
            began = run.started
            break
    for each in prepared:
        last = _last(workspace, each)
        if last is not None and last.status == "failed" and not last.acknowledged_by:
            began = max(began, last.started)
    return schedule.due(began, now())


def _last(workspace: Workspace, job: str) -> RunRecord | None:
    return next(iter(workspace.ledger.runs(job, limit=1)), None)
