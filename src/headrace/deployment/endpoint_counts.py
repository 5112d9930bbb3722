"""What servers counted of all models at once, for a list of endpoints: one query, whatever number of models there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.deployment.traffic_metrics import TABLE, counts
from headrace.lakehouse.identifiers import quoted

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.deployment.traffic_metrics import Counted, Key
    from headrace.lakehouse.lakehouse import Lakehouse


def counted_by_model(lakehouse: Lakehouse, *, since: datetime) -> dict[str, dict[Key, Counted]]:
    """What servers counted of each model, in intervals that end after a moment; nothing of models that nobody asked."""
    found: dict[str, dict[Key, Counted]] = {}
    for name, key, count in counts(lakehouse, None, since):
        found.setdefault(name, {})[key] = count
    return found


def last_counted(lakehouse: Lakehouse) -> dict[str, datetime]:
    """Model → when the last interval ended in which a server counted its requests."""
    if not lakehouse.exists(TABLE, own=True):
        return {}
    with lakehouse.connect({TABLE: None}) as connection:
        rows = connection.sql(f'select model, max("at"::timestamptz) as "at" from {quoted(TABLE)} group by model')
        return {row["model"]: row["at"] for row in rows.to_arrow_table().to_pylist()}
