"""`headrace sql`."""

from __future__ import annotations

import click

from headrace.cli.output import emit, env_option, json_option, say, table

LIMIT = 50  # rows shown to people


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
    from headrace.operations.operation import At
    from headrace.operations.sql import query

    answer = query(At(env=env), text, timeout=timeout, max_rows=max_rows)
    if as_json:
        emit(answer.to_json()["rows"])
        return
    table(answer.rows(LIMIT), empty="no rows", data=True)
    if answer.count > LIMIT:
        say(f"{LIMIT} of {answer.count:,} rows. All of them: --json")
