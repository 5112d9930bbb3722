"""Values and keys as bytes: nothing is lost, and the same value gives the same bytes from every source."""

import json
import struct
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.features.keys import EPOCH, microseconds, moment
from headrace.features.online.encoding import encoded
from headrace.features.online.packing import Packing, key

AWARE = st.datetimes().map(lambda each: each.replace(tzinfo=UTC))
DATES = st.dates().map(lambda each: datetime.combine(each, time()))
VALUES = {
    "bool": (pa.bool_(), st.booleans()),
    "int8": (pa.int8(), st.integers(-(2**7), 2**7 - 1)),
    "int16": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "int32": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float32": (pa.float32(), st.floats(width=32)),
    "float64": (pa.float64(), st.floats()),
    "string": (pa.string(), st.text(st.characters(codec="utf-8"))),
    "date": (pa.date32(), DATES),
    "timestamp": (pa.timestamp("us"), st.datetimes()),
    "timestamp_utc": (pa.timestamp("us", "UTC"), AWARE),
}
COLUMNS = st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=20)


def bits(value):
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


@st.composite
def tables(draw):
    kinds = draw(COLUMNS)
    row = st.tuples(*(st.none() | VALUES[kind][1] for kind in kinds))
    return kinds, draw(st.lists(row, max_size=5))


@given(tables(), st.data())
def test_values_come_back_to_the_last_bit_all_or_some_of_them(table, data):
    kinds, rows = table
    packing = Packing([(f"c{place}", kind) for place, kind in enumerate(kinds)])
    places = data.draw(st.lists(st.integers(0, len(kinds) - 1), max_size=4))
    take = packing.taking([f"c{place}" for place in places])
    for row in rows:
        packed = packing.pack(row)
        assert list(map(bits, packing.unpack(packed))) == list(map(bits, row))
        assert list(map(bits, take(packed))) == [bits(row[place]) for place in places]


@given(tables())
def test_a_column_at_a_time_gives_the_same_bytes_as_a_row_at_a_time(table):
    kinds, rows = table
    columns = [(f"c{place}", kind) for place, kind in enumerate(kinds)]
    packing = Packing(columns)
    known = [row for row in rows if None not in row]
    for part, keys in ((rows, [("__number", "int64")]), (known, columns)):
        arrays = {
            name: pa.array([row[place] for row in part], VALUES[kind][0]) for place, (name, kind) in enumerate(columns)
        }
        numbers = pa.array(range(len(part)), pa.int64())
        made = pa.table({**arrays, "__number": numbers, "__at": numbers.cast(pa.timestamp("us", "UTC"))})
        found = list(encoded(made, keys, "__at", packing))
        assert [packed for _, _, packed in found] == [packing.pack(row) for row in part]
        assert [time for _, time, _ in found] == list(range(len(part)))
        given_ = part if keys == columns else [[number] for number in range(len(part))]
        assert [each for each, _, _ in found] == [key(keys, row) for row in given_]


def test_many_rows_are_cut_in_the_right_places():
    count = 120_000
    rows = pa.table(
        {
            "k": range(count),
            "s": [str(number) for number in range(count)],
            "t": pa.array(range(count), pa.timestamp("us", "UTC")),
        }
    )
    packing = Packing([("k", "int64"), ("s", "string")])
    found = list(encoded(rows, [("k", "int64")], "t", packing))
    assert len(found) == count
    for place in (0, 49_999, 50_000, 99_999, 100_000, count - 1):
        assert found[place] == (b"[%d]" % place, place, packing.pack([place, str(place)]))


@given(st.sampled_from(sorted(VALUES)), st.data())
def test_a_key_is_the_same_from_a_table_and_from_json(kind, data):
    arrow, values = VALUES[kind]
    value = data.draw(
        values.filter(lambda each: each == each and abs(each) != float("inf") if isinstance(each, float) else True)
    )
    rows = pa.table({"k": pa.array([value], arrow), "t": pa.array([0], pa.timestamp("us", "UTC"))})
    ((stored, _, _),) = encoded(rows, [("k", kind)], "t", Packing([]))
    json.loads(stored)
    assert key([("k", kind)], [json.loads(json.dumps(value, default=str))]) == stored
    assert key([("k", kind)], [orjson.loads(orjson.dumps(value))]) == stored
    assert key([("k", kind)], [rows["k"][0].as_py()]) == stored


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("int32", 5, 5.0),
        ("float64", 5, 5.0),
        ("float64", 0.0, -0.0),
        ("float32", 0.1, struct.unpack("<f", struct.pack("<f", 0.1))[0]),
        ("timestamp_utc", "2024-01-01T01:00:00+01:00", "2024-01-01T00:00:00Z"),
        ("timestamp_utc", "2024-01-01", datetime(2024, 1, 1, tzinfo=UTC)),
        ("timestamp", "2024-01-01T00:00", datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)),
        ("date", "2024-01-01", date(2024, 1, 1)),
    ],
)
def test_equal_values_are_one_key(kind, one, other):
    assert key([("k", kind)], [one]) == key([("k", kind)], [other])


