"""Profiles, compares and judges the predictions of versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import NotFoundError
from headrace.lakehouse.identifiers import quoted
from headrace.operations.alerts import AlertReport, report_alert
from headrace.operations.job import RunReport, announce, as_of_text, moment, one_deployment, open_job, steps
from headrace.operations.operation import operation
from headrace.operations.sync import bring_along, tell_people
from headrace.pipelines import monitor as pipeline
from headrace.scoring.columns import check_predictions

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.deployment.declarations import Deployment
    from headrace.operations.job import Announcer, Listener
    from headrace.pipelines.planned_step import PlannedStep
    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class MonitorReport(RunReport):
    """What monitoring found.

    Attributes:
        alerts: that hold now.
    """

    alerts: tuple[AlertReport, ...]


@operation("run monitor", of="name")
def monitor(
    workspace: Workspace,
    name: str | None = None,
    *,
    as_of: datetime | None = None,
    listen: Listener | None = None,
    begin: Announcer | None = None,
) -> MonitorReport:
    """Runs the monitoring pipeline of one model, on every version that has predicted; gives the alerts that hold.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a deployment.
        as_of: nothing later exists; default: the project's moment, or the present.
        listen: called with each step that ends.
        begin: called once before the first step.
    """
    deployment = one_deployment(workspace.project, name)
    versions = _predicted(workspace, deployment)
    announce(workspace, begin)
    with open_job(workspace, f"monitor {deployment.name}", {"as_of": as_of_text(workspace, as_of)}, listen) as run:
        holding = pipeline.monitor(
            workspace.lakehouse,
            workspace.alerts,
            run,
            deployment,
            versions,
            spool=workspace.environment.root / "spool" / deployment.name,
            home=workspace.home(deployment.name),
            as_of=moment(run),
        )
    bring_along(workspace)
    tell_people(workspace)
    return MonitorReport(
        run=run.id,
        env=workspace.environment.name,
        steps=steps(workspace, run.id),
        alerts=tuple(report_alert(alert) for alert in holding),
    )


@operation("run monitor", of="name", reads=True)
def plan_monitor(workspace: Workspace, name: str | None = None) -> list[PlannedStep]:
    """What monitoring would do, a row a step."""
    return pipeline.outline(one_deployment(workspace.project, name))


def _predicted(workspace: Workspace, deployment: Deployment) -> list[Version]:
    """The versions that have predictions, the one in Production last."""
    into = deployment.score.table
    if not workspace.lakehouse.exists(into, own=True):
        raise NotFoundError("table of predictions", into, (), hint="Score first: headrace run score")
    check_predictions(into, workspace.lakehouse.snapshot(into).schema.names)
    with workspace.lakehouse.connect({into: None}) as connection:
        found = connection.sql(
            f"select distinct model_version as v from {quoted(into)} where model = '{deployment.name}'"
        ).to_arrow_table()
    versions = [workspace.registry.get(deployment.name, number) for number in sorted(found.column("v").to_pylist())]
    return sorted(versions, key=lambda version: version.stage == "Production")
