"""Budgets on real databases: nothing overspent, nothing counted twice, nothing forgotten."""

import pickle
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete, func, select, update
from tests.llm.gateway.conftest import Clock

from headrace.core.errors import DeclarationError
from headrace.llm.gateway.budget_limits import BudgetExceededError, Limits
from headrace.llm.gateway.budgets import Budgets
from headrace.llm.gateway.prices import nano
from headrace.llm.gateway.tables import BUDGETS, RESERVATIONS

ANN = {"user": "ann", "model": "small"}
MINUTE = timedelta(minutes=1)
HOSTILE = [
    "'; drop table gateway_budgets; --",
    '" or 1=1 --',
    "%s %(user)s :mine ? $1 {user}",
    "a\0b",
    "\ud800",
    "\u202eevil\x1b[2J",
    "ü" * 5000,
    "ü" * 4999 + "u",
    "x" * 200 + "…",
]


def standing(budgets, day=None):
    return {(row.scope, row.key): (row.spent, row.reserved) for row in budgets.status(day)}


def rows(state, table):
    with state.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar()


def test_a_call_counts_in_every_declared_budget_and_in_no_other(state, clock):
    budgets = Budgets(state, Limits(day=100, models={"small": 50}), clock)

    reservation = budgets.reserve("1", amount=30, **ANN)

    assert standing(budgets) == {("day", ""): (0, 30), ("model", "small"): (0, 30)}
    assert budgets.left(**ANN) == 20
    assert budgets.left(user="ann", model="large") == 70
    budgets.settle(reservation, 12)
    assert standing(budgets) == {("day", ""): (12, 0), ("model", "small"): (12, 0)}
    assert budgets.left(**ANN) == 38


def test_nothing_is_written_where_no_limit_is_declared(state, clock):
    budgets = Budgets(state, Limits(users={"bob": 10}), clock)

    budgets.settle(budgets.reserve("1", amount=30, **ANN), 20)
    budgets.release(budgets.reserve("2", amount=30, **ANN))

    assert (rows(state, BUDGETS), rows(state, RESERVATIONS)) == (0, 0)
    assert budgets.left(**ANN) is None
    assert standing(budgets) == {("user", "bob"): (0, 0)}


def test_a_call_that_does_not_fit_into_one_budget_reserves_nothing_in_the_others(state, clock):
    budgets = Budgets(state, Limits(day=nano("1"), per_user=nano("0.5"), models={"small": nano("0.2")}), clock)
    budgets.settle(budgets.reserve("1", amount=nano("0.15"), **ANN), nano("0.1"))
    budgets.reserve("2", amount=nano("0.05"), **ANN)

    with pytest.raises(BudgetExceededError) as caught:
        budgets.reserve("3", amount=nano("0.06"), **ANN)

    assert str(caught.value) == (
        "the budget of model 'small' for 2026-03-01 (UTC) is $0.20: $0.10 is spent, $0.05 is reserved, and this call "
        "may cost $0.06.\nIt resets at 2026-03-02T00:00:00Z. A cheaper route or a smaller max_tokens may fit before."
    )
    assert caught.value.resets == datetime(2026, 3, 2, tzinfo=UTC)
    assert (caught.value.budget.scope, caught.value.budget.left) == ("model", nano("0.05"))
    assert set(standing(budgets).values()) == {(nano("0.1"), nano("0.05"))}
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    budgets.reserve("3", amount=nano("0.05"), **ANN)  # the refused id may be used again
    assert budgets.left(**ANN) == 0


def test_reserving_and_settling_again_changes_nothing(state, clock):
    budgets = Budgets(state, Limits(day=100), clock)

    first = budgets.reserve("1", amount=60, **ANN)
    assert budgets.reserve("1", amount=60, **ANN) == first
    assert standing(budgets) == {("day", ""): (0, 60)}
    for amount in (20, 20, 99):
        budgets.settle(first, amount)
    budgets.release(first)
    assert standing(budgets) == {("day", ""): (20, 0)}
    again = budgets.reserve("1", amount=60, **ANN)
    assert again.status == "settled"
    budgets.settle(again, 60)
    assert standing(budgets) == {("day", ""): (20, 0)}


