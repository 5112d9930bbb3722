"""Counters of servers, from the spool into `metrics.serving`: one row for each interval, version, role and status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = "metrics.serving"
INSTANT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("since", INSTANT),
        ("at", INSTANT),
        ("server", pa.string()),
        ("model", pa.string()),
        ("model_version", pa.int64()),
        ("role", pa.string()),
        ("split", pa.string()),
        ("status", pa.int64()),
        ("requests", pa.int64()),
        ("rows", pa.int64()),
        ("seconds", pa.float64()),
        ("buckets", pa.list_(pa.int64())),
    ]
)


def rows(record: Mapping[str, Any]) -> list[dict[str, object]]:
    """The rows of a record.

    Raises:
        ValueError, TypeError, KeyError: it is none that a server writes.
    """
    shared = {
        "since": _instant(record["since"]),
        "at": _instant(record["at"]),
        "server": str(record["server"]),
        "model": str(record["model"]),
        "split": None if record["split"] is None else str(record["split"]),
    }
    found: list[dict[str, object]] = []
    for each in cast("Sequence[object]", record["counted"]):
        if not isinstance(each, Mapping):
            raise TypeError("an entry of 'counted' is no JSON object")
        entry = cast("Mapping[str, Any]", each)
        found.append(
            {
                **shared,
                "model_version": int(entry["version"]),
                "role": str(entry["role"]),
                **{name: int(entry[name]) for name in ("status", "requests", "rows")},
                "seconds": float(entry["seconds"]),
                "buckets": [int(count) for count in entry["buckets"]],
            }
        )
    return found


def table(found: Sequence[Mapping[str, object]]) -> pa.Table:
    """The rows as the table has them."""
    return pa.Table.from_pylist(list(found), schema=SCHEMA)


def _instant(text: object) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)
