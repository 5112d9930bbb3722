"""Progress of long work: rows, rows per second, time left."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

OFTEN = 0.5  # seconds between two tellings


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A moment of the work.

    Attributes:
        rows: done.
        total: there are.
        per_second: rows; None before any was done.
        left: seconds; None before any was done.
    """

    rows: int
    total: int
    per_second: float | None
    left: float | None

    def __str__(self) -> str:
        said = f"{self.rows:,} of {self.total:,} rows"
        if self.per_second is None or self.left is None:
            return said
        return f"{said}, {self.per_second:,.0f} rows/s, {spoken(self.left)} left"


class Meter:
    """Counts rows as they are done, and tells now and then.

    Args:
        total: rows of the whole work.
        tell: is told.
    """

    def __init__(self, total: int, tell: Callable[[Progress], None]) -> None:
        self._total, self._tell = total, tell
        self._passed = self._done = 0
        self._began = self._told = time.monotonic()

    def add(self, rows: int) -> None:
        """So many more were done."""
        self._done += rows
        if time.monotonic() - self._told >= OFTEN:
            self._told = time.monotonic()
            self._tell(self.now())

    def skip(self, rows: int) -> None:
        """So many more had been done before: they count, and say nothing of how fast it goes."""
        self._passed += rows

    def now(self) -> Progress:
        """How far it is."""
        rows, seconds = self._passed + self._done, time.monotonic() - self._began
        speed = self._done / seconds if self._done and seconds > 0 else None
        left = None if speed is None else max(self._total - rows, 0) / speed
        return Progress(rows=rows, total=max(self._total, rows), per_second=speed, left=left)


def spoken(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
