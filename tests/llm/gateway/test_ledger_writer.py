"""What waits together is written together; who is cancelled keeps nothing reserved."""

import asyncio
import threading
from datetime import timedelta

import pytest

from headrace.core.errors import DeclarationError
from headrace.llm.gateway.budget_limits import BudgetExceededError, Limits
from headrace.llm.gateway.budgets import Budgets
from headrace.llm.gateway.ledger_writer import LedgerWriter
from headrace.llm.gateway.metering import Metering, ReservationRequest, Settlement


def request(call_id, amount=10, user="ann"):
    return ReservationRequest(call_id=call_id, amount=amount, user=user, model="small", ttl=timedelta(minutes=1))


class Slow(Budgets):
    """Budgets whose first transaction waits until it may."""

    def __init__(self, state, limits):
        super().__init__(state, limits)
        self.batches, self.entered, self.may = [], threading.Event(), threading.Event()

    def reserve_many(self, requests):
        self.batches.append(len(requests))
        self.entered.set()
        assert self.may.wait(20)
        if len(requests) > 1 and any(each.call_id == "poison" for each in requests):
            raise ValueError("the database does not take one of them")
        return super().reserve_many(requests)


@pytest.fixture
def budgets(state):
    return Slow(state, Limits(day=100, users={"eve": 5}))


def standing(budgets):
    return {row.key: (row.spent, row.reserved) for row in budgets.status()}


async def reserve_together(budgets, requests):
    """The first one is written alone; the others wait meanwhile."""
    writer = LedgerWriter(Metering(budgets=budgets))
    first = asyncio.create_task(writer.reserve(request("first")))
    await asyncio.to_thread(budgets.entered.wait, 20)
    others = [asyncio.create_task(writer.reserve(each)) for each in requests]
    await asyncio.sleep(0)
    budgets.may.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    await writer.close()
    return results


def test_calls_that_wait_reserve_in_one_transaction_and_each_gets_its_own_or_nothing(budgets):
    requests = [request("1", 50), request("2", 50), request("3", 6, "eve"), request("4", 40), request("5", -1)]
    _, one, two, three, four, five = asyncio.run(reserve_together(budgets, requests))

    assert budgets.batches == [1, 5]
    assert (one.amount, four.amount) == (50, 40)
    assert isinstance(two, BudgetExceededError)
    assert isinstance(three, BudgetExceededError)
    assert (three.budget.scope, three.budget.key, three.budget.left) == ("user", "eve", 5)
    assert isinstance(five, DeclarationError)
    assert standing(budgets) == {"": (0, 100), "eve": (0, 0)}


def test_one_that_cannot_be_reserved_takes_no_other_with_it(budgets):
    results = asyncio.run(reserve_together(budgets, [request("1"), request("poison"), request("2")]))

    assert budgets.batches == [1, 3, 1, 1, 1]
    assert [each.call_id for each in results] == ["first", "1", "poison", "2"]
    assert standing(budgets) == {"": (0, 40), "eve": (0, 0)}


def test_who_is_cancelled_while_it_reserves_keeps_nothing_reserved(budgets):
    async def run():
        writer = LedgerWriter(Metering(budgets=budgets))
        leaving = asyncio.create_task(writer.reserve(request("1")))
        await asyncio.to_thread(budgets.entered.wait, 20)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        budgets.may.set()
        await writer.reserve(request("2"))
        await writer.close()

    asyncio.run(run())
    assert standing(budgets) == {"": (0, 10), "eve": (0, 0)}


def test_what_is_settled_and_released_is_written_before_close_comes_back(budgets):
    async def run():
        writer = LedgerWriter(Metering(budgets=budgets))
        budgets.may.set()
        one, two = await writer.reserve(request("1")), await writer.reserve(request("2"))
        tasks = [
            asyncio.create_task(writer.settle("1", Settlement(reservation=one, amount=3))),
            asyncio.create_task(writer.release("2", two)),
        ]
        await asyncio.sleep(0)
        await writer.close()
        assert standing(budgets) == {"": (3, 0), "eve": (0, 0)}
        await asyncio.gather(*tasks)

    asyncio.run(run())
