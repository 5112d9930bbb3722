"""Ids by column are the ids by row."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.scoring import prediction_id as ids
from headrace.scoring.prediction_id import prediction_id, prediction_ids

FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001  # the zone is drawn
INSTANTS = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
KEYS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"])),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(),
    pa.date32(): st.dates(),
    pa.decimal128(9, 2): st.decimals(-1000, 1000, places=2),
    pa.binary(): st.binary(),
    pa.timestamp("us", "UTC"): INSTANTS,
}


@pytest.fixture(autouse=True)
def always_by_column(monkeypatch):
    monkeypatch.setattr(ids, "FEW", 0)


@pytest.mark.parametrize("kind", KEYS, ids=str)
@given(data=st.data())
def test_by_column_as_by_row(kind, data):
    rows = data.draw(st.lists(st.tuples(st.none() | KEYS[kind], INSTANTS), min_size=1, max_size=20))
    key = pa.chunked_array([pa.array([key for key, _ in rows], kind)])
    at = pa.chunked_array([pa.array([at for _, at in rows], pa.timestamp("us", "UTC"))])
    expected = [prediction_id('m"é', 3, [key], at) for key, at in zip(key.to_pylist(), at.to_pylist(), strict=True)]

    assert prediction_ids('m"é', 3, [key], at).to_pylist() == expected


def test_moments_with_other_zones_and_without_one_are_utc():
    at = [datetime(2024, 5, 1, 12, tzinfo=UTC), datetime(2024, 5, 1, 12, 0, 0, 1, tzinfo=UTC), None]
    utc = pa.chunked_array([pa.array(at, pa.timestamp("us", "UTC"))])
    key = pa.chunked_array([pa.array([1, 2, 3])])
    expected = prediction_ids("m", 1, [key], utc).to_pylist()

    for kind in (pa.timestamp("us"), pa.timestamp("us", "Asia/Tokyo")):
        assert prediction_ids("m", 1, [key], utc.cast(kind)).to_pylist() == expected
    tokyo = timezone(timedelta(hours=9))
    assert prediction_id("m", 1, [1], at[0].astimezone(tokyo)) == expected[0]


def test_the_id_of_a_decision_never_changes():
    """It is kept in tables and logs: this text is what it was made of when it was first written."""
    assert prediction_id("m", 1, [7, "a"], datetime(2024, 5, 1, tzinfo=UTC)) == "314ce384acec9fcf075c7befce9d0ef6"
    assert prediction_id("m", 1, [Decimal("1.50"), date(2024, 1, 1)], None)


def test_few_rows_and_many_have_the_same_ids(monkeypatch):
    key = pa.chunked_array([pa.array(range(100)), pa.array(range(100, 400))])
    at = pa.chunked_array([pa.array([datetime(2024, 5, 1, tzinfo=UTC)] * 400, pa.timestamp("us", "UTC"))])
    by_column = prediction_ids("m", 1, [key], at).to_pylist()
    monkeypatch.setattr(ids, "FEW", 1000)

    assert prediction_ids("m", 1, [key], at).to_pylist() == by_column
    assert len(set(by_column)) == 400
