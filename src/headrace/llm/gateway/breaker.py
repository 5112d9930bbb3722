"""A circuit breaker: an endpoint that failed several times in a row is left alone for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Permit = Literal["call", "probe"]


@dataclass(kw_only=True)
class CircuitBreaker:
    """The breaker of one route in this process. All times are those of a monotonic clock, in seconds.

    Attributes:
        failures: how many in a row open it.
        pause: how long it stays open; then one call is let through as a probe.
    """

    failures: int = 5
    pause: float = 30.0
    _in_a_row: int = 0
    _open_until: float | None = None
    _probing: bool = False

    def permit(self, at: float) -> Permit | None:
        """Lets a call through, or does not (None); the first one after the pause is the probe."""
        if self._open_until is None:
            return "call"
        if at < self._open_until or self._probing:
            return None
        self._probing = True
        return "probe"

    def opens_in(self, at: float) -> float:
        """The seconds until the next probe; 0 where calls are let through."""
        return max(0.0, (self._open_until or at) - at)

    def succeeded(self) -> None:
        """A call was answered: it closes."""
        self._in_a_row, self._open_until, self._probing = 0, None, False

    def failed(self, at: float, permit: Permit) -> None:
        """The endpoint did not answer a call as it should."""
        self._in_a_row += 1
        if permit == "probe" or self._in_a_row >= self.failures:
            self._open_until = at + self.pause
        self.undecided(permit)

    def undecided(self, permit: Permit) -> None:
        """A call ended without saying anything about the endpoint: cancelled, or refused for what it asked.

        Only the end of the probe lets another probe through: calls from before the breaker opened may end meanwhile.
        """
        if permit == "probe":
            self._probing = False
