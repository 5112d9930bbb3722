"""Workers that are processes of their own: they share a topic, die, come back, follow what is in Production."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

from .conftest import kafka, lake, predicted, ride


class Worker:
    """A process of its own, and what it tells."""

    def __init__(self, folder, *options):
        self.told = folder / ".headrace" / "dev" / "streams" / "minutes"
        self.said = (folder.parent / f"worker{len(list(folder.parent.glob('worker*')))}").open("w+")
        command = [sys.executable, "-m", "headrace.cli", "run", "stream", *options]
        self.process = subprocess.Popen(command, cwd=folder, stderr=self.said)

    def words(self):
        self.said.seek(0)
        return self.said.read()

    def figures(self):
        with suppress(OSError, ValueError, StopIteration):
            return json.loads(next(self.told.glob(f"*-{self.process.pid}.json")).read_text())
        return {}

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(300)


@contextmanager
def working(folder, *options):
    worker = Worker(folder, *options)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()
        worker.said.close()


def until(holds, *workers, seconds=300):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, [(worker.figures(), worker.words()) for worker in workers]
        assert all(worker.process.poll() in (None, -9) for worker in workers), [worker.words() for worker in workers]
        time.sleep(0.05)


def test_two_workers_share_partitions_and_a_killed_one_is_replaced(project, broker):
    topic = broker.topic(4)
    folder = project(kafka(topic, more=", max_messages=50"))
    with working(folder) as one, working(folder) as two:
        until(lambda: len(one.figures().get("lag", ())) == 2 == len(two.figures().get("lag", ())), one, two)
        broker.send(topic, [ride(each) for each in range(400)], partitions=4)
        until(lambda: len(predicted(folder)) == 400, one, two)
        until(lambda: min(one.figures()["messages"], two.figures()["messages"]) > 0, one, two)
        two.process.kill()
        broker.send(topic, [ride(each) for each in range(400, 800)], partitions=4)
        until(lambda: len(predicted(folder)) == 800, one)
        assert one.end() == 0
    assert sorted(row["ride"] for row in predicted(folder)) == list(range(800))
    assert lake(folder).reached("gold.minutes", [f"stream minutes kafka main/{topic}/0"]) == {
        f"stream minutes kafka main/{topic}/0": 200
    }


def test_one_that_was_taken_for_dead_writes_nothing_of_what_it_had(project, broker):
    """Stopped, not killed: it comes back with messages in hand that another worker has written meanwhile."""
    topic = broker.topic(2)
    folder = project(kafka(topic, more=", max_messages=20"))
    sent = 0
    with working(folder) as one:
        until(lambda: len(one.figures().get("lag", ())) == 2, one)
        with working(folder, "--partition", "0", "--partition", "1") as two:
            for _ in range(6):
                broker.send(topic, [ride(each) for each in range(sent, sent + 200)], partitions=2)
                sent += 200
                time.sleep(0.15)  # anywhere in its work
                one.process.send_signal(signal.SIGSTOP)
                until(lambda: len(predicted(folder)) == sent, two)  # noqa: B023
                one.process.send_signal(signal.SIGCONT)
        until(lambda: len(one.figures().get("lag", ())) == 2, one)
        broker.send(topic, [ride(each) for each in range(sent, sent + 100)], partitions=2)
        until(lambda: len(predicted(folder)) == sent + 100, one)
        assert one.end() == 0
    assert sorted(row["ride"] for row in predicted(folder)) == list(range(sent + 100))


def test_a_new_version_takes_over_between_two_batches(headrace, project, broker):
    topic = broker.topic()
    folder = project(kafka(topic))
    with working(folder, "--metrics-port", "0") as worker:
        broker.send(topic, [ride(each) for each in range(50)])
        until(lambda: len(predicted(folder)) == 50, worker)
        for arguments in (["train", "--as-of", "2024-02-20"], ["deploy", "--as-of", "2024-02-20"]):
            done = headrace.run(folder, "run", *arguments)
            assert done.code == 0, done.stderr
        broker.send(topic, [ride(each) for each in range(50, 100)])
        until(lambda: len(predicted(folder)) == 100, worker)
        address = next(word for word in worker.words().split() if word.startswith("http"))
        metrics = urllib.request.urlopen(address).read().decode().splitlines()
        assert worker.end() == 0
    assert {(row["ride"] < 50, row["model_version"]) for row in predicted(folder)} == {(True, 1), (False, 2)}
    assert 'headrace_stream_lag{model="minutes",partition="0"} 0' in metrics
    assert 'headrace_stream_predictions_total{model="minutes"} 100' in metrics
    assert 'headrace_stream_version{model="minutes"} 2' in metrics


def test_while_features_cannot_be_had_it_waits_and_says_so(headrace, project, broker):
    topic = broker.topic()
    folder = project(kafka(topic))
    broker.send(topic, [ride(each) for each in range(30)])
    online = folder / ".headrace" / "dev" / "online.db"
    for each in online.parent.glob("online.db*"):
        each.unlink()
    refused = headrace.run(folder, "run", "stream", "--once")
    assert (refused.code, "were never published" in refused.stderr) == (1, True)
    with working(folder) as worker:
        until(lambda: "never published" in worker.figures().get("held", ""), worker)
        assert not lake(folder).exists("gold.minutes")
        assert headrace.run(folder, "run", "publish", "--as-of", "2024-02-15").code == 0
        until(lambda: len(predicted(folder)) == 30, worker)
        assert worker.end() == 0


def test_status_tells_of_workers_and_of_one_that_died(headrace, project, broker):
    topic = broker.topic()
    folder = project(kafka(topic))
    broker.send(topic, [ride(each) for each in range(10)])
    with working(folder) as worker:
        until(lambda: worker.figures().get("messages") == 10, worker)
        (told,) = headrace.run(folder, "status", "--json").json()["streams"]
        assert (told["model"], told["version"], told["messages"], told["lag"], told["status"]) == (
            "minutes",
            1,
            10,
            0,
            "works",
        )
        worker.end(signal.SIGKILL)
    found = headrace.run(folder, "status", "--json").json()
    assert found["streams"][0]["status"] == "died"
    (need,) = [each for each in found["needs_a_person"] if "stream" in each["what"]]
    assert need["next"] == "headrace run stream --model minutes --env dev"
    assert headrace.run(folder, "run", "stream", "--once").code == 0
    assert headrace.run(folder, "status", "--json").json()["streams"] == []


def test_up_runs_the_streams_too(project, broker):
    topic = broker.topic()
    folder = project(kafka(topic))
    broker.send(topic, [ride(each) for each in range(20)])
    with (folder.parent / "up").open("w+") as said:
        command = [sys.executable, "-m", "headrace.cli", "up"]
        up = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        try:
            until(lambda: len(predicted(folder)) == 20)
            (file,) = (folder / ".headrace" / "dev" / "streams" / "minutes").glob("*.json")
            up.terminate()
            assert up.wait(300) == 0  # it kills what has not ended within 40 s, which would leave the file
        finally:
            up.kill()
            up.wait()
    assert not file.exists()  # a clean end
