"""What a user declares about batch scoring."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from headrace.lakehouse.declarations import check_name

if TYPE_CHECKING:
    from headrace.jobs.schedule import Cron


@dataclass(frozen=True)
class Score:
    """Batch scoring of the spine into a table.

    Args:
        into: the table of predictions.
        every: when `headrace up` scores; None for by hand only.
    """

    _: KW_ONLY
    into: str
    every: Cron | None = None

    def __post_init__(self) -> None:
        check_name(self.into)
