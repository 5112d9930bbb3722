import asyncio
import gzip
import io

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from headrace.llm.gateway_server.open_bodies import LARGEST_BODY, OpenBodies
from headrace.llm.gateway_server.refusals import CallRefusedError


@pytest.fixture
def posted():
    """Calls a function with a client of a server whose calls stay open until `go` is set."""

    def posted(most, calls):
        async def run():
            bodies, go = OpenBodies(most), asyncio.Event()

            async def handle(request):
                try:
                    body = await bodies.read(request)
                    await go.wait()
                    return web.Response(text=str(len(body)))
                except CallRefusedError as error:
                    return web.Response(status=error.status, headers=error.headers)
                finally:
                    bodies.end(request)

            app = web.Application()
            app.router.add_post("/", handle)
            async with TestClient(TestServer(app)) as client:
                return await calls(bodies, go, client)

        return asyncio.run(run())

    return posted


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_the_bodies_of_open_calls_have_a_limit_together(posted):
    async def calls(bodies, go, client):
        first = asyncio.create_task(client.post("/", data=b"x" * 900))
        await until(lambda: bodies.bytes == 900)
        refused = await client.post("/", data=b"x" * 101)
        packed = await client.post("/", data=gzip.compress(b"x" * 101), headers={"Content-Encoding": "gzip"})
        assert [(each.status, each.headers.get("Retry-After")) for each in (refused, packed)] == [(503, "1")] * 2
        assert bodies.bytes == 900
        second = asyncio.create_task(client.post("/", data=b"x" * 100))
        await until(lambda: bodies.bytes == 1_000)
        go.set()
        assert [await (await each).text() for each in (first, second)] == ["900", "100"]
        await until(lambda: bodies.bytes == 0)

    posted(1_000, calls)


def test_what_has_not_come_takes_no_memory(posted):
    async def calls(bodies, go, client):
        async def slowly():
            yield b"x" * 10
            await go.wait()

        slow = [asyncio.create_task(client.post("/", data=slowly())) for _ in range(20)]
        await until(lambda: bodies.bytes == 200)
        for each in slow[:10]:
            each.cancel()
        await until(lambda: bodies.bytes == 100)
        go.set()
        assert [(await each).status for each in slow[10:]] == [200] * 10

    posted(1_000, calls)


def test_one_body_has_a_limit_of_its_own(posted):
    async def calls(bodies, _go, client):
        assert (await client.post("/", data=io.BytesIO(b"x" * (LARGEST_BODY + 1)))).status == 413
        assert bodies.bytes == 0

    posted(4 * LARGEST_BODY, calls)
