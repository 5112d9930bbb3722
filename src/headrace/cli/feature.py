"""`headrace feature list|show`."""

from __future__ import annotations

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, facts, json_option, put, table


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
