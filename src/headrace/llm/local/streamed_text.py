"""The text of an answer as it grows: what may be sent already, and where a stop sequence ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

INCOMPLETE = "\ufffd"  # what a decoder writes for the beginning of a character


class StreamedText:
    """Holds back what is not certain yet: half a character, and what may be the beginning of a stop sequence.

    Args:
        stops: texts that end the answer; they are not part of it.

    Attributes:
        stopped: whether a stop sequence was found.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.stops = tuple(stops)
        self.stopped = False
        self._sent = 0
        self._whole = ""

    def grow(self, whole: str) -> str:
        """Takes the whole answer so far and returns the part that is certain now and was not returned before."""
        found = [place for stop in self.stops if (place := whole.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._whole = whole[: min(found)]
            return self._take(len(self._whole))
        self._whole = whole
        return self._take(len(whole) - self._uncertain(whole))

    def finish(self) -> str:
        """Returns the rest: nothing comes after it."""
        return self._take(len(self._whole))

    def _take(self, end: int) -> str:
        start, self._sent = self._sent, max(self._sent, end)
        return self._whole[start:end]

    def _uncertain(self, whole: str) -> int:
        """How many characters at the end have to wait."""
        half = len(whole) - len(whole.rstrip(INCOMPLETE))
        begun = [length for stop in self.stops for length in range(1, len(stop)) if whole.endswith(stop[:length])]
        return max([half, *begun])
