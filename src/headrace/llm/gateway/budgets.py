"""Budgets of a day (UTC): for everything, for each user and for each model, shared by all workers and hosts.

A call reserves what it may cost at most, and settles what it did cost. Both are one transaction on the state database,
over all budgets that the call counts in, so that budgets are never overspent in a race. What was reserved and not
settled before its time to live ran out (its worker was killed, and nobody knows what the endpoint will bill) counts as
spent in full, until somebody settles it after all. Amounts are whole numbers of nano-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from headrace.core.clock import now
from headrace.core.declaration import check, check_whole
from headrace.core.errors import DeclarationError
from headrace.core.failpoints import reach
from headrace.core.prepared import Prepared
from headrace.llm.gateway.budget_limits import BudgetExceededError, BudgetStatus, Limits, Scope
from headrace.llm.gateway.metering import ReservationRequest
from headrace.llm.gateway.tables import BUDGETS, RESERVATIONS, insert, stored_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from headrace.core.state import State

Status = Literal["reserved", "settled", "expired"]

MOST_OF_A_CALL = 10**15  # nano-dollars: a million dollars
LONGEST_TTL = timedelta(days=1)
RESERVATIONS_KEPT = 2  # days that a call id is remembered by, after its own day
BUDGETS_KEPT = 31  # days
CLEANED_EVERY = 200  # reservations of one process


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What a call may spend.

    Attributes:
        call_id: of the call.
        day: whose budgets it counts in, also where it is settled on the next day.
        amount: that is reserved, in nano-dollars.
        scopes: the budgets, as scope and key; none where no limit is declared.
        expires: when it counts as spent in full unless it was settled or released.
        status: `reserved`; `settled` or `expired` where the same call id had a reservation before that ended so.
    """

    call_id: str
    day: date
    amount: int
    scopes: tuple[tuple[Scope, str], ...]
    expires: datetime
    status: Status = "reserved"


Reserved = Reservation | BudgetExceededError | DeclarationError
"""What comes of a request: what may be spent, or why nothing."""


