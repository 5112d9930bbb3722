"""Estimators of scikit-learn on a block: the bits of MLflow's pyfunc, and its errors; what needs a DataFrame gets one."""

import pickle
import shutil
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVR
from tests.serving.predictors import making

from headrace.core.errors import DataError, HeadraceError
from headrace.serving.predictors import Generic, Native, choose

MIDDLE = ("high", "low", "middle")


def named(places):
    return places.map(lambda place: MIDDLE[place])


@pytest.mark.parametrize(
    ("task", "classes", "estimator"),
    [
        ("Regression", (), LinearRegression()),
        ("Regression", (), make_pipeline(StandardScaler(), PolynomialFeatures(3), Ridge())),
        ("Regression", (), make_pipeline(StandardScaler(), SVR())),
        ("Regression", (), VotingRegressor([("one", Ridge()), ("two", ExtraTreesRegressor(20, n_jobs=2))])),
        ("Binary", (0, 1), LogisticRegression()),
        ("Binary", (0, 1), make_pipeline(StandardScaler(), MLPClassifier((20, 10), max_iter=800, random_state=0))),
        ("Binary", (0, 1), CalibratedClassifierCV(LogisticRegression(), cv=3)),
        ("Binary", (0, 1), RandomForestClassifier(30, random_state=0, n_jobs=2)),
        ("Multiclass", MIDDLE, GradientBoostingClassifier(n_estimators=10)),
        ("Multiclass", MIDDLE, KNeighborsClassifier(7, n_jobs=2)),
        ("Multiclass", MIDDLE, HistGradientBoostingClassifier(max_iter=10)),
    ],
    ids=lambda value: getattr(type(value), "__name__", "") if hasattr(value, "fit") else None,
)
def test_the_bits_of_pyfunc_without_a_frame_and_without_a_warning(tmp_path, task, classes, estimator):
    frame = making.rows(300, missing=False)
    score = making.labels(frame)
    y = score if task == "Regression" else pd.qcut(score, len(classes), labels=False)
    y = named(y) if classes == MIDDLE else y
    folder, parity = making.logged(tmp_path / "logged", estimator.fit, frame, y, task=task, classes=classes)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen, slower = choose(folder, parity)

        assert (chosen.tier, slower) == ("native", [])
        asked = making.rows(150, seed=5, missing=False).to_numpy().tolist()
        for count in (1, 2, 3, 64, 150):
            assert chosen.many(asked[:count]) == Generic(folder).many(asked[:count])
        assert [chosen.one(row) for row in asked[:5]] == [Generic(folder).one(row) for row in asked[:5]]


@pytest.mark.parametrize(
    "estimator", [HistGradientBoostingRegressor(max_iter=10), make_pipeline(SimpleImputer(), Ridge())]
)
def test_missing_values_go_where_they_are_taken(tmp_path, estimator):
    frame = making.rows(300)
    folder, parity = making.logged(
        tmp_path / "logged",
        estimator.fit,
        frame,
        making.labels(frame),
        task="Regression",
        classes=(),
    )

    assert choose(folder, parity)[0].tier == "native"
    assert any(None in row for row in parity.rows)


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    frame = making.rows(300, missing=False)
    y = (making.labels(frame) > 1).astype(int)
    place = tmp_path_factory.mktemp("forest") / "logged"
    return making.logged(place, lambda X, y: RandomForestClassifier(20, random_state=0).fit(X, y), frame, y)


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    frame = making.rows(300, missing=False)
    y = (making.labels(frame) > 1).astype(int)
    place = tmp_path_factory.mktemp("line") / "logged"
    return making.logged(place, lambda X, y: LogisticRegression().fit(X, y), frame, y)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("row", [[None, 1, 1], [1e300, 1, 1], [1, None, None]])
def test_what_an_estimator_refuses_is_refused(line, forest, row):
    """Checks that are left out for finite numbers are made for others."""
    for folder, _ in (line, forest):
        said = []
        for tier in (Native(folder), Generic(folder)):
            try:
                said.append(tier.one(row))
            except (ValueError, HeadraceError) as error:
                said.append([kind for kind in ("is missing", "is infinite", "contains infinity") if kind in str(error)])
        assert said[0] == said[1]
        assert said[0]


def test_the_order_of_classes_is_that_of_the_package(tmp_path):
    frame = making.rows(300, missing=False)
    y = named(pd.qcut(making.labels(frame), 3, labels=False))

    def fit(X, y):
        made = GradientBoostingClassifier(n_estimators=5).fit(X, y)
        order = [2, 0, 1]
        made.classes_ = made.classes_[order]
        return made

    folder, parity = making.logged(tmp_path / "logged", fit, frame, y, task="Multiclass", classes=MIDDLE)

    assert choose(folder, parity)[0].tier == "native"


class Halved(LogisticRegression):
    """A user's own estimator: it may look at its columns by name."""

    def predict_proba(self, X):
        return super().predict_proba(X)


def columns_by_name():
    return ColumnTransformer([("colour", OneHotEncoder(), ["b"])], remainder="passthrough")


@pytest.mark.parametrize(
    ("texts", "estimator", "reason"),
    [
        (False, make_pipeline(columns_by_name(), LogisticRegression()), "ColumnTransformer takes columns by name"),
        (False, make_pipeline(FunctionTransformer(np.abs), LogisticRegression()), "FunctionTransformer takes columns"),
        (False, Halved(), "Halved is no part of scikit-learn"),
        (True, HistGradientBoostingClassifier(max_iter=5), "texts are categories of pandas"),
    ],
    ids=["columns", "function", "own", "texts"],
)
def test_what_needs_a_frame_gets_one(tmp_path, texts, estimator, reason):
    frame = making.rows(300, texts=texts, missing=False)
    y = (making.labels(frame) > 1).astype(int)
    folder, parity = making.logged(tmp_path / "logged", estimator.fit, frame, y)

    chosen, slower = choose(folder, parity)

    assert chosen.tier == ("generic" if texts else "frame")
    assert [each.startswith(f"native: {reason}") for each in slower] == [True]


class Mean:
    """No estimator of anybody."""

    def predict(self, X):
        return X["a"].to_numpy() * 2


def test_an_object_that_only_predicts_gets_a_frame(tmp_path):
    frame = making.rows(100, missing=False)
    folder, parity = making.logged(
        tmp_path / "logged", lambda X, y: Mean(), frame, making.labels(frame), task="Regression", classes=()
    )

    chosen, slower = choose(folder, parity)

    assert chosen.tier == "frame"
    assert slower == ["native: Mean is no estimator of scikit-learn"]


def test_other_weights_are_left(line, tmp_path):
    folder = shutil.copytree(line[0], tmp_path / "other")
    file = folder / "data" / "package" / "estimator" / "model.pkl"
    estimator = pickle.loads(file.read_bytes())
    estimator.coef_ = estimator.coef_ * (1 + 1e-12)
    file.write_bytes(pickle.dumps(estimator))

    with pytest.raises(DataError) as refused:
        choose(folder, line[1])
    assert "samples differ" in refused.value.findings[0]


def test_one_row_and_many_at_the_same_time(forest):
    native = Native(forest[0])
    rows, outputs = making.given(forest[1])
    wrong, ended = [], threading.Event()

    def many():
        while not ended.is_set():
            if native.many(rows) != outputs:
                wrong.append("many")

    thread = threading.Thread(target=many)
    thread.start()
    wrong += [row for row, output in zip(rows, outputs, strict=True) if native.one(row) != output]
    ended.set()
    thread.join()
    assert wrong == []
