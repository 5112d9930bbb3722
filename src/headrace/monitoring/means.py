"""Means with intervals, from counts, means and standard deviations: Student's t, and Welch's for a difference.

Student (1908) for a mean; Welch (1947) with Satterthwaite's degrees of freedom for the difference of two, each window of time
weighted by its rows. The tests hold them against SciPy's, which is not imported: it takes longer than the figures do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.monitoring.statistics import beta_cdf

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.95
NORMAL = 1.959963984540054  # the quantile of the normal distribution for that level
MANY = 200  # degrees of freedom from which the series of Abramowitz and Stegun is as exact as the integral


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows, as far as intervals need them.

    Attributes:
        rows: how many finite values.
        mean: of them.
        deviation: their standard deviation, with n - 1; None for fewer than two.
    """

    rows: int
    mean: float
    deviation: float | None


@dataclass(frozen=True, kw_only=True)
class MeanInterval:
    """A mean, or a difference of two, with the 95 % interval; None as its ends where there is none."""

    value: float
    low: float | None
    high: float | None


def interval(sample: Sample) -> MeanInterval:
    """The mean of a sample: mean ± t(0.975, n - 1) · s / √n. One row, or a spread that no number holds, has no interval."""
    if sample.deviation is None or not _has_spread(sample):
        return MeanInterval(value=sample.mean, low=None, high=None)
    half = t_quantile(sample.rows - 1) * sample.deviation / math.sqrt(sample.rows)
    return _around(sample.mean, half)


def difference(strata: Sequence[tuple[Sample, Sample]]) -> MeanInterval | None:
    """The first of each pair less the second, over strata: as if both had had the same share of rows in each.

    Args:
        strata: pairs of samples of the same window. Those in which either has fewer than two rows do not count.

    Returns:
        Σ w (a - b) with w the stratum's share of all rows, and the interval by the variance Σ w² (sₐ²/nₐ + s_b²/n_b). Of one
        stratum, it is Welch's. None where no stratum counts. No interval where no number holds its ends.
    """
    counted = [(a, b) for a, b in strata if _has_spread(a) and _has_spread(b)]
    total = sum(a.rows + b.rows for a, b in counted)
    if not total:
        return None
    unit = max(each.deviation or 0.0 for pair in counted for each in pair) or 1.0  # whose squares a number holds
    value = variance = below = 0.0
    for a, b in counted:
        weight = (a.rows + b.rows) / total
        value += weight * (a.mean - b.mean)
        for each in (a, b):
            part = weight**2 * ((each.deviation or 0.0) / unit) ** 2 / each.rows
            variance += part
            below += part**2 / (each.rows - 1)
    half = t_quantile(variance**2 / below) * math.sqrt(variance) * unit if below else 0.0
    return _around(value, half)


def t_quantile(degrees: float) -> float:
    """The value that a t variable exceeds in size with a probability of 5 %.

    By bisection of the incomplete beta function; for many degrees by the expansion of Abramowitz and Stegun, 26.7.5.
    """
    if degrees >= MANY:
        x = NORMAL
        first = (x**3 + x) / 4
        second = (5 * x**5 + 16 * x**3 + 3 * x) / 96
        third = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
        fourth = (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92_160
        return x + first / degrees + second / degrees**2 + third / degrees**3 + fourth / degrees**4
    low, high = 0.0, 1.0
    while _tails(high, degrees) > 1 - LEVEL:
        low, high = high, 2 * high
    while high - low > 1e-14 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _tails(middle, degrees) > 1 - LEVEL else (low, middle)
    return high


def _tails(t: float, degrees: float) -> float:
    """The probability that a t variable exceeds t in size: I(df / (df + t²); df/2, 1/2)."""
    return beta_cdf(degrees / (degrees + t * t), degrees / 2, 0.5)


def _has_spread(sample: Sample) -> bool:
    return sample.rows > 1 and sample.deviation is not None and math.isfinite(sample.deviation)


def _around(value: float, half: float) -> MeanInterval:
    low, high = value - half, value + half
    if not (math.isfinite(low) and math.isfinite(high)):
        return MeanInterval(value=value, low=None, high=None)
    return MeanInterval(value=value, low=low, high=high)
