"""Usage on real databases: each call once, sums of days that remain, and percentiles that are exact."""

import math
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from headrace.core.errors import DeclarationError
from headrace.llm.gateway.budget_limits import Limits
from headrace.llm.gateway.budgets import Budgets
from headrace.llm.gateway.metering import CallEnd, EndedCall, Settlement
from headrace.llm.gateway.tables import CALLS, DAILY_USAGE
from headrace.llm.gateway.usage import Usage

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUMS = ("calls", "cached", "failed", "input_tokens", "output_tokens", "cost_nano")


def call(call_id, **values):
    values = {
        "at": AT,
        "route": "small",
        "model": "smol",
        "input_tokens": 100,
        "output_tokens": 10,
        "cost_nano": 7,
    } | values
    return CallEnd(call_id=call_id, **values)


@pytest.fixture
def usage(state, clock):
    return Usage(state, clock=clock)


def keep(usage, *calls):
    usage.settle_and_record(None, [EndedCall(record=each) for each in calls])


def kept(usage):
    with usage.state.read() as connection:
        return set(connection.execute(select(CALLS.c.call_id)).scalars())


def test_a_call_is_counted_once_however_often_it_is_recorded(usage):
    for _ in range(3):
        keep(usage, call("1", latency_ms=250.0))
    keep(usage, call("1"), call("2", latency_ms=100.0), call("2"), call("3", outcome="cached"))
    keep(usage, call("2"))

    (row,) = usage.report()

    assert (row.calls, row.cached, row.input_tokens, row.output_tokens, row.cost_nano) == (3, 1, 300, 30, 21)
    assert (row.latency_p50_ms, row.latency_p95_ms) == (100.0, 250.0)


def test_the_report_groups_by_what_is_requested_the_dearest_first(usage):
    keep(
        usage,
        call("1", application="assistant", version=1, prompt="answer", prompt_version="3", user="u1", cost_nano=5),
        call("2", application="assistant", version=2, prompt="answer", prompt_version="4", user="u2", cost_nano=50),
        call("3", application="assistant", version=2, user="u1", outcome="failed", at=AT + timedelta(days=1)),
        call("4", route="large", model="big", outcome="refused", attempts=0, cost_nano=0, input_tokens=0),
    )

    rows = usage.report(["application", "version"])
    assert [(row.by["application"], row.by["version"], row.cost_nano, row.calls, row.failed) for row in rows] == [
        ("assistant", 2, 57, 2, 1),
        ("assistant", 1, 5, 1, 0),
        ("", None, 0, 1, 0),
    ]
    assert [(row.by["day"], row.calls, row.refused) for row in usage.report(["day"])] == [
        (date(2026, 3, 1), 3, 1),
        (date(2026, 3, 2), 1, 0),
    ]
    assert [row.calls for row in usage.report(["prompt"], since=date(2026, 3, 2))] == [1]
    assert [row.calls for row in usage.report(until=date(2026, 3, 2))] == [3]
    assert usage.report(since=date(2027, 1, 1)) == []
    assert {row.by["prompt_version"] for row in usage.report(["prompt", "prompt_version"])} == {"3", "4", ""}


@pytest.mark.parametrize("by", [["dollar"], ["user", "user"], ["user; drop table gateway_calls"]])
def test_a_dimension_that_there_is_not_is_an_error(usage, by):
    with pytest.raises(DeclarationError, match="Any of application, version"):
        usage.report(by)


def test_a_moment_counts_in_its_day_of_utc(usage):
    keep(usage, call("1", at=datetime.fromisoformat("2026-03-02T00:30:00+01:00")))
    assert [row.by["day"] for row in usage.report(["day"])] == [date(2026, 3, 1)]


def test_after_the_retention_sums_remain_without_latencies(usage, clock):
    keep(usage, *[call(f"old {number}", latency_ms=1.0) for number in range(600)])
    clock.advance(days=31)
    for number in range(200):
        keep(usage, call(f"new {number}", at=clock(), latency_ms=2.0))

    assert kept(usage) == {f"new {number}" for number in range(200)}
    assert usage.clean() == 0
    old, new = sorted(usage.report(["day"]), key=lambda row: row.by["day"])
    assert (old.calls, old.cost_nano, old.latency_p50_ms) == (600, 4200, None)
    assert (new.calls, new.latency_p50_ms) == (200, 2.0)


def ended(record, *reservations):
    settlements = [Settlement(reservation=each, amount=record.cost_nano) for each in reservations]
    return EndedCall(record=record, settlements=tuple(settlements))


