"""`headrace query list|show|save|delete|alert`: SELECTs that are kept under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, json_option, put, say, table
from headrace.cli.parameters import param_option, parameters

if TYPE_CHECKING:
    from headrace.operations.query_alerts import Severity
    from headrace.operations.saved_queries import ChartKind

SEVERITIES = ("info", "warning", "critical")
KINDS = ("table", "line", "bar", "scatter", "histogram", "heat map")


@click.group(name="query", cls=Commands)
def command() -> None:
    """Saved queries: a SELECT with parameters and a chart, under a name. `headrace sql --saved NAME` answers one."""


@command.command(name="list")
@env_option
@json_option
def list_(env: str | None, as_json: bool) -> None:
    """The saved queries, by name."""
    from headrace.operations.operation import At
    from headrace.operations.saved_queries import list_queries

    found = list_queries(At(env=env))
    if as_json:
        emit(found)
        return
    rows = [
        {
            "query": each.name,
            "parameters": ", ".join(one.name for one in each.parameters),
            "chart": each.chart.kind,
            "alerts": "; ".join(rule.rule for rule in each.alerts),
            "version": each.version,
            "saved": each.saved,
            "saved_by": each.saved_by,
        }
        for each in found
    ]
    table(rows, empty="no query is saved. `headrace query save` saves one.")


@command.command()
@click.argument("name")
@env_option
@json_option
def show(name: str, env: str | None, as_json: bool) -> None:
    """One saved query, with its SELECT."""
    from headrace.operations.operation import At
    from headrace.operations.saved_queries import show_query

    found = show_query(At(env=env), name)
    if as_json:
        emit(found)
        return
    put(found.sql)
    for each in found.parameters:
        default = "no default" if each.default is None else f"default {each.default!r}"
        say(f":{each.name} is a {each.kind}, {default}.")
    columns = ", ".join(filter(None, (found.chart.x, *found.chart.y, found.chart.value)))
    say(f"Chart: {found.chart.kind}{f' of {columns}' if columns else ''}.")
    for rule in found.alerts:
        last = (
            "not evaluated yet" if rule.evaluated is None else f"{rule.outcome} at {rule.evaluated:%Y-%m-%d %H:%M:%S}Z"
        )
        say(f"Alert when {rule.rule}: {rule.severity}, every {rule.every}, owner {rule.owner}; {last}.")
    say(f"Version {found.version}, saved by {found.saved_by} at {found.saved:%Y-%m-%d %H:%M:%S}Z.")


@command.command()
@click.argument("name")
@click.argument("text")
@param_option
@click.option("--chart", type=click.Choice(KINDS), default="table", show_default=True, help="How the answer is drawn.")
@click.option("--x", metavar="COLUMN", help="The column along the axis. Default: the first one that fits.")
@click.option("--y", multiple=True, metavar="COLUMN", help="A column that is drawn; can be given several times.")
@click.option("--value", metavar="COLUMN", help="Of a heat map: the column of its cells.")
@click.option(
    "--replace", type=click.IntRange(1), metavar="VERSION", help="The version that is replaced. Default: it is new."
)
@env_option
def save(
    name: str,
    text: str,
    param: tuple[str, ...],
    chart: ChartKind,
    x: str | None,
    y: tuple[str, ...],
    value: str | None,
    replace: int | None,
    env: str | None,
) -> None:
    """Save the SELECT TEXT under NAME. A value of --param is the default of a placeholder."""
    from headrace.operations.operation import At
    from headrace.operations.saved_queries import Chart, save_query

    saved = save_query(
        At(env=env),
        name,
        text,
        parameters=parameters(param),
        chart=Chart(kind=chart, x=x, y=y, value=value),
        replaces=replace,
    )
    say(f"saved {name!r}, version {saved.version}. Next: headrace sql --saved {name!r}")


@command.command()
@click.argument("name")
@env_option
def delete(name: str, env: str | None) -> None:
    """Delete a saved query. The audit record keeps its SELECT."""
    from headrace.operations.operation import At
    from headrace.operations.saved_queries import delete_query

    delete_query(At(env=env), name)
    say(f"the saved query {name!r} is deleted.")


@command.command()
@click.argument("name")
@click.option(
    "--when", required=True, metavar="CONDITION", help="A column of the first row, or the number of rows: rows > 0."
)
@click.option("--every", default="1h", show_default=True, metavar="DURATION", help="How often the query is asked.")
@click.option("--severity", type=click.Choice(SEVERITIES), default="warning", show_default=True, help="Of its alerts.")
@click.option("--owner", default="", help="Who takes care. Default: you.")
@click.option("--remove", is_flag=True, help="Remove the rule with this condition.")
@env_option
def alert(name: str, when: str, every: str, severity: Severity, owner: str, remove: bool, env: str | None) -> None:
    """Alert when the answer of a saved query is as in --when "late > 0.1". `headrace run monitor` evaluates it."""
    from headrace.operations.operation import At
    from headrace.operations.query_alerts import declare_query_alert, remove_query_alert

    at = At(env=env)
    if remove:
        remove_query_alert(at, name, when)
        say(f"the rule on {name!r} is removed.")
        return
    rule = declare_query_alert(at, name, when, every=every, severity=severity, owner=owner)
    say(f"{rule.reason}: the rule {rule.rule} {'holds' if rule.holds else 'does not hold'} now.")
    say("Next: headrace run monitor --queries")
