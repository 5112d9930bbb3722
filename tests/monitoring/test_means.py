"""Means and differences with intervals, held against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from headrace.monitoring.means import Sample, difference, interval, t_quantile


def sample(values):
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Sample(rows=len(values), mean=float(np.mean(values)), deviation=deviation)


@pytest.mark.parametrize("degrees", [1, 1.5, 2, 7, 29.3, 150, 199.9, 200, 1_000, 1e7])
def test_the_quantile_is_scipys(degrees):
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


@pytest.mark.parametrize("rows", [2, 3, 40, 5_000])
def test_the_interval_of_a_mean_is_students(rows):
    values = np.random.default_rng(rows).exponential(3, rows) + 1e6
    found = interval(sample(values))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.value == pytest.approx(values.mean())


def test_one_row_has_a_value_and_no_interval_and_equal_rows_one_without_width():
    assert interval(sample([3.0])).low is None
    assert interval(sample([3.0])).value == 3.0
    assert (interval(sample([2.0, 2.0])).low, interval(sample([2.0, 2.0])).high) == (2.0, 2.0)


@pytest.mark.parametrize(("n", "m"), [(2, 3), (30, 800), (900, 20)])
def test_the_difference_in_one_window_is_welchs(n, m):
    draw = np.random.default_rng(n)
    a, b = draw.normal(5, 1, n), draw.normal(4, 6, m)
    found = difference([(sample(a), sample(b))])
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_a_version_that_came_in_a_bad_month_is_not_blamed_for_the_month():
    draw = np.random.default_rng(1)
    good, bad = 10.0, 0.0
    strata = [
        (sample(draw.normal(good + 1, 1, 50)), sample(draw.normal(good, 1, 950))),
        (sample(draw.normal(bad + 1, 1, 950)), sample(draw.normal(bad, 1, 50))),
    ]
    found = difference(strata)

    assert sum(a.mean * a.rows for a, _ in strata) < sum(b.mean * b.rows for _, b in strata)  # pooled, it looks worse
    assert found.low < 1 < found.high
    assert found.low > 0


def test_the_interval_over_windows_covers_the_true_difference_as_often_as_it_says():
    draw = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        strata = [
            (sample(draw.normal(month + 0.5, 2, 12)), sample(draw.normal(month, 1, rows)))
            for month, rows in ((3, 40), (9, 8), (-4, 20))
        ]
        found = difference(strata)
        hits += found.low <= 0.5 <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_windows_in_which_one_of_the_two_has_hardly_a_row_do_not_count():
    many, one = sample([1.0, 2.0, 3.0]), sample([9.0])
    assert difference([(many, one)]) is None
    assert difference([]) is None
    assert difference([(many, one), (many, many)]).value == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e-90, 1e80, 1e200, 1e300])
def test_the_size_of_the_numbers_changes_nothing_but_the_size_of_the_interval(scale):
    def scaled(by):
        a, b = Sample(rows=40, mean=2.0 * by, deviation=1.5 * by), Sample(rows=70, mean=1.0 * by, deviation=4.0 * by)
        return difference([(a, b), (b, a)])

    found, usual = scaled(scale), scaled(1.0)
    assert (found.low / scale, found.high / scale) == pytest.approx((usual.low, usual.high), rel=1e-9)


@pytest.mark.parametrize("size", [1.7e308, 1e308])
def test_an_interval_whose_ends_no_number_holds_is_none(size):
    wide = Sample(rows=2, mean=size, deviation=size)
    assert (interval(wide).low, interval(wide).high) == (None, None)
    assert difference([(wide, Sample(rows=2, mean=-size, deviation=size))]).high is None
