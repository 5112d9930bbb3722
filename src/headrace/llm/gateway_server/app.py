"""The web application of the gateway: OpenAI's paths in front of routes."""

from __future__ import annotations

import logging
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from headrace.core.errors import HeadraceError
from headrace.llm.gateway.protocols.base import dumps
from headrace.llm.gateway_server import answers
from headrace.llm.gateway_server.answers import Answer
from headrace.llm.gateway_server.bodies import chat_call, completion_call, embedding_call
from headrace.llm.gateway_server.open_bodies import LARGEST_BODY, OpenBodies
from headrace.llm.gateway_server.refusals import CallRefusedError, failure, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.environments.llm import LlmConfig
    from headrace.llm.gateway.async_gateway import AsyncGateway
    from headrace.llm.gateway.stream import AsyncChatStream
    from headrace.llm.gateway_server.bodies import ChatCall
    from headrace.llm.gateway_server.callers import Callers
    from headrace.llm.gateway_server.metrics import GatewayMetrics
    from headrace.llm.gateway_server.worker_metrics import WorkerCounters

LOG = logging.getLogger("headrace.llm.gateway_server")
MOST_OPEN = 2_000  # calls of one worker at a time
LEFT = 499  # the status that is counted for a client that left
METRICS, HEALTH = "/metrics", "/health"
CALLER: web.RequestKey[str] = web.RequestKey("caller", str)
ROUTE: web.RequestKey[str] = web.RequestKey("route", str)
EVENTS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class GatewayApp:
    """Answers requests over the routes of an environment. A client that leaves ends its call.

    Args:
        gateway: of this worker.
        config: the routes.
        callers: who may call; None for everybody.
        metrics: of this worker.
        workers: the counters of all workers; None for a worker that is alone.
    """

    def __init__(
        self,
        gateway: AsyncGateway,
        config: LlmConfig,
        *,
        callers: Callers | None,
        metrics: GatewayMetrics,
        workers: WorkerCounters | None = None,
    ) -> None:
        self._gateway, self._config, self._callers = gateway, config, callers
        self._metrics, self._workers, self._bodies = metrics, workers, OpenBodies()

    def application(self) -> web.Application:
        """Returns the application, to be run with `handler_cancellation`."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[self._around()])
        app.router.add_get(HEALTH, self._health)
        app.router.add_get(METRICS, self._prometheus)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{route}", self._model)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/embeddings", self._embeddings)
        return app

    def _around(self) -> Any:
        @web.middleware
        async def around(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            began, status = time.perf_counter(), LEFT
            try:
                response = await self._answered(request, handler)
                status = response.status
            finally:
                route = request.get(ROUTE, "")
                self._metrics.ended(
                    _pattern(request),
                    route if route in self._config.routes else "",
                    status,
                    time.perf_counter() - began,
                )
            return response

        return around

    async def _answered(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            self._authorize(request)
            if request.method != "POST":
                return await handler(request)
            self._check_open_calls()
            self._metrics.in_flight += 1
            try:
                return await handler(request)
            finally:
                self._bodies.end(request)
                self._metrics.in_flight -= 1
        except CallRefusedError as error:
            return _refused(error)
        except HeadraceError as error:
            answer = refusal(error)
            if answer.status == 500:
                LOG.error("%s: %s", _pattern(request), error.what)  # noqa: TRY400
            return _refused(answer)
        except web.HTTPException as error:
            return _refused(_of_http(error, request))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # its message may be of anything: only where it happened is logged
            LOG.error(  # noqa: TRY400
                "%s: %s\n%s", _pattern(request), type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
            )
            return _refused(failure("the gateway failed; its log says where."))

    def _check_open_calls(self) -> None:
        if self._metrics.in_flight >= MOST_OPEN:
            raise CallRefusedError(
                503, "too many calls are open.", kind="api_error", code="overloaded", headers={"Retry-After": "1"}
            )

    def _authorize(self, request: web.Request) -> None:
        if self._callers is None or request.path == HEALTH:
            request[CALLER] = ""
            return
        wanted = "metrics" if request.path == METRICS else "gateway"
        request[CALLER] = self._callers.check(request.headers.get("Authorization", ""), wanted)

    async def _health(self, _request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _prometheus(self, _request: web.Request) -> web.Response:
        others = self._workers.others() if self._workers is not None else ()
        return web.Response(text=self._metrics.prometheus(others), content_type="text/plain", charset="utf-8")

    async def _models(self, _request: web.Request) -> web.Response:
        return _json({"object": "list", "data": [answers.model(name) for name in self._config.routes]})

    async def _model(self, request: web.Request) -> web.Response:
        self._known(request, request.match_info["route"])
        return _json(answers.model(request[ROUTE]))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, chat_call(await self._bodies.read(request)), is_chat=True)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, completion_call(await self._bodies.read(request)), is_chat=False)

    async def _complete(self, request: web.Request, call: ChatCall, *, is_chat: bool) -> web.StreamResponse:
        self._known(request, call.route)
        answer, user = Answer(route=call.route, is_chat=is_chat), call.user or request[CALLER]
        if call.stream:
            stream = self._gateway.stream(call.request, route=call.route, user=user)
            try:
                return await self._stream(request, call, answer, stream)
            finally:
                await stream.aclose()
        completion = await self._gateway.complete(call.request, route=call.route, user=user)
        self._metrics.used(call.route, completion)
        return _json(answer.whole(completion))

    async def _stream(
        self, request: web.Request, call: ChatCall, answer: Answer, stream: AsyncChatStream
    ) -> web.StreamResponse:
        """Nothing is sent before the first text has come, so that failures until then have their status."""
        pieces = await _batch(stream)
        response = web.StreamResponse(headers=EVENTS)
        await response.prepare(request)
        first = True
        try:
            while pieces is not None:
                await response.write(_event(answer.piece("".join(pieces), first=first)))
                first, pieces = False, await _batch(stream)
        except HeadraceError as error:  # the status is sent: an event says it, and no [DONE] follows
            await response.write_eof(_event(refusal(error).body))
            return response
        if first:
            await response.write(_event(answer.piece("", first=True)))
        completion = stream.completion
        assert completion is not None
        self._metrics.used(call.route, completion)
        end = _event(answer.end(completion))
        used = _event(answer.used(completion)) if call.with_usage else b""
        await response.write_eof(end + used + b"data: [DONE]\n\n")
        return response

    async def _embeddings(self, request: web.Request) -> web.Response:
        call = embedding_call(await self._bodies.read(request))
        self._known(request, call.route)
        embedded = await self._gateway.embeddings(call.texts, route=call.route, user=call.user or request[CALLER])
        self._metrics.used(call.route, embedded)
        return _json(answers.embeddings(call.route, embedded, as_base64=call.base64))

    def _known(self, request: web.Request, route: str) -> None:
        if route not in self._config.routes:
            shown = route if len(route) <= 100 else f"{route[:100]}…"
            what = f"there is no route {shown!r}: GET /v1/models lists them."
            raise CallRefusedError(404, what, code="model_not_found", param="model")
        request[ROUTE] = route


async def _batch(stream: AsyncChatStream) -> list[str] | None:
    with suppress(StopAsyncIteration):
        return await stream.batch()
    return None


def _event(data: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % dumps(data)


def _json(data: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=dumps(data), status=status, headers=headers, content_type="application/json")


def _refused(error: CallRefusedError) -> web.Response:
    return _json(error.body, error.status, error.headers)


def _of_http(error: web.HTTPException, request: web.Request) -> CallRefusedError:
    if error.status == 413:
        return CallRefusedError(413, f"the body is larger than {LARGEST_BODY:,} bytes.", code="too_large")
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return CallRefusedError(error.status, f"{request.method} {request.path[:100]}: {error.reason}.", headers=headers)


def _pattern(request: web.Request) -> str:
    """The pattern of the path: there are few, whatever is requested."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""
