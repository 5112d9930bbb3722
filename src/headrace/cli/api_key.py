"""`headrace api-key create|list|revoke`: the API keys of programs that call a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, json_option, put, say, table

if TYPE_CHECKING:
    from headrace.operations.api_keys import Scope


@click.group(name="api-key", cls=Commands)
def command() -> None:
    """API keys of programs that call a server. As soon as there is one, servers that start require one."""


@command.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["predict", "metrics", "feedback", "gateway"]),
    default=("predict",),
    help="What it may be used for; can be given twice. Default: predict.",
)
@click.option("--days", type=click.IntRange(1, 3650), help="After how many days it expires. Default: never.")
@env_option
@json_option
def create(name: str, scopes: tuple[Scope, ...], days: int | None, env: str | None, as_json: bool) -> None:
    """Make an API key, and show it once: only its hash is kept."""
    from headrace.operations.api_keys import create_api_key
    from headrace.operations.operation import At

    created = create_api_key(At(env=env), name, scopes=scopes, days=days)
    if as_json:
        emit(created)
        return
    put(created.key)
    say(f"{name} shows it as 'authorization: Bearer …'; it cannot be read again.")


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """The API keys, without their text."""
    from headrace.operations.api_keys import list_api_keys
    from headrace.operations.operation import At

    keys = list_api_keys(At(env=env))
    if as_json:
        emit(keys)
    else:
        table(
            [each.to_json() for each in keys],
            empty="there is no API key. Before the first one is made whoever reaches a server may call it; after the last one nobody.",
        )


@command.command()
@click.argument("name")
@env_option
def revoke(name: str, env: str | None) -> None:
    """End an API key; servers that run refuse it at once."""
    from headrace.operations.api_keys import revoke_api_key
    from headrace.operations.operation import At

    revoke_api_key(At(env=env), name)
    say(f"the API key of {name} is not valid any more.")
