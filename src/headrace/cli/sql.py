"""`headrace sql`."""

from __future__ import annotations

import click

from headrace.cli.output import emit, env_option, json_option, say, table
from headrace.cli.parameters import param_option, parameters, texts

LIMIT = 50  # rows shown to people


@click.command(name="sql")
@click.argument("text", required=False)
@click.option("--saved", metavar="NAME", help="A saved query, instead of TEXT.")
@param_option
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
def command(
    text: str | None,
    saved: str | None,
    param: tuple[str, ...],
    timeout: float,
    max_rows: int,
    env: str | None,
    as_json: bool,
) -> None:
    """Ask the lakehouse: one SELECT over every table that may be read from here, or a saved one."""
    from headrace.operations.operation import At
    from headrace.operations.saved_queries import run_query, values_of
    from headrace.operations.sql import query

    if (text is None) == (saved is None):
        raise click.UsageError("Give one SELECT, or --saved NAME. `headrace query list` shows what is saved.")
    if saved is not None:
        answer = run_query(At(env=env), saved, texts(param), timeout=timeout, max_rows=max_rows)
    else:
        values = values_of(parameters(param), {})
        answer = query(At(env=env), text or "", timeout=timeout, max_rows=max_rows, values=values)
    if as_json:
        emit(answer.to_json()["rows"])
        return
    table(answer.rows(LIMIT), empty="no rows", data=True)
    if answer.count > LIMIT:
        say(f"{LIMIT} of {answer.count:,} rows. All of them: --json")
