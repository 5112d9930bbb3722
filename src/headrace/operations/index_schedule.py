"""When vector indexes are brought up to date: by a schedule, or when rows of their table have changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.jobs.schedule import Cron, OnChange
from headrace.lakehouse import log
from headrace.operations.schedule_rules import JobSchedule, last_run, settled_until
from headrace.pipelines.outputs.refresh import UpdatedIndex
from headrace.pipelines.refresh import step_of

if TYPE_CHECKING:
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.llm.index.declarations import VectorIndex
    from headrace.workspace.workspace import Workspace

LOOKED_AT = 10  # runs of each job, for the last one that came as far as the index


@dataclass(frozen=True, kw_only=True)
class TableChange:
    """Where an index stands that follows its table.

    Attributes:
        reason: what has changed, in words; empty where nothing has.
        settled: whether a run has failed since, or was interrupted again and again: the next change is waited for, or somebody.
    """

    reason: str
    settled: bool

    @property
    def is_due(self) -> bool:
        """Whether the scheduler brings the index up to date now."""
        return bool(self.reason) and not self.settled


def command(index: VectorIndex) -> tuple[str, ...]:
    """The words after `headrace run` that bring an index up to date."""
    return ("refresh", "--index", index.name)


def indexing_of(index: VectorIndex, *, since: datetime) -> JobSchedule | None:
    """The schedule of an index; None where none is declared, or it follows its table.

    Args:
        index: as declared.
        since: before the first run, moments after this one are due.
    """
    if not isinstance(index.refresh, Cron):
        return None
    return JobSchedule(
        model=index.name,
        job=step_of(index),
        cron=index.refresh,
        since=since,
        prepared=(),
        commands=(command(index),),
    )


def table_change(workspace: Workspace, index: VectorIndex) -> TableChange | None:
    """What has changed in the table of an index since it was brought up to date; None where it does not follow its table.

    The version that the last update has read is in the ledger, so nothing is embedded, loaded or read to find out.
    """
    if not isinstance(index.refresh, OnChange):
        return None
    try:
        source = workspace.lakehouse.snapshot(index.table.name)
    except NotFoundError:  # it is not made yet
        return TableChange(reason="", settled=False)
    there = workspace.lakehouse.exists(index.name, own=True)
    last = _last_update(workspace, index) if there else None
    if last is not None and last.source_id == source.id and last.source_version >= source.data_version:
        return TableChange(reason="", settled=False)
    reason = f"rows of {source.name} have changed" if there else f"{index.name} is not made yet"
    return TableChange(reason=reason, settled=_is_settled(workspace, index, source))


def _last_update(workspace: Workspace, index: VectorIndex) -> UpdatedIndex | None:
    """What the last update of an index left, by itself or at the end of a refresh."""
    name = step_of(index)
    runs = [run for job in (name, "refresh") for run in workspace.ledger.runs(job, limit=LOOKED_AT)]
    for run in sorted(runs, key=lambda each: each.started, reverse=True):
        for step in workspace.ledger.steps(run.id):
            if step.name == name and step.status == "done" and step.output is not None:
                return UpdatedIndex.from_json(step.output)
    return None


def _is_settled(workspace: Workspace, index: VectorIndex, source: Snapshot) -> bool:
    """Whether a run of the index alone has begun since the change, which did not end well or has not ended."""
    last = last_run(workspace, step_of(index))
    made = log.entry(source.place, source.data_version)
    if last is None or made is None or last.status == "done":
        return False
    never = Cron("0 0 1 1 *")  # its moments do not count here
    schedule = JobSchedule(
        model=index.name,
        job=step_of(index),
        cron=never,
        since=datetime.min.replace(tzinfo=UTC),
        prepared=(),
        commands=(),
    )
    return settled_until(workspace, schedule) > made.at
