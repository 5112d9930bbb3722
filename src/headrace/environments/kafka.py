"""`[env.<name>.kafka.<cluster>]`: Kafka clusters, by librdkafka's properties, and the names of what is in them.

A `Cluster` says how the topics and consumer groups that a program declares are called there. In the temporary environment of a test
no name is the declared one, and whoever speaks to a broker takes a `Cluster` and a `Topic`, never a text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from headrace.environments.keys import CLUSTERS
from headrace.environments.secret import CLIENT
from headrace.environments.section import Section

if TYPE_CHECKING:
    from headrace.environments.secret import Value
    from headrace.environments.toml import Table

OF_TESTS = "headrace-test-"  # what the names of all topics and consumer groups of tests begin with
LONGEST = 249  # characters of the name of a topic


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Kafka cluster, as an environment uses it.

    Attributes:
        name: in headrace.toml.
        properties: of its clients, with secrets in clear: for a client only, never for a log.
        test: the id of the test that uses it; None outside of tests.
    """

    name: str
    properties: Mapping[str, str] = field(repr=False)
    test: str | None = None

    def topic(self, declared: str) -> Topic:
        """The topic that stands for a declared one."""
        return Topic(cluster=self, declared=declared)

    def name_of(self, declared: str) -> str:
        """How a declared topic or consumer group is called: as declared, and in a test `headrace-test-<id>-<declared>`.

        What is too long for a topic ends with a digest instead.
        """
        if self.test is None:
            return declared
        name = f"{OF_TESTS}{self.test}-{declared}"
        if len(name) <= LONGEST:
            return name
        digest = hashlib.sha256(declared.encode()).hexdigest()[:16]
        return f"{name[: LONGEST - len(digest) - 1]}-{digest}"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic of a cluster.

    Attributes:
        cluster: where it is.
        declared: its name in the program.
    """

    cluster: Cluster
    declared: str

    @property
    def name(self) -> str:
        """Its name there."""
        return self.cluster.name_of(self.declared)

    def __str__(self) -> str:
        return f"topic {self.name}"


def read_clusters(section: Section) -> dict[str, dict[str, Value]]:
    """Reads the Kafka clusters of an environment.

    A variable `HEADRACE_ENV__<env>__kafka__<cluster>__<property>` spells the dots of a property as underscores.

    Args:
        section: the environment's section.

    Returns:
        The properties of each cluster by their dotted names. `bootstrap.servers` is always among them.

    Raises:
        ConfigError: a value is not possible, or a cluster has no `bootstrap.servers`.
    """
    name = f"{section.name}.{CLUSTERS}"
    if CLUSTERS in section.overridden:
        raise section.wrong(CLUSTERS, None, "is not a table.", hint=f"{CLUSTERS}__<cluster>__bootstrap_servers")
    tables = section.source.section(name, section.table.get(CLUSTERS, {}))
    clusters: dict[str, dict[str, Value]] = {}
    for cluster, value in tables.items():
        inside = f"{name}.{cluster}"
        table = section.source.section(inside, value)
        inner = Section(source=section.source, folder=section.folder, name=inside, table=table)
        clusters[cluster] = _properties(inner, table)
    for key in sorted(section.overridden):
        what, _, rest = key.partition("__")
        cluster, _, variable = rest.partition("__")
        if what == CLUSTERS and variable:
            name = variable.replace("_", ".")
            value = section.variable(key, f"{CLUSTERS}.{cluster}.{name}", str(section.table[key]))
            clusters.setdefault(cluster, {})[name] = value
    for cluster, properties in clusters.items():
        if "bootstrap.servers" not in properties:
            hint = 'bootstrap.servers = "host:9092"'
            raise section.error(CLUSTERS, f"cluster {cluster!r} has no 'bootstrap.servers'.", hint=hint)
    return clusters


def _properties(section: Section, table: Table, prefix: str = "") -> dict[str, Value]:
    """A client's properties by their dotted names: `a.b = "c"` is a table in TOML."""
    properties: dict[str, Value] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        by_reference = isinstance(value, Mapping) and list(cast("Table", value)) == ["secret"] and name != CLIENT
        if isinstance(value, Mapping) and not by_reference:
            properties |= _properties(section, cast("Table", value), f"{name}.")
        elif isinstance(value, bool | int | float):
            properties[name] = str(value).lower()
        else:
            properties[name] = section.secret_or_text(name, value)
    return properties
