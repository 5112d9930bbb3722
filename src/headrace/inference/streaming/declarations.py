"""What a user declares about a stream: where decisions come from, and where their predictions go."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from headrace.core.declaration import check_texts, check_whole
from headrace.core.errors import DeclarationError
from headrace.lakehouse.declarations import check_name

if TYPE_CHECKING:
    from headrace.lakehouse.declarations import Table

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
WAIT = re.compile(r"[1-9][0-9]*ms")


@dataclass(frozen=True)
class Kafka:
    """A topic of a Kafka cluster."""

    topic: str
    cluster: str | None = None

    def __str__(self) -> str:
        return f"topic {self.topic}"


@dataclass(frozen=True)
class ChangeFeed:
    """The change feed of a table."""

    table: str

    def __str__(self) -> str:
        return f"changes of {self.table}"


def kafka(topic: str, *, cluster: str | None = None) -> Kafka:
    """A topic of a Kafka cluster, as a source or a destination of a stream.

    Args:
        topic: its name: letters, digits, `.`, `_` and `-`, up to 249 characters. Headrace does not create it.
        cluster: the name of `[env.<env>.kafka.<name>]` in headrace.toml; defaults to the only one.

    Returns:
        The topic, for `hr.Stream(source=…)`, `into=` and `dead_letters=`.

    Raises:
        DeclarationError: no name that a topic can have.

    Example:
        >>> hr.kafka("flights", cluster="airport")
        Kafka(topic='flights', cluster='airport')
        >>> hr.kafka("flights late")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: 'flights late' is not the name of a topic.
        Letters, digits, '.', '_' and '-', up to 249.
    """
    if not isinstance(topic, str) or not TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise DeclarationError(
            f"{topic!r} is not the name of a topic.", hint="Letters, digits, '.', '_' and '-', up to 249."
        )
    return Kafka(topic, cluster)


def change_feed(table: Table | str) -> ChangeFeed:
    """A source of a stream: the rows that are added to a table or changed in it, each version once.

    Args:
        table: a table that is declared with `change_feed=True`, or its name.

    Returns:
        The source, for `hr.Stream(source=…)`.

    Raises:
        DeclarationError: no name of a table.

    Example:
        >>> orders = hr.Table("silver.orders", key="order_id", sql="SELECT * FROM bronze.orders", change_feed=True)
        >>> hr.change_feed(orders)
        ChangeFeed(table='silver.orders')
    """
    return ChangeFeed(check_name(table if isinstance(table, str) else table.name, declared=False))


@dataclass(frozen=True)
class Stream:
    """Scoring of decisions as they arrive, by the version in Production.

    A message is one decision: a JSON object with the key of the model's spine, and those of its columns that are features or
    the keys of feature tables. The moment of the decision is in its column of the spine; without it, it is the time of the
    message. Other columns are ignored.

    Args:
        source: `hr.kafka("topic")` or `hr.change_feed("silver.orders")`.
        into: the table of predictions, which is created if there is none (each message exactly once), or `hr.kafka("topic")`
            (each message at least once).
        dead_letters: where messages go that cannot be scored, each with the reason: a table or a topic. Defaults to
            `into` with `_dead_letters` (a topic: `-dead-letters`) after it.
        group: the consumer group; defaults to `headrace.<project>.<env>.<model>`.
        max_messages: the most messages of one micro-batch; defaults to 10,000.
        max_bytes: the most bytes of the messages of one micro-batch; defaults to 8 MiB.
        max_wait: how long a micro-batch that is not full waits for more messages, in milliseconds, from when the one before
            it was taken; defaults to `"100ms"`.

    Raises:
        DeclarationError: no source or destination, a destination that is also the source, or a value that is not possible.

    Example:
        >>> stream = hr.Stream(source=hr.kafka("flights"), into="gold.late_predictions", max_wait="50ms")
        >>> stream.letters  # where messages go that cannot be scored
        'gold.late_predictions_dead_letters'
        >>> hr.Stream(source=hr.kafka("flights"), into=hr.kafka("flights"))
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: a stream would read what it writes: topic flights.
    """

    _: KW_ONLY
    source: Kafka | ChangeFeed
    into: str | Kafka
    dead_letters: str | Kafka | None = None
    group: str | None = None
    max_messages: int = 10_000
    max_bytes: int = 8 * 2**20
    max_wait: str = "100ms"

    def __post_init__(self) -> None:
        if not isinstance(self.source, Kafka | ChangeFeed):
            raise DeclarationError(
                f"Stream(source={self.source!r}) is no source.",
                hint='hr.kafka("topic") or hr.change_feed("silver.orders")',
            )
        for where in (self.into, self.dead_letters):
            if isinstance(where, str):
                check_name(where)
            elif where is not None and not isinstance(where, Kafka):
                raise DeclarationError(f"a stream cannot write into {where!r}.", hint='"gold.x" or hr.kafka("topic")')
        if self.into == self.letters:
            raise DeclarationError("predictions and dead letters of a stream go to different places.")
        if self.source in (self.into, self.letters) or (
            isinstance(self.source, ChangeFeed) and self.source.table in (self.into, self.letters)
        ):
            raise DeclarationError(f"a stream would read what it writes: {self.source}.")
        check_whole("Stream", max_messages=self.max_messages, max_bytes=self.max_bytes)
        if self.group is not None:
            check_texts("Stream", "Write the name of a consumer group.", group=self.group)
        check_texts("Stream", "Milliseconds: '100ms'.", max_wait=self.max_wait)
        if not WAIT.fullmatch(self.max_wait):
            raise DeclarationError(f"Stream(max_wait={self.max_wait!r}) is no wait.", hint="Milliseconds: '100ms'.")

    @property
    def letters(self) -> str | Kafka:
        """Where dead letters go."""
        if self.dead_letters is not None:
            return self.dead_letters
        if isinstance(self.into, Kafka):
            return kafka(f"{self.into.topic}-dead-letters", cluster=self.into.cluster)
        return check_name(f"{self.into}_dead_letters")

    @property
    def wait(self) -> float:
        """`max_wait` in seconds."""
        return int(self.max_wait.removesuffix("ms")) / 1000
