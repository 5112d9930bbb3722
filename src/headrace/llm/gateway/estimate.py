"""What an expected load costs, and from which load on a server of one's own costs less. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from headrace.core.declaration import check, check_numbers, check_whole
from headrace.core.errors import DeclarationError
from headrace.core.money import NANO_PER_DOLLAR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.llm.gateway.prices import Price

SECONDS_A_DAY = 86_400
DAYS_A_MONTH = 30
TOLERANCE = 1e-9  # of the sum of shares


@dataclass(frozen=True, kw_only=True)
class RouteEstimate:
    """What one route takes of a load.

    Attributes:
        route: its name.
        share: of the queries that are not answered from the cache, 0 to 1.
        queries_per_second: on average, sent to it.
        cost_per_query_nano: nano-dollars, of a query that is sent to it.
        cost_per_day_nano: nano-dollars, on average.
        cost_per_month_nano: nano-dollars, of 30 days.
        peak_tokens_per_minute: input and output together, in a burst: what a vendor's rate limit has to allow.
        peak_concurrency: queries that are answered at once in a burst.
    """

    route: str
    share: float
    queries_per_second: float
    cost_per_query_nano: int
    cost_per_day_nano: int
    cost_per_month_nano: int
    peak_tokens_per_minute: int
    peak_concurrency: int


@dataclass(frozen=True, kw_only=True)
class LoadEstimate:
    """What a load costs and needs.

    Attributes:
        queries_per_second: on average, with those that are answered from the cache.
        routes: of each route, in the order in which they were given.
        cost_per_day_nano: nano-dollars, of all routes.
        cost_per_month_nano: nano-dollars, of 30 days.
        peak_tokens_per_minute: of all routes.
        peak_concurrency: of all routes.
    """

    queries_per_second: float
    routes: tuple[RouteEstimate, ...]
    cost_per_day_nano: int
    cost_per_month_nano: int
    peak_tokens_per_minute: int
    peak_concurrency: int


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """A load by the token against a server with a fixed cost.

    Attributes:
        server_nano_per_month: what the servers that the load needs cost, in nano-dollars for 30 days.
        routes_nano_per_month: what the routes cost.
        servers: that the burst needs.
        saved_nano_per_month: by the servers; negative where the routes cost less.
        queries_per_second: the average load, cached queries included, from which one server costs less than the routes;
            None where no load does, because the routes are free or one server cannot take that load.
    """

    server_nano_per_month: int
    routes_nano_per_month: int
    servers: int
    saved_nano_per_month: int
    queries_per_second: float | None


def estimate_load(
    *,
    queries_per_second: float,
    burst_factor: float,
    input_tokens: int,
    output_tokens: int,
    routes: Mapping[str, tuple[Price, float]],
    cache_hit_rate: float = 0,
    latency_seconds: float = 1.0,
) -> LoadEstimate:
    """Estimates what an expected load costs on declared routes.

    Args:
        queries_per_second: on average, over day and night.
        burst_factor: the queries a second of a burst, divided by the average; at least 1.
        input_tokens: of an average query, with instruction and passages.
        output_tokens: of an average answer.
        routes: name → its price and its share of the queries that are not cached; shares sum to 1. A method that is no
            language model is a route with a price of 0.
        cache_hit_rate: the share of queries that are answered from the cache, 0 to 1, at no cost.
        latency_seconds: how long an answer takes; the concurrency is the arrivals in that time (Little's law).

    Raises:
        DeclarationError: a value is not possible.
    """
    _check_load(queries_per_second, burst_factor, cache_hit_rate, latency_seconds, routes)
    check_whole("estimate_load", 0, input_tokens=input_tokens, output_tokens=output_tokens)
    sent = _exact(queries_per_second) * (1 - _exact(cache_hit_rate))
    found: list[RouteEstimate] = []
    for name, (price, share) in routes.items():
        rate = sent * _exact(share)
        peak = rate * _exact(burst_factor)
        cost = price.cost_nano(input_tokens, output_tokens)
        found.append(
            RouteEstimate(
                route=name,
                share=float(share),
                queries_per_second=float(rate),
                cost_per_query_nano=cost,
                cost_per_day_nano=math.ceil(rate * SECONDS_A_DAY * cost),
                cost_per_month_nano=math.ceil(rate * SECONDS_A_DAY * DAYS_A_MONTH * cost),
                peak_tokens_per_minute=math.ceil(peak * 60 * (input_tokens + output_tokens)),
                peak_concurrency=math.ceil(peak * _exact(latency_seconds)),
            )
        )
    peak = sent * _exact(burst_factor)
    return LoadEstimate(
        queries_per_second=float(queries_per_second),
        routes=tuple(found),
        cost_per_day_nano=sum(each.cost_per_day_nano for each in found),
        cost_per_month_nano=sum(each.cost_per_month_nano for each in found),
        peak_tokens_per_minute=math.ceil(peak * 60 * (input_tokens + output_tokens)),
        peak_concurrency=math.ceil(peak * _exact(latency_seconds)),
    )


def break_even(
    load: LoadEstimate,
    *,
    server_dollars_per_month: float,
    server_tokens_per_minute: float | None = None,
) -> BreakEven:
    """Compares a load on routes with servers of one's own at a fixed cost.

    Args:
        load: as estimated.
        server_dollars_per_month: of one server for 30 days, with its operation.
        server_tokens_per_minute: input and output that one server takes; the burst decides how many servers there have to
            be. Defaults to no limit: one server takes everything.

    Raises:
        DeclarationError: a value is not possible.
    """
    check_numbers("break_even", server_dollars_per_month=server_dollars_per_month)
    check("break_even", lambda value: _number(value) >= 0, "Write 0 or more.", dollars=server_dollars_per_month)
    if server_tokens_per_minute is not None:
        check_numbers("break_even", server_tokens_per_minute=server_tokens_per_minute)
        check(
            "break_even",
            lambda value: _number(value) > 0,
            "Above 0.",
            server_tokens_per_minute=server_tokens_per_minute,
        )
    one = math.ceil(_exact(server_dollars_per_month) * NANO_PER_DOLLAR)
    capacity = None if server_tokens_per_minute is None else _exact(server_tokens_per_minute)
    servers = 1 if capacity is None else max(1, math.ceil(load.peak_tokens_per_minute / capacity))
    rate = _exact(load.queries_per_second)
    even = rate * one / load.cost_per_month_nano if load.cost_per_month_nano else None
    if even is not None and capacity is not None and even * load.peak_tokens_per_minute > capacity * rate:
        even = None
    return BreakEven(
        server_nano_per_month=servers * one,
        routes_nano_per_month=load.cost_per_month_nano,
        servers=servers,
        saved_nano_per_month=load.cost_per_month_nano - servers * one,
        queries_per_second=None if even is None else float(even),
    )


def _check_load(
    queries: float, burst: float, cached: float, latency: float, routes: Mapping[str, tuple[Price, float]]
) -> None:
    of = "estimate_load"
    check_numbers(of, queries_per_second=queries, burst_factor=burst, cache_hit_rate=cached, latency_seconds=latency)
    check(
        of, lambda value: _number(value) >= 0, "Write 0 or more.", queries_per_second=queries, latency_seconds=latency
    )
    check(of, lambda value: _number(value) >= 1, "Write 1 or more.", burst_factor=burst)
    check(of, lambda value: 0 <= _number(value) <= 1, "Write a share from 0 to 1.", cache_hit_rate=cached)
    if not routes:
        raise DeclarationError("estimate_load(routes={}) is not possible.", hint="Give each route its price and share.")
    for name, (_, share) in routes.items():
        check_numbers(f"{of}: route {name!r}", share=share)
        check(
            f"{of}: route {name!r}", lambda value: 0 <= _number(value) <= 1, "Write a share from 0 to 1.", share=share
        )
    total = math.fsum(share for _, share in routes.values())
    if abs(total - 1) > TOLERANCE:
        raise DeclarationError(f"the shares of the routes sum to {total:g}.", hint="They have to sum to 1.")


def _exact(value: float) -> Fraction:
    """A number as it is written: 0.1 is a tenth."""
    return Fraction(str(value))


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
