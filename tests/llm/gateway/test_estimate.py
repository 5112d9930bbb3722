"""Estimates of a load, against figures worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DeclarationError
from headrace.core.money import NANO_PER_DOLLAR
from headrace.llm.gateway.estimate import break_even, estimate_load
from headrace.llm.gateway.prices import Price, nano

LOAD = {"queries_per_second": 2, "burst_factor": 5, "input_tokens": 1_500, "output_tokens": 500}
CHEAP, DEAR, FREE = Price("0.10", "0.40"), Price(3, 15), Price(0, 0)


def test_a_load_by_hand():
    load = estimate_load(
        **LOAD, routes={"small": (CHEAP, 0.9), "large": (DEAR, 0.1)}, cache_hit_rate=0.25, latency_seconds=4
    )

    small, large = load.routes
    # 1,500 * $0.10/M + 500 * $0.40/M = $0.00035; 1.5 queries a second are sent, 116,640 of 129,600 a day to the small one
    assert small.cost_per_query_nano == 350_000
    assert small.cost_per_day_nano == 116_640 * 350_000
    # 1,500 * $3/M + 500 * $15/M = $0.012
    assert large.cost_per_day_nano == 12_960 * 12_000_000
    assert load.cost_per_day_nano == nano("40.824") + nano("155.52")
    assert load.cost_per_month_nano == 30 * load.cost_per_day_nano
    assert load.peak_tokens_per_minute == 1.5 * 5 * 60 * 2_000
    assert large.peak_tokens_per_minute == load.peak_tokens_per_minute / 10
    assert load.peak_concurrency == 30


def test_a_method_without_a_language_model_is_a_free_route():
    load = estimate_load(**LOAD, routes={"rules": (FREE, 0.7), "large": (DEAR, 0.3)})
    assert load.routes[0].cost_per_month_nano == 0
    assert load.cost_per_day_nano == nano("0.012") * 2 * 86_400 * 3 // 10


def test_the_break_even_with_a_server_of_ones_own():
    load = estimate_load(**LOAD, routes={"large": (DEAR, 1)})  # $0.012 a query, 2 a second: $62,208 a month

    one = break_even(load, server_dollars_per_month=31_104)
    assert one.routes_nano_per_month == nano(62_208)
    assert (one.servers, one.saved_nano_per_month, one.queries_per_second) == (1, nano(31_104), 1.0)
    # the burst of 1,200,000 tokens a minute takes three servers of 500,000; one takes the break-even of one
    three = break_even(load, server_dollars_per_month=31_104, server_tokens_per_minute=600_000)
    assert (three.servers, three.saved_nano_per_month, three.queries_per_second) == (2, 0, 1.0)
    small = break_even(load, server_dollars_per_month=31_104, server_tokens_per_minute=500_000)
    assert (small.servers, small.queries_per_second) == (3, None)
    free = estimate_load(**LOAD, routes={"rules": (FREE, 1)})
    assert break_even(free, server_dollars_per_month=1).queries_per_second is None


@given(
    share=st.integers(0, 100), cached=st.integers(0, 100), queries=st.integers(0, 1000), dollars=st.integers(1, 10**6)
)
def test_a_load_at_the_break_even_costs_what_the_server_costs(share, cached, queries, dollars):
    def load(rate):
        routes = {"small": (CHEAP, share / 100), "large": (DEAR, 1 - share / 100)}
        return estimate_load(**{**LOAD, "queries_per_second": rate}, routes=routes, cache_hit_rate=cached / 100)

    estimated = load(queries)
    even = break_even(estimated, server_dollars_per_month=dollars)

    assert even.saved_nano_per_month == estimated.cost_per_month_nano - dollars * NANO_PER_DOLLAR
    if cached == 100 or not queries:
        assert even.queries_per_second is None
        assert estimated.cost_per_month_nano == 0
    else:
        assert load(even.queries_per_second).cost_per_month_nano == pytest.approx(dollars * NANO_PER_DOLLAR, rel=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        {"queries_per_second": -1},
        {"burst_factor": 0.5},
        {"cache_hit_rate": 1.1},
        {"input_tokens": 1.5},
        {"latency_seconds": float("inf")},
        {"routes": {}},
        {"routes": {"small": (CHEAP, 0.5)}},
        {"routes": {"small": (CHEAP, 1.5), "large": (DEAR, -0.5)}},
    ],
)
def test_an_impossible_load_is_an_error(change):
    with pytest.raises(DeclarationError):
        estimate_load(**{**LOAD, "routes": {"small": (CHEAP, 1)}, **change})


@pytest.mark.parametrize("change", [{"server_dollars_per_month": -1}, {"server_tokens_per_minute": 0}])
def test_an_impossible_server_is_an_error(change):
    load = estimate_load(**LOAD, routes={"small": (CHEAP, 1)})
    with pytest.raises(DeclarationError):
        break_even(load, **{"server_dollars_per_month": 1, **change})
