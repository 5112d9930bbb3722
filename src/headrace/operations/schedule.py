"""Jobs that are due: vector indexes, scoring and retraining by their schedules, what a change or an alert starts, and rules on queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.text import counted
from headrace.deployment.declarations import Deployment
from headrace.llm.index.declarations import VectorIndex
from headrace.operations.deployment_pattern import trains_here
from headrace.operations.index_schedule import command, indexing_of, table_change
from headrace.operations.query_alerts import due_rules
from headrace.operations.retrain import decide_retraining
from headrace.operations.schedule_rules import JobSchedule, last_run, settled_until

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.deployment.retraining import RetrainDecision
    from headrace.workspace.workspace import Workspace

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
    """The schedule of retraining; None where the model is retrained on an alert or by hand, or is trained in a lower environment.

    Parameters as of `scoring_of`.
    """
    declared = deployment.retrain
    if declared is None or declared.every is None or not trains_here(workspace, deployment.name):
        return None
    registry, name = workspace.registry, deployment.name
    created = [version.created for version in registry.versions(name)] if name in registry.counts() else []
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
    jobs = [job for index in workspace.project.all(VectorIndex) for job in _indexing(workspace, index, since)]
    for deployment in workspace.project.all(Deployment):
        scoring = scoring_of(workspace, deployment, since=since)
        if scoring is not None and _is_due(workspace, scoring):
            reason = f"scoring of {deployment.name} is due: {scoring.cron.expression}"
            jobs += [DueJob(arguments=arguments, reason=reason) for arguments in scoring.commands]
        jobs += _retraining(workspace, deployment, since)
    rules = len(due_rules(workspace))
    if rules:
        reason = f"{counted(rules, 'rule')} on saved queries to be evaluated"
        jobs.append(DueJob(arguments=("monitor", "--queries", "--due"), reason=reason))
    return jobs


def _indexing(workspace: Workspace, index: VectorIndex, since: datetime) -> list[DueJob]:
    scheduled = indexing_of(index, since=since)
    if scheduled is not None:
        late = _is_due(workspace, scheduled)
        reason = f"{index.name} is due: {scheduled.cron.expression}"
        return [DueJob(arguments=arguments, reason=reason) for arguments in scheduled.commands] if late else []
    change = table_change(workspace, index)
    return [DueJob(arguments=command(index), reason=change.reason)] if change is not None and change.is_due else []


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
    """Where retraining on an alert stands now; None where a schedule or a person starts it, or a lower environment trains."""
    on_alert = deployment.retrain is not None and deployment.retrain.on == "alert"
    if not on_alert or not trains_here(workspace, deployment.name):
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
