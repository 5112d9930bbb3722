"""The catalog document of an open environment: its feature tables and models as they are now, without rows and credentials."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from headrace.catalog.document import (
    MOST,
    TEXT,
    ColumnEntry,
    Document,
    FeatureUse,
    ModelEntry,
    TableEntry,
    VersionEntry,
)
from headrace.catalog.store import location
from headrace.core import credentials
from headrace.core.clock import now, utc
from headrace.core.errors import RefusedError
from headrace.core.ids import digest
from headrace.environments import git
from headrace.features.catalog import catalog, describe
from headrace.features.declarations import FeatureTable
from headrace.features.plan import on_demand_functions
from headrace.training.declarations import Model
from headrace.training.selections import models_by_table, selected_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.features.catalog import CatalogColumn
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.registry.records import Version
    from headrace.workspace.workspace import Workspace


def build(workspace: Workspace, before: Document | None = None, *, count_nulls: bool = True) -> Document:
    """What the environment tells the other projects.

    Args:
        workspace: the environment.
        before: the document that it wrote last, and nobody else; a table that has not changed since is not read again. None: all
            tables are read.
        count_nulls: whether all columns of a changed table are read to count nulls; otherwise the percentages are None.
    """
    project, lakehouse = workspace.project, workspace.lakehouse
    models, name = project.all(Model), workspace.configured.name
    used, known = models_by_table(models), {} if before is None else {each.name: each for each in before.feature_tables}
    return Document(
        project=workspace.config.name,
        environment=name,
        rank=[each.name for each in workspace.config.environments].index(name),
        state=workspace.owner.state,
        written=now(),
        as_of=project.as_of,
        remote=_remote(workspace),
        commit=workspace.code.commit,
        feature_tables=tuple(
            _table(each, used.get(each.name, ()), lakehouse, known.get(each.name), count_nulls=count_nulls)
            for each in project.all(FeatureTable)
        ),
        models=tuple(_models(workspace, models)),
    )


def _table(
    declared: FeatureTable,
    used_by: Sequence[str],
    lakehouse: Lakehouse,
    before: TableEntry | None,
    *,
    count_nulls: bool,
) -> TableEntry:
    """A feature table as this environment has it; one that it only reads from another environment is that one's."""
    snapshot = lakehouse.snapshot(declared.name) if lakehouse.exists(declared.name, own=True) else None
    content = None if snapshot is None else digest(snapshot.content)
    rows, newest, columns = None, None, tuple[ColumnEntry, ...]()
    where = None if snapshot is None else location(snapshot.place)
    if before is not None and before.content == content and before.location == where:
        rows, newest, columns = before.rows, before.newest, before.columns
    elif snapshot is not None:
        rows, newest, columns = _contents(declared, lakehouse, snapshot, count_nulls=count_nulls)
    return TableEntry(
        name=declared.name,
        location=where,
        key=declared.keys,
        time=declared.time or "",
        description=_text(declared.description),
        owner=_text(declared.owner),
        columns=columns,
        rows=rows,
        newest=newest,
        online=declared.online,
        used_by=tuple(used_by),
        content=content,
    )


def _contents(
    declared: FeatureTable, lakehouse: Lakehouse, snapshot: Snapshot, *, count_nulls: bool
) -> tuple[int | None, datetime | None, tuple[ColumnEntry, ...]]:
    """Rows, newest moment and columns; the table is read."""
    counted: list[CatalogColumn] = []
    if count_nulls:
        entry, counted = describe([declared], {}, lakehouse, declared.name)
    else:
        entry = catalog([declared], {}, lakehouse)[0]
    nulls: Mapping[str, float | None] = {each.column: each.null_percent for each in counted}
    columns = [
        ColumnEntry(column=field.name, type=str(field.type)[:TEXT], null_percent=nulls.get(field.name))
        for field in snapshot.schema
        if not field.name.startswith("_")
    ]
    return entry.rows, _moment(entry.newest), tuple(columns[:MOST])


def _moment(value: datetime | date | None) -> datetime | None:
    """A time column may have days, or moments without a zone, which are UTC."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    return utc(value)


def _models(workspace: Workspace, models: Sequence[Model]) -> list[ModelEntry]:
    """The declared models, then those that have versions and are no longer declared."""
    registry = workspace.registry
    versions: dict[str, list[Version]] = {}
    for version in registry.versions():
        versions.setdefault(version.model, []).append(version)
    found = [
        ModelEntry(
            name=each.name,
            description=_text(each.description),
            owner=_text(each.owner),
            task=each.task.name,
            label=f"{each.task.label.table.name}.{each.task.label.name}",
            features=tuple(
                FeatureUse(table=table, location=_readable(workspace.lakehouse, table), columns=tuple(columns))
                for table, columns in selected_columns(each).items()
            ),
            functions=tuple(on_demand_functions(each.inputs)),
            versions=_newest(workspace, versions.get(each.name, []), each.metrics[0] if each.metrics else ""),
        )
        for each in models
    ]
    found += [
        ModelEntry(
            name=name,
            description="",
            owner="",
            task="",
            label="",
            features=(),
            functions=(),
            versions=_newest(workspace, versions[name], next(iter(versions[name][-1].metrics), "")),
        )
        for name in versions.keys() - {each.name for each in models}
    ]
    return sorted(found, key=lambda each: each.name)


def _newest(workspace: Workspace, versions: Sequence[Version], metric: str) -> tuple[VersionEntry, ...]:
    """The newest version of each stage, the newest first."""
    newest = {each.stage: each for each in versions}  # they come oldest first
    return tuple(
        VersionEntry(
            version=each.version,
            stage=each.stage,
            metric=metric if metric in each.metrics else "",
            value=_finite(each.metrics.get(metric)),
            created=each.created,
            by=workspace.registry.history(each.model, each.version)[0].by,
        )
        for each in sorted(newest.values(), key=lambda each: -each.version)
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _readable(lakehouse: Lakehouse, table: str) -> str | None:
    return location(lakehouse.snapshot(table).place) if lakehouse.exists(table) else None


def _remote(workspace: Workspace) -> str | None:
    folder = workspace.config.folder
    try:
        found = git.remote(folder) if git.inside(folder) else None
    except RefusedError:  # git does not work in somebody else's folder
        return None
    return None if found is None else _text(credentials.shown(found))


def _text(text: str) -> str:
    return credentials.hidden(str(text)[:TEXT])[:TEXT]
