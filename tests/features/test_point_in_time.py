"""The join against a slow loop of plain Python."""

import math
import struct
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.features import point_in_time
from headrace.features.point_in_time import JoinSpec, join

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
    assert_as_the_slow_loop(decisions, rows, look_back)


@pytest.mark.parametrize("keys", [3, 40])
def test_a_decision_before_the_first_row_takes_nothing_from_the_keys_beside_it(keys):
    def at(hour):
        return START + timedelta(hours=hour)

    decisions = [{"k": key, "g": "a", "at": at(10 if key % 2 else 2)} for key in range(keys)]
    rows = [
        {"key": key, "group": "a", "time": at(hour), "written": None, "value": float(key * 100 + hour)}
        for key in range(keys)
        for hour in (5, 6, 9)
    ]
    for turned in (decisions, decisions[::-1]):
        assert_as_the_slow_loop(turned, rows, None)


FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
FAR = st.builds(
    lambda when, by: when + timedelta(microseconds=by), st.sampled_from([FIRST, START, LAST]), st.integers(-1, 1)
)
MANY = [
    {"k": -1 - n, "g": "a", "at": (FIRST, LAST)[n % 2]} for n in range(40)
]  # key and time are more than 63 bits now


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"k": KEYS, "g": GROUPS, "at": FAR}), max_size=8),
    st.lists(
        st.fixed_dictionaries(
            {"key": KEYS, "group": GROUPS, "time": FAR, "written": st.just(START), "value": st.floats(allow_nan=False)}
        ),
        max_size=12,
        unique_by=lambda row: (row["key"], row["group"], row["time"]),
    ),
    st.sampled_from([None, timedelta(microseconds=1), timedelta(hours=1)]),
    st.booleans(),
)
def test_it_is_what_a_slow_loop_finds_over_ten_thousand_years(decisions, rows, look_back, many):
    assert_as_the_slow_loop([*decisions, *(MANY if many else [])], rows, look_back)


