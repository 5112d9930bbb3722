"""`headrace env reset`."""

from __future__ import annotations

import sys

import click

from headrace.cli.output import Commands, ask, emit, env_option, json_option, say
from headrace.core.errors import RefusedError


@click.group(name="env", cls=Commands)
def command() -> None:
    """Environments."""


@command.command()
@click.option("--yes", is_flag=True, help="Without asking.")
@env_option
@json_option
def reset(yes: bool, env: str | None, as_json: bool) -> None:
    """Take away all that an environment for development keeps: tables, models, runs, the online store.

    The project's own files stay, and so do stores that are not in folders of the environment: it says which.
    """
    from headrace.workspace.drop import check_dev
    from headrace.workspace.reset import reset
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        environment = workspace.environment
        check_dev(environment, "`headrace env reset`")
        if not yes:
            _ask(environment.name, str(environment.root))
        gone, left = reset(workspace)
    if as_json:
        emit({"env": environment.name, "removed": gone, "left": [vars(each) for each in left]})
        return
    for each in gone:
        say(f"✓ removed {each}")
    for each in left:
        say(f"· not removed: {each.what} at {each.where}: {each.why}")
    if not gone:
        say(f"· there was nothing of {environment.name} on this machine")
    say(f"Next: headrace run refresh --env {environment.name}")


def _ask(name: str, root: str) -> None:
    if not sys.stdin.isatty():
        raise RefusedError(
            f"env reset takes away all that {name!r} keeps below {root}, and nobody can be asked here. Nothing was removed.",
            hint=f"If that is what you want: headrace env reset --env {name} --yes",
        )
    say(f"This takes away all that {name!r} keeps below {root}: tables, models, runs, audit, the online store.")
    if ask(f"Type the name of the environment ({name}) to go on") != name:
        raise RefusedError(f"that is not {name!r}. Nothing was removed.")
