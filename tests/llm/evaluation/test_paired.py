import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import DataError, DeclarationError
from headrace.llm.evaluation.paired import compare, mcnemar

SHARES = st.floats(0, 1, width=16)


def scores(rows, shift, seed=0, places=None):
    random = np.random.default_rng(seed)
    before = random.normal(size=rows)
    after = before + shift + random.normal(size=rows)
    return (before, after) if places is None else (before.round(places), after.round(places))


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(higher, lower):
    expected = scipy.stats.binomtest(higher, higher + lower).pvalue if higher + lower else 1.0

    assert mcnemar(higher, lower) == pytest.approx(expected)


def test_mcnemar_of_many_rows():
    assert mcnemar(50_500, 49_500) == pytest.approx(scipy.stats.binomtest(50_500, 100_000).pvalue, rel=1e-6)
    assert mcnemar(100_000, 0) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SHARES, SHARES), min_size=2, max_size=9))
def test_the_exact_test_is_that_of_scipy(pairs):
    before, after = map(np.array, zip(*pairs, strict=True))
    found = compare(before, after, draws=100)
    expected = scipy.stats.permutation_test(
        (after, before), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True
    )

    if found.test == "sign flips, exact" and (after != before).any():
        assert found.p_value == pytest.approx(expected.pvalue)
        assert found.difference == pytest.approx(expected.statistic)


@pytest.mark.parametrize(("rows", "test"), [(200, "sign flips, drawn"), (20_000, "sign flips, normal")])
@pytest.mark.parametrize("shift", [0.0, 0.01, 0.15])
def test_drawn_and_normal_tests_agree_with_the_t_test(rows, test, shift):
    before, after = scores(rows, shift)
    found = compare(before, after, draws=200)

    assert found.test == test
    assert found.p_value == pytest.approx(scipy.stats.ttest_rel(after, before).pvalue, abs=0.02)


@pytest.mark.parametrize("places", [None, 0], ids=["distinct", "few distinct"])
def test_the_interval_is_that_of_scipys_bootstrap(places):
    before, after = scores(300, 0.2, places=places)
    found = compare(before, after, draws=20_000, level=0.9)
    expected = scipy.stats.bootstrap(
        (after - before,), np.mean, confidence_level=0.9, n_resamples=20_000, method="percentile", random_state=1
    ).confidence_interval

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)
    assert found.low < found.difference < found.high


def test_the_interval_covers_as_often_as_it_says():
    covered = sum(
        found.low <= 0.3 <= found.high for seed in range(200) for found in [compare(*scores(60, 0.3, seed), draws=300)]
    )

    assert 0.89 < covered / 200 < 0.98


def test_zero_and_one_are_compared_by_mcnemar():
    before, after = np.array([0, 0, 0, 0, 0, 0, 1, 1]), np.array([1, 1, 1, 1, 1, 1, 1, 0])
    found = compare(before, after)

    assert (found.test, found.higher, found.lower) == ("McNemar, exact", 6, 1)
    assert found.p_value == pytest.approx(0.125)
    assert str(found).startswith("0.2500 → 0.8750 on 8 rows: +0.6250 (")


@given(st.lists(st.tuples(SHARES, SHARES), min_size=2, max_size=60))
@settings(deadline=None)
def test_the_same_seed_gives_the_same_and_turning_round_turns_the_sign(pairs):
    before, after = zip(*pairs, strict=True)
    one, again, turned = (compare(*each, draws=100) for each in ((before, after), (before, after), (after, before)))

    assert one == again
    assert turned.difference == pytest.approx(-one.difference)
    assert (turned.higher, turned.lower) == (one.lower, one.higher)
    assert 0 < one.p_value <= 1 or one.p_value == 0
    assert one.low - 1e-9 <= one.difference <= one.high + 1e-9 or len(pairs) < 8


def test_rows_without_a_value_are_left_out_of_both_and_counted():
    found = compare([0.1, None, 0.3, math.nan, 0.5], [0.2, 0.9, 0.3, 0.1, None])

    assert (found.rows, found.undefined) == (2, 3)
    assert found.before == pytest.approx(0.2)


def test_versions_that_are_equal_do_not_differ():
    found = compare([0.25] * 30, [0.25] * 30)

    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ([1, 2], [1], "2 before, 1 after"),
        ([], [], "0 of 0 rows"),
        ([1, None], [1, 1], "1 of 2 rows"),
        ([1, math.inf], [1, 1], "not all finite"),
        (["x", 1], [1, 1], "not all finite"),
    ],
)
def test_what_cannot_be_compared_is_said(before, after, says):
    with pytest.raises(DataError, match=says):
        compare(before, after)


@pytest.mark.parametrize("option", [{"level": 1.0}, {"level": "0.9"}, {"draws": 0}, {"seed": -1}, {"seed": True}])
def test_options_are_checked(option):
    with pytest.raises(DeclarationError):
        compare([1, 2], [2, 3], **option)