def assert_as_the_slow_loop(decisions, rows, look_back):
    spine = pa.Table.from_pylist(
        [{"n": n, **decision} for n, decision in enumerate(decisions)],
        schema=pa.schema([("n", pa.int64()), ("k", pa.int32()), ("g", pa.string()), ("at", UTC_US)]),
    )
    features = pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [
                ("key", pa.int64()),
                ("group", pa.string()),
                ("time", UTC_US),
                ("written", UTC_US),
                ("value", pa.float64()),
            ]
        ),
    )
    lookup = JoinSpec(
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
    lookup = JoinSpec(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=look_back)
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
        JoinSpec(relation="places", on={"place": side}, time="time", columns={odd: f"{side}_{odd}"}, look_back=None)
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
        lookup = JoinSpec(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=None)
        with connect(spine=spine, features=features) as connection:
            found.add(join(connection, "spine", at="at", lookups=[lookup], keep=[]).column("v").to_pylist()[0])

    assert len(found) == 1


def test_the_order_of_a_large_spine_is_kept_and_no_row_is_lost_or_doubled():
    count = 200_000
    at = pa.array([START + timedelta(seconds=(n * 7919) % 86_400) for n in range(count)], UTC_US)
    spine = pa.table({"n": list(range(count)), "k": [n % 97 for n in range(count)], "at": at})
    features = pa.table(
        {
            "k": [n % 97 for n in range(5000)],
            "t": pa.array([START + timedelta(seconds=n * 17) for n in range(5000)], UTC_US),
        }
    ).append_column("v", pa.array(range(5000)))
    lookup = JoinSpec(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=None)
    with connect(spine=spine, features=features) as connection:
        found = join(connection, "(from spine)", at="at", lookups=[lookup], keep=["n"])

    assert found.column("n").to_pylist() == list(range(count))


NAIVE = pa.timestamp("us")
DATE = pa.date32()


@pytest.mark.parametrize("spine_type", [UTC_US, NAIVE])
@pytest.mark.parametrize("table_type", [UTC_US, NAIVE, DATE])
@pytest.mark.parametrize(("look_back", "expected"), [(None, ["old", "new"]), (timedelta(hours=2), [None, "new"])])
def test_times_without_a_zone_are_those_of_the_connection_on_either_side(spine_type, table_type, look_back, expected):
    at = ["2024-03-31 01:30:00", "2024-04-01 01:30:00"]  # in a night when clocks change, somewhere; and the next
    times = ["2024-03-30 00:00:00", "2024-04-01 00:00:00"]
    spine = pa.table({"k": [1, 1], "at": pa.array(at).cast(NAIVE).cast(spine_type)})
    features = pa.table({"k": [1, 1], "t": pa.array(times).cast(NAIVE).cast(table_type), "v": ["old", "new"]})
    lookup = JoinSpec(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=look_back)
    with connect(spine=spine, features=features) as connection:
        found = join(connection, "spine", at="at", lookups=[lookup], keep=["at"])

    assert found.column("v").to_pylist() == expected
    assert found.schema.field("at").type == spine_type


LONG_AGO, NEVER = -(2**63) + 1, 2**63 - 1  # as DuckDB writes its infinite moments


@pytest.mark.parametrize(
    ("look_back", "expected"),
    [(None, ["long ago", "long ago", "now", "never"]), (timedelta(days=1), ["long ago", None, "now", "never"])],
)
def test_infinite_moments_come_before_and_after_all_others(look_back, expected):
    now = 1_700_000_000_000_000
    spine = pa.table({"k": [1] * 4, "at": pa.array([LONG_AGO, now - 1, now + 1, NEVER]).cast(UTC_US)})
    features = pa.table(
        {"k": [1] * 3, "t": pa.array([LONG_AGO, now, NEVER]).cast(UTC_US), "v": ["long ago", "now", "never"]}
    )
    lookup = JoinSpec(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=look_back)
    with connect(spine=spine, features=features) as connection:
        assert join(connection, "spine", at="at", lookups=[lookup], keep=[]).column("v").to_pylist() == expected


def test_an_empty_spine_and_an_empty_table_keep_the_types():
    types = {"v": pa.list_(pa.string()), "d": pa.decimal128(10, 2)}
    features = pa.schema([("k", pa.string()), ("t", UTC_US), *types.items()]).empty_table()
    lookup = JoinSpec(relation="features", on={"k": "k"}, time="t", columns={"v": "v", "d": "d"}, look_back=None)
    for at in ([], [START]):
        spine = pa.table({"k": pa.array(["x"] * len(at), pa.string()), "at": pa.array(at, UTC_US)})
        with connect(spine=spine, features=features) as connection:
            found = join(connection, "spine", at="at", lookups=[lookup], keep=["k"])

        assert found.num_rows == len(at)
        assert [found.schema.field(name).type for name in types] == list(types.values())
        assert all(found.column(name).null_count == len(at) for name in types)


def test_nested_values_come_through_and_ties_among_them_are_broken():
    values = [{"a": [1, None], "b": "x"}, None, {"a": [], "b": "ü"}]
    kind = pa.struct([("a", pa.list_(pa.int32())), ("b", pa.string())])
    features = pa.table(
        {
            "k": [1, 1, 2],
            "t": pa.array([START] * 3, UTC_US),
            "w": pa.array([START, START + timedelta(1), START], UTC_US),
            "v": pa.array(values, kind),
        }
    )
    spine = pa.table({"k": [2, 1, 3], "at": pa.array([START] * 3, UTC_US)})
    lookup = JoinSpec(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=None, written="w")
    with connect(spine=spine, features=features) as connection:
        found = join(connection, "spine", at="at", lookups=[lookup], keep=["k"])

    assert found.column("v").type == kind
    assert found.column("v").to_pylist() == [values[2], None, None]


def test_nothing_is_left_behind_even_after_an_error():
    spine = pa.table({"k": [1], "at": pa.array([START], UTC_US)})
    features = pa.table({"k": [1], "t": pa.array([START], UTC_US), "v": [1]})
    good, bad = (
        JoinSpec(relation="features", on={"k": "k"}, time="t", columns={name: "v"}, look_back=None)
        for name in ("v", "absent")
    )
    with connect(spine=spine, features=features) as connection:
        there = connection.execute(
            "select view_name from duckdb_views() union all select table_name from duckdb_tables()"
        )
        before = there.fetchall()
        with pytest.raises(duckdb.BinderException):
            join(connection, "spine", at="at", lookups=[good, bad], keep=[])
        assert join(connection, "spine", at="at", lookups=[good, good], keep=[]).num_rows == 1
        after = connection.execute(
            "select view_name from duckdb_views() union all select table_name from duckdb_tables()"
        )

        assert sorted(after.fetchall()) == sorted(before)


def test_neither_the_order_of_rows_nor_the_size_of_batches_matters(monkeypatch):
    count = 10_000
    times = [START + timedelta(seconds=(n * 7919) % count) for n in range(count)]
    features = pa.table({"k": [n % 7 for n in range(count)], "t": pa.array(times, UTC_US), "v": list(range(count))})
    at = [START + timedelta(seconds=n * 97) for n in range(110)]
    spine = pa.table({"k": [n % 8 for n in range(110)], "at": pa.array(at, UTC_US)})
    lookup = JoinSpec(relation="features", on={"k": "k"}, time="t", columns={"v": "v"}, look_back=timedelta(minutes=1))
    found = []
    for batch, rows in ((2**20, features.sort_by("t")), (1, features), (1, features.sort_by([("t", "descending")]))):
        monkeypatch.setattr(point_in_time, "BATCH", batch)
        with connect(spine=spine, features=rows) as connection:
            found.append(join(connection, "spine", at="at", lookups=[lookup], keep=[]).column("v").to_pylist())

    assert found[1] == found[2] == found[0]
    assert any(value is not None for value in found[0])
