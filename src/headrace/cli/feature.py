"""`headrace feature list|show|search`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.hits import show_hits
from headrace.cli.output import emit, env_option, facts, heading, json_option, put, table
from headrace.cli.status import ago

if TYPE_CHECKING:
    from headrace.operations.search import FeatureTableHit


@click.group(name="feature", cls=Commands)
def command() -> None:
    """Feature tables."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """Feature tables: key, freshness, who uses them."""
    from headrace.operations.features import list_feature_tables
    from headrace.operations.operation import At

    reports = list_feature_tables(At(env=env))
    if as_json:
        emit(reports)
        return
    table(
        [vars(report) for report in reports],
        ("feature_table", "key", "rows", "newest", "look_back", "features", "used_by"),
        empty="no feature tables are declared",
    )


@command.command()
@click.argument("name")
@env_option
@json_option
def show(name: str, env: str | None, as_json: bool) -> None:
    """One feature table: its columns, how full each is, and the models that use it."""
    from headrace.operations.features import show_feature_table
    from headrace.operations.operation import At

    details = show_feature_table(At(env=env), name)
    if as_json:
        emit(details)
        return
    facts({key: value for key, value in vars(details).items() if key != "columns" and value != ()})
    put()
    rows = [
        {**vars(column), "null_percent": None if column.null_percent is None else f"{column.null_percent:.1f}"}
        for column in details.columns
    ]
    table(rows, empty="not made yet. Next: headrace run refresh")


@command.command()
@click.argument("text", nargs=-1)
@click.option("--owner", default="", help="A part of the owner.")
@click.option("--project", default="", help="The name of a project.")
@click.option("--column", default="", help="A part of the name of a column.")
@env_option
@json_option
def search(text: tuple[str, ...], owner: str, project: str, column: str, env: str | None, as_json: bool) -> None:
    """Feature tables of all projects that share the catalog and have every word of TEXT, the best match first."""
    from headrace.operations.operation import At
    from headrace.operations.search import search_feature_tables

    found = search_feature_tables(At(env=env), " ".join(text), owner=owner, project=project, column=column)
    if as_json:
        emit(found)
        return
    show_hits(found.hits, _show_hit, catalog=found.catalog, empty="no feature table matches")


def _show_hit(hit: FeatureTableHit) -> None:
    heading(f"{hit.feature_table}  {hit.project}, {hit.environment}")
    facts(
        {
            "description": hit.description,
            "owner": hit.owner,
            "key": hit.key,
            "columns": tuple(each.column for each in hit.columns if each.column not in (*hit.key, hit.time)),
            "rows": "no rows yet" if hit.rows is None else hit.rows,
            "newest": None
            if hit.newest is None or hit.age is None
            else f"{hit.newest:%Y-%m-%d %H:%M} UTC, {ago(hit.age)} ago",
            "used_by": tuple(f"{each.model} ({each.project})" for each in hit.consumers) or "no model",
            "location": hit.location,
            "declare": hit.declare,
            "readable_here": hit.readable,
        }
    )