class Budgets:
    """The budgets of one environment. Safe to use from several threads, processes and hosts.

    Each process uses its own clock: near midnight, hosts whose clocks differ count in different days, each within its limit.

    Args:
        state: the environment's state database.
        limits: the declared budgets. All processes should be given the same ones; each enforces its own.
        clock: returns the present, with its zone.
    """

    def __init__(self, state: State, limits: Limits, clock: Callable[[], datetime] = now) -> None:
        self.state, self.limits, self.clock = state, limits, clock
        state.create(BUDGETS, RESERVATIONS)
        self._reservations = 0
        new, names = insert(state, BUDGETS), [each.name for each in BUDGETS.c]
        both = {each.name: each + new.excluded[each.name] for each in (BUDGETS.c.spent_nano, BUDGETS.c.reserved_nano)}
        add = new.on_conflict_do_update(index_elements=["day", "scope", "key"], set_=both)
        self._add = Prepared(state.engine, add, names)
        unless_there = insert(state, RESERVATIONS).on_conflict_do_nothing(index_elements=["call_id"])
        columns = [each.name for each in RESERVATIONS.c]
        self._reserve = Prepared(state.engine, unless_there.returning(RESERVATIONS.c.call_id), columns)
        self._one, self._settle_open, self._of_call = (
            Prepared(state.engine, each) for each in (ONE, SETTLE_OPEN, OF_A_CALL)
        )

    def reserve(
        self, call_id: str, *, amount: int, user: str, model: str, ttl: timedelta = timedelta(minutes=15)
    ) -> Reservation:
        """Reserves what a call may cost at most, in all budgets that it counts in or in none.

        A call id that has a reservation gets that one again, whatever the other arguments, and nothing is added. A free
        call (`amount=0`) is always let through and writes nothing.

        Args:
            call_id: names the call among all workers; remembered for two days.
            amount: nano-dollars.
            user: whose call it is; empty for nobody, whose calls count in the budgets of the day and the model alone.
            model: that is called.
            ttl: how long the call may take. Afterwards the amount counts as spent. At most a day.

        Raises:
            BudgetExceededError: a budget has less left.
            DeclarationError: the amount or the ttl is not possible.
        """
        request = ReservationRequest(call_id=call_id, amount=amount, user=user, model=model, ttl=ttl)
        (result,) = self.reserve_many([request])
        if isinstance(result, Reservation):
            return result
        raise result

    def reserve_many(self, requests: Sequence[ReservationRequest]) -> list[Reserved]:
        """Reserves for several calls in one transaction, in their order; each by itself gets what it asks for or nothing.

        Returns:
            For each call its reservation, or the error that `reserve` raises.
        """
        at = self.clock().astimezone(UTC)
        results: list[Reserved] = [self._wanted(each, at) for each in requests]
        counted = [
            (place, wanted, self._limits(each.user, each.model))
            for place, (each, wanted) in enumerate(zip(requests, results, strict=True))
            if isinstance(wanted, Reservation) and wanted.amount and wanted.scopes
        ]
        if not counted:
            return results
        refused: list[tuple[int, int, BudgetStatus]] = []
        with self.state.begin() as connection:
            for place, wanted, limits in counted:
                reserved = self._reserve_in(connection, wanted, limits)
                if isinstance(reserved, Reservation):
                    results[place] = reserved
                else:
                    refused.append((place, wanted.amount, reserved))
            if refused:
                self._expire_in(connection, at)
            self._clean(connection, at, len(counted))
            for each in requests:
                reach(f"budget.reserving:{each.call_id}")
        for place, amount, status in refused:
            results[place] = BudgetExceededError(self._now(status), amount)
        for each in requests:
            reach(f"budget.reserved:{each.call_id}")
        return results

    def settle(self, reservation: Reservation, amount: int) -> None:
        """Replaces what a call reserved by what it did cost, be it less or more; a second time it changes nothing.

        What comes after the ttl replaces what was counted as spent. What comes after `release` is counted.

        Raises:
            DeclarationError: the amount is not possible.
        """
        check_whole("settle", 0, MOST_OF_A_CALL, amount=amount)
        if reservation.scopes and (reservation.amount or amount):
            with self.state.begin() as connection:
                self.settle_in(connection, reservation, amount)

    def settle_in(self, connection: Connection, reservation: Reservation, amount: int) -> None:
        """Settles within a transaction of the caller that `State.begin` opened. See `settle`."""
        self.settle_many_in(connection, [(reservation, amount)])

    def settle_many_in(self, connection: Connection, settlements: Iterable[tuple[Reservation, int]]) -> None:
        """Settles several calls within a transaction of the caller that `State.begin` opened. See `settle`."""
        change = _Change()
        for reservation, amount in settlements:
            check_whole("settle", 0, MOST_OF_A_CALL, amount=amount)
            if reservation.scopes and (reservation.amount or amount):
                self._settle_in(connection, reservation, amount, change)
        self._add.run(connection, change.rows())

    def _settle_in(self, connection: Connection, reservation: Reservation, amount: int, change: _Change) -> None:
        row = self._settle_open.first(connection, {"mine": reservation.call_id, "settled_nano": amount})
        if row is not None:
            stored = _reservation(row)
            change.add(stored, spent=amount, reserved=-stored.amount)
            return
        stored = self._stored(connection, reservation.call_id)
        if stored is None and reservation.amount and reservation.day < self._oldest():
            return  # it was counted when its time ran out, and is not remembered any more
        if stored is None:  # it was free, or it was released: what it cost is counted all the same
            self._write(connection, reservation, status="settled", settled=amount)
            change.add(reservation, spent=amount)
        elif stored.status == "expired":
            connection.execute(SETTLE, {"mine": reservation.call_id, "settled_nano": amount})
            change.add(stored, spent=amount - stored.amount)

    def release(self, reservation: Reservation) -> None:
        """Returns what a call reserved, because it cost nothing. After `settle`, or a second time, it changes nothing."""
        if not reservation.scopes or not reservation.amount:
            return
        with self.state.begin() as connection:
            stored = self._stored(connection, reservation.call_id)
            if stored is None or stored.status == "settled":
                return
            connection.execute(FORGET, {"mine": stored.call_id})
            change = _Change()
            if stored.status == "reserved":
                change.add(stored, reserved=-stored.amount)
            else:
                change.add(stored, spent=-stored.amount)
            self._add.run(connection, change.rows())

    def left(self, *, user: str, model: str) -> int | None:
        """What a call of a user to a model may cost at most now, in nano-dollars; None where no limit is declared."""
        limits = self._limits(user, model)
        taken = self._taken(self.clock().astimezone(UTC).date(), limits)
        return min((max(0, limit - sum(taken[each])) for each, limit in limits.items()), default=None)

    def status(self, day: date | None = None) -> list[BudgetStatus]:
        """The budgets that were used on a day or are declared by name, in the order of scope and key.

        Args:
            day: UTC, of the last 31; defaults to today.
        """
        at = self.clock().astimezone(UTC)
        self._expire(at)
        day = day or at.date()
        named: dict[tuple[Scope, str], int | None] = {
            ("day", ""): self.limits.day,
            **{("user", stored_name(name)): limit for name, limit in self.limits.users.items()},
            **{("model", stored_name(name)): limit for name, limit in self.limits.models.items()},
        }
        with self.state.read() as connection:
            stored: dict[tuple[Scope, str], tuple[int, int]] = {
                (row.scope, row.key): (row.spent_nano, row.reserved_nano)
                for row in connection.execute(OF_A_DAY, {"today": day})
            }
        declared = {each for each, limit in named.items() if limit is not None}
        used = sorted(stored.keys() | declared, key=lambda each: (SCOPES.index(each[0]), each[1]))
        rows: list[BudgetStatus] = []
        for scope, key in used:
            limit = named[scope, key] if (scope, key) in named else self.limits.of(scope, key)
            spent, reserved = stored.get((scope, key), (0, 0))
            rows.append(BudgetStatus(scope=scope, key=key, day=day, limit=limit, spent=spent, reserved=reserved))
        return rows

    def _limits(self, user: str, model: str) -> dict[tuple[Scope, str], int]:
        """The budgets that a call counts in, and their limits. A call of nobody counts in no budget of a user."""
        names: tuple[tuple[Scope, str], ...] = (("day", ""), *([("user", user)] if user else []), ("model", model))
        return {
            (scope, stored_name(name)): limit
            for scope, name in names
            if (limit := self.limits.of(scope, name)) is not None
        }

    def _wanted(self, request: ReservationRequest, at: datetime) -> Reservation | DeclarationError:
        try:
            check_whole("reserve", 0, MOST_OF_A_CALL, amount=request.amount)
            check("reserve", _is_ttl, "Write a timedelta of up to a day.", ttl=request.ttl)
        except DeclarationError as error:
            return error
        return Reservation(
            call_id=stored_name(request.call_id),
            day=at.date(),
            amount=request.amount,
            scopes=tuple(self._limits(request.user, request.model)),
            expires=at + request.ttl,
        )

    def _reserve_in(
        self, connection: Connection, wanted: Reservation, limits: Mapping[tuple[Scope, str], int]
    ) -> Reservation | BudgetStatus:
        """Reserves, or returns the budget that has less left. What it reads still stands when it writes."""
        taken = self._taken_in(connection, wanted)
        full = next((each for each, limit in limits.items() if sum(taken[each]) + wanted.amount > limit), None)
        if full is None and self._write(connection, wanted, status="reserved"):
            change = _Change()
            change.add(wanted, reserved=wanted.amount)
            self._add.run(connection, change.rows())
            return wanted
        stored = self._stored(connection, wanted.call_id)
        if stored is not None:
            return stored
        assert full is not None  # there is one writer at a time
        spent, reserved = taken[full]
        return BudgetStatus(
            scope=full[0], key=full[1], day=wanted.day, limit=limits[full], spent=spent, reserved=reserved
        )

    def _taken_in(self, connection: Connection, wanted: Reservation) -> dict[tuple[Scope, str], tuple[int, int]]:
        """What is spent and what is reserved of the budgets of a call."""
        keys = dict(wanted.scopes)
        values = {"today": wanted.day, "user": keys.get("user", ""), "model": keys.get("model", "")}
        taken: dict[tuple[Scope, str], tuple[int, int]] = dict.fromkeys(wanted.scopes, (0, 0))
        for row in self._of_call.all(connection, values):
            taken[row.scope, row.key] = (row.spent_nano, row.reserved_nano)
        return taken

    def _write(
        self, connection: Connection, reservation: Reservation, *, status: Status, settled: int | None = None
    ) -> bool:
        values = {
            "call_id": reservation.call_id,
            "day": reservation.day,
            "scopes": [list(each) for each in reservation.scopes],
            "amount_nano": reservation.amount,
            "expires": reservation.expires,
            "status": status,
            "settled_nano": settled,
        }
        return self._reserve.first(connection, values) is not None

    def _stored(self, connection: Connection, call_id: str) -> Reservation | None:
        row = self._one.first(connection, {"mine": call_id})
        return None if row is None else _reservation(row)

    def _now(self, status: BudgetStatus) -> BudgetStatus:
        """How a budget stands now that what ran out of time counts as spent."""
        spent, reserved = self._taken(status.day, [(status.scope, status.key)])[status.scope, status.key]
        return replace(status, spent=spent, reserved=reserved)

    def _taken(self, day: date, budgets: Iterable[tuple[Scope, str]]) -> dict[tuple[Scope, str], tuple[int, int]]:
        """What is spent and what is reserved of some budgets."""
        taken: dict[tuple[Scope, str], tuple[int, int]] = dict.fromkeys(budgets, (0, 0))
        with self.state.read() as connection:
            for row in connection.execute(THESE_OF_A_DAY, {"today": day, "these": list(taken)}):
                taken[row.scope, row.key] = (row.spent_nano, row.reserved_nano)
        return taken

    def _oldest(self) -> date:
        """The first day whose calls are remembered."""
        return self.clock().astimezone(UTC).date() - timedelta(days=RESERVATIONS_KEPT)

    def _expire(self, at: datetime) -> None:
        """Counts reservations whose time ran out as spent. What is left of a budget stays the same: nobody has to hurry."""
        with self.state.read() as connection:
            if connection.execute(EXPIRED.limit(1), {"at": at}).first() is None:
                return
        with self.state.begin() as connection:
            self._expire_in(connection, at)

    def _expire_in(self, connection: Connection, at: datetime) -> None:
        change = _Change()
        for row in connection.execute(EXPIRED, {"at": at}).all():
            reservation = _reservation(row)
            change.add(reservation, spent=reservation.amount, reserved=-reservation.amount)
        rows = change.rows()
        if rows:
            connection.execute(EXPIRE, {"at": at})
        self._add.run(connection, rows)

    def _clean(self, connection: Connection, at: datetime, reservations: int) -> None:
        """Removes what is too old, at the first reservation and now and then."""
        before, self._reservations = self._reservations, self._reservations + reservations
        if before and before // CLEANED_EVERY == self._reservations // CLEANED_EVERY:
            return
        self._expire_in(connection, at)
        for table, kept in ((RESERVATIONS, RESERVATIONS_KEPT), (BUDGETS, BUDGETS_KEPT)):
            connection.execute(sa.delete(table).where(table.c.day < at.date() - timedelta(days=kept)))


