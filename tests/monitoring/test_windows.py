"""Windows in Python and in SQL are the same windows."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.monitoring import windows

GRANULARITIES = ["1h", "1d", "1w", "1mo"]
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


@given(moment=MOMENTS, granularity=st.sampled_from(GRANULARITIES))
def test_a_moment_is_in_the_window_that_sql_says(connection, moment, granularity):
    start = windows.start_of(moment, granularity)
    assert start <= moment < windows.end_of(start, granularity)
    found = connection.sql(f"select {windows.sql('$1::timestamptz', granularity)} as start", params=[moment])
    assert found.to_arrow_table().to_pylist() == [{"start": start}]


@given(since=MOMENTS, days=st.integers(0, 90), granularity=st.sampled_from(GRANULARITIES[1:]))
def test_windows_follow_each_other_and_cover_the_time(since, days, granularity):
    until = since + timedelta(days=days)
    found = list(windows.between(since, until, granularity))
    if since == until:
        assert len(found) == (windows.start_of(since, granularity) < since)
        return
    assert found[0][0] <= since
    assert found[-1][0] < until <= found[-1][1]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(found))


def test_weeks_begin_on_monday_and_months_on_the_first():
    moment = datetime(2024, 12, 31, 23, 30, tzinfo=UTC)  # a Tuesday
    assert windows.start_of(moment, "1w") == datetime(2024, 12, 30, tzinfo=UTC)
    start = windows.start_of(moment, "1mo")
    assert (start, windows.end_of(start, "1mo")) == (
        datetime(2024, 12, 1, tzinfo=UTC),
        datetime(2025, 1, 1, tzinfo=UTC),
    )


def test_windows_are_of_utc_wherever_the_moment_is_told():
    moment = datetime(2024, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert windows.start_of(moment, "1d") == datetime(2023, 12, 31, tzinfo=UTC)
