import asyncio
import time
from contextlib import suppress

import pytest

from headrace.core.errors import CutStreamError, DeadlineError, MalformedAnswerError, UnavailableError
from headrace.environments.llm import LlmConfig, LlmRoute
from headrace.llm.gateway.async_gateway import AsyncGateway
from headrace.llm.gateway.metering import Metering
from headrace.testing import faults
from headrace.testing.llm_endpoint import Endpoint

from .conftest import ask, route


def until(condition):
    for _ in range(2000):
        if condition():
            return True
        time.sleep(0.005)
    return False


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_pieces_come_one_by_one_and_then_the_answer(gateway, endpoint, ledger, protocol):
    small = route(endpoint, protocol=protocol, input_price=10**9, output_price=10**9)
    with gateway(small).stream(ask(), route="small") as stream:
        pieces = list(stream)

    answer = stream.completion
    assert pieces == ["echo", " of", " hello", " there"]
    assert (answer.text, answer.finish_reason, answer.model) == ("echo of hello there", "stop", "small")
    assert (answer.input_tokens, answer.output_tokens, answer.cost_nano) == (4, 4, 8_000)
    assert [each.outcome for each in ledger.records] == ["answered"]
    assert list(ledger.settled.values()) == [8_000]


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_a_cut_stream_is_an_error_that_says_how_much_came(gateway, endpoint, ledger, clean, protocol):
    endpoint.set_faults([faults.cut(after=2, clean=clean)])
    stream = gateway(route(endpoint, protocol=protocol, output_price=10**9)).stream(ask(), route="small")

    came = "7" if clean else "[047]"  # what is on its way when a connection is torn may be lost
    with pytest.raises(CutStreamError, match=f"was cut after {came} characters") as error:
        list(stream)
    assert error.value.received <= 7
    assert stream.completion is None
    assert len(endpoint.requests) == 1  # nothing is repeated once a piece was handed on
    assert [each.outcome for each in ledger.records] == ["failed"]
    assert ledger.open == {}
    assert ledger.records[0].cost_nano > 0


def test_before_the_first_piece_a_stream_is_tried_again_and_falls_back(gateway, endpoint, backup):
    endpoint.set_faults([faults.cut(after=0), faults.status(500), faults.disconnect(), faults.status(429)])
    one = gateway(route(endpoint, attempts=4, fallback="large"), route(backup, "large"))

    stream = one.stream(ask(), route="small")
    assert "".join(stream) == "from the backup"
    assert (stream.completion.route, stream.completion.attempts) == ("large", 5)


def test_leaving_early_closes_the_connection_at_once(gateway, ledger):
    with Endpoint(lambda _messages: "word " * 10_000, pause=0.005) as endpoint:
        one = gateway(route(endpoint))
        with one.stream(ask(), route="small") as stream:
            assert next(stream) == "word"
        assert until(lambda: endpoint.requests[0].outcome == "aborted")
        assert endpoint.requests[0].deltas < 5_000
    assert [each.outcome for each in ledger.records] == ["cancelled"]
    assert ledger.open == {}
    assert list(stream) == []


def test_a_stream_that_is_forgotten_is_closed(gateway, ledger):
    with Endpoint(lambda _messages: "word " * 10_000, pause=0.005) as endpoint:
        stream = gateway(route(endpoint)).stream(ask(), route="small")
        next(stream)
        del stream
        assert until(lambda: endpoint.requests[0].outcome == "aborted")
        assert until(lambda: [each.outcome for each in ledger.records] == ["cancelled"])


def test_a_slow_reader_holds_the_endpoint_back(gateway):
    text = " ".join(["x" * 1_000] * 15_000)
    with Endpoint(lambda _messages: text) as endpoint:
        stream = gateway(route(endpoint)).stream(ask(), route="small")
        next(stream)
        recorded, before = endpoint.requests[0], -1
        while recorded.deltas != before:  # until the endpoint cannot send any more
            before = recorded.deltas
            time.sleep(0.3)
        assert before < 12_000
        assert len("".join(stream)) == len(text) - 1_000


