"""`headrace table list|show|history|load|drop`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from headrace.cli.commands import Commands
from headrace.cli.output import confirm, emit, env_option, facts, json_option, put, say, table
from headrace.core.errors import RefusedError


@click.group(name="table", cls=Commands)
def command() -> None:
    """Tables of the lakehouse."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """All tables that can be read from an environment, and where each lives."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        rows: list[dict[str, object]] = []
        for name in workspace.lakehouse.names():
            snapshot = workspace.lakehouse.snapshot(name.name)
            rows.append(
                {
                    "table": name.name,
                    "env": name.env,
                    "kind": snapshot.properties.get("headrace.kind"),
                    "rows": snapshot.rows(),
                    "columns": len(snapshot.schema),
                    "version": snapshot.version,
                }
            )
    emit(rows) if as_json else table(
        rows, empty=f"no tables yet. Next: headrace run refresh --env {workspace.environment.name}"
    )


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
    from headrace.lakehouse.identifiers import quoted
    from headrace.lakehouse.values import rows_of
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        snapshot = workspace.lakehouse.snapshot(name, version)
        with workspace.lakehouse.connect({name: version}) as connection:
            sample = rows_of(connection.sql(f"from {quoted(name)} limit {int(count)}").to_arrow_table())
        columns = [{"column": field.name, "type": str(field.type)} for field in snapshot.schema]
        shown = {
            "table": name,
            "env": snapshot.env,
            "version": snapshot.version,
            "rows": snapshot.rows(),
            "properties": snapshot.properties,
            "columns": columns,
            "sample": sample,
        }
    if as_json:
        emit(shown, data=True)
        return
    said = {key.removeprefix("headrace."): value for key, value in snapshot.properties.items()}
    facts({**{key: shown[key] for key in ("table", "env", "version", "rows")}, **said})
    put()
    table(columns)
    put()
    table(sample, empty="no rows", data=True)


@command.command()
@click.argument("name")
@env_option
@json_option
def history(name: str, env: str | None, as_json: bool) -> None:
    """Versions of a table: when, what, by whom."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        rows: list[dict[str, object]] = [
            {
                "version": e.version,
                "at": e.at,
                "operation": e.operation,
                "rows": e.rows_written,
                "user": e.user,
                "id": e.id,
            }
            for e in workspace.lakehouse.history(name)
        ]
    emit(rows) if as_json else table(rows)


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--into", "name", default=None, metavar="TABLE", help="The table; bronze.<name of the file> unless said.")
@env_option
@json_option
def load(file: Path, name: str | None, env: str | None, as_json: bool) -> None:
    """Load a CSV, JSONL or Parquet FILE into a table; the same file twice is loaded once."""
    from headrace.lakehouse.source import load_file
    from headrace.operations.in_use import at_work
    from headrace.operations.reserved_tables import check_load
    from headrace.workspace.workspace import open_workspace

    name = name or f"bronze.{_named_after(file)}"
    with open_workspace(env) as workspace, at_work(workspace):
        check_load(workspace, name)
        loaded = load_file(workspace.lakehouse, name, file)
    if as_json:
        emit({"table": name, "rows": loaded.rows, "version": loaded.version, "notes": list(loaded.notes)})
    elif loaded.files_new:
        say(
            f"✓ {name}: {loaded.rows:,} rows from {file}. Next: headrace table show {name} --env {workspace.environment.name}"
        )
    else:
        say(f"· {name}: {file} was loaded before; nothing changed.")
    for note in () if as_json else loaded.notes:
        say(f"  {note}")


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Without asking.")
@env_option
@json_option
def drop(name: str, yes: bool, env: str | None, as_json: bool) -> None:
    """Take a table away, in dev, so that it can be made anew, of other types or another key.

    Its history goes too: versions of models that were trained on it can no longer be reproduced.
    """
    from headrace.operations.drop_table import check_dev, dependents
    from headrace.operations.drop_table import drop as drop_table
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        check_dev(workspace.environment, "`headrace table drop`")
        found = workspace.lakehouse.snapshot(name)
        depends = dependents(workspace, name)
        if not as_json:
            say(f"{name} has {found.rows():,} rows in version {found.version}.")
            for each in depends:
                say(f"  · {each}")
        if not yes:
            _ask(name)
        dropped = drop_table(workspace, name)
    if as_json:
        emit({"table": name, "env": workspace.environment.name, "dropped": dropped, "dependents": depends})
    else:
        for each in dropped:
            say(f"✓ {each} is gone.")
        say(f"Next: headrace run refresh --env {workspace.environment.name}")


def _ask(name: str) -> None:
    if not sys.stdin.isatty():
        raise RefusedError(
            f"{name!r} would be taken away for good, and nobody can be asked here. Nothing was removed.",
            hint=f"If that is what you want: headrace table drop {name} --yes",
        )
    if not confirm(f"Take {name} away for good?"):
        raise RefusedError("not confirmed. Nothing was removed.")


def _named_after(file: Path) -> str:
    name = re.sub(r"[^a-z0-9_]+", "_", file.name.partition(".")[0].lower()).strip("_")
    return name if re.match(r"[a-z]", name) else f"file_{name}".rstrip("_")
