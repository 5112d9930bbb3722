"""A deterministic endpoint of a language model on this machine, in a thread of a test or as a process.

It speaks OpenAI's protocol (`/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/models`, `/health`) and
Anthropic's (`/v1/messages`), streamed or not. As a process, it prints its URL on its first line:

    python -m headrace.testing.llm_endpoint --port 8800 --reply package.module:function
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from headrace.core.errors import HeadraceError, MissingExtraError
from headrace.testing.behaviour import Behaviour
from headrace.testing.faults import rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from headrace.testing.behaviour import Embed, Reply
    from headrace.testing.faults import Faults
    from headrace.testing.recording import RecordedRequest


def echo(messages: Sequence[dict[str, str]]) -> str:
    """Replies with the last message."""
    return messages[-1]["content"] if messages else ""


class Endpoint:
    """A server on 127.0.0.1, from `with` to the end of its block.

    Args:
        reply: returns the answer to messages: dictionaries with `role` and `content`, the instruction among them with
            the role `system`. It must be a function of its argument alone. Defaults to the last message.
        model: the model that it has. Requests may name any other; the answer then names that one.
        port: the port; 0 takes a free one.
        dimension: the dimension of embeddings.
        embed: returns the embedding of a text. Defaults to unit vectors by hashes of words.
        faults: what goes wrong, one a request: a list or iterator of `Fault` or None, or a function of the request.
        key: the key that requests must bring. Defaults to none.
        latency: seconds before each answer.
        pause: seconds before each piece of a stream.

    Attributes:
        url: the address for an OpenAI client: `http://127.0.0.1:8800/v1`.
        root: the address for an Anthropic client: `http://127.0.0.1:8800`.

    Example:
        >>> from headrace.testing.llm_endpoint import Endpoint
        >>> import json, urllib.request
        >>> with Endpoint(lambda messages: messages[-1]["content"].upper()) as endpoint:
        ...     body = {"model": "test", "messages": [{"role": "user", "content": "hello"}]}
        ...     request = urllib.request.Request(f"{endpoint.url}/chat/completions", json.dumps(body).encode())
        ...     json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]
        'HELLO'
    """

    def __init__(
        self,
        reply: Reply = echo,
        *,
        model: str = "test",
        port: int = 0,
        dimension: int = 32,
        embed: Embed | None = None,
        faults: Faults = (),
        key: str | None = None,
        latency: float = 0.0,
        pause: float = 0.0,
    ) -> None:
        self.port = port
        self._behaviour = Behaviour(
            reply=reply,
            model=model,
            dimension=dimension,
            embed=embed,
            fault_of=rule(faults),
            key=key,
            latency=latency,
            pause=pause,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def root(self) -> str:
        """The address without `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address with `/v1`."""
        return f"{self.root}/v1"

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, in order, with their headers."""
        return self._behaviour.requests

    def set_faults(self, faults: Faults) -> None:
        """Sets what goes wrong with the requests from now on, in place of what was set before."""
        self._behaviour.fault_of = rule(faults)

    def __enter__(self) -> Self:
        """Starts the server.

        Raises:
            MissingExtraError: aiohttp is not installed.
            OSError: the port is taken.
        """
        started: list[BaseException | None] = []
        ready = threading.Event()

        def run() -> None:
            try:
                asyncio.run(self._serve(lambda: (started.append(None), ready.set())))
            except BaseException as error:  # noqa: BLE001  # raised again in the thread that starts it
                started.append(error)
            finally:
                ready.set()

        self._thread = threading.Thread(target=run, name="llm-endpoint", daemon=True)
        self._thread.start()
        ready.wait()
        if started[0] is not None:
            raise started[0]
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the server and ends what is still open."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
        self._loop = self._thread = None

    async def _serve(self, ready: Callable[[], object], *, watch: bool = False) -> None:
        try:
            from aiohttp import web

            from headrace.testing.llm_server import application
        except ModuleNotFoundError as error:
            if error.name != "aiohttp":
                raise
            raise MissingExtraError("aiohttp", "llm", "the endpoint for tests") from None
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        if watch:
            stopping = self._stopping
            self._loop.add_reader(sys.stdin.fileno(), lambda: os.read(sys.stdin.fileno(), 4096) or stopping.set())
        runner = web.AppRunner(
            application(self._behaviour), handler_cancellation=True, access_log=None, shutdown_timeout=0.05
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            ready()
            await self._stopping.wait()
        finally:
            await runner.cleanup()

    def serve_forever(self, ready: Callable[[], object], *, while_stdin_is_open: bool = False) -> None:
        """Serves in this thread until the process is interrupted.

        Args:
            ready: is called once requests are answered.
            while_stdin_is_open: whether it also ends when its standard input does, as it does when whoever started it is gone.
        """
        asyncio.run(self._serve(ready, watch=while_stdin_is_open))


def _function(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise HeadraceError(f"there is no function {name!r}: {error}", hint="--reply package.module:function") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the endpoint as a process.

    Args:
        arguments: what follows the command. Defaults to that of this process.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m headrace.testing.llm_endpoint", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port; 0 takes a free one")
    parser.add_argument("--model", default="test", help="the model that it has")
    parser.add_argument("--dimension", type=int, default=32, help="the dimension of embeddings")
    parser.add_argument("--reply", default="", help="package.module:function, in place of an echo")
    parser.add_argument("--key", default=None, help="the key that requests must bring")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds before each piece of a stream")
    parser.add_argument("--while-stdin-is-open", action="store_true", help="end with whoever started it")
    given = parser.parse_args(arguments)
    try:
        endpoint = Endpoint(
            _function(given.reply) if given.reply else echo,
            model=given.model,
            port=given.port,
            dimension=given.dimension,
            key=given.key,
            latency=given.latency,
            pause=given.pause,
        )
        endpoint.serve_forever(lambda: print(endpoint.url, flush=True), while_stdin_is_open=given.while_stdin_is_open)
    except HeadraceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
