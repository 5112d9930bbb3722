"""Rows without key and time: a key by content that stays, and the moment of arrival."""

import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.lakehouse import arrivals
from headrace.lakehouse.declarations import Source
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Overwrite

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
SOURCE = Source("bronze.rows", files="rows.csv")
SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.float64())])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.none() | st.integers(0, 2),
            "b": st.none() | st.sampled_from(["", "x", "a=1", 'q"', "é\n"]),
            "c": st.none() | st.sampled_from([0.0, -1.5, float("nan"), float("inf")]),
        }
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture
def lake(tmp_path):
    return Lakehouse("dev", str(tmp_path / "dev"))


def load(lake, rows, moment, *, schema=SCHEMA):
    table = pa.Table.from_pylist(rows, schema=schema)
    version = lake.commit("bronze.rows", os.urandom(8).hex(), lambda _: Overwrite(table)).version
    return arrivals.build(lake, SOURCE.arrivals, version=version, moment=moment)


def kept(lake):
    """Key → (moment, the row as text)."""
    rows = lake.snapshot(SOURCE.arrivals.name).to_arrow().to_pylist()
    return {row["row_id"]: (row["arrived_at"], repr({name: row.get(name) for name in SCHEMA.names})) for row in rows}


@settings(max_examples=25, deadline=None)
@given(before=ROWS, after=ROWS, data=st.data())
def test_a_row_keeps_its_key_and_its_moment_whatever_comes_and_goes(tmp_path_factory, before, after, data):
    lake = Lakehouse("dev", str(tmp_path_factory.mktemp("lake") / "dev"))
    load(lake, before, NOON)
    first = kept(lake)
    load(lake, data.draw(st.permutations(before + after)), NOON + timedelta(hours=1))
    second = kept(lake)
    assert len(first) == len(before)
    assert len(second) == len(before) + len(after)
    assert {key: second[key] for key in first} == first
    assert {moment for key, (moment, _) in second.items() if key not in first} <= {NOON + timedelta(hours=1)}
    assert sorted(text for _, text in second.values()) == sorted(
        repr(row) for row in pa.Table.from_pylist(before + after, schema=SCHEMA).to_pylist()
    )


def test_a_key_depends_on_neither_the_order_of_columns_nor_on_one_that_is_new_and_null(lake):
    load(lake, [{"a": 1, "b": "x", "c": 2.0}], NOON)
    first = kept(lake)
    wider = pa.schema([SCHEMA.field("c"), pa.field("d", pa.string()), SCHEMA.field("b"), SCHEMA.field("a")])
    load(lake, [{"a": 1, "b": "x", "c": 2.0}], NOON + timedelta(hours=1), schema=wider)
    assert kept(lake) == first
    load(lake, [{"a": 1, "b": "x", "c": 2.0, "d": "new"}], NOON + timedelta(hours=2), schema=wider)
    assert kept(lake).keys() != first.keys()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"b": "1"}),
        ({"b": ""}, {"b": None}),
        ({"a": 1, "b": "x"}, {"a": 1, "b": "x\nc=2.0"}),
        ({"b": "a=1"}, {"a": 1}),
    ],
)
def test_different_rows_have_different_keys(lake, one, other):
    load(lake, [one, other], NOON)
    assert not any("-" in key for key in kept(lake))


def test_a_key_stays_when_a_column_of_whole_numbers_gains_a_fraction(lake):
    whole = pa.schema([("a", pa.int64()), ("b", pa.string())])
    rows = [{"a": value, "b": "x"} for value in (0, 1, -7, 2**53, 10**16)]
    load(lake, rows, NOON, schema=whole)
    first = kept(lake)
    wider = pa.schema([("a", pa.float64()), ("b", pa.string())])
    load(
        lake,
        [*({**row, "a": float(row["a"])} for row in rows), {"a": 4.5, "b": "x"}],
        NOON + timedelta(hours=1),
        schema=wider,
    )
    second = kept(lake)
    stays = {key for key, (moment, _) in second.items() if moment == NOON}
    assert len(stays & first.keys()) == 4  # all but 10^16, which a float64 does not tell from its neighbours
    assert len(second) == 6


def test_whole_numbers_that_are_no_float64_are_told_apart(lake):
    load(lake, [{"a": 2**53}, {"a": 2**53 + 1}, {"a": 2**62}, {"a": 2**62 + 1}], NOON)
    assert not any("-" in key for key in kept(lake))


def test_equal_rows_are_counted_and_rows_that_are_gone_leave(lake):
    made = load(lake, [{"a": 1}] * 3, NOON)
    (plain, *others) = sorted(kept(lake))
    assert others == [f"{plain}-2", f"{plain}-3"]
    assert (made.rows, made.changed) == (3, 3)
    again = load(lake, [{"a": 1}] * 3, NOON + timedelta(hours=1))
    assert (again.changed, again.version) == (0, made.version)
    load(lake, [{"a": 1}], NOON + timedelta(hours=2))
    assert kept(lake).keys() == {plain}


def test_rows_may_have_thousands_of_columns(lake):
    wide = {f"c{place}": float(place) for place in range(2500)}
    schema = pa.schema([(name, pa.float64()) for name in wide])
    assert load(lake, [wide, {**wide, "c7": None}], NOON, schema=schema).rows == 2
    assert load(lake, [wide, {**wide, "c7": None}], NOON + timedelta(hours=1), schema=schema).changed == 0


@pytest.mark.parametrize("name", ["row_id", "ARRIVED_AT"])
def test_a_column_that_is_called_as_ours_is_refused(lake, name):
    with pytest.raises(DataError, match=f"has a column '{name}'"):
        load(lake, [{name: 1}], NOON, schema=pa.schema([(name, pa.int64())]))
    assert not lake.exists(SOURCE.arrivals.name)


def test_a_source_without_rows_is_refused(lake):
    with pytest.raises(DataError, match=r"source 'bronze\.rows' has no rows"):
        load(lake, [], NOON)
