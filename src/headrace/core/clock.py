"""Instants and durations as people write them. All instants are timezone-aware UTC."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
NANOSECONDS_PER_MILLISECOND = 1_000_000


_frozen: list[Iterator[datetime]] = []  # clocks of tests, the one that was set last at the end


def now() -> datetime:
    """The present, UTC, to the microsecond that every store here can keep."""
    return next(_frozen[-1]) if _frozen else datetime.now(UTC)


@contextmanager
def frozen(at: datetime) -> Generator[None]:
    """Sets the clock of this process to a moment meanwhile, for tests.

    Each question takes it one microsecond further, so that what is recorded first keeps the earlier time. Where several are
    set, the one that was set last counts.

    Args:
        at: the moment; without a zone it is UTC.
    """
    start = utc(at)
    ticking = (start + timedelta(microseconds=place) for place in count())
    _frozen.append(ticking)
    try:
        yield
    finally:
        _frozen[:] = [each for each in _frozen if each is not ticking]


def utc(moment: datetime) -> datetime:
    """The same moment in UTC; one without a zone is in UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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
        return utc(datetime.fromisoformat(text.strip()))
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


def later(text: str) -> datetime:
    """Reads a moment: a date or time as `instant`, or how long it is from now, as `duration`.

    Raises:
        ConfigError: the text is neither.
    """
    if re.fullmatch(r"\s*[0-9]+[a-z]\s*", text):
        try:
            return now() + duration(text)
        except OverflowError:
            raise ConfigError(f"{text!r} from now is too late.", hint="Write 4h, 2d or 2013-05-01T06:00:00Z.") from None
    return instant(text)
