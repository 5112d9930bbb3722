import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from headrace.core.errors import LimitError, RateLimitedError
from headrace.environments.llm import LlmConfig, LlmRoute
from headrace.llm.gateway.async_gateway import AsyncGateway
from headrace.llm.gateway.budget_limits import Limits
from headrace.llm.gateway.budgets import Budgets
from headrace.llm.gateway.cache import AnswerCache
from headrace.llm.gateway.declarations import Route
from headrace.llm.gateway.metering import Metering
from headrace.llm.gateway.usage import Usage
from headrace.testing.llm_endpoint import Endpoint

from .conftest import ask, route


def test_budgets_usage_and_cache_of_the_state_database_are_what_the_gateway_calls(gateway, endpoint, state):
    budgets, usage = Budgets(state, Limits(day=10**9)), Usage(state)
    small = route(endpoint, input_price=10**9, output_price=10**9, max_tokens=100, cache=60.0)
    one = gateway(small, metering=Metering(budgets=budgets, usage=usage, cache=AnswerCache(state)))
    first, second = one.complete(ask(), route="small"), one.complete(ask(), route="small")

    assert (first.cached, second.cached, second.text) == (False, True, first.text)
    (day,) = budgets.status()
    assert (day.spent, day.reserved) == (first.cost_nano, 0)
    (row,) = usage.report()
    assert (row.calls, row.cached, row.cost_nano) == (2, 1, first.cost_nano)


def test_calls_that_end_while_one_is_written_are_written_together_and_one_that_cannot_be_takes_no_other_with_it(
    gateway, endpoint, state
):
    class Counted(Usage):
        """Usage that refuses the records of one user."""

        batches = []

        def settle_and_record(self, budgets, ended):
            self.batches.append(len(ended))
            while len(self.batches) == 1 and one._async._dispatch.ledger._waiting.qsize() < 10:
                time.sleep(0.001)
            if any(each.record.user == "bad" for each in ended):
                raise OSError("no space left")
            super().settle_and_record(budgets, ended)

    budgets, usage = Budgets(state, Limits(day=10**12)), Counted(state)
    small = route(endpoint, input_price=10**9, output_price=10**9, max_tokens=100)
    one = gateway(small, metering=Metering(budgets=budgets, usage=usage))
    users = [f"user {number}" for number in range(60)] + ["bad"]
    with ThreadPoolExecutor(len(users)) as pool:
        answers = list(pool.map(lambda user: one.complete(ask(user), route="small", user=user), users))

    assert max(usage.batches) >= 10
    assert sum(row.calls for row in usage.report()) == 60
    (day,) = budgets.status()
    assert (day.spent, day.reserved) == (sum(each.cost_nano for each in answers), 0)


def test_an_answer_that_was_refused_is_settled_before_the_next_route_reserves(gateway, endpoint, state):
    """Its whole reservation would leave too little for the next one."""
    budgets = Budgets(state, Limits(day=200_000))
    routes = [
        route(endpoint, name, input_price=10**9, output_price=10**9, max_tokens=100) for name in ("small", "large")
    ]
    one = gateway(*routes, metering=Metering(budgets=budgets, usage=Usage(state)))
    answer = one.complete(ask(), route=Route("small", "large", accept=lambda _text: False))

    assert (answer.route, answer.attempts) == ("large", 2)
    (day,) = budgets.status()
    assert (day.spent, day.reserved) == (answer.cost_nano, 0)


def test_all_that_is_sent_is_reserved(gateway, endpoint, ledger):
    ledger.left = 50_000
    one = gateway(route(endpoint, input_price=10**9, max_tokens=1))
    schema = {"type": "json_schema", "json_schema": {"name": "wide", "schema": {"description": "x" * 100_000}}}

    for request in (ask(response_format=schema), ask(stop=["x" * 100_000])):
        with pytest.raises(LimitError):
            one.complete(request, route="small")
    with pytest.raises(LimitError):
        one.embed(["a"] * 10, route="small")  # ten bytes, and what surrounds each text
    assert endpoint.requests == []
    assert one.complete(ask(), route="small").text == "echo"


@pytest.mark.parametrize("others", [1, 8])
def test_a_refused_call_uses_up_no_rate(gateway, endpoint, ledger, others):
    one = gateway(route(endpoint, input_price=10**9, requests_per_minute=2, tokens_per_minute=500, max_tokens=1))
    ledger.left, before = 0, ledger.left
    with ThreadPoolExecutor(others) as threads:
        calls = [threads.submit(one.complete, ask(), route="small") for _ in range(8)]
    assert {type(each.exception()) for each in calls} == {LimitError}

    ledger.left = before
    for _ in range(2):
        assert one.complete(ask(), route="small", timeout=2.0).attempts == 1
    assert ledger.open == {}
    assert [each.outcome for each in ledger.records] == ["refused"] * 8 + ["answered"] * 2


def test_a_call_that_waits_for_the_rate_and_is_left_gives_it_back(endpoint, ledger):
    config = LlmConfig(routes={"small": route(endpoint, input_price=10**9, requests_per_minute=60)})

    async def left():
        one = AsyncGateway(config, metering=Metering(budgets=ledger, usage=ledger))
        await asyncio.gather(*(one.complete(ask(), route="small") for _ in range(60)))
        waiting = [asyncio.create_task(one.complete(ask(), route="small")) for _ in range(20)]
        await asyncio.sleep(0.2)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        answer = await one.complete(ask(), route="small", timeout=3.0)
        await one.close()
        return answer

    assert asyncio.run(left()).text == "echo of hello there"
    assert ledger.open == {}


def test_a_call_that_finds_no_place_gives_back_its_rate_and_its_budget(gateway, ledger):
    with Endpoint(lambda _messages: "word " * 1000, pause=0.01) as endpoint:
        one = gateway(route(endpoint, concurrency=1, requests_per_minute=2, input_price=10**9))
        with one.stream(ask(), route="small") as stream:
            next(stream)
            for _ in range(3):
                with pytest.raises(RateLimitedError, match="1 are open"):
                    one.complete(ask(), route="small", timeout=0.1)
            assert len(ledger.open) == 1
        with one.stream(ask(), route="small", timeout=3.0) as stream:
            assert next(stream) == "word"
    assert ledger.open == {}


def test_whoever_leaves_in_the_last_moment_has_had_the_whole_answer(ledger):
    """The endpoint keeps the connection open after its last event, so that the end takes a moment."""
    event = 'data: {"model": "small", "choices": [{"delta": {"content": "all"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}'

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = f"{event}\n\ndata: [DONE]\n\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body)
        await reader.read()
        writer.close()

    async def leave():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        price = {"input_price": 10**9, "output_price": 10**9}
        small = LlmRoute(name="small", protocol="openai", url=url, model="small", timeout=10.0, **price)
        one = AsyncGateway(LlmConfig(routes={"small": small}), metering=Metering(budgets=ledger, usage=ledger))
        stream = one.stream(ask(), route="small")
        assert await stream.batch() == ["all"]
        end = asyncio.create_task(anext(stream, None))
        await asyncio.sleep(0.01)
        end.cancel()
        with suppress(asyncio.CancelledError):
            await end
        await one.close()
        server.close()

    asyncio.run(leave())
    (record,) = ledger.records
    assert (record.outcome, record.cost_nano) == ("cancelled", 8_000)
    assert list(ledger.settled.values()) == [8_000]
