"""Statistics of two histograms, and the tail probabilities that they need, without SciPy: importing it takes longer than
the whole job. The tests hold them against SciPy's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

EXACT = 300  # rows of a kind up to which two shares are compared exactly

Counts = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


def chi2_sf(x: float, degrees: int) -> float:
    """The probability that a χ² variable exceeds x: the regularised upper incomplete gamma function Q(k/2, x/2).

    By its series below the mean, by Lentz's continued fraction above (Numerical Recipes, 6.2).
    """
    a, half = degrees / 2, x / 2
    if half <= 0 or degrees < 1:
        return 1.0
    scale = a * math.log(half) - half - math.lgamma(a)
    if half < a + 1:
        return max(0.0, 1.0 - _series(a, half) * math.exp(scale))
    return 0.0 if scale < -745 else _fraction(a, half) * math.exp(scale)  # exp() is 0 below


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while term > total * 1e-16:
        n += 1
        term *= x / n
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    h = d
    for i in range(1, 100_000):
        an = -i * (i - a)
        b += 2
        d = 1 / (an * d + b or tiny)
        c = b + an / c or tiny
        step = d * c
        h *= step
        if abs(step - 1) < 1e-16:
            break
    return h


def beta_cdf(x: float, a: float, b: float) -> float:
    """The probability that a beta variable is at most x: the regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes, 6.4)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return scale * _beta_fraction(x, a, b) / a
    return 1 - scale * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c = 1.0
    d = 1 / (1 - (a + b) * x / (a + 1) or tiny)
    h = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for an in (even, odd):
            d = 1 / (1 + an * d or tiny)
            c = 1 + an / c or tiny
            h *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return h


def kolmogorov_sf(statistic: float, n: int, m: int) -> float:
    """The asymptotic p-value of the two-sample Kolmogorov-Smirnov statistic (Kolmogorov's distribution)."""
    t = statistic * math.sqrt(n * m / (n + m))
    if t < 0.2:  # 1 - 1e-12
        return 1.0
    if t < 1.2:  # the other series converges quickly here: Marsaglia, Tsang and Wang (2003)
        total = sum(math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * t * t)) for k in range(1, 20))
        return max(0.0, 1 - math.sqrt(2 * math.pi) / t * total)
    return min(1.0, max(0.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * t * t) for k in range(1, 101))))


def psi(reference: Counts, current: Counts) -> float:
    """Population stability index over bins: Σ (q - p) ln(q / p), with half a row added to each count.

    Without a drift, psi / (1/n + 1/m) is about χ² with (bins - 1) degrees of freedom; see `psi_p_value`.
    """
    p, q = _smoothed(reference), _smoothed(current)
    return float(np.sum((q - p) * np.log(q / p)))


def psi_p_value(value: float, n: int, m: int, bins: int) -> float:
    """The probability of at least this population stability index between two samples of one population."""
    return chi2_sf(value / (1 / n + 1 / m), bins - 1) if n and m and bins > 1 else 1.0


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """The Jensen-Shannon distance, natural logarithm: the root of the mean divergence from the middle."""
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    return math.sqrt(max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2))


def total_variation(reference: Counts, current: Counts) -> float:
    """Half the sum of the differences of shares."""
    return float(np.abs(reference / reference.sum() - current / current.sum()).sum() / 2)


def largest_difference(reference: Counts, current: Counts) -> float:
    """The largest difference of a share."""
    return float(np.abs(reference / reference.sum() - current / current.sum()).max())


def chi_squared(reference: Counts, current: Counts) -> tuple[float, float]:
    """Pearson's χ² statistic of the two rows of counts, and its p-value. Bins without a row take no part."""
    known = (reference + current) > 0
    observed = np.vstack([reference[known], current[known]])
    if observed.shape[1] < 2 or not observed.sum(axis=1).all():
        return 0.0, 1.0
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0, keepdims=True) / observed.sum()
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return statistic, chi2_sf(statistic, observed.shape[1] - 1)


