"""The calls that belong together, such as those of one answer, so that somebody else can end all of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from headrace.core.errors import HeadraceError
from headrace.llm.gateway.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

    from headrace.llm.gateway.async_gateway import AsyncGateway

LAST = 10.0  # seconds that the end of a call may take


class CancelledCallsError(HeadraceError):
    """The calls of a scope were cancelled."""


class CallScope(Gateway):
    """A gateway for some calls that are cancelled together. Its calls go through the gateway that it was made of.

    Args:
        gateway: that sends the calls, and that somebody else closes.
    """

    def __init__(self, gateway: Gateway) -> None:  # pyright: ignore[reportMissingSuperCall]  # it has no loop of its own
        self._of, self._config = gateway, gateway._config  # noqa: SLF001
        self._guard = Lock()
        self._cancelled = False
        self._tasks: dict[asyncio.Task[Any], asyncio.AbstractEventLoop] = {}

    @property
    def is_open(self) -> bool:
        """Whether the loop of its gateway runs."""
        return self._of.is_open

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Starts work in the loop of the gateway."""
        return self._of.submit(work)

    def cancel(self) -> None:
        """Ends the calls that are open, from any thread and without waiting; no other begins."""
        with self._guard:
            self._cancelled = True
            tasks = list(self._tasks.items())
        for task, loop in tasks:
            with suppress(RuntimeError):  # the loop has ended, and the call with it
                loop.call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        """Ends its calls; the gateway stays open."""
        self.cancel()

    def _core(self) -> AsyncGateway:
        return self._of._core()  # noqa: SLF001

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self._cancelled:
            work.close()
            raise _cancelled()
        try:
            return super()._wait(self._held(work))
        except BaseException:
            if self._cancelled:
                raise _cancelled() from None
            raise

    def _finish(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._of.submit(work).result(LAST)

    async def _held(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.current_task()
        assert task is not None  # `submit` made one
        with self._guard:
            cancelled = self._cancelled
            self._tasks[task] = asyncio.get_running_loop()
        try:
            if cancelled:
                work.close()
                raise _cancelled()
            return await work
        finally:
            with self._guard:
                del self._tasks[task]


def _cancelled() -> CancelledCallsError:
    return CancelledCallsError("the call was cancelled: nobody waits for its answer any more.")
