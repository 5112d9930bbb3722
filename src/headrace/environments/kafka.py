"""`[env.<name>.kafka.<cluster>]`: Kafka clusters, by librdkafka's properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from headrace.environments.keys import CLUSTERS
from headrace.environments.secret import CLIENT
from headrace.environments.section import Section

if TYPE_CHECKING:
    from headrace.environments.secret import Value
    from headrace.environments.toml import Table


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
