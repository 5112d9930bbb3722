"""Ingests the answers of servers, and logs of other machines, into the inference tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from headrace.access.audit import record
from headrace.operations.job import announce, one_deployment, open_job, report
from headrace.operations.operation import operation
from headrace.pipelines import log as pipeline
from headrace.pipelines.answer_traces import trace_served

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.operations.job import Announcer, Listener, RunReport
    from headrace.workspace.workspace import Workspace


@operation("run ingest-log", of="name")
def ingest_log(
    workspace: Workspace,
    name: str | None,
    places: Sequence[Path],
    *,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> RunReport:
    """Takes over what servers here have answered, and then what is in these folders and files.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a deployment.
        places: spools of other machines, files of records.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    deployment = one_deployment(workspace.project, name)
    me = workspace.access.me()

    def tell(place: Path, content: pipeline.LogContent) -> None:
        details: dict[str, Json] = {"place": str(place), **asdict(content)}
        with workspace.state.begin() as connection:
            record(connection, me.name, "log.imported", deployment.name, details)

    asked: dict[str, Json] = {"places": [str(place) for place in places]}
    announce(workspace, begin)
    with open_job(workspace, f"ingest-log {deployment.name}", asked, listen) as run:
        spool = workspace.environment.root / "spool" / deployment.name
        trace = trace_served(workspace.tracking, deployment, workspace.environment.name)
        pipeline.collect_log(workspace.lakehouse, run, deployment.name, spool, trace=trace)
        pipeline.import_logs(workspace.lakehouse, run, deployment.name, places, tell=tell, trace=trace)
    return report(workspace, run)
