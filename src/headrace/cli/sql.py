"""`headrace sql`."""

from __future__ import annotations

import click

from headrace.cli.output import emit, env_option, json_option, say, table

LIMIT = 50


@click.command(name="sql")
@click.argument("text")
@env_option
@json_option
def command(text: str, env: str | None, as_json: bool) -> None:
    """Ask the lakehouse: one SELECT over every table that may be read from here."""
    from headrace.lakehouse.adhoc import ask
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        answer = ask(workspace.lakehouse, text)
    if as_json:
        emit(answer.to_pylist())
        return
    table(answer.slice(0, LIMIT).to_pylist(), empty="no rows", data=True)
    if answer.num_rows > LIMIT:
        say(f"{LIMIT} of {answer.num_rows:,} rows. All of them: --json")
