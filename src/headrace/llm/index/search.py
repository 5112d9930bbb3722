"""A version of an index, to be searched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from headrace.core.errors import DataError, RefusedError
from headrace.llm.index.base import Hit, identity
from headrace.llm.index.filters import mask as filtered
from headrace.llm.index.fusion import fused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.llm.index.base import Embeds, Vector, VectorStore
    from headrace.llm.index.rows import Description, Rows

UPDATE = "headrace run refresh updates the index"
MOST = 1_000  # hits of a search
DEPTH = 50  # of each ranking of a hybrid search, at the least
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LONGEST = 100_000  # characters of a question


class Index:
    """One version of an index. It does not change.

    Args:
        rows: of the version.
        description: of the version.
        store: that ranks its rows.
        embedder: of the questions, None if they are vectors.

    Raises:
        RefusedError: the embedder is another one than that of the rows.
    """

    def __init__(
        self, rows: Rows, description: Description, store: VectorStore, embedder: Embeds | None = None
    ) -> None:
        self.rows, self.description, self.store = rows, description, store
        self._embedder = embedder
        if embedder is not None and embedder.dimension != description.dimension:
            raise RefusedError(
                f"{description.name} has vectors of {description.dimension} numbers, and the embedder gives {embedder.dimension}.",
                hint=f"{UPDATE}, or search it with the embedder that it was made with.",
            )
        if embedder is not None and description.embedder not in ("", identity(embedder)):
            raise RefusedError(
                f"version {description.version} of {description.name} was embedded by another embedder.",
                hint=f"{UPDATE}, or search it with the embedder that it was made with.",
            )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def version(self) -> int:
        """The version of the index, which is that of its table."""
        return self.description.version

    @property
    def embedder(self) -> Embeds | None:
        """What embeds the questions; None where they are vectors."""
        return self._embedder

    def embedded_by(self, embedder: Embeds) -> Index:
        """The same version with another object that embeds its questions, such as one that does so on behalf of a caller.

        Raises:
            RefusedError: it is another embedder than that of the rows.
        """
        return Index(self.rows, self.description, self.store, embedder)

    def search(
        self,
        query: str | Sequence[float] | Vector,
        k: int = 5,
        where: Mapping[str, object] | None = None,
        *,
        hybrid: bool | None = None,
    ) -> list[Hit]:
        """The documents or chunks that are nearest to a question.

        Args:
            query: a text of at most 100,000 characters, or its vector. Control characters count as blanks. A text of nothing but blanks
                asks for nothing: it finds nothing, and is not embedded.
            k: how many at the most, from 1 to 1,000.
            where: conditions on the metadata, all of which hold: column → a value, a list of values, or an operator and a value, such
                as `(">=", 3)`.
            hybrid: whether the words of the text are ranked, too, and both rankings merged; defaults to what is declared for a
                text, and to no for a vector.

        Returns:
            The best first, equal ones by their key. A hybrid search may give fewer than k only if fewer rows meet the conditions.

        Raises:
            NotFoundError: a condition on a column that the index does not keep.
            DataError: a condition, vector or k that is not possible; a longer text; words of a vector.
        """
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST:
            raise DataError(f"k={k!r} is not possible.", hint=f"From 1 to {MOST:,}.")
        allowed = filtered(self.rows.metadata, where)
        text = _cleaned(query) if isinstance(query, str) else None
        by_words = hybrid if hybrid is not None else text is not None and self.description.hybrid
        if by_words and text is None:
            raise DataError(
                "a hybrid search needs the words of the question.", hint="Search with its text, or hybrid=False."
            )
        if text is not None and not text.strip():
            return []
        vector = self.vector(query if text is None else text)
        if not len(self.rows):
            return []
        if not by_words:
            return self._hits(self.store.nearest(vector, k, allowed))
        depth = max(DEPTH, 4 * k)
        ranking = self.store.nearest(vector, depth, allowed)
        return self._hits(fused([ranking, self.store.matching(text or "", depth, allowed)], k))

    def vector(self, query: str | Sequence[float] | Vector) -> Vector:
        """A question as a vector of length 1.

        Raises:
            DataError: a text, and the index was opened without an embedder; or no vector of finite numbers and of its dimension.
        """
        if isinstance(query, str):
            if self._embedder is None:
                raise DataError(
                    f"{self.description.name} was opened without an embedder.", hint="Search with a vector."
                )
            (query,) = self._embedder.embed([query])
        try:
            vector = np.asarray(query, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"the question is no vector: {error}.") from None
        if vector.shape != (self.description.dimension,):
            raise DataError(
                f"the question has the shape {vector.shape}, and {self.description.name} has vectors of "
                f"{self.description.dimension} numbers."
            )
        with np.errstate(over="ignore"):
            length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0:
            raise DataError("the vector of the question has a number that is not finite, or nothing but zeros.")
        return (vector / length).astype(np.float32)

    def _hits(self, ranking: Sequence[tuple[int, float]]) -> list[Hit]:
        table, metadata = self.rows.table, self.rows.metadata
        return [
            Hit(
                key=table["key"][row].as_py(),
                chunk=table["chunk"][row].as_py(),
                score=score,
                text=table["text"][row].as_py(),
                metadata={name: metadata[name][row].as_py() for name in metadata.column_names},
            )
            for row, score in ranking
        ]


def _cleaned(text: str) -> str:
    """A question as a text that can be encoded, with blanks for control characters.

    Raises:
        DataError: it is too long.
    """
    if len(text) > LONGEST:
        raise DataError(
            f"the question has {len(text):,} characters.", hint=f"At most {LONGEST:,}: search with a part of it."
        )
    text = text.encode("utf-8", "replace").decode()
    return CONTROL.sub(" ", text)
