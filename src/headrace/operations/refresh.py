"""Loads sources, and brings every table and feature table up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.operations.job import announce, open_job, report
from headrace.operations.operation import operation
from headrace.pipelines import refresh as pipeline

if TYPE_CHECKING:
    from headrace.operations.job import Announcer, Listener, RunReport
    from headrace.pipelines.planned_step import PlannedStep
    from headrace.workspace.workspace import Workspace


@operation("run refresh")
def refresh(workspace: Workspace, *, listen: Listener | None = None, begin: Announcer | None = None) -> RunReport:
    """Runs the refresh pipeline.

    Args:
        workspace: where.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    project = workspace.project
    announce(workspace, begin)
    with open_job(workspace, "refresh", {}, listen) as run:
        pipeline.refresh(project, workspace.lakehouse, run, folder=workspace.config.folder)
    return report(workspace, run)


@operation("run refresh", reads=True)
def plan_refresh(workspace: Workspace) -> list[PlannedStep]:
    """What a refresh would do, a row a table."""
    return pipeline.outline(workspace.project, workspace.lakehouse)
