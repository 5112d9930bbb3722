"""Comparisons with NaN: what a predicate says of a row is what Python, NumPy and pandas say."""

import itertools
import math

import duckdb
import pytest

from headrace.lakehouse.ieee import with_ieee_comparisons

NAN = math.nan


@pytest.fixture(scope="module")
def row():
    with duckdb.connect() as connection:
        connection.execute("create table t (a double, b double, n int, s varchar, f float, l double[])")
        yield connection


def holds(connection, predicate, **values):
    """The value of a predicate over one row."""

    def type_of(part):
        try:
            return connection.execute(f"describe select {part} from t").fetchall()[0][1]
        except duckdb.Error:
            return None

    sql = with_ieee_comparisons(predicate, type_of)
    connection.execute("delete from t")
    row = {"a": None, "b": None, "n": 1, "s": "nan", "f": None, "l": None, **values}
    connection.execute("insert into t values (?, ?, ?, ?, ?, ?)", list(row.values()))
    return connection.execute(f"select ({sql}\n) from t").fetchall()[0][0]


PYTHON = {
    "a < b": lambda a, b: a < b,
    "a <= b": lambda a, b: a <= b,
    "a > b": lambda a, b: a > b,
    "a >= b": lambda a, b: a >= b,
    "a = b": lambda a, b: a == b,
    "a <> b": lambda a, b: a != b,
    "a != b": lambda a, b: a != b,
    "not (a < b)": lambda a, b: not (a < b),
    "a between 0 and b": lambda a, b: 0 <= a <= b,
    "a not between 0 and b": lambda a, b: not 0 <= a <= b,
    "a in (b, 7)": lambda a, b: a == b or a == 7,
    "a not in (b, 7)": lambda a, b: not (a == b or a == 7),
    "case when a >= 0 then b >= 0 else b < 0 end": lambda a, b: b >= 0 if a >= 0 else b < 0,
    "a + b >= 0 -- a comment": lambda a, b: a + b >= 0,
    "abs(a) >= 0 and (b < 1 or isnan(b))": lambda a, b: abs(a) >= 0 and (b < 1 or math.isnan(b)),
}


@pytest.mark.parametrize("predicate", PYTHON)
def test_numbers_and_nan_are_compared_as_python_does(row, predicate):
    for a, b in itertools.product([NAN, -1.0, 0.0, 1.0, math.inf, -math.inf], repeat=2):
        assert holds(row, predicate, a=a, b=b) is PYTHON[predicate](a, b), (a, b)


@pytest.mark.parametrize("predicate", ["a < b", "a = b", "a <> b", "a between b and a", "a in (b)", "a not in (b)"])
def test_a_null_leaves_it_unknown(row, predicate):
    for a, b in [(None, NAN), (None, 1.0), (1.0, None)]:
        assert holds(row, predicate, a=a, b=b) is None


def test_what_is_no_float_is_left_as_it_is_written(row):
    for predicate in ("n >= 0", "s = 'nan'", "n between 0 and 1 -- a comment", "s in ('nan')", "isnan(a)", "a is null"):
        assert with_ieee_comparisons(predicate, lambda part: "INTEGER") == predicate
    assert holds(row, "s = 'nan' and n > 0") is True


def test_floats_of_four_bytes_and_floats_beside_whole_numbers(row):
    assert holds(row, "f >= n", f=NAN) is False
    assert holds(row, "n <= f", f=NAN) is False
    assert holds(row, "n <= f", f=2.0) is True
    assert holds(row, "n in (a, 1)", a=NAN) is True


def test_nan_is_distinct_from_numbers_and_not_from_itself(row):
    assert holds(row, "a is not distinct from b", a=NAN, b=NAN) is True
    assert holds(row, "a is distinct from b", a=NAN, b=1.0) is True
