"""The tier `frame`: what the estimator gets, and what it answers, are those of batch scoring, to the last bit."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from headrace.core.errors import DataError, UserCodeError
from headrace.serving.predictors.base import UnfitError
from headrace.serving.predictors.choose import choose
from headrace.serving.predictors.data_frame import Frame
from headrace.serving.predictors.generic import Generic

from . import making


class Sums:
    """Rounds by the order in which values lie in memory; changes and keeps what it gets."""

    def __init__(self):
        self.kept = []

    def predict(self, X):
        self.kept.append(X)
        total = X.to_numpy().sum(axis=1) + X.mean(axis=1) + X["a"] * 1e-17
        X["a"] = 0.0
        return total


class Describes:
    """Answers by what it was given: types, names, index, layout in memory."""

    def predict(self, X):
        told = [
            [str(kind) for kind in X.dtypes],
            list(X.columns),
            str(X.columns.dtype),
            type(X.index).__name__,
            X.index.tolist(),
            X.to_numpy().strides,
        ]
        return np.full(len(X), float(sum(map(ord, repr(told)))))


class Odds:
    """A classifier of its own, whose classes come in another order than the labels."""

    classes_ = np.array([1, 0])

    def predict(self, X):
        return (X["a"] > 0).astype(int)

    def predict_proba(self, X):
        p = 1 / (1 + np.exp(-X["a"].fillna(0).to_numpy() - X.to_numpy()[:, 1] * 0.25))
        p = np.nan_to_num(p, nan=0.5)
        return np.column_stack([p, 1 - p])


def fitted(kind, X, y):
    if kind in (Sums, Describes, Odds):
        return kind()
    if kind == "columns":
        by_name = ColumnTransformer([("scaled", StandardScaler(), ["a", "b"])], remainder="passthrough")
        return make_pipeline(by_name, Ridge()).fit(X, y)
    return make_pipeline(FunctionTransformer(np.tanh), LogisticRegression()).fit(X, y)


@pytest.mark.parametrize(
    ("kind", "task", "missing"),
    [
        (Sums, "Regression", False),
        (Describes, "Regression", True),
        (Odds, "Binary", True),
        ("columns", "Regression", False),
        ("classes", "Binary", False),
    ],
    ids=lambda each: each if isinstance(each, str) else getattr(each, "__name__", str(each)),
)
def test_answers_of_any_rows_are_those_of_batch_scoring(tmp_path, kind, task, missing):
    frame = making.rows(400, missing=missing)
    y = making.labels(frame) if task == "Regression" else (making.labels(frame) > 1).astype(int)
    classes = () if task == "Regression" else (0, 1)
    folder, parity = making.logged(
        tmp_path / "copy", lambda X, y: fitted(kind, X, y), frame, y, task=task, classes=classes
    )
    chosen, slower = choose(folder, parity)
    assert (chosen.tier, len(slower)) == ("frame", 1)

    generic = Generic(folder)
    draw = np.random.default_rng(7)
    for count in (1, 2, 3, 17, 100, 1000):
        rows = making.rows(count, seed=count, missing=missing).to_numpy().tolist()
        if count > 3:
            rows[0] = [-0.0, 7, 1e300]
            rows[1] = [5e-324, 2**53 + 1, -1e-300]
            rows[2] = [True, False, float(draw.normal())]
        assert chosen.many(rows) == generic.many(rows), count
        assert [chosen.one(row) for row in rows[:5]] == [generic.one(row) for row in rows[:5]]


def test_what_an_estimator_kept_of_one_row_does_not_change_with_the_next(tmp_path):
    frame = making.rows(50, missing=False)
    folder, _ = making.logged(
        tmp_path / "copy", lambda X, y: Sums(), frame, making.labels(frame), task="Regression", classes=()
    )
    predictor = Frame(folder)
    predictor.one([1.0, 2, 3.0])
    predictor.one([4.0, 5, 6.0])
    kept = predictor._scorer._estimator.fitted.kept[-2:]
    assert [each["b"].tolist() for each in kept] == [[2.0], [5.0]]


def test_a_model_with_texts_takes_the_way_of_batch_scoring(tmp_path):
    frame = making.rows(50, texts=True, missing=False)
    folder, _ = making.logged(
        tmp_path / "copy", lambda X, y: Counts(), frame, making.labels(frame), task="Regression", classes=()
    )
    with pytest.raises(UnfitError):
        Frame(folder)


class Counts:
    def predict(self, X):
        return np.arange(len(X), dtype="float64")


class Fails:
    def predict(self, X):
        if X["a"].iloc[0] > 1000:
            raise KeyError("nothing is that large")
        if X["a"].isna().any():
            raise ValueError("Input X contains NaN.")
        return X["a"]


def test_errors_are_those_of_batch_scoring(tmp_path):
    frame = making.rows(50, missing=False)
    folder, _ = making.logged(
        tmp_path / "copy", lambda X, y: Fails(), frame, making.labels(frame), task="Regression", classes=()
    )
    told = []
    for predictor in (Frame(folder), Generic(folder)):
        with pytest.raises(UserCodeError, match="KeyError") as failed:
            predictor.one([2000.0, 1, 1.0])
        with pytest.raises((UserCodeError, DataError)) as refused:
            predictor.one([None, 1, 1.0])
        told.append((str(failed.value), type(refused.value), str(refused.value)))
    assert told[0] == told[1]


def test_a_frame_of_the_block_is_the_frame_of_columns():
    names, block = ["a", "b"], np.arange(6.0).reshape(3, 2)
    ours = pd.DataFrame(np.array(block.T, order="C").T, columns=pd.Index(names), copy=False)
    theirs = pd.DataFrame({name: pd.Series(block[:, place]) for place, name in enumerate(names)})
    pd.testing.assert_frame_equal(ours, theirs)
    assert ours.to_numpy().strides == theirs.to_numpy().strides
