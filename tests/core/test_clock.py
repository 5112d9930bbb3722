from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.clock import duration, instant, now
from headrace.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        (" 1w ", timedelta(weeks=1)),
    ],
)
def test_durations_are_read_as_people_write_them(text, expected):
    assert duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0s", "-1d", "1", "d", "1.5h", "1 d", "01d", "1D", "1d2h", "\u0661d", "9999999999w"]
)
def test_anything_else_is_no_duration(text):
    with pytest.raises(ConfigError, match="duration"):
        duration(text)


@given(st.datetimes(timezones=st.timezones()))
def test_an_instant_is_read_back_from_its_own_text(at):
    try:
        expected = at.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ConfigError):
            instant(at.isoformat())
    else:
        assert instant(at.isoformat()) == expected
        assert instant(at.isoformat()).tzinfo is UTC


def test_a_text_without_a_zone_is_utc():
    assert instant("2013-05-01") == datetime(2013, 5, 1, tzinfo=UTC)
    assert instant(" 2013-05-01T06:30 ") == datetime(2013, 5, 1, 6, 30, tzinfo=UTC)
    assert instant("2013-05-01T06:30Z") == instant("2013-05-01T08:30+02:00")


@pytest.mark.parametrize("text", ["", "yesterday", "2013-13-01", "1 May 2013", "0001-01-01T00:00+14:00"])
def test_anything_else_is_no_instant(text):
    with pytest.raises(ConfigError, match="2013-05-01"):
        instant(text)


def test_now_is_utc():
    assert now().tzinfo is UTC
