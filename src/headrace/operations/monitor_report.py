"""What a report of monitoring shows of a version: quality and drift by window, and the columns that drifted most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.operations.alerts import AlertReport, list_alerts
from headrace.operations.monitored_columns import ColumnMonitoring, show_columns
from headrace.operations.monitoring import MonitoringReport, show_monitoring
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from headrace.operations.monitoring import ColumnDrift
    from headrace.workspace.workspace import Workspace

WINDOWS = 120  # of quality
DRIFT = 30  # windows of drift
COLUMNS = 12  # that are shown by themselves
ORDER = {"alert": 0, "warn": 1}


@dataclass(frozen=True, kw_only=True)
class MonitoringDocument(Record):
    """All that a report of monitoring shows.

    Attributes:
        monitoring: quality and drift by window.
        columns: those that drifted most in the latest window, the worst first.
        alerts: of the model, those that hold first, then those that are closed.
    """

    monitoring: MonitoringReport
    columns: tuple[ColumnMonitoring, ...]
    alerts: tuple[AlertReport, ...]


@operation("monitor report", of="name")
def report_monitoring(
    workspace: Workspace,
    name: str,
    *,
    version: int | None = None,
    windows: int = WINDOWS,
    columns: int = COLUMNS,
) -> MonitoringDocument:
    """What monitoring has stored of a version, for whoever has no access to it.

    Args:
        workspace: the environment.
        name: of the model.
        version: its number; None: as `show_monitoring` chooses.
        windows: how many of the latest windows of quality; of drift, 30 of them at most.
        columns: how many columns are shown by themselves.

    Raises:
        NotFoundError: there is no such model or version, or the model has no deployment.
        DeclarationError: fewer than one window is asked for.
    """
    found = show_monitoring(workspace, name, version=version, windows=windows, drift_windows=DRIFT)
    last = max((each.start for each in found.drift), default=None)
    latest = sorted((each for each in found.drift if each.start == last), key=lambda each: _rank(each, found))
    chosen = [each.column for each in latest[:columns]]
    return MonitoringDocument(
        monitoring=found,
        columns=show_columns(workspace, name, chosen, version=found.version, windows=windows) if chosen else (),
        alerts=tuple(each for each in list_alerts(workspace, closed=True) if each.model == name),
    )


def _rank(drift: ColumnDrift, report: MonitoringReport) -> tuple[int, float, str]:
    """Alerts first, then warnings, then by how far the measure is."""
    measured = drift.energy_distance if drift.psi is None else drift.psi
    warn = report.embedding_warn if drift.psi is None else report.drift_warn
    return ORDER.get(drift.verdict or "", 2), -(measured or 0.0) / warn, drift.column
