"""Patience with limits of a rate, for work that may take its time."""

from __future__ import annotations

import time
from threading import Condition
from typing import TYPE_CHECKING, TypeVar

from headrace.core.errors import RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
PATIENCE = 180.0  # seconds without any answer: limits are of a minute
PAUSE = 2.0  # seconds between two attempts, unless another answer comes first


class Pace:
    """Tries again what limits of a rate did not let through, as long as anything is let through. Safe from several threads.

    Args:
        patience: the seconds without any answer after which the error is raised; 0 for at once.
        pause: the seconds between two attempts.
    """

    def __init__(self, patience: float = 0.0, *, pause: float = PAUSE) -> None:
        self._patience, self._pause = patience, pause
        self._answered, self._last = Condition(), time.monotonic()

    def call(self, do: Callable[[], T]) -> T:
        """What a function returns.

        Raises:
            RateLimitedError: nothing was let through for as long as there is patience.
        """
        while True:
            try:
                made = do()
            except RateLimitedError:
                with self._answered:
                    if time.monotonic() - self._last >= self._patience:
                        raise
                    self._answered.wait(self._pause)
                continue
            with self._answered:
                self._last = time.monotonic()
                self._answered.notify()
            return made
