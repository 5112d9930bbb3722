"""`headrace alert list|show|ack|mute|resolve`."""

from __future__ import annotations

from typing import Any, cast

import click

from headrace.cli.commands import Commands
from headrace.cli.output import bold, emit, env_option, facts, heading, json_option, put, say, table
from headrace.core.clock import later
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
    columns = ("alert", "severity", "about", "rule", "window", "status", "owner", "acknowledged_by")
    rows = [{**vars(each), "about": each.about, "status": "muted" if each.muted else each.status} for each in listed]
    table(
        rows,
        columns,
        empty="no alert holds. `headrace alert list --all` shows those that are closed.",
    )


@command.command()
@click.argument("alert", type=click.IntRange(1))
@env_option
@json_option
def show(alert: int, env: str | None, as_json: bool) -> None:
    """One alert with the windows that broke its rule, and its history."""
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
    put()
    heading("History")
    table(
        [vars(each) for each in alerts.show_alert_history(At(env=env), alert)], ("at", "what", "by", "reason", "until")
    )
    if shown.status == "open" and shown.query is not None:
        say(f"Next: {bold(f'headrace alert ack {alert} --reason …')}, or headrace sql --saved {shown.query!r}")
    elif shown.status == "open":
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


@command.command()
@click.argument("alert", type=click.IntRange(1))
@click.option("--until", required=True, metavar="TIME", help="2026-12-01T06:00Z, or how long from now: 4h, 2d.")
@click.option("--reason", required=True, help="Why nobody is to be notified.")
@env_option
@json_option
def mute(alert: int, until: str, reason: str, env: str | None, as_json: bool) -> None:
    """Nobody is notified of it before a moment. It is judged and listed as before."""
    from headrace.operations import alerts

    known = alerts.mute_alert(At(env=env), alert, until=later(until), reason=reason)
    if as_json:
        emit(known)
    else:
        say(f"alert {alert} is muted until {known.muted_until:%Y-%m-%d %H:%M} UTC.")


@command.command()
@click.argument("alert", type=click.IntRange(1))
@click.option("--reason", required=True, help="Why it is settled.")
@env_option
@json_option
def resolve(alert: int, reason: str, env: str | None, as_json: bool) -> None:
    """Close it by hand. It opens again when its rule is broken in a later window."""
    from headrace.operations import alerts

    known = alerts.resolve_alert(At(env=env), alert, reason=reason)
    if as_json:
        emit(known)
    else:
        say(f"alert {alert} is closed by {known.resolved_by}.")
