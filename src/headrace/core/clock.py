"""Instants and durations as people write them. All instants are timezone-aware UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def now() -> datetime:
    """The present, UTC, to the microsecond that every store here can keep."""
    return datetime.now(UTC)


def duration(text: str) -> timedelta:
    """Reads `90s`, `15m`, `2h`, `30d`, `1w`.

    Raises:
        ConfigError: anything else, zero or negative included.
    """
    match = re.fullmatch(r"([1-9][0-9]*)([smhdw])", text.strip())
    if not match:
        raise ConfigError(
            f"{text!r} is not a duration.", hint="Write a whole number and a unit: 90s, 15m, 2h, 30d, 1w."
        )
    try:
        return timedelta(**{UNITS[match[2]]: int(match[1])})
    except (OverflowError, ValueError):
        raise ConfigError(f"{text!r} is too long: the longest duration is {timedelta.max.days}d.") from None


def instant(text: str) -> datetime:
    """Reads an ISO 8601 date or time; without a zone it is UTC.

    Raises:
        ConfigError: the text is no such date.
    """
    try:
        read = datetime.fromisoformat(text.strip())
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text!r} is not a date or time.", hint="Write 2013-05-01 or 2013-05-01T06:00:00Z."
        ) from None


def months(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Calendar months (UTC) between two moments; the first and the last may be cut."""
    start = since
    while start < until:
        following = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        year, month = divmod(following.year * 12 + following.month, 12)
        following = following.replace(year=year, month=month + 1)
        yield start, min(following, until)
        start = following
