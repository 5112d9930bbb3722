"""Alerts: what is broken, since when, on what evidence, and who handles it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import instant, utc
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.core.events import Event
    from headrace.core.ids import Json
    from headrace.monitoring.alert_records import Alert
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class AlertReport(Record):
    """A rule of a model version, or of a saved query, that is or was broken.

    Attributes:
        alert: its id.
        model: its name; None for a saved query.
        version: of the model; None for a saved query.
        query: the name of the saved query; None for a model version.
        rule: as declared.
        severity: `info`, `warning` or `critical`.
        window: beginning of the window with which it was broken often enough.
        looked_at: beginning of the last window that was looked at while it held.
        status: `open`, `acknowledged` or `closed`.
        muted: whether it holds and nobody is notified now.
        evidence: the windows that were looked at; of a query, its first answer and its last one.
        owner: who is to take care.
        opened: when it was found.
        acknowledged: when somebody took care; None before.
        acknowledged_by: who did.
        reason: of whoever acknowledged it.
        muted_until: nobody is notified before; None: it was never muted.
        muted_by: who muted it.
        mute_reason: of that person.
        closed: when it ended; None before.
        better_since: beginning of the window with which it was better again.
        resolved_by: who closed it by hand; None: nobody did.
        resolution: the reason of that person.
    """

    alert: int
    model: str | None
    version: int | None
    query: str | None
    rule: str
    severity: str
    window: datetime
    looked_at: datetime
    status: str
    muted: bool
    evidence: Mapping[str, Json]
    owner: str
    opened: datetime
    acknowledged: datetime | None
    acknowledged_by: str | None
    reason: str
    muted_until: datetime | None
    muted_by: str | None
    mute_reason: str
    closed: datetime | None
    better_since: datetime | None
    resolved_by: str | None
    resolution: str

    @property
    def about(self) -> str:
        """What it is about, for people."""
        return f"{self.model} version {self.version}" if self.query is None else f"query {self.query!r}"


@dataclass(frozen=True, kw_only=True)
class AlertChange(Record):
    """What became of an alert at one moment.

    Attributes:
        at: when.
        what: `opened`, `acknowledged`, `muted`, `resolved` or `closed`.
        by: who did it; None: monitoring did.
        reason: for it, in words.
        until: of one that was muted: nobody is notified before; else None.
    """

    at: datetime
    what: str
    by: str | None
    reason: str
    until: datetime | None


def report_alert(alert: Alert) -> AlertReport:
    """An alert as it is shown."""
    values = {name: value for name, value in vars(alert).items() if name != "id"}
    return AlertReport(alert=alert.id, muted=alert.muted, **values)


@operation("alert list")
def list_alerts(
    workspace: Workspace,
    *,
    closed: bool = False,
    model: str | None = None,
    query: str | None = None,
    closed_last: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> list[AlertReport]:
    """Alerts that hold, the latest first.

    Args:
        workspace: where.
        closed: those that are closed, too.
        model: only those of this model.
        query: only those of this saved query.
        closed_last: whether those that nobody takes care of come first, the severest on top, then those that are
            acknowledged, then those that are muted, then all that are closed.
        limit: the number of alerts; None: all.
        offset: how many are left out before them.
    """
    alerts = workspace.alerts.list(
        active=not closed, model=model, query=query, closed_last=closed_last, limit=limit, offset=offset
    )
    return [report_alert(alert) for alert in alerts]


@operation("alert show", of="alert")
def show_alert(workspace: Workspace, alert: int) -> AlertReport:
    """One alert.

    Raises:
        NotFoundError: there is none of that id.
    """
    return report_alert(workspace.alerts.get(alert))


@operation("alert show", of="alert")
def show_alert_history(workspace: Workspace, alert: int) -> list[AlertChange]:
    """What became of an alert, the latest first.

    Raises:
        NotFoundError: there is none of that id.
    """
    return [_change(event) for event in workspace.alerts.history(alert)]


@operation("alert ack", of="alert")
def acknowledge_alert(workspace: Workspace, alert: int, *, reason: str = "") -> AlertReport:
    """Somebody has seen it and takes care.

    Args:
        workspace: where.
        alert: its id.
        reason: what is going to be done.
    """
    return report_alert(workspace.alerts.ack(alert, by=workspace.access.me().name, reason=reason))


@operation("alert mute", of="alert")
def mute_alert(workspace: Workspace, alert: int, *, until: datetime, reason: str) -> AlertReport:
    """Nobody is notified of it before a moment. It is listed as muted, and is judged as ever.

    Args:
        workspace: where.
        alert: its id.
        until: the moment; without a zone it is UTC.
        reason: for it.

    Raises:
        NotFoundError: there is none of that id.
        ConfigError: the moment has passed, or there is no reason.
        ConflictError: it was closed meanwhile.
    """
    by = workspace.access.me().name
    return report_alert(workspace.alerts.mute(alert, by=by, until=utc(until), reason=reason.strip()))


@operation("alert resolve", of="alert")
def resolve_alert(workspace: Workspace, alert: int, *, reason: str) -> AlertReport:
    """Closes it by hand. It opens again when its rule is broken in a later window.

    Args:
        workspace: where.
        alert: its id.
        reason: for it.

    Raises:
        NotFoundError: there is none of that id.
        ConfigError: there is no reason.
        ConflictError: it was closed meanwhile.
    """
    return report_alert(workspace.alerts.resolve(alert, by=workspace.access.me().name, reason=reason.strip()))


def _change(event: Event) -> AlertChange:
    payload = event.payload
    evidence = payload.get("evidence")
    found = str(evidence.get("reason", "")) if event.name == "alert.opened" and isinstance(evidence, dict) else ""
    by, until = payload.get("by"), payload.get("until")
    return AlertChange(
        at=event.at,
        what=event.name.removeprefix("alert.") + (" again" if payload.get("again") else ""),
        by=None if by is None else str(by),
        reason=str(payload.get("reason", found)),
        until=None if until is None else instant(str(until)),
    )
