"""Windows of time, UTC: hours, days, weeks that begin on Monday, calendar months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.monitoring.declarations import Granularity

UNITS: dict[Granularity, str] = {"1h": "hour", "1d": "day", "1w": "week", "1mo": "month"}
LENGTHS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "1w": timedelta(weeks=1)}


def start_of(moment: datetime, granularity: Granularity) -> datetime:
    """The beginning of the window that a moment is in."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if granularity == "1h":
        return hour
    day = hour.replace(hour=0)
    if granularity == "1d":
        return day
    return day - timedelta(days=day.weekday()) if granularity == "1w" else day.replace(day=1)


def end_of(start: datetime, granularity: Granularity) -> datetime:
    """The end of the window that begins there; not part of it."""
    if granularity != "1mo":
        return start + LENGTHS[granularity]
    year, month = divmod(start.year * 12 + start.month, 12)
    return start.replace(year=year, month=month + 1)


def between(since: datetime, until: datetime, granularity: Granularity) -> Iterator[tuple[datetime, datetime]]:
    """The windows that touch `since <= moment < until`, in order."""
    start = start_of(since, granularity)
    while start < until:
        end = end_of(start, granularity)
        yield start, end
        start = end


def sql(expression: str, granularity: Granularity) -> str:
    """SQL for the beginning of the window that an instant is in, in a connection whose zone is UTC."""
    return f"date_trunc('{UNITS[granularity]}', {expression})"
