"""The task `Binary`, beyond the contract: a label of two values, of which one is declared to be true."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import headrace as hr
from headrace.core.errors import DataError
from headrace.training.estimator import adopt
from headrace.training.labels import checked
from headrace.training.output import output

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


@pytest.mark.parametrize("positive", ["yes", "no"])
def test_an_estimator_that_was_fitted_on_the_values_gives_the_probability_of_the_positive_one(positive):
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"a": draw.normal(size=200)})
    texts = pd.Series(np.where(X["a"] > 0, "yes", "no"))
    fitted = LogisticRegression().fit(X, texts)
    y = checked(texts, task(positive)).astype("int64")
    kept = adopt(fitted, task=task(positive), classes=(0, 1), X=X, y=y)
    found = output(task(positive), (0, 1), kept, X)["probability"]
    expected = fitted.predict_proba(X)[:, list(fitted.classes_).index(positive)]
    assert found.tolist() == pytest.approx(expected.tolist())
