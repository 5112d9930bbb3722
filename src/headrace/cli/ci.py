"""`headrace ci`: what a job of continuous integration tells the host of its merge request."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.commands import Commands
from headrace.cli.output import put, say


@click.group(name="ci", cls=Commands)
def command() -> None:
    """What a job of continuous integration tells the host of its merge request."""


@command.command(name="report")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print the comment and post nothing.")
def report(file: Path, dry_run: bool) -> None:
    """Post the report of `headrace test integration` as one comment on the merge request, on GitHub or GitLab.

    A later run updates the same comment. Without a merge request, or on no known host, the comment is printed.
    """
    from headrace.operations.ci_report import post_report

    posted = post_report(file, dry_run=dry_run)
    if posted.result != "printed":
        say(f"{posted.result} the comment on {posted.request} at {posted.host}.")
        return
    put(posted.text.rstrip("\n"))
    if dry_run:
        say("posted nothing: a dry run.")
    elif posted.host is None:
        say("posted nothing: this is no job of GitHub Actions or GitLab CI.")
    else:
        say(
            f"posted nothing: this job of {posted.host} is not about a merge request, so there is nothing to comment on."
        )
