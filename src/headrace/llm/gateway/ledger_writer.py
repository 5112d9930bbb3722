"""The thread in which an event loop reserves, settles and records: what comes while it writes is in its next transaction.

A call waits for its transaction, and calls that wait together share one. So a call alone is written at once, and many calls take
little more of the database, of which there is one writer at a time anyway, than one does.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from headrace.core.errors import HeadraceError
from headrace.llm.gateway.metering import EndedCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.llm.gateway.metering import CallEnd, Metering, ReservationRequest, Settlement

LOG = logging.getLogger("headrace.llm.gateway")
BATCH = 200  # calls of one transaction


@dataclass(frozen=True, kw_only=True)
class _Reserve:
    request: ReservationRequest
    done: asyncio.Future[Any]


@dataclass(frozen=True, kw_only=True)
class _End:
    ended: EndedCall
    done: asyncio.Future[None]


@dataclass(frozen=True, kw_only=True)
class _Return:
    """What was reserved by an attempt that cost nothing (`amount` is None), or is settled before the call ends."""

    call_id: str
    reservation: Any
    amount: int | None
    done: asyncio.Future[None]


class LedgerWriter:
    """Reserves, settles and records. It belongs to one event loop; its thread starts with the first call.

    Args:
        metering: budgets and usage.
    """

    def __init__(self, metering: Metering) -> None:
        self._budgets, self._usage = metering.budgets, metering.usage
        self._waiting: SimpleQueue[_Reserve | _End | _Return | None] = SimpleQueue()
        self._thread: Thread | None = None

    @property
    def has_budgets(self) -> bool:
        """Whether calls count in budgets."""
        return self._budgets is not None

    async def reserve(self, request: ReservationRequest) -> Any:
        """Returns the reservation; None where there are no budgets. Where the caller is cancelled, it is released.

        Raises:
            LimitError: a budget has less left.
        """
        if self._budgets is None:
            return None
        done = asyncio.get_running_loop().create_future()
        self._put(_Reserve(request=request, done=done))
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            done.add_done_callback(lambda _: self._return_late(request.call_id, done))
            raise

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        """Comes back when an attempt is settled before its call ends, or could not be, which is logged."""
        await self._returned(call_id, settlement.reservation, settlement.amount)

    async def release(self, call_id: str, reservation: Any) -> None:
        """Comes back when a reservation is returned, or could not be, which is logged."""
        await self._returned(call_id, reservation, None)

    async def end(self, record: CallEnd, settlements: Sequence[Settlement]) -> None:
        """Comes back when a call is settled and recorded, or could not be, which is logged.

        It is written also where the caller is cancelled meanwhile.
        """
        if self._usage is None and not settlements:
            return
        done = asyncio.get_running_loop().create_future()
        self._put(_End(ended=EndedCall(record=record, settlements=tuple(settlements)), done=done))
        await asyncio.shield(done)

    async def close(self) -> None:
        """Waits until all is written, and ends the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            await asyncio.to_thread(thread.join)
            await asyncio.sleep(0)  # what the thread has said is heard

    async def _returned(self, call_id: str, reservation: Any, amount: int | None) -> None:
        if self._budgets is not None:
            done = asyncio.get_running_loop().create_future()
            self._put(_Return(call_id=call_id, reservation=reservation, amount=amount, done=done))
            await asyncio.shield(done)

    def _return_late(self, call_id: str, done: asyncio.Future[Any]) -> None:
        """Nobody waits for a reservation any more."""
        if done.cancelled() or done.exception() is not None:
            return
        late = done.get_loop().create_future()
        self._put(_Return(call_id=call_id, reservation=done.result(), amount=None, done=late))

    def _put(self, item: _Reserve | _End | _Return) -> None:
        self._waiting.put(item)
        if self._thread is None:
            self._thread = Thread(
                target=self._run, args=(item.done.get_loop(),), name="headrace-gateway-ledger", daemon=True
            )
            self._thread.start()

    # ------------------------------------------------------------------------------------------ in the thread

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            batch, is_last = self._next()
            told: list[tuple[asyncio.Future[Any], Any]] = []
            for item in batch:
                if isinstance(item, _Return):
                    self._return(item)
                    told.append((item.done, None))
            if ends := [item for item in batch if isinstance(item, _End)]:
                self._write([item.ended for item in ends])
                told += [(item.done, None) for item in ends]
            if reserves := [item for item in batch if isinstance(item, _Reserve)]:
                results = self._reserve([item.request for item in reserves])
                told += [(item.done, result) for item, result in zip(reserves, results, strict=True)]
            if told and not _tell(loop, told):
                return
            if is_last:
                return

    def _next(self) -> tuple[list[_Reserve | _End | _Return], bool]:
        """Waits for something to write; returns all that waits, and whether nothing follows."""
        item = self._waiting.get()
        batch: list[_Reserve | _End | _Return] = []
        while item is not None:
            batch.append(item)
            if len(batch) == BATCH:
                return batch, False
            try:
                item = self._waiting.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _reserve(self, requests: Sequence[ReservationRequest]) -> list[Any]:
        """For each its reservation, or the error."""
        assert self._budgets is not None
        try:
            return list(self._budgets.reserve_many(requests))
        except HeadraceError as error:  # the database is away, for all of them
            return [error] * len(requests)
        except Exception as error:  # noqa: BLE001  # of whatever database there is: a call without a reservation is not made
            if len(requests) == 1:
                return [error]
            return [result for each in requests for result in self._reserve([each])]

    def _return(self, item: _Return) -> None:
        """A budget that cannot be written keeps its reservation, which counts as spent later: the answer is not lost."""
        assert self._budgets is not None
        if item.amount is None:
            self._quietly(item.call_id, self._budgets.release, item.reservation)
        else:
            self._quietly(item.call_id, self._budgets.settle, item.reservation, item.amount)

    def _write(self, batch: list[EndedCall]) -> None:
        try:
            if self._usage is not None:
                self._usage.settle_and_record(self._budgets, batch)
                return
        except Exception as error:  # noqa: BLE001  # of whatever database there is: the answers are not lost for it
            if len(batch) > 1:  # one that cannot be written takes no other with it
                for each in batch:
                    self._write([each])
                return
            LOG.warning("call %s: its usage was not recorded (%s)", batch[0].record.call_id, type(error).__name__)
        if self._budgets is None:
            return
        for each in batch:
            for settlement in each.settlements:
                self._quietly(each.record.call_id, self._budgets.settle, settlement.reservation, settlement.amount)

    def _quietly(self, call_id: str, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001  # of whatever database there is
            LOG.warning("call %s: its budget was not settled (%s)", call_id, type(error).__name__)


def _tell(loop: asyncio.AbstractEventLoop, told: list[tuple[asyncio.Future[Any], Any]]) -> bool:
    """Wakes who waits. Returns whether the loop still runs."""
    try:
        loop.call_soon_threadsafe(_set, told)
    except RuntimeError:
        return False
    return True


def _set(told: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for done, result in told:
        if done.done():
            continue
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)
