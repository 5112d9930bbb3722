"""Intervals cover the truth as often as they say, and agree with slow computations."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.training.intervals import difference, interval
from headrace.training.measures import evaluate
from headrace.training.metrics.known import BUILT_IN
from headrace.training.metrics.roc_auc import delong
from headrace.training.output import baseline_output

LABELS = hr.Table("s.labels", key="id", time="at", sql="select 1 as id, now() as at, 1 as y")
BINARY, CLASSES, NUMBER = (kind(label=LABELS["y"]) for kind in (hr.Binary, hr.Multiclass, hr.Regression))


def binary(seed, rows, gap=1.0):
    draw = np.random.default_rng(seed)
    y = pd.Series(draw.integers(0, 2, rows).astype(float))
    score = 1 / (1 + np.exp(-(draw.normal(0, 1, rows) + gap * (y - 0.5))))
    return y, pd.DataFrame({"probability": score})


def components(y, score):
    """The structural components of DeLong's estimator, pair by pair."""
    up, down = score[y == 1], score[y == 0]
    wins = (up[:, None] > down[None, :]) + 0.5 * (up[:, None] == down[None, :])
    return wins.mean(axis=1), wins.mean(axis=0)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(12, 60))
def test_delong_is_what_all_pairs_say_ties_included(seed, rows):
    draw = np.random.default_rng(seed)
    y = np.r_[np.zeros(rows // 2), np.ones(rows - rows // 2)]
    scores = [np.round(draw.random(rows), 1), np.round(draw.random(rows), 1)]
    pairs = [components(y, score) for score in scores]
    expected = sum(np.cov(np.vstack([pair[side] for pair in pairs])) / len(pairs[0][side]) for side in (0, 1))
    np.testing.assert_allclose(delong(y, scores), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "brier", "accuracy"])
def test_a_95_percent_interval_covers_the_truth_about_95_times_in_100(metric):
    y, output = binary(1, 200_000)
    truth = interval(BINARY, metric, y, output).value
    hits = 0
    for number in range(200):
        places = slice(number * 500, (number + 1) * 500)
        found = interval(BINARY, metric, y[places], output[places])
        hits += found.low <= truth <= found.high
    assert 180 <= hits <= 199


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_for_numbers_too(metric):
    draw = np.random.default_rng(2)
    y = pd.Series(draw.normal(0, 1, 40_000))
    output = pd.DataFrame({"prediction": 0.7 * y + draw.normal(0, 0.5, len(y))})
    truth = (
        interval(NUMBER, metric, y, output).value if metric != "r2" else 1 - np.mean((y - output["prediction"]) ** 2)
    )
    hits = 0
    for number in range(40):
        places = slice(number * 300, (number + 1) * 300)
        found = interval(NUMBER, metric, y[places], output[places])
        hits += found.low <= truth <= found.high
    assert hits >= 34


def test_a_model_does_not_differ_from_itself():
    y, output = binary(3, 500)
    for metric in ("roc_auc", "log_loss", "brier", "accuracy", "average_precision"):
        found = difference(BINARY, metric, y, output, output)
        assert found.value == 0
        assert found.error == pytest.approx(0, abs=1e-9)
        assert found.not_worse(0.001, alpha=0.05)


def test_a_much_worse_model_is_seen_and_a_little_worse_one_needs_more_rows():
    y, good = binary(4, 4_000, gap=1.5)
    _, poor = binary(4, 4_000, gap=0.5)
    assert not difference(BINARY, "roc_auc", y, good, poor).not_worse(0.01, alpha=0.05)
    assert difference(BINARY, "roc_auc", y, poor, good).not_worse(0.0, alpha=0.05)
    few = slice(0, 60)
    assert not difference(BINARY, "roc_auc", y[few], good[few], good[few] * 0.5 + poor[few] * 0.5).not_worse(
        0.0, alpha=0.05
    )


def test_low_is_good_where_low_is_good():
    y = pd.Series(np.random.default_rng(5).normal(0, 1, 1_000))
    good, poor = (pd.DataFrame({"prediction": y + offset}) for offset in (0.1, 0.9))
    found = difference(NUMBER, "mae", y, poor, good)
    assert found.value < 0 < found.gain
    assert found.not_worse(0.0, alpha=0.05)
    assert not difference(NUMBER, "mae", y, good, poor).not_worse(0.1, alpha=0.05)


def test_the_share_of_wrong_passes_at_the_margin_is_alpha():
    passes = 0
    for number in range(300):
        draw = np.random.default_rng(number)
        y = pd.Series(draw.normal(0, 1, 400))
        champion = pd.DataFrame({"prediction": y + draw.normal(0, 1, 400)})
        challenger = pd.DataFrame({"prediction": y + draw.normal(0, 1, 400) * 1.1})
        truth = (1.1 - 1) * np.sqrt(2 / np.pi)  # the true loss in mean absolute error is the margin itself
        passes += difference(NUMBER, "mae", y, champion, challenger).not_worse(truth, alpha=0.05)
    assert 4 <= passes <= 30


def test_without_two_classes_there_is_no_area():
    y, output = binary(6, 100)
    assert interval(BINARY, "roc_auc", y * 0, output) is None
    assert difference(BINARY, "roc_auc", y * 0, output, output) is None
    assert interval(BINARY, "brier", y[:0], output[:0]) is None


def test_the_baseline_is_the_best_constant():
    y = pd.Series([1.0, 0.0, 0.0, 0.0])
    assert baseline_output(BINARY, y)(2)["probability"].tolist() == [0.25, 0.25]
    classes = baseline_output(CLASSES, pd.Series(["a", "b", "b"]))(1)
    assert classes.to_dict("records") == [{"prediction": "b", "probability_a": 1 / 3, "probability_b": 2 / 3}]
    assert baseline_output(NUMBER, y)(3)["prediction"].tolist() == [0.25] * 3


def test_classes_by_rows_and_by_drawing():
    draw = np.random.default_rng(7)
    y = pd.Series(draw.choice(["a", "b", "c"], 400))
    right = draw.random(400) < 0.8
    output = pd.DataFrame({"prediction": np.where(right, y, "a")})
    for name in "abc":
        output[f"probability_{name}"] = np.where(output["prediction"] == name, 0.8, 0.1)
    for metric in ("accuracy", "log_loss", "f1_macro"):
        found = interval(CLASSES, metric, y, output)
        assert found.low < found.value < found.high
    assert interval(CLASSES, "f1_macro", y, output) == interval(CLASSES, "f1_macro", y, output)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from(["average_precision", "f1_macro", "r2"]))
