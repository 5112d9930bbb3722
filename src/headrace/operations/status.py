"""The status of an environment: what needs a person, how fresh tables are, what ran last, which models there are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from headrace.core.clock import now
from headrace.operations.needs import needs
from headrace.operations.operation import operation
from headrace.operations.record import Record
from headrace.operations.stream_status import stream_workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from headrace.jobs.records import RunStatus
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.operations.needs import Need
    from headrace.operations.stream_status import StreamStatus
    from headrace.registry.records import RolloutState, Share, Stage, Version
    from headrace.workspace.workspace import Workspace

LATEST = 200  # runs looked at for the last one of each job
RECENT = timedelta(days=1)
Role = Literal["candidate", "shadow"]


@dataclass(frozen=True, kw_only=True)
class Repair(Record):
    """Something was changed by hand, and was set right.

    Attributes:
        what: was changed, in words.
        at: when it was set right.
    """

    what: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class TrafficShare(Record):
    """A version that is called beside the one in Production.

    Attributes:
        model: its name.
        version: its number.
        role: `candidate`: it answers; `shadow`: its answers are only logged.
        share: of the entities or of the requests, between 0 and 1.
        reason: it has this share; of a rollout, what it waits for.
    """

    model: str
    version: int
    role: Role
    share: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class TableStatus(Record):
    """How fresh a table is.

    Attributes:
        table: its name.
        env: the environment whose table it is.
        rows: the number of its rows.
        changed: when its rows changed last; None where its history does not say.
        newest: the latest value in the column of its time; None where it has no such column, or no rows.
    """

    table: str
    env: str
    rows: int
    changed: datetime | None
    newest: datetime | date | None


@dataclass(frozen=True, kw_only=True)
class JobStatus(Record):
    """The last run of a job.

    Attributes:
        job: its name.
        status: `running`, `done`, `failed` or `interrupted`.
        started: when its first attempt began.
        code: that its latest attempt ran.
    """

    job: str
    status: RunStatus
    started: datetime
    code: str


@dataclass(frozen=True, kw_only=True)
class ModelStatus(Record):
    """A version of a model.

    Attributes:
        model: its name.
        version: its number.
        stage: `None`, `Staging`, `Production` or `Archived`.
        created: when it was registered.
        metrics: metric → its value on the test rows; None where it has none there.
    """

    model: str
    version: int
    stage: Stage
    created: datetime
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class StatusReport(Record):
    """The status of an environment.

    Attributes:
        project: its name.
        env: the environment.
        at: the moment of this report.
        needs_a_person: what a person should look at; nothing where all is well.
        lately: what was changed by hand during the last day, and was set right.
        traffic: versions that are called beside those in Production.
        tables: all that can be read from the environment.
        jobs: the last run of each.
        streams: their workers.
        models: every version of every model.
    """

    project: str
    env: str
    at: datetime
    needs_a_person: tuple[Need, ...]
    lately: tuple[Repair, ...]
    traffic: tuple[TrafficShare, ...]
    tables: tuple[TableStatus, ...]
    jobs: tuple[JobStatus, ...]
    streams: tuple[StreamStatus, ...]
    models: tuple[ModelStatus, ...]


@operation("status")
def show_status(workspace: Workspace, *, tables: int | None = None, every_version: bool = True) -> StatusReport:
    """What needs a person, what was set right lately, and where tables, jobs, streams and models stand.

    Code that cannot be loaded is one of the needs; everything else is reported all the same.

    Args:
        workspace: the environment.
        tables: only so many, those that were written to the longest time ago; None: all.
        every_version: whether every version of a model is reported, or only its newest and those in Staging and Production.
    """
    workspace.ledger.sweep()
    last = list({run.job: run for run in reversed(workspace.ledger.runs(limit=LATEST))}.values())
    streams = stream_workers(workspace)
    return StatusReport(
        project=workspace.config.name,
        env=workspace.environment.name,
        at=now(),
        needs_a_person=needs(workspace, streams=streams, runs=last),
        lately=tuple(_repairs(workspace)),
        traffic=tuple(_traffic(workspace)),
        tables=tuple(_tables(workspace.lakehouse, tables)),
        jobs=tuple(JobStatus(job=run.job, status=run.status, started=run.started, code=run.code) for run in last),
        streams=tuple(streams),
        models=tuple(
            ModelStatus(
                model=version.model,
                version=version.version,
                stage=version.stage,
                created=version.created,
                metrics=version.metrics,
            )
            for version in (workspace.registry.versions() if every_version else _that_matter(workspace))
        ),
    )


def _that_matter(workspace: Workspace) -> list[Version]:
    """The newest version of each model, and those in Staging and Production, as `Registry.versions` sorts them."""
    registry = workspace.registry
    found = [registry.newest(), registry.in_stage("Staging"), registry.in_stage("Production")]
    versions = {(each.model, each.version): each for of_all in found for each in of_all.values()}
    return [versions[key] for key in sorted(versions)]


def _traffic(workspace: Workspace) -> list[TrafficShare]:
    """Who answers beside the version in Production, and what a rollout waits for."""
    shares: list[TrafficShare] = []
    for model in workspace.registry.traffic.models():
        split, rollout = workspace.registry.traffic.current(model), workspace.registry.rollouts.running(model)
        beside: dict[Role, tuple[Share, ...]] = {"candidate": split.candidates, "shadow": split.shadows}
        for role, of_role in beside.items():
            for share in of_role:
                on_rollout = rollout is not None and rollout.version == share.version
                reason = _outlook(workspace, rollout) if rollout and on_rollout else split.reason
                shares.append(
                    TrafficShare(model=model, version=share.version, role=role, share=share.weight, reason=reason)
                )
    return shares


def _outlook(workspace: Workspace, rollout: RolloutState) -> str:
    from headrace.deployment.rollouts import outlook  # with what judges a rollout, which takes half a second to import

    return outlook(workspace.registry, workspace.lakehouse, rollout, now())


def _repairs(workspace: Workspace) -> list[Repair]:
    """What was changed by hand lately, and set right: somebody may want to know why."""
    repairs: list[Repair] = []
    for entry in workspace.audit.entries(limit=LATEST):
        if now() - entry.at > RECENT:
            continue
        details = entry.details
        if entry.action == "alias.repaired":
            what = f"MLflow's alias {details['alias']!r} of {entry.object} was moved by hand to {details['found']}, and set back to {details['set_to']}"
        elif entry.action == "serving.repaired":
            what = f"serving.json of {entry.object} was changed by hand, and written again"
        else:
            continue
        repairs.append(Repair(what=what, at=entry.at))
    return repairs


def _tables(lakehouse: Lakehouse, count: int | None) -> Iterator[TableStatus]:
    for name in lakehouse.names() if count is None else lakehouse.written_longest_ago(count):
        table = lakehouse.summary(name.name, newest=True)
        yield TableStatus(table=table.name, env=table.env, rows=table.rows, changed=table.changed, newest=table.newest)
