"""The join against a slow loop of plain Python."""

import math
import struct
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.features.point_in_time import Lookup, join

START = datetime(2024, 1, 1, tzinfo=UTC)
MOMENTS = st.none() | st.integers(0, 12).map(lambda hours: START + timedelta(hours=hours))
VALUES = st.none() | st.sampled_from([0.0, -0.0, 1.5, math.nan, 5e-324, math.inf])
UTC_US = pa.timestamp("us", "UTC")


def connect(**tables):
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("set timezone='UTC'").fetchall()
    for name, table in tables.items():
        connection.register(name, table)
    return connection


def bits(value):
    return struct.pack("<d", value) if isinstance(value, float) else value


def slow(spine, rows, look_back):
    """For each decision the row that wins, by going through all of them."""
    found = []
    for decision in spine:
        best = None
        for row in rows:
            if None in (decision["k"], decision["g"], decision["at"], row["key"], row["group"], row["time"]):
                continue
            if (row["key"], row["group"]) != (decision["k"], decision["g"]) or row["time"] > decision["at"]:
                continue
            if look_back is not None and row["time"] < decision["at"] - look_back:
                continue
            written = row["written"] or datetime.min.replace(tzinfo=UTC)
            if best is None or (row["time"], written) > best[0]:
                best = ((row["time"], written), row["value"])
        found.append(None if best is None else best[1])
    return found


KEYS = st.none() | st.integers(0, 2)
GROUPS = st.none() | st.sampled_from(["a", "é"])
DECISIONS = st.lists(st.fixed_dictionaries({"k": KEYS, "g": GROUPS, "at": MOMENTS}), max_size=12)
# one key, time and moment of writing identify a row; rows of one key and time are corrections
ROWS = st.lists(
    st.fixed_dictionaries({"key": KEYS, "group": GROUPS, "time": MOMENTS, "written": MOMENTS, "value": VALUES}),
    max_size=25,
    unique_by=lambda row: (row["key"], row["group"], row["time"], row["written"]),
)


@settings(max_examples=150, deadline=None)
@given(DECISIONS, ROWS, st.sampled_from([None, timedelta(hours=1), timedelta(hours=3)]))
def test_it_is_what_a_slow_loop_finds(decisions, rows, look_back):
    spine = pa.Table.from_pylist(
        [{"n": n, **decision} for n, decision in enumerate(decisions)],
        schema=pa.schema([("n", pa.int64()), ("k", pa.int32()), ("g", pa.string()), ("at", UTC_US)]),
    )
    features = pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [("key", pa.int64()), ("group", pa.string()), ("time", UTC_US), ("written", UTC_US), ("value", pa.float64())]
        ),
    )
    lookup = Lookup(
        relation="features",
        on={"key": "k", "group": "g"},
        time="time",
        columns={"value": "v"},
        look_back=look_back,
        written="written",
    )
    with connect(spine=spine, features=features) as connection:
        found = join(connection, "spine", at="at", lookups=[lookup], keep=["n", "at"])

    assert found.column("n").to_pylist() == list(range(len(decisions)))
    assert [bits(v) for v in found.column("v").to_pylist()] == [bits(v) for v in slow(decisions, rows, look_back)]


def one(spine_at, times, look_back):
    spine = pa.table({"k": ["x"], "at": pa.array([spine_at], UTC_US)})
    features = pa.table({"k": ["x"] * len(times), "t": pa.array(times, UTC_US), "v": list(range(len(times)))})
    lookup = Lookup(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=look_back)
    with connect(spine=spine, features=features) as connection:
        return join(connection, "spine", at="at", lookups=[lookup], keep=[]).column("v").to_pylist()[0]


@pytest.mark.parametrize(
    ("age", "found"),
    [
        (timedelta(0), 0),
        (timedelta(microseconds=-1), None),
        (timedelta(days=1), 0),
        (timedelta(days=1, microseconds=1), None),
    ],
)
def test_both_ends_of_the_look_back_count_and_the_future_never(age, found):
    assert one(START, [START - age], timedelta(days=1)) == found


def test_one_table_is_looked_up_twice_under_hostile_names():
    odd = 'drop"; select'
    spine = pa.table({"from": ["a", "b"], "to": ["b", "c"], "at": pa.array([START] * 2, UTC_US)})
    places = pa.table({"place": ["a", "b"], "time": pa.array([START] * 2, UTC_US), odd: [1, 2]})
    lookups = [
        Lookup(relation="places", on={"place": side}, time="time", columns={odd: f"{side}_{odd}"}, look_back=None)
        for side in ("from", "to")
    ]
    with connect(spine=spine, places=places) as connection:
        found = join(connection, "spine", at="at", lookups=lookups, keep=["from"])

    assert found.to_pydict() == {"from": ["a", "b"], f"from_{odd}": [1, 2], f"to_{odd}": [2, None]}


def test_ties_without_a_time_of_writing_do_not_depend_on_the_order_of_rows():
    times = [START] * 3
    spine = pa.table({"k": ["x"], "at": pa.array([START], UTC_US)})
    found = set()
    for values in ([1, 3, 2], [3, 2, 1], [2, 1, 3]):
        features = pa.table({"k": ["x"] * 3, "t": pa.array(times, UTC_US), "v": values})
        lookup = Lookup(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=None)
        with connect(spine=spine, features=features) as connection:
            found.add(join(connection, "spine", at="at", lookups=[lookup], keep=[]).column("v").to_pylist()[0])

    assert len(found) == 1


def test_the_order_of_a_large_spine_is_kept_and_no_row_is_lost_or_doubled():
    count = 200_000
    at = pa.array([START + timedelta(seconds=(n * 7919) % 86_400) for n in range(count)], UTC_US)
    spine = pa.table({"n": list(range(count)), "k": [n % 97 for n in range(count)], "at": at})
    features = pa.table(
        {"k": [n % 97 for n in range(5000)], "t": pa.array([START + timedelta(seconds=n * 17) for n in range(5000)], UTC_US)}
    ).append_column("v", pa.array(range(5000)))
    lookup = Lookup(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=None)
    with connect(spine=spine, features=features) as connection:
        found = join(connection, "(from spine)", at="at", lookups=[lookup], keep=["n"])

    assert found.column("n").to_pylist() == list(range(count))
