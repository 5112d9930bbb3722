"""The contract of a source, on a topic and on a change feed."""

from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition

from headrace.core.errors import DataError, MovedError, RefusedError
from headrace.environments.kafka import Cluster
from headrace.inference.streaming import clients
from headrace.inference.streaming.sources.change_feed import ChangeFeedSource
from headrace.inference.streaming.sources.kafka import KafkaSource
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Append, Upsert

FEED = {"delta.enableChangeDataFeed": "true"}


class Topic:
    """Rows as messages of a new topic of two partitions."""

    partitions = 2

    def __init__(self, broker, tmp_path):
        del tmp_path
        self.broker, self.topic, self.group, self.said = broker, broker.topic(2), f"g{broker.topic()}", []

    def add(self, *ids):
        self.broker.send(self.topic, [orjson.dumps({"id": each}) for each in ids], partitions=2)

    def open(self, positions, *, share=False, **options):
        """All partitions at once, unless the group shares them out, which takes seconds."""
        options.setdefault("partitions", None if share else [0, 1])
        properties = {"bootstrap.servers": self.broker.at, "session.timeout.ms": "2000", "heartbeat.interval.ms": "300"}
        cluster = Cluster(name="main", properties=properties)
        consumer = clients.consumer(cluster, self.group)
        given = {"max_messages": 3, "max_bytes": 2**20, "max_wait": 0.1, **options}
        return KafkaSource(consumer, topic=cluster.topic(self.topic), positions=positions, **given)


class Feed:
    """Rows of a table; each call of `add` is a version."""

    partitions = 1

    def __init__(self, broker, tmp_path):
        del broker
        self.lake, self.memory, self.count, self.said = Lakehouse("dev", str(tmp_path)), tmp_path / "position", 0, []

    def add(self, *ids):
        self.count += 1
        rows = pa.table({"id": pa.array(ids, pa.int64())})
        self.lake.commit("city.asked", str(self.count), lambda _: Append(rows), properties=FEED)

    def open(self, positions, **options):
        options.pop("max_bytes", None)
        given = {"max_messages": 3, "tell": self.said.append, **options}
        return ChangeFeedSource(self.lake, "city.asked", positions=positions, memory=self.memory, **given)


@pytest.fixture(params=[Topic, Feed])
def place(request, broker, tmp_path):
    found = request.param(broker, tmp_path)
    found.opened = []
    opening = found.open

    def opened(*arguments, **options):
        found.opened.append(opening(*arguments, **options))
        return found.opened[-1]

    found.open = opened
    yield found
    for source in found.opened:
        source.close()


def batches(source, *, done=True, least=0):
    """All until the end, and at least so many messages: the end is that of the last look."""
    found = []
    for _ in range(300):
        batch = source.poll()
        if batch is not None:
            found.append(batch)
            if done:
                source.done(batch)
        elif source.at_end() and sum(len(each.messages) for each in found) >= least:
            return found
    raise AssertionError("it does not come to its end")


def ids(found):
    values = (each.value for batch in found for each in batch.messages)
    return sorted((orjson.loads(each) if isinstance(each, bytes) else each)["id"] for each in values)


def ends(found):
    return {partition: end for batch in found for partition, end in batch.ends.items()}


def beginning(partitions):
    return dict.fromkeys(partitions)


def test_each_message_comes_once_in_batches_that_are_not_too_large(place):
    place.add(*range(10))
    source = place.open(beginning)
    found = batches(source)
    assert ids(found) == list(range(10))
    assert all(1 <= len(batch.messages) <= 3 for batch in found)
    for batch in found:
        for partition in {each.partition for each in batch.messages}:
            offsets = [each.offset for each in batch.messages if each.partition == partition]
            assert offsets == sorted(set(offsets))
            assert batch.ends[partition] > offsets[-1]
    assert source.lag() == dict.fromkeys(range(place.partitions), 0)
    place.add(10, 11)
    assert ids(batches(source, least=2)) == [10, 11]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_it_begins_where_the_sink_says(place, after):
    place.add(*range(8))
    first = place.open(beginning)
    read = batches(first)[:after]
    first.close()
    at = ends(read)
    again = place.open(lambda partitions: {each: at.get(each) for each in partitions})
    assert ids(read) + ids(batches(again)) == sorted(ids(read) + ids(read[after:])) + sorted(
        set(range(8)) - set(ids(read))
    )


def test_what_the_sink_says_counts_and_not_what_the_source_remembers(place):
    place.add(*range(5))
    first = place.open(beginning)
    assert ids(batches(first)) == list(range(5))
    first.close()
    assert ids(batches(place.open(beginning))) == list(range(5))


def test_rewinding_asks_again(place):
    place.add(*range(5))
    at = {}
    source = place.open(lambda partitions: {each: at.get(each) for each in partitions})
    first = source.poll()
    while first is None:
        first = source.poll()
    source.rewind()
    assert ids(batches(source)) == list(range(5))
    at.update(first.ends)
    source.rewind()
    assert ids(batches(source)) == sorted(set(range(5)) - set(ids([first])))


def test_without_a_sink_that_remembers_the_source_does(place):
    place.add(*range(7))
    first = place.open(None)
    assert ids(batches(first)) == list(range(7))
    first.close()
    place.add(7)
    second = place.open(None)
    assert ids(batches(second, done=False)) == [7]
    second.close()
    assert ids(batches(place.open(None))) == [7]


