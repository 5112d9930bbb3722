"""Rankings: the best of some scores, and several rankings as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.llm.index.base import DECIMALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.llm.index.base import Places, Vector

RRF = 60  # Cormack, Clarke, Büttcher: "Reciprocal Rank Fusion outperforms Condorcet…" (SIGIR 2009)


def best(scores: Vector, places: Places | None, k: int) -> list[tuple[int, float]]:
    """The k best of some scores, equal ones by their place.

    Args:
        scores: any numbers.
        places: of which rows they are, in ascending order; None for all rows.
        k: how many at the most.
    """
    near = np.arange(len(scores))
    if k < len(scores):  # what may round to the same as the k-th is looked at, too
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        near = np.flatnonzero(scores >= least - 2 * 10.0**-DECIMALS)
    rounded = np.round(scores[near].astype(np.float64), DECIMALS)
    order = np.argsort(-rounded, kind="stable")[:k]
    rows = near if places is None else places[near]
    return [(int(rows[each]), float(rounded[each])) for each in order]


def fused(rankings: Sequence[Sequence[tuple[int, float]]], k: int) -> list[tuple[int, float]]:
    """Rankings as one: a row scores the sum of 1 / (60 + rank), ranks counted from 1; equal scores by row."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, (row, _) in enumerate(ranking, start=1):
            scores[row] = scores.get(row, 0.0) + 1 / (RRF + rank)
    return sorted(scores.items(), key=lambda pair: (-round(pair[1], 12), pair[0]))[:k]
