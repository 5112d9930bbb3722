"""The version whose monitoring is to be shown, with its windows, and the tables in which they are stored."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.operations.job import one_deployment

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

    from headrace.deployment.declarations import Deployment
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.monitoring.declarations import Granularity
    from headrace.monitoring.history import OpenTables
    from headrace.monitoring.metric_tables import StoredDrift
    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class StoredMonitoring:
    """A version that is to be shown, and where what is stored of it is found.

    Attributes:
        deployment: of the model.
        version: that is shown.
        versions: the numbers of all of which something is stored.
        starts: the beginnings of the windows of the version, in order of time.
        granularity: of the windows of drift.
        measured: of the windows of quality.
        tables: in which it is stored.
    """

    deployment: Deployment
    version: Version
    versions: tuple[int, ...]
    starts: Sequence[datetime]
    granularity: Granularity
    measured: Granularity
    tables: OpenTables

    def drift(
        self,
        lakehouse: Lakehouse,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> list[StoredDrift]:
        """What is stored of its drift, by window.

        Args:
            lakehouse: where the tables are.
            since: the beginning of the first window; None: of all.
            until: the beginning of the last one; None: of all.
            columns: their names; None: all.
        """
        from headrace.monitoring.metric_tables import stored_drift

        table = self.deployment.score.table
        if f"{table}_drift_metrics" not in self.tables.names:
            return []
        return stored_drift(
            lakehouse,
            table,
            model=self.version.model,
            version=self.version.version,
            granularity=self.granularity,
            since=since,
            until=until,
            columns=columns,
            connection=self.tables.connection,
        )


@contextmanager
def open_stored(
    workspace: Workspace, name: str, version: int | None, *, also: Sequence[str] = ()
) -> Generator[StoredMonitoring]:
    """The version of a model that is to be shown, and its windows; the tables are open meanwhile.

    Args:
        workspace: the environment.
        name: of the model.
        version: its number; None: the one in Production, else the newest one of which something is stored, else the newest.
        also: further metric tables of the predictions, by the end of their names.

    Raises:
        NotFoundError: there is no such model or version, or the model has no deployment.
    """
    from headrace.monitoring.declarations import UNDECLARED, Monitor
    from headrace.monitoring.history import QUALITY, opened, stored_windows

    registry = workspace.registry
    registry.check(name)  # an unknown model is answered with those that there are
    deployment = one_deployment(workspace.project, name)
    granularity = (deployment.monitor or Monitor()).window
    measured = deployment.monitor.window if deployment.monitor else UNDECLARED
    table = deployment.score.table
    with opened(workspace.lakehouse, QUALITY, *(f"{table}_{end}" for end in ("drift_metrics", *also))) as tables:
        found = stored_windows(tables, table, model=name, drift=granularity, quality=measured)
        shown = registry.current(name, "Production") if version is None else registry.get(name, version)
        if shown is None:
            every = {each.version: each for each in registry.versions(name)}
            shown = every[max(found.keys() & every.keys(), default=max(every))]
        yield StoredMonitoring(
            deployment=deployment,
            version=shown,
            versions=tuple(sorted(found)),
            starts=found.get(shown.version, []),
            granularity=granularity,
            measured=measured,
            tables=tables,
        )