def kolmogorov_smirnov(reference: Counts, current: Counts, single: Flags) -> tuple[float, float]:
    """The two-sample statistic on bins in order: what it is at least, and what it can be at most.

    Within a bin the order is not known: the true statistic is between the two numbers. They are the same where every bin
    with rows of both is one value.

    Args:
        reference: counts of bins in order.
        current: counts of the same bins.
        single: bins in which all rows of both have one value.
    """
    p, q = reference / reference.sum(), current / current.sum()
    below, other = np.cumsum(p), np.cumsum(q)
    least = float(np.abs(below - other).max())
    inside = np.maximum(np.abs(below - (other - q)), np.abs((below - p) - other))
    return least, max(least, float(inside[~single].max(initial=0.0)))


def wasserstein(reference: Counts, current: Counts, places: Counts, others: Counts) -> float:
    """The first Wasserstein distance, with all rows of a bin at their mean.

    Moving rows to the mean of their bin moves each sample by half a bin's width at most, so the result is not further
    than the widest bin from the true distance; where a bin is one value it is that distance.

    Args:
        reference: counts of bins.
        current: counts of bins.
        places: the mean of each bin of the reference; not looked at where the bin is empty.
        others: the mean of each bin of the current rows.
    """
    there, here = reference > 0, current > 0
    values = np.concatenate([places[there], others[here]])
    shares = np.concatenate([reference[there] / reference.sum(), -current[here] / current.sum()])
    order = np.argsort(values, kind="stable")
    gaps = np.abs(np.cumsum(shares[order])[:-1])
    with np.errstate(over="ignore"):  # from one end of what a double can hold to the other it is infinitely far
        steps = np.diff(values[order])
    return float(np.sum(gaps[gaps > 0] * steps[gaps > 0]))


def shares_p_value(a: int, n: int, b: int, m: int) -> float:
    """The p-value of a of n and b of m being one share, twice the smaller tail.

    Fisher's exact test while either kind of row is rare, since a normal tail is far too thin there; else the pooled z-test.
    """
    both = a + b
    if min(both, n + m - both) > EXACT:
        pooled = both / (n + m)
        error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        return math.erfc(abs(b / m - a / n) / error / math.sqrt(2))
    if both > n + m - both:
        a, b, both = n - a, m - b, n + m - both
    logs = [
        _choose(n, both - k) + _choose(m, k) - _choose(n + m, both) for k in range(max(0, both - n), min(both, m) + 1)
    ]
    here = b - max(0, both - n)
    chances = [math.exp(each) for each in logs]
    return min(1.0, 2 * min(math.fsum(chances[: here + 1]), math.fsum(chances[here:])))


def _choose(n: int, k: int) -> float:
    """The logarithm of the binomial coefficient."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def new_values_p_value(counts: Counts, missed: Counts, share: float) -> float:
    """The probability that chance alone leaves this much of a sample outside the other sample's values.

    If both are drawn from one population, a value with c rows in the two together has all of them in the current sample
    with a probability of at most `share`^c. So one as frequent as the most frequent new value exists with at most the
    sum of that over all values as frequent (Boole), and the number of new values exceeds its mean by Chernoff's bound,
    since such events are negatively associated. The smaller of the two counts, twice.

    Args:
        counts: rows of each value in both samples together.
        missed: those of the values that only the current sample has.
        share: of the current rows among all.
    """
    if not len(missed):
        return 1.0
    chances = share**counts
    largest = float(chances[counts >= missed.max()].sum())
    found, mean = len(missed), float(chances.sum())
    several = math.exp(found - mean - found * math.log(found / mean)) if 0 < mean < found else float(mean > 0)
    return min(1.0, 2 * min(largest, several))


def benjamini_hochberg(p_values: list[float], rate: float) -> list[bool]:
    """Which hypotheses are rejected so that the expected share of false ones among them is `rate` (1995)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    passed = [place for place, index in enumerate(order, 1) if p_values[index] <= rate * place / len(p_values)]
    last = max(passed, default=0)
    rejected = set(order[:last])
    return [index in rejected for index in range(len(p_values))]


def _smoothed(counts: Counts) -> Counts:
    return (counts + 0.5) / (counts.sum() + 0.5 * len(counts))


def _divergence(p: Counts, q: Counts) -> float:
    known = p > 0
    return float(np.sum(p[known] * np.log(p[known] / q[known])))
