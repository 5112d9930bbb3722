"""The contract of a sink, as a table and as a topic, for predictions and for dead letters."""

import hashlib
from datetime import UTC, datetime, timedelta

import orjson
import pyarrow as pa
import pytest
from confluent_kafka import KafkaError

from headrace.core.errors import ConfigError, MovedError, UnavailableError
from headrace.environments.kafka import Cluster
from headrace.inference.streaming import clients
from headrace.inference.streaming.requests import DeadLetter, letters_table
from headrace.inference.streaming.sinks.base import LETTER, PREDICTION
from headrace.inference.streaming.sinks.delta import DeltaSink
from headrace.inference.streaming.sinks.kafka import KafkaSink
from headrace.inference.streaming.sources.base import Message
from headrace.lakehouse.lakehouse import Lakehouse

START = datetime(2024, 1, 1, tzinfo=UTC)
T = Cluster(name="main", properties={}).topic("t")


def predictions(*numbers, value=0.5, features=None):
    count = len(numbers)
    given = features or {"x": 1.0}
    return pa.table(
        {
            "prediction_id": [f"p{each}" for each in numbers],
            "id": pa.array(numbers, pa.int64()),
            "decision_time": pa.array([START + timedelta(hours=each) for each in numbers], pa.timestamp("us", "UTC")),
            "prediction": pa.array([value] * count, pa.float64()),
            "features": pa.array([given] * count),
        }
    )


def letters(*offsets, partition=0):
    found = [DeadLetter(Message(partition, each, b"{", b"k", START), "the value is no JSON.") for each in offsets]
    return letters_table("m", "t", found)


def to_topic(properties, topic, *, key=PREDICTION):
    cluster = Cluster(name="main", properties=properties)
    return KafkaSink(clients.producer(cluster), cluster.topic(topic), key=key)


class Table:
    def __init__(self, broker, tmp_path):
        del broker
        self.lake = Lakehouse("dev", str(tmp_path))

    def open(self, key):
        within = "decision_time" if key == PREDICTION else "offset"
        return DeltaSink(self.lake, "gold.m", stream="stream m kafka main/t", key=key, within=within)

    def keys(self, key):
        return sorted(tuple(row[name] for name in key) for row in self.lake.snapshot("gold.m").to_arrow().to_pylist())


class Topic:
    def __init__(self, broker, tmp_path):
        del tmp_path
        self.broker, self.topic = broker, broker.topic()

    def open(self, key):
        return to_topic({"bootstrap.servers": self.broker.at}, self.topic, key=key)

    def keys(self, key):
        """A reader tells repeats by the key."""
        found = {each.key().decode() for each in self.broker.read(self.topic)}
        if key == PREDICTION:
            return sorted((each,) for each in found)
        return sorted((t, int(p), int(o)) for t, p, o in (each.split("/") for each in found))


@pytest.fixture(params=[Table, Topic])
def place(request, broker, tmp_path):
    return request.param(broker, tmp_path)


def test_rows_are_there_with_their_keys(place):
    sink = place.open(PREDICTION)
    sink.write(predictions(1, 2), {0: 5, 1: 3})
    sink.write(None, {0: 6})
    sink.write(predictions(3), {1: 9})
    assert place.keys(PREDICTION) == [("p1",), ("p2",), ("p3",)]
    after = place.open(PREDICTION)
    assert after.positions([0, 1, 2]) == ({0: 6, 1: 9, 2: None} if sink.keeps_positions else dict.fromkeys(range(3)))


def test_a_repeated_decision_is_one_row(place):
    sink = place.open(PREDICTION)
    sink.write(predictions(1, 2, 1), {0: 3})
    sink.write(predictions(2, 3), {0: 5})
    assert place.keys(PREDICTION) == [("p1",), ("p2",), ("p3",)]


def test_dead_letters_are_there_once_by_place(place):
    sink = place.open(LETTER)
    sink.write(letters(1, 4), {0: 5})
    again = place.open(LETTER)
    again.write(letters(4, 7), {0: 8})
    again.write(letters(4, partition=1), {1: 5})
    assert place.keys(LETTER) == [("t", 0, 1), ("t", 0, 4), ("t", 0, 7), ("t", 1, 4)]


