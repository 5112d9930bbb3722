"""One attempt between its reservation and its settlement."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.llm.gateway.call import Bound, Call, cost_nano
from headrace.llm.gateway.metering import ReservationRequest, Settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.environments.llm import LlmRoute
    from headrace.llm.gateway.ledger_writer import LedgerWriter

GRACE = 60.0  # seconds by which a reservation outlives its call


class Threads:
    """Calls blocking functions in threads of its own. What has begun is finished, also if nobody waits for it any more.

    Args:
        most: how many threads there are at a time.
        name: what their names begin with.
    """

    def __init__(self, most: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(most, thread_name_prefix=name)
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns what the function returns."""
        return await asyncio.shield(self.start(function, *arguments))

    def start(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Task[Any]:
        """Begins, and returns the task."""
        task = asyncio.get_running_loop().create_task(self._call(function, *arguments))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        work = partial(copy_context().run, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    @property
    def running(self) -> frozenset[asyncio.Task[Any]]:
        """What has begun and has not ended."""
        return frozenset(self._running)

    async def drain(self) -> None:
        """Waits for all that has begun."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    def close(self) -> None:
        """Lets its threads end once they are idle, without waiting for them."""
        self._executor.shutdown(wait=False)


class MeteredAttempt:
    """Reserves before an attempt, and settles after it exactly once.

    An attempt whose answer never came may have been counted by the endpoint: it settles what it had reserved. What is to be
    settled is written with the record of the call, in one transaction; before another attempt reserves, it is written first.
    """

    def __init__(self, call: Call, route: LlmRoute, bound: Bound, ledger: LedgerWriter) -> None:
        self.call, self.route, self.bound = call, route, bound
        self._ledger = ledger
        self._reservation: Any = None
        self._ended = False

    async def reserve(self) -> None:
        """Reserves what the attempt may cost at most.

        Raises:
            LimitError: a budget has less left.
        """
        settlements, self.call.settlements = self.call.settlements, []
        for each in settlements:
            await self._ledger.settle(self.call.id, each)
        self.call.reservations += 1
        request = ReservationRequest(
            call_id=f"{self.call.id}.{self.call.reservations}",
            amount=cost_nano(self.route, self.bound.input_tokens, self.bound.output_tokens),
            user=self.call.user,
            model=self.route.model,
            ttl=timedelta(seconds=max(0.0, self.call.left) + GRACE),
        )
        self._reservation = await self._ledger.reserve(request)

    def settle(self, input_tokens: int, output_tokens: int) -> None:
        """The attempt used so many tokens."""
        if self._ended:
            return
        self._ended = True
        amount = cost_nano(self.route, input_tokens, output_tokens)
        self.call.input_tokens += input_tokens
        self.call.output_tokens += output_tokens
        self.call.cost_nano += amount
        self.call.input_cost_nano += cost_nano(self.route, input_tokens, 0)
        if self._ledger.has_budgets:
            self.call.settlements.append(Settlement(reservation=self._reservation, amount=amount))

    def settle_bound(self) -> None:
        """Nobody knows what the attempt used."""
        self.settle(self.bound.input_tokens, self.bound.output_tokens)

    async def release(self) -> None:
        """The attempt cost nothing."""
        if self._ended:
            return
        self._ended = True
        await self._ledger.release(self.call.id, self._reservation)
