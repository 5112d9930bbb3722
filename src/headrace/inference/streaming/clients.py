"""Kafka clients: their properties, and readable errors that never show secrets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from headrace.core.errors import ConfigError, MissingExtraError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka import Consumer, KafkaError, Producer
    from confluent_kafka.admin import AdminClient

    from headrace.environments.kafka import Cluster, Topic

LOG = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds in which a broker answers
LEAST_SAID = {"log_level": "2"}  # errors come by the callback
CONSUMER = {
    "enable.auto.commit": "false",  # offsets are told when they are written
    "enable.partition.eof": "true",
    "auto.offset.reset": "error",  # messages that are gone are told, not passed over
    "queued.max.messages.kbytes": "16384",  # read ahead by so much, and no more
}
PRODUCER = {"enable.idempotence": "true", "linger.ms": "5", "queue.buffering.max.kbytes": "32768"}
OURS = ("group.id", *CONSUMER, "enable.idempotence", "enable.auto.offset.store")  # what a user must not set otherwise


def consumer(cluster: Cluster, group: str) -> Consumer:
    """A consumer that reads ahead by a bounded amount and commits nothing by itself.

    Args:
        cluster: says what the group is called there.
        group: the consumer group, as declared.

    Raises:
        MissingExtraError: the client is not installed.
        ConfigError: a property that it does not know, or that Headrace sets.
    """
    _installed()
    from confluent_kafka import Consumer

    return _made(Consumer, cluster, {**CONSUMER, "group.id": cluster.name_of(group)})


def producer(cluster: Cluster) -> Producer:
    """A producer that repeats nothing by itself, with a bounded buffer.

    Raises:
        MissingExtraError, ConfigError: as `consumer`.
    """
    _installed()
    from confluent_kafka import Producer

    return _made(Producer, cluster, PRODUCER)


def admin(cluster: Cluster) -> AdminClient:
    """A client that creates and deletes.

    Raises:
        MissingExtraError, ConfigError: as `consumer`.
    """
    _installed()
    from confluent_kafka.admin import AdminClient

    return _made(AdminClient, cluster, {"error_cb": lambda _: None})  # the exception says it


def check_topic(client: Consumer | Producer, topic: Topic) -> int:
    """How many partitions a topic has.

    Raises:
        UnavailableError: no broker answers.
        NotFoundError: there is no such topic.
    """
    from confluent_kafka import KafkaException

    try:
        topics = client.list_topics(timeout=PATIENCE).topics
    except KafkaException as error:
        raise unanswered(topic.cluster, error.args[0]) from None
    if topic.name not in topics:
        kind = f"topic of the Kafka cluster {topic.cluster.name!r},"
        raise NotFoundError(kind, topic.name, topics, hint="Headrace makes no topics.")
    return len(topics[topic.name].partitions)


def check_cluster(cluster: Cluster) -> int:
    """How many brokers a cluster has.

    Raises:
        MissingExtraError: the client is not installed.
        ConfigError: a property that it does not know, or that Headrace sets.
        UnavailableError: no broker answers.
    """
    client = admin(cluster)
    from confluent_kafka import KafkaException

    try:
        return len(client.list_topics(timeout=PATIENCE).brokers)
    except KafkaException as error:
        raise unanswered(cluster, error.args[0]) from None


def unanswered(cluster: Cluster, error: KafkaError) -> UnavailableError:
    """The error of a cluster that says nothing."""
    return UnavailableError(
        f"no broker of the Kafka cluster {cluster.name!r} answers: {error.str()}.",
        hint=f"See kafka.{cluster.name} in headrace.toml.",
    )


def _made(kind: Any, cluster: Cluster, ours: Mapping[str, object]) -> Any:
    from confluent_kafka import KafkaException

    properties = cluster.properties
    for name in properties:
        if name in OURS:
            raise ConfigError(f"kafka.{cluster.name}: {name} is set by Headrace.", hint="Leave it out.")
    try:
        return kind({**LEAST_SAID, "error_cb": _say, **ours, **properties})
    except KafkaException as error:
        said = error.args[0].str()
        for value in properties.values():
            said = said.replace(value, "…") if value else said
        raise ConfigError(
            f"kafka.{cluster.name}: {said}.", hint="The names are those of librdkafka's configuration properties."
        ) from None


def _installed() -> None:
    try:
        import confluent_kafka  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "confluent_kafka", "kafka", "Reading and writing Kafka") from None


def _say(error: KafkaError) -> None:
    LOG.warning("kafka: %s", error.str())
