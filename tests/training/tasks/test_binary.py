"""The task `Binary`, beyond the contract: a label of two values, of which one is declared to be true."""

import pandas as pd
import pytest

import headrace as hr
from headrace.core.errors import DataError
from headrace.training.labels import checked

LABELS = hr.Table("s.labels", key="id", time="at", sql="select 1 as id, now() as at, 1 as y")


def task(positive):
    return hr.Binary(LABELS["y"], positive=positive)


@pytest.mark.parametrize(
    ("positive", "values", "expected"),
    [
        ("yes", ["yes", "no", "yes"], [1.0, 0.0, 1.0]),
        ("yes", ["no", "no"], [0.0, 0.0]),
        (2, [1, 2], [0.0, 1.0]),
        (False, [True, False], [0.0, 1.0]),
    ],
)
def test_it_is_one_and_the_other_is_zero(positive, values, expected):
    assert checked(pd.Series(values), task(positive)).tolist() == expected


def test_a_third_value_is_refused():
    with pytest.raises(DataError, match="is neither 'yes' nor 'no' in 1 of"):
        checked(pd.Series(["yes", "no", "maybe"]), task("yes"))


def test_a_value_that_is_never_there_is_told_with_those_that_are():
    with pytest.raises(DataError, match=r"no label s\.labels\.y is 'yes'; there are \['Yes', 'no'\]"):
        checked(pd.Series(["Yes", "no", "no"]), task("yes"))


def test_two_values_that_are_not_true_or_false_are_told_with_the_way_out():
    with pytest.raises(DataError) as refused:
        checked(pd.Series(["yes", "no"]), task(None))
    assert "positive='no'" in refused.value.hint
