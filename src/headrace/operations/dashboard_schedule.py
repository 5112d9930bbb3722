"""When the answers of dashboards are renewed by a scheduler: as often as each dashboard says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.core.errors import HeadraceError
from headrace.operations.dashboard_reading import dashboard_store, oldest, project_dashboards
from headrace.operations.dashboard_tiles import read_tiles
from headrace.operations.dashboards import renew

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.queries.dashboards import Dashboard
    from headrace.workspace.workspace import Workspace

EVERY = 30.0  # seconds between two looks
SECONDS = 30.0  # that one look may take; tiles with the oldest answers come first, so that each has its turn


class DashboardSchedule:
    """Renews the answers of dashboards for a scheduler, between two of its rounds."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._next = 0.0

    def run_due(self, cancelled: Callable[[], bool] | None = None) -> list[str]:
        """Renews what is due.

        Args:
            cancelled: asked whether to end now; None: nobody ends it.

        Returns:
            A line for each dashboard that was renewed.
        """
        if time.monotonic() < self._next:
            return []
        self._next = time.monotonic() + EVERY
        until, lines = time.monotonic() + SECONDS, list[str]()
        for name, draft in self.due():
            left = until - time.monotonic()
            if left <= 0 or (cancelled is not None and cancelled()):
                break
            try:
                report = renew(self._workspace, name, draft=draft, seconds=left, cancelled=cancelled)
            except HeadraceError as error:
                lines.append(f"dashboard {name} is not refreshed: {error.what}")
                continue
            failed = sum(each.error is not None for each in report.tiles)
            lines.append(
                f"dashboard {name} is refreshed: {len(report.tiles)} tiles" + (f", {failed} failed" if failed else "")
            )
        return lines

    def due(self) -> list[tuple[str, bool]]:
        """Dashboards whose oldest answer is older than they say, the oldest first: name, and whether it is the draft."""
        workspace = self._workspace
        store = dashboard_store(workspace)
        times, moment = store.times(), now()
        several: list[tuple[Dashboard, bool]] = [(each, False) for each in project_dashboards(workspace)[0].values()]
        several += [(each.dashboard, True) for each in store.list()]
        found: list[tuple[float, str, bool]] = []
        for dashboard, draft in several:
            if dashboard.every is None or all(each.sql is None for each in read_tiles(workspace, dashboard)):
                continue
            at = oldest(workspace, dashboard, times)
            if at is None or moment - at >= dashboard.every:
                found.append((0.0 if at is None else at.timestamp(), dashboard.name, draft))
        return [(name, draft) for _, name, draft in sorted(found)]
