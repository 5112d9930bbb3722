"""`headrace llm cost|budgets|estimate|routes`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.commands import Commands
from headrace.cli.output import emit, env_option, heading, json_option, say, table

if TYPE_CHECKING:
    from headrace.operations.llm import CostRow, LoadPlan

DIMENSIONS = ("application", "version", "prompt", "prompt_version", "user", "model", "route", "day")


@click.group(name="llm", cls=Commands)
def command() -> None:
    """Calls to language models: what they cost, budgets, an expected load, routes."""


def _day(_: click.Context, __: click.Parameter, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a day. Write 2026-11-29.") from None


def _dimensions(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(each.strip() for each in text.split(",") if each.strip())
    wrong = [each for each in names if each not in DIMENSIONS]
    if wrong or len(set(names)) < len(names):
        raise click.BadParameter(f"{text!r}: write any of {', '.join(DIMENSIONS)}, each once, with commas.")
    return names


def _shares(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for each in given:
        name, _mark, share = each.partition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            raise click.BadParameter(f"{each!r} is not a route and its share. Write small=0.8.") from None
    return shares


@command.command()
@click.option(
    "--by",
    default="model",
    show_default=True,
    callback=_dimensions,
    help="What to sum by, with commas: application, version, prompt, prompt_version, user, model, route, day.",
)
@click.option("--since", callback=_day, metavar="DAY", help="First day (UTC). Default: the first that there is.")
@click.option("--until", callback=_day, metavar="DAY", help="Last day (UTC). Default: today.")
@env_option
@json_option
def cost(by: tuple[Any, ...], since: date | None, until: date | None, env: str | None, as_json: bool) -> None:
    """What calls did cost, by model, prompt, user, day and more."""
    from headrace.operations.llm import llm_cost
    from headrace.operations.operation import At

    found = llm_cost(At(env=env), by, since=since, until=until)
    if as_json:
        emit(found)
        return
    rows = [_cost_row(each) for each in found.rows]
    if found.total is not None and len(rows) > 1:
        rows.append({**dict.fromkeys(by, ""), **_cost_row(found.total), by[0]: "total"})
    table(rows, empty="there was no call to a language model yet")


def _cost_row(row: CostRow) -> dict[str, object]:
    return {
        **row.by,
        "calls": row.calls,
        "cached": row.cached,
        "failed": row.failed + row.cancelled,
        "refused": row.refused,
        "tokens in": row.input_tokens,
        "tokens out": row.output_tokens,
        "cost": _dollars(row.cost_dollars),
        "a call": _dollars(row.cost_per_call_dollars),
        "p95 ms": row.latency_p95_ms,
    }


@command.command()
@click.option("--day", callback=_day, metavar="DAY", help="Of the last 31 (UTC). Default: today.")
@env_option
@json_option
def budgets(day: date | None, env: str | None, as_json: bool) -> None:
    """How the budgets of a day stand: what is spent, reserved by open calls, and left."""
    from headrace.operations.llm import llm_budgets
    from headrace.operations.operation import At

    found = llm_budgets(At(env=env), day=day)
    if as_json:
        emit(found)
        return
    table(
        [
            {
                "budget": each.scope if each.scope == "day" else f"{each.scope} {each.key or '(none)'}",
                "day": each.day,
                "limit": _dollars(each.limit_dollars),
                "spent": _dollars(each.spent_dollars),
                "reserved": _dollars(each.reserved_dollars),
                "left": _dollars(each.left_dollars),
            }
            for each in found
        ],
        empty='there is no budget; headrace.toml declares them: [env.dev.llm.budgets] day = "5.00"',
    )


@command.command()
@click.option("--queries-per-second", type=float, required=True, help="On average, over day and night.")
@click.option("--burst", type=float, default=1.0, show_default=True, help="Queries of a burst, by the average.")
@click.option("--input-tokens", type=click.IntRange(0), required=True, help="Of a query, with passages.")
@click.option("--output-tokens", type=click.IntRange(0), required=True, help="Of an answer.")
@click.option(
    "--share",
    "shares",
    multiple=True,
    callback=_shares,
    metavar="ROUTE=SHARE",
    help="How queries are divided: small=0.8, and again large=0.2. Default: each route alone.",
)
@click.option("--cache-hit-rate", type=float, default=0.0, show_default=True, help="Share answered from the cache.")
@click.option(
    "--latency", "latency_seconds", type=float, default=1.0, show_default=True, help="Seconds an answer takes."
)
@click.option("--server-cost", type=float, help="Dollars a month of a server of your own, to compare with.")
@click.option("--server-tokens-per-minute", type=float, help="That one such server takes. Default: any number.")
@env_option
@json_option
def estimate(env: str | None, as_json: bool, shares: dict[str, float], **load: Any) -> None:
    """What an expected load costs on the declared routes, and from which load on a server of your own costs less."""
    from headrace.operations.llm import llm_estimate
    from headrace.operations.operation import At

    found = llm_estimate(At(env=env), shares=shares or None, **load)
    if as_json:
        emit(found)
        return
    heading(f"{load['queries_per_second']:g} queries a second, {load['burst']:g} times as many in a burst")
    table([_plan_row(each) for each in found])
    if any(each.server is not None for each in found):
        say("even from: the average queries a second from which one server costs less than the route")


def _plan_row(plan: LoadPlan) -> dict[str, object]:
    several = len(plan.routes) > 1
    row: dict[str, object] = {
        "route": ", ".join(f"{name} {share:.0%}" if several else name for name, share in plan.routes.items()),
        "a query": _dollars(plan.cost_per_query_dollars),
        "a day": _dollars(plan.cost_per_day_dollars),
        "a month": _dollars(plan.cost_per_month_dollars),
        "tokens/min": plan.peak_tokens_per_minute,
        "at once": plan.peak_concurrency,
    }
    if plan.server is not None:
        row |= {
            "servers": plan.server.servers,
            "servers a month": _dollars(plan.server.cost_per_month_dollars),
            "saved": _dollars(plan.server.saved_per_month_dollars),
            "even from": plan.server.break_even_queries_per_second,
        }
    return row


@command.command()
@click.option("--check", is_flag=True, help="Ask each endpoint for its list of models, which costs nothing.")
@env_option
@json_option
def routes(check: bool, env: str | None, as_json: bool) -> None:
    """The declared routes, and whether their endpoints answer. Exit 1 when one that was checked does not."""
    from headrace.operations.llm import llm_routes
    from headrace.operations.operation import At

    found = llm_routes(At(env=env), check=check)
    if as_json:
        emit(found)
    else:
        table(
            [
                {
                    "route": each.name,
                    "protocol": each.protocol,
                    "model": each.model,
                    "url": each.url,
                    "fallback": each.fallback,
                    **({"answers": each.reason or f"in {each.latency_ms:.0f} ms"} if check else {}),
                }
                for each in found
            ],
            empty="there is no route; headrace.toml declares them: [env.dev.llm.routes.small]",
        )
    if any(each.answers is False for each in found):
        raise click.exceptions.Exit(1)


def _dollars(amount: float | None) -> str | None:
    """As people read it: `$12.50`, `$0.000345`, `-$3.00`."""
    if amount is None:
        return None
    from headrace.operations.llm import shown_dollars

    return shown_dollars(amount)
