"""`headrace env reset|policy|stores`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import click

from headrace.cli.commands import Commands
from headrace.cli.output import ask, emit, env_option, json_option, say, table
from headrace.core.errors import RefusedError

if TYPE_CHECKING:
    from headrace.operations.reset import ResetPlan
    from headrace.operations.stores import Kind

KEYS = (
    "code",
    "releases",
    "approvals",
    "attested_by",
    "runtime",
    "order",
    "reads",
    "sample",
    "ttl",
    "trials",
)  # of a policy, as they are shown


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
@click.argument("one", required=False)
@click.argument("other", required=False)
@click.option("--all", "whole", is_flag=True, help="Also show what is the same, or not known here.")
@json_option
def compare(one: str | None, other: str | None, whole: bool, as_json: bool) -> None:
    """Compare two environments: policy, kinds of stores, locked and installed versions; no address and no secret.

    Without names, the two highest. Exit 1: they differ in something that [parity] of headrace.toml does not allow.
    """
    from headrace.operations.environment_comparison import compare_environments

    found = compare_environments(one, other)
    if as_json:
        emit({**found.to_json(), "passed": found.passed})
    else:
        shown = [each for each in found.aspects if whole or each.parity in ("declared", "undeclared")]
        rows = [
            {"aspect": each.aspect, found.one: each.one, found.other: each.other, "parity": each.parity}
            for each in shown
        ]
        table(rows, empty=f"{found.one} and {found.other} do not differ.")
        for note in found.notes:
            say(f"· {note}")
        same = sum(each.parity == "same" for each in found.aspects)
        undeclared = [each.aspect for each in found.aspects if each.parity == "undeclared"]
        say(
            f"{'✗' if undeclared else '✓'} {same:,} of {len(found.aspects):,} are the same, {len(undeclared):,} differ undeclared"
        )
        if undeclared:
            allowed = ", ".join(f'"{each}"' for each in undeclared[:3])
            say(f"Next: make them the same, or declare it in headrace.toml: [parity] allowed = [{allowed}]")
    if not found.passed:
        raise click.exceptions.Exit(1)


@command.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@env_option
@json_option
def expire(dry_run: bool, env: str | None, as_json: bool) -> None:
    """Remove tables that were not refreshed for the environment's time to live, and that nothing depends on.

    `headrace up` does the same every hour.
    """
    from headrace.operations.expiration import expire, plan_expiration
    from headrace.operations.operation import At

    report = plan_expiration(At(env=env)) if dry_run else expire(At(env=env))
    if as_json:
        emit(report)
        return
    for each in report.expired:
        say(
            f"{'· would be removed' if dry_run else '✓ removed'}: {each.table}, refreshed {each.refreshed:%Y-%m-%d %H:%M} UTC"
        )
    for each in report.kept:
        say(f"· stays: {each.table}, refreshed {each.refreshed:%Y-%m-%d %H:%M} UTC: {'; '.join(each.reasons)}")
    if not report.expired:
        say(f"· nothing of {report.env} has expired; tables live {report.ttl} after their last refresh")
    elif dry_run:
        say(f"Next: headrace env expire --env {report.env}")


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
    if key == "attested_by" and value is not None:
        return ", ".join(each.name for each in value) or "nobody has to"
    if isinstance(value, Mapping):
        readable = cast("Mapping[str, tuple[str, ...]]", value).items()
        return "; ".join(f"{env}: {', '.join(tables)}" for env, tables in readable) or "none"
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
