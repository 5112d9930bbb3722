"""The web application of the endpoint: reads requests, applies faults, writes answers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from headrace.testing import answers
from headrace.testing.recording import RecordedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from headrace.testing.behaviour import Behaviour
    from headrace.testing.faults import Fault

MAX_BODY = 64 * 2**20
PIECE = 2**16  # characters of a huge answer


class _BadRequestError(Exception):
    """The request is not possible; the message says why."""


def application(behaviour: Behaviour) -> web.Application:
    """Returns the application with the paths of both protocols."""
    app = web.Application(client_max_size=MAX_BODY)
    answer = _Answering(behaviour)
    app.router.add_get("/health", answer.health)
    app.router.add_get("/v1/models", answer.models)
    app.router.add_post("/v1/chat/completions", answer.post)
    app.router.add_post("/v1/completions", answer.post)
    app.router.add_post("/v1/embeddings", answer.post)
    app.router.add_post("/v1/messages", answer.post)
    return app


class _Answering:
    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def models(self, request: web.Request) -> web.Response:
        if not self._allows(request.headers):
            return _error("no valid key", 401, anthropic=False)
        model = {"id": self.behaviour.model, "object": "model", "created": answers.CREATED, "owned_by": "headrace"}
        return web.json_response({"object": "list", "data": [model]})

    def _allows(self, headers: Mapping[str, str]) -> bool:
        shown = headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-key", "")
        return self.behaviour.key is None or self.behaviour.key in shown

    async def post(self, request: web.Request) -> web.StreamResponse:
        recorded = RecordedRequest(
            method=request.method,
            path=request.path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        self.behaviour.requests.append(recorded)
        try:
            response = await self._post(request, recorded)
        except (asyncio.CancelledError, ConnectionError):
            recorded.outcome = "aborted" if recorded.outcome == "open" else recorded.outcome
            raise
        if recorded.outcome == "open":
            recorded.outcome = "answered"
        return response

    async def _post(self, request: web.Request, recorded: RecordedRequest) -> web.StreamResponse:
        fault = self.behaviour.fault_of(recorded)
        anthropic = recorded.path == "/v1/messages"
        if self.behaviour.latency:
            await asyncio.sleep(self.behaviour.latency)
        if fault is not None and (failed := await _failure(request, recorded, fault)) is not None:
            return failed
        if not self._allows(recorded.headers):
            return _error("no valid key", 401, anthropic=anthropic)
        try:
            body = _body(recorded)
            if recorded.path == "/v1/embeddings":
                whole = self._embeddings(body, fault)
                return await self._whole(request, recorded, whole, fault)
            return await self._text(request, recorded, body, fault)
        except _BadRequestError as error:
            return _error(str(error), 400, anthropic=anthropic)

    async def _text(
        self, request: web.Request, recorded: RecordedRequest, body: dict[str, Any], fault: Fault | None
    ) -> web.StreamResponse:
        messages = _messages(recorded.path, body)
        text = self.behaviour.reply(messages)
        stop = body.get("stop") or body.get("stop_sequences") or []
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        said = answers.answer(
            text,
            model=_model(body, fault, self.behaviour.model),
            prompt="\n".join(each["content"] for each in messages),
            limit=limit,
            stop=[stop] if isinstance(stop, str) else stop,
        )
        if fault is not None and fault.kind == "huge":
            said = replace(said, pieces=["x" * PIECE] * (fault.size // PIECE + 1))
        if fault is not None and fault.kind == "echo_in_answer":
            text = _headers(request)
            said = replace(said, pieces=[text[at : at + fault.size] for at in range(0, len(text), fault.size)])
        if not body.get("stream"):
            forms: dict[str, Callable[[answers.Answer], dict[str, Any]]] = {
                "/v1/chat/completions": answers.chat,
                "/v1/completions": answers.completion,
                "/v1/messages": answers.message,
            }
            return await self._whole(request, recorded, forms[recorded.path](said), fault)
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        if recorded.path == "/v1/messages":
            events = answers.message_events(said)
        elif recorded.path == "/v1/completions":
            events = answers.completion_events(said, usage=usage)
        else:
            events = answers.chat_events(said, usage=usage)
        return await self._stream(request, recorded, events, fault)

    async def _whole(
        self, request: web.Request, recorded: RecordedRequest, body: dict[str, Any], fault: Fault | None
    ) -> web.StreamResponse:
        data = json.dumps(body).encode()
        if fault is None or fault.kind not in ("drip", "cut"):
            return web.Response(body=data, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(data))})
        await response.prepare(request)
        if fault.kind == "drip":
            await _drip(response, data, fault)
            return response
        recorded.outcome = "failed"
        await response.write(data[: len(data) // 2])
        _close(request)
        return response

    async def _stream(
        self, request: web.Request, recorded: RecordedRequest, events: Iterator[str], fault: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        for number, event in enumerate(events):  # the first is before the text
            if fault is not None and fault.kind == "cut" and number > fault.after:
                recorded.outcome = "failed"
                if not fault.clean:
                    _close(request)
                return response
            if number and self.behaviour.pause:
                await asyncio.sleep(self.behaviour.pause)
            if fault is not None and fault.kind == "drip":
                await _drip(response, event.encode(), fault)
            else:
                await response.write(event.encode())
            recorded.deltas = number
        return response

    def _embeddings(self, body: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        import numpy as np

        given = body.get("input")
        texts = cast("list[object]", given if isinstance(given, list) else [given])
        if not texts or not all(isinstance(each, str) and each for each in texts):
            raise _BadRequestError("'input' must be a text, or a list of texts, none of them empty")
        size = int(body.get("dimensions") or self.behaviour.dimension)
        size = fault.dimension if fault is not None and fault.kind == "dimension" else size
        own = self.behaviour.embed
        vectors = [
            answers.hashed_embedding(str(each), size) if own is None else np.asarray(own(str(each)), dtype="<f4")[:size]
            for each in texts
        ]
        return answers.embeddings(
            vectors,
            model=_model(body, fault, self.behaviour.model),
            tokens=sum(len(answers.pieces(str(each))) for each in texts),
            encoded=body.get("encoding_format") == "base64",
        )


async def _failure(request: web.Request, recorded: RecordedRequest, fault: Fault) -> web.StreamResponse | None:
    """The answer to a request that fails before anything is read of it; None for faults of the answer itself."""
    if fault.kind == "timeout":
        await asyncio.Event().wait()
    if fault.kind not in ("disconnect", "status", "echo", "bad_json", "empty"):
        return None
    recorded.outcome = "failed"
    if fault.kind == "disconnect":
        _close(request)
        return web.Response()
    if fault.kind == "bad_json":
        return web.Response(
            text='{"id": "chatcmpl-1", "choices": [{"mess' + "age " * 200, content_type="application/json"
        )
    if fault.kind == "empty":
        return web.Response(body=b"", content_type="application/json")
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if fault.kind == "echo":
        return _error(f"failed with {_headers(request)}", fault.status, anthropic=recorded.path == "/v1/messages")
    if fault.body:
        return web.Response(status=fault.status, text=fault.body, headers=headers)
    body = answers.error(f"fault {fault.status}", fault.status, anthropic=recorded.path == "/v1/messages")
    return web.json_response(body, status=fault.status, headers=headers)


def _headers(request: web.Request) -> str:
    return "\n".join(f"{name}: {value}" for name, value in request.headers.items())


def _body(recorded: RecordedRequest) -> dict[str, Any]:
    try:
        body = recorded.json
    except ValueError:
        raise _BadRequestError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise _BadRequestError("the body is not an object")
    found = cast("dict[str, Any]", body)
    if found.get("n", 1) != 1:
        raise _BadRequestError("only n = 1 is known")
    return found


def _messages(path: str, body: dict[str, Any]) -> list[dict[str, str]]:
    if path == "/v1/completions":
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise _BadRequestError("'prompt' must be a text")
        return [{"role": "user", "content": prompt}]
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise _BadRequestError("'messages' must be a list with at least one message")
    if path == "/v1/messages" and not isinstance(body.get("max_tokens"), int):
        raise _BadRequestError("max_tokens: Field required")
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    return [_message(each) for each in [*system, *cast("list[Any]", given)]]


def _message(given: Any) -> dict[str, str]:
    try:
        content = given["content"]
        if isinstance(content, list):
            parts = cast("list[dict[str, Any]]", content)
            content = "".join(str(part["text"]) for part in parts if part.get("type") == "text")
        return {"role": str(given["role"]), "content": str(content or "")}
    except (TypeError, KeyError):
        raise _BadRequestError("each message needs 'role' and 'content'") from None


def _model(body: dict[str, Any], fault: Fault | None, own: str) -> str:
    return fault.model if fault is not None and fault.kind == "other_model" else str(body.get("model") or own)


def _error(what: str, status: int, *, anthropic: bool) -> web.Response:
    return web.json_response(answers.error(what, status, anthropic=anthropic), status=status)


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


async def _drip(response: web.StreamResponse, data: bytes, fault: Fault) -> None:
    size = max(1, fault.size)
    for place in range(0, len(data), size):
        await asyncio.sleep(fault.seconds)
        await response.write(data[place : place + size])
