"""When records come to the spool: before the answers, together; or behind them, whatever the disk does."""

import asyncio
import threading

import pytest

from headrace.scoring.spool import Spool, segments
from headrace.serving.log import Log
from headrace.serving.log_writer import MOST, Writing
from headrace.serving.messages import Answer
from headrace.serving.metrics import Counters


class Counted(Spool):
    """Counts its writes."""

    writes = 0

    def append(self, *records):
        self.writes += 1
        super().append(*records)


class Slow(Spool):
    """A disk that does not come back until it is let."""

    def __init__(self, folder):
        super().__init__(folder)
        self.let = threading.Event()

    def append(self, *records):
        self.let.wait(30)
        super().append(*records)


def writing(spool):
    log, counters = Log("a"), Counters()
    log.spool = spool
    return Writing(log, counters), counters, log


def kept(folder):
    return [record for segment in segments(folder) for record in segment.records()]


async def held(writer, records):
    """Holds an answer for each list of records, in one turn of the loop; gives the statuses as they were told."""
    told, left = [], []
    for each in records:
        holding = writer.before(Answer(200, b"{}"), each, told.append)
        holding.add_done_callback(lambda done: left.append(done.result().status))
    assert told == left == []  # no answer leaves before it is written
    await asyncio.sleep(0.01)
    assert told == left
    return left


def test_answers_of_one_moment_wait_for_one_write(tmp_path):
    spool = Counted(tmp_path)

    async def ask():
        writer, _, _ = writing(spool)
        assert await held(writer, [[b"a", b"b"], [b"c"], [b"d"]]) == [200, 200, 200]
        assert await held(writer, [[b"e"]]) == [200]
        assert spool.writes == 2
        writer.end()

    asyncio.run(ask())
    assert kept(tmp_path) == [b"a", b"b", b"c", b"d", b"e"]


def test_where_some_have_room_those_are_answered_and_each_refused_one_is_in_no_segment(tmp_path):
    async def ask():
        writer, counters, log = writing(Spool(tmp_path, limit_bytes=200))
        statuses = await held(writer, [[b"a" * 60], [b"b" * 60, b"c" * 60], [b"d" * 60], [b"e" * 60]])
        assert statuses == [200, 503, 200, 503]
        assert counters.log_dropped == 0
        assert "200 bytes" in log.trouble
        writer.end()

    asyncio.run(ask())
    assert kept(tmp_path) == [b"a" * 60, b"d" * 60]


def test_a_disk_that_hangs_holds_nobody_up_who_does_not_wait_for_it(tmp_path):
    spool = Slow(tmp_path)

    async def ask():
        writer, counters, _ = writing(spool)
        for _ in range(5):
            writer.behind([b"x" * 1000])
            await asyncio.sleep(0.03)
        writer.behind([b"y" * MOST])  # more than may wait
        assert counters.log_dropped == 1
        writer.tick()
        spool.let.set()
        writer.end()

    asyncio.run(ask())
    assert kept(tmp_path) == [b"x" * 1000] * 5


@pytest.mark.parametrize("count", [1, 7])
def test_what_waits_at_the_end_is_written(tmp_path, count):
    async def ask():
        writer, _, _ = writing(Spool(tmp_path))
        for each in range(count):
            writer.behind([b"%d" % each])
        writer.end()

    asyncio.run(ask())
    assert kept(tmp_path) == [b"%d" % each for each in range(count)]


def test_what_a_full_log_does_not_take_is_counted_one_by_one(tmp_path):
    async def ask():
        writer, counters, _ = writing(Spool(tmp_path, limit_bytes=100))
        writer.behind([b"a" * 60, b"b" * 60, b"c"])
        while not counters.log_dropped:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert counters.log_dropped == 1
        writer.end()

    asyncio.run(ask())
    assert kept(tmp_path) == [b"a" * 60, b"c"]
