"""How long an answer that streams may take: `timeout` is for the first event and for each one after the last."""

import asyncio
import json
import shutil
import time
from pathlib import Path

import pytest
from tests.serving.conftest import manifest, samples, serving

from headrace.serving.messages import Answer, Event
from headrace.serving.streaming import StreamedAnswer

ENV = {"PYTHONPATH": str(Path(__file__).parent)}
TIMEOUT = 1.0  # seconds


@pytest.fixture(scope="module")
def server(bikes, tmp_path_factory):
    root = tmp_path_factory.mktemp("paced") / "dev"
    shutil.copytree(bikes / ".headrace" / "dev" / "serving", root / "serving")
    home = root / "serving" / "late"
    manifest(home, protocols=["paced:PACED"], timeout="1s")
    with serving(home, env=ENV) as running:
        running.home = home
        yield running


def ask(server, pauses):
    """An event a row, each after its pause; gives the events and how long all of it took."""
    _, rows, _ = samples(server.home)
    began = time.monotonic()
    status, text, _ = server.ask(f"/paced?pauses={','.join(map(str, pauses))}", rows[: len(pauses)])
    assert status == 200
    return text.strip().split("\n\n"), time.monotonic() - began


def ended(server, status):
    """How many answers ended so, by version."""
    lines = [each for each in server.ask("/metrics")[1].splitlines() if each.startswith("headrace_requests_total{")]
    return sum(float(each.rsplit(" ", 1)[1]) for each in lines if f'status="{status}"' in each)


def test_a_stream_that_lasts_longer_than_the_timeout_comes_whole(server):
    before = ended(server, 200)
    events, seconds = ask(server, [0.2] * 8)
    assert seconds > TIMEOUT
    assert len(events) == 8
    assert not any("event: error" in each for each in events)
    server.until(lambda: ended(server, 200) == before + 1)


@pytest.mark.parametrize("pauses", [[60, 0], [0, 60], [0.6, 0.6, 60, 0]])
def test_one_that_stalls_ends_with_an_error_event(server, pauses):
    before = ended(server, 503)
    events, seconds = ask(server, pauses)
    assert len(events) == pauses.index(60) + 1
    assert seconds >= TIMEOUT
    name, data = events[-1].splitlines()
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["message"] == "there was no event within 1s."
    server.until(lambda: ended(server, 503) == before + 1)


def test_a_caller_that_reads_slowly_uses_up_no_time():
    async def quick():
        for place in range(3):
            await asyncio.sleep(0.01)
            yield Event(b"%d" % place)

    async def read_slowly():
        answer = StreamedAnswer(
            quick(),
            until=asyncio.get_running_loop().time() + 1,
            timeout=1,
            failed=lambda error: Answer(503, repr(error).encode()),
            ended=statuses.append,
        )
        read = []
        async for event in answer:
            await asyncio.sleep(0.6)
            read.append(event.data)
        return read

    statuses = []
    assert asyncio.run(read_slowly()) == [b"0", b"1", b"2"]
    assert statuses == [200]
