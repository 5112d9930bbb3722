"""What happens to rows that break a promise, in which order, and how it is counted."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError, SqlError
from headrace.lakehouse.declarations import Table, expect, repair
from headrace.lakehouse.expectations import apply


def judge(rows, *expectations, columns="id INTEGER, x DOUBLE, name VARCHAR"):
    """Rows that stay, rows set apart, and the counts by predicate."""
    table = Table("silver.things", key="id", sql="select 1 as id", expect=expectations)
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TEMP TABLE made ({columns})")
        if rows:
            connection.executemany(f"INSERT INTO made VALUES ({', '.join('?' * len(rows[0]))})", rows)
        judged = apply(connection, "made", "held", table)
        stay = connection.execute("SELECT * FROM made").fetchall()
        held = connection.execute("SELECT * FROM held").fetchall()
    return stay, held, {each.predicate: (each.rows, each.broken) for each in judged}


def test_a_row_for_which_it_is_false_or_null_is_set_apart_once_with_all_reasons():
    stay, held, counts = judge(
        [(1, 1.0, "a"), (2, -1.0, "b"), (3, None, None), (4, -2.0, None)],
        expect("x > 0", otherwise="quarantine"),
        expect("name is not null", otherwise="quarantine"),
    )
    assert stay == [(1, 1.0, "a")]
    assert held == [
        (2, -1.0, "b", "x > 0"),
        (3, None, None, "x > 0; name is not null"),
        (4, -2.0, None, "x > 0; name is not null"),
    ]
    assert counts == {"x > 0": (4, 3), "name is not null": (4, 2)}


def test_repairs_come_first_and_see_each_other_then_quarantine_then_the_rest():
    stay, held, counts = judge(
        [(1, 50.0, "a"), (2, None, "b"), (3, -1.0, None)],
        expect("x >= 0"),  # holds for what is left
        expect("name is not null", otherwise="quarantine"),
        expect("x < 10", otherwise=repair(x="least(coalesce(x, -5), 9)")),
        expect("x <> -5", otherwise=repair(x="0", name="'mended'")),
        expect("id <> 2", otherwise="warn"),
    )
    assert stay == [(1, 9.0, "a"), (2, 0.0, "mended")]
    assert held == [(3, -1.0, None, "name is not null")]
    assert counts["x < 10"] == (3, 2)
    assert counts["x <> -5"] == (3, 1)
    assert counts["id <> 2"] == (2, 1)
    assert counts["x >= 0"] == (2, 0)


def test_a_repair_may_make_a_column_null_where_the_expectation_allows_it():
    stay, _, counts = judge([(1, 500.0, "a")], expect("coalesce(x, 0) < 200", otherwise=repair(x="null")))
    assert stay == [(1, None, "a")]
    assert counts == {"coalesce(x, 0) < 200": (1, 1)}


def test_a_repair_that_does_not_mend_stops_and_shows_the_rows():
    with pytest.raises(DataError, match=r"2 rows of 'silver.things' break 'x < 10' even after its repair") as refused:
        judge([(1, 50.0, "a"), (2, 5.0, "b"), (3, None, "c")], expect("x < 10", otherwise=repair(x="x + 1")))
    assert "id=1, x=51.0" in str(refused.value)
    assert "test_expectations.py:" in str(refused.value)


def test_a_promise_that_must_hold_stops_and_shows_the_rows():
    with pytest.raises(DataError) as refused:
        judge([(1, 1.0, "a"), (2, -3.5, "b"), (3, None, "c")], expect("x > 0"))
    said = str(refused.value)
    assert "2 of 3 rows of 'silver.things' break 'x > 0'. Nothing was written." in said
    assert "id=2, x=-3.5" in said
    assert "id=3, x=null" in said
    assert "otherwise='quarantine'" in said


@pytest.mark.parametrize(
    ("expectation", "says"),
    [
        (expect("z > 0"), "there is no column 'z'"),
        (expect("x >"), "does not parse"),
        (expect("name"), "is VARCHAR, neither true nor false"),
        (expect("name > make_date(1)"), "expectation 'name > make_date(1)'"),
        (expect("x > 0", otherwise=repair(z="1")), "there is no column 'z'"),
        (expect("x > 0", otherwise=repair(x="y + 1")), "repair of 'x' 'y + 1': there is no column 'y'"),
        (expect("x > 0", otherwise=repair(x="'many'")), "Could not convert string 'many' to DOUBLE"),
        (expect("name::int > 0"), "Could not convert string 'a' to INT32"),
    ],
)
def test_an_expectation_that_does_not_fit_the_table_is_named(expectation, says):
    with pytest.raises(SqlError) as refused:
        judge([(1, -1.0, "a")], expectation)
    assert says in str(refused.value)
    assert "test_expectations.py:" in str(refused.value)


def test_without_expectations_or_rows_nothing_happens():
    assert judge([(1, 1.0, "a")]) == ([(1, 1.0, "a")], [], {})
    assert judge([], expect("x > 0"), expect("x < 9", otherwise="quarantine")) == (
        [],
        [],
        {"x > 0": (0, 0), "x < 9": (0, 0)},
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.none() | st.floats(), max_size=20), st.floats(-5, 5))
def test_every_row_is_in_one_of_the_two_and_only_those_that_hold_stay(values, limit):
    rows = [(i, value, "a") for i, value in enumerate(values)]
    stay, held, counts = judge(rows, expect(f"x < {limit!r}::double", otherwise="quarantine"))
    assert sorted(row[0] for row in stay + held) == [row[0] for row in rows]
    assert {row[0] for row in stay} == {i for i, value, _ in rows if value is not None and value < limit}
    assert counts == {f"x < {limit!r}::double": (len(rows), len(held))}
