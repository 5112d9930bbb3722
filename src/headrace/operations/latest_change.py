"""Whether anything has changed in an environment: a mark that a page which is open compares with the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from headrace.access.audit import AUDIT
from headrace.jobs.tables import LOGS, RUNS
from headrace.monitoring.alert_records import ALERTS
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class LatestChange(Record):
    """What an environment has come to.

    Attributes:
        mark: another text once a run, its log, an alert, or anything that is in the audit record has changed.
    """

    mark: str


@operation("status")
def latest_change(workspace: Workspace) -> LatestChange:
    """What an environment has come to: few numbers of its state database, cheap enough to ask every other second."""
    _ = workspace.ledger, workspace.alerts, workspace.audit  # their tables are there
    wanted = select(
        select(func.max(AUDIT.c.id)).scalar_subquery(),
        select(func.max(LOGS.c.number)).scalar_subquery(),
        select(func.max(RUNS.c.started)).scalar_subquery(),
        select(func.max(RUNS.c.ended)).scalar_subquery(),
        select(func.count()).select_from(RUNS).where(RUNS.c.status == "running").scalar_subquery(),
        select(func.max(ALERTS.c.id)).scalar_subquery(),
        select(func.count()).select_from(ALERTS).where(ALERTS.c.closed.is_(None)).scalar_subquery(),
        select(func.max(ALERTS.c.acknowledged)).scalar_subquery(),
    )
    with workspace.state.read() as connection:
        found = connection.execute(wanted).one()
    return LatestChange(mark="|".join("" if each is None else str(each) for each in found))
