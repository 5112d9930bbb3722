"""The gateway of one event loop; `Gateway` is the same for threads."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from headrace.core.errors import (
    ConfigError,
    DeadlineError,
    DeclarationError,
    HeadraceError,
    LimitError,
    MalformedAnswerError,
    RateLimitedError,
    UnavailableError,
    UserCodeError,
)
from headrace.llm.gateway.call import Bound, Call, estimated_tokens, is_same_model
from headrace.llm.gateway.connection import AttemptFailedError, EventReader, open_stream, post
from headrace.llm.gateway.declarations import Route
from headrace.llm.gateway.dispatch import Attempt, Dispatcher
from headrace.llm.gateway.metering import Metering
from headrace.llm.gateway.protocols.base import ParsedAnswer
from headrace.llm.gateway.protocols.known import OPENAI, PROTOCOLS
from headrace.llm.gateway.redaction import redact, redacted_answer
from headrace.llm.gateway.requests import CallTags, ChatRequest, Completion, Embeddings
from headrace.llm.gateway.stream import AsyncChatStream, TextReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from headrace.environments.llm import LlmConfig, LlmRoute
    from headrace.llm.gateway.connection import Outgoing
    from headrace.llm.gateway.declarations import Answering
    from headrace.llm.gateway.metering import CallOutcome
    from headrace.llm.gateway.requests import FinishReason

LOG = logging.getLogger("headrace.llm.gateway")
NO_TAGS = CallTags()
NO_METERING = Metering()
ESTIMATED = "The endpoint does not report tokens; they are estimated."


@dataclass(kw_only=True)
class _OpenStream:
    """A stream whose first text has come."""

    reader: TextReader
    deltas: list[str]


class AsyncGateway:
    """Sends requests over routes, within one event loop. See `Gateway` for what it does.

    Args:
        config: routes of an environment.
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
        self._metering = metering
        self._dispatch = Dispatcher(config, metering, breaker_failures=breaker_failures, breaker_pause=breaker_pause)

    @property
    def finishing(self) -> frozenset[asyncio.Task[Any]]:
        """What is written into the state database now, which closing does not cancel."""
        return self._dispatch.threads.running

    async def close(self) -> None:
        """Waits for what is being recorded, and closes the connections."""
        await self._dispatch.close()

    async def complete(
        self,
        request: ChatRequest,
        *,
        route: str | Route,
        user: str = "",
        tags: CallTags = NO_TAGS,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Completion:
        """Returns an answer. See `Gateway.complete`."""
        call = self._call(route, user, tags, timeout)
        outcome: CallOutcome = "failed"
        try:
            completion = await self._value_route(call, request, route)
            outcome = "cached" if completion.cached else "answered"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except (LimitError, RateLimitedError):
            outcome = "failed" if call.attempts else "refused"
            raise
        finally:
            await self._record(call, outcome)
        return completion

    def stream(
        self,
        request: ChatRequest,
        *,
        route: str | Route,
        user: str = "",
        tags: CallTags = NO_TAGS,
        timeout: float | None = None,
    ) -> AsyncChatStream:
        """Returns a stream, which begins when it is first read. See `Gateway.stream`."""
        call = self._call(route, user, tags, timeout)
        stream = AsyncChatStream()
        stream.begin(self._stream(call, request, route, stream))
        return stream

    async def embed(
        self,
        texts: Sequence[str],
        *,
        route: str,
        user: str = "",
        tags: CallTags = NO_TAGS,
        dimensions: int | None = None,
        batch_size: int = 64,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> npt.NDArray[np.float32]:
        """Returns embeddings. See `Gateway.embed`."""
        embedded = await self.embeddings(
            texts, route=route, user=user, tags=tags, dimensions=dimensions, batch_size=batch_size, timeout=timeout
        )
        return embedded.vectors

    async def embeddings(
        self,
        texts: Sequence[str],
        *,
        route: str,
        user: str = "",
        tags: CallTags = NO_TAGS,
        dimensions: int | None = None,
        batch_size: int = 64,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Embeddings:
        """Returns embeddings with what they did cost. Arguments and errors are those of `Gateway.embed`."""
        if isinstance(texts, str) or not texts or not all(isinstance(each, str) and each for each in texts):
            raise DeclarationError("embed: the texts must be a list of texts, none of them empty.", hint='["a text"]')
        call = self._call(route, user, tags, timeout)
        outcome: CallOutcome = "failed"
        try:
            vectors = await self._embed(call, route, list(texts), dimensions, batch_size)
            outcome = "answered"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except (LimitError, RateLimitedError):
            outcome = "failed" if call.attempts else "refused"
            raise
        finally:
            await self._record(call, outcome)
        return Embeddings(
            vectors=vectors,
            route=call.route,
            model=call.model,
            input_tokens=call.input_tokens,
            cost_nano=call.cost_nano,
            attempts=call.attempts,
            call_id=call.id,
        )

    def _call(self, route: str | Route, user: str, tags: CallTags, timeout: float | None) -> Call:
        names = (route,) if isinstance(route, str) else route.names
        seconds = timeout or max((self._dispatch.route(name).timeout for name in names), default=60.0)
        return Call(user=user, tags=tags, deadline=time.monotonic() + seconds)

    async def _record(self, call: Call, outcome: CallOutcome) -> None:
        settlements, call.settlements = call.settlements, []
        await self._dispatch.ledger.end(call.end(outcome), settlements)

    async def _value_route(self, call: Call, request: ChatRequest, route: str | Route) -> Completion:
        """Asks the routes in order until an answer is accepted."""
        if isinstance(route, str):
            return await self._over_route(call, request, route)
        for place, step in enumerate(route.routes):
            last = place == len(route.routes) - 1
            try:
                answer = await self._step(call, request, step, route.routes[place + 1 :])
            except UnavailableError:
                if last:
                    raise
                continue
            accepted = answer is not None and await self._accepts(call, route, answer.text)
            if answer is not None and (accepted or last):
                return replace(answer, accepted=accepted)
        raise UnavailableError("the function of the route has no answer, and no other route follows.")

    async def _step(
        self, call: Call, request: ChatRequest, step: str | Answering, after: tuple[str | Answering, ...]
    ) -> Completion | None:
        """Asks one route of several; it has an equal share of the time that is left for it and those after it."""
        others = self._others(after)
        if isinstance(step, str):
            return await self._over_route(call, request, step, others=others)
        return await self._by_function(call, request, step, call.left / (others + 1))

    def _others(self, routes: tuple[str | Answering, ...]) -> int:
        """How many routes may be asked for some, with their fallbacks."""
        return sum(self._dispatch.count(each) for each in routes if isinstance(each, str))

    async def _by_function(
        self, call: Call, request: ChatRequest, function: Answering, seconds: float
    ) -> Completion | None:
        text = await self._user_code(function, request.texts, seconds)
        if text is None:
            return None
        if not isinstance(text, str):
            name = getattr(function, "__name__", repr(function))
            raise UserCodeError(f"{name} returned a {type(text).__name__}.", hint="Return a text, or None to go on.")
        return self._completion(call, text=text, finish_reason="stop", route="", model="")

    async def _accepts(self, call: Call, route: Route, text: str) -> bool:
        return route.accept is None or bool(await self._user_code(route.accept, text, call.left))

    async def _user_code(self, function: Callable[..., Any], argument: Any, seconds: float) -> Any:
        """Calls a function of the user in a thread of its own pool: it may call this gateway, and may hang."""
        name = getattr(function, "__name__", repr(function))
        limit = asyncio.timeout(max(0.0, seconds))
        try:
            async with limit:
                return await self._dispatch.user_threads.run(function, argument)
        except HeadraceError:
            raise
        except Exception as error:
            if not limit.expired():
                raise UserCodeError(f"{name} raised {type(error).__name__}: {error}") from error
        what = f"{name} did not return within the {max(0.0, seconds):.3g} seconds that the call had left for it."
        raise DeadlineError(what, hint="Raise the route's timeout, or make the function faster.")

    async def _over_route(self, call: Call, request: ChatRequest, name: str, *, others: int = 0) -> Completion:
        cached, key = await self._cached(call, request, name)
        if cached is not None:
            return cached
        answering: list[Outgoing] = []

        async def once(attempt: Attempt) -> ParsedAnswer:
            outgoing = self._outgoing(call, attempt.route, request, stream=False)
            answering[:] = [outgoing]
            data = await post(self._dispatch.session, outgoing, attempt.seconds)
            return _read(PROTOCOLS[attempt.route.protocol].answer, data, outgoing)

        attempt, answer = await self._dispatch.over_routes(
            call, name, lambda route: Bound.of(route, request), once, others=others
        )
        attempt.end()
        keys = answering[0].keys
        answer = replace(answer, text=redacted_answer(answer.text, keys), model=redact(answer.model, keys))
        completion = self._settled(call, request, attempt, answer)
        await self._cache(call, name, key, completion)
        return completion

    def _outgoing(self, call: Call, route: LlmRoute, request: ChatRequest, *, stream: bool) -> Outgoing:
        protocol = PROTOCOLS[route.protocol]
        body, unsent = protocol.body(route, request, stream=stream)
        for name in unsent:
            call.warn(f"The protocol of route {route.name!r} has no {name}; it was not sent.")
        return self._dispatch.outgoing(route, protocol.chat_path, body)

    def _settled(self, call: Call, request: ChatRequest, attempt: Attempt, answer: ParsedAnswer) -> Completion:
        sent, answered = answer.input_tokens, answer.output_tokens
        if sent is None or answered is None:
            call.warn(ESTIMATED)
            sent = sum(estimated_tokens(each.content) for each in request.texts) if sent is None else sent
            answered = estimated_tokens(answer.text) if answered is None else answered
        attempt.metered.settle(sent, answered)
        route, model = attempt.route, answer.model
        mismatch = not is_same_model(route.model, model)
        if mismatch:
            call.warn(f"Route {route.name!r} requests the model {route.model!r}, and {model[:100]!r} answered.")
        call.model = model or route.model
        return self._completion(
            call,
            text=answer.text,
            finish_reason=answer.finish_reason,
            route=route.name,
            model=model or route.model,
            model_mismatch=mismatch,
        )

    def _completion(
        self,
        call: Call,
        *,
        text: str,
        finish_reason: FinishReason,
        route: str,
        model: str,
        model_mismatch: bool = False,
        cached: bool = False,
    ) -> Completion:
        call.route, call.model = route, model
        return Completion(
            text=text,
            finish_reason=finish_reason,
            route=route,
            model=model,
            input_tokens=call.input_tokens,
            output_tokens=call.output_tokens,
            cost_nano=call.cost_nano,
            input_cost_nano=call.input_cost_nano,
            latency_ms=call.latency_ms,
            attempts=call.attempts,
            cached=cached,
            call_id=call.id,
            model_mismatch=model_mismatch,
            warnings=tuple(call.warnings),
        )

    async def _cached(self, call: Call, request: ChatRequest, name: str) -> tuple[Completion | None, str | None]:
        """The stored answer to a request, and the key that it is stored by; None where the route stores none."""
        route, cache = self._dispatch.route(name), self._metering.cache
        if cache is None or route.cache is None:
            return None, None
        body, _ = PROTOCOLS[route.protocol].body(route, request, stream=False)
        messages = [body.get("system"), *body.pop("messages")]
        key = cache.key(protocol=route.protocol, url=route.url, model=route.model, messages=messages, parameters=body)
        stored = await self._dispatch.threads.run(self._looked_up, key)
        if stored is None:
            return None, key
        with suppress(ValueError, KeyError, TypeError):
            found = cast("dict[str, Any]", json.loads(stored))
            text, finish, model = str(found["text"]), cast("FinishReason", found["finish_reason"]), str(found["model"])
            return self._completion(call, text=text, finish_reason=finish, route=name, model=model, cached=True), key
        return None, key

    def _looked_up(self, key: str) -> str | None:
        try:
            return None if self._metering.cache is None else self._metering.cache.get(key)
        except Exception as error:  # noqa: BLE001  # without its cache, a call is dearer and nothing else
            LOG.warning("the cache of answers was not read (%s)", type(error).__name__)
            return None

    async def _cache(self, call: Call, name: str, key: str | None, completion: Completion) -> None:
        """Stores an answer of the route itself: none of a fallback, of another model, or that was cut."""
        whole = completion.finish_reason == "stop" and not completion.model_mismatch and completion.route == name
        seconds = self._dispatch.route(name).cache
        if key is None or seconds is None or not whole:
            return
        kept = {name: getattr(completion, name) for name in ("text", "finish_reason", "model")}
        await self._dispatch.threads.run(self._stored, call, key, json.dumps(kept), timedelta(seconds=seconds))

    def _stored(self, call: Call, key: str, value: str, ttl: timedelta) -> None:
        try:
            if self._metering.cache is not None:
                self._metering.cache.put(key, value, ttl)
        except Exception as error:  # noqa: BLE001
            LOG.warning("call %s: its answer was not cached (%s)", call.id, type(error).__name__)

    async def _stream(
        self, call: Call, request: ChatRequest, route: str | Route, stream: AsyncChatStream
    ) -> AsyncGenerator[list[str]]:
        outcome: CallOutcome = "failed"
        try:
            async with aclosing(self._value_stream(call, request, route, stream)) as batches:
                async for deltas in batches:
                    yield deltas
            outcome = "cached" if stream.completion is not None and stream.completion.cached else "answered"
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        except (LimitError, RateLimitedError):
            outcome = "failed" if call.attempts else "refused"
            raise
        finally:
            await self._record(call, outcome)

    async def _value_stream(
        self, call: Call, request: ChatRequest, route: str | Route, stream: AsyncChatStream
    ) -> AsyncGenerator[list[str]]:
        """Only the last route is streamed where answers may be refused: the others have to be whole first."""
        streamed: str | None = route if isinstance(route, str) else None
        if isinstance(route, Route):
            last = route.routes[-1]
            names = route.names
            if isinstance(last, str):
                streamed = last if route.accept is not None or len(names) == 1 else names[0]
            first = route.routes[: route.routes.index(streamed)] if streamed is not None else route.routes
            for place, step in enumerate(first):
                answer: Completion | None = None
                with suppress(UnavailableError):
                    answer = await self._step(call, request, step, route.routes[place + 1 :])
                if answer is not None and await self._accepts(call, route, answer.text):
                    stream.completion = answer
                    yield [answer.text]
                    return
        if streamed is None:
            raise UnavailableError("the function of the route has no answer, and no other route follows.")
        following = () if isinstance(route, str) else route.routes[route.routes.index(streamed) + 1 :]
        for place, name in enumerate((streamed, *cast("tuple[str, ...]", following))):
            begun, others = False, self._others(following[place:])
            try:
                async with aclosing(self._stream_over_route(call, request, name, stream, others)) as batches:
                    async for deltas in batches:
                        begun = True
                        yield deltas
            except UnavailableError:
                if begun or name == (streamed, *following)[-1]:
                    raise
            else:
                return

    async def _stream_over_route(
        self, call: Call, request: ChatRequest, name: str, stream: AsyncChatStream, others: int
    ) -> AsyncGenerator[list[str]]:
        cached, key = await self._cached(call, request, name)
        if cached is not None:
            stream.completion = cached
            yield [cached.text]
            return

        async def once(attempt: Attempt) -> _OpenStream:
            outgoing = self._outgoing(call, attempt.route, request, stream=True)
            began = time.monotonic()
            response = await open_stream(self._dispatch.session, outgoing, attempt.seconds)
            reader = TextReader(
                EventReader(response, outgoing.where),
                PROTOCOLS[attempt.route.protocol],
                outgoing,
                began + attempt.seconds,
            )
            try:
                deltas = await reader.first()
            except BaseException:
                await reader.finish(complete=False)
                raise
            return _OpenStream(reader=reader, deltas=deltas)

        attempt, opened = await self._dispatch.over_routes(
            call, name, lambda route: Bound.of(route, request), once, others=others
        )
        reader, parts = opened.reader, list[str]()
        reader.left = max(0.001, call.left)
        complete = False
        try:
            deltas: list[str] | None = opened.deltas
            while deltas is not None:
                if deltas:
                    parts += deltas
                    yield deltas
                deltas = await reader.read()
            completion = self._settled(call, request, attempt, _of_stream(reader, "".join(parts)))
            stream.completion = completion
            complete = True
        except HeadraceError:
            attempt.state.breaker.failed(time.monotonic(), "call")
            raise
        finally:  # settled before the connection ends: whoever leaves meanwhile has had the whole answer
            attempt.end()
            if not complete:
                sent, answered = reader.state.input_tokens, estimated_tokens("".join(parts))
                attempt.metered.settle(attempt.metered.bound.input_tokens if sent is None else sent, answered)
            await reader.finish(complete=complete and reader.state.done)
        await self._cache(call, name, key, completion)

    async def _embed(
        self, call: Call, name: str, texts: list[str], dimensions: int | None, batch_size: int
    ) -> npt.NDArray[np.float32]:
        import numpy as np

        parts: list[npt.NDArray[np.float32]] = []
        for start in range(0, len(texts), batch_size):
            part = await self._embed_batch(call, name, texts[start : start + batch_size])
            expected = dimensions or (parts[0].shape[1] if parts else part.shape[1])
            if part.shape[1] != expected:
                what = f"route {call.route!r} answered with embeddings of {part.shape[1]} dimensions, not {expected}."
                raise MalformedAnswerError(what, hint="Another model made them: look at the route's model.")
            parts.append(part)
        return np.concatenate(parts)

    async def _embed_batch(self, call: Call, name: str, texts: list[str]) -> npt.NDArray[np.float32]:
        bound = Bound.of_texts(texts)

        async def once(attempt: Attempt) -> tuple[npt.NDArray[np.float32], str, int | None]:
            if attempt.route.protocol != "openai":
                what = f"route {attempt.route.name!r} speaks {attempt.route.protocol!r}, which has no embeddings."
                raise ConfigError(what, hint='Name a route with protocol = "openai".')
            body = OPENAI.embeddings_body(attempt.route, texts, None)
            outgoing = self._dispatch.outgoing(attempt.route, "/embeddings", body)
            data = await post(self._dispatch.session, outgoing, attempt.seconds)
            return _read(lambda body: OPENAI.embeddings(body, len(texts)), data, outgoing)

        attempt, (vectors, model, tokens) = await self._dispatch.over_routes(call, name, lambda _route: bound, once)
        attempt.end()
        attempt.metered.settle(sum(map(estimated_tokens, texts)) if tokens is None else tokens, 0)
        if not is_same_model(attempt.route.model, model):
            what = (
                f"route {attempt.route.name!r} requests embeddings of {attempt.route.model!r}; those of another came."
            )
            raise MalformedAnswerError(what, hint="Vectors of two models cannot be compared.")
        return vectors


def _read(function: Callable[[Any], Any], data: Any, outgoing: Outgoing) -> Any:
    """What a protocol reads in an answer."""
    try:
        return function(data)
    except MalformedAnswerError as error:
        what = f"{outgoing.where}: {error.what}."
    raise AttemptFailedError(MalformedAnswerError(what), unhealthy=True, billed=True)


def _of_stream(reader: TextReader, text: str) -> ParsedAnswer:
    state = reader.state
    return ParsedAnswer(
        text=text,
        finish_reason=state.finish_reason or "other",
        model=redact(state.model, reader.outgoing.keys),
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
    )
