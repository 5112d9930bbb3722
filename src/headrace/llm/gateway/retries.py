"""Which failures are tried again, and after how long."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED = frozenset({408, 409, 425, 429, *range(500, 600)})
FIRST, LONGEST = 0.25, 8.0  # seconds
LONGEST_WAIT = 10.0**9


def backoff(attempt: int, retry_after: float | None) -> float:
    """Returns the seconds to wait after a failed attempt.

    Args:
        attempt: its number, from 1.
        retry_after: what the endpoint asked for, which is the least.
    """
    most = min(LONGEST, FIRST * 2 ** (attempt - 1))
    jittered = random.uniform(most / 2, most)  # noqa: S311  # spreads clients; no secret
    return jittered if retry_after is None else retry_after + jittered * 0.1


def retry_after_seconds(value: str | None) -> float | None:
    """Reads the header Retry-After: seconds, or a date. None where it says nothing that can be understood."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, TypeError):
            return None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds < LONGEST_WAIT else None  # NaN and infinity are no time
