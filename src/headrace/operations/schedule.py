"""Jobs that are due: scoring and retraining by their schedules, and retraining for an alert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.deployment.declarations import Deployment
from headrace.operations.retrain import decide_retraining

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.deployment.retraining import RetrainDecision
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


@dataclass(frozen=True, kw_only=True)
class JobSchedule:
    """A declared schedule of a model.

    Attributes:
        model: its name.
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


def scoring_of(workspace: Workspace, deployment: Deployment, *, since: datetime) -> JobSchedule | None:
    """The schedule of batch scoring; None where none is declared.

    Args:
        workspace: the environment.
        deployment: of the model.
        since: what has never been run and never been in Production is due the first time after it.
    """
    cron, model = deployment.score.every, ("--model", deployment.name)
    if cron is None:
        return None
    commands = [*((each,) for each in BEFORE), ("score", *model)]
    if deployment.monitor is not None:
        commands.append(("monitor", *model))
    return JobSchedule(
        model=deployment.name,
        job=f"score {deployment.name}",
        cron=cron,
        since=_promoted(workspace, deployment.name) or since,
        prepared=BEFORE,
        commands=tuple(commands),
    )


def retraining_of(workspace: Workspace, deployment: Deployment, *, since: datetime) -> JobSchedule | None:
    """The schedule of retraining; None where the model is retrained on an alert or by hand. Parameters as of `scoring_of`."""
    declared = deployment.retrain
    if declared is None or declared.every is None:
        return None
    created = [version.created for version in workspace.registry.versions() if version.model == deployment.name]
    return JobSchedule(
        model=deployment.name,
        job=f"retrain {deployment.name}",
        cron=declared.every,
        since=max(created, default=since),
        prepared=(),
        commands=(("retrain", "--model", deployment.name),),
    )


def due(workspace: Workspace, *, since: datetime) -> list[DueJob]:
    """The jobs that are due, in the order in which they are to run.

    Args:
        workspace: the environment.
        since: when the scheduler began: what has never been run and never been in Production is due the first time after it.
    """
    workspace.ledger.sweep()
    jobs: list[DueJob] = []
    for deployment in workspace.project.all(Deployment):
        scoring = scoring_of(workspace, deployment, since=since)
        if scoring is not None and _is_due(workspace, scoring):
            reason = f"scoring of {deployment.name} is due: {scoring.cron.expression}"
            jobs += [DueJob(arguments=arguments, reason=reason) for arguments in scoring.commands]
        jobs += _retraining(workspace, deployment, since)
    return jobs


def _retraining(workspace: Workspace, deployment: Deployment, since: datetime) -> list[DueJob]:
    scheduled = retraining_of(workspace, deployment, since=since)
    if scheduled is not None:
        reason = f"due: {scheduled.cron.expression}"
        late = _is_due(workspace, scheduled)
        return [DueJob(arguments=arguments, reason=reason) for arguments in scheduled.commands] if late else []
    asked = retraining_on_alert(workspace, deployment)
    if asked is None or not asked.is_due:
        return []
    return [DueJob(arguments=("retrain", "--model", deployment.name), reason=asked.decision.because)]


@dataclass(frozen=True, kw_only=True)
class AlertRetraining:
    """Where retraining on an alert stands.

    Attributes:
        decision: what asks for it, and the guards that are against it.
        answered: why the alert starts no training any more, in words: somebody takes care of it, or one training was made for
            it already. Empty while it may start one, and while there is no alert.
    """

    decision: RetrainDecision
    answered: str

    @property
    def is_due(self) -> bool:
        """Whether the scheduler trains now."""
        return self.decision.allowed and self.decision.alert is not None and not self.answered


def retraining_on_alert(workspace: Workspace, deployment: Deployment) -> AlertRetraining | None:
    """Where retraining on an alert stands now; None where the model is retrained by a schedule or by hand."""
    if deployment.retrain is None or deployment.retrain.on != "alert":
        return None
    decision = decide_retraining(workspace, deployment, as_of=workspace.project.as_of or now())
    answered = "" if decision.alert is None else _answered(workspace, deployment.name, decision.alert)
    return AlertRetraining(decision=decision, answered=answered)


def _answered(workspace: Workspace, model: str, alert: int) -> str:
    """One training an open alert: it made a version, or it failed, and then it is for a person to look at."""
    found = workspace.alerts.get(alert)
    if found.status != "open":
        return f"alert {alert} is {found.status}: {found.acknowledged_by or 'nobody'} takes care of it"
    for version in workspace.registry.versions(model):
        if version.alert == alert:
            return f"version {version.version} was trained for alert {alert}, which is still open"
    last = last_run(workspace, f"retrain {model}")
    if last is not None and last.status == "failed" and last.started > found.opened:
        return f"the training for alert {alert} failed"
    return ""


def _promoted(workspace: Workspace, model: str) -> datetime | None:
    """When a version first came to Production; None before."""
    changes = workspace.registry.history(model)
    return min((change.at for change in changes if change.stage == "Production"), default=None)


def _is_due(workspace: Workspace, schedule: JobSchedule) -> bool:
    """Whether a moment of the schedule has come after those that are settled, and a run may still begin."""
    return schedule.cron.due(settled_until(workspace, schedule), now())


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
