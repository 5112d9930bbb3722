"""Estimates without labels, against slow sums and against what comes of simulated rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.monitoring.estimated_performance import METRICS, RealizedOutcome, estimate, refusal, shift
from headrace.training.measures import evaluate

LABELS = hr.Table("s.labels", key="id", time="at", sql="select 1")
CALIBRATED = hr.Binary(label=LABELS["y"], calibrate="isotonic")


def slow(p):
    """Every row as two rows, a true one of weight p and a false one of weight 1 - p; every pair of them looked at."""
    up, down = p, 1 - p
    wins = (p[:, None] > p[None, :]) + 0.5 * (p[:, None] == p[None, :])
    expected = {"roc_auc": (up[:, None] * down[None, :] * wins).sum() / (up.sum() * down.sum())}
    precision, recall = [], [0.0]
    for threshold in sorted(set(p), reverse=True):
        taken = p >= threshold
        precision.append(up[taken].sum() / taken.sum())
        recall.append(up[taken].sum() / up.sum())
    expected["average_precision"] = sum(np.diff(recall) * precision)
    expected["log_loss"] = np.mean([-a * np.log(a) - b * np.log(b) for a, b in zip(up, down, strict=True)])
    expected["brier"] = np.mean([a * b**2 + b * a**2 for a, b in zip(up, down, strict=True)])
    expected["accuracy"] = np.mean([a if a >= 0.5 else b for a, b in zip(up, down, strict=True)])
    return expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=1, max_size=40))
def test_estimates_are_the_sums_over_all_pairs_ties_included(hundredths):
    p = np.asarray(hundredths) / 100

    assert estimate(p) == pytest.approx(slow(p), rel=1e-9)


def test_the_mean_over_many_worlds_is_the_estimate():
    draw = np.random.default_rng(0)
    p = np.clip(draw.beta(2, 4, 600), 0.01, 0.99)
    output = pd.DataFrame({"probability": p})
    worlds = [
        {each.metric: each.value for each in evaluate(CALIBRATED, pd.Series((draw.random(600) < p) * 1.0), output)}
        for _ in range(200)
    ]
    for metric, value in estimate(p).items():
        came = [world[metric] for world in worlds]
        assert abs(np.mean(came) - value) < 4 * np.std(came) / np.sqrt(len(came)) + 0.002, metric


def test_it_follows_a_change_of_the_rows_without_a_label():
    """Rows that come to be harder: calibrated probabilities nearer the middle, and a lower area under the curve."""
    draw = np.random.default_rng(1)
    for spread in (2.0, 1.0, 0.3):
        p = 1 / (1 + np.exp(-draw.normal(-1, spread, 20_000)))
        y = pd.Series((draw.random(len(p)) < p) * 1.0)
        (came,) = evaluate(CALIBRATED, y, pd.DataFrame({"probability": p}), metrics=["roc_auc"])
        assert estimate(p)["roc_auc"] == pytest.approx(came.value, abs=0.01)


def test_without_rows_or_with_one_possible_class_there_is_nothing_to_estimate():
    assert estimate(np.zeros(0)) == {}
    nothing = {"log_loss": pytest.approx(0), "brier": 0, "accuracy": 1}
    assert estimate(np.ones(3)) == {**nothing, "average_precision": 1}
    assert estimate(np.zeros(3)) == nothing


def test_every_metric_of_a_yes_or_no_task_can_be_estimated():
    from headrace.training.metrics.known import METRICS as DECLARED

    assert set(METRICS) == set(DECLARED["Binary"])


def outcome(came, said=0.2, rows=1000):
    return RealizedOutcome(labelled=rows, label_mean=came, prediction_mean=said)


@pytest.mark.parametrize(
    ("task", "rows", "recent", "reason"),
    [
        (CALIBRATED, 1000, [], ""),
        (CALIBRATED, 1000, [outcome(0.2), outcome(0.22), outcome(0.19)], ""),
        (CALIBRATED, 499, [], "499 rows; 500 are needed (hr.Monitor(min_rows=…))"),
        (hr.Binary(label=LABELS["y"]), 1000, [], "not calibrated"),
        (hr.Regression(label=LABELS["y"]), 1000, [], "Regression"),
        (CALIBRATED, 1000, [outcome(0.35)], "labels have shifted: 0.350 came where 0.200 was predicted"),
        (CALIBRATED, 1000, [outcome(0.08), outcome(0.05), outcome(0.06)], "labels have shifted"),
        (CALIBRATED, 1000, [outcome(0.9), outcome(0.2), outcome(0.2), outcome(0.2)], ""),
    ],
)
def test_where_the_assumptions_do_not_hold_it_says_why(task, rows, recent, reason):
    said = refusal(task, rows, recent, min_rows=500)

    assert reason in said
    assert bool(reason) == bool(said)


def test_shift_is_in_standard_deviations_so_that_rare_labels_count_as_well():
    assert shift([outcome(0.6, said=0.5)]) == pytest.approx(0.2)
    assert shift([outcome(0.04, said=0.01)]) > 0.25
    assert shift([outcome(0.5, rows=100), outcome(0.2, rows=900)]) == pytest.approx(0.03 / 0.4)
    assert shift([outcome(0.1, said=0.0)]) == 0
