"""`headrace feature list|show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, facts, json_option, put, table

if TYPE_CHECKING:
    from headrace.environments.project import Project
    from headrace.features.declarations import FeatureTable


@click.group(name="feature", cls=Commands)
def command() -> None:
    """Feature tables."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """Feature tables: key, freshness, who uses them."""
    from headrace.features.catalog import catalog
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        rows = [entry.as_row() for entry in catalog(*_declared(workspace.project), workspace.lakehouse)]
    emit(rows) if as_json else table(
        rows,
        ("feature_table", "key", "rows", "newest", "look_back", "features", "used_by"),
        empty="no feature tables are declared",
    )


@command.command()
@click.argument("name")
@env_option
@json_option
def show(name: str, env: str | None, as_json: bool) -> None:
    """One feature table: its columns, how full each is, and the models that use it."""
    from headrace.features.catalog import describe
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        entry, columns = describe(*_declared(workspace.project), workspace.lakehouse, name)
    if as_json:
        emit({**entry.as_row(), "columns": columns})
        return
    facts(entry.as_row())
    put()
    for column in columns:
        column["null_percent"] = f"{column['null_percent']:.1f}" if column["null_percent"] is not None else None
    table(columns, empty=f"not made yet. Next: headrace run refresh --env {workspace.environment.name}")


def _declared(project: Project) -> tuple[list[FeatureTable], dict[str, list[str]]]:
    """The feature tables of a project, and which models select from each."""
    from headrace.features.declarations import FeatureTable, ReferencedSelection
    from headrace.lakehouse.declarations import Selection
    from headrace.training.declarations import Model

    users: dict[str, list[str]] = {}
    for model in project.all(Model):
        selections = [each for each in model.features if isinstance(each, Selection | ReferencedSelection)]
        for name in {each.table.name if isinstance(each, Selection) else each.name for each in selections}:
            users.setdefault(name, []).append(model.name)
    return project.all(FeatureTable), users
