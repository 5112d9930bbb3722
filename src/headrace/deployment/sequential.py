"""Tests that may be evaluated as often as needed: the bound on false stops holds over all evaluations together.

Each gives the logarithm of an e-value, a likelihood ratio mixed over what could be true beside the null hypothesis.
Under the null it is a supermartingale that begins at 1, so it ever comes to 1/alpha with a probability of alpha at most
(Ville 1939; Robbins 1970, "Statistical methods related to the law of the iterated logarithm"). A fixed-level test that
is evaluated every five seconds has no such bound: it stops an equal candidate sooner or later.

* `rate_above`: counts, one-sided. A finite mixture of Bernoulli likelihood ratios; exact at any n.
* `uneven`: how many units each of several versions got, against the shares that they should have; two-sided, exact at any n.
  The multinomial likelihood mixed over a Dirichlet (Lindon and Malek 2022, "Anytime-valid inference for multinomial count
  data", NeurIPS 35).
* `worse`, `different` and `radius`: a difference with an estimated variance. The mixture sequential probability ratio test with a normal
  mixture, in the form of Johari, Koomen, Pekelis and Walsh (2022), "Always valid inference: continuous monitoring of A/B tests",
  Operations Research 70(3), eq. 6-8; the one-sided one mixes over the half of the normal that is worse. They hold as far as
  the central limit theorem does (Waudby-Smith et al. 2024, "Time-uniform central limit theory and asymptotic confidence
  sequences", Annals of Statistics 52(6)), so a least number of rows comes first.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMES = tuple(1.1**power for power in range(1, 60))  # a rate is tried at so many times the limit's odds
NORMAL = NormalDist()
WEIGHT = 100.0  # of the Dirichlet: with two halves it reckons with shares that are 5 points off
FAR = -8.0  # standard deviations, beyond which the normal's tail is taken from its asymptote


def needed(alpha: float) -> float:
    """What a logarithm of an e-value must come to."""
    return -math.log(alpha)


def rate_above(hits: int, trials: int, limit: float) -> float:
    """The evidence that a rate is above a limit.

    For a rate p up to the limit each ratio (q/limit)^hits·((1-q)/(1-limit))^misses with q > limit is a supermartingale,
    since p·q/limit + (1-p)·(1-q)/(1-limit) <= 1; so is their mean over many q.

    Args:
        hits: how often it happened.
        trials: how often it could have.
        limit: between 0 and 1.
    """
    if not 0 < limit < 1:
        raise ValueError(f"{limit} is no rate to test against")
    odds = limit / (1 - limit)
    logs: list[float] = []
    for times in TIMES:
        q = odds * times / (1 + odds * times)
        logs.append(hits * math.log(q / limit) + (trials - hits) * math.log((1 - q) / (1 - limit)))
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))


def uneven(units: Sequence[int], shares: Sequence[float]) -> float:
    """The evidence that units are not divided by the shares.

    Args:
        units: of each version.
        shares: of each version, above 0; together 1.
    """
    evidence = math.lgamma(WEIGHT) - math.lgamma(WEIGHT + sum(units))
    for count, share in zip(units, shares, strict=True):
        prior = WEIGHT * share
        evidence += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return evidence


def worse(value: float, variance: float, *, margin: float, scale: float) -> float:
    """The evidence that something is worse by more than a margin.

    Args:
        value: by how much it was measured to be worse.
        variance: of that estimate; not 0.
        margin: what is accepted.
        scale: the standard deviation of the mixture: how much worse than the margin one reckons with. It decides how soon a
            stop comes, not how often a false one does.
    """
    beyond, mixed = value - margin, scale * scale
    bend = variance + mixed
    z = beyond * scale / math.sqrt(variance * bend)
    return math.log(2) + 0.5 * math.log(variance / bend) + 0.5 * z * z + _log_cdf(z)


def different(value: float, variance: float, *, scale: float) -> float:
    """The evidence that a difference is not 0; two-sided. At level alpha it says so where `radius` leaves 0 out.

    Args:
        value: the difference as it was measured.
        variance: of that estimate; not 0.
        scale: the standard deviation of the mixture: the size of a difference that one reckons with.
    """
    mixed = scale * scale
    bend = variance + mixed
    return 0.5 * math.log(variance / bend) + mixed * value * value / (2 * variance * bend)


def p_value(evidence: float) -> float:
    """The p-value that is valid at all looks together, also where looking ends because of it: the inverse of an e-value."""
    return min(1.0, math.exp(-evidence))


def p_value_once(value: float, variance: float) -> float:
    """The p-value of a difference for one look that was fixed beforehand; two-sided, by the normal approximation."""
    return math.erfc(abs(value) / math.sqrt(2 * variance))


def radius(variance: float, *, scale: float, alpha: float) -> float:
    """Half of the width of a confidence sequence around an estimate: it covers the truth at all looks together."""
    mixed = scale * scale
    bend = variance + mixed
    return math.sqrt(2 * variance * bend / mixed * (needed(alpha) + 0.5 * math.log(bend / variance)))


def _log_cdf(z: float) -> float:
    """Of the standard normal; by its asymptote where the function itself underflows."""
    if z > FAR:
        return math.log(NORMAL.cdf(z))
    return -0.5 * z * z - math.log(-z * math.sqrt(2 * math.pi))
