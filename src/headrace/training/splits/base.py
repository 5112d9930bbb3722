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
    """How decisions are held out. A kind is a frozen dataclass, whose fields are what the project declares.

    Its `repr` is part of the key of the training set: the same in every process that declares the same.
    """

    by_time: ClassVar[bool] = False  # every decision that is held out is later than every one that is fitted on

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the spine that it reads, beside the key and the moment; defaults to none."""
        return ()

    @property
    def units(self) -> tuple[str, ...]:
        """Columns of the spine whose rows stay together, in testing and in calibrating; defaults to none: rows by themselves."""
        return ()

    def begins(self, as_of: datetime) -> datetime | None:  # noqa: ARG002
        """The moment after which decisions are held out; None where that is not by time."""
        return None

    @abstractmethod
    def held_out(self, rows: SplitRows) -> Flags:
        """Which rows are held out, in their order. The same rows give the same answer in every process.

        Raises:
            DataError: the rows cannot be divided so; the message says what is in the way.
        """
