"""The table `metrics.feedback`: one row for each kind of feedback in a message, once however often it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from headrace.lakehouse.writes import Append, Upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change

TABLE = "metrics.feedback"
INSTANT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("feedback_id", pa.string()),
        ("prediction_id", pa.string()),
        ("model", pa.string()),
        ("model_version", pa.int64()),
        ("kind", pa.string()),
        ("value", pa.float64()),
        ("text", pa.string()),
        ("user", pa.string()),
        ("api_key", pa.string()),
        ("source", pa.string()),
        ("at", INSTANT),
        ("ingested_at", INSTANT),
    ]
)
TEXTS = ("feedback_id", "prediction_id", "model", "kind", "source")
OPTIONAL = ("text", "user", "api_key")
MANY = 2_000  # ids that are looked for one by one; more are looked for by reading all


def rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a record of the spool.

    Raises:
        ValueError, TypeError, KeyError: it is none that a server writes.
    """
    return [_row(each) for each in cast("Sequence[object]", record["feedback"])]


def _row(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError("an entry of 'feedback' is no JSON object")
    entry = cast("Mapping[str, Any]", given)
    found: dict[str, Any] = {"at": datetime.fromisoformat(entry["at"]).astimezone(UTC), "once": bool(entry["once"])}
    for name in (*TEXTS, *OPTIONAL):
        value = entry[name]
        if not isinstance(value, str) and not (value is None and name in OPTIONAL):
            raise TypeError(f"{name!r} is no text")
        found[name] = value
    found["value"] = None if entry["value"] is None else float(entry["value"])
    found["model_version"] = None if entry["model_version"] is None else int(entry["model_version"])
    return found


def change(given: Sequence[Mapping[str, Any]], snapshot: Snapshot | None) -> Change:
    """What adds rows to the table: each id is there once.

    Of messages with an id of their own the first one stays, so that trying again changes nothing. Of the others, which have
    the id of their content, the last one stays: who takes thumbs up back and gives it again means it.

    Args:
        given: rows, as `rows` gives them.
        snapshot: the table; None where there is none yet.
    """
    written: dict[str, Mapping[str, Any]] = {}
    for row in sorted(given, key=lambda each: each["at"]):
        if not (row["once"] and row["feedback_id"] in written):
            written[row["feedback_id"]] = row
    there = {} if snapshot is None else _there(snapshot, list(written))
    now = datetime.now(UTC)
    fresh = [
        {**{name: row.get(name) for name in SCHEMA.names}, "ingested_at": now}
        for key, row in written.items()
        if key not in there or (not row["once"] and row["at"] > there[key])
    ]
    added = pa.Table.from_pylist(fresh, schema=SCHEMA)
    if any(each["feedback_id"] in there for each in fresh):
        return Upsert(added, key=["feedback_id"])
    return Append(added)


def _there(snapshot: Snapshot, ids: Sequence[str]) -> dict[str, datetime]:
    """Of these ids, those that the table has, and the moment of each."""
    quoted = ", ".join(f"'{each}'" for each in ids if each.isalnum())  # digests, but a log may hold anything
    few = len(ids) <= MANY and all(each.isalnum() for each in ids)
    found = snapshot.to_arrow(["feedback_id", "at"], where=f"feedback_id IN ({quoted})" if few and quoted else None)
    wanted = set(ids)
    pairs = zip(found["feedback_id"].to_pylist(), found["at"].to_pylist(), strict=True)
    return {key: at for key, at in pairs if key in wanted}
