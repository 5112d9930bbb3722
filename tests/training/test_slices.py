"""Names of slices: equal values have equal texts, whatever type the column has."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from headrace.training import measures
from headrace.training.measures import places_by_value
from headrace.training.slices import MISSING, slice_codes, slice_text

EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1, 1.0, True, Decimal("1.00"), np.int64(1), np.float32(1), np.bool_(True)), "1"),
        ((0, -0.0, False), "0"),
        ((None, float("nan"), pd.NaT, np.nan, pd.NA), MISSING),
        ((0.1, Decimal("0.1"), np.float64(0.1)), "0.1"),
        ((2**60, Decimal(2**60)), "1152921504606846976"),
        ((float("inf"),), "inf"),
        (("1.0",), "1.0"),
        (("",), ""),
        (("(missing)",), '"(missing)"'),
        ((date(2024, 1, 2), pd.Timestamp("2024-01-02")), "2024-01-02"),
        (
            (datetime(2024, 1, 2, 12, tzinfo=UTC), datetime(2024, 1, 2, 14, tzinfo=EAST)),
            "2024-01-02T12:00:00+00:00",
        ),
    ],
)
def test_equal_values_have_one_text(values, text):
    assert [slice_text(value) for value in values if value is not pd.NA] == [text] * sum(v is not pd.NA for v in values)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 0, None], dtype="float64"),
        pd.Series([1, 0, None], dtype="Int64"),
        pd.Series([True, False, None], dtype="object"),
        pd.Series([True, False, None], dtype="boolean"),
        pa.chunked_array([[1, 0], [None]], pa.int32()),
        pa.chunked_array([[1.0], [0.0, float("nan")]]),
        pa.chunked_array([[True, False, None]]),
        pa.chunked_array([pa.array([1, 0, None]).dictionary_encode()]),
    ],
)
def test_a_column_is_cut_alike_in_any_type(column):
    codes, texts = slice_codes(column)
    assert [texts[code] for code in codes] == ["1", "0", MISSING]
    assert texts == sorted(texts)


def test_columns_without_rows_and_lists_can_be_cut_too():
    assert slice_codes(pa.chunked_array([], pa.string())) == (pytest.approx([]), [])
    codes, texts = slice_codes(pa.chunked_array([[[1], [1], [2], None]]))
    assert [texts[code] for code in codes] == ["[1]", "[1]", "[2]", MISSING]


def test_of_many_values_those_with_the_most_rows_are_slices_whatever_the_order(monkeypatch):
    monkeypatch.setattr(measures, "LARGEST", 2)
    for values in (["c", "b", "a", "c"], ["a", "b", "c", "c"]):
        found = [text for _, text, _ in places_by_value(pd.DataFrame({"s": values}))]
        assert found == ["a", "c"]
