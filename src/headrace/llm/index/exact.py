"""A store that compares with every vector: exact, without another library, and fast enough below 50,000 rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.llm.index.fusion import best
from headrace.llm.index.words import build, load

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from headrace.llm.index.base import Mask, Vector, Vectors
    from headrace.llm.index.words import Bm25

COPIED = 0.3  # share of the rows up to which those that a filter leaves are copied; to compare with all is faster above


class ExactStore:
    """See `VectorStore`.

    Args:
        texts: of the rows.
        vectors: of the rows, each of length 1, one after the other in memory.
        folder: where `words.save` has kept the words of the texts. They are read, or else counted, at the first search for words;
            defaults to none.
    """

    name = "exact"

    def __init__(self, texts: pa.ChunkedArray, vectors: Vectors, folder: Path | None = None) -> None:
        self._texts, self._vectors, self._folder = texts, vectors, folder
        self._words: Bm25 | None = None

    def nearest(self, vector: Vector, k: int, mask: Mask | None) -> list[tuple[int, float]]:
        """See `VectorStore.nearest`."""
        if mask is None:
            return best(self._vectors @ vector, None, k)
        places = np.flatnonzero(mask)
        if len(places) <= COPIED * len(mask):
            return best(self._vectors[places] @ vector, places, k)
        return best((self._vectors @ vector)[places], places, k)

    def matching(self, text: str, k: int, mask: Mask | None) -> list[tuple[int, float]]:
        """See `VectorStore.matching`."""
        scores = self.words.scores(text)
        places = np.flatnonzero(scores > 0 if mask is None else (scores > 0) & mask)
        return best(scores[places], places, k)

    @property
    def words(self) -> Bm25:
        """The words of the texts. Two threads that come first at once both count them; no lock is held over a fork."""
        if self._words is None:
            kept = None if self._folder is None else load(self._folder, len(self._texts))
            self._words = kept or build(self._texts.to_pylist())
        return self._words
