"""How far a judge agrees with people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from headrace.core.declaration import check_whole
from headrace.core.errors import DataError
from headrace.llm.evaluation.values import as_floats, same_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.llm.evaluation.values import Floats

ENOUGH = 20  # labels of people, below which nothing is said
AT_ONCE = 4_000_000
Z = NormalDist().inv_cdf(0.975)
Interval = tuple[float, float]
WORDS = (
    (0.0, "poor"),
    (0.2, "slight"),
    (0.4, "fair"),
    (0.6, "moderate"),
    (0.8, "substantial"),
    (1.0, "almost perfect"),
)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The agreement of a judge with people, each with its interval of 95 %. All None where there are too few labels.

    Attributes:
        labels: rows that people labelled.
        enough: whether these are at least 20.
        agreement: the share of rows on which both give the same score.
        agreement_interval: Wilson's.
        kappa: Cohen's, weighted by the square of the difference of the scores; None also where it has no value, because
            judge and people give one and the same score to all rows.
        kappa_interval: percentiles of a bootstrap.
        bias: the mean of the judge's score less that of people.
        bias_interval: percentiles of a bootstrap.
        words: what this means, in a sentence.
    """

    labels: int
    enough: bool
    agreement: float | None
    agreement_interval: Interval | None
    kappa: float | None
    kappa_interval: Interval | None
    bias: float | None
    bias_interval: Interval | None
    words: str


def calibrate(
    verdicts: Sequence[float | None] | Floats,
    people: Sequence[float | None] | Floats,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Calibration:
    """Holds a judge against people's labels on the same scale.

    The weighted kappa is 1 - mean((judge - people)²) / (var judge + var people + (difference of their means)²), which is
    Cohen's with quadratic weights (Cohen 1968; Fleiss and Cohen 1973), and Cohen's own for two scores.

    Args:
        verdicts: the scores of the judge by row.
        people: the labels of people; None where a row has none.
        draws: of the bootstrap. Defaults to 2,000.
        seed: of the draws. Defaults to 0.

    Raises:
        DataError: the lengths differ, or a labelled row has no verdict.
    """
    check_whole("calibrate", 100, 1_000_000, draws=draws)
    judged, labels = _labelled(verdicts, people)
    count = len(labels)
    if count < ENOUGH:
        return _too_few(count)
    moments = np.column_stack([judged, labels, judged**2, labels**2, judged * labels])
    agreement = float((judged == labels).mean())
    kappa = float(_kappas(moments.mean(axis=0, keepdims=True))[0])
    bias = float((judged - labels).mean())
    means = _drawn_means(moments, draws, np.random.default_rng(seed))
    kappas = _kappas(means)
    kappas = kappas[~np.isnan(kappas)]
    kappa_interval = _percentiles(kappas) if len(kappas) and not math.isnan(kappa) else None
    agreed = _wilson(agreement, count)
    biased = _percentiles(means[:, 0] - means[:, 1])
    known = None if math.isnan(kappa) else kappa
    return Calibration(
        labels=count,
        enough=True,
        agreement=agreement,
        agreement_interval=agreed,
        kappa=known,
        kappa_interval=kappa_interval,
        bias=bias,
        bias_interval=biased,
        words=_words(count, (agreement, agreed), (known, kappa_interval), (bias, biased)),
    )


def _labelled(
    verdicts: Sequence[float | None] | Floats, people: Sequence[float | None] | Floats
) -> tuple[Floats, Floats]:
    same_length("the calibration", verdicts=verdicts, people=people)
    judged, labels = as_floats(verdicts), as_floats(people)
    known = ~np.isnan(labels)
    lacking = known & np.isnan(judged)
    if lacking.any():
        raise DataError(
            f"{int(lacking.sum()):,} rows that people labelled have no verdict.",
            findings=_rows(lacking),
            hint="Judge these rows first; none is left out.",
        )
    return judged[known], labels[known]


def _rows(which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[str]:
    return [f"row {place}" for place in np.flatnonzero(which).tolist()]


def _kappas(means: Floats) -> Floats:
    """Of means of judge, people, their squares and their product; NaN where both are one and the same constant."""
    judge, people, judge_squared, people_squared, product = means.T
    apart = judge_squared + people_squared - 2 * product
    expected = judge_squared + people_squared - 2 * judge * people
    possible = expected > 1e-12 * (1 + judge_squared + people_squared)
    return np.where(possible, 1 - apart / np.where(possible, expected, 1), math.nan)


def _drawn_means(moments: Floats, draws: int, random: np.random.Generator) -> Floats:
    rows, counts = np.unique(moments, axis=0, return_counts=True)
    step = max(1, AT_ONCE // len(rows))
    return np.concatenate(
        [
            random.multinomial(counts.sum(), counts / counts.sum(), size=min(step, draws - start)) @ rows / counts.sum()
            for start in range(0, draws, step)
        ]
    )


def _percentiles(values: Floats) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _wilson(share: float, count: int) -> Interval:
    """Wilson 1927: the interval of a share that holds for shares near 0 and 1 too."""
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _too_few(count: int) -> Calibration:
    nothing = dict.fromkeys(("agreement", "agreement_interval", "kappa", "kappa_interval", "bias", "bias_interval"))
    words = f"{count} labels of people, {ENOUGH - count} too few to say how far the judge agrees with them."
    return Calibration(labels=count, enough=False, words=words, **nothing)


def _words(
    count: int,
    agreement: tuple[float, Interval],
    kappa: tuple[float | None, Interval | None],
    bias: tuple[float, Interval],
) -> str:
    """The words for kappa are those of Landis and Koch 1977."""
    (share, (share_low, share_high)), (mean, (mean_low, mean_high)) = agreement, bias
    text = f"{count:,} labels of people: the judge gives the same score to {share:.0%} ({share_low:.0%} to {share_high:.0%})"
    if kappa[0] is None:
        text += ", kappa has no value because all scores are the same"
    else:
        word = next(word for limit, word in WORDS if kappa[0] <= limit or limit == 1.0)
        within = f" ({kappa[1][0]:.2f} to {kappa[1][1]:.2f})" if kappa[1] else ""
        text += f", kappa {kappa[0]:.2f}{within}, {word} agreement"
    if mean_low <= 0 <= mean_high:
        return f"{text}; no bias was found ({mean_low:+.2f} to {mean_high:+.2f})."
    return f"{text}; it scores {abs(mean):.2f} {'higher' if mean > 0 else 'lower'} than people ({mean_low:+.2f} to {mean_high:+.2f})."
