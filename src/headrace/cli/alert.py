"""`headrace alert list|show|ack`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from headrace.cli.commands import Commands
from headrace.cli.output import bold, emit, env_option, facts, heading, json_option, put, say, table

if TYPE_CHECKING:
    from headrace.monitoring.alerts import Alert


@click.group(name="alert", cls=Commands)
def command() -> None:
    """Alerts: what is broken, since when, on what evidence, who takes care."""


@command.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those that are closed, too.")
@env_option
@json_option
def list_(everything: bool, env: str | None, as_json: bool) -> None:
    """Alerts that hold, the latest first."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        alerts = workspace.alerts
        rows = [_row(each) for each in (alerts.list() if everything else alerts.active())]
    if as_json:
        emit(rows)
        return
    columns = ("alert", "model", "version", "rule", "window", "status", "owner", "acknowledged_by")
    table(rows, columns, empty="no alert holds. `headrace alert list --all` shows those that are closed.")


@command.command()
@click.argument("alert", type=click.IntRange(1))
@env_option
@json_option
def show(alert: int, env: str | None, as_json: bool) -> None:
    """One alert with the windows that broke its rule."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        found = workspace.alerts.get(alert)
    if as_json:
        emit(_row(found))
        return
    facts({name: value for name, value in _row(found).items() if name != "evidence"})
    put()
    heading("Evidence")
    windows = cast("dict[str, Any]", found.evidence)["windows"]
    table(windows, ("start", "value", "low", "high", "broken", "significant", "told"))
    if found.status == "open":
        say(f"Next: {bold(f'headrace alert ack {alert} --reason …')}, headrace run retrain, or headrace model rollback")


@command.command()
@click.argument("alert", type=click.IntRange(1))
@click.option("--reason", default="", help="What you are going to do.")
@env_option
@json_option
def ack(alert: int, reason: str, env: str | None, as_json: bool) -> None:
    """You have seen it and take care."""
    from headrace.workspace.workspace import open_workspace

    with open_workspace(env) as workspace:
        found = workspace.alerts.ack(alert, by=workspace.access.me().name, reason=reason)
    if as_json:
        emit(_row(found))
    else:
        say(f"alert {alert} is acknowledged by {found.acknowledged_by}.")


def _row(alert: Alert) -> dict[str, object]:
    return {"alert": alert.id, **{name: value for name, value in vars(alert).items() if name != "id"}}
