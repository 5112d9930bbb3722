import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from headrace.core.errors import DataError
from headrace.llm.evaluation.calibration import calibrate

PAIRS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=20, max_size=60)


def labelled(rows, seed=0, noise=1.0, bias=0):
    random = np.random.default_rng(seed)
    people = random.integers(1, 6, rows)
    return np.clip(people + bias + random.normal(0, noise, rows).round(), 1, 5), people.astype(float)


@settings(max_examples=100, deadline=None)
@given(PAIRS)
def test_kappa_is_that_of_scikit_learn(pairs):
    judge, people = map(list, zip(*pairs, strict=True))
    found = calibrate(judge, people, draws=100)

    if len({*judge, *people}) > 1:
        expected = cohen_kappa_score(judge, people, labels=[1, 2, 3, 4, 5], weights="quadratic")
        assert found.kappa == pytest.approx(expected, abs=1e-9)
        assert found.kappa_interval is not None
    else:
        assert found.kappa is found.kappa_interval is None
        assert "no value" in found.words
    assert found.agreement == np.mean(np.array(judge) == people)
    assert found.bias == pytest.approx(np.mean(judge) - np.mean(people))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=20, max_size=60))
def test_of_two_scores_it_is_cohens_own(pairs):
    judge, people = map(list, zip(*pairs, strict=True))
    found = calibrate(judge, people, draws=100)

    if len({*judge, *people}) > 1:
        assert found.kappa == pytest.approx(cohen_kappa_score(judge, people), abs=1e-9)


def test_intervals_are_those_of_scipy():
    judge, people = labelled(150)
    found = calibrate(judge, people, draws=10_000)

    def kappa(one, other):
        return cohen_kappa_score(one.astype(int), other.astype(int), labels=[1, 2, 3, 4, 5], weights="quadratic")

    drawn = scipy.stats.bootstrap(
        (judge, people), kappa, paired=True, vectorized=False, n_resamples=300, method="percentile", random_state=2
    ).confidence_interval
    agreed = scipy.stats.binomtest(int((judge == people).sum()), 150).proportion_ci(method="wilson")
    bias = scipy.stats.bootstrap(
        (judge - people,), np.mean, n_resamples=10_000, method="percentile", random_state=2
    ).confidence_interval

    assert found.kappa_interval == pytest.approx((drawn.low, drawn.high), abs=0.04)
    assert found.agreement_interval == pytest.approx((agreed.low, agreed.high))
    assert found.bias_interval == pytest.approx((bias.low, bias.high), abs=0.02)


def test_a_bias_is_said_and_none_is_not():
    honest, kind = calibrate(*labelled(200)), calibrate(*labelled(200, bias=1))

    assert "no bias was found" in honest.words
    assert kind.bias_interval[0] > 0.4
    assert "higher than people" in kind.words
    assert calibrate(*labelled(200), seed=0) == honest


def test_scores_that_are_no_levels_are_calibrated_too():
    people = np.linspace(0, 1, 5000)
    found = calibrate(people + 0.1, people, draws=200)

    assert found.bias == pytest.approx(0.1)
    assert 0.8 < found.kappa < 1
    assert found.agreement == 0


@pytest.mark.parametrize("count", [0, 1, 19])
def test_few_labels_say_nothing_but_how_many_are_missing(count):
    people = [3.0] * count + [None] * 50
    found = calibrate([3] * len(people), people)

    assert not found.enough
    assert (found.labels, found.kappa, found.agreement, found.bias) == (count, None, None, None)
    assert f"{20 - count} too few" in found.words
    assert calibrate([3] * 20, [3] * 20).enough


def test_a_labelled_row_without_a_verdict_is_named():
    with pytest.raises(DataError) as error:
        calibrate([1, None, 1, math.nan], [1, 1, None, 1])

    assert error.value.findings == ("row 1", "row 3")
    with pytest.raises(DataError, match="3 verdicts, 2 people"):
        calibrate([1, 2, 3], [1, 2])
