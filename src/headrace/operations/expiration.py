"""The time to live of tables: those that were not refreshed for as long as `ttl` says, and that nothing depends on, are removed.

Killed half-way, the same command removes the rest: each table is removed by itself, and a table that is gone is not looked at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.errors import BusyError, ConfigError, RefusedError, SqlError
from headrace.core.failpoints import reach
from headrace.operations.in_use import alone, idle
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from headrace.lakehouse.graph import Declared
    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace

EVERY = 3600.0  # seconds between two looks of a scheduler
STEPS = ("load", "build", "index")  # of a refresh, before the name of the table
SHARED = "metrics."  # tables of Headrace about all models


@dataclass(frozen=True, kw_only=True)
class ExpiredTable(Record):
    """A table that has lived as long as it may.

    Attributes:
        table: its name.
        refreshed: when it last changed, or was last found to be up to date.
    """

    table: str
    refreshed: datetime


@dataclass(frozen=True, kw_only=True)
class KeptTable(Record):
    """A table that has lived as long as it may, and that something depends on.

    Attributes:
        table: its name.
        refreshed: when it last changed, or was last found to be up to date.
        reasons: what depends on it, a clause each.
    """

    table: str
    refreshed: datetime
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExpirationReport(Record):
    """What has expired in an environment.

    Attributes:
        env: the environment.
        ttl: how long a table lives after its last refresh.
        expired: the tables that were removed, or that would be.
        kept: the tables that stay because something depends on them.
    """

    env: str
    ttl: timedelta
    expired: tuple[ExpiredTable, ...]
    kept: tuple[KeptTable, ...]


@operation("env expire", reads=True)
def plan_expiration(workspace: Workspace) -> ExpirationReport:
    """What `expire` would remove; nothing is changed. Parameters and errors as there, without `BusyError`."""
    return _plan(workspace)


@operation("env expire", publishes_catalog=True)
def expire(workspace: Workspace) -> ExpirationReport:
    """Removes the tables of an environment that have lived as long as they may, with their history.

    Raises:
        ConfigError: the environment has no `ttl`.
        RefusedError: it is the highest environment.
        BusyError: something runs that may write tables. Nothing was removed.
    """
    _ttl(workspace)
    with alone(workspace, "remove tables"):
        return _remove(workspace)


class ExpirationSchedule:
    """Removes tables for a scheduler: at its start, and then every hour, when nothing writes the environment."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._next = 0.0

    def run_due(self) -> list[str]:
        """Removes what has expired if it is time to; the caller holds the lock of the scheduler.

        Returns:
            A line for each table that was removed. None while something is at work: the next call tries again.
        """
        if self._workspace.environment.ttl is None or time.monotonic() < self._next:
            return []
        try:
            with idle(self._workspace, "remove tables"):
                report = _remove(self._workspace)
        except BusyError:
            return []
        self._next = time.monotonic() + EVERY
        return [
            f"{each.table} has expired: it was last refreshed at {each.refreshed:%Y-%m-%d %H:%M} UTC"
            for each in report.expired
        ]


def _remove(workspace: Workspace) -> ExpirationReport:
    from headrace.access.audit import record

    report = _plan(workspace)
    for each in report.expired:
        there = workspace.lakehouse.snapshot(each.table)
        details = {"version": there.version, "id": there.id, "refreshed": each.refreshed.isoformat()}
        with workspace.state.begin() as connection:
            record(connection, workspace.access.me().name, "table.expired", each.table, details)
        workspace.lakehouse.drop(each.table)
        reach(f"table.expired:{each.table}")
    return report


def _ttl(workspace: Workspace) -> timedelta:
    environment = workspace.environment
    if environment.ttl is None:
        raise ConfigError(
            f"tables of {environment.name!r} have no time to live. Nothing was removed.",
            hint=f'In headrace.toml: [env.{environment.name}] ttl = "14d"',
        )
    if environment.name == environment.order[-1]:  # as its floor says, too
        raise RefusedError(f"{environment.name!r} is the highest environment: its tables stay. Nothing was removed.")
    return environment.ttl


def _plan(workspace: Workspace) -> ExpirationReport:
    ttl = _ttl(workspace)
    until = now() - ttl
    refreshed = _refreshed(workspace)
    old = {name: at for name, at in refreshed.items() if at < until}
    reasons = _dependents(workspace, set(refreshed), set(old), until) if old else {}
    return ExpirationReport(
        env=workspace.environment.name,
        ttl=ttl,
        expired=tuple(ExpiredTable(table=name, refreshed=at) for name, at in old.items() if name not in reasons),
        kept=tuple(
            KeptTable(table=name, refreshed=at, reasons=tuple(sorted(set(reasons[name]))))
            for name, at in old.items()
            if name in reasons
        ),
    )


