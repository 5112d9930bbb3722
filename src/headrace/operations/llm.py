"""What calls to language models did cost and may still cost, what an expected load will cost, and which routes there are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from headrace.core import credentials
from headrace.core.errors import DeclarationError, NotFoundError
from headrace.core.money import NANO_PER_DOLLAR
from headrace.environments.llm import EXAMPLE
from headrace.operations.operation import operation
from headrace.operations.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from headrace.environments.llm import LlmRoute
    from headrace.llm.gateway.estimate import LoadEstimate
    from headrace.llm.gateway.usage import Dimension, UsageRow
    from headrace.workspace.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class CostRow(Record):
    """What calls used together. Money is dollars.

    Attributes:
        by: the value of each dimension that was requested.
        calls: all of them, with those that were cached, failed, cancelled or refused.
        cached: answered from the cache.
        failed: without an answer.
        cancelled: by the client.
        refused: by a budget or a limit, and sent nowhere.
        attempts: requests to endpoints.
        input_tokens: that were sent.
        output_tokens: that were answered.
        cost_dollars: what they did cost.
        cost_per_call_dollars: that, divided by the calls.
        latency_p50_ms: half of the calls that an endpoint answered took no longer; None where no single call is stored any more.
        latency_p95_ms: 95 % of them took no longer.
    """

    by: Mapping[str, str | int | date | None]
    calls: int
    cached: int
    failed: int
    cancelled: int
    refused: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_dollars: float
    cost_per_call_dollars: float
    latency_p50_ms: float | None
    latency_p95_ms: float | None


@dataclass(frozen=True, kw_only=True)
class CostReport(Record):
    """What calls did cost in an environment.

    Attributes:
        env: the environment.
        since: the first day (UTC); None for the first that there is.
        until: the last day (UTC); None for no end.
        rows: the dearest first.
        total: of all rows; None where there was no call.
    """

    env: str
    since: date | None
    until: date | None
    rows: tuple[CostRow, ...]
    total: CostRow | None


@dataclass(frozen=True, kw_only=True)
class BudgetReport(Record):
    """One budget of one day in dollars.

    Attributes:
        scope: `day`, `user` or `model`.
        key: the user or model; empty for `day`.
        day: UTC.
        limit_dollars: as declared now; None where there is none.
        spent_dollars: by calls that ended.
        reserved_dollars: by calls that have not ended.
        left_dollars: what may still be reserved; None without a limit.
    """

    scope: str
    key: str
    day: date
    limit_dollars: float | None
    spent_dollars: float
    reserved_dollars: float
    left_dollars: float | None


@dataclass(frozen=True, kw_only=True)
class ServerComparison(Record):
    """A load on routes against servers of one's own at a fixed cost.

    Attributes:
        servers: that the burst needs.
        cost_per_month_dollars: of these servers.
        saved_per_month_dollars: by the servers; negative where the routes cost less.
        break_even_queries_per_second: the average load from which one server costs less; None where no load does.
    """

    servers: int
    cost_per_month_dollars: float
    saved_per_month_dollars: float
    break_even_queries_per_second: float | None


@dataclass(frozen=True, kw_only=True)
class LoadPlan(Record):
    """What an expected load costs on one route, or on several with a share each.

    Attributes:
        routes: the name of each route and its share of the queries that are not answered from the cache.
        cost_per_query_dollars: of an average query, cached ones included.
        cost_per_day_dollars: on average.
        cost_per_month_dollars: of 30 days.
        peak_tokens_per_minute: in a burst: what a vendor's rate limit has to allow.
        peak_concurrency: queries that are answered at once in a burst.
        server: the comparison with servers of one's own; None where no cost of one was given.
    """

    routes: Mapping[str, float]
    cost_per_query_dollars: float
    cost_per_day_dollars: float
    cost_per_month_dollars: float
    peak_tokens_per_minute: int
    peak_concurrency: int
    server: ServerComparison | None


@dataclass(frozen=True, kw_only=True)
class RouteReport(Record):
    """A declared route.

    Attributes:
        name: its name.
        protocol: what its endpoint speaks.
        model: that is requested there.
        url: its address, without secrets.
        fallback: the route that is tried next; None for none.
        input_dollars: for a million tokens that are sent.
        output_dollars: for a million tokens that are answered.
        key: the variable that holds its key; None where it needs none.
        answers: whether its endpoint answers; None where that was not checked.
        reason: why it does not; empty where it does, or was not checked.
        latency_ms: of the check; None where nothing came.
    """

    name: str
    protocol: str
    model: str
    url: str
    fallback: str | None
    input_dollars: float
    output_dollars: float
    key: str | None
    answers: bool | None
    reason: str
    latency_ms: float | None


@operation("llm cost")
def llm_cost(
    workspace: Workspace,
    by: Sequence[Dimension] = ("model",),
    *,
    since: date | None = None,
    until: date | None = None,
) -> CostReport:
    """What calls to language models did cost.

    Args:
        workspace: the environment.
        by: what to sum by, of application, version, prompt, prompt_version, user, model, route and day.
        since: the first day (UTC); None for the first that there is.
        until: the last day (UTC); None for no end.

    Raises:
        DeclarationError: there is no such dimension, or `since` is after `until`.
    """
    from headrace.llm.gateway.usage import Usage

    if since and until and since > until:
        raise DeclarationError(f"{since} is after {until}: there is no such day.", hint="--since is the earlier one.")
    usage = Usage(workspace.state)
    after = None if until is None else until + timedelta(days=1)
    rows = usage.report(tuple(by), since=since, until=after)
    total = usage.report((), since=since, until=after)
    return CostReport(
        env=workspace.environment.name,
        since=since,
        until=until,
        rows=tuple(map(_cost_row, rows)),
        total=_cost_row(total[0]) if total else None,
    )


@operation("llm budgets")
def llm_budgets(workspace: Workspace, *, day: date | None = None) -> list[BudgetReport]:
    """How the budgets of a day stand, those that are declared and those that were used.

    Args:
        workspace: the environment.
        day: UTC, of the last 31; None for today.
    """
    from headrace.llm.gateway.budgets import Budgets
    from headrace.llm.gateway.opening import limits

    budgets = Budgets(workspace.state, limits(workspace.environment.llm))
    return [
        BudgetReport(
            scope=each.scope,
            key=each.key,
            day=each.day,
            limit_dollars=_dollars(each.limit),
            spent_dollars=each.spent / NANO_PER_DOLLAR,
            reserved_dollars=each.reserved / NANO_PER_DOLLAR,
            left_dollars=_dollars(each.left),
        )
        for each in budgets.status(day)
    ]


@operation("llm estimate")
def llm_estimate(
    workspace: Workspace,
    *,
    queries_per_second: float,
    input_tokens: int,
    output_tokens: int,
    burst: float = 1.0,
    shares: Mapping[str, float] | None = None,
    cache_hit_rate: float = 0.0,
    latency_seconds: float = 1.0,
    server_cost: float | None = None,
    server_tokens_per_minute: float | None = None,
) -> list[LoadPlan]:
    """What an expected load costs on the declared routes: on each of them alone, or on several with a share each.

    Args:
        workspace: the environment, whose routes have prices.
        queries_per_second: on average, over day and night.
        input_tokens: of an average query, with instruction and passages.
        output_tokens: of an average answer.
        burst: the queries a second of a burst, divided by the average.
        shares: route → its share of the queries; None compares the routes, each with all queries.
        cache_hit_rate: the share of queries that are answered from the cache.
        latency_seconds: how long an answer takes.
        server_cost: dollars a month of a server of one's own, to compare with.
        server_tokens_per_minute: that one such server takes; None for any number.

    Raises:
        NotFoundError: there is no such route, or none at all.
        DeclarationError: a value is not possible.
    """
    from headrace.llm.gateway.estimate import break_even, estimate_load
    from headrace.llm.gateway.prices import Price

    routes = workspace.environment.llm.routes
    plans = [dict(shares)] if shares else [{name: 1.0} for name in routes]
    for name in {name for plan in plans for name in plan} or {"any"}:
        if name not in routes:
            raise NotFoundError("route", name, routes, hint=EXAMPLE)
    found: list[LoadPlan] = []
    for plan in plans:
        load = estimate_load(
            queries_per_second=queries_per_second,
            burst_factor=burst,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            routes={
                name: (Price(_per_million(routes[name].input_price), _per_million(routes[name].output_price)), share)
                for name, share in plan.items()
            },
            cache_hit_rate=cache_hit_rate,
            latency_seconds=latency_seconds,
        )
        server = None
        if server_cost is not None:
            even = break_even(
                load, server_dollars_per_month=server_cost, server_tokens_per_minute=server_tokens_per_minute
            )
            server = ServerComparison(
                servers=even.servers,
                cost_per_month_dollars=even.server_nano_per_month / NANO_PER_DOLLAR,
                saved_per_month_dollars=even.saved_nano_per_month / NANO_PER_DOLLAR,
                break_even_queries_per_second=even.queries_per_second,
            )
        found.append(_plan(plan, load, cache_hit_rate, server))
    return found


@operation("llm routes")
def llm_routes(workspace: Workspace, *, check: bool = False) -> list[RouteReport]:
    """The declared routes.

    Args:
        workspace: the environment.
        check: whether their endpoints are asked for their models, which costs nothing.

    Raises:
        MissingExtraError: they are to be asked, and aiohttp is not installed.
    """
    routes = list(workspace.environment.llm.routes.values())
    if not check:
        return [_route(each) for each in routes]
    from headrace.llm.gateway.reachability import check_endpoints

    return [
        _route(each, answers=found.answers, reason=found.reason, seconds=found.seconds)
        for each, found in zip(routes, check_endpoints(routes), strict=True)
    ]


def shown_dollars(amount: float) -> str:
    """Dollars as people read them: `$12.50`, `$0.000345`, `-$3.00`."""
    from headrace.llm.gateway.prices import shown

    return shown(round(amount * NANO_PER_DOLLAR))


def _cost_row(row: UsageRow) -> CostRow:
    return CostRow(
        by=row.by,
        calls=row.calls,
        cached=row.cached,
        failed=row.failed,
        cancelled=row.cancelled,
        refused=row.refused,
        attempts=row.attempts,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_dollars=row.cost_nano / NANO_PER_DOLLAR,
        cost_per_call_dollars=round(row.cost_nano / row.calls) / NANO_PER_DOLLAR,
        latency_p50_ms=row.latency_p50_ms,
        latency_p95_ms=row.latency_p95_ms,
    )


def _plan(
    shares: Mapping[str, float], load: LoadEstimate, cache_hit_rate: float, server: ServerComparison | None
) -> LoadPlan:
    each_query = math.fsum(route.share * route.cost_per_query_nano for route in load.routes) * (1 - cache_hit_rate)
    return LoadPlan(
        routes=shares,
        cost_per_query_dollars=round(each_query) / NANO_PER_DOLLAR,
        cost_per_day_dollars=load.cost_per_day_nano / NANO_PER_DOLLAR,
        cost_per_month_dollars=load.cost_per_month_nano / NANO_PER_DOLLAR,
        peak_tokens_per_minute=load.peak_tokens_per_minute,
        peak_concurrency=load.peak_concurrency,
        server=server,
    )


def _route(
    route: LlmRoute, *, answers: bool | None = None, reason: str = "", seconds: float | None = None
) -> RouteReport:
    return RouteReport(
        name=route.name,
        protocol=route.protocol,
        model=route.model,
        url=credentials.shown(route.url),
        fallback=route.fallback,
        input_dollars=route.input_price / NANO_PER_DOLLAR,
        output_dollars=route.output_price / NANO_PER_DOLLAR,
        key=None if route.key is None else route.key.variable,
        answers=answers,
        reason=reason,
        latency_ms=None if seconds is None else round(seconds * 1_000, 3),
    )


def _per_million(nano: int) -> Decimal:
    return Decimal(nano) / NANO_PER_DOLLAR


def _dollars(nano: int | None) -> float | None:
    return None if nano is None else nano / NANO_PER_DOLLAR
