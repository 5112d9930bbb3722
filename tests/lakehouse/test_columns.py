"""A cast changes no value: casting back gives the same ones."""

from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.lakehouse.columns import can_cast, cast, conform, settled, stored

LOCAL = pa.timestamp("us")
LOST = (pa.ArrowInvalid, pa.ArrowNotImplementedError)


@pytest.mark.parametrize(
    ("values", "to"),
    [
        (pa.array([datetime(2024, 1, 5, 23, 59, 59)]), pa.date32()),  # noqa: DTZ001
        (pa.array([2]), pa.bool_()),
        (pa.array([0.5]), pa.bool_()),
        (pa.array([12.355]), pa.decimal128(10, 2)),
        (pa.array([Decimal("12.355")]), pa.decimal128(10, 2)),
        (pa.array([2**53 + 1]), pa.float64()),
        (pa.array([2**24 + 1]), pa.float32()),
        (pa.array([0.1]), pa.float32()),
        (pa.array([1e300]), pa.float32()),
        (pa.array([1.5]), pa.int64()),
        (pa.array([300]), pa.int8()),
        (pa.array([-1]), pa.uint8()),
        (pa.array([Decimal("0.1234567890123456789")]), pa.float64()),
        (pa.array([20240105]), LOCAL),
        (pa.array([{"a": 1, "b": 2}]), pa.struct([("a", pa.int64())])),
        (pa.array([[1.5]]), pa.list_(pa.int64())),
        (pa.array([[datetime(2024, 1, 5, 1)]]), pa.list_(pa.date32())),  # noqa: DTZ001
        (pa.array([10**16], pa.timestamp("ms")), LOCAL),
        (pa.array([-(10**16)], pa.timestamp("ms", "UTC")), pa.timestamp("us", "UTC")),
        (pa.array([10**13], pa.timestamp("s", "UTC")), LOCAL),
        (pa.array([[10**16]], pa.list_(pa.timestamp("ms"))), pa.list_(LOCAL)),
        (pa.array([[1.5, float("nan")]]), pa.list_(pa.int64())),
        (pa.array([[float("nan"), 0.1]]), pa.list_(pa.float32())),
        (pa.array([{"a": [float("nan"), 0.1]}]), pa.struct([("a", pa.list_(pa.float32()))])),
    ],
)  # fmt: skip
def test_a_cast_that_would_change_a_value_is_refused(values, to):
    for each in (values, pa.chunked_array([values])):
        with pytest.raises(LOST):
            cast(each, to)


@pytest.mark.parametrize(
    ("values", "to", "found"),
    [
        (pa.array([datetime(2024, 1, 5), None]), pa.date32(), [date(2024, 1, 5), None]),  # noqa: DTZ001
        (pa.array([date(2024, 1, 5)]), LOCAL, [datetime(2024, 1, 5)]),  # noqa: DTZ001
        (pa.array([1, 0, None]), pa.bool_(), [True, False, None]),
        (pa.array([True, None]), pa.int64(), [1, None]),
        (pa.array([12.35]), pa.decimal128(10, 2), [Decimal("12.35")]),
        (pa.array([Decimal("12.50")]), pa.decimal128(10, 1), [Decimal("12.5")]),
        (pa.array([2**53]), pa.float64(), [2.0**53]),
        (pa.array([0.5, None, float("inf")]), pa.float32(), [0.5, None, float("inf")]),
        (pa.array([3.0]), pa.int64(), [3]),
        (pa.array(["01067"]), pa.int64(), [1067]),
        (pa.array([5]), pa.string(), ["5"]),
        (pa.array(["a"]).dictionary_encode(), pa.string(), ["a"]),
        (pa.array([{}, None], pa.struct([])), pa.null(), [None, None]),
    ],
)
def test_a_cast_that_keeps_every_value(values, to, found):
    assert cast(values, to).to_pylist() == found


