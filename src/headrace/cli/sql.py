"""`headrace sql`."""

from __future__ import annotations

import re

import click

from headrace.cli.output import emit, env_option, json_option, say, table
from headrace.core.errors import ConfigError

LIMIT = 50
CATALOG = re.compile(  # what other databases' shells answer about their tables
    r"\s*(?:(?:describe|desc|summarize|show\s+columns\s+(?:from|in)|\\d\+?)(?:\s+table)?\s+(?P<table>[\w.\"]+)"
    r"|show\s+(?:all\s+)?(?:tables|schemas|databases)|describe|\\dt?|\.tables)\s*;?\s*",
    re.IGNORECASE,
)


@click.command(name="sql")
@click.argument("text")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 3600), default=60, show_default=True, help="Seconds that it may take."
)
@click.option(
    "--max-rows",
    type=click.IntRange(1, 100_000_000),
    default=1_000_000,
    show_default=True,
    help="Rows that the answer may have.",
)
@env_option
@json_option
def command(text: str, timeout: float, max_rows: int, env: str | None, as_json: bool) -> None:
    """Ask the lakehouse: one SELECT over every table that may be read from here."""
    from headrace.lakehouse.adhoc import QueryLimits, ask
    from headrace.lakehouse.values import rows_of
    from headrace.workspace.workspace import open_workspace

    if found := CATALOG.fullmatch(text):
        name = found["table"]
        said = f"headrace table show {name}" if name else "headrace table list"
        raise ConfigError(f"{text.strip()!r} is not a SELECT.", hint=f"Type: {said}{f' --env {env}' if env else ''}")
    with open_workspace(env) as workspace:
        answer = ask(workspace.lakehouse, text, QueryLimits(seconds=timeout, rows=max_rows))
    if as_json:
        emit(rows_of(answer), data=True)
        return
    table(rows_of(answer.slice(0, LIMIT)), empty="no rows", data=True)
    if answer.num_rows > LIMIT:
        say(f"{LIMIT} of {answer.num_rows:,} rows. All of them: --json")
