"""Two versions on the same questions: the difference, its interval, and whether chance explains it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from headrace.core.declaration import check, check_whole
from headrace.core.errors import DataError
from headrace.llm.evaluation.values import as_floats, same_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.llm.evaluation.values import Floats

EXACT = 20  # rows that differ, up to which all 2**20 signs are counted
AT_ONCE = 4_000_000  # drawn numbers that are in memory at once
MANY = 10_000  # rows that differ, from which the sum of the flipped differences is normal
FLIPS = 10_000  # drawn signs of all rows

Test = Literal["McNemar, exact", "sign flips, exact", "sign flips, drawn", "sign flips, normal"]


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """What changed from one version to another, over the rows on which both have a value.

    Attributes:
        rows: how many those are.
        undefined: rows that were left out, because one of the two has no value.
        before: the mean of the first version.
        after: the mean of the second one.
        difference: after less before.
        low: the lower end of the interval of the difference.
        high: its upper end.
        level: the probability that the interval is made for, such as 0.95.
        p_value: the probability of a difference at least as large, either way, if the versions did not differ.
        test: which test that is of.
        higher: rows on which the second version has the higher value.
        lower: rows on which it has the lower one.
    """

    rows: int
    undefined: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    level: float
    p_value: float
    test: Test
    higher: int
    lower: int

    def __str__(self) -> str:
        return (
            f"{self.before:.4f} → {self.after:.4f} on {self.rows:,} rows: {self.difference:+.4f} "
            f"({self.low:+.4f} to {self.high:+.4f}), p = {self.p_value:.3g} ({self.test})"
        )


def compare(
    before: Sequence[float | None] | Floats,
    after: Sequence[float | None] | Floats,
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> PairedComparison:
    """Compares two versions row by row.

    The interval is the percentile bootstrap of the mean difference (Efron and Tibshirani 1993, chapter 13). The test is
    McNemar's exact one where all values are 0 or 1, else the permutation test that flips the sign of the differences:
    all of them up to 20 rows that differ, 10,000 drawn ones up to 10,000 such rows, and their normal limit beyond.

    Args:
        before: the values of the first version.
        after: those of the second one, on the same rows in the same order; NaN or None where there is no value.
        level: the probability that the interval is for. Defaults to 0.95.
        draws: of the bootstrap. Defaults to 2,000.
        seed: of the draws; the same seed gives the same result. Defaults to 0.

    Raises:
        DataError: the lengths differ, or fewer than two rows have both values.
        DeclarationError: an option is not possible.
    """
    check("compare", _is_share, "Write a number between 0 and 1: 0.95.", level=level)
    check_whole("compare", 100, 1_000_000, draws=draws)
    check_whole("compare", 0, seed=seed)
    same_length("the comparison", before=before, after=after)
    first, second = as_floats(before), as_floats(after)
    both = ~(np.isnan(first) | np.isnan(second))
    one, two = first[both], second[both]
    if len(one) < 2:
        raise DataError(
            f"{len(one)} of {len(first):,} rows have a value of both versions.", hint="A comparison needs at least two."
        )
    differences = two - one
    random = np.random.default_rng(seed)
    means = _bootstrap(differences, draws, random)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    higher, lower = int((differences > 0).sum()), int((differences < 0).sum())
    if np.isin(one, (0, 1)).all() and np.isin(two, (0, 1)).all():
        p_value, test = mcnemar(higher, lower), "McNemar, exact"
    else:
        p_value, test = _sign_flips(differences[differences != 0], random)
    return PairedComparison(
        rows=len(one),
        undefined=int((~both).sum()),
        before=float(one.mean()),
        after=float(two.mean()),
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        level=level,
        p_value=p_value,
        test=test,
        higher=higher,
        lower=lower,
    )


def mcnemar(higher: int, lower: int) -> float:
    """The two-sided p-value of McNemar's exact test: a fair coin decides each row on which two versions differ.

    Args:
        higher: rows that only the second version has right.
        lower: rows that only the first one has right.
    """
    count, fewer = higher + lower, min(higher, lower)
    if count == 0 or 2 * fewer == count:
        return 1.0
    logs = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(fewer + 1)]
    highest = max(logs)
    total = highest + math.log(math.fsum(math.exp(each - highest) for each in logs))
    return min(1.0, 2 * math.exp(total - count * math.log(2)))


def _is_share(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _bootstrap(differences: Floats, draws: int, random: np.random.Generator) -> Floats:
    """Means of drawn rows. How often each distinct value is drawn is multinomial, which is quick where few are distinct."""
    values, counts = np.unique(differences, return_counts=True)
    count = len(differences)
    if len(values) <= count // 4:
        return random.multinomial(count, counts / count, size=draws) @ values / count
    step = max(1, AT_ONCE // count)
    parts = [
        differences[random.integers(0, count, size=(min(step, draws - start), count))].mean(axis=1)
        for start in range(0, draws, step)
    ]
    return np.concatenate(parts)


def _sign_flips(differences: Floats, random: np.random.Generator) -> tuple[float, Test]:
    if not len(differences):
        return 1.0, "sign flips, exact"
    sizes = np.abs(differences)
    observed = abs(float(differences.sum())) - 1e-9 * float(sizes.sum())  # rounding is no evidence
    if len(sizes) <= EXACT:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums - size, sums + size])
        return float((np.abs(sums) >= observed).mean()), "sign flips, exact"
    if len(sizes) > MANY:
        return math.erfc(abs(float(differences.sum())) / math.sqrt(2 * float((sizes**2).sum()))), "sign flips, normal"
    step = max(1, AT_ONCE // len(sizes))
    extreme = 0
    for start in range(0, FLIPS, step):
        shape = (min(step, FLIPS - start), (len(sizes) + 7) // 8)
        bits = np.unpackbits(random.integers(0, 256, size=shape, dtype=np.uint8), axis=1)[:, : len(sizes)]
        sums = 2 * (bits @ sizes) - sizes.sum()
        extreme += int((np.abs(sums) >= observed).sum())
    return (extreme + 1) / (FLIPS + 1), "sign flips, drawn"
