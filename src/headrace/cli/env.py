"""`headrace env reset|policy|stores`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import ask, emit, env_option, json_option, say, table
from headrace.core.errors import RefusedError

if TYPE_CHECKING:
    from headrace.operations.reset import ResetPlan
    from headrace.operations.stores import Kind

KEYS = ("code", "releases", "approvals", "order", "reads", "sample")  # of a policy, as they are shown


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
    from headrace.operations import reset
    from headrace.operations.operation import At

    report = reset.reset(At(env=env), lost_state=lost_state, confirm=None if yes else _confirm)
    if as_json:
        emit(report)
        return
    for each in report.removed:
        say(f"✓ removed {each}")
    for store in report.left:
        say(f"· not removed: {store.what} at {store.where}: {store.reason}")
    if not report.removed:
        say(f"· there was nothing of {report.env} on this machine")
    say(f"Next: headrace run refresh --env {report.env}")


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
    from headrace.operations.environment_policy import environment_policy
    from headrace.operations.operation import At

    report = environment_policy(At(env=env), take_over=take_over, reason=reason)
    if as_json:
        emit(report)
        return
    columns = {"in effect": report.effective, "committed": report.committed, "floor": report.floor}
    table([{"key": key, **{name: _text(found, key) for name, found in columns.items()}} for key in KEYS])
    if report.floor and report.floor.at:
        say(f"the floor was written by {report.floor.by} at {report.floor.at:%Y-%m-%d %H:%M} UTC")
    for line in report.looser:
        say(f"· {line}")
    for line in report.changed:
        say(f"✗ {line}: nothing runs until an admin takes it over, or it is changed back")
    if report.looser or report.changed:
        say(f"Next, for an admin: headrace env policy --env {report.env} --take-over --reason …")


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
    from headrace.operations.operation import At
    from headrace.operations.stores import environment_stores

    found = environment_stores(At(env=env), take_over=take_over, reason=reason)
    if as_json:
        emit(found)
    else:
        table([vars(store) for store in found], ("kind", "where", "id", "since"))


def _text(policy: object, key: str) -> str | None:
    """A value of a policy or a floor, as it is shown; None where there is none."""
    value = getattr(policy, key, None)
    return ", ".join(value) or "none" if isinstance(value, tuple) else None if value is None else str(value)


def _confirm(plan: ResetPlan) -> None:
    """Asks a person to type the name of the environment.

    Raises:
        RefusedError: nobody can be asked, or the person declines.
    """
    name, root = plan.env, str(plan.root)
    if not sys.stdin.isatty():
        raise RefusedError(
            f"env reset takes away all that {name!r} keeps below {root}, and nobody can be asked here. Nothing was removed.",
            hint=f"If that is what you want: headrace env reset --env {name} --yes",
        )
    say(f"This takes away all that {name!r} keeps below {root}: tables, models, runs, audit, the online store.")
    if ask(f"Type the name of the environment ({name}) to go on") != name:
        raise RefusedError(f"that is not {name!r}. Nothing was removed.")