def test_while_it_is_held_nothing_comes_and_nothing_is_lost(place):
    place.add(*range(3))
    source = place.open(beginning)
    assert ids(batches(source)) == [0, 1, 2]
    place.add(3, 4)
    assert source.hold(0.3)
    assert ids(batches(source, least=2)) == [3, 4]


# ---------------------------------------------------------------------------------------------- of a topic


def test_a_batch_ends_at_its_bytes(broker, tmp_path):
    topic = Topic(broker, tmp_path)
    topic.add(*range(300))
    source = topic.open(beginning, max_messages=1000, max_bytes=200)
    found = batches(source)
    assert ids(found) == list(range(300))
    assert max(len(batch.messages) for batch in found) < 100
    source.close()


def test_only_these_partitions(broker, tmp_path):
    topic = Topic(broker, tmp_path)
    topic.add(*range(10))
    source = topic.open(beginning, partitions=[1])
    assert ids(batches(source)) == [1, 3, 5, 7, 9]
    source.close()


def test_the_group_is_told_too_late(broker, tmp_path):
    topic = Topic(broker, tmp_path)
    topic.add(*range(4))
    source = topic.open(None, share=True)
    batch = source.poll()
    while batch is None:
        batch = source.poll()
    member = source._consumer
    cluster = Cluster(name="main", properties={"bootstrap.servers": broker.at})
    source._consumer = clients.consumer(cluster, topic.group)  # of no generation
    with pytest.raises(MovedError, match="taken over"):
        source.done(batch)
    source.close()
    member.close()


def test_messages_say_when_they_were_sent(broker, tmp_path):
    topic = Topic(broker, tmp_path)
    before = datetime.now(UTC)
    topic.add(1)
    source = topic.open(beginning)
    ((message,),) = (batch.messages for batch in batches(source))
    assert abs((message.at - before).total_seconds()) < 60
    assert source._consumer.position([TopicPartition(topic.topic, 0)])[0].offset == 1
    source.close()


# ---------------------------------------------------------------------------------------------- of a change feed


def test_added_and_changed_rows_come_and_deleted_ones_do_not(broker, tmp_path):
    feed = Feed(broker, tmp_path)
    rows = pa.table({"id": [1, 2, 3], "x": ["a", "b", "c"]})
    feed.lake.commit("city.asked", "a", lambda _: Append(rows), properties=FEED)
    change = Upsert(pa.table({"id": [2, 4], "x": ["B", "d"]}), ["id"], delete=pa.table({"id": [3]}))
    feed.lake.commit("city.asked", "b", lambda _: change)
    feed.lake.optimize("city.asked")
    source = feed.open(beginning)
    assert [(each.value["id"], each.value["x"]) for batch in batches(source) for each in batch.messages] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
        (2, "B"),
        (4, "d"),
    ]
    assert source.lag() == {0: 0}


def test_a_table_without_a_feed_is_refused_with_the_way_to_one(broker, tmp_path):
    feed = Feed(broker, tmp_path)
    feed.lake.commit("city.asked", "a", lambda _: Append(pa.table({"id": [1]})))
    with pytest.raises(RefusedError, match="change_feed=True"):
        feed.open(beginning)


def test_a_feed_that_was_turned_on_later_begins_there(broker, tmp_path):
    feed = Feed(broker, tmp_path)
    for each in range(3):
        feed.lake.commit("city.asked", f"old {each}", lambda _, each=each: Append(pa.table({"id": [each]})))
    feed.add(10)
    feed.add(11)
    assert ids(batches(feed.open(beginning))) == [10, 11]


def test_versions_that_were_vacuumed_are_told_and_left_out_only_when_asked(broker, tmp_path):
    feed = Feed(broker, tmp_path)
    feed.add(1)
    feed.lake.commit("city.asked", "b", lambda _: Upsert(pa.table({"id": [1, 2]}), ["id"]))
    feed.lake.vacuum("city.asked", retention_hours=0)
    feed.add(3)
    with pytest.raises(DataError, match="cannot be read") as told:
        batches(feed.open(beginning))
    assert "--accept-loss" in told.value.hint
    assert 3 in ids(batches(feed.open(beginning, accept_loss=True)))
    assert any("left out" in each for each in feed.said)


def test_a_table_that_went_back_is_told(broker, tmp_path):
    feed = Feed(broker, tmp_path)
    feed.add(1)
    back = feed.lake.snapshot("city.asked").version
    feed.lake.commit("city.asked", "b", lambda _: Upsert(pa.table({"id": [2]}), ["id"], delete=pa.table({"id": [1]})))
    feed.lake.restore("city.asked", back)
    assert ids(batches(feed.open(beginning))) == [1, 1, 2]
    assert feed.said == ["version 3 of city.asked restored an earlier one: its rows are scored again"]


def test_a_table_made_anew_is_told(broker, tmp_path):
    import shutil

    feed = Feed(broker, tmp_path)
    feed.add(1)
    source = feed.open(beginning)
    assert ids(batches(source)) == [1]
    name = source.name
    shutil.rmtree(tmp_path / "city" / "asked")
    for each in range(4):
        feed.add(each)
    with pytest.raises(DataError, match="made anew"):
        batches(source)
    assert feed.open(beginning).name != name