def test_keys_of_several_columns_do_not_run_into_each_other():
    kinds = [("a", "string"), ("b", "string")]
    pairs = [("a", "b"), ('a","b', ""), ("", 'a","b'), ("a,b", ""), ("\\", '"'), ('\\"', "")]
    assert len({key(kinds, pair) for pair in pairs}) == len(pairs)
    assert key(kinds, ("a", None)) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int64", "5"),
        ("int64", 5.5),
        ("int64", True),
        ("int64", 2**63),
        ("int64", 10**400),
        ("int64", float("nan")),
        ("int64", float("inf")),
        ("float64", "5"),
        ("float64", 10**400),
        ("float32", 1e300),
        ("string", 5),
        ("string", ["a"]),
        ("string", "\ud800"),
        ("bool", 1),
        ("bool", "true"),
        ("date", "2024-01-01T05:00:00"),
        ("date", 19723),
        ("timestamp", "2024-01-01T00:00:00Z"),
        ("timestamp_utc", "yesterday"),
        ("timestamp_utc", {}),
    ],
)
def test_what_is_no_value_of_a_key_is_told_by_its_name_and_not_repeated(kind, value):
    with pytest.raises(DataError, match="'the_key'") as told:
        key([("the_key", kind)], [value])
    assert len(str(told.value)) < 120


@given(AWARE, st.integers(-14 * 60, 14 * 60))
def test_a_moment_is_the_same_in_every_zone(at, offset):
    try:
        local = at.astimezone(timezone(timedelta(minutes=offset)))
    except OverflowError:  # a zone in which it is the year 0
        return
    assert EPOCH + timedelta(microseconds=microseconds(at)) == at
    assert (
        moment(at.isoformat(), "at") == moment(at.replace(tzinfo=None).isoformat(), "at") == moment(local, "at") == at
    )


@pytest.mark.parametrize("given_", ["", "yesterday", 5, None, date(2024, 1, 1), "0001-01-01T00:00:00+10:00"])
def test_what_is_no_moment_is_told(given_):
    with pytest.raises(DataError, match="'requested_at'"):
        moment(given_, "requested_at")


def test_decimals_are_the_floats_that_python_makes_of_them():
    values = [Decimal("0.1"), Decimal("12345678901234567890.123456789"), None, Decimal("-0.30000000000000004")]
    rows = pa.table({"d": pa.array(values, pa.decimal128(38, 17)), "t": pa.array([0] * 4, pa.timestamp("us", "UTC"))})
    packing = Packing([("d", "float64")])
    found = [
        packing.unpack(packed)[0]
        for _, _, packed in encoded(rows.append_column("k", pa.array(range(4))), [("k", "int64")], "t", packing)
    ]
    assert found == [None if value is None else float(value) for value in rows["d"].to_pylist()]


@pytest.mark.parametrize("arrow", [pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32()])
def test_a_time_that_could_not_be_served_is_told_when_it_is_published(arrow):
    far = pa.array([2**31 - 1], pa.int32()).cast(arrow) if pa.types.is_date(arrow) else pa.array([2**62]).cast(arrow)
    kind = {"date32[day]": "date", "timestamp[us]": "timestamp"}.get(str(arrow), "timestamp_utc")
    rows = pa.table({"seen": far, "k": [1], "t": pa.array([0], pa.timestamp("us", "UTC"))})
    with pytest.raises(DataError, match="'seen' has a time outside"):
        list(encoded(rows, [("k", "int64")], "t", Packing([("seen", kind)])))


def test_a_type_or_a_column_that_is_not_kept_is_told():
    with pytest.raises(DataError, match="'x' is list<item: int64>"):
        Packing([("x", "list<item: int64>")])
    with pytest.raises(DataError, match="no column 'y' online"):
        Packing([("x", "int8")]).taking(["y"])
