"""kill -9 again and again, of two workers, and a count of every message.

Into a table both read every partition, as a worker that was taken for dead and its heir do: whatever one has in hand, the
other may have written. Into a topic each reads its own, so that what one loses nobody else brings.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter

from tests.support.zygote import Zygote

from headrace.lakehouse.lakehouse import Lakehouse

from .conftest import ride

PARTITIONS = 4
WRONG = (
    b"{",
    None,
    b"[1]",
    ride(1, ride=None),
    ride(2, ride="two"),
    ride(3, battery="full"),
    json.dumps({"ride": 4}).encode(),
    ride(5, battery=13),  # the on-demand feature raises
)
PLACES = (
    "stream.polled:minutes",
    "stream.refused:minutes",
    "commit.computed:gold.minutes",
    "commit.committed:gold.minutes",
    "commit.computed:gold.minutes_dead_letters",
    "commit.committed:gold.minutes_dead_letters",
    "stream.written:minutes",
    "stream.done:minutes",
)


def messages(count):
    """Every hundredth cannot be scored."""
    return [WRONG[each // 100 % len(WRONG)] if each % 100 == 50 else ride(each) for each in range(count)]


class Worker(threading.Thread):
    """Runs the command again and again, whatever kills it, until it is told to finish."""

    def __init__(self, scratch, folder, places, partitions):
        super().__init__(daemon=True)
        scratch.mkdir()
        self.zygote, self.folder, self.places, self.partitions = Zygote(scratch), folder, places, partitions
        self.finish, self.died, self.ended = threading.Event(), Counter(), []

    def run(self):
        while not self.finish.is_set():
            # every third is killed from outside, at any moment
            place = self.places.pop(0) if self.places and sum(self.died.values()) % 3 else None
            done = self.command(failpoint=place)
            if done.signal == signal.SIGKILL:
                self.died[place or "outside"] += 1
            else:
                self.ended.append(done)
                if done.code:
                    return

    def command(self, *options, failpoint=None):
        partitions = (f"--partition={each}" for each in self.partitions)
        return self.zygote.run(self.folder, "run", "stream", *partitions, *options, failpoint=failpoint)


def kill_loop(tmp_path, folder, send, *, kills, each, places, partitions):
    """Two workers that are killed so often, some `each` messages apart; gives where they died."""
    chance = random.Random(7)
    places = [*places, *places]
    chance.shuffle(places)
    workers = [Worker(tmp_path / f"worker{place}", folder, places, mine) for place, mine in enumerate(partitions)]
    told = folder / ".headrace" / "dev" / "streams" / "minutes"

    def at_work():
        for file in told.glob("*.json"):
            figures = json.loads(file.read_text())
            try:
                os.kill(figures["pid"], 0)
            except ProcessLookupError:
                file.unlink()
            else:
                yield figures

    def end(signalled):
        for figures in at_work():
            os.kill(figures["pid"], signalled)

    for worker in workers:
        worker.start()
    try:
        return looped(workers, at_work, end, chance, send, kills, each)
    finally:
        for worker in workers:
            worker.finish.set()
        while any(worker.is_alive() for worker in workers):  # only after a failure
            end(signal.SIGKILL)
            time.sleep(0.2)


def looped(workers, at_work, end, chance, send, kills, each):
    until, sent = time.monotonic() + 150, 0
    while (killed := sum(sum(worker.died.values()) for worker in workers)) < kills:
        assert time.monotonic() < until, [worker.died for worker in workers]
        assert all(done.code == 0 for worker in workers for done in worker.ended), [worker.ended for worker in workers]
        portion = 250 if sent < each * (killed + 1) else 20  # enough to die on, until the last one has died
        send(portion)
        sent += portion
        time.sleep(chance.uniform(0.1, 0.4))
        for figures in at_work():
            if figures["batches"] and chance.random() < 0.4:
                os.kill(figures["pid"], signal.SIGKILL)
    send(None)
    for worker in workers:
        worker.finish.set()
    while any(worker.is_alive() for worker in workers):
        assert time.monotonic() < until, [(worker.died, worker.ended) for worker in workers]
        end(signal.SIGTERM)
        time.sleep(0.2)
    died = Counter()
    for worker in workers:
        worker.ended.append(worker.command("--once", "--json"))
        worker.zygote.close()
        assert [done.code for done in worker.ended] == [0] * len(worker.ended), worker.ended
        assert worker.ended[-1].json()["lag"] == 0
        died.update(worker.died)
    return died


def sender(broker, topic, values):
    """Sends the next so many, each to the partition of its number; None for all that are left."""
    left = list(enumerate(values))

    def send(count):
        for partition in range(PARTITIONS):
            mine = [value for place, value in left[:count] if place % PARTITIONS == partition]
            broker.send(topic, mine, partition=partition)
        del left[:count]

    return send


def test_each_message_is_predicted_or_refused_once(tmp_path, project, broker):
    topic = broker.topic(PARTITIONS)
    sent = messages(20_000)
    folder = project(f'source=hr.kafka("{topic}"), into="gold.minutes", max_messages=400')
    died = kill_loop(
        tmp_path, folder, sender(broker, topic, sent), kills=20, each=900, places=PLACES, partitions=[range(4)] * 2
    )
    assert sum(died.values()) >= 20
    assert len(died) >= 8
    lake = Lakehouse("dev", str(folder / ".headrace" / "dev" / "lakehouse"))
    predicted = lake.snapshot("gold.minutes").to_arrow()
    refused = lake.snapshot("gold.minutes_dead_letters").to_arrow()
    wrong = [each for each in range(len(sent)) if each % 100 == 50]
    assert sorted(predicted["ride"].to_pylist()) == [each for each in range(len(sent)) if each % 100 != 50]
    assert len(set(predicted["prediction_id"].to_pylist())) == predicted.num_rows
    places = zip(refused["partition"].to_pylist(), refused["offset"].to_pylist(), strict=True)
    assert sorted(offset * PARTITIONS + partition for partition, offset in places) == wrong
    assert lake.reached("gold.minutes", [f"stream minutes kafka main/{topic}/{each}" for each in range(4)]) == {
        f"stream minutes kafka main/{topic}/{each}": 5_000 for each in range(4)
    }


def test_into_a_topic_each_message_comes_at_least_once_with_the_same_key(tmp_path, project, broker):
    topic, out, dead = broker.topic(PARTITIONS), broker.topic(), broker.topic()
    sent = messages(3_000)
    into = f'into=hr.kafka("{out}"), dead_letters=hr.kafka("{dead}")'
    folder = project(f'source=hr.kafka("{topic}"), {into}, max_messages=100')
    places = [each for each in PLACES if each.startswith("stream.")]
    send = sender(broker, topic, sent)
    died = kill_loop(tmp_path, folder, send, kills=8, each=300, places=places, partitions=[[0, 1], [2, 3]])
    assert sum(died.values()) >= 8
    good = {each for each in range(len(sent)) if each % 100 != 50}
    found = broker.read(out)
    keys = {each.key(): json.loads(each.value())["ride"] for each in found}
    assert len(found) > len(keys)  # some came again
    assert sorted(keys.values()) == sorted(good)  # and none under another key
    places = {tuple(map(int, each.key().decode().split("/")[1:])) for each in broker.read(dead)}
    assert {offset * PARTITIONS + partition for partition, offset in places} == set(range(len(sent))) - good