def test_rows_that_count_several_times_are_as_if_they_stood_there_several_times(seed, metric):
    draw = np.random.default_rng(seed)
    places = draw.integers(0, 30, 30)
    task = {"average_precision": BINARY, "f1_macro": CLASSES, "r2": NUMBER}[metric]
    if task is CLASSES:
        y, output = pd.Series(draw.choice(list("abc"), 30)), pd.DataFrame({"prediction": draw.choice(list("abcd"), 30)})
    else:
        y = pd.Series(draw.integers(0, 2, 30).astype(float))
        output = pd.DataFrame(dict.fromkeys(("probability", "prediction"), np.round(draw.random(30), 1)))
    expected = evaluate(task, y.iloc[places], output.iloc[places], metrics=[metric])[0].value
    found = BUILT_IN[metric].resampled(y, output)(np.bincount(places, minlength=30).astype(float))
    assert found == pytest.approx(expected, rel=1e-12)


def test_drawing_rows_gives_the_error_that_delong_computes():
    y, output = binary(8, 400)
    draw, areas = np.random.default_rng(0), []
    for _ in range(1_000):
        places = draw.integers(0, 400, 400)
        areas.append(evaluate(BINARY, y.iloc[places], output.iloc[places], metrics=["roc_auc"])[0].value)
    error = np.sqrt(delong(y.to_numpy(), [output["probability"].to_numpy()])[0, 0])
    assert np.std(areas) == pytest.approx(error, rel=0.1)


def test_one_row_of_a_class_leaves_everything_possible():
    y = pd.Series([1.0] + [0.0] * 49)
    output = pd.DataFrame({"probability": np.linspace(0.9, 0.1, 50)})
    found = interval(BINARY, "roc_auc", y, output)
    assert (found.value, found.low, found.high) == (1, 0, 1)
    assert difference(BINARY, "roc_auc", y, output, output[::-1].reset_index(drop=True)).p_worse(0.1) == 0.5


@given(st.integers(0, 1_000), st.sampled_from(["roc_auc", "log_loss", "brier", "accuracy", "average_precision"]))
@settings(max_examples=30, deadline=None)
def test_turned_round_the_difference_changes_its_sign(seed, metric):
    y, one = binary(seed, 80)
    other = one.sample(frac=1, random_state=seed).reset_index(drop=True)
    there, back = difference(BINARY, metric, y, one, other), difference(BINARY, metric, y, other, one)
    assert there.value == -back.value
    assert there.error == pytest.approx(back.error, rel=1e-6, abs=1e-12)
    assert there.low == pytest.approx(-back.high)
    assert difference(BINARY, metric, y, one, one).p_worse(0) == 0
