"""What `headrace up` does each round: jobs that are due, events that want to be told, answers in the spool, rollouts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.errors import HeadraceError
from headrace.deployment.declarations import Deployment
from headrace.inference.ingest import ingest
from headrace.operations.anchoring import anchor
from headrace.operations.releases import newer_than_ours
from headrace.operations.retrain import decide_retraining
from headrace.operations.serving import alarm
from headrace.operations.sync import follow
from headrace.scoring.columns import log_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.jobs.records import RunRecord
    from headrace.jobs.schedule import Cron
    from headrace.workspace.workspace import Workspace

ATTEMPTS = 3  # of a run that is interrupted each time
BEFORE = ("refresh", "publish")  # what a scoring is prepared with


@dataclass(frozen=True, kw_only=True)
class Due:
    """A command of `headrace run` that is due, and why."""

    arguments: tuple[str, ...]
    reason: str


def due(workspace: Workspace, *, since: datetime) -> list[Due]:
    """The jobs that are due, in the order in which they are to run.

    Args:
        workspace: the environment.
        since: when the scheduler began: what has never been run and never been in Production is due the first time after it.
    """
    workspace.ledger.sweep()
    found: list[Due] = []
    for deployment in workspace.project.all(Deployment):
        model = ("--model", deployment.name)
        schedule = deployment.score.every
        if schedule is not None and _is_due(
            workspace, f"score {deployment.name}", schedule, _promoted(workspace, deployment.name) or since, BEFORE
        ):
            reason = f"scoring of {deployment.name} is due: {schedule.expression}"
            found += [Due(arguments=("refresh",), reason=reason), Due(arguments=("publish",), reason=reason)]
            found.append(Due(arguments=("score", *model), reason=reason))
            if deployment.monitor is not None:
                found.append(Due(arguments=("monitor", *model), reason=reason))
        found += _retraining(workspace, deployment, since)
    return found


def _retraining(workspace: Workspace, deployment: Deployment, since: datetime) -> list[Due]:
    declared = deployment.retrain
    if declared is None or declared.on == "manual":
        return []
    arguments = ("retrain", "--model", deployment.name)
    if declared.every is not None:
        made = [version.created for version in workspace.registry.versions(deployment.name)]
        late = _is_due(workspace, f"retrain {deployment.name}", declared.every, max(made, default=since))
        return [Due(arguments=arguments, reason=f"due: {declared.every.expression}")] if late else []
    verdict = decide_retraining(workspace, deployment, as_of=workspace.project.as_of or now())
    if not verdict.allowed or verdict.alert is None or _is_taken_care_of(workspace, deployment.name, verdict.alert):
        return []
    return [Due(arguments=arguments, reason=verdict.because)]


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


def tend(workspace: Workspace) -> list[str]:
    """Takes over what servers have answered, and tells what wants to be told; gives what did not work, in words.

    Nothing of it is lost when it fails, and the next round tries again: it raises nothing.
    """
    troubles: list[str] = []
    for deployment in workspace.project.all(Deployment):
        name = log_table(deployment.name)
        try:
            ingest(workspace.lakehouse, workspace.environment.root / "spool" / deployment.name, name)
        except Exception as error:  # noqa: BLE001  # a lakehouse that is down is no reason to end servers
            troubles.append(f"{name}: {_told(error)}")
        with suppress(Exception):  # told in the next round
            alarm(workspace.state, deployment.name, workspace.home(deployment.name))
    try:
        troubles += [f"{trouble.channel}: {trouble.error}" for trouble in follow(workspace, patient=True)]
        troubles += [f"head of the audit record: {each}" for each in anchor(workspace)]
    except Exception as error:  # noqa: BLE001  # nor are a registry or a state database
        troubles.append(f"following: {_told(error)}")
    return troubles


def rollouts(workspace: Workspace) -> tuple[list[str], list[str]]:
    """Takes the steps of rollouts that are due; gives what was done, and what did not work, in words. It raises nothing."""
    from headrace.deployment.rollouts import ROLLOUT
    from headrace.deployment.rollouts import reconcile as tend_rollout
    from headrace.operations.policies import declare

    done: list[str] = []
    troubles: list[str] = []
    try:
        running = workspace.registry.rollouts.open()
        deployed = {each.name: each for each in workspace.project.all(Deployment)} if running else {}
        late = _is_late(workspace) if running else ""
    except Exception as error:  # noqa: BLE001  # a state database that is down is no reason to end servers
        return [], [f"rollouts: {_told(error)}"]
    if late:
        return [], [late]  # what runs here may not know the gates of now
    for rollout in running:
        at, deployment = now(), deployed.get(rollout.model)
        try:
            if deployment is not None:
                declare(workspace, deployment, by=ROLLOUT)
            found = tend_rollout(
                workspace.registry,
                workspace.lakehouse,
                rollout.model,
                deployment.model if deployment else None,
                at=at,
                as_of=workspace.project.as_of or at,
            )
            done += [found] if found else []
        except Exception as error:  # noqa: BLE001  # the share stays as it is, and the next round looks again
            troubles.append(f"the rollout of {rollout.model} version {rollout.version}: {_told(error)}")
    if done:
        try:
            troubles += [f"{trouble.channel}: {trouble.error}" for trouble in follow(workspace, patient=True)]
        except Exception as error:  # noqa: BLE001  # told again in the next round
            troubles.append(f"following: {_told(error)}")
    return done, troubles


def _is_late(workspace: Workspace) -> str:
    """What to do when a release came after the one that runs here; empty when none did."""
    newest = newer_than_ours(workspace)
    if newest is None:
        return ""
    return f"rollouts wait: {workspace.code.release} runs here and {newest} is the newest release; start `headrace up` again"


def _told(error: Exception) -> str:
    return error.what if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
