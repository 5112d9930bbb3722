"""Publishes feature tables into the online store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.operations.job import announce, as_of_text, moment, open_job, report
from headrace.operations.operation import operation
from headrace.pipelines import publish as pipeline

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.operations.job import Announcer, Listener, RunReport
    from headrace.workspace.workspace import Workspace


@operation("run publish")
def publish(
    workspace: Workspace,
    *,
    as_of: datetime | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> RunReport:
    """Publishes the feature tables that are declared online.

    Args:
        workspace: where.
        as_of: only rows that had become available by then; None: the project's moment, or the present.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    tables = pipeline.online_tables(workspace.project)
    announce(workspace, begin)
    with open_job(workspace, "publish", {"as_of": as_of_text(workspace, as_of)}, listen) as run:
        pipeline.publish(workspace.lakehouse, workspace.online, run, tables, as_of=moment(run))
    return report(workspace, run)
