"""What one rendering may use: steps of loops, characters to work on, and bytes of result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.errors import LimitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_STEPS = 10_000  # of all loops of a prompt together
WORK = 50_000_000  # characters, and items of lists counted as WEIGHT each, that are read and written
WEIGHT = 20
CALL = 400  # what a call of a filter costs besides


class Budget:
    """Counts what a rendering uses.

    Args:
        limit: bytes of UTF-8 that the messages may have together.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._bytes = self._steps = self._work = 0

    def add(self, text: str) -> None:
        """Counts a part of the result.

        Raises:
            LimitError: the result has more bytes than it may.
        """
        self._bytes += len(text) if text.isascii() else len(text.encode())
        if self._bytes > self.limit:
            raise LimitError(
                f"the prompt is longer than {self.limit:,} bytes.",
                hint="Pass shorter values, shorten them with {{ value | truncate(2000) }}, or declare a higher limit=.",
            )

    def work(self, amount: int) -> None:
        """Counts what is read or written, before it is.

        Raises:
            LimitError: it is more than it may be.
        """
        self._work += CALL + amount
        if self._work > WORK:
            raise LimitError(
                f"the prompt works on more than {WORK:,} characters, to make its messages.",
                hint="Compute the value in Python, and pass it as an input.",
            )

    def steps(self, items: Iterable[object], inside: int) -> Iterator[object]:
        """The items of a loop, counted.

        Args:
            items: of the loop.
            inside: how many parts of a template one step may execute.

        Raises:
            LimitError: the loops of the prompt have more steps than they may, or long ones.
        """
        for item in items:
            self._steps += 1
            self.work(WEIGHT * inside)
            if self._steps > MOST_STEPS:
                raise LimitError(
                    f"the loops of the prompt have more than {MOST_STEPS:,} steps.",
                    hint="Pass fewer items, or join them in Python and pass one text.",
                )
            yield item
