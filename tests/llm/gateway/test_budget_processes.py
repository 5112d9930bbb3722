"""Several workers at one budget, and workers that are killed."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from headrace.core.clock import now
from headrace.core.state import State
from headrace.llm.gateway.budget_limits import BudgetExceededError, Limits
from headrace.llm.gateway.budgets import Budgets

LIMIT, AMOUNT, COST = 1_000, 7, 3
WORKER = """
import json, sys
from headrace.core.state import State
from headrace.llm.gateway.budget_limits import BudgetExceededError, Limits
from headrace.llm.gateway.budgets import Budgets

url, name, calls, how = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
state = State(url)
budgets = Budgets(state, Limits(day=1_000, per_user=600))
reserved = []
for number in range(int(calls)):
    try:
        reservation = budgets.reserve(f"{name}-{number}", amount=7, user=f"user {number % 2}", model="small")
    except BudgetExceededError:
        continue
    reserved.append(reservation.call_id)
    if how == "settle":
        budgets.settle(reservation, 3)
        budgets.settle(reservation, 3)
print(json.dumps(reserved))
state.close()
"""


def start(url, name, calls, how, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, url, name, str(calls), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def go(workers):
    """Lets all go at once; what each has reserved."""
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    outputs = [worker.communicate()[0] for worker in workers]
    return [json.loads(output) for output in outputs if output], [worker.returncode for worker in workers]


@pytest.fixture
def budgets(state_url):
    state = State(state_url)
    yield Budgets(state, Limits(day=LIMIT, per_user=600))
    state.close()


@pytest.fixture(autouse=True)
def not_at_midnight():
    """Workers use the real clock: one that begins before midnight and ends after it would find another day's budget."""
    midnight = (now() + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    if midnight - now() < timedelta(minutes=2):
        pytest.skip("a day ends now")


def rows(budgets):
    return {row.key: (row.spent, row.reserved) for row in budgets.status()}


def test_eight_workers_never_reserve_more_than_the_budget_and_leave_nothing_that_fits(state_url, budgets):
    reserved, codes = go([start(state_url, f"worker {number}", 50, "hold") for number in range(8)])

    calls = [call for each in reserved for call in each]
    assert codes == [0] * 8
    assert len(set(calls)) == len(calls) == LIMIT // AMOUNT
    of_users = [sum(int(call.rpartition("-")[2]) % 2 == user for call in calls) for user in (0, 1)]
    assert max(of_users) <= 600 // AMOUNT
    assert rows(budgets) == {
        "": (0, len(calls) * AMOUNT),
        **{f"user {user}": (0, number * AMOUNT) for user, number in enumerate(of_users) if number},
    }


def test_workers_that_settle_spend_what_they_say_and_no_more_than_the_budget(state_url, budgets):
    reserved, codes = go([start(state_url, f"worker {number}", 100, "settle") for number in range(4)])

    calls = sum(map(len, reserved))
    assert codes == [0] * 4
    assert rows(budgets)[""] == (calls * COST, 0)
    assert LIMIT - AMOUNT * 4 < calls * COST <= LIMIT


def test_workers_that_reserve_the_same_calls_reserve_each_once(state_url, budgets):
    reserved, codes = go([start(state_url, "the same", 20, "settle") for _ in range(4)])

    assert codes == [0] * 4
    assert {len(each) for each in reserved} == {20}
    assert rows(budgets) == {"": (20 * COST, 0), "user 0": (10 * COST, 0), "user 1": (10 * COST, 0)}


def test_a_worker_killed_while_it_reserves_has_reserved_nothing(state_url, budgets):
    _, codes = go([start(state_url, "it", 3, "hold", HEADRACE_FAILPOINT="budget.reserving:it-1")])

    assert codes == [-9]
    assert rows(budgets) == {"": (0, AMOUNT), "user 0": (0, AMOUNT)}
    assert go([start(state_url, "it", 3, "settle")])[1] == [0]
    assert rows(budgets)[""] == (3 * COST, 0)


def test_what_a_worker_reserved_that_was_killed_before_it_settled_counts_as_spent_after_the_ttl(state_url, budgets):
    _, codes = go([start(state_url, "it", 3, "settle", HEADRACE_FAILPOINT="budget.reserved:it-1")])

    assert codes == [-9]
    assert rows(budgets)[""] == (COST, AMOUNT)
    day, later = now().date(), now() + timedelta(minutes=16)
    budgets.clock = lambda: later
    assert [(row.spent, row.reserved) for row in budgets.status(day) if row.scope == "day"] == [(COST + AMOUNT, 0)]
    budgets.clock = now
    with pytest.raises(BudgetExceededError):
        budgets.reserve("too much", amount=LIMIT - COST - AMOUNT + 1, user="eve", model="small")
    assert go([start(state_url, "it", 3, "settle")])[1] == [0]  # the same call again, by another worker
    assert rows(budgets)[""] == (3 * COST, 0)
