"""Whether two samples of vectors come from the same distribution: the energy distance, tested by permutation.

The energy distance of X and Y is E = 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely and Rizzo, J. Stat. Plan. Inference 143,
2013). It is 0 where the distributions are equal, and positive otherwise. Divided by 2 E|X - Y| it lies between 0 and 1,
whatever the unit: the coefficient of inhomogeneity. Its p-value is the share of the permutations of the pooled rows whose distance
is at least as large, the given one counted (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010), so that it holds for any
number of rows and dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Vectors = np.ndarray[Any, np.dtype[np.floating[Any]]]
    Numbers = np.ndarray[Any, np.dtype[np.float64]]

PERMUTATIONS = 999
SEED = 20131  # the same samples have the same p-value


@dataclass(frozen=True, kw_only=True)
class EnergyTest:
    """Two samples beside each other.

    Attributes:
        distance: between 0 and 1.
        p_value: of so large a distance by chance alone, at least 0.001.
        rows: of the second sample.
        reference_rows: of the first one.
    """

    distance: float
    p_value: float
    rows: int
    reference_rows: int


def energy_test(reference: Vectors, current: Vectors) -> EnergyTest:
    """Compares samples, at least two rows each, a row a vector. Memory grows with the square of their rows together."""
    n, m = len(reference), len(current)
    pooled = np.concatenate([reference, current]).astype(np.float64)
    between = _distances(pooled)
    placed = np.zeros((PERMUTATIONS + 1, n + m))
    placed[0, :n] = 1
    random = np.random.default_rng(SEED)
    for row in placed[1:]:
        row[random.permutation(n + m)[:n]] = 1
    distance, share = _energy(between, placed, n, m)
    as_large = int((distance >= distance[0] - 1e-12).sum())  # the given one is among them; rounding is no difference
    return EnergyTest(distance=float(share[0]), p_value=as_large / (PERMUTATIONS + 1), rows=m, reference_rows=n)


def _distances(rows: Numbers) -> Numbers:
    squares = (rows * rows).sum(axis=1)
    found = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0))
    np.fill_diagonal(found, 0)
    return found


def _energy(between: Numbers, placed: Numbers, n: int, m: int) -> tuple[Numbers, Numbers]:
    """The distance of each placing of rows into the first sample, and its share of twice the mean distance across."""
    total = between.sum()
    inside = ((placed @ between) * placed).sum(axis=1)  # sums over pairs of the first sample
    sums = placed @ between.sum(axis=1)  # of the first sample to all
    across = sums - inside
    others = total - inside - 2 * across
    mean = across / (n * m)
    distance = 2 * mean - inside / n**2 - others / m**2
    share = np.divide(distance, 2 * mean, out=np.zeros_like(distance), where=mean > 0)
    return distance, np.clip(share, 0, 1)
