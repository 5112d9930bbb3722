"""Feature tables: key, freshness, how full each column is, and which models use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.environments.project import Project
    from headrace.features.declarations import FeatureTable
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class FeatureTableReport(Record):
    """A declared feature table.

    Attributes:
        feature_table: its name.
        key: the columns that identify an entity.
        time: the column with the moment when a row became available.
        look_back: how old a row may be at the decision, as declared; None: as old as it is.
        description: as declared.
        owner: as declared.
        env: the environment whose table it is; None until it was refreshed.
        rows: the number of its rows; None until it was refreshed.
        newest: the latest moment in its time column; None until it was refreshed, or while it is empty.
        features: the columns that models can select.
        used_by: the names of the models that select from it.
    """

    feature_table: str
    key: tuple[str, ...]
    time: str
    look_back: str | None
    description: str
    owner: str
    env: str | None
    rows: int | None
    newest: datetime | None
    features: tuple[str, ...]
    used_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureColumn(Record):
    """A column of a feature table.

    Attributes:
        column: its name.
        type: its Arrow type, as text.
        null_percent: the share of rows in which it is null, in percent; None while the table has no rows.
    """

    column: str
    type: str
    null_percent: float | None


@dataclass(frozen=True, kw_only=True)
class FeatureTableDetails(FeatureTableReport):
    """A declared feature table with its columns.

    Attributes:
        columns: in the order of the table; none until it was refreshed.
    """

    columns: tuple[FeatureColumn, ...]


@operation("feature list")
def list_feature_tables(workspace: Workspace) -> list[FeatureTableReport]:
    """The feature tables that the project declares, in the order of their declaration."""
    from headrace.features.catalog import catalog

    return [FeatureTableReport(**vars(entry)) for entry in catalog(*_declared(workspace.project), workspace.lakehouse)]


@operation("feature show", of="name")
def show_feature_table(workspace: Workspace, name: str) -> FeatureTableDetails:
    """One feature table with its columns.

    Raises:
        NotFoundError: the project declares no feature table of that name.
    """
    from headrace.features.catalog import describe

    entry, columns = describe(*_declared(workspace.project), workspace.lakehouse, name)
    return FeatureTableDetails(**vars(entry), columns=tuple(FeatureColumn(**vars(column)) for column in columns))


def _declared(project: Project) -> tuple[list[FeatureTable], dict[str, list[str]]]:
    """The feature tables of a project, and which models select from each."""
    from headrace.features.declarations import FeatureTable
    from headrace.training.declarations import Model
    from headrace.training.selections import models_by_table

    return project.all(FeatureTable), models_by_table(project.all(Model))
