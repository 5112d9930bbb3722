"""When records are written to the spool: in one write before the answers of a moment are sent, or after them, in a thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from headrace.scoring.spool import SpoolFullError, TooLargeError
from headrace.serving.messages import RefusedRequestError, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.serving.log import Log
    from headrace.serving.messages import Answer
    from headrace.serving.metrics import Counters

TOGETHER = 0.05  # seconds that records for which no answer waits may gather
MOST = 16 * 2**20  # bytes of them; what comes beyond is dropped and counted
LAST = 10.0  # seconds that they may take at the end
TOO_LARGE = (
    "what would be logged of this request is more than the inference log may have; ask for fewer rows at a time."
)
FULL = "the inference log cannot be written, and nothing is answered that is not logged; the server's log says more."


class DeferredResponse:
    """An answer that waits for the log: as much of a future as a connection needs."""

    __slots__ = ("_told", "answer", "records", "refuse", "settled")

    def __init__(
        self, answer: Answer, records: list[bytes], settled: Callable[[int], None], refuse: Callable[[int, str], Answer]
    ) -> None:
        self.answer, self.records, self.settled, self.refuse = answer, records, settled, refuse

    def add_done_callback(self, told: Callable[[DeferredResponse], object], /) -> None:
        """See PendingResponse."""
        self._told = told

    def result(self) -> Answer:
        """See PendingResponse."""
        return self.answer

    def cancelled(self) -> bool:
        """See PendingResponse."""
        return False

    def cancel(self) -> object:
        """See PendingResponse. Whoever asked has gone; what was answered is logged all the same."""

    def done(self) -> None:
        """The answer may leave."""
        self.settled(self.answer.status)
        self._told(self)


class Writing:
    """The way of a server's records to its spool.

    Args:
        log: with the spool.
        counters: in which dropped records are counted.
    """

    def __init__(self, log: Log, counters: Counters) -> None:
        self._log, self._counters = log, counters
        self._held: list[DeferredResponse] = []
        self._gathered: list[bytes] = []
        self._bytes = 0
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log")

    def before(
        self,
        answer: Answer,
        records: list[bytes],
        settled: Callable[[int], None],
        refuse: Callable[[int, str], Answer] = refusal,
    ) -> DeferredResponse:
        """Holds an answer until its records are written, with those of all that is asked in the same turn of the loop.

        Args:
            answer: that is given where they could be; otherwise it is a refusal.
            records: all of them, or none.
            settled: told the status, in the end.
            refuse: makes the refusal from status and message, in the shape of the request's protocol.
        """
        if not self._held:
            asyncio.get_running_loop().call_soon(self._write)
        held = DeferredResponse(answer, records, settled, refuse)
        self._held.append(held)
        return held

    def now(self, records: list[bytes]) -> None:
        """Writes records of one answer.

        Raises:
            RefusedRequestError: the spool cannot take them, now or ever.
        """
        try:
            self._log.append(records)
        except TooLargeError as error:
            raise RefusedRequestError(413, TOO_LARGE) from error
        except SpoolFullError as error:
            raise RefusedRequestError(503, FULL) from error

    def behind(self, records: list[bytes]) -> None:
        """Takes records for which no answer waits."""
        size = sum(map(len, records))
        if self._bytes + size > MOST:
            self._counters.log_dropped += len(records)
            return
        if not self._gathered and not self._busy:
            asyncio.get_running_loop().call_later(TOGETHER, self._hand_over)
        self._gathered += records
        self._bytes += size

    def tick(self) -> None:
        """Seals the spool's segment if it is old enough."""
        if not self._busy:
            self._in_thread(self._log.tick)

    def end(self) -> None:
        """Writes what is left, within some time, and seals the segment."""
        if self._held:
            self._write()
        left, self._gathered = self._gathered, []
        ended = self._thread.submit(self._last, left)
        with suppress(TimeoutError):
            ended.result(LAST)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _last(self, left: list[bytes]) -> None:
        if left:
            self._log.append_what_fits(left)
        if self._log.spool is not None:
            self._log.spool.close()

    # ------------------------------------------------------------------------------------------ before an answer

    def _write(self) -> None:
        held, self._held = self._held, []
        try:
            self._log.append([record for each in held for record in each.records])
        except SpoolFullError:
            for each in held:  # some of them may still have room
                self._write_alone(each)
        for each in held:
            each.done()

    def _write_alone(self, held: DeferredResponse) -> None:
        try:
            self._log.append(held.records)
        except TooLargeError:
            held.answer = held.refuse(413, TOO_LARGE)
        except SpoolFullError:
            held.answer = held.refuse(503, FULL)

    # ------------------------------------------------------------------------------------------ behind it

    def _hand_over(self) -> None:
        if self._busy or not self._gathered:
            return
        taken, self._gathered = self._gathered, []
        self._in_thread(partial(self._log.append_what_fits, taken), sum(map(len, taken)))

    def _in_thread(self, do: Callable[[], int | None], size: int = 0) -> None:
        self._busy = True
        loop = asyncio.get_running_loop()

        def tell(done: Future[int | None]) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._free, done, size)

        self._thread.submit(do).add_done_callback(tell)

    def _free(self, done: Future[int | None], size: int) -> None:
        """On the loop: the thread has nothing to do any more."""
        self._busy = False
        self._bytes -= size
        self._counters.log_dropped += done.result() or 0
        self._hand_over()
