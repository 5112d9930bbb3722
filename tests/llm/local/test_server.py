"""The endpoint around a model that is none: who is let in, and who waits for whom."""

import asyncio
import threading
from pathlib import Path

import aiohttp
from aiohttp import web

from headrace.llm.local.generation import Piece
from headrace.llm.local.server import Endpoint
from headrace.llm.local.weights import ModelFiles

QUEUE = 2


class SlowReader:
    """Its texts become tokens when the test lets them."""

    context = 1_000

    def __init__(self):
        self.let, self.read = threading.Event(), 0

    def chat(self, messages):
        self.read += 1
        assert self.let.wait(30)
        return [1] * len(messages)

    def write(self, prompt, sampling, stop):
        yield Piece(text="yes", tokens=1, finish="stop")


async def asked(test):
    """Runs a test with the endpoint, its model, and a client."""
    endpoint = Endpoint(ModelFiles(name="slow", folder=Path(), gguf=""), queue=QUEUE)
    endpoint.model = model = SlowReader()
    runner = web.AppRunner(endpoint.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            async with asyncio.timeout(30):
                await test(client, model)
    finally:
        model.let.set()
        endpoint.close()
        await runner.cleanup()


async def ask(client, **more):
    body = {"model": "slow", "messages": [{"role": "user", "content": "word " * 1000}], "max_tokens": 1, **more}
    async with client.post("/v1/chat/completions", json=body) as answer:
        await answer.read()
        return answer.status


async def health(client):
    async with client.get("/health") as answer:
        return (await answer.json())["requests"]


async def until(client, holds):
    while not holds(found := await health(client)):  # noqa: ASYNC110  # the endpoint says so when it is asked
        await asyncio.sleep(0.01)
    return found


def test_a_burst_is_counted_before_anything_is_done_for_it_and_holds_nobody_else_up():
    async def test(client, model):
        tasks = [asyncio.ensure_future(ask(client, stream=bool(number % 2))) for number in range(12)]
        found = await until(client, lambda found: found["rejected"])  # it answers while a text becomes tokens
        found = await until(client, lambda found: found["open"] + found["rejected"] == 12)
        assert found["open"] == QUEUE + 1
        assert model.read == 1
        model.let.set()
        statuses = await asyncio.gather(*tasks)
        assert (statuses.count(200), statuses.count(429)) == (QUEUE + 1, 12 - QUEUE - 1)
        await until(client, lambda found: found["open"] == 0)

    asyncio.run(asked(test))


def test_whoever_leaves_before_the_text_is_read_makes_room():
    async def test(client, model):
        tasks = [asyncio.ensure_future(ask(client, stream=bool(number % 2))) for number in range(QUEUE + 1)]
        await until(client, lambda found: found["open"] == QUEUE + 1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(client, lambda found: found["open"] == 0)
        model.let.set()
        assert await ask(client) == 200

    asyncio.run(asked(test))


def test_a_request_that_is_refused_makes_room():
    async def test(client, model):
        model.let.set()
        for _ in range(2 * QUEUE):
            assert await ask(client, max_tokens=1_000) == 400
        assert (await health(client))["open"] == 0
        assert await ask(client) == 200

    asyncio.run(asked(test))
