"""When a job is due: cron expressions, in UTC, and how late it may still begin; or a change of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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

    If runs were missed because no scheduler was running, one run replaces all of them.

    Args:
        expression: minute, hour, day of month, month, day of week (0 or 7 is Sunday), in UTC.
        misfire_grace: how late a run may begin, `"1h"`: a run that was missed longer ago is left out. From a minute to 366 days;
            defaults to however late.

    Returns:
        The schedule, for `every=` of `hr.Score` and `hr.Retrain`; `.after(moment)` is the next moment after another one.

    Raises:
        DeclarationError: not a cron expression of five fields, or no duration of a minute to 366 days.

    Example:
        >>> from datetime import UTC, datetime
        >>> schedule = hr.cron("0 4 * * 1", misfire_grace="2h")  # Mondays at four
        >>> print(schedule.after(datetime(2013, 5, 1, 12, tzinfo=UTC)))
        2013-05-06 04:00:00+00:00
        >>> hr.cron("0 4 * *")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: '0 4 * *' is not a schedule: five fields are needed.
        minute hour day month weekday, as in '0 4 * * *'.
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


class Named(Protocol):
    """Something with a name: a declared table."""

    @property
    def name(self) -> str:
        """Its name."""
        ...


@dataclass(frozen=True)
class OnChange:
    """Due when rows of a table have changed since the last run.

    Attributes:
        table: its name.
    """

    table: str


def on_change_of(table: Named | str) -> OnChange:
    """A schedule: whenever the rows of a table have changed.

    Several changes that come before a run begins are one run.

    Args:
        table: the declared table, or its name.

    Returns:
        The schedule, for `refresh=` of `hr.VectorIndex`.

    Raises:
        DeclarationError: neither a table nor its name.

    Example:
        >>> docs = hr.Table("silver.docs", key="id", sql="SELECT id, body FROM bronze.docs")
        >>> hr.on_change_of(docs)
        OnChange(table='silver.docs')
    """
    name = table if isinstance(table, str) else getattr(table, "name", None)
    if not isinstance(name, str) or not all(name.partition(".")):
        raise DeclarationError(
            f"on_change_of({table!r}) is no table.", hint="Give the table, or its name: 'silver.docs'."
        )
    return OnChange(name)
