"""Limits of a route within one process: open calls, requests and tokens a minute.

Another process has limits of its own; budgets (`metering`) are shared.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

MINUTE = 60.0


@dataclass
class TokenBucket:
    """A bucket that holds a minute's worth and is refilled steadily.

    Attributes:
        per_minute: how much flows in within a minute.
    """

    per_minute: int
    _level: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._level, self._at = float(self.per_minute), time.monotonic()

    def take(self, amount: float, at: float) -> float:
        """Takes an amount, at most a minute's worth, also before it is there.

        Returns:
            The seconds until it is there, which the caller has to wait.
        """
        wait = self.wait(amount, at)
        self._level -= min(amount, float(self.per_minute))
        return wait

    def wait(self, amount: float, at: float) -> float:
        """The seconds until an amount, at most a minute's worth, is there; nothing is taken."""
        self._level = min(float(self.per_minute), self._level + (at - self._at) * self.per_minute / MINUTE)
        self._at = at
        return max(0.0, (min(amount, float(self.per_minute)) - self._level) * MINUTE / self.per_minute)

    def give_back(self, amount: float) -> None:
        """Returns what was taken and not used."""
        self._level = min(float(self.per_minute), self._level + min(amount, float(self.per_minute)))


class RouteLimits:
    """The limits of one route.

    Args:
        concurrency: open calls at a time; None for any number.
        requests_per_minute: None for any number.
        tokens_per_minute: None for any number.
    """

    def __init__(self, concurrency: int | None, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._open = None if concurrency is None else asyncio.Semaphore(concurrency)
        self._requests = None if requests_per_minute is None else TokenBucket(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else TokenBucket(tokens_per_minute)

    def wait_of_rate(self, tokens: int) -> float:
        """Returns the seconds that a request with so many tokens would have to wait now; nothing is taken."""
        at = time.monotonic()
        return max((bucket.wait(amount, at) for bucket, amount in self._amounts(tokens)), default=0.0)

    def take_rate(self, tokens: int, most: float) -> float | None:
        """Takes a request and its tokens.

        Args:
            tokens: that the request may use.
            most: the seconds that can be waited.

        Returns:
            The seconds to wait before it is sent; None, and nothing is taken, where they are more.
        """
        at = time.monotonic()
        wait = max((bucket.take(amount, at) for bucket, amount in self._amounts(tokens)), default=0.0)
        if wait <= most:
            return wait
        self.give_back_rate(tokens)
        return None

    def give_back_rate(self, tokens: int) -> None:
        """Returns what was taken for a request that was not sent."""
        for bucket, amount in self._amounts(tokens):
            bucket.give_back(amount)

    def _amounts(self, tokens: int) -> list[tuple[TokenBucket, float]]:
        amounts = ((self._requests, 1.0), (self._tokens, float(tokens)))
        return [(bucket, amount) for bucket, amount in amounts if bucket is not None]

    async def acquire(self) -> None:
        """Waits until fewer calls are open than may be, and counts as one until `release`."""
        if self._open is not None:
            await self._open.acquire()

    def release(self) -> None:
        """A call that was counted has ended."""
        if self._open is not None:
            self._open.release()
