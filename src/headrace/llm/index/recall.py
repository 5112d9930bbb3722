"""How many of the true neighbours the store of an index finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.llm.index.base import DECIMALS
from headrace.llm.index.exact import ExactStore
from headrace.llm.index.questions import MEASUREMENT, near_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.llm.index.base import Mask
    from headrace.llm.index.search import Index


def recall(
    index: Index, k: int = 10, sample: int = 200, *, mask: Mask | None = None, questions: Sequence[str] = ()
) -> float:
    """The share of the k nearest rows that the store finds, against the comparison with every vector.

    A row that is as near as the k-th counts as found.

    Args:
        index: an open version.
        k: how many neighbours.
        sample: how many questions; fewer in an index of fewer rows.
        mask: rows that a filter leaves; defaults to None, all.
        questions: texts of real questions, of which the first `sample` are asked; the index needs its embedder. Defaults to none:
            vectors of random rows with noise, the same in each call, and others than those that LanceDB is set up with.

    Returns:
        From 0 to 1; 1 of an index without rows.

    Raises:
        DataError: texts, and the index was opened without an embedder.
    """
    vectors = index.rows.vectors
    if not len(vectors) or (mask is not None and not mask.any()):
        return 1.0
    real = [index.vector(text) for text in questions[:sample] if text.strip()]
    exact = ExactStore(index.rows.table["text"], vectors)
    found = wanted = 0
    for vector in real or near_rows(vectors, sample, MEASUREMENT):
        true = exact.nearest(vector, k, mask)
        least = true[-1][1] - 2 * 10**-DECIMALS
        found += min(sum(score >= least for _, score in index.store.nearest(vector, k, mask)), len(true))
        wanted += len(true)
    return found / wanted
