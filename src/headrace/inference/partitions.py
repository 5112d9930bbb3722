"""Partitions of decisions by time: each is read, kept in memory, written and checkpointed on its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from headrace.features.rows import within
from headrace.lakehouse.identifiers import column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.features.plan import FeaturePlan
    from headrace.features.rows import Decisions
    from headrace.inference.declarations import Every
    from headrace.lakehouse.lakehouse import Lakehouse

Hour = tuple[datetime, int]  # its beginning, and how many decisions it has
FORMATS: dict[Every, str] = {"1h": "%Y-%m-%dT%H", "1d": "%Y-%m-%d", "1mo": "%Y-%m"}


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Decisions in `since <= at < until`; of them part n of m by key, counted from 0.

    Attributes:
        name: `2024-05`, `2024-05-03`; the first moment where that is another one.
        rows: how many there are.
    """

    name: str
    since: datetime
    until: datetime
    part: tuple[int, int] = (0, 1)
    rows: int


def hours(
    lakehouse: Lakehouse, plan: FeaturePlan, decisions: Decisions, *, since: datetime, until: datetime, sample: float
) -> list[Hour]:
    """The hours with decisions, in order of time."""
    with lakehouse.connect(decisions.tables, arrow=decisions.arrow) as connection:
        found = connection.sql(
            f"""
            select epoch_us(date_trunc('hour', {column(plan.at)}::timestamptz)) as hour, count(*) as decisions
            from {decisions.relation} where {within(plan, since=since, until=until, sample=sample)}
            group by all order by all
            """
        ).fetchall()
    epoch = datetime.fromtimestamp(0, UTC)
    return [(epoch + timedelta(microseconds=hour), count) for hour, count in found]


def span(lakehouse: Lakehouse, plan: FeaturePlan, decisions: Decisions) -> tuple[datetime, datetime] | None:
    """The first moment, and the first after the last one; None without rows."""
    with lakehouse.connect(decisions.tables, arrow=decisions.arrow) as connection:
        at = f"epoch_us({column(plan.at)}::timestamptz)"
        ((first, last),) = connection.sql(f"select min({at}), max({at}) from {decisions.relation}").fetchall()
    epoch = datetime.fromtimestamp(0, UTC)
    return None if first is None else (epoch + timedelta(microseconds=first), epoch + timedelta(microseconds=last + 1))


def cut(found: Sequence[Hour], *, since: datetime, until: datetime, every: Every, most: int) -> Iterator[Partition]:
    """Partitions of a stretch: calendar months, days or hours (UTC), and less where one would have more than `most` rows.

    What no hour holds is in no partition.
    """
    for _, grouped in groupby(found, key=lambda hour: start_of(hour[0], every)):
        period = list(grouped)
        begin = start_of(period[0][0], every)
        end = min(end_of(begin, every), until)
        pieces = list(_pieces(period, most))
        for place, (start, rows) in enumerate(pieces):
            first = max(begin if place == 0 else start, since)
            name = f"{begin:{FORMATS[every]}}" if first == begin else _said(first)
            last = pieces[place + 1][0] if place + 1 < len(pieces) else end
            parts = -(-rows // most)
            for part in range(parts):
                told = name if parts == 1 else f"{name} part {part + 1} of {parts}"
                share = rows // parts + (part < rows % parts)
                yield Partition(name=told, since=first, until=last, part=(part, parts), rows=share)


def start_of(moment: datetime, every: Every) -> datetime:
    """The beginning of the period that a moment is in."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if every == "1h":
        return hour
    day = hour.replace(hour=0)
    return day if every == "1d" else day.replace(day=1)


def end_of(start: datetime, every: Every) -> datetime:
    """The beginning of the next period."""
    if every == "1mo":
        return (start + timedelta(days=31)).replace(day=1)
    return start + (timedelta(hours=1) if every == "1h" else timedelta(days=1))


def _pieces(period: Sequence[Hour], most: int) -> Iterator[tuple[datetime, int]]:
    """Neighbouring hours together, as long as they have no more than `most` rows; one that has more stays alone."""
    start, rows = period[0][0], 0
    for hour, count in period:
        if rows and rows + count > most:
            yield start, rows
            start, rows = hour, 0
        rows += count
    yield start, rows


def _said(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat()
