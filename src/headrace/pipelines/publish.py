"""Publish: feature tables that are declared online, as of a moment, into the online store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.features.declarations import FeatureTable
from headrace.features.keys import microseconds
from headrace.features.online.publish import publish as publish_table
from headrace.pipelines.outputs.publish import PublishedTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.environments.project import Project
    from headrace.features.online.base import OnlineStore
    from headrace.jobs.run import Run, StepContext
    from headrace.lakehouse.lakehouse import Lakehouse


def online_tables(project: Project) -> list[str]:
    """The feature tables that are declared online."""
    return [table.name for table in project.all(FeatureTable) if table.online]


def publish(lakehouse: Lakehouse, store: OnlineStore, run: Run, tables: Sequence[str], *, as_of: datetime) -> None:
    """The latest row of each key that had become available at `as_of`, a step a table."""
    for table in tables:

        def do(_: StepContext, table: str = table) -> PublishedTable:
            done = publish_table(lakehouse, table, store, as_of=as_of)
            return PublishedTable(table=table, rows=done.rows, mode=done.mode, as_of=done.as_of.isoformat())

        def stands(_: PublishedTable, table: str = table) -> bool:
            there = store.table(table)
            return there is not None and there.as_of >= microseconds(as_of)

        snapshot = lakehouse.snapshot(table)
        key = {"table": table, "data": snapshot.content, "as_of": as_of.isoformat()}
        run.step(f"publish {table}", key, do, output=PublishedTable, holds=stands)
