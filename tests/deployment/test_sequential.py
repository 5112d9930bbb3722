"""A stop is right at any look: equal versions are stopped rarely however often one looks, worse ones soon."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from headrace.deployment.sequential import needed, radius, rate_above, worse

ALPHA = 0.05


def ever(evidence):
    """The share of the runs in which a look believes it."""
    return float(np.mean([max(run) >= needed(ALPHA) for run in evidence]))


@pytest.mark.parametrize("limit", [0.002, 0.01, 0.2])
def test_a_rate_at_its_limit_is_stopped_less_often_than_alpha_and_a_fixed_test_is_not(limit):
    draw = np.random.default_rng(1)
    looks = range(50, 5001, 50)
    runs = [np.cumsum(draw.random(5000) < limit) for _ in range(300)]

    ours = ever([[rate_above(int(run[n - 1]), n, limit) for n in looks] for run in runs])
    naive = np.mean([any(stats.binom.sf(run[n - 1] - 1, n, limit) < ALPHA for n in looks) for run in runs])

    assert ours <= ALPHA
    assert naive > 2 * ALPHA  # what looking again and again does to a test that is meant for one look


@pytest.mark.parametrize(("rate", "within"), [(0.5, 20), (0.1, 200), (0.02, 8000)])
def test_a_rate_that_is_too_high_is_stopped_soon(rate, within):
    draw = np.random.default_rng(2)
    runs = [np.cumsum(draw.random(within) < rate) for _ in range(50)]

    stopped = ever([[rate_above(int(run[n - 1]), n, 0.01) for n in range(5, within + 1, 5)] for run in runs])

    assert stopped >= 0.95


def test_no_error_is_no_evidence_and_all_errors_are():
    assert rate_above(0, 0, 0.01) == pytest.approx(0)
    assert rate_above(0, 10_000, 0.01) < 0
    assert rate_above(3, 3, 0.01) > needed(ALPHA)
    assert math.isfinite(rate_above(10**7, 10**7, 0.001))
    for limit in (0, 1, float("nan")):
        with pytest.raises(ValueError, match="no rate"):
            rate_above(1, 2, limit)


def _two(draw, candidate, primary, rows):
    """Accuracies of two versions that answer different rows, and the variance of their difference, at each look."""
    looks = np.arange(200, rows + 1, 100)
    mine = np.cumsum(draw.random(rows) < candidate)[looks - 1] / looks
    other = np.cumsum(draw.random(4 * rows) < primary)[4 * looks - 1] / (4 * looks)
    return other - mine, mine * (1 - mine) / looks + other * (1 - other) / (4 * looks)


@pytest.mark.parametrize(("candidate", "least", "most"), [(0.80, 0.0, 0.01), (0.78, 0.0, ALPHA), (0.72, 0.98, 1.0)])
def test_two_versions_are_told_apart_beyond_the_margin_only(candidate, least, most):
    draw = np.random.default_rng(3)
    evidence = []
    for _ in range(200):
        gaps, variances = _two(draw, candidate, 0.80, 5000)
        evidence.append(
            [worse(gap, variance, margin=0.02, scale=0.02) for gap, variance in zip(gaps, variances, strict=True)]
        )

    assert least <= ever(evidence) <= most


def test_the_confidence_sequence_holds_the_truth_at_all_looks_together():
    draw = np.random.default_rng(4)
    missed = 0
    for _ in range(300):
        gaps, variances = _two(draw, 0.75, 0.80, 4000)
        reach = np.array([radius(variance, scale=0.02, alpha=ALPHA) for variance in variances])
        missed += bool(np.any(np.abs(gaps - 0.05) > reach))

    assert missed / 300 <= ALPHA


@pytest.mark.parametrize("value", [-0.3, -0.05, 0.0, 0.02, 0.11])
@pytest.mark.parametrize("variance", [1e-5, 1e-3, 1.0])
def test_the_one_sided_evidence_is_the_integral_that_it_stands_for(value, variance):
    def ratio(theta):
        return 2 * stats.norm.pdf(theta, scale=0.03) * math.exp(theta * value / variance - theta**2 / (2 * variance))

    expected, _ = integrate.quad(ratio, 0, 0.6, points=[max(value, 0.001)], limit=500)
    if 1e-250 < expected < 1e250:
        assert worse(value, variance, margin=0, scale=0.03) == pytest.approx(math.log(expected), abs=1e-2)


def test_what_is_much_better_is_no_evidence_and_no_error():
    assert worse(-5.0, 1e-8, margin=0.01, scale=0.01) < 0
    assert worse(5.0, 1e-8, margin=0.01, scale=0.01) > needed(1e-9)
