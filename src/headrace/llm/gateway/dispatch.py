"""Attempts of a call over a route and its fallbacks: breaker, limits, retries, deadline."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.core.errors import (
    DeadlineError,
    HeadraceError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from headrace.environments.keys import FILE
from headrace.llm.gateway.breaker import CircuitBreaker, Permit
from headrace.llm.gateway.connection import AttemptFailedError, Outgoing, new_session
from headrace.llm.gateway.ledger_writer import LedgerWriter
from headrace.llm.gateway.limits import RouteLimits
from headrace.llm.gateway.metered import MeteredAttempt, Threads
from headrace.llm.gateway.protocols.base import dumps
from headrace.llm.gateway.protocols.known import PROTOCOLS
from headrace.llm.gateway.retries import backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import ClientSession

    from headrace.environments.llm import LlmConfig, LlmRoute
    from headrace.llm.gateway.call import Bound, Call
    from headrace.llm.gateway.metering import Metering

T = TypeVar("T")
CACHE_THREADS = 4  # in which answers are looked up and stored
USER_THREADS = 32  # in which functions of the user run, so that they never hold back budgets


@dataclass(kw_only=True)
class RouteState:
    """What this process knows of a route.

    Attributes:
        breaker: whether its endpoint is left alone.
        limits: of this process.
    """

    breaker: CircuitBreaker
    limits: RouteLimits


@dataclass(kw_only=True)
class Attempt:
    """One attempt that may be made now. It holds a place among the open calls until `end`.

    Attributes:
        route: over which.
        seconds: that it may take.
        metered: to settle what it uses.
        state: of the route.
        permit: of its breaker.
    """

    route: LlmRoute
    seconds: float
    metered: MeteredAttempt
    state: RouteState
    permit: Permit
    ended: bool = False

    def end(self) -> None:
        """Gives back its place among the open calls."""
        if not self.ended:
            self.ended = True
            self.state.limits.release()


class _RouteFailedError(Exception):
    def __init__(self, error: HeadraceError, *, final: bool) -> None:
        super().__init__(error.what)
        self.error, self.final = error, final


class Dispatcher:
    """Makes attempts. It belongs to one event loop.

    Args:
        config: the routes.
        metering: budgets, usage and cache.
        breaker_failures: how many failures in a row open the breaker of a route.
        breaker_pause: the seconds until it lets a probe through.
    """

    def __init__(self, config: LlmConfig, metering: Metering, *, breaker_failures: int, breaker_pause: float) -> None:
        self.config, self.metering = config, metering
        self.ledger = LedgerWriter(metering)
        self.threads = Threads(CACHE_THREADS, "llm-gateway-cache")
        self.user_threads = Threads(USER_THREADS, "llm-gateway-user")
        self._states = {
            name: RouteState(
                breaker=CircuitBreaker(failures=breaker_failures, pause=breaker_pause),
                limits=RouteLimits(route.concurrency, route.requests_per_minute, route.tokens_per_minute),
            )
            for name, route in config.routes.items()
        }
        self._session: ClientSession | None = None

    @property
    def session(self) -> ClientSession:
        """The connections, made at the first use."""
        if self._session is None:
            self._session = new_session()
        return self._session

    async def close(self) -> None:
        """Waits for what is being settled, and closes the connections."""
        await self.threads.drain()
        await self.ledger.close()
        for threads in (self.threads, self.user_threads):
            threads.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def route(self, name: str) -> LlmRoute:
        """Looks up a route.

        Raises:
            NotFoundError: there is none of that name.
        """
        try:
            return self.config.routes[name]
        except KeyError:
            hint = f"Routes are in {FILE}: [env.<env>.llm.routes.{name or 'small'}]."
            raise NotFoundError("route", name, self.config.routes, hint=hint) from None

    def outgoing(self, route: LlmRoute, path: str, body: Any) -> Outgoing:
        """Returns a request with the route's key, which is read now.

        Raises:
            ConfigError: the variable of the key is not set.
        """
        where = f"route {route.name!r}"
        key = None if route.key is None else route.key.read(f"the key of {where}").strip()
        headers = PROTOCOLS[route.protocol].headers(key)
        return Outgoing(url=f"{route.url}{path}", headers=headers, body=dumps(body), key=key, where=where)

    async def over_routes(
        self,
        call: Call,
        first: str,
        bound: Callable[[LlmRoute], Bound],
        once: Callable[[Attempt], Awaitable[T]],
        *,
        others: int = 0,
    ) -> tuple[Attempt, T]:
        """Tries a route, then its fallbacks.

        A route gets an equal share of the time that is left for it, the fallbacks after it and the routes after those.

        Args:
            call: of which these are attempts.
            first: the name of the route.
            bound: returns what an attempt may use at most.
            once: makes one attempt; raises `AttemptFailedError`.
            others: how many routes the caller asks after these, where none of them answers.

        Returns:
            The attempt that succeeded, which the caller settles and ends, and what it returned.

        Raises:
            HeadraceError: no route answered; lists each failure.
        """
        chain = self._chain(first)
        error: HeadraceError = UnavailableError(f"route {first!r} did not answer.")
        for place, route in enumerate(chain):
            following = len(chain) - place - 1 + others
            ends = time.monotonic() + max(0.0, call.left) / (following + 1)
            call.route, call.model = route.name, route.model
            try:
                return await self._over_route(call, route, ends, bound(route), once, bool(following))
            except _RouteFailedError as failed:
                error = failed.error
                if failed.final:
                    break
        error.findings = tuple(call.failures) if len(call.failures) > 1 else ()
        raise error

    def count(self, first: str) -> int:
        """How many routes `over_routes` tries: one and its fallbacks."""
        return len(self._chain(first))

    def _chain(self, first: str) -> list[LlmRoute]:
        chain = [self.route(first)]
        while chain[-1].fallback is not None:
            chain.append(self.route(chain[-1].fallback))
        return chain

    async def _over_route(
        self,
        call: Call,
        route: LlmRoute,
        ends: float,
        bound: Bound,
        once: Callable[[Attempt], Awaitable[T]],
        has_fallback: bool,
    ) -> tuple[Attempt, T]:
        state = self._states[route.name]
        for number in range(1, route.attempts + 1):
            permit = state.breaker.permit(time.monotonic())
            if permit is None:
                wait = state.breaker.opens_in(time.monotonic())
                what = (
                    f"route {route.name!r} failed several times in a row and is left alone for {wait:.0f} more seconds."
                )
                call.failures.append(what)
                raise _RouteFailedError(UnavailableError(what), final=False)
            try:
                attempt = await self._begin(call, route, ends, bound, permit, has_fallback=has_fallback)
            except (RateLimitedError, DeadlineError) as error:
                state.breaker.undecided(permit)
                call.failures.append(error.what)
                failure = _RouteFailedError(error, final=False)
            except BaseException:
                state.breaker.undecided(permit)
                raise
            else:
                failure = None
            if failure is not None:
                raise failure
            try:
                value = await self._attempt(attempt, once)  # pyright: ignore[reportPossiblyUnboundVariable]
            except AttemptFailedError as error:
                failed = error
            else:
                state.breaker.succeeded()
                call.failures.clear()
                return attempt, value  # pyright: ignore[reportPossiblyUnboundVariable]
            call.failures.append(failed.error.what)
            wait = backoff(number, failed.retry_after)
            if failed.final or not failed.retried or number == route.attempts or wait >= ends - time.monotonic():
                raise _RouteFailedError(failed.error, final=failed.final)
            await asyncio.sleep(wait)
        raise AssertionError(route.attempts)

    async def _begin(
        self, call: Call, route: LlmRoute, ends: float, bound: Bound, permit: Permit, *, has_fallback: bool
    ) -> Attempt:
        """Waits until an attempt may be made. Where it may not, it takes nothing from the route's rate and its budgets.

        Raises:
            DeadlineError: no time is left.
            RateLimitedError: the limits of this process let none through in time.
            LimitError: a budget has less left.
        """
        state, left = self._states[route.name], ends - time.monotonic()
        if left <= 0:
            raise _no_time(route)
        tokens = bound.input_tokens // 4 + bound.output_tokens
        longest = _longest_wait(left, has_fallback=has_fallback)
        if state.limits.wait_of_rate(tokens) > longest:  # before its budget: this costs no transaction
            raise _no_rate(route, longest)
        metered = MeteredAttempt(call, route, bound, self.ledger)
        await metered.reserve()
        try:
            await self._admit(state, route, tokens, ends, has_fallback=has_fallback)
        except BaseException:
            await metered.release()
            raise
        left = max(0.001, ends - time.monotonic())
        seconds = min(left, route.attempt_timeout or left)
        call.attempts += 1
        return Attempt(route=route, seconds=seconds, metered=metered, state=state, permit=permit)

    async def _admit(self, state: RouteState, route: LlmRoute, tokens: int, ends: float, *, has_fallback: bool) -> None:
        """Takes a request of the route's rate and a place among its open calls, or neither."""
        left = ends - time.monotonic()
        if left <= 0:
            raise _no_time(route)
        longest = _longest_wait(left, has_fallback=has_fallback)
        wait = state.limits.take_rate(tokens, longest)
        if wait is None:
            raise _no_rate(route, longest)
        late = False
        try:
            if wait:
                await asyncio.sleep(wait)
            async with asyncio.timeout(max(0.001, ends - time.monotonic())):
                await state.limits.acquire()
        except TimeoutError:
            late = True
            state.limits.give_back_rate(tokens)
        except BaseException:
            state.limits.give_back_rate(tokens)
            raise
        if late:
            what = f"route {route.name!r} lets no more calls of this process through: {route.concurrency} are open."
            raise RateLimitedError(what, hint="Its limit is concurrency.")

    async def _attempt(self, attempt: Attempt, once: Callable[[Attempt], Awaitable[T]]) -> T:
        breaker = attempt.state.breaker
        try:
            return await once(attempt)
        except AttemptFailedError as failed:
            if failed.unhealthy:
                breaker.failed(time.monotonic(), attempt.permit)
            else:
                breaker.undecided(attempt.permit)
            attempt.end()
            if failed.billed:
                attempt.metered.settle_bound()
            else:
                await attempt.metered.release()
            raise
        except HeadraceError:  # a key that is not set: nothing was sent
            breaker.undecided(attempt.permit)
            attempt.end()
            await attempt.metered.release()
            raise
        except BaseException:
            breaker.undecided(attempt.permit)
            attempt.end()
            attempt.metered.settle_bound()
            raise


def _longest_wait(left: float, *, has_fallback: bool) -> float:
    """The seconds that an attempt may wait for a rate: half of what there is, or the answer would have no time to come."""
    return 0.0 if has_fallback else left / 2


def _no_time(route: LlmRoute) -> DeadlineError:
    return DeadlineError(f"no time of the call is left for route {route.name!r}.", hint="Raise the route's timeout.")


def _no_rate(route: LlmRoute, seconds: float) -> RateLimitedError:
    what = f"route {route.name!r} lets no more calls of this process through within {seconds:.3g} seconds."
    return RateLimitedError(what, hint="Its limits are requests_per_minute and tokens_per_minute.")
