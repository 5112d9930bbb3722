"""Which tables are late, since when and why: not computed, computed before their inputs changed, or older than models take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.errors import HeadraceError
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from headrace.features.declarations import FeatureTable
    from headrace.jobs.records import RunRecord, StepRecord
    from headrace.lakehouse.declarations import Source, Table
    from headrace.workspace.workspace import Workspace

STEPS = ("build", "load")  # before the name of a table, in a run of refresh


@dataclass(frozen=True, kw_only=True)
class LateTable(Record):
    """A table that is not as its declaration promises.

    Attributes:
        table: its name.
        since: from when on it is late.
        reason: why, in words.
    """

    table: str
    since: datetime
    reason: str


@operation("table list")
def list_late_tables(workspace: Workspace) -> list[LateTable]:
    """Tables whose last refresh failed, whose inputs have changed since, or whose newest row no model takes any more.

    The first of these reasons is told, and the table that is late for the longest comes first. Nothing is said of tables that
    the project does not declare, nor where its program cannot be loaded.
    """
    try:
        found = {late.table: late for late in reversed([*_failed(workspace), *_behind(workspace), *_old(workspace)])}
    except HeadraceError:  # a program that cannot be loaded; `status` tells of it
        return []
    return sorted(found.values(), key=lambda late: (late.since, late.table))


def _failed(workspace: Workspace) -> Iterator[LateTable]:
    """What the last refresh could not make."""
    last = next(iter(workspace.ledger.runs("refresh", limit=1)), None)
    if last is None or last.status not in ("failed", "interrupted"):
        return
    for step in workspace.ledger.steps(last.id):
        kind, _, table = step.name.partition(" ")
        if kind in STEPS and step.status in ("failed", "interrupted"):
            yield LateTable(table=table, since=step.started, reason=_why(step, last))


def _why(step: StepRecord, run: RunRecord) -> str:
    error = step.error or run.error or "its process died"
    return f"its last refresh {step.status}: {error.splitlines()[0]}"


def _behind(workspace: Workspace) -> Iterator[LateTable]:
    """Tables of this environment that were computed before one of their inputs changed."""
    from headrace.lakehouse import graph, log
    from headrace.lakehouse.declarations import Source, Table

    lakehouse, made = workspace.lakehouse, workspace.ledger.last_ended()
    declared: list[Source | Table] = [*workspace.project.all(Source), *workspace.project.all(Table)]
    there = [name.name for name in lakehouse.names()]
    known, changed = {*there, *(each.name for each in declared)}, dict[str, "datetime | None"]()
    for each in declared:
        ended = made.get(f"build {each.name}")
        if ended is None or not lakehouse.exists(each.name, own=True):
            continue
        for name in graph.inputs(each, known):
            if name not in changed:
                snapshot = lakehouse.snapshot(name) if name in there else None
                entry = None if snapshot is None else log.entry(snapshot.place, snapshot.data_version)
                changed[name] = None if entry is None else entry.at
            at = changed[name]
            if at is not None and at > ended:
                yield LateTable(table=each.name, since=at, reason=f"{name} has changed since it was computed")
                break


def _old(workspace: Workspace) -> Iterator[LateTable]:
    """Feature tables whose newest row is older than they declare that a row may be at a decision."""
    from headrace.features.catalog import catalog
    from headrace.features.declarations import FeatureTable

    declared = workspace.project.all(FeatureTable)
    limited: Mapping[str, FeatureTable] = {each.name: each for each in declared if each.window is not None}
    moment = workspace.project.as_of or now()
    for entry in catalog(list(limited.values()), {}, workspace.lakehouse):
        window = limited[entry.feature_table].window
        if entry.newest is not None and window is not None and entry.newest + window < moment:
            reason = f"its newest row is of {entry.newest:%Y-%m-%d %H:%M} UTC, and look_back is {entry.look_back}: models take nothing older"
            yield LateTable(table=entry.feature_table, since=entry.newest + window, reason=reason)
