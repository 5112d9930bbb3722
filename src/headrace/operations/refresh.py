"""Loads sources, and brings every table, feature table and vector index up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.llm.index.declarations import VectorIndex
from headrace.operations.job import announce, open_job, report
from headrace.operations.operation import operation
from headrace.pipelines import refresh as pipeline

if TYPE_CHECKING:
    from headrace.operations.job import Announcer, Listener, RunReport
    from headrace.pipelines.planned_step import PlannedStep
    from headrace.workspace.workspace import Workspace


@operation("run refresh", publishes_catalog=True)
def refresh(
    workspace: Workspace,
    *,
    index: str | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> RunReport:
    """Runs the refresh pipeline.

    Args:
        workspace: where.
        index: a vector index: only this one is brought up to date, with its table as it is. None: everything.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    project = workspace.project
    if index is not None:
        declared = project.find(VectorIndex, index)
        announce(workspace, begin, steps=1)
        with open_job(workspace, pipeline.step_of(declared), {}, listen) as run:
            pipeline.bring_up(workspace.lakehouse, declared, run, cache=workspace.index_cache)
        return report(workspace, run)
    announce(workspace, begin, steps=pipeline.steps(project))
    with open_job(workspace, "refresh", {}, listen) as run:
        pipeline.refresh(
            project, workspace.lakehouse, run, folder=workspace.config.folder, indexes=workspace.index_cache
        )
    return report(workspace, run)


@operation("run refresh", reads=True)
def plan_refresh(workspace: Workspace, *, index: str | None = None) -> list[PlannedStep]:
    """What a refresh would do, a row a table; parameters as of `refresh`."""
    if index is not None:
        return [pipeline.outline_index(workspace.project.find(VectorIndex, index))]
    return pipeline.outline(workspace.project, workspace.lakehouse)
