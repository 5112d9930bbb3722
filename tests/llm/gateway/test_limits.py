import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RateLimitedError
from headrace.llm.gateway.breaker import CircuitBreaker
from headrace.llm.gateway.limits import TokenBucket
from headrace.llm.gateway.retries import backoff, retry_after_seconds
from headrace.testing.llm_endpoint import Endpoint

from .conftest import ask, route


def test_no_more_calls_are_open_than_may_be(gateway):
    open_calls, most, lock = [0], [0], threading.Lock()
    with Endpoint(latency=0.05) as endpoint:
        one = gateway(route(endpoint, concurrency=2))

        def watched(_request):
            with lock:
                open_calls[0] = sum(each.outcome == "open" for each in endpoint.requests)
                most[0] = max(most[0], open_calls[0])

        endpoint.set_faults(watched)
        threads = [threading.Thread(target=one.complete, args=(ask(),), kwargs={"route": "small"}) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(endpoint.requests) == 8
    assert most[0] == 2


def test_a_call_that_finds_no_place_in_time_is_refused(gateway, ledger):
    with Endpoint(lambda _messages: "word " * 1000, pause=0.01) as endpoint:
        one = gateway(route(endpoint, concurrency=1))
        with one.stream(ask(), route="small") as stream:
            next(stream)
            with pytest.raises(RateLimitedError, match="1 are open"):
                one.complete(ask(), route="small", timeout=0.2)
    assert len(endpoint.requests) == 1
    assert [each.outcome for each in ledger.records] == ["refused", "cancelled"]


@pytest.mark.parametrize("limit", [{"requests_per_minute": 2}, {"tokens_per_minute": 100, "max_tokens": 40}])
def test_a_rate_that_is_used_up_goes_to_the_fallback_or_is_refused(gateway, endpoint, backup, limit):
    one = gateway(route(endpoint, fallback="large", **limit), route(backup, "large"))
    assert [one.complete(ask(), route="small").route for _ in range(3)] == ["small", "small", "large"]

    alone = gateway(route(endpoint, **limit))
    for _ in range(2):
        alone.complete(ask(), route="small")
    with pytest.raises(RateLimitedError, match="lets no more calls of this process through"):
        alone.complete(ask(), route="small", timeout=0.5)


@given(st.integers(1, 1000), st.lists(st.integers(1, 50), max_size=60))
def test_a_bucket_never_lets_more_through_than_flows_in(per_minute, amounts):
    bucket = TokenBucket(per_minute)
    start = time.monotonic()
    taken = 0
    for amount in (min(each, per_minute) for each in amounts):
        wait = bucket.take(amount, start)
        taken += amount
        assert taken <= per_minute + wait * per_minute / 60 + 1e-6
        assert wait == 0 or wait == pytest.approx((taken - per_minute) * 60 / per_minute, abs=1e-3)


@given(st.lists(st.sampled_from(["ok", "fail", "unknown", "wait"]), max_size=50))
def test_a_breaker_is_open_exactly_after_failures_in_a_row(events):
    breaker, at, row, opened = CircuitBreaker(failures=3, pause=10.0), 0.0, 0, None
    for event in events:
        if event == "wait":
            at += 10.0
            continue
        permit = breaker.permit(at)
        assert (permit is not None) == (opened is None or at >= opened + 10.0)
        assert permit != ("call" if opened is not None else "probe")
        if permit is None:
            continue
        if event == "ok":
            breaker.succeeded()
            row, opened = 0, None
        elif event == "fail":
            row += 1
            if permit == "probe" or row >= 3:
                opened = at
            breaker.failed(at, permit)
        else:
            breaker.undecided(permit)


def test_the_end_of_an_older_call_lets_no_second_probe_through():
    breaker = CircuitBreaker(failures=1, pause=10.0)
    older, failing = breaker.permit(0.0), breaker.permit(0.0)
    breaker.failed(0.0, failing)
    assert breaker.permit(10.0) == "probe"

    breaker.undecided(older)  # cancelled
    assert breaker.permit(10.0) is None
    breaker.failed(10.0, older)
    assert breaker.permit(20.0) is None  # the probe is still on its way
    breaker.undecided("probe")
    assert breaker.permit(20.0) == "probe"


@given(st.integers(1, 20), st.one_of(st.none(), st.floats(0, 1000)))
def test_a_pause_grows_and_is_no_shorter_than_was_asked_for(attempt, asked):
    pause = backoff(attempt, asked)

    assert (asked or 0) <= pause <= (asked or 0) + 8


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("3", 3),
        ("0.5", 0.5),
        ("-1", 0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after_seconds(value) == seconds
