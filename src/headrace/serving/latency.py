"""Whether requests meet the declared latency of a version, by the counters of the last minute."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

from headrace.serving.metrics import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.serving.metrics import Kind, Tally

INTERVALS = 12  # of five seconds
LEAST = 100  # requests, of which at most five may be slower
SHARE = 0.05


class Latency:
    """Requests that were answered with predictions, and those that certainly took longer than declared."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, int]] = deque(maxlen=INTERVALS)

    def add(self, counted: Iterable[tuple[Kind, Tally]], p95: float) -> str:
        """One more interval; gives what is wrong in the last ones together, empty where nothing is.

        Args:
            counted: requests of the interval, by kind.
            p95: seconds that 95 % of the requests should stay under; of the buckets that are counted in, the one above it
                is compared with.
        """
        place = bisect_left(BUCKETS, p95)
        mine = [tally.buckets for kind, tally in counted if kind.role != "shadow" and kind.status == 200]
        self._last.append((sum(map(sum, mine)), sum(sum(each[place + 1 :]) for each in mine)))
        answered, slower = (sum(each) for each in zip(*self._last, strict=True))
        if answered < LEAST or slower <= SHARE * answered:
            return ""
        bound = BUCKETS[place] * 1000
        return f"{slower:,} of the last {answered:,} requests took longer than {bound:g} ms, p95={p95 * 1000:g} ms is declared"
