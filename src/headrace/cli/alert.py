"""`headrace alert list|show|ack`."""

from __future__ import annotations

from typing import Any, cast

import click

from headrace.cli.commands import Commands
from headrace.cli.output import bold, emit, env_option, facts, heading, json_option, put, say, table
from headrace.operations.operation import At


@click.group(name="alert", cls=Commands)
def command() -> None:
    """Alerts: what is broken, since when, on what evidence, who takes care."""


@command.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those that are closed, too.")
@env_option
@json_option
def list_(everything: bool, env: str | None, as_json: bool) -> None:
    """Alerts that hold, the latest first."""
    from headrace.operations import alerts

    listed = alerts.list_alerts(At(env=env), closed=everything)
    if as_json:
        emit(listed)
        return
    columns = ("alert", "model", "version", "rule", "window", "status", "owner", "acknowledged_by")
    table(
        [vars(each) for each in listed],
        columns,
        empty="no alert holds. `headrace alert list --all` shows those that are closed.",
    )


@command.command()
@click.argument("alert", type=click.IntRange(1))
@env_option
@json_option
def show(alert: int, env: str | None, as_json: bool) -> None:
    """One alert with the windows that broke its rule."""
    from headrace.operations import alerts

    shown = alerts.show_alert(At(env=env), alert)
    if as_json:
        emit(shown)
        return
    facts({name: value for name, value in vars(shown).items() if name != "evidence"})
    put()
    heading("Evidence")
    windows = cast("dict[str, Any]", shown.evidence)["windows"]
    table(windows, ("start", "value", "low", "high", "broken", "significant", "explanation"))
    if shown.status == "open":
        say(f"Next: {bold(f'headrace alert ack {alert} --reason …')}, headrace run retrain, or headrace model rollback")


@command.command()
@click.argument("alert", type=click.IntRange(1))
@click.option("--reason", default="", help="What you are going to do.")
@env_option
@json_option
def ack(alert: int, reason: str, env: str | None, as_json: bool) -> None:
    """You have seen it and take care."""
    from headrace.operations import alerts

    known = alerts.acknowledge_alert(At(env=env), alert, reason=reason)
    if as_json:
        emit(known)
    else:
        say(f"alert {alert} is acknowledged by {known.acknowledged_by}.")