def test_a_call_is_settled_and_recorded_together_or_not_at_all(state, usage, clock):
    budgets = Budgets(state, Limits(day=100), clock)
    reservation = budgets.reserve("1", amount=50, user="ann", model="smol")

    record = call("1", cost_nano=20)
    object.__setattr__(record, "latency_ms", None)  # the database refuses it
    with pytest.raises(Exception, match=r"(?i)not.null"):
        usage.settle_and_record(budgets, [ended(record, reservation)])
    assert [(row.spent, row.reserved) for row in budgets.status()] == [(0, 50)]
    assert usage.report() == []

    for _ in range(2):
        usage.settle_and_record(budgets, [ended(call("1", cost_nano=20), reservation)])
    assert [(row.spent, row.reserved) for row in budgets.status()] == [(20, 0)]
    assert [(row.calls, row.cost_nano) for row in usage.report()] == [(1, 20)]
    unlimited = Budgets(state, Limits(), clock)
    free = unlimited.reserve("2", amount=5, user="ann", model="smol")
    usage.settle_and_record(unlimited, [ended(call("2"), free)])
    assert [row.calls for row in usage.report()] == [2]


@pytest.mark.parametrize("name", ["'; drop table gateway_calls; --", "a\0b", "\ud800", "ü" * 5000], ids=ascii)
def test_hostile_names_are_stored_as_names(usage, name):
    for call_id in (name, "other"):
        keep(usage, call(call_id, user=name, route=name, model=name, application=name, prompt=name))

    assert [row.calls for row in usage.report(["user", "route", "model", "application", "prompt"])] == [2]


RECORDS = st.builds(
    call,
    st.integers(0, 30).map(str),
    at=st.integers(0, 72).map(lambda hours: AT + timedelta(hours=hours)),
    route=st.sampled_from(["small", "large"]),
    version=st.sampled_from([None, 1, 2]),
    user=st.sampled_from(["ann", "bob"]),
    cost_nano=st.integers(0, 2**40),
    latency_ms=st.integers(0, 1000).map(float),
    outcome=st.sampled_from(["answered", "answered", "cached", "failed", "cancelled", "refused"]),
)
DIMENSIONS = ["route", "version", "user", "day"]


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(
    batches=st.lists(st.lists(RECORDS, max_size=12), max_size=5), by=st.lists(st.sampled_from(DIMENSIONS), unique=True)
)
def test_the_report_equals_a_count_by_hand(usage, batches, by):
    with usage.state.begin() as connection:
        connection.execute(delete(CALLS))
        connection.execute(delete(DAILY_USAGE))
    first = {}
    for number, batch in enumerate(batches):
        for some in [[each] for each in batch] if number % 2 else [batch]:
            keep(usage, *some)
        for each in batch:
            first.setdefault(each.call_id, each)

    groups = {}
    for record in first.values():
        values = {"day": record.at.date(), "route": record.route, "version": record.version, "user": record.user}
        groups.setdefault(tuple(values[name] for name in by), []).append(record)
    rows = {tuple(row.by.values()): row for row in usage.report(by)}
    assert rows.keys() == groups.keys()
    for key, records in groups.items():
        row = rows[key]
        counted = [sum(record.outcome == name for record in records) for name in ("cached", "failed")]
        tokens = [sum(getattr(record, name) for record in records) for name in SUMS[3:]]
        assert [getattr(row, name) for name in SUMS] == [len(records), *counted, *tokens]
        latencies = sorted(record.latency_ms for record in records if record.outcome == "answered")
        for found, share in ((row.latency_p50_ms, 50), (row.latency_p95_ms, 95)):
            assert found == (latencies[math.ceil(len(latencies) * share / 100) - 1] if latencies else None)


def test_percentiles_are_those_of_the_nearest_rank(usage):
    keep(usage, *[call(str(number), latency_ms=float(number)) for number in range(1, 12)])
    (row,) = usage.report()
    assert (row.latency_p50_ms, row.latency_p95_ms) == (6.0, 11.0)  # 5.5 and 10.45 of 11, rounded up


def test_there_is_one_sum_for_each_day_and_combination(usage):
    keep(usage, *[call(str(number), user="ann") for number in range(1200)])
    with usage.state.read() as connection:
        assert connection.execute(select(func.count()).select_from(DAILY_USAGE)).scalar() == 1
    keep(usage)
    with usage.state.read() as connection:
        assert connection.execute(select(func.count()).select_from(CALLS)).scalar() == 1200