def _refreshed(workspace: Workspace) -> dict[str, datetime]:
    """The environment's own tables → when rows last changed, or a refresh last found that nothing is new."""
    lakehouse, ended = workspace.lakehouse, workspace.ledger.last_ended()
    own = [each.name for each in lakehouse.names() if each.env == lakehouse.env]
    return {
        name: max([lakehouse.refreshed(name), *(ended[step] for each in STEPS if (step := f"{each} {name}") in ended)])
        for name in own
    }


def _dependents(workspace: Workspace, own: set[str], old: set[str], until: datetime) -> dict[str, list[str]]:
    """Tables that have lived as long as they may, and that stay → what depends on them."""
    found: dict[str, list[str]] = {}
    for name, reason in (*_needed_by_versions(workspace, own, until), *_read_above(workspace, own)):
        if name in old:
            found.setdefault(name, []).append(reason)
    readers = _readers(workspace, own)
    waiting = list((own - old) | set(found))
    reached = set(waiting)
    while waiting:
        reader = waiting.pop()
        for name in readers.get(reader, ()):
            if name in old:
                found.setdefault(name, []).append(f"{reader} is made of it")
                waiting += [name] if name not in reached else []
                reached.add(name)
    return found


def _needed_by_versions(workspace: Workspace, own: set[str], until: datetime) -> list[tuple[str, str]]:
    """Tables that versions were made from, and what is known of them; versions in use, requested, and new ones count."""
    from headrace.deployment.declarations import Deployment
    from headrace.operations.reserved_tables import predictions
    from headrace.scoring.columns import log_table

    into = {
        each.name: [name for name in predictions(each) if isinstance(name, str)]
        for each in workspace.project.all(Deployment)
    }
    requested = {(each.model, each.version) for each in workspace.registry.requests.list(status="open")}
    found: list[tuple[str, str]] = []
    for version in workspace.registry.versions():
        if (why := _in_use(version, requested, until)) is None:
            continue
        reason = f"version {version.version} of {version.model} ({why}) needs it"
        about = (log_table(version.model), *into.get(version.model, ()))
        tables = {*version.inputs, f"training.{version.model.lower()}"}
        tables |= {name for name in own if name.startswith((SHARED, *(f"{each}_" for each in about))) or name in about}
        found += [(name, reason) for name in sorted(tables)]
    return found


def _in_use(version: Version, requested: set[tuple[str, int]], until: datetime) -> str | None:
    if version.stage in ("Production", "Staging"):
        return f"in {version.stage}"
    if (version.model, version.version) in requested:
        return "requested"
    return "new" if version.created >= until and version.stage != "Archived" else None


def _read_above(workspace: Workspace, own: set[str]) -> list[tuple[str, str]]:
    """Tables that an environment above this one may read."""
    from headrace.lakehouse.readable import is_readable

    name, order = workspace.environment.name, workspace.environment.order
    above = [workspace.config.environment(each) for each in order[order.index(name) + 1 :]]
    return [
        (table, f"{each.name} reads it")
        for each in above
        for table in own
        if is_readable(table, each.reads.get(name, ()))
    ]


def _readers(workspace: Workspace, own: set[str]) -> Mapping[str, Iterable[str]]:
    """Declared tables and indexes that this environment has → the tables that they are made of."""
    from headrace.lakehouse.declarations import Source, Table, quarantine_name
    from headrace.llm.index.declarations import VectorIndex

    declared = [*workspace.project.all(Source), *workspace.project.all(Table)]
    known = {*(each.name for each in workspace.lakehouse.names()), *(each.name for each in declared)}
    made = {each.name: _inputs(each, known) for each in declared if each.name in own}
    made |= {each.name: (each.table.name,) for each in workspace.project.all(VectorIndex) if each.name in own}
    return {name: (*inputs, quarantine_name(name)) for name, inputs in made.items()}


def _inputs(declared: Declared, known: set[str]) -> tuple[str, ...]:
    """What a table is made of, also where a part of it is gone."""
    from headrace.lakehouse import graph

    known = set(known)
    while True:
        try:
            return graph.inputs(declared, known)
        except SqlError as error:
            if error.unknown_table is None or error.unknown_table in known:
                raise
            known.add(error.unknown_table)