def test_a_slow_reader_is_not_cut_off_for_it(gateway, endpoint):
    stream = gateway(route(endpoint, timeout=0.5)).stream(ask(), route="small")
    pieces = []
    for piece in stream:
        pieces.append(piece)
        time.sleep(0.2)
    assert len(pieces) == 4


def test_a_stream_that_stops_coming_ends_at_the_deadline(gateway, endpoint):
    endpoint.set_faults(lambda _request: faults.drip(0.02))
    with pytest.raises(DeadlineError):
        list(gateway(route(endpoint, timeout=0.5, attempts=1)).stream(ask(), route="small"))
    with Endpoint(lambda _messages: "word " * 1_000, pause=0.05) as slow, pytest.raises(DeadlineError, match="used up"):
        list(gateway(route(slow, timeout=0.4)).stream(ask(), route="small"))


@pytest.mark.parametrize("body", ["data: {\n\n", "data: []\n\n", 'data: {"error": {"message": "no"}}\n\n'])
def test_an_event_that_is_none_is_malformed(gateway, endpoint, body):
    endpoint.set_faults(lambda _request: faults.status(200, body=body))

    with pytest.raises(MalformedAnswerError):
        list(gateway(route(endpoint)).stream(ask(), route="small"))


def test_a_stream_that_is_empty_was_cut(gateway, endpoint):
    endpoint.set_faults(lambda _request: faults.empty())

    with pytest.raises(UnavailableError, match="ended its stream before it began"):
        list(gateway(route(endpoint, attempts=1)).stream(ask(), route="small"))


def test_a_cached_answer_comes_as_one_piece(gateway, endpoint):
    one = gateway(route(endpoint, cache=60.0))
    first = "".join(one.stream(ask(), route="small"))
    stream = one.stream(ask(), route="small")

    assert list(stream) == [first]
    assert stream.completion.cached
    assert len(endpoint.requests) == 1


def test_a_cancelled_task_ends_its_call(endpoint, ledger):
    endpoint.set_faults(lambda _request: faults.timeout())
    config = LlmConfig(routes={"small": route(endpoint)})

    async def cancelled():
        one = AsyncGateway(config, metering=Metering(budgets=ledger, usage=ledger))
        task = asyncio.create_task(one.complete(ask(), route="small"))
        await asyncio.to_thread(until, lambda: endpoint.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await one.close()

    asyncio.run(cancelled())
    assert until(lambda: endpoint.requests[0].outcome == "aborted")
    assert until(lambda: [each.outcome for each in ledger.records] == ["cancelled"])
    assert ledger.open == {}


async def serving_events(server_side, read):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        with suppress(ConnectionError):
            for part in server_side:
                writer.write(part)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        return await read(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()


DELTA = b'data: {"choices": [{"delta": {"content": "word "}}]}\n\n'
LONG = b'data: {"choices": [{"delta": {"content": "' + b"x" * 2**20 + b'"}}]}\n\n'


@pytest.mark.parametrize("first", [b"", DELTA])
@pytest.mark.parametrize(
    ("part", "what"),
    [
        (b"data: " + b"x" * 2**20, "sent an event of more than"),  # one line without an end
        (b"data: x\n" * 2**17, "sent an event of more than"),  # lines without the empty one
        (b"data:\n" * 2**17, "sent an event of more than"),
        (LONG, "answered with more than"),
    ],
)
def test_a_stream_that_never_ends_is_malformed_and_billed(ledger, first, part, what):
    def parts():
        yield first
        for _ in range(64):
            yield part

    async def read(url):
        small = LlmRoute(name="small", protocol="openai", url=url, model="small", timeout=60.0, input_price=10**9)
        one = AsyncGateway(LlmConfig(routes={"small": small}), metering=Metering(budgets=ledger, usage=ledger))
        received = 0
        try:
            async for piece in one.stream(ask(), route="small"):
                received += len(piece)
        finally:
            await one.close()
            assert received <= 16 * 2**20

    with pytest.raises(MalformedAnswerError, match=f"route 'small' {what} 16,777,216 characters"):
        asyncio.run(serving_events(parts(), read))
    assert ledger.open == {}
    assert ledger.records[0].cost_nano > 0
