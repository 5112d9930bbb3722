"""`headrace audit`: what was done by whom."""

from __future__ import annotations

import sys

import click

from headrace.cli.output import emit, env_option, json_option, say, table, wrong


@click.command(name="audit")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option("--verify", is_flag=True, help="Check that no entry was changed; exit 1 when one was.")
@env_option
@json_option
def command(limit: int, verify: bool, env: str | None, as_json: bool) -> None:
    """What was done by whom, the latest first: requests, approvals, moves, roles, repairs."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        entries = workspace.audit.entries(limit=limit)
        broken = workspace.audit.verify() if verify else None
    rows = [vars(entry) for entry in entries]
    if as_json:
        emit({"entries": rows, "broken": vars(broken) if broken else None} if verify else rows)
    else:
        table(rows, ("at", "who", "action", "object", "details"))
        if verify and broken is None:
            say("the record is whole.")
    if broken is not None:
        wrong(f"entry {broken.id} of {broken.at:%Y-%m-%d %H:%M:%S} UTC ({broken.action}) was changed afterwards.")
        sys.exit(1)
