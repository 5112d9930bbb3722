"""Moments as a notebook gives them."""

from __future__ import annotations

from datetime import datetime

from headrace.core import clock
from headrace.core.errors import ConfigError

Moment = datetime | str


def instant(moment: Moment | None) -> datetime | None:
    """A `datetime`, or text as on the command line: `"2013-05-01"`. Either is in UTC where it names no zone.

    Raises:
        ConfigError: it is no moment.
    """
    if moment is not None and not isinstance(moment, datetime | str):
        raise ConfigError(f"{moment!r} is no moment.", hint='Write "2013-05-01", or give a datetime.')
    if moment is None:
        return None
    return clock.instant(moment) if isinstance(moment, str) else clock.utc(moment)
