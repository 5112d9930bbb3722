"""Calibration and metrics against scikit-learn, estimators kept and read back, and functions that go wrong."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

import headrace as hr
from headrace.core.errors import UserCodeError
from headrace.training.calibration import isotonic
from headrace.training.estimator import LOADERS, adopt
from headrace.training.measures import by_name, evaluate
from headrace.training.train import fit
from headrace.training.tune import search

LABELS = hr.Table("s.labels", key="id", time="known_at", sql="select 1")
SPINE = hr.Table("s.decisions", key="id", sql="select 1")


@pytest.fixture(scope="module")
def drawn():
    draw = np.random.default_rng(5)
    X = pd.DataFrame({"a": draw.normal(size=400), "b": draw.normal(size=400)})
    X.loc[::17, "b"] = np.nan
    y = (X["a"] + draw.normal(size=400) > 0).astype("int64")
    return X, y


def test_calibration_is_that_of_scikit_learn(drawn):
    X, y = drawn
    raw = (1 / (1 + np.exp(-X["a"]))).to_numpy()
    ours = isotonic(raw, y)
    theirs = IsotonicRegression(out_of_bounds="clip", y_min=0.001, y_max=0.999).fit(raw, y)
    asked = np.linspace(-0.5, 1.5, 1001)

    assert ours.apply(asked) == pytest.approx(theirs.predict(asked), abs=1e-12)
    assert roc_auc_score(y, ours.apply(raw)) >= roc_auc_score(y, raw) - 1e-9


def test_metrics_are_those_of_scikit_learn(drawn):
    X, y = drawn
    p = np.clip(1 / (1 + np.exp(-X["a"])), 0.001, 0.999)
    assert by_name(evaluate(hr.Binary(LABELS["y"]), y, pd.DataFrame({"probability": p}))) == pytest.approx(
        {
            "roc_auc": roc_auc_score(y, p),
            "log_loss": log_loss(y, p),
            "brier": brier_score_loss(y, p),
            "average_precision": average_precision_score(y, p),
            "accuracy": ((p >= 0.5) == y).mean(),
        },
        abs=1e-12,
    )
    guess = X["a"] * 0.9
    assert by_name(evaluate(hr.Regression(LABELS["y"]), X["a"], pd.DataFrame({"prediction": guess}))) == pytest.approx(
        {
            "rmse": root_mean_squared_error(X["a"], guess),
            "mae": mean_absolute_error(X["a"], guess),
            "r2": r2_score(X["a"], guess),
        }
    )
    names = pd.Series(np.where(y == 1, "late", "on time"))
    said = pd.DataFrame(
        {"prediction": np.where(p > 0.6, "late", "on time"), "probability_late": p, "probability_on time": 1 - p}
    )
    found = by_name(evaluate(hr.Multiclass(LABELS["y"]), names, said))
    assert found["f1_macro"] == pytest.approx(f1_score(names, said["prediction"], average="macro"))
    assert found["log_loss"] == pytest.approx(log_loss(names, said[["probability_late", "probability_on time"]]))


def test_a_metric_without_meaning_has_no_value_and_a_reason():
    (measure,) = evaluate(
        hr.Binary(LABELS["y"]), pd.Series([1, 1]), pd.DataFrame({"probability": [0.2, 0.4]}), metrics=["roc_auc"]
    )

    assert measure.value is None
    assert "all 2 labels are 1" in measure.reason


@pytest.mark.parametrize(
    "estimator",
    [
        LGBMClassifier(n_estimators=20, verbose=-1),
        HistGradientBoostingClassifier(max_iter=20),
        make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=10)),
        XGBClassifier(n_estimators=20),
    ],
    ids=["lightgbm", "sklearn", "pipeline", "xgboost"],
)
def test_what_is_kept_predicts_what_was_fitted_and_one_row_as_many(estimator, drawn, tmp_path):
    X, y = drawn
    fitted = estimator.fit(X, y)
    ours = adopt(fitted, task="Binary", classes=(0, 1), X=X, y=y)
    ours.save(tmp_path, by_value=())
    back = LOADERS[ours.format](tmp_path, ours.settings)
    expected = ours.probabilities(X, (0, 1))

    assert expected == pytest.approx(fitted.predict_proba(X), abs=1e-7)  # XGBoost's own are rounded to float32
    assert np.array_equal(back.probabilities(X, (0, 1)), expected)
    assert np.array_equal(
        np.vstack([back.probabilities(X.iloc[[n]], (0, 1)) for n in range(0, 400, 40)]), expected[::40]
    )


def test_a_regression_is_kept_too(drawn, tmp_path):
    X, _ = drawn
    fitted = LGBMRegressor(n_estimators=20, verbose=-1).fit(X, X["a"])
    ours = adopt(fitted, task="Regression", classes=(), X=X, y=X["a"])
    ours.save(tmp_path, by_value=())

    assert np.array_equal(LOADERS[ours.format](tmp_path, ours.settings).values(X), fitted.predict(X))


def model(fit_function):
    return hr.Model(
        "m", fit=fit_function, task=hr.Binary(LABELS["y"]), spine=SPINE.at("at"), features=[SPINE.select("a")]
    )


def test_a_function_that_raises_is_shown_where_it_stands(drawn):
    def broken(data, params):
        return data.X["nothing"]

    X, y = drawn
    with pytest.raises(UserCodeError, match="KeyError") as raised:
        fit(model(broken), hr.TrainingData(X=X, y=y, at=y), {})

    assert any("test_figures.py" in line for line in raised.value.findings)
    assert not any("headrace/training" in line for line in raised.value.findings)


def test_a_search_goes_on_where_recorded_values_end():
    tune = hr.Tune({"x": hr.uniform(-1, 1), "k": hr.choice(1, 2, 3)}, trials=8)

    def value(params):
        return -((params["x"] - 0.3) ** 2) - params["k"]

    whole = search(tune, lambda _, params: value(params), direction="maximize")
    recorded = {trial.number: trial.value for trial in whole.trials[:4]}
    again = search(tune, lambda n, params: recorded.get(n, value(params)), direction="maximize")

    assert again == whole
    assert whole.best.value == max(trial.value for trial in whole.trials)
