"""Answers of chains, each in a thread: they take seconds, and none waits for another one. Whoever leaves ends its answer."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import TYPE_CHECKING, Any

from headrace.chains.gateways import current
from headrace.serving.predictors.chain import TimedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.chains.chain import ChainStream
    from headrace.llm.gateway.call_scope import CallScope
    from headrace.llm.gateway.gateway import Gateway
    from headrace.serving.predictors.base import Row
    from headrace.serving.predictors.chain import ChainPredictor

THREADS = 64
AT_ONCE = 8  # rows of one request that are answered at the same time
AHEAD = 16  # pieces that are made before the caller has taken the first of them


def _scope_of(gateway: Gateway) -> CallScope:
    from headrace.llm.gateway.call_scope import CallScope  # needs aiohttp, which a server of other models does without

    return CallScope(gateway)


class _Job:
    """Something that a thread does with a gateway to language models, and how its end is told to the loop."""

    def __init__(
        self, work: Callable[[CallScope | None], Any], told: Callable[[Any, BaseException | None], None]
    ) -> None:
        self._work, self._told = work, told
        self._loop = asyncio.get_running_loop()
        self._scope: CallScope | None = None
        self.cancelled: float | None = None  # since when nobody waits for it

    def run(self) -> None:
        """In the thread."""
        if self.cancelled is not None:
            return
        value, failed = None, None
        try:
            gateway = current()
            self._scope = scope = None if gateway is None else _scope_of(gateway)
            if self.cancelled is not None and scope is not None:  # meanwhile
                scope.cancel()
            value = self._work(scope)
        except BaseException as error:  # noqa: BLE001  # told to whoever asked
            failed = error
        self.tell(self._told, value, failed)

    def tell(self, call: Callable[..., None], *given: object) -> None:
        """Calls something on the loop."""
        with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self._loop.call_soon_threadsafe(call, *given)

    def cancel(self) -> None:
        """Nobody waits for it any more. Its calls of language models are ended."""
        if self.cancelled is None:
            self.cancelled = time.monotonic()
        if (scope := self._scope) is not None:
            scope.cancel()


class _AnswerJob(_Job):
    """One answer of a chain."""

    def __init__(
        self,
        predictor: ChainPredictor,
        row: Row,
        user: str,
        *,
        piece: Callable[[str], None] | None,
        told: Callable[[Any, BaseException | None], None],
    ) -> None:
        super().__init__(self._answer, told)
        self._predictor, self._row, self._user, self._piece = predictor, row, user, piece
        self._room = Semaphore(AHEAD)
        self._stream: ChainStream | None = None

    def so_far(self, finish_reason: str) -> TimedAnswer | None:
        """What there is of the answer, and why there is no more; None where no thread has begun it."""
        if (stream := self._stream) is None:
            return None
        return TimedAnswer(stream.began, stream.answer(finish_reason))

    def taken(self) -> None:
        """The caller has taken a piece."""
        self._room.release()

    def cancel(self) -> None:
        """See _Job."""
        super().cancel()
        self._room.release()

    def _answer(self, scope: CallScope | None) -> TimedAnswer | None:
        self._stream = stream = self._predictor.stream(self._row, scope, user=self._user)
        try:
            for piece in stream:
                if self.cancelled is not None:
                    return None
                if self._piece is not None and piece:
                    self._room.acquire()
                    self.tell(self._piece, piece)
        finally:
            stream.close()
        return TimedAnswer(stream.began, stream.answer())


class AnswerStream:
    """The pieces of one answer, for `async for` on the loop; the thread is never more than some pieces ahead.

    Attributes:
        answer: the whole answer, after the last piece; None before.
    """

    def __init__(self, threads: AnswerThreads, predictor: ChainPredictor, row: Row, user: str) -> None:
        self.answer: TimedAnswer | None = None
        self._came: asyncio.Queue[tuple[str | None, Any, BaseException | None]] = asyncio.Queue()
        self._first: tuple[str | None, Any, BaseException | None] | None = None
        self._ended = False
        self._job = _AnswerJob(
            predictor,
            row,
            user,
            piece=lambda text: self._came.put_nowait((text, None, None)),
            told=lambda value, error: self._came.put_nowait((None, value, error)),
        )
        threads.put(self._job)

    async def begin(self) -> None:
        """Waits until there is a piece, or the end of an answer without one.

        Raises:
            Exception: the answer failed before.
        """
        self._first = await self._came.get()
        if self._first[2] is not None:
            self._ended = True
            raise self._first[2]

    def __aiter__(self) -> AnswerStream:
        return self

    async def __anext__(self) -> str:
        """The next piece."""
        if self._ended:
            raise StopAsyncIteration
        first, self._first = self._first, None
        text, value, error = first or await self._came.get()
        if text is not None:
            self._job.taken()
            return text
        self._ended = True
        if error is not None:
            raise error
        self.answer = value
        raise StopAsyncIteration

    def so_far(self, finish_reason: str) -> TimedAnswer | None:
        """What there is of the answer, and why there is no more; None where there is nothing yet."""
        return self.answer or self._job.so_far(finish_reason)

    def cancel(self) -> None:
        """Ends the answer, unless it has ended."""
        if not self._ended:
            self._ended = True
            self._job.cancel()


class AnswerThreads:
    """Threads for answers. They do not keep the process from ending.

    Attributes:
        size: how many answers are made at the same time; others wait in the order in which they came.
    """

    def __init__(self, size: int = THREADS) -> None:
        self.size = size
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._lock = Lock()
        self._threads = self._idle = 0
        self._running: set[_Job] = set()

    def are_stuck(self, seconds: float) -> bool:
        """Whether each thread is at an answer for which nobody has waited for longer than this."""
        if len(self._running) < self.size:
            return False
        until = time.monotonic() - seconds
        with self._lock:
            left = [job for job in self._running if job.cancelled is not None and job.cancelled < until]
        return len(left) >= self.size

    async def many(self, predictor: ChainPredictor, rows: list[Row], user: str) -> list[TimedAnswer]:
        """The answer to each row. The first failure ends the other rows."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(row: Row) -> TimedAnswer:
            async with room:
                return await self._run(lambda told: _AnswerJob(predictor, row, user, piece=None, told=told))

        tasks = [asyncio.ensure_future(one(row)) for row in rows]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def stream(self, predictor: ChainPredictor, row: Row, user: str) -> AnswerStream:
        """One answer, piece by piece."""
        return AnswerStream(self, predictor, row, user)

    async def call(self, work: Callable[[Gateway | None, str], Any], user: str) -> Any:
        """What a function returns that may take as long as an answer: see `RequestPart.work`."""
        return await self._run(lambda told: _Job(lambda gateway: work(gateway, user), told))

    def put(self, job: _Job) -> None:
        """A job for the next thread that is free."""
        with self._lock:
            if self._idle == 0 and self._threads < self.size:
                self._threads += 1
                Thread(target=self._work, name="answer", daemon=True).start()
            elif self._idle:
                self._idle -= 1
        self._jobs.put(job)

    async def _run(self, make: Callable[[Callable[[Any, BaseException | None], None]], _Job]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def told(value: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)

        job = make(told)
        self.put(job)
        try:
            return await future
        except asyncio.CancelledError:
            job.cancel()
            raise

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            with self._lock:
                self._running.add(job)
            job.run()
            with self._lock:
                self._running.discard(job)
                if self._jobs.empty():
                    self._idle += 1