def test_nothing_but_positions_can_be_first(place):
    sink = place.open(PREDICTION)
    sink.write(None, {0: 4})
    sink.write(predictions(1), {0: 5})
    assert place.keys(PREDICTION) == [("p1",)]


# ---------------------------------------------------------------------------------------------- as a table


@pytest.fixture
def table(broker, tmp_path):
    return Table(broker, tmp_path)


def test_who_was_overtaken_writes_nothing(table):
    late, heir = table.open(PREDICTION), table.open(PREDICTION)
    late.positions([0])
    heir.positions([0])
    heir.write(predictions(1), {0: 2})
    with pytest.raises(MovedError):
        late.write(predictions(1, 2, 3), {0: 4})
    assert table.keys(PREDICTION) == [("p1",)]
    assert late.positions([0]) == {0: 2}
    late.write(predictions(2, 3), {0: 4})
    assert table.keys(PREDICTION) == [("p1",), ("p2",), ("p3",)]


def test_the_later_prediction_of_a_decision_stays(table):
    sink = table.open(PREDICTION)
    sink.write(predictions(1, 2, value=0.1), {0: 2})
    sink.write(pa.concat_tables([predictions(1, value=0.2), predictions(1, value=0.3)]), {0: 4})
    rows = table.lake.snapshot("gold.m").to_arrow().to_pylist()
    assert {row["prediction_id"]: row["prediction"] for row in rows} == {"p1": 0.3, "p2": 0.1}


def test_a_version_of_other_features_writes_into_the_same_table(table):
    sink = table.open(PREDICTION)
    sink.write(predictions(1, features={"x": 1.0}), {0: 1})
    sink.write(predictions(2, features={"y": "a", "x": 2.0}), {0: 2})
    sink.write(predictions(3, 1, features={"y": "b"}), {0: 4})
    rows = table.lake.snapshot("gold.m").to_arrow().to_pylist()
    assert {row["prediction_id"]: row["features"] for row in rows} == {
        "p1": {"x": None, "y": "b"},
        "p2": {"x": 2.0, "y": "a"},
        "p3": {"x": None, "y": "b"},
    }
    assert sink.positions([0]) == {0: 4}


def test_dead_letters_ahead_of_the_predictions_are_known(table):
    sink = table.open(LETTER)
    sink.write(letters(1, 4, 9), {0: 10})
    sink.write(letters(2, partition=1), {1: 3})
    after = table.open(LETTER)
    after.positions([0, 1])
    assert after.settled({0: 4, 1: 3}) == {(0, 4), (0, 9)}
    assert after.settled({0: 10, 1: 0}) == {(1, 2)}


def test_a_dead_letter_that_comes_later_and_lies_before_is_kept(table):
    table.open(LETTER).write(letters(4), {0: 10})
    table.open(LETTER).write(letters(2), {0: 5})
    assert table.keys(LETTER) == [("t", 0, 2), ("t", 0, 4)]
    assert table.open(LETTER).positions([0]) == {0: 10}


def test_many_small_files_become_one(table, monkeypatch):
    monkeypatch.setattr("headrace.inference.streaming.sinks.delta.COMPACT", 5)
    sink = table.open(PREDICTION)
    for each in range(5):
        sink.write(predictions(each), {0: each + 1})
    assert len(table.lake.snapshot("gold.m").table.file_uris()) == 1
    assert len(table.keys(PREDICTION)) == 5
    sink.write(predictions(9), {0: 6})
    assert table.open(PREDICTION).positions([0]) == {0: 6}


# ---------------------------------------------------------------------------------------------- as a topic


def test_a_prediction_is_its_record_as_json(broker, tmp_path):
    topic = Topic(broker, tmp_path)
    topic.open(PREDICTION).write(predictions(1), {})
    (message,) = broker.read(topic.topic)
    assert orjson.loads(message.value()) == {
        "prediction_id": "p1",
        "id": 1,
        "decision_time": "2024-01-01T01:00:00+00:00",
        "prediction": 0.5,
        "features": {"x": 1.0},
    }


def test_a_dead_letter_is_the_message_as_it_came(broker, tmp_path):
    topic = Topic(broker, tmp_path)
    topic.open(LETTER).write(letters(3), {})
    (message,) = broker.read(topic.topic)
    assert (message.key(), message.value()) == (b"t/0/3", b"{")
    assert dict(message.headers()) == {
        "reason": b"the value is no JSON.",
        "model": b"m",
        "topic": b"t",
        "partition": b"0",
        "offset": b"3",
        "key": b"k",
    }