class _Change:
    """What several calls add to budgets, one sum for each budget."""

    def __init__(self) -> None:
        self._sums: dict[tuple[date, str, str], tuple[int, int]] = {}

    def add(self, reservation: Reservation, *, spent: int = 0, reserved: int = 0) -> None:
        """Adds to all budgets of a reservation."""
        for scope, key in reservation.scopes:
            budget = (reservation.day, scope, key)
            spent_before, reserved_before = self._sums.get(budget, (0, 0))
            self._sums[budget] = (spent_before + spent, reserved_before + reserved)

    def rows(self) -> list[dict[str, object]]:
        """What is added to each."""
        return [
            {"day": day, "scope": scope, "key": key, "spent_nano": spent, "reserved_nano": reserved}
            for (day, scope, key), (spent, reserved) in self._sums.items()
        ]


SCOPES: tuple[Scope, ...] = ("day", "user", "model")
MINE = RESERVATIONS.c.call_id == sa.bindparam("mine")
ONE = sa.select(RESERVATIONS).where(MINE)
SETTLE = sa.update(RESERVATIONS).where(MINE).values(status="settled", settled_nano=sa.bindparam("settled_nano"))
SETTLE_OPEN = SETTLE.where(RESERVATIONS.c.status == "reserved").returning(RESERVATIONS)
FORGET = sa.delete(RESERVATIONS).where(MINE)
OF_A_DAY = sa.select(BUDGETS).where(BUDGETS.c.day == sa.bindparam("today"))
THESE_OF_A_DAY = OF_A_DAY.where(sa.tuple_(BUDGETS.c.scope, BUDGETS.c.key).in_(sa.bindparam("these", expanding=True)))
OF_A_CALL = sa.union_all(
    OF_A_DAY.where(BUDGETS.c.scope == "day", BUDGETS.c.key == ""),
    OF_A_DAY.where(BUDGETS.c.scope == "user", BUDGETS.c.key == sa.bindparam("user")),
    OF_A_DAY.where(BUDGETS.c.scope == "model", BUDGETS.c.key == sa.bindparam("model")),
)
OVER = (RESERVATIONS.c.status == "reserved", RESERVATIONS.c.expires <= sa.bindparam("at"))
EXPIRED = sa.select(RESERVATIONS).where(*OVER)
EXPIRE = sa.update(RESERVATIONS).where(*OVER).values(status="expired")


def _reservation(row: sa.Row[tuple[object, ...]]) -> Reservation:
    return Reservation(
        call_id=row.call_id,
        day=row.day,
        amount=row.amount_nano,
        scopes=tuple((scope, key) for scope, key in row.scopes),
        expires=row.expires,
        status=row.status,
    )


def _is_ttl(value: object) -> bool:
    return isinstance(value, timedelta) and timedelta(0) < value <= LONGEST_TTL
