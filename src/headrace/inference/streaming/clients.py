"""Kafka clients: their properties, and readable errors that never show secrets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from headrace.core.errors import ConfigError, MissingExtraError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka import Consumer, KafkaError, Producer

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


def consumer(cluster: str, properties: Mapping[str, str], group: str) -> Consumer:
    """A consumer that reads ahead by a bounded amount and commits nothing by itself.

    Raises:
        MissingExtraError: the client is not installed.
        ConfigError: a property that it does not know, or that Headrace sets.
    """
    _installed()
    from confluent_kafka import Consumer

    return _made(Consumer, cluster, properties, {**CONSUMER, "group.id": group})


def producer(cluster: str, properties: Mapping[str, str]) -> Producer:
    """A producer that repeats nothing by itself, with a bounded buffer.

    Raises:
        MissingExtraError, ConfigError: as `consumer`.
    """
    _installed()
    from confluent_kafka import Producer

    return _made(Producer, cluster, properties, PRODUCER)


def check_topic(client: Consumer | Producer, cluster: str, topic: str) -> int:
    """How many partitions a topic has.

    Raises:
        UnavailableError: no broker answers.
        NotFoundError: there is no such topic.
    """
    from confluent_kafka import KafkaException

    try:
        topics = client.list_topics(timeout=PATIENCE).topics
    except KafkaException as error:
        raise UnavailableError(
            f"no broker of the Kafka cluster {cluster!r} answers: {error.args[0].str()}.",
            hint=f"See kafka.{cluster} in headrace.toml.",
        ) from None
    if topic not in topics:
        raise NotFoundError(f"topic of the Kafka cluster {cluster!r},", topic, topics, hint="Headrace makes no topics.")
    return len(topics[topic].partitions)


def _made(kind: Any, cluster: str, properties: Mapping[str, str], ours: Mapping[str, str]) -> Any:
    from confluent_kafka import KafkaException

    for name in properties:
        if name in OURS:
            raise ConfigError(f"kafka.{cluster}: {name} is set by Headrace.", hint="Leave it out.")
    try:
        return kind({**LEAST_SAID, "error_cb": _say, **ours, **properties})
    except KafkaException as error:
        said = error.args[0].str()
        for value in properties.values():
            said = said.replace(value, "…") if value else said
        raise ConfigError(
            f"kafka.{cluster}: {said}.", hint="The names are those of librdkafka's configuration properties."
        ) from None


def _installed() -> None:
    try:
        import confluent_kafka  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "confluent_kafka", "kafka", "Reading and writing Kafka") from None


def _say(error: KafkaError) -> None:
    LOG.warning("kafka: %s", error.str())