def test_more_rows_than_the_buffer_holds(broker, tmp_path):
    topic = Topic(broker, tmp_path)
    properties = {"bootstrap.servers": broker.at, "queue.buffering.max.messages": "10"}
    sink = to_topic(properties, topic.topic)
    sink.write(predictions(*range(500)), {})
    assert len(broker.read(topic.topic)) == 500


def test_a_broker_that_does_not_answer_is_told(monkeypatch):
    monkeypatch.setattr("headrace.inference.streaming.sinks.kafka.PATIENCE", 0.2)
    sink = to_topic({"bootstrap.servers": "127.0.0.1:1"}, "t")
    with pytest.raises(UnavailableError, match="not acknowledged"):
        sink.write(predictions(1), {})


def test_a_dead_letter_that_is_too_large_comes_without_what_it_holds(broker, tmp_path):
    topic = Topic(broker, tmp_path)
    large = DeadLetter(Message(0, 4, b'{"bad": "' + b"a" * 1_200_000, b"k", START), "the value is no JSON.")
    sink = topic.open(LETTER)
    sink.write(letters_table("m", "t", [large]), {})
    sink.write(letters(5), {})
    first, second = broker.read(topic.topic)
    assert (first.key(), first.value(), second.value()) == (b"t/0/4", None, b"{")
    assert dict(first.headers()) == {
        "reason": b"the value is no JSON.",
        "model": b"m",
        "topic": b"t",
        "partition": b"0",
        "offset": b"4",
        "value_left_out": b"1200009 bytes, sha256 " + hashlib.sha256(large.message.value).hexdigest().encode(),
    }


def test_a_prediction_that_is_too_large_is_told_and_the_others_are_written(broker, tmp_path):
    topic = Topic(broker, tmp_path)
    rows = predictions(1, 2, 3).append_column("note", pa.array(["", "a" * 1_200_000, ""]))
    refused = topic.open(PREDICTION).write(rows, {})
    assert list(refused) == [1]
    assert "prediction p2, 12001" in refused[1]
    assert "message.max.bytes" in refused[1]
    assert topic.keys(PREDICTION) == [("p1",), ("p3",)]


def test_what_a_broker_refuses_together_is_sent_one_by_one():
    """A broker refuses a batch as one; the client says so of each message in it."""

    class Batching:
        def __init__(self):
            self.batch, self.written = [], []

        def produce(self, _, value, key, *, headers, on_delivery):
            del headers
            self.batch.append((key, len(value), on_delivery))

        def poll(self, _):
            return 0

        def flush(self, _):
            batch, self.batch = self.batch, []
            large = sum(size for _, size, _ in batch) > 1000
            for key, _, told in batch:
                told(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE) if large else None, None)
                self.written += [] if large else [key]
            return 0

    producer = Batching()
    rows = predictions(*range(20)).append_column("note", pa.array(["a" * 2000 * (each == 7) for each in range(20)]))
    assert list(KafkaSink(producer, T, key=PREDICTION).write(rows, {})) == [7]
    assert producer.written == [f"p{each}".encode() for each in range(20) if each != 7]


@pytest.mark.parametrize(
    ("code", "fatal"),
    [(KafkaError.TOPIC_AUTHORIZATION_FAILED, False), (KafkaError.CLUSTER_AUTHORIZATION_FAILED, False), (-1, True)],
)
def test_what_refuses_everything_is_no_matter_of_time(code, fatal):
    """No broker from a wheel knows rights: the client's own error is given to the sink."""

    class Refusing:
        def __init__(self):
            self.told = []

        def produce(self, *_, on_delivery, **__):
            self.told.append(on_delivery)

        def poll(self, _):
            return 0

        def purge(self):
            pass

        def flush(self, _):
            for each in self.told:
                each(KafkaError(code, "no", fatal=fatal), None)
            self.told.clear()
            return 0

    with pytest.raises(ConfigError, match="takes nothing from this worker"):
        KafkaSink(Refusing(), T, key=PREDICTION).write(predictions(1), {})
