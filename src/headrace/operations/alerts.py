"""Alerts: what is broken, since when, on what evidence, and who handles it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.core.ids import Json
    from headrace.monitoring.alerts import Alert
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class AlertReport(Record):
    """A rule of a model version that is or was broken.

    Attributes:
        alert: its id.
        model: its name.
        version: of the model.
        rule: as declared.
        window: beginning of the window with which it was broken often enough.
        status: `open`, `acknowledged` or `closed`.
        evidence: the windows that were looked at.
        owner: who is to take care.
        opened: when it was found.
        acknowledged: when somebody took care; None before.
        acknowledged_by: who did.
        reason: of whoever acknowledged it.
        closed: when it ended; None before.
        better_since: beginning of the window with which it was better again.
    """

    alert: int
    model: str
    version: int
    rule: str
    window: datetime
    status: str
    evidence: Mapping[str, Json]
    owner: str
    opened: datetime
    acknowledged: datetime | None
    acknowledged_by: str | None
    reason: str
    closed: datetime | None
    better_since: datetime | None


def report_alert(alert: Alert) -> AlertReport:
    """An alert as it is shown."""
    values = {name: value for name, value in vars(alert).items() if name != "id"}
    return AlertReport(alert=alert.id, **values)


@operation("alert list")
def list_alerts(workspace: Workspace, *, closed: bool = False) -> list[AlertReport]:
    """Alerts that hold, the latest first.

    Args:
        workspace: where.
        closed: those that are closed, too.
    """
    alerts = workspace.alerts
    return [report_alert(alert) for alert in (alerts.list() if closed else alerts.active())]


@operation("alert show", of="alert")
def show_alert(workspace: Workspace, alert: int) -> AlertReport:
    """One alert.

    Raises:
        NotFoundError: there is none of that id.
    """
    return report_alert(workspace.alerts.get(alert))


@operation("alert ack", of="alert")
def acknowledge_alert(workspace: Workspace, alert: int, *, reason: str = "") -> AlertReport:
    """Somebody has seen it and takes care.

    Args:
        workspace: where.
        alert: its id.
        reason: what is going to be done.
    """
    return report_alert(workspace.alerts.ack(alert, by=workspace.access.me().name, reason=reason))
