"""Every statistic against SciPy's."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats
from scipy.spatial import distance

from headrace.monitoring import statistics

NO_BIN_IS_ONE_VALUE = np.zeros(40, dtype=bool)
COUNTS = npst.arrays(np.float64, 7, elements=st.integers(0, 500)).filter(lambda counts: counts.sum() > 0)
WHOLE = npst.arrays(np.int64, st.integers(2, 60), elements=st.integers(0, 9))


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 10, 100, 999, 9_999])
def test_the_chi_squared_tail_is_scipys(degrees):
    for x in np.concatenate([[1e-9, 1e-3, 0.1], degrees * np.array([0.2, 0.5, 0.9, 0.999, 1, 1.001, 1.1, 2, 5, 20])]):
        assert statistics.chi2_sf(float(x), degrees) == pytest.approx(stats.chi2.sf(x, degrees), rel=1e-8, abs=1e-10), x


@given(x=st.floats(0, 1e5), degrees=st.integers(1, 2_000))
def test_the_chi_squared_tail_is_scipys_anywhere(x, degrees):
    assert abs(statistics.chi2_sf(x, degrees) - stats.chi2.sf(x, degrees)) < 1e-10


def test_the_chi_squared_tail_of_nothing_is_certain():
    assert statistics.chi2_sf(0.0, 3) == 1
    assert statistics.chi2_sf(4.0, 0) == 1


@given(statistic=st.floats(0, 1), n=st.integers(1, 10**7), m=st.integers(1, 10**7))
def test_kolmogorovs_tail_is_scipys(statistic, n, m):
    expected = stats.kstwobign.sf(statistic * np.sqrt(n * m / (n + m)))
    assert abs(statistics.kolmogorov_sf(statistic, n, m) - expected) < 1e-10


@given(reference=WHOLE, current=WHOLE)
def test_kolmogorov_smirnov_and_wasserstein_are_exact_where_a_bin_is_a_value(reference, current):
    p, q = (np.bincount(each, minlength=10).astype(float) for each in (reference, current))
    least, most = statistics.kolmogorov_smirnov(p, q, np.ones(10, dtype=bool))
    assert least == most == pytest.approx(stats.ks_2samp(reference, current, method="asymp").statistic, abs=1e-12)
    places = np.arange(10.0)
    expected = stats.wasserstein_distance(reference, current)
    assert statistics.wasserstein(p, q, places, places) == pytest.approx(expected, abs=1e-12)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 400), m=st.integers(2, 400), moved=st.floats(-1, 1))
def test_within_bins_the_truth_lies_inside_the_bounds(seed, n, m, moved):
    draw = np.random.default_rng(seed)
    reference, current = draw.normal(size=n), draw.normal(moved, 1.3, m)
    edges = np.linspace(-8, 8, 41)
    p, q = (np.histogram(each, edges)[0].astype(float) for each in (reference, current))
    assume(p.sum() == n and q.sum() == m)
    least, most = statistics.kolmogorov_smirnov(p, q, NO_BIN_IS_ONE_VALUE)
    true = stats.ks_2samp(reference, current, method="asymp").statistic
    assert least - 1e-12 <= true <= most + 1e-12
    means = [
        np.divide(np.histogram(each, edges, weights=each)[0], counts, out=np.zeros(40), where=counts > 0)
        for each, counts in ((reference, p), (current, q))
    ]
    assert statistics.wasserstein(p, q, *means) == pytest.approx(
        stats.wasserstein_distance(reference, current), abs=16 / 40 + 1e-12
    )


def test_the_distance_does_not_stop_at_empty_bins():
    p, q = np.zeros(40), np.zeros(40)
    p[0], q[39] = 5, 3
    assert statistics.wasserstein(p, q, np.arange(40.0), np.arange(40.0)) == 39


@given(reference=COUNTS, current=COUNTS)
def test_distances_of_shares_are_scipys_and_symmetric(reference, current):
    p, q = reference / reference.sum(), current / current.sum()
    assert statistics.jensen_shannon(reference, current) == pytest.approx(distance.jensenshannon(p, q), abs=1e-7)
    assert statistics.total_variation(reference, current) == pytest.approx(np.abs(p - q).sum() / 2, abs=1e-12)
    assert statistics.largest_difference(reference, current) == pytest.approx(distance.chebyshev(p, q), abs=1e-12)
    for each in (
        statistics.psi,
        statistics.jensen_shannon,
        statistics.total_variation,
        statistics.largest_difference,
    ):
        assert each(reference, current) == pytest.approx(each(current, reference), abs=1e-9)
        assert each(reference, reference) == 0


@given(reference=COUNTS, current=COUNTS)
def test_chi_squared_is_scipys(reference, current):
    known = (reference + current) > 0
    assume(known.sum() > 1)
    expected = stats.chi2_contingency(np.vstack([reference[known], current[known]]), correction=False)
    statistic, p_value = statistics.chi_squared(reference, current)
    assert statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert p_value == pytest.approx(expected.pvalue, abs=1e-9)


def test_without_a_drift_the_index_follows_the_chi_squared_distribution():
    """At a p-value of 1 % about 1 % of undrifted pairs are below, whatever the sizes."""
    draw = np.random.default_rng(4)
    for n, m in ((500, 500), (20_000, 700), (100_000, 100_000)):
        shares = np.array([0.2, *[0.1] * 7, 0.06, 0.04])
        pairs = zip(draw.multinomial(n, shares, 4_000), draw.multinomial(m, shares, 4_000), strict=True)
        p_values = [statistics.psi_p_value(statistics.psi(p * 1.0, q * 1.0), n, m, 10) for p, q in pairs]
        assert np.mean(np.array(p_values) < 0.01) == pytest.approx(0.01, abs=0.006)
        assert stats.kstest(p_values, "uniform").statistic < 0.04


@given(p_values=st.lists(st.floats(0, 1), max_size=30), rate=st.sampled_from([0.01, 0.05, 0.2]))
def test_benjamini_hochberg_is_scipys(p_values, rate):
    expected = (stats.false_discovery_control(p_values) <= rate).tolist() if p_values else []
    found = statistics.benjamini_hochberg(p_values, rate)
    close = [abs(each - rate) < 1e-12 for each in (stats.false_discovery_control(p_values) if p_values else [])]
    assert [a for a, skip in zip(found, close, strict=True) if not skip] == [
        a for a, skip in zip(expected, close, strict=True) if not skip
    ]


@given(n=st.integers(1, 3_000), m=st.integers(1, 3_000), share=st.floats(0, 1), other=st.floats(0, 1))
def test_rare_rows_are_compared_by_fishers_exact_test(n, m, share, other):
    a, b = round(share * n), round(other * m)
    assume(min(a + b, n + m - a - b) <= statistics.EXACT)
    tails = [stats.fisher_exact([[b, m - b], [a, n - a]], alternative=tail).pvalue for tail in ("less", "greater")]
    assert statistics.shares_p_value(a, n, b, m) == pytest.approx(min(1, 2 * min(tails)), rel=1e-6, abs=1e-9)


@given(a=st.integers(600, 9_000), b=st.integers(600, 9_000))
def test_of_many_rows_the_normal_tail_is_near_enough(a, b):
    found = statistics.shares_p_value(a, 10_000, b, 10_000)
    expected = stats.chi2_contingency([[a, 10_000 - a], [b, 10_000 - b]], correction=False).pvalue
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


class TestNewValues:
    def test_none_is_certain(self):
        assert statistics.new_values_p_value(np.array([5.0, 6.0]), np.array([]), 0.5) == 1

    def test_one_new_row_in_windows_alike_is_no_news(self):
        assert statistics.new_values_p_value(np.array([500.0, 400.0, 1.0]), np.array([1.0]), 0.5) > 0.4

    def test_one_new_row_against_a_long_past_is_news(self):
        assert statistics.new_values_p_value(np.array([5e5, 4e5, 1.0]), np.array([1.0]), 0.001) < 0.01

    def test_many_new_rows_of_one_value_are_news(self):
        assert statistics.new_values_p_value(np.array([500.0, 400.0, 20.0]), np.array([20.0]), 0.5) < 1e-5

    def test_many_rare_values_where_all_used_to_be_known_are_news(self):
        counts = np.array([100.0] * 50 + [2.0] * 40)
        assert statistics.new_values_p_value(counts, np.full(40, 2.0), 0.5) < 1e-6

    @pytest.mark.parametrize("levels", [50, 1_000, 100_000])
    def test_undrifted_samples_say_so(self, levels):
        """The level is kept: at most 1 % of undrifted pairs are below 1 %."""
        draw = np.random.default_rng(levels)
        shares = 1 / np.arange(1, levels + 1)
        shares /= shares.sum()
        below = 0
        for _ in range(300):
            p, q = (np.bincount(draw.choice(levels, size, p=shares), minlength=levels) for size in (2_000, 500))
            both, missed = (p + q)[(p + q) > 0], q[(p == 0) & (q > 0)]
            below += statistics.new_values_p_value(both.astype(float), missed.astype(float), 0.2) < 0.01
        assert below <= 6  # of 300; more than that has a chance below 5 % at a true level of 1 %
