"""The distribution of a column in a few bars, for a chart: of one histogram, or of two over the same bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.monitoring.histograms import Numbers, Texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.monitoring.histograms import Counts

BARS = 20  # of numbers
VALUES = 10  # texts that have a bar each; the others share one
TAILS = (0.005, 0.995)  # of the values: what lies outside is counted in the first and the last bar
FAR = 1e300  # the difference of two such numbers is a double


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Rows whose value is in one range, or is one text.

    Attributes:
        low: where the range begins, in the column's unit; None for texts.
        high: where it ends; equal to `low` for a bar of one number.
        value: the text; None for numbers, and for the bar of all other texts.
        rows: the number of rows of each histogram, in their order.
    """

    low: float | None = None
    high: float | None = None
    value: str | None = None
    rows: tuple[int, ...]


def bars(histograms: Sequence[Numbers | Texts]) -> list[Bar]:
    """The bars of one column.

    Args:
        histograms: of it, over the same bins: all of numbers, or all of texts.
    """
    numbers = [each for each in histograms if isinstance(each, Numbers)]
    return _of_numbers(numbers) if numbers else _of_texts([each for each in histograms if isinstance(each, Texts)])


def _of_numbers(histograms: Sequence[Numbers]) -> list[Bar]:
    """Bars of equal width over the middle 99 % of all values; of whole numbers with few values, one a number.

    Args:
        histograms: over the same bins. Rows are counted at the mean of their bin, so a count is exact up to one bin's rows.

    Returns:
        The bars in order; empty where there is no finite value. Missing values and infinities have no bar.
    """
    counts = [each.finite for each in histograms]
    every = np.sum([each / max(each.sum(), 1.0) for each in counts], axis=0)  # shares: the smaller one counts as much
    filled = np.flatnonzero(every)
    if not len(filled):
        return []
    lows, highs = (np.array([each.lows for each in histograms]), np.array([each.highs for each in histograms]))
    least, most = lows.min(axis=0)[filled], highs.max(axis=0)[filled]
    if len(filled) <= BARS and (least == most).all():
        return [
            Bar(low=float(value), high=float(value), rows=tuple(int(each[place]) for each in counts))
            for place, value in zip(filled, least, strict=True)
        ]
    means = [np.clip(np.where(each.finite > 0, each.means, 0.0), -FAR, FAR) for each in histograms]
    low, high = _middle(every[filled], least, most)
    edges = np.linspace(low, high, BARS + 1)
    found = [_rows(each, mean, edges) for each, mean in zip(counts, means, strict=True)]
    return [
        Bar(low=float(edges[place]), high=float(edges[place + 1]), rows=tuple(int(each[place]) for each in found))
        for place in range(BARS)
    ]


def _middle(counts: Counts, least: Counts, most: Counts) -> tuple[float, float]:
    """From the first value that is drawn to the last one."""
    shares = np.cumsum(counts) / counts.sum()
    first = float(least[np.searchsorted(shares, TAILS[0], side="right")])
    last = float(most[min(int(np.searchsorted(shares, TAILS[1])), len(most) - 1)])
    if first == last:
        first, last = float(least[0]), float(most[-1])
    return min(max(first, -FAR), FAR), min(max(last, -FAR), FAR)


def _rows(counts: Counts, means: Counts, edges: Counts) -> Counts:
    places = np.clip(np.searchsorted(edges, means, side="right") - 1, 0, BARS - 1)
    return np.bincount(places, weights=counts, minlength=BARS).astype(np.float64)


def _of_texts(histograms: Sequence[Texts]) -> list[Bar]:
    """A bar for each of the most frequent texts, and one for all others where there are more.

    Args:
        histograms: over the same bins; the texts of the first one come first where counts are equal.
    """
    total: dict[str, float] = {}  # shares: the smaller histogram counts as much as the larger one
    for each in histograms:
        for value, rows in each.counts.items():
            total[value] = total.get(value, 0.0) + rows / each.rows
    shown = sorted(total, key=lambda value: (-total[value], value))[:VALUES]
    found = [Bar(value=value, rows=tuple(each.counts.get(value, 0) for each in histograms)) for value in shown]
    others = tuple(
        each.others + sum(each.counts.values()) - sum(each.counts.get(value, 0) for value in shown)
        for each in histograms
    )
    return [*found, Bar(rows=others)] if any(others) else found
