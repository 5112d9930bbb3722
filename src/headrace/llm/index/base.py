"""The contracts of this room: what embeds, what a store answers, and what a search returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from headrace.core.ids import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    Vector: TypeAlias = npt.NDArray[np.float32]
    Vectors: TypeAlias = npt.NDArray[np.float32]
    Places: TypeAlias = npt.NDArray[np.int64]
    Mask: TypeAlias = npt.NDArray[np.bool_]

DECIMALS = 6  # of a score: two texts that are the same score the same, wherever they are


class Embeds(Protocol):
    """What turns texts into unit vectors. Several threads may use it at once."""

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        ...

    @property
    def digest(self) -> str:
        """The identity of the weights."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 for each text, float32."""
        ...


def identity(embedder: Embeds) -> str:
    """What tells embedders apart in the rows of an index: the weights, and the dimension of the vectors."""
    return digest([embedder.digest, embedder.dimension])


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A document, or a chunk of one, that a search found.

    Attributes:
        key: of the document, as text; a key of several columns is a JSON list.
        score: the cosine with the question, from -1 to 1; of a hybrid search the sum of 1 / (60 + rank) over both rankings.
        text: of the document or chunk.
        metadata: the columns that the index keeps.
        chunk: which chunk of the document, from 0.
    """

    key: str
    score: float
    text: str
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    chunk: int = 0


class VectorStore(Protocol):
    """Ranks the rows of one version of an index. The rows are numbered from 0, in the order of their keys.

    Both rankings are the best first, equal scores by number, and the same in every process. A score has six decimals. A store may be
    used by several threads at once and after a fork. A filter that leaves no row gives an empty ranking; a store finds at least
    95 % of the true neighbours under any filter.
    """

    name: str

    def nearest(self, vector: Vector, k: int, mask: Mask | None) -> list[tuple[int, float]]:
        """Rows by their cosine with a vector.

        Args:
            vector: of length 1.
            k: how many at the most.
            mask: which rows may be given; None for all.
        """
        ...

    def matching(self, text: str, k: int, mask: Mask | None) -> list[tuple[int, float]]:
        """Rows that have a word of a text, by BM25. A text is plain words: it has no syntax. Arguments as `nearest`."""
        ...
