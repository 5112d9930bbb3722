"""`headrace console`: the pages for people, on this machine."""

from __future__ import annotations

import click

from headrace.cli.output import say
from headrace.console.server import PORT


@click.command(name="console")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="To listen on, at 127.0.0.1; 0: any that is free.",
)
@click.option("--sign-in", is_flag=True, help="Show nothing to anybody who has not signed in with a token.")
@click.option("--parent", type=int, hidden=True, help="The process whose end is its end, too.")
def command(port: int, sign_in: bool, parent: int | None) -> None:
    """Open pages with what needs a person, models, tables, alerts and runs, until Ctrl-C.

    It listens on this machine alone, and does what the one who started it may do, or who has signed in with a token.
    """
    from headrace.console.server import run_console

    run_console(
        port=port, sign_in=sign_in, parent=parent, ready=lambda address: say(f"console on {address}. Ctrl-C ends it.")
    )
