"""Topics and consumer groups of a test's own: created, filled, read and deleted, with one partition each.

Whatever is declared, nothing here reaches a topic or a group that is not the test's: outside of tests it refuses.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError, RefusedError, UnavailableError
from headrace.environments.kafka import OF_TESTS
from headrace.inference.streaming import clients

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from concurrent.futures import Future

    from confluent_kafka import KafkaError, Message

    from headrace.environments.kafka import Cluster, Topic

PATIENCE = 30.0  # seconds in which a broker does what it said it would
LOOK = 0.1  # seconds between looks
READER = "reader"  # the group of whoever reads a whole topic; it commits nothing


def create(cluster: Cluster, declared: Collection[str]) -> None:
    """Creates the topics that stand for declared ones, and waits until clients see them.

    Raises:
        RefusedError: the cluster is not a test's; or the broker refuses, and then the hint says which rights are needed.
        UnavailableError: no broker answers.
    """
    from confluent_kafka.cimpl import NewTopic

    topics = _own(cluster, declared)
    client = clients.admin(cluster)
    wanted = [NewTopic(each.name, num_partitions=1, replication_factor=-1) for each in topics]
    for name, done in client.create_topics(wanted, request_timeout=clients.PATIENCE).items():
        _settle(cluster, done, f"topic {name} cannot be created")
    _wait(cluster, lambda names: names.issuperset(each.name for each in topics), "are not there")


def delete(cluster: Cluster, declared: Collection[str], groups: Collection[str]) -> None:
    """Deletes the topics and the consumer groups that stand for declared ones, and waits until the topics are gone.

    What is not there is no error.

    Raises:
        RefusedError, UnavailableError: see `create`.
    """
    from confluent_kafka import KafkaError

    topics = _own(cluster, declared)
    client = clients.admin(cluster)
    gone = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND)
    if topics:
        names = [each.name for each in topics]
        for name, done in client.delete_topics(names, request_timeout=clients.PATIENCE).items():
            _settle(cluster, done, f"topic {name} cannot be deleted", beside=gone)
    if groups:
        own = [cluster.name_of(each) for each in groups]
        for name, done in client.delete_consumer_groups(own, request_timeout=clients.PATIENCE).items():
            _settle(cluster, done, f"consumer group {name} cannot be deleted", beside=gone)
    _wait(cluster, lambda names: names.isdisjoint(each.name for each in topics), "are still there")


def send(topic: Topic, values: Sequence[bytes]) -> None:
    """Sends messages, and waits until the broker has acknowledged every one.

    Raises:
        RefusedError, UnavailableError: see `create`.
    """
    from confluent_kafka import KafkaException

    _check(topic.cluster)
    producer = clients.producer(topic.cluster)
    failed: list[KafkaError] = []

    def told(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failed.append(error)

    try:
        for value in values:
            while True:
                try:
                    producer.produce(topic.name, value, on_delivery=told)
                    break
                except BufferError:
                    producer.poll(LOOK)
        left = producer.flush(PATIENCE)
    except KafkaException as error:
        raise _wrong(topic.cluster, error.args[0], f"{topic} cannot be written") from None
    if failed:
        raise _wrong(topic.cluster, failed[0], f"{topic} cannot be written")
    if left:
        raise UnavailableError(f"{topic} cannot be written: {left} messages were not acknowledged in {PATIENCE:.0f} s.")


def read(topic: Topic) -> list[Message]:
    """All messages of a topic.

    Raises:
        RefusedError, UnavailableError: see `create`.
    """
    from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

    _check(topic.cluster)
    reader = clients.consumer(topic.cluster, READER)
    found: list[Message] = []
    until = time.monotonic() + PATIENCE
    try:
        reader.assign([TopicPartition(topic.name, 0, OFFSET_BEGINNING)])
        while time.monotonic() < until:
            for each in reader.consume(1000, LOOK):
                error = each.error()
                if error is None:
                    found.append(each)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    return found
                elif error.fatal() or not error.retriable():
                    raise _wrong(topic.cluster, error, f"{topic} cannot be read")
    finally:
        reader.close()
    raise UnavailableError(f"{topic} cannot be read: its end did not come in {PATIENCE:.0f} s.")


def _own(cluster: Cluster, declared: Collection[str]) -> list[Topic]:
    _check(cluster)
    return [cluster.topic(each) for each in declared]


def _check(cluster: Cluster) -> None:
    if cluster.test is None:
        raise RefusedError(
            f"topics of the Kafka cluster {cluster.name!r} are not a test's.",
            hint="Only headrace test integration creates and deletes topics, and only its own.",
        )


def _wait(cluster: Cluster, done: Callable[[set[str]], bool], what: str) -> None:
    """Until the topics that clients see are those that should be."""
    from confluent_kafka import KafkaException

    client = clients.admin(cluster)
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if done(set(client.list_topics(timeout=clients.PATIENCE).topics)):
                return
        except KafkaException as error:
            raise clients.unanswered(cluster, error.args[0]) from None
        if time.monotonic() > until:
            raise UnavailableError(f"topics of the test {what} after {PATIENCE:.0f} s.", hint=needed(cluster))
        time.sleep(LOOK)


def _settle(cluster: Cluster, done: Future[None], what: str, *, beside: Collection[int] = ()) -> None:
    """Waits for what a broker was asked to do."""
    from confluent_kafka import KafkaException

    try:
        done.result(PATIENCE)
    except KafkaException as error:
        if error.args[0].code() not in beside:
            raise _wrong(cluster, error.args[0], what) from None


def _wrong(cluster: Cluster, error: KafkaError, what: str) -> HeadraceError:
    """The error of a broker that refuses, or, where the client alone says so, of one that does not answer."""
    if error.code() < 0:
        return clients.unanswered(cluster, error)
    return RefusedError(f"{what}: {error.str()}.", hint=needed(cluster))


def needed(cluster: Cluster) -> str:
    """What the user of a cluster needs for a test."""
    return (
        f"The user of kafka.{cluster.name} needs the rights Create, Describe, Write, Read and Delete on topics, and Describe, "
        f"Read and Delete on consumer groups, whose names begin with {OF_TESTS}"
    )
