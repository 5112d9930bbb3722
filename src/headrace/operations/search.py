"""A search for feature tables and models in the catalog that the projects of an installation share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import now
from headrace.lakehouse.readable import is_readable
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from headrace.catalog.document import Document
    from headrace.catalog.search import FoundModel, FoundTable
    from headrace.workspace.workspace import Workspace

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SkippedDocument(Record):
    """A document of the catalog, or a folder of a project in it, that was not read.

    Attributes:
        document: its file, folder or URL.
        reason: why not.
    """

    document: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class CatalogSearch(Record):
    """The answer to a search.

    Attributes:
        catalog: where it was searched, without credentials; None where only this environment was.
        skipped: documents of the catalog that were not read.
    """

    catalog: str | None
    skipped: tuple[SkippedDocument, ...]


@dataclass(frozen=True, kw_only=True)
class Consumer(Record):
    """A model that selects from a feature table.

    Attributes:
        project: that declares the model.
        model: its name.
    """

    project: str
    model: str


@dataclass(frozen=True, kw_only=True)
class FoundColumn(Record):
    """A column of a feature table.

    Attributes:
        column: its name.
        type: its Arrow type, as text.
        null_percent: the share of rows in which it is null, in percent; None where that was not counted.
    """

    column: str
    type: str
    null_percent: float | None


@dataclass(frozen=True, kw_only=True)
class FeatureTableHit(Record):
    """A feature table that was found.

    Attributes:
        feature_table: its name.
        project: that declares it.
        environment: the highest one of the project that has the table; all below is as it is there.
        description: as declared.
        owner: as declared.
        key: the columns that identify an entity.
        time: the column with the moment when a row became available.
        columns: in the order of the table; none where no environment has the table yet.
        rows: their number; None where no environment has the table yet.
        newest: the latest moment in its time column; None where there is none.
        age: from then to the present, or to the `as_of` of a project that replays the past; None where there is none.
        online: whether it is published to the online store.
        location: the URI of the table, without credentials; None where no environment has it yet.
        consumers: the models that select from it, of all projects.
        readable: whether this environment reads tables from there: its own, or one of its `reads`.
        declare: what a program of another project writes to select from it.
        written: when the project wrote this into the catalog; without a catalog, the present.
    """

    feature_table: str
    project: str
    environment: str
    description: str
    owner: str
    key: tuple[str, ...]
    time: str
    columns: tuple[FoundColumn, ...]
    rows: int | None
    newest: datetime | None
    age: timedelta | None
    online: bool
    location: str | None
    consumers: tuple[Consumer, ...]
    readable: bool
    declare: str
    written: datetime


@dataclass(frozen=True, kw_only=True)
class FeatureSearch(CatalogSearch):
    """The answer to a search for feature tables.

    Attributes:
        hits: the best match first.
    """

    hits: tuple[FeatureTableHit, ...]


@dataclass(frozen=True, kw_only=True)
class StageVersion(Record):
    """The newest version of a model in a stage.

    Attributes:
        version: its number.
        stage: `None`, `Staging`, `Production` or `Archived`.
        metric: the name of the main metric; empty where there is none.
        value: of that metric on the test rows; None where there is none.
        created: when it was registered.
        registered_by: who registered it.
    """

    version: int
    stage: str
    metric: str
    value: float | None
    created: datetime
    registered_by: str


@dataclass(frozen=True, kw_only=True)
class ModelHit(Record):
    """A model that was found.

    Attributes:
        model: its name.
        project: that declares it.
        environment: the highest one of the project that has a version of it, in the stage that was searched for if there was one;
            where none has a version, the highest one that knows the model. All below is as it is there.
        description: as declared.
        owner: as declared.
        task: `binary`, `regression`, …; empty where the project no longer declares the model.
        label: `table.column`; empty where the project no longer declares the model.
        features: `table.column` for each column that it selects, `table.*` for all of the spine; then its on-demand features.
        versions: the newest one of each stage, the newest first.
        written: when the project wrote this into the catalog; without a catalog, the present.
    """

    model: str
    project: str
    environment: str
    description: str
    owner: str
    task: str
    label: str
    features: tuple[str, ...]
    versions: tuple[StageVersion, ...]
    written: datetime


@dataclass(frozen=True, kw_only=True)
class ModelSearch(CatalogSearch):
    """The answer to a search for models.

    Attributes:
        hits: the best match first.
    """

    hits: tuple[ModelHit, ...]


@operation("feature search")
def search_feature_tables(
    workspace: Workspace, text: str = "", *, owner: str = "", project: str = "", column: str = ""
) -> FeatureSearch:
    """Feature tables of all projects that share the catalog; without a catalog, those of this environment.

    Letter case does not matter.

    Args:
        workspace: where the question is asked: whose catalog it is, and what can be read from there.
        text: words, each of which must occur in the name, the description, the owner, a column or the project.
        owner: a part of the owner.
        project: the name of a project.
        column: a part of the name of a column.

    Raises:
        UnavailableError: the catalog cannot be reached.
    """
    from headrace.catalog.search import find_tables

    documents, skipped = _documents(workspace)
    found = find_tables(documents, text, owner=owner, project=project, column=column)
    return FeatureSearch(
        catalog=_catalog(workspace), skipped=skipped, hits=tuple(_table(each, _roots(workspace)) for each in found)
    )


@operation("model search")
def search_models(
    workspace: Workspace, text: str = "", *, owner: str = "", project: str = "", stage: str = ""
) -> ModelSearch:
    """Models of all projects that share the catalog; without a catalog, those of this environment.

    Letter case does not matter.

    Args:
        workspace: where the question is asked: whose catalog it is.
        text: words, each of which must occur in the name, the description, the owner, a feature, the label or the project.
        owner: a part of the owner.
        project: the name of a project.
        stage: of a version. The highest environment with a version in that stage is shown.

    Raises:
        UnavailableError: the catalog cannot be reached.
    """
    from headrace.catalog.search import find_models

    documents, skipped = _documents(workspace)
    found = find_models(documents, text, owner=owner, project=project, stage=stage)
    return ModelSearch(catalog=_catalog(workspace), skipped=skipped, hits=tuple(_model(each) for each in found))


def _documents(workspace: Workspace) -> tuple[list[Document], tuple[SkippedDocument, ...]]:
    """The documents of the catalog; what this environment has now, where it has not written its own yet."""
    from headrace.operations.catalog_document import build
    from headrace.operations.catalog_sync import open_catalog

    configured = workspace.configured
    if configured.catalog is None:
        return [build(workspace, count_nulls=False)], ()
    documents, skipped = open_catalog(configured).read_all()
    for each in skipped:
        LOG.warning("%s was skipped: %s", each.document, each.reason)
    own = (workspace.config.name, configured.name)
    if own not in {(each.project, each.environment) for each in documents}:
        documents.append(build(workspace, count_nulls=False))
    return documents, tuple(SkippedDocument(document=each.document, reason=each.reason) for each in skipped)


def _catalog(workspace: Workspace) -> str | None:
    from headrace.core import credentials

    catalog = workspace.configured.catalog
    return None if catalog is None else credentials.shown(catalog)


def _roots(workspace: Workspace) -> list[tuple[str, tuple[str, ...]]]:
    """The URIs of the lakehouses that can be read from this environment, each with patterns of the tables."""
    from headrace.catalog.store import location
    from headrace.lakehouse.storage import Place

    environment = workspace.environment
    readable = {environment.name: ("*",), **environment.reads}
    return [
        (location(Place.at(workspace.config.environment(name).lakehouse_root)), patterns)
        for name, patterns in readable.items()
    ]


def _table(found: FoundTable, roots: list[tuple[str, tuple[str, ...]]]) -> FeatureTableHit:
    entry, document = found.entry, found.document
    schema, _, name = entry.name.partition(".")
    return FeatureTableHit(
        feature_table=entry.name,
        project=document.project,
        environment=document.environment,
        description=entry.description,
        owner=entry.owner,
        key=entry.key,
        time=entry.time,
        columns=tuple(FoundColumn(**vars(each)) for each in entry.columns),
        rows=entry.rows,
        newest=entry.newest,
        age=None if entry.newest is None else (document.as_of or now()) - entry.newest,
        online=entry.online,
        location=entry.location,
        consumers=tuple(Consumer(project=project, model=model) for project, model in found.consumers),
        readable=any(
            entry.location == f"{root}/{schema}/{name}" and is_readable(entry.name, patterns)
            for root, patterns in roots
        ),
        declare=f'hr.external_feature_table("{entry.name}")',
        written=document.written,
    )


def _model(found: FoundModel) -> ModelHit:
    entry, document = found.entry, found.document
    features = [f"{use.table}.{column}" for use in entry.features for column in use.columns or ("*",)]
    return ModelHit(
        model=entry.name,
        project=document.project,
        environment=document.environment,
        description=entry.description,
        owner=entry.owner,
        task=entry.task,
        label=entry.label,
        features=(*features, *entry.functions),
        versions=tuple(
            StageVersion(
                version=each.version,
                stage=each.stage,
                metric=each.metric,
                value=each.value,
                created=each.created,
                registered_by=each.by,
            )
            for each in entry.versions
        ),
        written=document.written,
    )