def test_more_than_was_reserved_is_recorded_and_the_next_call_refused(state, clock):
    budgets = Budgets(state, Limits(day=100), clock)

    budgets.settle(budgets.reserve("1", amount=60, **ANN), 130)

    assert standing(budgets) == {("day", ""): (130, 0)}
    assert budgets.left(**ANN) == 0
    with pytest.raises(BudgetExceededError):
        budgets.reserve("2", amount=1, **ANN)


def test_a_budget_of_zero_refuses_what_costs_something_and_lets_free_calls_through(state, clock):
    budgets = Budgets(state, Limits(users={"ann": 0}), clock)

    with pytest.raises(BudgetExceededError):
        budgets.reserve("1", amount=1, **ANN)
    free = budgets.reserve("2", amount=0, **ANN)
    budgets.settle(free, 0)
    assert rows(state, RESERVATIONS) == 0
    budgets.reserve("3", amount=10**15, user="bob", model="small")
    budgets.settle(free, 5)  # it was not free after all
    budgets.settle(free, 5)
    assert standing(budgets) == {("user", "ann"): (5, 0)}


def test_what_was_not_settled_in_time_counts_as_spent_until_it_is_settled_after_all(state, clock):
    budgets = Budgets(state, Limits(day=100), clock)
    late = budgets.reserve("1", amount=60, ttl=10 * MINUTE, **ANN)
    dead = budgets.reserve("2", amount=30, ttl=10 * MINUTE, **ANN)
    back = budgets.reserve("3", amount=10, ttl=10 * MINUTE, **ANN)

    clock.advance(minutes=9, seconds=59)
    assert standing(budgets) == {("day", ""): (0, 100)}
    clock.advance(seconds=1)
    assert standing(budgets) == {("day", ""): (100, 0)}
    assert budgets.reserve("2", amount=30, **ANN).status == "expired"
    with pytest.raises(BudgetExceededError) as caught:
        budgets.reserve("4", amount=1, **ANN)
    assert (caught.value.budget.spent, caught.value.budget.reserved) == (100, 0)
    budgets.settle(late, 15)
    budgets.settle(late, 15)
    budgets.release(back)
    assert standing(budgets) == {("day", ""): (15 + dead.amount, 0)}


def test_a_released_call_that_did_cost_something_is_counted(state, clock):
    budgets = Budgets(state, Limits(day=100), clock)
    reservation = budgets.reserve("1", amount=60, **ANN)

    budgets.release(reservation)
    budgets.release(reservation)
    assert standing(budgets) == {("day", ""): (0, 0)}
    for _ in range(2):
        budgets.settle(reservation, 7)
    assert standing(budgets) == {("day", ""): (7, 0)}


def test_a_new_day_begins_at_midnight_utc_and_a_call_counts_in_the_day_of_its_reservation(state, clock):
    budgets = Budgets(state, Limits(day=100), clock)
    clock.at = datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    yesterday = budgets.reserve("1", amount=80, **ANN)

    clock.at = datetime.fromisoformat("2026-03-02T01:00:00+01:00")
    budgets.reserve("2", amount=100, **ANN)
    budgets.settle(yesterday, 90)

    assert standing(budgets, date(2026, 3, 1)) == {("day", ""): (90, 0)}
    assert standing(budgets) == {("day", ""): (0, 100)}


def test_old_reservations_and_budgets_are_removed_and_settling_one_of_them_changes_nothing(state, clock):
    old = Budgets(state, Limits(day=100), clock)
    reservation = old.reserve("1", amount=80, ttl=timedelta(days=1), **ANN)

    clock.advance(days=3)
    Budgets(state, Limits(day=100), clock).reserve("2", amount=1, **ANN)
    assert rows(state, RESERVATIONS) == 1
    old.settle(reservation, 10)
    old.release(reservation)
    assert standing(old, reservation.day) == {("day", ""): (80, 0)}
    clock.advance(days=40)
    Budgets(state, Limits(day=100), clock).reserve("3", amount=1, **ANN)
    assert (rows(state, RESERVATIONS), rows(state, BUDGETS)) == (1, 1)


