"""LightGBM's trees by bit vectors: the bits of LightGBM itself for whatever values, and nothing for other kinds of models."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.training.estimator import LightGBM, Settings
from headrace.training.quick_scorer import FEW, PIECE, QuickScorer

ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-35, -1e-35, 1.1e-35, -1.1e-35, 5e-324, -5e-324, 1.7e308, -1.7e308]


def drawn(seed, count, width):
    """Rows with every odd value, with ties and zeros, and a column of a wide range."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(count, width))
    rows[:, 0] = np.round(rows[:, 0], 1)
    rows[:, -1] = np.exp(40 * rows[:, -1]) * draw.choice([-1, 1], count)
    odd = draw.random(rows.shape) < 0.1
    rows[odd] = draw.choice(ODD, odd.sum())
    return rows


def fitted(seed, width, trees, **params):
    draw = np.random.default_rng(seed)
    rows = drawn(seed, 3000, width)
    rows[np.abs(rows) > 1e200] = 0.0
    known = np.where(np.isfinite(rows), rows, 0.0)
    label = np.tanh(known).sum(axis=1) + draw.normal(size=len(rows))
    if params["objective"] == "binary":
        label = label > 0
    if params["objective"] == "multiclass":
        label = np.digitize(label, [-1.0, 1.0])
    settings = {"verbose": -1, "seed": seed, "num_threads": 1, "min_data_in_leaf": 3, **params}
    return lightgbm.train(settings, lightgbm.Dataset(rows, label.astype(float)), trees)


def predictions(quick, rows):
    """By both of its ways, of which one is for few rows."""
    made = quick.predict(list(np.asfortranarray(rows).T))
    for count in (1, 2, 9, 100, FEW):
        few = quick.predict_few(rows[:count])
        assert few.shape == made[:count].shape
        assert few.tobytes() == made[:count].tobytes()
    return made


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 12),
    trees=st.integers(1, 40),
    objective=st.sampled_from(["binary", "regression", "regression_l1", "huber", "quantile", "multiclass"]),
    leaves=st.sampled_from([2, 5, 31, 32, 33, 64]),
    missing=st.sampled_from([{}, {"zero_as_missing": True}, {"use_missing": False}]),
)
def test_every_bit_is_that_of_lightgbm(seed, width, trees, objective, leaves, missing):
    booster = fitted(
        seed,
        width,
        trees,
        objective=objective,
        num_leaves=leaves,
        num_class=1 + 2 * (objective == "multiclass"),
        **missing,
    )
    rows = drawn(seed + 1, 3000, width)
    quick = QuickScorer.of(booster)
    if quick is None:
        assert all(tree["num_leaves"] == 1 for tree in booster.dump_model()["tree_info"])
        return

    assert predictions(quick, rows).tobytes() == booster.predict(rows).tobytes()


def test_values_at_thresholds_and_beside_them_go_the_same_way():
    booster = fitted(5, 3, 30, objective="binary")
    thresholds = booster.trees_to_dataframe()["threshold"].dropna().to_numpy()
    values = np.concatenate([thresholds, np.nextafter(thresholds, -np.inf), np.nextafter(thresholds, np.inf)])
    rows = np.random.default_rng(0).choice(values, (5000, 3))

    assert predictions(QuickScorer.of(booster), rows).tobytes() == booster.predict(rows).tobytes()


@pytest.mark.parametrize("count", [1, 1023, 1024, 1025, PIECE, PIECE + 1])
def test_any_number_of_rows(count):
    booster, rows = fitted(1, 4, 10, objective="binary"), drawn(2, count, 4)

    assert predictions(QuickScorer.of(booster), rows).tobytes() == booster.predict(rows).tobytes()


@pytest.mark.parametrize(
    "params",
    [
        {"objective": "poisson"},
        {"objective": "regression", "reg_sqrt": True},
        {"objective": "regression", "linear_tree": True},
        {"objective": "binary", "num_leaves": 65},
        {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"objective": "cross_entropy"},
        {"objective": "multiclassova", "num_class": 2},
    ],
    ids=str,
)
def test_another_kind_of_model_is_left_to_lightgbm(params):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(3000, 4))
    label = (rows.sum(axis=1) + draw.normal(size=3000) > 0).astype(float)
    booster = lightgbm.train({"verbose": -1, "min_data_in_leaf": 2, **params}, lightgbm.Dataset(rows, label), 5)

    assert QuickScorer.of(booster) is None


def test_trees_with_more_leaves_are_not_even_taken_apart(monkeypatch):
    """They may be nested more deeply than a reader of JSON goes."""
    booster = fitted(1, 4, 3, objective="regression", num_leaves=200)
    monkeypatch.setattr(booster, "dump_model", lambda: pytest.fail("it was asked for"))

    assert QuickScorer.of(booster) is None


@pytest.mark.parametrize("reloaded", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e301, np.inf])
def test_thresholds_out_of_reach_and_splits_by_what_is_missing(scale, reloaded):
    draw = np.random.default_rng(0)
    rows = np.where(draw.random((3000, 2)) < 0.3, np.nan, draw.normal(size=(3000, 2)) * scale)
    label = np.isnan(rows[:, 0]) + (rows[:, 1] > 0) + draw.normal(size=3000)
    booster = lightgbm.train({"objective": "regression", "verbose": -1}, lightgbm.Dataset(rows, label), 5)
    if reloaded:
        booster = lightgbm.Booster(model_str=booster.model_to_string())
    asked = np.concatenate([rows, drawn(1, 3000, 2), draw.choice([1e300, 1e302, 1e308, 1.7e308, -1e305], (500, 2))])

    assert predictions(QuickScorer.of(booster), asked).tobytes() == booster.predict(asked).tobytes()


def test_categories_are_left_to_lightgbm():
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"a": pd.Categorical(draw.choice(list("xyz"), 500)), "b": draw.normal(size=500)})
    label = (X["a"] == "x").astype(float)
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, label), 5)

    assert QuickScorer.of(booster) is None


@pytest.mark.parametrize(
    "params", [{"objective": "binary", "boosting": "dart"}, {"objective": "multiclass", "num_class": 3}]
)
def test_dropped_trees_and_several_classes(params):
    booster, rows = fitted(3, 4, 20, **params), drawn(4, 3000, 4)
    found, expected = predictions(QuickScorer.of(booster), rows), booster.predict(rows)

    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def test_lightgbm_has_the_say(monkeypatch):
    booster = fitted(1, 4, 10, objective="binary")
    monkeypatch.setattr("headrace.training.quick_scorer.ZERO", 0.5)  # as if another release took more as zero

    assert QuickScorer.of(booster) is None


def test_an_estimator_predicts_the_same_either_way_and_refuses_the_same():
    booster, X = fitted(1, 4, 10, objective="binary"), pd.DataFrame(drawn(2, 2000, 4), columns=list("abcd"))
    plain, quick = LightGBM(booster, Settings()), LightGBM(booster, Settings())
    assert quick.expect_many(1)
    assert not plain.expect_many(16)

    assert quick.probabilities(X, (0, 1)).tobytes() == plain.probabilities(X, (0, 1)).tobytes()
    for each in (plain, quick):
        with pytest.raises(lightgbm.basic.LightGBMError, match="number of features"):
            each.probabilities(X[["a", "b"]], (0, 1))
