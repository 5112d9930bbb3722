"""What is kept of a fitted object predicts as the object itself does, with its classes matched by value; or it is refused."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.tree import DecisionTreeClassifier

import headrace as hr
from headrace.core.errors import DataError, UserCodeError
from headrace.training.classes import plain
from headrace.training.estimator import LOADERS, adopt, match_classes, own
from headrace.training.output import columns

LABELS = hr.Table("s.labels", key="id", time="known_at", sql="select 1")


@pytest.fixture(scope="module")
def drawn():
    draw = np.random.default_rng(3)
    X = pd.DataFrame({"a": draw.normal(size=300), "b": draw.normal(size=300)})
    X.loc[::3, "b"] = -999.0
    X.loc[1::7, "a"] = 0.0
    score = X["a"] + X["b"].where(X["b"] != -999.0, 1.5)
    return X, (score > score.median()).astype("int64"), score


def kept(fitted, task, classes, X, y, folder):
    """Adopted, written and read back."""
    ours = adopt(fitted, task=task, classes=classes, X=X, y=y)
    ours.save(folder, by_value=())
    return ours, LOADERS[ours.format](folder, ours.settings)


@pytest.mark.parametrize(
    ("estimator", "form"),
    [
        (xgboost.XGBClassifier(n_estimators=8, missing=-999.0), "xgboost"),
        (xgboost.XGBClassifier(n_estimators=8, missing=0), "xgboost"),
        (xgboost.XGBClassifier(n_estimators=8, booster="dart", rate_drop=0.5), "xgboost"),
        (xgboost.XGBClassifier(n_estimators=8, booster="gblinear"), "xgboost"),
        (xgboost.XGBClassifier(n_estimators=8, base_score=0.2), "xgboost"),
        (xgboost.XGBRFClassifier(n_estimators=8), "pickle"),
        (LGBMClassifier(n_estimators=8, verbose=-1, zero_as_missing=True), "lightgbm"),
        (LGBMClassifier(n_estimators=8, verbose=-1, use_missing=False), "lightgbm"),
        (LGBMClassifier(n_estimators=8, verbose=-1, linear_tree=True), "lightgbm"),
        (LGBMClassifier(n_estimators=8, verbose=-1, pred_early_stop=True, pred_early_stop_freq=1,
                        pred_early_stop_margin=0.01), "pickle"),
        (CalibratedClassifierCV(LogisticRegression()), "pickle"),
        (GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 3]}), "pickle"),
        (VotingClassifier([("t", DecisionTreeClassifier(max_depth=2)), ("l", LogisticRegression())], voting="soft"), "pickle"),
    ],
    ids=lambda value: str(value)[:60].replace("\n", ""),
)  # fmt: skip
def test_what_a_classifier_was_told_is_kept(drawn, tmp_path, estimator, form):
    X, y, _ = drawn
    fitted = estimator.fit(X, y)

    ours, back = kept(fitted, "Binary", (0, 1), X, y, tmp_path)

    assert ours.format == form
    assert back.probabilities(X, (0, 1)) == pytest.approx(fitted.predict_proba(X), abs=1e-6)


@pytest.mark.parametrize(
    "estimator",
    [
        xgboost.XGBRegressor(n_estimators=8, missing=-999.0),
        LGBMRegressor(n_estimators=8, verbose=-1),
        TransformedTargetRegressor(LinearRegression(), func=np.arcsinh, inverse_func=np.sinh),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_regression_was_told_is_kept(drawn, tmp_path, estimator):
    X, _, score = drawn
    fitted = estimator.fit(X, score)
    _, back = kept(fitted, "Regression", (), X, score, tmp_path)
    assert back.values(X) == pytest.approx(fitted.predict(X), rel=1e-5, abs=1e-5)


def test_the_missing_number_of_xgboost_changes_what_it_predicts(drawn):
    X, y, _ = drawn
    fitted = xgboost.XGBClassifier(n_estimators=8, missing=-999.0).fit(X, y)
    ours = adopt(fitted, task="Binary", classes=(0, 1), X=X, y=y)

    assert ours.settings.missing == -999.0
    assert own(ours).probabilities(X, (0, 1)) == pytest.approx(ours.probabilities(X, (0, 1)), abs=1e-6)
    alone = fitted.get_booster().predict(xgboost.DMatrix(X))
    assert np.abs(alone - ours.probabilities(X, (0, 1))[:, 1]).max() > 0.01


NUMBERS = tuple(sorted(str(number) for number in range(12)))


@pytest.mark.parametrize("told", [int, float, Decimal], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("model", [RandomForestClassifier(8), LGBMClassifier(n_estimators=3, min_child_samples=1, verbose=-1),
                                   OneVsRestClassifier(DecisionTreeClassifier())], ids=lambda m: type(m).__name__)  # fmt: skip
def test_classes_are_matched_by_value(tmp_path, told, model):
    X = pd.DataFrame({"a": np.repeat(np.arange(12.0), 10), "b": np.arange(120.0)})
    y = pd.Series(np.repeat([str(number) for number in range(12)], 10), dtype=object)
    numbers = y.map(int) if told is Decimal else y.map(told)
    _, back = kept(model.fit(X, numbers), "Multiclass", NUMBERS, X, y, tmp_path)

    said = np.asarray(NUMBERS, dtype=object)[back.probabilities(X, NUMBERS).argmax(axis=1)]

    assert np.mean(said == y) > 0.9


@pytest.mark.parametrize(
    ("known", "classes", "order"),
    [
        ([False, True], (0, 1), None),
        ([1.0, 0.0], (0, 1), (1, 0)),
        ([np.str_("no"), np.str_("yes")], ("no", "yes"), None),
        (["yes", "no"], ("no", "yes"), (1, 0)),
        ([9, 10], ("10", "9"), (1, 0)),
        ([False, True], ("False", "True"), None),
        ([False, True], ("no", "yes"), None),
        ([Decimal("1.0"), Decimal("2.0")], (1, 2), None),
        ([-1, 1], (-1, 1), None),
        ([0, 1, 2], ("a", "b", "c"), None),
    ],
)
def test_the_order_of_classes(known, classes, order):
    assert match_classes(known, classes)[0] == order


@pytest.mark.parametrize(
    "known", [["no", "yes"], [-1, 1], [0, 0], [0, 1, 2], [np.array([0, 1]), np.array([0, 1])], [None, 1]]
)
def test_other_classes_are_refused(known):
    with pytest.raises(UserCodeError, match=r"the labels are \[0, 1\]"):
        match_classes(known, (0, 1))


def test_places_that_are_another_numbering_are_refused():
    X = pd.DataFrame({"a": np.repeat(np.arange(3.0), 50)})
    y = pd.Series(np.repeat(["low", "mid", "high"], 50), dtype=object)
    tree = DecisionTreeClassifier()
    mine = tree.fit(X, y.map({"low": 0, "mid": 1, "high": 2}))

    with pytest.raises(UserCodeError, match=r"right on 0 of 150 .*'low', 'mid', 'high'\] it would be on 150"):
        adopt(mine, task="Multiclass", classes=("high", "low", "mid"), X=X, y=y)

    sorted_ones = DecisionTreeClassifier().fit(X, y.map({"high": 0, "low": 1, "mid": 2}))
    assert adopt(sorted_ones, task="Multiclass", classes=("high", "low", "mid"), X=X, y=y).format == "pickle"


@pytest.mark.parametrize("fitted", [LGBMClassifier(), xgboost.XGBClassifier(), object()])
def test_what_was_not_fitted_is_refused(drawn, fitted):
    X, y, _ = drawn
    with pytest.raises(UserCodeError):
        adopt(fitted, task="Binary", classes=(0, 1), X=X, y=y)


def test_labels_are_texts_or_whole_numbers():
    def made(values):
        classes, fits = plain(pd.Series(values))
        return classes.tolist() if fits.all() else None

    assert made([Decimal("1.00"), Decimal(2)]) == [1, 2]
    assert made([True, False]) == [1, 0]
    assert made(["a", ""]) == ["a", ""]
    assert made([1.0, 2.0]) == [1, 2]
    assert [type(each) for each in made(np.array([1, 2], dtype="int8"))] == [int, int]
    assert made([0.5, 1.0]) is made([Decimal("0.5")]) is made([pd.Timestamp("2024-01-01")]) is made([b"x"]) is None
    assert made([2**63]) is made([Decimal(10) ** 30]) is None


@given(st.lists(st.text(max_size=12), min_size=2, max_size=6, unique=True))
def test_classes_have_columns_of_their_own_or_are_refused(names):
    task = hr.Multiclass(LABELS["y"])
    made = [name.lower() for name in columns("Multiclass", names)]
    try:
        task.check_classes(pd.Series(names, dtype=object))
    except DataError as refused:
        assert "differ only in upper and lower case" in str(refused)  # noqa: PT017
        assert len(set(made)) < len(made)
    else:
        assert len(set(made)) == len(made)