def test_limits_that_are_declared_anew_hold_for_what_is_spent_already(state, clock):
    before = Budgets(state, Limits(day=100), clock)
    open_call = before.reserve("1", amount=60, **ANN)

    after = Budgets(state, Limits(day=50, per_user=40), clock)
    with pytest.raises(BudgetExceededError):
        after.reserve("2", amount=1, **ANN)
    after.settle(open_call, 30)  # counts where it was reserved
    after.reserve("2", amount=20, **ANN)
    assert standing(after) == {("day", ""): (30, 20), ("user", "ann"): (0, 20)}
    without = Budgets(state, Limits(), clock)
    assert [(row.limit, row.left) for row in without.status()] == [(None, None)] * 2


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_whatever_users_models_and_calls_are_called_each_has_its_own_budget(state, clock, name):
    budgets = Budgets(state, Limits(per_user=10, per_model=10, users={name: 7}, models={name: 8}), clock)
    for number, other in enumerate(HOSTILE):
        if other != name:
            budgets.reserve(f"other {number}", amount=10, user=other, model=other)

    reservation = budgets.reserve(name, amount=5, user=name, model=name)

    assert budgets.left(user=name, model=name) == 2
    assert budgets.reserve(name, amount=5, user=name, model=name) == reservation
    with pytest.raises(BudgetExceededError):
        budgets.reserve("next", amount=3, user=name, model=name)
    budgets.settle(reservation, 4)
    assert budgets.left(user=name, model=name) == 3
    assert len(budgets.status()) == 2 * len(HOSTILE)


@pytest.mark.parametrize(
    "call", [{"amount": -1}, {"amount": 1.5}, {"amount": True}, {"amount": 10**16}, {"ttl": MINUTE * 0}, {"ttl": 60}]
)
def test_what_cannot_be_reserved_is_an_error(state, clock, call):
    budgets = Budgets(state, Limits(day=100), clock)

    with pytest.raises(DeclarationError, match=f"reserve.{next(iter(call))}="):
        budgets.reserve("1", **{"amount": 1, **ANN, **call})
    with pytest.raises(DeclarationError):
        budgets.settle(budgets.reserve("2", amount=1, **ANN), -1)


@pytest.mark.parametrize("limits", [{"day": -1}, {"per_user": 0.5}, {"users": {"ann": "1"}}, {"models": {"m": 10**19}}])
def test_limits_are_whole_numbers(limits):
    with pytest.raises(DeclarationError):
        Limits(**limits)


def test_a_transaction_that_fails_in_one_budget_leaves_all_as_they_were(state, clock):
    """The conditional update decides, not what was read before: the row is changed behind the object's back."""
    budgets = Budgets(state, Limits(day=100, per_user=100), clock)
    budgets.reserve("1", amount=10, **ANN)
    with state.begin() as connection:
        connection.execute(update(BUDGETS).where(BUDGETS.c.scope == "user").values(spent_nano=85))

    with pytest.raises(BudgetExceededError):
        budgets.reserve("2", amount=6, **ANN)

    assert standing(budgets) == {("day", ""): (0, 10), ("user", "ann"): (85, 10)}
    budgets.reserve("2", amount=5, **ANN)


LIMITS = Limits(day=100, per_user=60, users={"bob": None}, models={"small": 40})
AMOUNTS = st.integers(0, 50)