def test_not_a_number_stays_one():
    (found,) = cast(pa.array([float("nan")]), pa.float32()).to_pylist()
    assert found != found


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "to"),
    [
        (pa.array([[NAN, 0.5], None, [None, NAN]], pa.list_(pa.float32(), 2)), pa.list_(pa.float32())),
        (pa.array([[NAN], [], None, [0.5, None]], pa.list_(pa.float32())), pa.list_(pa.float64())),
        (pa.array([[[NAN]], [None, [0.5]]], pa.large_list(pa.list_(pa.float32()))), pa.list_(pa.list_(pa.float64()))),
        (pa.array([{"a": NAN}, {"a": None}, None], pa.struct([("a", pa.float32())])), pa.struct([("a", pa.float64())])),
        (
            pa.array([[{"a": NAN, "b": [NAN]}], [None]], pa.list_(pa.struct([("a", pa.float32()), ("b", pa.list_(pa.float32()))]))),
            pa.list_(pa.struct([("a", pa.float64()), ("b", pa.list_(pa.float64()))])),
        ),
    ],
)  # fmt: skip
def test_not_a_number_stays_one_inside_of_lists_and_structs(values, to):
    for each in (values, values.slice(1), pa.chunked_array([values, values.slice(1)])):
        assert repr(cast(each, to).to_pylist()) == repr(each.to_pylist())


def test_nanoseconds_are_cut_and_other_units_keep_the_moment():
    assert cast(pa.array([1_500], pa.timestamp("ns")), LOCAL).cast(pa.int64()).to_pylist() == [1]
    nested = pa.array([[[1_500, None]], None], pa.list_(pa.list_(pa.timestamp("ns"))))
    assert cast(nested, pa.list_(pa.list_(LOCAL))).cast(pa.list_(pa.list_(pa.int64()))).to_pylist() == [
        [[1, None]],
        None,
    ]
    assert cast(pa.array([9 * 10**15], pa.timestamp("ms")), LOCAL).cast(pa.int64()).to_pylist() == [9 * 10**18]
    with pytest.raises(DataError, match="bounds"):
        conform(pa.table({"at": pa.array([10**16], pa.timestamp("ms"))}), {}, what="t")


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**53) - 2, 2**53 + 2) | st.none(), max_size=5),
       st.sampled_from([pa.float64(), pa.float32(), pa.int32(), pa.decimal128(18, 0), pa.string()]))  # fmt: skip
def test_which_values_can_be_cast_is_what_casting_each_alone_says(values, to):
    def alone(value):
        try:
            cast(pa.array([value], pa.int64()), to)
        except LOST:
            return False
        return True

    assert can_cast(pa.chunked_array([pa.array(values, pa.int64())]), to).to_pylist() == [
        alone(each) for each in values
    ]


def test_a_declared_float32_rounds_but_does_not_overflow():
    table = pa.table({"x": [0.1, None, float("inf")]})
    assert conform(table, {"x": pa.float32()}, what="t")["x"].to_pylist()[0] == pytest.approx(0.1)
    with pytest.raises(DataError, match="beyond float32"):
        conform(pa.table({"x": [1e300]}), {"x": pa.float32()}, what="t")


NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))


@given(st.lists(NUMBERS, min_size=1).filter(lambda values: len({type(value) for value in values}) == 1),
       st.sampled_from([pa.bool_(), pa.int8(), pa.int32(), pa.int64(), pa.float32(), pa.float64()]))  # fmt: skip
def test_whatever_a_cast_lets_through_is_equal(values, to):
    array = pa.array(values)
    try:
        found = cast(array, to)
    except LOST:
        return
    assert found.to_pylist() == values


def test_what_no_value_has_told_is_text():
    nested = pa.struct([("a", pa.null()), ("b", pa.list_(pa.null()))])
    assert settled(pa.null()) == pa.string()
    assert settled(nested) == pa.struct([("a", pa.string()), ("b", pa.list_(pa.string()))])
    assert stored(pa.struct([("a", pa.struct([]))])) == pa.struct([("a", pa.null())])
