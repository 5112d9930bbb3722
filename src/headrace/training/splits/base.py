"""The contract of a split: which of the labelled decisions are held out to test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    import pandas as pd

    Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class SplitRows:
    """Labelled decisions up to the training moment; every attribute with rows has the same index.

    Attributes:
        at: the moment of each decision, UTC.
        keys: the key of each decision.
        labels: the label of each decision.
        columns: the columns of the spine that `Split.columns` names.
        as_of: the training moment.
    """

    at: pd.Series
    keys: pd.DataFrame
    labels: pd.Series
    columns: pd.DataFrame
    as_of: datetime


class Split(ABC):
    """Which decisions are held out to test. Subclass it for a split of your own, as a frozen dataclass.

    `held_out(rows)` returns one boolean a row. `rows` has `.keys`, `.columns` (a DataFrame each), `.labels` and `.at` (a Series
    each), all with the same index, and the training moment `.as_of`. The `repr` of an instance is part of the key of the training
    set: it is the same in every process that declares the same.

    Attributes:
        by_time: whether every decision that is held out is later than every one that is fitted on. Defaults to False.

    Example:
        `rows` are the decisions on ten orders, whose key is `order_id`:

        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class EveryNth(hr.Split):
        ...     n: int = 5
        ...     def held_out(self, rows):
        ...         return (rows.keys["order_id"] % self.n == 0).to_numpy()
        >>> rows.keys["order_id"][EveryNth(n=5).held_out(rows)].tolist()
        [5, 10]
    """

    by_time: ClassVar[bool] = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the spine that it reads, beside the key and the moment; defaults to none."""
        return ()

    @property
    def units(self) -> tuple[str, ...]:
        """Columns of the spine whose rows stay together, in testing and in calibrating; defaults to none: rows by themselves."""
        return ()

    def begins(self, as_of: datetime) -> datetime | None:  # noqa: ARG002
        """The moment after which decisions are held out; None where that is not by time.

        Args:
            as_of: the training moment, UTC.
        """
        return None

    @abstractmethod
    def held_out(self, rows: SplitRows) -> Flags:
        """Which rows are held out, in their order. The same rows give the same answer in every process.

        Args:
            rows: labelled decisions up to the training moment: `at`, `keys`, `labels`, `columns` and `as_of`.

        Raises:
            DataError: the rows cannot be divided so; the message says what is in the way.
        """
