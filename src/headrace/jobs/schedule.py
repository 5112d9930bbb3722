"""When a job is due: cron expressions, in UTC, and how late it may still begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.clock import duration
from headrace.core.declaration import check_durations
from headrace.core.errors import DeclarationError

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Cron:
    """Five fields: minute, hour, day of month, month, day of week; UTC.

    Attributes:
        misfire_grace: how late a run may begin, `"1h"`; None: however late.
    """

    expression: str
    misfire_grace: str | None = None

    def after(self, moment: datetime) -> datetime:
        """The first moment after this one that the expression names."""
        from cronsim import CronSim

        return next(CronSim(self.expression, moment))

    def due(self, since: datetime, at: datetime) -> bool:
        """Whether a moment that it names has come since another one, and a run may still begin. Several are one run."""
        if self.misfire_grace is not None:
            since = max(since, at - duration(self.misfire_grace))
        return self.after(since) <= at


def cron(expression: str, *, misfire_grace: str | None = None) -> Cron:
    """A schedule: `"0 4 * * *"` is every day at four, UTC.

    What was missed while no scheduler ran is made up for once, however many times it was missed.

    Args:
        expression: minute, hour, day of month, month, day of week.
        misfire_grace: how late a run may begin, `"1h"`: what was missed longer ago is left out. From a minute to 366 days;
            defaults to however late.

    Returns:
        The schedule.

    Raises:
        DeclarationError: not a cron expression of five fields, or no duration of a minute to 366 days.
    """
    from cronsim import CronSim, CronSimError

    from headrace.core.clock import now

    hint = "minute hour day month weekday, as in '0 4 * * *'."
    if not isinstance(expression, str):
        raise DeclarationError(f"{expression!r} is not a schedule: a text is needed.", hint=hint)
    if len(expression.split()) != 5:
        raise DeclarationError(f"{expression!r} is not a schedule: five fields are needed.", hint=hint)
    try:
        next(CronSim(expression, now()))
    except (CronSimError, StopIteration) as error:
        raise DeclarationError(f"{expression!r} is not a schedule: {error}.", hint=hint) from None
    if misfire_grace is not None:
        check_durations("cron", "1m", "366d", misfire_grace=misfire_grace)
    return Cron(expression, misfire_grace)
