"""A key has one value, however it is spelled, and no other value than the one that was said."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.features.keys import typed
from headrace.scoring.prediction_id import prediction_id

MOMENT = datetime(2024, 1, 8, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "spellings", "value"),
    [
        ("int64", [601, 601.0, -0.0 + 601], 601),
        ("float64", [601, 601.0], 601.0),
        ("string", ["2024-01-08T05:00:00Z"], "2024-01-08T05:00:00Z"),
        ("timestamp_utc", ["2024-01-08T05:00:00Z", "2024-01-08T06:00:00+01:00", "2024-01-08 05:00:00", MOMENT], MOMENT),
        ("timestamp", ["2024-01-08T05:00:00", MOMENT.replace(tzinfo=None)], MOMENT.replace(tzinfo=None)),
        ("date", ["2024-01-08", date(2024, 1, 8), "2024-01-08T00:00:00"], date(2024, 1, 8)),
        ("decimal128(10, 2)", [12.5, "12.50", "12.5", Decimal("12.500"), "1.25e1"], Decimal("12.50")),
        ("decimal128(38, 0)", ["9" * 38], Decimal("9" * 38)),
        ("bool", [True], True),
    ],
)
def test_spellings_of_one_key_are_one_value(kind, spellings, value):
    found = [typed("k", kind, each) for each in spellings]
    assert [(type(each), each) for each in found] == [(type(value), value)] * len(spellings)
    assert len({prediction_id("m", 1, [each], MOMENT) for each in found}) == 1


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("int64", [True, "601", 1.5, 2**63, -(2**63) - 1, 2.0**53, float("nan"), [], {}]),
        ("int8", [128, -129]),
        ("float64", ["1", True, float("inf"), 10**400]),
        ("float32", [1e39, 10**400]),
        ("string", [601, True, "\ud800", ["a"]]),
        ("bool", [0, 1, "true"]),
        ("timestamp_utc", ["soon", 7, "9999-12-31T23:59:59-14:00"]),
        ("timestamp", ["2024-01-08T05:00:00Z"]),
        ("date", ["2024-01-08T05:00:00", "2024-01-08T00:00:00Z", 20240108]),
        ("decimal128(10, 2)", [12.345, "x", "NaN", 10**8, True, "1e400"]),
    ],
)
def test_what_is_none_is_refused(kind, wrong):
    for value in wrong:
        with pytest.raises(DataError, match="'k'"):
            typed("k", kind, value)


@given(st.integers(-(2**70), 2**70))
def test_a_whole_number_comes_through_json_as_itself_or_not_at_all(number):
    read = orjson.loads(json.dumps(number))  # which makes a float of what has no 64 bits
    try:
        assert typed("k", "int64", read) == number
    except DataError:
        assert not -(2**63) <= number < 2**63


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_an_instant_is_one_whatever_its_zone(moment, minutes):
    at = moment.replace(tzinfo=UTC)
    away = (at + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat()
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    assert typed("k", "timestamp_utc", f"{away}{sign}{hours:02}:{rest:02}") == at
