"""When a job is due: cron expressions, in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.errors import DeclarationError

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Cron:
    """Five fields: minute, hour, day of month, month, day of week; UTC."""

    expression: str

    def after(self, moment: datetime) -> datetime:
        """The first moment after this one that the expression names."""
        from cronsim import CronSim

        return next(CronSim(self.expression, moment))


def cron(expression: str) -> Cron:
    """A schedule: `"0 4 * * *"` is every day at four, UTC.

    Raises:
        DeclarationError: not a cron expression of five fields.
    """
    from cronsim import CronSim, CronSimError

    from headrace.core.clock import now

    hint = "minute hour day month weekday, as in '0 4 * * *'."
    if len(expression.split()) != 5:
        raise DeclarationError(f"{expression!r} is not a schedule: five fields are needed.", hint=hint)
    try:
        next(CronSim(expression, now()))
    except (CronSimError, StopIteration) as error:
        raise DeclarationError(f"{expression!r} is not a schedule: {error}.", hint=hint) from None
    return Cron(expression)
