"""The split `stratified`: the same share of the decisions of each class, or of each value of a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.declaration import check_names
from headrace.training.splits.base import Split
from headrace.training.splits.hashing import check_share, places

if TYPE_CHECKING:
    from headrace.training.splits.base import Flags, SplitRows


@dataclass(frozen=True)
class Stratified(Split):
    """The same share of each stratum is held out."""

    share: float
    by: str | None
    seed: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of the strata, where it is not the label."""
        return () if self.by is None else (self.by,)

    def held_out(self, rows: SplitRows) -> Flags:
        """Of each stratum those with the lowest places, rounded to whole decisions; one of two or more at least."""
        import pandas as pd

        strata = rows.labels if self.by is None else rows.columns[self.by]
        ranked = pd.Series(places(rows.keys, self.seed), index=rows.labels.index)
        texts = strata.astype(str)
        rank = ranked.groupby(texts).rank(method="first")
        size = ranked.groupby(texts).transform("size")
        taken = (size * self.share).round().clip(lower=1).where(size > 1, 0)
        return (rank <= taken).to_numpy()


def stratified(share: float = 0.2, *, by: str | None = None, seed: int = 0) -> Stratified:
    """Holds out the same share of each class, or of each value of a column. A class with one decision is never held out.

    Args:
        share: of each stratum, between 0 and 1; defaults to 0.2.
        by: a column of the spine whose values are the strata; defaults to the label.
        seed: another one holds out others; defaults to 0.

    Returns:
        The split, for `hr.Evaluate(test=…)`.

    Raises:
        DeclarationError: a share that is not between 0 and 1, a seed that is no whole number, or no name of a column.

    Example:
        `rows` are the decisions on ten orders, of which four were returned; half of each class is held out:

        >>> rows.labels[hr.stratified(0.5).held_out(rows)].value_counts().to_dict()
        {False: 3, True: 2}
        >>> hr.stratified(0.5, by="customer")
        Stratified(share=0.5, by='customer', seed=0)
    """
    check_share("stratified", share, seed)
    if by is not None:
        check_names("stratified", by=(by,))
    return Stratified(float(share), by, seed)
