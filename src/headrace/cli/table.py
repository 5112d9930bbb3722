"""`headrace table list|show|history|load|drop`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import confirm, emit, env_option, facts, json_option, put, say, table
from headrace.core.errors import RefusedError

if TYPE_CHECKING:
    from headrace.operations.drop_table import DropPlan


@click.group(name="table", cls=Commands)
def command() -> None:
    """Tables of the lakehouse."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """All tables that can be read from an environment, and where each lives."""
    from headrace.operations.operation import At
    from headrace.operations.tables import list_tables

    listing = list_tables(At(env=env))
    if as_json:
        emit(listing.tables)
        return
    rows = [vars(report) for report in listing.tables]
    table(rows, empty=f"no tables yet. Next: headrace run refresh --env {listing.env}")


@command.command()
@click.argument("name")
@env_option
@json_option
@click.option(
    "--rows", "count", type=click.IntRange(0, 1000), default=5, show_default=True, help="How many rows to show."
)
@click.option("--version", type=int, default=None, help="An older version.")
def show(name: str, env: str | None, as_json: bool, count: int, version: int | None) -> None:
    """Columns, properties and some rows of a table."""
    from headrace.operations.operation import At
    from headrace.operations.tables import show_table

    details = show_table(At(env=env), name, rows=count, version=version)
    if as_json:
        emit(details)
        return
    properties = {key.removeprefix("headrace."): value for key, value in details.properties.items()}
    facts({**{key: vars(details)[key] for key in ("table", "env", "version", "rows")}, **properties})
    put()
    table([vars(column) for column in details.columns])
    put()
    table(details.sample, empty="no rows", data=True)


@command.command()
@click.argument("name")
@env_option
@json_option
def history(name: str, env: str | None, as_json: bool) -> None:
    """Versions of a table: when, what, by whom."""
    from headrace.operations.operation import At
    from headrace.operations.tables import list_table_versions

    versions = list_table_versions(At(env=env), name)
    emit(versions) if as_json else table([vars(version) for version in versions])


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--into", default=None, metavar="TABLE", help="The table; defaults to bronze. and the name of the file.")
@env_option
@json_option
def load(file: Path, into: str | None, env: str | None, as_json: bool) -> None:
    """Load a CSV, JSONL or Parquet FILE into a table; the same file twice is loaded once."""
    from headrace.operations.operation import At
    from headrace.operations.tables import load_table

    loaded = load_table(At(env=env), file, into=into)
    name = loaded.table
    if as_json:
        emit(loaded)
        return
    if loaded.changed:
        say(f"✓ {name}: {loaded.rows:,} rows from {file}. Next: headrace table show {name} --env {loaded.env}")
    else:
        say(f"· {name}: {file} was loaded before; nothing changed.")
    for note in loaded.notes:
        say(f"  {note}")


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@env_option
@json_option
def drop(name: str, yes: bool, env: str | None, as_json: bool) -> None:
    """Take a table away, in dev, so that it can be made anew, of other types or another key.

    Its history goes too: versions of models that were trained on it can no longer be reproduced.
    """
    from headrace.operations.drop_table import drop_table
    from headrace.operations.operation import At

    def check(plan: DropPlan) -> None:
        if not as_json:
            say(f"{plan.table} has {plan.rows:,} rows in version {plan.version}.")
            for dependent in plan.dependents:
                say(f"  · {dependent}")
        if not yes:
            _ask(plan.table)

    report = drop_table(At(env=env), name, confirm=check)
    if as_json:
        emit(report)
        return
    for dropped in report.dropped:
        say(f"✓ {dropped} is gone.")
    say(f"Next: headrace run refresh --env {report.env}")


def _ask(name: str) -> None:
    if not sys.stdin.isatty():
        raise RefusedError(
            f"{name!r} would be taken away for good, and nobody can be asked here. Nothing was removed.",
            hint=f"If that is what you want: headrace table drop {name} --yes",
        )
    if not confirm(f"Take {name} away for good?"):
        raise RefusedError("not confirmed. Nothing was removed.")
