from pathlib import Path

import pytest
from tests.scaffold.tables import csv, plain, visits

from headrace.core.errors import ConfigError, NotFoundError
from headrace.scaffold import FILE, describe, sample_rows

HERE = Path("rows.csv")


def guess(guesses, about):
    return next(each for each in guesses if each.about == about)


@pytest.mark.parametrize(
    ("label", "task", "positive"),
    [
        (lambda n: "true" if n % 3 else "false", "binary", None),
        (lambda n: n % 2, "binary", None),
        (lambda n: ("no", "yes")[n % 2], "binary", "yes"),
        (lambda n: n % 2 + 1, "binary", 2),
        (lambda n: n % 5, "multiclass", None),
        (lambda n: "abc"[n % 3], "multiclass", None),
        (lambda n: n % 25, "regression", None),
        (lambda n: n / 7, "regression", None),
    ],
    ids=["truth", "0 and 1", "two texts", "1 and 2", "few numbers", "few texts", "many numbers", "decimals"],
)
def test_the_task_is_told_from_the_label(label, task, positive):
    rows, guesses = describe(plain(label), HERE)

    assert (rows.label, rows.task, rows.positive) == ("label", task, positive)
    assert rows.features == ("size", "weight")
    assert [each.value for each in guesses if each.about == "counts as true"] == ([str(positive)] if positive else [])


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (lambda _: "same", "its only value is 'same'"),
        (lambda _: "", "it has no value"),
        (lambda n: f"name {n}", "each of its 60 values is another one"),
        (lambda n: n, "each of its 60 values is another one"),
        (lambda n: f"name {n % 55}", "55 different texts"),
        (lambda n: f"2025-01-{n % 28 + 1:02}", "a label is a truth value"),
    ],
    ids=["one", "none", "all distinct", "all distinct numbers", "too many", "days"],
)
def test_a_label_that_nothing_can_be_learned_of_is_refused(label, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        describe(plain(label), HERE, label="label")
    assert "--label" in refused.value.hint


def test_where_no_column_can_be_the_label_each_says_why():
    with pytest.raises(ConfigError, match=r"no column of rows\.csv can be the label") as refused:
        describe(csv("a,b", [(number, "x") for number in range(60)]), HERE)

    assert refused.value.findings == (
        "a: each of its 60 values is another one, as in a key",
        "b: its only value is 'x'",
    )


def test_a_guessed_label_is_one_that_can_be_one():
    rows, guesses = describe(csv("kind,size,note", [("ab"[n % 2], n % 30, f"n{n}") for n in range(90)]), HERE)

    assert (rows.label, rows.features, rows.left_out) == ("size", ("kind",), ("note",))
    assert guess(guesses, "label").change == "--label COLUMN"


def test_rows_with_a_key_and_a_time_are_decisions():
    rows, guesses = describe(visits(), HERE)

    assert (rows.key, rows.time, rows.label, rows.known) == ("visit_id", "Visited At", "returned", "")
    assert (rows.features, rows.left_out) == (("order", "Seen By"), ("comment",))
    assert (rows.as_of, rows.days, rows.count) == ("2025-05-01", 119, 120)
    assert rows.example == {"order": 0, "Seen By": "ann", "Visited At": "2025-01-01T00:00:00Z"}
    assert guess(guesses, "left out").reason == "it has 120 different texts"
    assert {"key", "time", "label", "task", "types"} <= {each.about for each in guesses}
    assert all(each.change for each in guesses)


def test_what_was_said_is_not_guessed():
    rows, guesses = describe(visits(), HERE, key="visit_id", time="Visited At", label="order")

    assert rows.label == "order"
    assert {each.about for each in guesses} & {"key", "time", "label"} == set()


@pytest.mark.parametrize("none", [{"key": ""}, {"time": ""}])
def test_without_a_key_or_a_time_rows_count_as_they_arrive(none):
    rows, guesses = describe(visits(), HERE, **none)

    assert (rows.key, rows.time, rows.as_of) == ("", "", "")
    assert {"Visited At", "comment"} <= set(rows.left_out)
    assert guess(guesses, "hold-out").value == "a random fifth"


def test_the_label_of_the_sample_is_known_when_the_parcel_comes():
    rows, guesses = describe(sample_rows().encode(), Path(FILE))

    assert (rows.key, rows.time, rows.known, rows.label) == ("order_id", "placed_at", "delivered_at", "late")
    assert guess(guesses, "label known").value == "delivered_at"


def test_the_reader_says_which_types_it_guessed():
    _, guesses = describe(csv("zip,size,label", [(f"0{n % 30:03}", n, n % 2) for n in range(60)]), HERE)

    assert guess(guesses, "type").value == "zip"
    assert 'schema=hr.Schema(zip="int64")' in guess(guesses, "type").change
    assert guess(guesses, "types").value == "2 of numbers, 1 of texts"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b\n", "has 0 rows"),
        (b"a,b\n1,2\n", "has 1 rows"),
        (b"5.1,3.5,setosa\n" * 60, "has no header: '5.1'"),
        (b"size\n" + b"1\n" * 60, "has one column, 'size'"),
        (b"a,a\n" + b"1,2\n" * 60, "column 'a' is there twice"),
        (b"a,A\n" + b"1,2\n" * 60, "column 'A' is there twice"),
        (b"a,b\n" + b"\xff,2\n" * 60, "not UTF-8"),
        (b"a,b\n1\n", "Expected 2 columns, got 1"),
        (b"a,\n" + b"1,2\n" * 60, "no name"),
    ],
    ids=["empty", "blank", "header", "a row", "no header", "one column", "twice", "case", "latin1", "short", "no name"],
)
def test_what_is_no_table_is_refused(data, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        describe(data, HERE)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"key": "order"}, "cannot be the key: 120 rows have 11 different values"),
        ({"key": "Seen By"}, "cannot be the key: 40 of 120 rows have none"),
        ({"time": "order"}, "cannot be the time: its values are no moments: 0, 1"),
        ({"key": "visit_id", "label": "visit_id"}, "cannot be the label"),
        ({"key": "comment", "label": "order", "time": "returned"}, "cannot be the time"),
    ],
)
def test_a_column_that_cannot_be_what_it_is_named_for_is_refused(columns, reason):
    with pytest.raises(ConfigError, match=reason):
        describe(visits(), HERE, **columns)


def test_a_column_that_is_not_there_is_refused_with_the_nearest_one():
    with pytest.raises(NotFoundError, match="did you mean 'returned'"):
        describe(visits(), HERE, label="return")


def test_a_label_needs_something_to_predict_it_from():
    rows = [(f"n{number}", number % 2) for number in range(120)]
    with pytest.raises(ConfigError, match=r"no column of rows\.csv is left to predict 'label' from") as refused:
        describe(csv("name,label", rows), HERE)
    assert refused.value.findings == ("name: it has 120 different texts",)
