"""`headrace env reset|policy|stores`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import ask, emit, env_option, json_option, say, table
from headrace.core import credentials
from headrace.core.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from headrace.workspace.stores import Kind


@click.group(name="env", cls=Commands)
def command() -> None:
    """Environments."""


@command.command()
@click.option("--yes", is_flag=True, help="Without asking.")
@click.option(
    "--lost-state", metavar="ID", help="The state database that the stores belong to is gone for good: its id."
)
@env_option
@json_option
def reset(yes: bool, lost_state: str | None, env: str | None, as_json: bool) -> None:
    """Take away all that an environment for development keeps: tables, models, runs, the online store.

    The project's own files stay, and so do stores that are not in folders of the environment: it says which.
    """
    from headrace.operations.drop_table import check_dev
    from headrace.operations.reset import reset
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env, anew=True) as workspace:
        environment = workspace.environment
        check_dev(environment, "`headrace env reset`")
        if not yes:
            _ask(environment.name, str(environment.root))
        gone, left = reset(workspace, lost=lost_state)
    if as_json:
        emit({"env": environment.name, "removed": gone, "left": [vars(each) for each in left]})
        return
    for each in gone:
        say(f"✓ removed {each}")
    for each in left:
        say(f"· not removed: {each.what} at {each.where}: {each.reason}")
    if not gone:
        say(f"· there was nothing of {environment.name} on this machine")
    say(f"Next: headrace run refresh --env {environment.name}")


@command.command()
@click.option("--take-over", is_flag=True, help="What is committed holds from now on, also where it is looser.")
@click.option("--reason", default="", help="Why; it stays in the audit record.")
@env_option
@json_option
def policy(take_over: bool, reason: str, env: str | None, as_json: bool) -> None:
    """What may run in an environment: what is committed, its floor, and what is in effect.

    What is committed can make an environment stricter by itself. Only an admin takes over what is looser, or another
    pattern of releases, or another order of environments.
    """
    from headrace.workspace import floor
    from headrace.workspace.workspace import open_workspace

    if reason and not take_over:
        raise ConfigError("--reason is why something is taken over.", hint="Add --take-over.")
    if take_over:
        with open_workspace(env) as workspace:
            floor.take_over(workspace.state, workspace.configured.name, workspace.ruling, reason=reason)
    with open_workspace(env) as workspace:
        name, ruling, written = workspace.configured.name, workspace.ruling, floor.written(workspace.state)
    kept = None if ruling.floor is None else {**vars(ruling.floor), **(written or {})}
    if as_json:
        effective, committed = vars(ruling.policy), ruling.committed and vars(ruling.committed)
        told = {"env": name, "effective": effective, "committed": committed, "floor": kept}
        emit({**told, "looser": ruling.looser, "changed": ruling.changed})
        return
    keys = ("code", "releases", "approvals", "order", "reads", "sample")
    table(
        [
            {
                "key": key,
                "in effect": _text(vars(ruling.policy)[key]),
                "committed": _text(vars(ruling.committed)[key]) if ruling.committed else None,
                "floor": _text(kept[key]) if kept and key in kept else None,
            }
            for key in keys
        ]
    )
    if kept and written:
        say(f"the floor was written by {written['by']} at {written['at']:%Y-%m-%d %H:%M} UTC")
    for line in ruling.looser:
        say(f"· {line}")
    for line in ruling.changed:
        say(f"✗ {line}: nothing runs until an admin takes it over, or it is changed back")
    if ruling.looser or ruling.changed:
        say(f"Next, for an admin: headrace env policy --env {name} --take-over --reason …")


@command.command()
@click.option(
    "--take-over", type=click.Choice(["lakehouse", "tracking", "online"]), help="What is configured now is the one."
)
@click.option("--reason", default="", help="Why; it stays in the audit record.")
@env_option
@json_option
def stores(take_over: Kind | None, reason: str, env: str | None, as_json: bool) -> None:
    """Which lakehouse, MLflow store and online store an environment knows as its own.

    The first that is used is remembered, and another one is refused until an admin takes it over.
    """
    from headrace.operations import takeover
    from headrace.workspace import stores
    from headrace.workspace.workspace import open_workspace

    if reason and not take_over:
        raise ConfigError("--reason is why something is taken over.", hint="Add --take-over KIND.")
    with open_workspace(env) as workspace:
        if take_over:
            takeover.take_over(workspace, take_over, reason=reason)
        known, mine = stores.remembered(workspace.state), workspace.configured
    where = {"lakehouse": mine.lakehouse_root, "tracking": mine.tracking, "online": mine.online}
    rows: list[dict[str, object]] = [
        {
            "kind": kind,
            "where": credentials.shown(place) if isinstance(place, str) else f"the secret {place.variable}",
            "id": known.get(kind, {}).get("id"),
            "since": known.get(kind, {}).get("at"),
        }
        for kind, place in where.items()
    ]
    if as_json:
        emit(rows)
    else:
        table(rows, ("kind", "where", "id", "since"))


def _text(value: object) -> str:
    return ", ".join(str(each) for each in value) or "none" if isinstance(value, tuple | list) else str(value)


def _ask(name: str, root: str) -> None:
    if not sys.stdin.isatty():
        raise RefusedError(
            f"env reset takes away all that {name!r} keeps below {root}, and nobody can be asked here. Nothing was removed.",
            hint=f"If that is what you want: headrace env reset --env {name} --yes",
        )
    say(f"This takes away all that {name!r} keeps below {root}: tables, models, runs, audit, the online store.")
    if ask(f"Type the name of the environment ({name}) to go on") != name:
        raise RefusedError(f"that is not {name!r}. Nothing was removed.")
