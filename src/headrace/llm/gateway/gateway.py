"""The gateway to language models, for any thread."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from headrace.core import credentials
from headrace.core.errors import NotFoundError
from headrace.llm.gateway.async_gateway import NO_METERING, NO_TAGS, AsyncGateway
from headrace.llm.gateway.protocols.base import limit_of_route

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence
    from concurrent.futures import Future

    import numpy as np
    import numpy.typing as npt

    from headrace.environments.llm import LlmConfig, LlmRoute
    from headrace.llm.gateway.declarations import Route
    from headrace.llm.gateway.metering import Metering
    from headrace.llm.gateway.requests import CallTags, ChatRequest, Completion
    from headrace.llm.gateway.stream import AsyncChatStream

CLOSING = 10.0  # seconds


class Gateway:
    """Sends requests to language models over named routes. Safe to use from several threads, and after a fork.

    One deadline holds for a call with all its attempts and fallbacks; a route has an equal share of the time that is left
    for it and for what may be asked after it: its fallbacks, and the next routes of a `Route`. Connection failures,
    time-outs and the statuses 408, 409, 425, 429 and 5xx are tried again with growing pauses, no sooner than the endpoint asks for. Then the fallback is asked, also where an answer
    cannot be understood, the breaker of the route is open, or the route's rate is used up. What an endpoint refuses (400,
    401, 403, 404) is an error at once.

    **Concurrency, rate limits and breakers are those of one process**: several workers together may do as many times as
    much. Budgets are shared by all of them.

    Args:
        config: the routes of an environment: `Environment.llm`.
        metering: budgets, usage and cache. Defaults to none.
        breaker_failures: how many failures in a row open the breaker of a route.
        breaker_pause: the seconds until it lets a probe through.
    """

    def __init__(
        self,
        config: LlmConfig,
        *,
        metering: Metering = NO_METERING,
        breaker_failures: int = 5,
        breaker_pause: float = 30.0,
    ) -> None:
        self._make = lambda: AsyncGateway(
            config, metering=metering, breaker_failures=breaker_failures, breaker_pause=breaker_pause
        )
        self._config = config
        self._reset()
        _gateways.add(self)

    def __repr__(self) -> str:
        return "Gateway(…)"

    def identity(self, route: str) -> dict[str, str]:
        """What answers of a route depend on beside the request: its protocol, address and model.

        Raises:
            NotFoundError: there is no such route.
        """
        found = self._configured(route)
        return {"protocol": found.protocol, "url": credentials.shown(found.url), "model": found.model}

    @property
    def routes(self) -> tuple[str, ...]:
        """The names of the routes that are configured."""
        return tuple(self._config.routes)

    def identities(self, routes: Iterable[str]) -> dict[str, dict[str, str]]:
        """The `identity` of some routes, and of the fallbacks that may answer in their place, by name.

        Raises:
            NotFoundError: there is no such route.
        """
        names = {name for first in routes for name in (first, *self.fallbacks(first))}
        return {name: self.identity(name) for name in sorted(names)}

    def fallbacks(self, route: str) -> tuple[str, ...]:
        """The routes that may answer in the place of one, in the order in which they are asked.

        Raises:
            NotFoundError: there is no such route.
        """
        found: list[str] = []
        following = self._configured(route).fallback
        while following is not None:
            found.append(following)
            following = self._config.routes[following].fallback
        return tuple(found)

    def token_limit(self, route: str) -> int | None:
        """The most tokens of an answer where a request sets no limit; None leaves it to the endpoint.

        Raises:
            NotFoundError: there is no such route.
        """
        return limit_of_route(self._configured(route))

    def complete(
        self,
        request: ChatRequest,
        *,
        route: str | Route,
        user: str = "",
        tags: CallTags = NO_TAGS,
        timeout: float | None = None,
    ) -> Completion:
        """Returns an answer.

        Args:
            request: the messages and settings.
            route: the name of a route, or a `Route` of several.
            user: a pseudonym, for budgets and usage.
            tags: on whose behalf the call is.
            timeout: seconds, in place of the route's.

        Raises:
            NotFoundError: there is no such route.
            DeadlineError: no answer came in time.
            RateLimitedError: limits, here or at the endpoint, let nothing through in time.
            LimitError: a budget has too little left.
            EndpointRefusedError: the endpoint refuses the request.
            MalformedAnswerError: it answered with something that cannot be understood.
            UnavailableError: no route can be reached.
        """
        return self._wait(self._core().complete(request, route=route, user=user, tags=tags, timeout=timeout))

    def stream(
        self,
        request: ChatRequest,
        *,
        route: str | Route,
        user: str = "",
        tags: CallTags = NO_TAGS,
        timeout: float | None = None,
    ) -> ChatStream:
        """Returns an answer piece by piece.

        Nothing is sent before the first piece is read. Until it has come, a call is tried again as in `complete`; afterwards
        a failure is an error. Only the time spent waiting for the endpoint counts: a slow reader holds the connection,
        and not memory. Where a `Route` has `accept`, only its last route is streamed, and an answer of one before comes whole.

        Args:
            request: the messages and settings.
            route: the name of a route, or a `Route` of several.
            user: a pseudonym, for budgets and usage.
            tags: on whose behalf the call is.
            timeout: seconds, in place of the route's.

        Returns:
            An iterator of texts, to be closed (`with`) where it may not be read to its end. It then has the `completion`.

        Raises:
            NotFoundError: there is no such route.
        """
        return ChatStream(self, self._core().stream(request, route=route, user=user, tags=tags, timeout=timeout))

    def embed(
        self,
        texts: Sequence[str],
        *,
        route: str,
        user: str = "",
        tags: CallTags = NO_TAGS,
        dimensions: int | None = None,
        batch_size: int = 64,
        timeout: float | None = None,
    ) -> npt.NDArray[np.float32]:
        """Returns embeddings, a row of float32 a text.

        Args:
            texts: none of them empty.
            route: the name of a route with OpenAI's protocol.
            user: a pseudonym, for budgets and usage.
            tags: on whose behalf the call is.
            dimensions: that are expected. Defaults to those of the first batch.
            batch_size: how many texts are sent at a time.
            timeout: seconds for all batches, in place of the route's.

        Raises:
            DeclarationError: there is no text, or one is empty.
            MalformedAnswerError: the embeddings have other dimensions, or are those of another model.
            HeadraceError: as in `complete`.
        """
        return self._wait(
            self._core().embed(
                texts,
                route=route,
                user=user,
                tags=tags,
                dimensions=dimensions,
                batch_size=batch_size,
                timeout=timeout,
            )
        )

    def close(self) -> None:
        """Ends open calls and closes the connections. The next call makes new ones."""
        with self._lock:
            core, loop, thread = self._async, self._loop, self._thread
            self._async = self._loop = self._thread = None
        if core is None or loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_end(core), loop).result(CLOSING)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _configured(self, route: str) -> LlmRoute:
        if route not in self._config.routes:
            raise NotFoundError("route", route, self._config.routes, hint="[env.dev.llm.routes.NAME] in headrace.toml")
        return self._config.routes[route]

    def _reset(self) -> None:
        """Nothing is open: at first, and in a forked child, whose parent keeps the connections."""
        self._lock = threading.Lock()
        self._async: AsyncGateway | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def _core(self) -> AsyncGateway:
        with self._lock:
            if self._async is None:
                loop = _new_loop()
                self._thread = threading.Thread(target=_run, args=(loop,), name="llm-gateway", daemon=True)
                self._thread.start()
                self._async, self._loop = self._make(), loop
            return self._async

    @property
    def is_open(self) -> bool:
        """Whether its loop runs."""
        return self._loop is not None

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Starts work in the loop of the gateway."""
        loop = self._loop
        if loop is None:
            work.close()
            raise RuntimeError("the gateway is closed")
        return asyncio.run_coroutine_threadsafe(work, loop)

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # as of an interrupted main thread; does nothing to one that has ended
            raise

    def _finish(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Waits for what ends a call, which is done also where calls are cancelled."""
        return self._wait(work)


class ChatStream:
    """Pieces of text as they come. Leaving it early with `close`, or leaving its `with`, closes the connection at once."""

    def __init__(self, gateway: Gateway, stream: AsyncChatStream) -> None:
        self._gateway, self._stream, self._pieces = gateway, stream, list[str]()
        self._ended = False

    @property
    def completion(self) -> Completion | None:
        """The whole answer, once the last piece has been read; None before."""
        return self._stream.completion

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """Returns the next piece.

        Raises:
            StopIteration: the answer is complete.
            CutStreamError: the stream was cut; says how much came.
            HeadraceError: as in `Gateway.complete`.
        """
        while not self._pieces:
            batch = None if self._ended else self._gateway._wait(_batch(self._stream))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            if batch is None:
                self._ended = True
                raise StopIteration
            self._pieces = batch[::-1]
        return self._pieces.pop()

    def close(self) -> None:
        """Ends the call. The connection to the endpoint is closed unless the answer is complete."""
        if not self._ended:
            self._ended = True
            self._pieces.clear()
            self._gateway._finish(self._stream.aclose())  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._ended and self._gateway.is_open:
            self._gateway.submit(self._stream.aclose())


def _new_loop() -> asyncio.AbstractEventLoop:
    """The loop of `uvloop` where it is installed (`headrace[serve]`): it takes less time for each call."""
    try:
        return import_module("uvloop").new_event_loop()
    except ModuleNotFoundError:
        return asyncio.new_event_loop()


async def _batch(stream: AsyncChatStream) -> list[str] | None:
    try:
        return await stream.batch()
    except StopAsyncIteration:
        return None


async def _end(core: AsyncGateway) -> None:
    """Cancels the calls that are open, lets them be recorded, and closes."""
    open_calls = asyncio.all_tasks() - {asyncio.current_task()} - core.finishing
    for task in open_calls:
        task.cancel()
    await asyncio.gather(*open_calls, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await core.close()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


_gateways: weakref.WeakSet[Gateway] = weakref.WeakSet()


_of_parents: list[object] = []  # kept: closing them in a child would take them out of the parent's event queue


def _after_fork() -> None:
    for gateway in list(_gateways):
        _of_parents.append((gateway._async, gateway._loop, gateway._thread))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        gateway._reset()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _at_exit() -> None:
    for gateway in list(_gateways):
        with suppress(Exception):  # the process ends
            gateway.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
