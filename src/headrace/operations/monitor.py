"""Profiles, compares and judges the predictions of versions, and computes business figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError, NotFoundError
from headrace.lakehouse.identifiers import quoted
from headrace.operations.alerts import AlertReport, report_alert
from headrace.operations.job import RunReport, announce, as_of_text, moment, one_deployment, open_job, steps
from headrace.operations.operation import operation
from headrace.operations.query_alerts import judge_due_rules
from headrace.operations.reserved_tables import declared_tables
from headrace.operations.sync import bring_along, tell_people
from headrace.pipelines import monitor as pipeline
from headrace.pipelines.answer_traces import trace_served
from headrace.pipelines.monitor_answers import AnswerMonitoring, monitored_table
from headrace.pipelines.monitor_kpis import measure_kpis
from headrace.pipelines.monitor_kpis import plan as plan_kpis
from headrace.scoring.columns import check_predictions, is_log, log_table

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
        missing_table: the table of predictions, where nothing was scored in batch yet: then answers of servers are collected,
            and neither drift nor quality is measured. None where it is there.
    """

    alerts: tuple[AlertReport, ...]
    missing_table: str | None


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

    Rules on saved queries that are due are evaluated afterwards, unless it is an earlier moment that is asked for.

    Args:
        workspace: the environment.
        name: the model; may be left out when there is only one that has a deployment.
        as_of: nothing later exists; default: the project's moment, or the present.
        listen: called with each step that ends.
        begin: called once before the first step.

    Raises:
        SqlError: the SQL of a business figure is refused or fails; all else is measured before.
    """
    deployment = one_deployment(workspace.project, name)
    into, texts = monitored_table(deployment), deployment.model.predict is not None
    if deployment.serve is None and not workspace.lakehouse.exists(into, own=True):
        raise NotFoundError("table of predictions", into, (), hint="Score first: headrace run score")
    announce(workspace, begin)
    with open_job(workspace, f"monitor {deployment.name}", {"as_of": as_of_text(workspace, as_of)}, listen) as run:
        holding = pipeline.monitor(
            workspace.lakehouse,
            workspace.alerts,
            run,
            deployment,
            lambda: _predicted(workspace, deployment.name, into),
            spool=workspace.environment.root / "spool" / deployment.name,
            home=workspace.home(deployment.name),
            as_of=moment(run),
            watch=AnswerMonitoring if texts else pipeline.VersionMonitoring,
            trace=trace_served(workspace.tracking, deployment, workspace.environment.name),
        )
        try:
            measure_kpis(
                workspace.lakehouse,
                run,
                deployment,
                _predicted(workspace, deployment.name, into),
                known=kpi_inputs(workspace, deployment),
                as_of=moment(run),
            )
        except HeadraceError:
            tell_people(workspace)  # of alerts that were opened before a figure failed
            raise
    if as_of is None:
        judge_due_rules(workspace, listen=listen)
        holding += [alert for alert in workspace.alerts.active() if alert.query is not None]
    bring_along(workspace)
    tell_people(workspace)
    return MonitorReport(
        run=run.id,
        env=workspace.environment.name,
        steps=steps(workspace, run.id),
        alerts=tuple(report_alert(alert) for alert in holding),
        missing_table=None if workspace.lakehouse.exists(into, own=True) else into,
    )


@operation("run monitor", of="name", reads=True)
def plan_monitor(workspace: Workspace, name: str | None = None) -> list[PlannedStep]:
    """What monitoring would do, a row a step.

    Raises:
        SqlError: the SQL of a business figure is refused.
    """
    deployment = one_deployment(workspace.project, name)
    with workspace.lakehouse.hinting():
        return [*pipeline.outline(deployment), *plan_kpis(deployment, kpi_inputs(workspace, deployment))]


def kpi_inputs(workspace: Workspace, deployment: Deployment) -> set[str]:
    """The tables that business figures may name: what is there, what the project declares, and predictions."""
    return {
        *(each.name for each in workspace.lakehouse.names()),
        *declared_tables(workspace.project),
        *deployment.score.tables,
        log_table(deployment.name),
    }


def _predicted(workspace: Workspace, model: str, into: str) -> list[Version]:
    """The versions that have predictions in a table, the one in Production last."""
    if not workspace.lakehouse.exists(into, own=True):
        return []
    if not is_log(into):
        check_predictions(into, workspace.lakehouse.snapshot(into).schema.names)
    with workspace.lakehouse.connect({into: None}) as connection:
        found = connection.sql(
            f"select distinct model_version as v from {quoted(into)} where model = '{model}'"
        ).to_arrow_table()
    versions = [workspace.registry.get(model, number) for number in sorted(found.column("v").to_pylist())]
    return sorted(versions, key=lambda version: version.stage == "Production")
