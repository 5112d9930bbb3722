"""Vectors like those of questions, to measure a store with: near the rows of an index, and not one of them.

To set a store up (`CALIBRATION`) and to measure it (`MEASUREMENT`), different rows are drawn, and different noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headrace.llm.index.base import Vectors

CALIBRATION, MEASUREMENT = 1, 2
NOISE = (0.25, 0.5, 1.0)  # lengths of what is added to a row: cosines of 0.97, 0.89 and 0.71 with it


def near_rows(vectors: Vectors, count: int, seed: int) -> Vectors:
    """Questions near rows that are drawn at random, the same in each call.

    Args:
        vectors: of the rows, at least one.
        count: how many questions; fewer of fewer rows.
        seed: of the draw.

    Returns:
        An array of shape (questions, dimension), float32, each row of length 1.
    """
    draw = np.random.default_rng([seed, len(vectors)])
    places = draw.permutation(len(vectors))[:count]
    noise = draw.normal(scale=vectors.shape[1] ** -0.5, size=(len(places), vectors.shape[1]))
    lengths = np.resize(NOISE, len(places))[:, None]
    asked = vectors[places] + noise * lengths
    return (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)
