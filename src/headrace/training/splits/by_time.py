"""The split `by_time`: the last period before the training moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from headrace.core.clock import duration
from headrace.core.declaration import check_durations
from headrace.training.splits.base import Split

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.training.splits.base import Flags, SplitRows


@dataclass(frozen=True)
class ByTime(Split):
    """Decisions of the last stretch are held out."""

    by_time: ClassVar[bool] = True
    window: str

    def begins(self, as_of: datetime) -> datetime:
        """The window's length before the training moment."""
        return as_of - duration(self.window)

    def held_out(self, rows: SplitRows) -> Flags:
        """Later than the beginning of the window."""
        return (rows.at > self.begins(rows.as_of)).to_numpy()


def by_time(window: str = "30d") -> ByTime:
    """Holds out the last period before the training moment: in use, too, a model meets decisions that come after its training.

    Args:
        window: the length of the period, `"12h"`, `"30d"`, `"8w"`; defaults to `"30d"`.

    Returns:
        The split, for `hr.Evaluate(test=…)`; `hr.Evaluate(test="30d")` is the same.

    Raises:
        DeclarationError: no duration.

    Example:
        `rows` are the decisions on ten orders, one a day from the first of May on; training is as of the eleventh:

        >>> rows.at[hr.by_time("3d").held_out(rows)].dt.day.tolist()
        [8, 9, 10]
    """
    check_durations("by_time", window=window)
    return ByTime(window)