def machine(state):
    class Spending(RuleBasedStateMachine):
        """Against a dictionary: what each call holds of which budgets."""

        reservations = Bundle("reservations")

        def __init__(self):
            super().__init__()
            self.clock = Clock()
            self.budgets = Budgets(state, LIMITS, self.clock)
            with state.begin() as connection:
                connection.execute(delete(BUDGETS))
                connection.execute(delete(RESERVATIONS))
            self.open, self.settled = {}, {}  # call id → amount
            self.calls = {}  # call id → its first reservation

        def budget(self, day, scope, key):
            """What is spent and reserved."""
            mine = {call_id for call_id, each in self.calls.items() if each.day == day and (scope, key) in each.scopes}
            expired = {call_id for call_id in mine & self.open.keys() if self.calls[call_id].expires <= self.clock()}
            spent = sum(self.settled[call_id] for call_id in mine & self.settled.keys())
            spent += sum(self.open[call_id] for call_id in expired)
            return spent, sum(self.open[call_id] for call_id in mine & self.open.keys() - expired)

        @rule(
            target=reservations,
            call_id=st.sampled_from("abcdefgh"),
            amount=AMOUNTS,
            user=st.sampled_from(["ann", "bob", "eve"]),
            model=st.sampled_from(["small", "large"]),
            minutes=st.integers(1, 600),
        )
        def reserve(self, call_id, amount, user, model, minutes):
            names = {
                ("day", ""): 100,
                ("user", user): LIMITS.of("user", user),
                ("model", model): LIMITS.of("model", model),
            }
            limits = {each: limit for each, limit in names.items() if limit is not None}
            day = self.clock().date()
            fits = all(sum(self.budget(day, *each)) + amount <= limit for each, limit in limits.items())
            known = call_id in self.open or call_id in self.settled
            wanted = {"amount": amount, "user": user, "model": model, "ttl": minutes * MINUTE}
            if not known and amount and not fits:
                with pytest.raises(BudgetExceededError):
                    self.budgets.reserve(call_id, **wanted)
                return self.calls.get(call_id)
            reservation = self.budgets.reserve(call_id, **wanted)
            if not known and amount:
                self.calls[call_id], self.open[call_id] = reservation, amount
            elif known and amount:
                assert (reservation.day, reservation.scopes) == (self.calls[call_id].day, self.calls[call_id].scopes)
            return reservation

        @rule(reservation=reservations, amount=AMOUNTS)
        def settle(self, reservation, amount):
            if reservation is None:
                return
            self.budgets.settle(reservation, amount)
            call_id = reservation.call_id
            if call_id in self.settled or not (reservation.amount or amount):
                return
            if call_id in self.open:
                self.open.pop(call_id)
            elif reservation.amount and reservation.day < self.clock().date() - timedelta(days=2):
                return
            else:
                self.calls[call_id] = reservation
            self.settled[call_id] = amount

        @rule(reservation=consumes(reservations))
        def release(self, reservation):
            if reservation is not None:
                self.budgets.release(reservation)
                if reservation.amount:
                    self.open.pop(reservation.call_id, None)

        @rule(minutes=st.integers(1, 900))
        def advance(self, minutes):
            self.clock.advance(minutes=minutes)

        @invariant()
        def every_budget_stands_as_the_calls_say(self):
            days = {each.day for each in self.calls.values()} | {self.clock().date()}
            for day in days:
                for row in self.budgets.status(day):
                    assert (row.spent, row.reserved) == self.budget(day, row.scope, row.key)
            left = self.budgets.left(user="ann", model="small")
            today = self.clock().date()
            names = {("day", ""): 100, ("user", "ann"): 60, ("model", "small"): 40}
            assert left == min(max(0, limit - sum(self.budget(today, *each))) for each, limit in names.items())

    return Spending


def test_budgets_equal_a_simple_model(state):
    few = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    Budgets(state, LIMITS)
    run_state_machine_as_test(machine(state), settings=few)


def test_nobody_has_no_budget_of_a_user(state, clock):
    budgets = Budgets(state, Limits(day=100, per_user=10), clock)
    budgets.reserve("1", amount=50, user="", model="smol")
    with pytest.raises(BudgetExceededError, match="the budget of user 'ann'"):
        budgets.reserve("2", amount=50, user="ann", model="smol")
    with pytest.raises(BudgetExceededError):
        budgets.reserve("3", amount=51, user="", model="smol")

    assert [(row.scope, row.key) for row in budgets.status()] == [("day", "")]
    assert budgets.left(user="", model="smol") == 50


def test_a_caller_reads_figures_of_its_own_budget_alone(state, clock):
    budgets = Budgets(state, Limits(day=100, per_user=10, models={"vendor-4.1": 20}), clock)
    refused = {}
    for scope, user, amount in (("user", "ann", 11), ("model", "", 21), ("day", "", 101)):
        with pytest.raises(BudgetExceededError) as error:
            budgets.reserve(scope, amount=amount, user=user, model="vendor-4.1" if scope == "model" else "other")
        refused[error.value.budget.scope] = error.value

    assert "the budget of user 'ann'" in refused["user"].for_caller
    for scope in ("model", "day"):
        assert refused[scope].for_caller == "a budget of today is spent; it resets at 2026-03-02T00:00:00Z."
