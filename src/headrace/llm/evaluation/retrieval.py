"""Metrics of retrieval: identifiers in the order in which they were retrieved, against those that are relevant.

An identifier that was retrieved several times counts once, at its first place. A question without relevant identifiers
has no value (None). Manning, Raghavan, Schütze 2008, "Introduction to information retrieval", chapter 8; the gain of
`ndcg` is 1 for a relevant identifier and 0 for another one, its discount log2(place + 1) (Järvelin and Kekäläinen 2002).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from headrace.core.errors import DataError, DeclarationError, NotFoundError
from headrace.llm.evaluation.values import list_of, same_length, shown

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from headrace.llm.evaluation.values import Floats

Kind = Literal["recall", "precision", "mrr", "ndcg"]
KINDS = ("recall", "precision", "mrr", "ndcg")
NAME = re.compile(r"([a-z]+)(?:@([0-9]{1,9}))?")
MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class RetrievalMetric:
    """One number for a question, from 0 to 1: high is good.

    Attributes:
        kind: which.
        k: how many of the retrieved identifiers count; None for all, which only `mrr` may have.
    """

    kind: Kind
    k: int | None

    @property
    def name(self) -> str:
        """`recall@5`, `mrr`."""
        return self.kind if self.k is None else f"{self.kind}@{self.k}"

    def value(self, retrieved: object, relevant: object) -> float | None:
        """The value for one question.

        Args:
            retrieved: the identifiers, best first: a list, or None where nothing was retrieved.
            relevant: a list in any order, one identifier, or None.

        Returns:
            From 0 to 1; None where nothing is relevant.

        Raises:
            DataError: an identifier is no plain value.
        """
        wanted = set(_identifiers(relevant))
        if not wanted:
            return None
        found = list(dict.fromkeys(_identifiers(retrieved)))[: self.k]
        hits = [place for place, each in enumerate(found, 1) if each in wanted]
        if self.kind == "recall":
            return len(hits) / len(wanted)
        if self.kind == "precision":
            return len(hits) / cast("int", self.k)
        if self.kind == "mrr":
            return 1 / hits[0] if hits else 0.0
        best = sum(1 / math.log2(place + 1) for place in range(1, min(len(wanted), cast("int", self.k)) + 1))
        return min(sum(1 / math.log2(place + 1) for place in hits) / best, 1.0)

    def rows(self, retrieved: Sequence[object], relevant: Sequence[object]) -> Floats:
        """The value of each row; NaN where nothing is relevant. Arguments by row as of `value`."""
        count = same_length(f"the metric {self.name!r}", retrieved=retrieved, relevant=relevant)
        values = np.full(count, math.nan)
        for row, (found, wanted) in enumerate(zip(retrieved, relevant, strict=True)):
            try:
                value = self.value(found, wanted)
            except DataError as error:
                raise DataError(f"row {row}: {error.what}", hint=error.hint) from None
            if value is not None:
                values[row] = value
        return values


def retrieval_metric(name: str) -> RetrievalMetric:
    """The metric of a name: `"recall@5"`, `"precision@3"`, `"mrr"`, `"mrr@10"`, `"ndcg@10"`.

    Raises:
        NotFoundError: there is no metric of this name.
        DeclarationError: its number is not possible, or missing.
    """
    found = NAME.fullmatch(name) if isinstance(name, str) else None
    if not found or found[1] not in KINDS:
        raise NotFoundError("retrieval metric", str(name)[:80], ["recall@5", "precision@5", "mrr", "ndcg@10"])
    return _metric(cast("Kind", found[1]), int(found[2]) if found[2] else None)


def is_retrieval_metric(name: str) -> bool:
    """Whether `retrieval_metric` takes a name as one of its own (its number may still be impossible)."""
    found = NAME.fullmatch(name)
    return found is not None and found[1] in KINDS


def _metric(kind: Kind, k: int | None) -> RetrievalMetric:
    whole = isinstance(k, int) and not isinstance(k, bool) and 1 <= k <= MOST
    if not whole and not (k is None and kind == "mrr"):
        raise DeclarationError(
            f"{kind} of the first {k!r} is not possible.", hint=f'Write how many count, from 1 to {MOST:,}: "{kind}@5".'
        )
    return RetrievalMetric(kind=kind, k=k)


def _identifiers(cell: object) -> list[Hashable]:
    members = list_of(cell) or []
    for each in members:
        if not isinstance(each, str | int | np.integer):
            raise DataError(f"{shown(each)} is no identifier.", hint="Give texts or whole numbers.")
    return cast("list[Hashable]", members)
