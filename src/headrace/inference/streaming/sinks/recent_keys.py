"""The keys that a table has from some moment on, as of one version: who has written all versions since need not ask it.

Only hashes are kept, some more than there are rows at times: what is not among them is certainly not in the table; what is
may be, and the table has to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

MOST = 2_000_000  # hashes, of 8 bytes each
PENDING = 50_000  # hashes that are sorted in together


class RecentKeys:
    """Keys from a moment on; of no table in the beginning."""

    def __init__(self) -> None:
        self._of: tuple[str, int] | None = None  # which table, and which version of it
        self._start: Any = None
        self._sorted: NDArray[np.int64] = np.empty(0, np.int64)
        self._pending: set[int] = set()

    def covers(self, table: str, version: int, start: Any) -> bool:
        """Whether each key is known that a version of a table has from a moment on."""
        return self._of == (table, version) and _kind(start) == _kind(self._start) and start >= self._start

    def begin(self, table: str, version: int, start: Any, keys: Sequence[Hashable]) -> None:
        """From here on these are the keys of a version from a moment on."""
        self._of, self._start, self._pending = (table, version), start, set()
        self._sorted = np.sort(np.fromiter(map(hash, keys), np.int64, len(keys)))

    def forget(self) -> None:
        """Nothing is known any more."""
        self._of, self._start, self._pending = None, None, set()
        self._sorted = np.empty(0, np.int64)

    def none_of(self, keys: Sequence[Hashable]) -> bool:
        """Whether certainly none of these keys is there."""
        hashes = list(map(hash, keys))
        if not self._pending.isdisjoint(hashes):
            return False
        if not len(self._sorted):
            return True
        wanted = np.array(hashes, np.int64)
        places = np.searchsorted(self._sorted, wanted)
        places[places == len(self._sorted)] = 0
        return not bool((self._sorted[places] == wanted).any())

    def add(self, version: int, keys: Sequence[Hashable]) -> None:
        """The version that follows also has these, and differs in nothing else that matters here."""
        assert self._of is not None
        self._of = self._of[0], version
        self._pending.update(map(hash, keys))
        if len(self._pending) > PENDING:
            more = np.sort(np.fromiter(self._pending, np.int64, len(self._pending)))
            self._sorted = np.insert(self._sorted, np.searchsorted(self._sorted, more), more)
            self._pending = set()
        if len(self._sorted) > MOST:
            self.forget()


def _kind(start: Any) -> tuple[type, bool]:
    """Only values of one kind have an order: a local time and an instant have none."""
    return type(start), getattr(start, "tzinfo", None) is None
