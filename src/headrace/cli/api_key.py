"""`headrace api-key create|list|revoke`: the tokens of programs that ask a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, json_option, put, say, table

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.access.api_keys import Scope


@click.group(name="api-key", cls=Commands)
def command() -> None:
    """ApiKeys of programs that ask a server. As soon as there is one, servers that start need one."""


@command.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(["predict", "metrics"]), default=("predict",))
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good; for ever unless said.")
@env_option
@json_option
def create(name: str, scopes: tuple[Scope, ...], days: int | None, env: str | None, as_json: bool) -> None:
    """Make a token, and show it once: only its hash is kept."""
    from datetime import timedelta

    from headrace.access import api_keys

    text = api_keys.create(_file(env), name, scopes=scopes, lasts=None if days is None else timedelta(days=days))
    if as_json:
        emit({"name": name, "scopes": list(scopes), "token": text})
        return
    put(text)
    say(f"{name} shows it as 'authorization: Bearer …'; it cannot be read again.")


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """The tokens, without their text."""
    from headrace.access import api_keys

    rows = [
        {"name": each.name, "scopes": list(each.scopes), "created": each.created, "expires": each.expires}
        for each in api_keys.read(_file(env))
    ]
    if as_json:
        emit(rows)
    else:
        table(rows, empty="there is no token: whoever reaches a server may ask.")


@command.command()
@click.argument("name")
@env_option
def revoke(name: str, env: str | None) -> None:
    """Make a token worthless; servers that run notice at once."""
    from headrace.access import api_keys

    api_keys.revoke(_file(env), name)
    say(f"the token of {name} is worthless now.")


def _file(env: str | None) -> Path:
    from headrace.environments import config
    from headrace.operations.serving import tokens_file

    found = config.load()
    return tokens_file(found.environment(env) if env else found.environments[0])
