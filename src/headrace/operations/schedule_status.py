"""The declared schedules of an environment: what is due when, what was missed, and what waits for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.core.clock import now
from headrace.deployment.declarations import Deployment
from headrace.llm.index.declarations import VectorIndex
from headrace.operations.index_schedule import command, indexing_of, table_change
from headrace.operations.needs import Need, failed_runs, open_requests
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.retrain import decide_retraining
from headrace.operations.schedule import retraining_of, retraining_on_alert, scoring_of
from headrace.operations.schedule_rules import failed_preparations, last_run, run_until, settled_until
from headrace.pipelines.refresh import step_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.jobs.records import RunRecord, RunStatus
    from headrace.jobs.schedule import Cron
    from headrace.operations.index_schedule import TableChange
    from headrace.operations.schedule import AlertRetraining
    from headrace.operations.schedule_rules import JobSchedule
    from headrace.workspace.workspace import Workspace

Activity = Literal["scoring", "retraining", "indexing"]
MOST = 1000  # missed moments that are counted


@dataclass(frozen=True, kw_only=True)
class ScheduleReport(Record):
    """A declared schedule of a model, or of a vector index.

    Attributes:
        model: its name, or that of the index.
        activity: `scoring`, `retraining`, or `indexing` of an index.
        trigger: the cron expression, in UTC; `alert`, where an open alert is what starts it; or `change of <table>`.
        misfire_grace: how late a run may begin, as declared; None: however late.
        commands: that `headrace up` runs when it is due, in this order.
        due: whether the next round of `headrace up` runs it.
        next: the next moment of the schedule; None where an alert or a change of a table starts it.
        last_run: the id of the last run; None before the first one.
        last_started: when that run began; None before the first one.
        last_status: `running`, `done`, `failed` or `interrupted`; None before the first one.
        missed: the number of moments that have passed since without a run, at most 1,000. One run makes up for all of them.
        missed_since: the first one of them; None where none was missed.
        because: what asks for it now, in words; empty where nothing does.
        held_back: the guards that would keep a retraining from beginning now, in words.
        waits_for: what a person has to do first, or to look at.
    """

    model: str
    activity: Activity
    trigger: str
    misfire_grace: str | None
    commands: tuple[str, ...]
    due: bool
    next: datetime | None
    last_run: str | None
    last_started: datetime | None
    last_status: RunStatus | None
    missed: int
    missed_since: datetime | None
    because: str
    held_back: tuple[str, ...]
    waits_for: tuple[Need, ...]


@dataclass(frozen=True, kw_only=True)
class ScheduleList(Record):
    """The declared schedules of an environment.

    Attributes:
        env: the environment.
        at: the moment of this list.
        schedules: what is due first, then by the next moment, then what an alert or a change of a table starts.
    """

    env: str
    at: datetime
    schedules: tuple[ScheduleReport, ...]


@operation("schedule list")
def list_schedules(workspace: Workspace) -> ScheduleList:
    """Every declared schedule: when it is due next, its last run, what was missed, and what waits for a person.

    Nothing is run. The rules are those by which `headrace up` decides; a schedule whose job never ran and whose model was never
    in Production is due the first time after now.
    """
    workspace.ledger.sweep()
    at = now()
    schedules: list[ScheduleReport] = []
    for deployment in workspace.project.all(Deployment):
        scoring = scoring_of(workspace, deployment, since=at)
        if scoring is not None:
            schedules.append(_scheduled(workspace, scoring, "scoring", at))
        retraining = retraining_of(workspace, deployment, since=at)
        if retraining is not None:
            as_of = workspace.project.as_of or at
            guards = decide_retraining(workspace, deployment, as_of=as_of).against
            schedules.append(_scheduled(workspace, retraining, "retraining", at, guards=guards))
        on_alert = retraining_on_alert(workspace, deployment)
        if on_alert is not None:
            schedules.append(_on_alert(workspace, deployment.name, on_alert))
    for index in workspace.project.all(VectorIndex):
        indexing = indexing_of(index, since=at)
        if indexing is not None:
            schedules.append(_scheduled(workspace, indexing, "indexing", at))
        change = table_change(workspace, index)
        if change is not None:
            schedules.append(_on_change(workspace, index, change))
    schedules.sort(key=lambda each: (not each.due, each.next is None, each.next or at, each.model, each.activity))
    return ScheduleList(env=workspace.environment.name, at=at, schedules=tuple(schedules))


def _scheduled(
    workspace: Workspace, schedule: JobSchedule, activity: Activity, at: datetime, *, guards: Sequence[str] = ()
) -> ScheduleReport:
    """A schedule with moments."""
    last = last_run(workspace, schedule.job)
    missed = _moments(schedule.cron, run_until(workspace, schedule), at)
    late = schedule.cron.due(settled_until(workspace, schedule), at)
    waiting = _failed(workspace, [*failed_preparations(workspace, schedule), *([last] if last else [])])
    if activity == "retraining":
        waiting += open_requests(workspace, schedule.model)
    return ScheduleReport(
        model=schedule.model,
        activity=activity,
        trigger=schedule.cron.expression,
        misfire_grace=schedule.cron.misfire_grace,
        commands=_commands(schedule.commands),
        due=late,
        next=schedule.cron.after(at),
        last_run=last.id if last else None,
        last_started=last.started if last else None,
        last_status=last.status if last else None,
        missed=len(missed),
        missed_since=missed[0] if missed else None,
        because=f"a moment of {schedule.cron.expression} has come" if late else "",
        held_back=tuple(guards) if late else (),
        waits_for=tuple(waiting),
    )


def _on_alert(workspace: Workspace, model: str, state: AlertRetraining) -> ScheduleReport:
    """Retraining that an alert starts: it has no moments."""
    last = last_run(workspace, f"retrain {model}")
    waiting = [
        *_answered(workspace, model, state),
        *_failed(workspace, [last] if last else []),
        *open_requests(workspace, model),
    ]
    return ScheduleReport(
        model=model,
        activity="retraining",
        trigger="alert",
        misfire_grace=None,
        commands=_commands([("retrain", "--model", model)]),
        due=state.is_due,
        next=None,
        last_run=last.id if last else None,
        last_started=last.started if last else None,
        last_status=last.status if last else None,
        missed=0,
        missed_since=None,
        because=state.decision.because,
        held_back=state.decision.against if state.decision.because else (),
        waits_for=tuple(waiting),
    )


def _on_change(workspace: Workspace, index: VectorIndex, change: TableChange) -> ScheduleReport:
    """An index that is brought up to date when its table has changed: it has no moments."""
    last = last_run(workspace, step_of(index))
    return ScheduleReport(
        model=index.name,
        activity="indexing",
        trigger=f"change of {index.table.name}",
        misfire_grace=None,
        commands=_commands([command(index)]),
        due=change.is_due,
        next=None,
        last_run=last.id if last else None,
        last_started=last.started if last else None,
        last_status=last.status if last else None,
        missed=0,
        missed_since=None,
        because=change.reason,
        held_back=(),
        waits_for=tuple(_failed(workspace, [last] if last else [])),
    )


def _answered(workspace: Workspace, model: str, state: AlertRetraining) -> list[Need]:
    """An alert that starts no training any more waits for a person."""
    if not state.answered or state.decision.alert is None:
        return []
    alert = workspace.alerts.get(state.decision.alert)
    env = workspace.environment.name
    return [
        Need(
            what=f"alert {alert.id} of {model} starts no other training",
            since=alert.opened,
            reason=state.answered,
            next=f"headrace alert show {alert.id} --env {env}",
        )
    ]


def _failed(workspace: Workspace, runs: Sequence[RunRecord]) -> list[Need]:
    return failed_runs(runs, workspace.environment.name)


def _commands(commands: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(f"headrace run {' '.join(words)}" for words in commands)


def _moments(cron: Cron, since: datetime, until: datetime) -> list[datetime]:
    """The moments of a schedule after `since`, up to `until`; the first ones, where there are very many."""
    moments: list[datetime] = []
    moment = cron.after(since)
    while moment <= until and len(moments) < MOST:
        moments.append(moment)
        moment = cron.after(moment)
    return moments
