"""What calls to language models used: each call for a declared retention, and sums of days, which remain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, cast, get_args

import sqlalchemy as sa

from headrace.core.clock import now
from headrace.core.declaration import check
from headrace.core.ids import digest
from headrace.core.prepared import Prepared
from headrace.llm.gateway.tables import CALLS, DAILY_USAGE, insert, stored_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date

    from sqlalchemy import Connection

    from headrace.core.state import State
    from headrace.llm.gateway.budgets import Budgets
    from headrace.llm.gateway.metering import CallEnd, EndedCall

Dimension = Literal["application", "version", "prompt", "prompt_version", "user", "model", "route", "day"]

NAMES = ("route", "model", "application", "prompt", "user")
DIMENSIONS = ("route", "model", "application", "version", "prompt", "prompt_version", "user")
COUNTED = ("cached", "failed", "cancelled", "refused")  # outcomes with a column of their own
SUMS = ("calls", *COUNTED, "attempts", "input_tokens", "output_tokens", "cost_nano")
BATCH = 500  # calls that are looked up by one statement
CLEANED_EVERY, CLEANED = 100, 500  # after so many calls of one process, so many calls are removed at most


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    """What calls used together.

    Attributes:
        by: the value of each dimension that was requested; a version is None where there is none.
        calls: all of them, with those that were cached, failed, cancelled or refused.
        cached: answered from the cache.
        failed: without an answer.
        cancelled: by the client.
        refused: by a budget or a limit, and sent nowhere.
        attempts: requests to endpoints.
        input_tokens: that were sent.
        output_tokens: that were answered.
        cost_nano: in nano-dollars.
        latency_p50_ms: half of the calls that an endpoint answered took no longer; of the calls that are still stored, and
            None where none is.
        latency_p95_ms: 95 % of them took no longer.
    """

    by: Mapping[str, str | int | date | None]
    calls: int
    cached: int
    failed: int
    cancelled: int
    refused: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_nano: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None


class Usage:
    """The usage of one environment. Safe to use from several threads, processes and hosts.

    Args:
        state: the environment's state database.
        retention: how long each call is kept; sums of days remain.
        clock: returns the present, with its zone.
    """

    def __init__(
        self, state: State, *, retention: timedelta = timedelta(days=30), clock: Callable[[], datetime] = now
    ) -> None:
        self.state, self.retention, self.clock = state, retention, clock
        state.create(CALLS, DAILY_USAGE)
        self._recorded = 0
        call = insert(state, CALLS).on_conflict_do_nothing(index_elements=["call_id"]).returning(CALLS.c.call_id)
        self._call = Prepared(state.engine, call, [each.name for each in CALLS.c])
        self._calls = Prepared(state.engine, sa.insert(CALLS), [each.name for each in CALLS.c])
        new = insert(state, DAILY_USAGE)
        more = new.on_conflict_do_update(
            index_elements=["day", "digest"], set_={name: DAILY_USAGE.c[name] + new.excluded[name] for name in SUMS}
        )
        self._sum = Prepared(state.engine, more, [each.name for each in DAILY_USAGE.c])

    def settle_and_record(self, budgets: Budgets | None, ended: Sequence[EndedCall]) -> None:
        """Settles what calls did cost and stores the calls in one transaction: all or none.

        Args:
            budgets: on the same state database; None where nothing is to be settled.
            ended: the calls, each with what it settles.
        """
        rows = _by_id(each.record for each in ended)
        with self.state.begin() as connection:
            if budgets is not None:
                settlements = [(one.reservation, one.amount) for each in ended for one in each.settlements]
                budgets.settle_many_in(connection, settlements)
            if rows:
                self._record_rows(connection, rows)

    def _record_rows(self, connection: Connection, rows: dict[object, dict[str, object]]) -> int:
        """Stores those calls that are not stored, and returns how many these are."""
        ids = list(rows)
        if len(ids) == 1:
            (row,) = rows.values()
            if self._call.first(connection, row) is not None:
                self._sum.run(connection, _sums([row]))
            else:
                rows.clear()
            self._clean(connection, 1)
            return len(rows)
        for start in range(0, len(ids), BATCH):
            known = sa.select(CALLS.c.call_id).where(CALLS.c.call_id.in_(ids[start : start + BATCH]))
            for call_id in connection.execute(known).scalars().all():
                del rows[call_id]
        if rows:
            self._calls.run(connection, list(rows.values()))
            self._sum.run(connection, _sums(rows.values()))
        self._clean(connection, len(ids))
        return len(rows)

    def report(
        self, by: Sequence[Dimension] = (), *, since: date | None = None, until: date | None = None
    ) -> list[UsageRow]:
        """Usage by some of the dimensions, the dearest first.

        Args:
            by: application, version, prompt, prompt_version, user, model, route, day; none for one sum of everything.
            since: the first day (UTC); defaults to the first that there is.
            until: the day after the last one (UTC); defaults to no end.

        Raises:
            DeclarationError: a dimension that there is not, or one twice.
        """
        known = get_args(Dimension)
        check(
            "report",
            lambda value: set(cast("Sequence[str]", value)) <= set(known) and len(set(by)) == len(by),
            f"Any of {', '.join(known)}, each once.",
            by=tuple(by),
        )
        with self.state.read() as connection:
            latencies = _latencies(connection, by, since, until)
            columns = [DAILY_USAGE.c[name] for name in by]
            sums = [sa.cast(sa.func.sum(DAILY_USAGE.c[name]), sa.BigInteger).label(name) for name in SUMS]
            wanted = sa.select(*columns, *sums).where(*_within(DAILY_USAGE, since, until)).group_by(*columns)
            rows = [row for row in connection.execute(wanted).mappings() if row["calls"]]
        found: list[UsageRow] = []
        for row in rows:
            key = tuple(row[name] for name in by)
            median, tail = latencies.get(key, (None, None))
            sums_of_row = {name: row[name] for name in SUMS}
            found.append(
                UsageRow(by=dict(zip(by, key, strict=True)), latency_p50_ms=median, latency_p95_ms=tail, **sums_of_row)
            )
        return sorted(found, key=lambda row: (-row.cost_nano, -row.calls, [str(each) for each in row.by.values()]))

    def clean(self) -> int:
        """Removes the calls that are older than the retention, at most 500, oldest first; recording does so by and by.

        Returns:
            How many were removed.
        """
        with self.state.begin() as connection:
            return self._remove(connection)

    def _clean(self, connection: Connection, calls: int) -> None:
        """Removes old calls, faster than new ones come."""
        before, self._recorded = self._recorded, self._recorded + calls
        if before // CLEANED_EVERY != self._recorded // CLEANED_EVERY:
            self._remove(connection)

    def _remove(self, connection: Connection) -> int:
        old = sa.select(CALLS.c.call_id).where(CALLS.c.at < self.clock() - self.retention)
        some = old.order_by(CALLS.c.at).limit(CLEANED).scalar_subquery()
        return connection.execute(sa.delete(CALLS).where(CALLS.c.call_id.in_(some))).rowcount


def _by_id(records: Iterable[CallEnd]) -> dict[object, dict[str, object]]:
    """The rows of calls; of one call id the first one."""
    rows: dict[object, dict[str, object]] = {}
    for row in map(_row, records):
        rows.setdefault(row["call_id"], row)
    return rows


def _row(record: CallEnd) -> dict[str, object]:
    row: dict[str, object] = {each.name: getattr(record, each.name) for each in fields(record)}
    for name in ("call_id", *NAMES):
        row[name] = stored_name(cast("str", row[name]))
    row["day"] = record.at.astimezone(UTC).date()
    return row


def _sums(rows: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """One row for each day and combination of dimensions."""
    keys: dict[tuple[object, str], Mapping[str, object]] = {}
    sums: dict[tuple[object, str], Counter[str]] = {}
    for row in rows:
        dimensions = {name: row[name] for name in DIMENSIONS}
        key = (row["day"], digest(dimensions))
        keys[key] = dimensions
        total = sums.setdefault(key, Counter())
        total["calls"] += 1
        if row["outcome"] in COUNTED:
            total[cast("str", row["outcome"])] += 1
        for name in ("attempts", "input_tokens", "output_tokens", "cost_nano"):
            total[name] += cast("int", row[name])
    return [
        {"day": day, "digest": name, **keys[day, name], **{each: total[each] for each in SUMS}}
        for (day, name), total in sums.items()
    ]


def _latencies(
    connection: Connection, by: Sequence[str], since: date | None, until: date | None
) -> dict[tuple[object, ...], tuple[float | None, float | None]]:
    """The nearest-rank percentiles of each group of answered calls."""
    columns = [CALLS.c[name] for name in by]
    groups = columns or None
    ranked = (
        sa.select(
            *columns,
            CALLS.c.latency_ms,
            sa.func.row_number().over(partition_by=groups, order_by=CALLS.c.latency_ms).label("rank"),
            sa.func.count().over(partition_by=groups).label("number"),
        )
        .where(CALLS.c.outcome == "answered", *_within(CALLS, since, until))
        .subquery()
    )
    at = [(ranked.c.number * percent + 99) // 100 for percent in (50, 95)]
    wanted = sa.select(
        *(ranked.c[name] for name in by),
        *(sa.func.max(sa.case((ranked.c.rank == rank, ranked.c.latency_ms))) for rank in at),
    ).group_by(*(ranked.c[name] for name in by))
    return {tuple(row[: len(by)]): (row[-2], row[-1]) for row in connection.execute(wanted)}


def _within(table: sa.Table, since: date | None, until: date | None) -> list[sa.ColumnElement[bool]]:
    limits = [table.c.day >= since if since else None, table.c.day < until if until else None]
    return [each for each in limits if each is not None]
