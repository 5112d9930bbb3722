"""The endpoint: OpenAI's paths over one model, one answer at a time.

`transformers serve` does the same with FastAPI and Uvicorn, which would be a second web framework beside aiohttp; this server
needs what `headrace[llm]` has. SmolLM2 as float32 on one thread took 4 seconds of CPU time until it was ready, 0.92 GiB of
memory, and 3.6 seconds of CPU time for a prompt of 368 tokens and an answer of 40.

An answer is written in a thread of its own; what comes meanwhile waits in a queue, and beyond its limit gets 429 at once, before
anything is done for it. Texts become tokens in another thread: a megabyte takes a second, and holds nobody else up. A client that leaves, before or while its answer is written, ends the work with the next token.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from headrace.core.errors import ConfigError, DataError
from headrace.llm.local.chat_protocol import AnswerWriter, RequestError, read
from headrace.llm.local.generation import LanguageModel, Piece
from headrace.llm.local.weights import find_model, need_libraries

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from aiohttp import web

    from headrace.llm.local.chat_protocol import Kind, TextRequest
    from headrace.llm.local.weights import ModelFiles

LARGEST = 2**20  # bytes of a request


def serve(
    model: str,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    threads: int | None = None,
    queue: int = 16,
    while_stdin_is_open: bool = False,
) -> None:
    """Serves a model until SIGTERM or SIGINT; prints `listening on http://…` first, and `ready` when it is loaded.

    Args:
        model: `"smollm2"`, or a folder with a `.gguf` file or with what transformers saved.
        host: the address to listen at.
        port: 0 takes a free one.
        threads: of PyTorch; defaults to the number of cores.
        queue: how many requests may wait while one is answered; the next gets 429.
        while_stdin_is_open: whether it also ends when its standard input does, as it does when whoever started it is gone.

    Raises:
        NotFoundError: there is no such model.
        MissingExtraError: PyTorch, aiohttp or what reads its files is not installed.
        ConfigError: the address is taken.
    """
    files = find_model(model)
    need_libraries(files)
    load = partial(LanguageModel, files, threads=threads or os.cpu_count() or 1)
    asyncio.run(_run(Endpoint(files, queue=queue), load, (host, port), watch=while_stdin_is_open))


async def _run(endpoint: Endpoint, load: partial[LanguageModel], address: tuple[str, int], *, watch: bool) -> None:
    from aiohttp import web

    stop, (host, port) = asyncio.Event(), address
    if watch:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), lambda: os.read(0, 4096) or stop.set())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(endpoint.application(), handler_cancellation=True, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened at: {error.strerror}.", hint="Choose another --port."
            ) from None
        print(f"listening on http://{host}:{runner.addresses[0][1]}", flush=True)
        loading = asyncio.ensure_future(endpoint.load(load))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            print("ready", flush=True)
            await stopping
    finally:
        endpoint.close()
        await runner.cleanup()


class _Request:
    """A request that was admitted.

    Attributes:
        stop: set when nobody takes its answer any more.
        written: the thread that writes its answer; None before it was asked to.
    """

    def __init__(self) -> None:
        self.stop = Event()
        self.written: asyncio.Future[None] | None = None


class Endpoint:
    """What the paths answer.

    Args:
        files: the model.
        queue: how many requests may wait.
    """

    def __init__(self, files: ModelFiles, *, queue: int) -> None:
        self.name, self.queue = files.name, queue
        self.model: LanguageModel | None = None
        self.counts = {"completed": 0, "cancelled": 0, "rejected": 0}
        self._open: set[_Request] = set()  # that wait or are answered
        self._writer, self._reader = ThreadPoolExecutor(1, "answers"), ThreadPoolExecutor(1, "prompts")
        self._started = int(time.time())

    def application(self) -> web.Application:
        """The application with its paths."""
        from aiohttp import web

        app = web.Application(client_max_size=LARGEST)
        app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/v1/models", self.models),
                web.post("/v1/chat/completions", partial(self.answer, "chat")),
                web.post("/v1/completions", partial(self.answer, "text")),
            ]
        )
        return app

    async def load(self, load: partial[LanguageModel]) -> None:
        """Loads the model in the thread that will use it."""
        self.model = await asyncio.get_running_loop().run_in_executor(self._writer, load)

    def close(self) -> None:
        """Ends what is being written, after its next token."""
        for each in self._open:
            each.stop.set()
        for pool in (self._reader, self._writer):
            pool.shutdown(wait=False, cancel_futures=True)

    async def health(self, _: web.Request) -> web.Response:
        """200 when the model is loaded, 503 before."""
        from aiohttp import web

        state = "loading" if self.model is None else "ready"
        counts = {**self.counts, "open": len(self._open)}
        body = {"status": state, "model": self.name, "requests": counts}
        return web.json_response(body, status=503 if self.model is None else 200)

    async def models(self, _: web.Request) -> web.Response:
        """The one model."""
        from aiohttp import web

        entry = {"id": self.name, "object": "model", "created": self._started, "owned_by": "local"}
        return web.json_response({"object": "list", "data": [entry]})

    async def answer(self, kind: Kind, http: web.Request) -> web.StreamResponse:
        """Answers a request, or says why not."""
        from aiohttp import web

        try:
            model = self._loaded()
            wanted = await self._read(kind, http)
            with self._admitted() as request:
                prompt = await asyncio.get_running_loop().run_in_executor(self._reader, self._prompt, model, wanted)
                writer = AnswerWriter(
                    kind,
                    identifier=f"{'chatcmpl' if kind == 'chat' else 'cmpl'}-{secrets.token_hex(12)}",
                    model=self.name,
                    created=int(time.time()),
                    prompt_tokens=len(prompt),
                )
                send = self._stream if wanted.stream else self._whole
                return await send(http, wanted, writer, self._pieces(request, model, prompt, wanted))
        except RequestError as error:
            again = {"Retry-After": "1"} if error.status in {429, 503} else None
            return web.json_response(error.body, status=error.status, headers=again)

    def _loaded(self) -> LanguageModel:
        if self.model is None:
            raise RequestError("the model is being loaded.", status=503, code="model_loading")
        return self.model

    async def _read(self, kind: Kind, http: web.Request) -> TextRequest:
        from aiohttp import web

        try:
            return read(kind, await http.read(), model=self.name)
        except web.HTTPRequestEntityTooLarge:
            raise RequestError(f"the request has more than {LARGEST:,} bytes.", status=413) from None

    @contextmanager
    def _admitted(self) -> Generator[_Request]:
        """Counts a request from now until its answer is sent and its thread has ended.

        Raises:
            RequestError: as many as may wait do so already.
        """
        if len(self._open) > self.queue:
            self.counts["rejected"] += 1
            raise RequestError(f"{len(self._open)} requests are open; try again later.", status=429, code="queue_full")
        request = _Request()
        self._open.add(request)
        try:
            yield request
        finally:
            request.stop.set()
            if request.written is None:
                self._open.discard(request)
            else:
                request.written.add_done_callback(lambda _: self._open.discard(request))

    def _prompt(self, model: LanguageModel, wanted: TextRequest) -> list[int]:
        try:
            prompt = model.chat(wanted.messages) if wanted.kind == "chat" else model.plain(wanted.text)
        except DataError as error:
            raise RequestError(str(error)) from None
        if len(prompt) + wanted.sampling.max_tokens > model.context:
            asked = f"{len(prompt)} tokens and an answer of up to {wanted.sampling.max_tokens}"
            raise RequestError(f"{asked} do not fit into {model.context} tokens.", code="context_length_exceeded")
        return prompt

    async def _pieces(
        self, request: _Request, model: LanguageModel, prompt: list[int], wanted: TextRequest
    ) -> AsyncGenerator[Piece]:
        """Yields the parts as the thread writes them; when nobody takes them any more, the thread stops."""
        loop, stop = asyncio.get_running_loop(), request.stop
        parts: asyncio.Queue[Piece | BaseException] = asyncio.Queue()

        def write() -> None:
            try:
                for piece in model.write(prompt, wanted.sampling, stop):
                    loop.call_soon_threadsafe(parts.put_nowait, piece)
            except BaseException as error:  # noqa: BLE001  # it is raised where the answer is waited for
                loop.call_soon_threadsafe(parts.put_nowait, error)

        request.written, ended = loop.run_in_executor(self._writer, write), False
        try:
            while not ended:
                piece = await parts.get()
                if isinstance(piece, BaseException):
                    raise RequestError(f"the model failed: {piece}", status=500, code="model_failed") from piece
                ended = piece.finish is not None
                self.counts["completed"] += piece.finish in {"stop", "length"}
                yield piece
        finally:
            stop.set()
            self.counts["cancelled"] += not ended

    async def _whole(
        self, _: web.Request, __: TextRequest, writer: AnswerWriter, pieces: AsyncGenerator[Piece]
    ) -> web.StreamResponse:
        from aiohttp import web

        texts, last = list[str](), Piece(text="", tokens=0, finish="stop")
        try:
            async for piece in pieces:
                texts.append(piece.text)
                last = piece
        finally:
            await pieces.aclose()
        return web.json_response(writer.whole("".join(texts), last))

    async def _stream(
        self, http: web.Request, wanted: TextRequest, writer: AnswerWriter, pieces: AsyncGenerator[Piece]
    ) -> web.StreamResponse:
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(http)
        first, tokens = True, 0

        async def send(event: dict[str, Any]) -> None:
            await response.write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())

        try:
            async for piece in pieces:
                tokens = piece.tokens
                if piece.text or piece.finish or first:
                    await send(writer.chunk(piece, first=first))
                    first = False
            if wanted.usage:
                await send(writer.usage_chunk(tokens))
            await response.write(b"data: [DONE]\n\n")
        except RequestError as error:
            await send(error.body)
        finally:
            await pieces.aclose()
        await response.write_eof()
        return response
