"""Calls of predictors that take too long for the event loop: in a thread, which handles all queued requests in one call.

A call that does not return blocks the requests behind it, and a thread cannot be ended from outside. So callers can see
how long the call has lasted, and the thread does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import time
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.serving.predictors import Answer, Row
    from headrace.serving.version import Serving

    Waiting = tuple[Serving, list[Row], asyncio.Future[list[Answer]]]
    Settled = tuple[asyncio.Future[list[Answer]], list[Answer] | None, Exception | None]


class MicroBatcher:
    """One thread for predictions. What waits for the same version while it is busy is one call; no timer holds anything back.

    Args:
        most: rows that one call takes, but for a request that has more by itself.
    """

    def __init__(self, most: int = 4_096) -> None:
        self._most = most
        self._thread: Thread | None = None
        self._calls: SimpleQueue[tuple[asyncio.AbstractEventLoop, list[Waiting]]] = SimpleQueue()
        self._waiting: list[Waiting] = []
        self._since: float | None = None  # when the call that is under way began

    def lasts(self) -> float:
        """Seconds since the call that is under way began; 0 without one."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def run(self, serving: Serving, rows: list[Row]) -> asyncio.Future[list[Answer]]:
        """The answers to rows, when they are there."""
        waiting: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append((serving, rows, waiting))
        self._next()
        return waiting

    def _next(self) -> None:
        """On the loop: hands the thread what waits, unless it is at work."""
        while self._waiting and self._since is None:
            taken = self._take()
            if taken:
                if self._thread is None:
                    self._thread = Thread(target=self._calling, name="predict", daemon=True)
                    self._thread.start()
                self._since = time.monotonic()
                self._calls.put((asyncio.get_running_loop(), taken))

    def _take(self) -> list[Waiting]:
        """What came first, and what else waits for the same version, as far as one call goes."""
        serving, rows = self._waiting[0][0], 0
        taken: list[Waiting] = []
        left: list[Waiting] = []
        for each in self._waiting:
            if each[2].done():  # whoever asked has gone
                continue
            if each[0] is serving and (not taken or rows + len(each[1]) <= self._most):
                taken.append(each)
                rows += len(each[1])
            else:
                left.append(each)
        self._waiting = left
        return taken

    def _done(self) -> None:
        self._since = None
        self._next()

    def _calling(self) -> None:
        while True:
            self._work(*self._calls.get())

    def _work(self, loop: asyncio.AbstractEventLoop, taken: list[Waiting]) -> None:
        """In the thread."""
        serving = taken[0][0]
        try:
            answers = serving.predictor.many([row for _, rows, _ in taken for row in rows])
        except Exception as error:  # noqa: BLE001  # told to whoever asked
            if len(taken) == 1:
                _tell(loop, _settle, [(taken[0][2], None, error)])
            else:  # one of them spoils the others: each on its own
                for each in taken:
                    self._alone(loop, each)
        else:
            place = 0
            settled: list[Settled] = []
            for _, rows, waiting in taken:
                settled.append((waiting, answers[place : place + len(rows)], None))
                place += len(rows)
            _tell(loop, _settle, settled)
        _tell(loop, self._done)

    def _alone(self, loop: asyncio.AbstractEventLoop, each: Waiting) -> None:
        serving, rows, waiting = each
        try:
            answers = serving.predictor.many(rows)
        except Exception as error:  # noqa: BLE001  # told to whoever asked
            _tell(loop, _settle, [(waiting, None, error)])
        else:
            _tell(loop, _settle, [(waiting, answers, None)])


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *given: object) -> None:
    try:
        loop.call_soon_threadsafe(call, *given)
    except RuntimeError:
        if not loop.is_closed():  # it ended meanwhile, and nobody waits any more
            raise


def _settle(settled: list[Settled]) -> None:
    for waiting, answers, error in settled:
        if waiting.done():  # whoever asked has gone
            continue
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(answers or [])
