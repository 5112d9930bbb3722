"""The inference log into the lakehouse: each segment of the spool one commit, each answered row once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.core.failpoints import reach
from headrace.lakehouse.commit import Append
from headrace.scoring.spool import taken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.scoring.spool import Segment

BAD = ".bad"


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What was taken over.

    Attributes:
        segments: of the spool.
        rows: of the inference table.
        bad: records that could not be read; they are kept beside the spool.
    """

    segments: int
    rows: int
    bad: int


def table_name(model: str) -> str:
    """The inference table of a model."""
    return f"inference.{model.lower()}"


def ingest(lakehouse: Lakehouse, spool: Path, into: str) -> Ingested:
    """Commits every segment that nobody writes any more, then deletes it.

    The commit carries the segment's name, so that one that was committed and not yet deleted is only deleted the next
    time. Two processes at once work on different segments.
    """
    segments = rows = bad = 0
    with taken(spool) as found:
        for segment in found:
            made, unread = _table(segment)
            if unread:
                _set_aside(segment, unread)
            if made.num_rows:
                lakehouse.commit(into, f"spool {segment.name}", lambda _, made=made: Append(made))
                reach("ingest.committed")
            segment.delete()
            segments, rows, bad = segments + 1, rows + made.num_rows, bad + len(unread)
    return Ingested(segments=segments, rows=rows, bad=bad)


def _table(segment: Segment) -> tuple[pa.Table, list[bytes]]:
    rows: list[dict[str, Any]] = []
    unread: list[bytes] = []
    for record in segment.records():
        try:
            rows += list(_rows(json.loads(record)))
        except (ValueError, KeyError, TypeError):
            unread.append(record)
    return pa.Table.from_pylist(rows, schema=SCHEMA), unread


def _rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    keys = record["keys"] or [None] * len(record["rows"])
    for place, (inputs, known, predicted) in enumerate(zip(record["rows"], keys, record["predictions"], strict=True)):
        outputs = {name: value for name, value in predicted.items() if name != "prediction_id"}
        probability, prediction = outputs.get("probability"), outputs.get("prediction")
        yield {
            "request_id": record["id"],
            "row": place,
            "prediction_id": predicted.get("prediction_id"),
            "asked_at": datetime.fromisoformat(record["at"]),
            "predicted_for": datetime.fromisoformat(known["at"]) if known else None,
            "model": record["model"],
            "model_version": record["version"],
            "path": record["path"],
            "keys": json.dumps(known["keys"]) if known else None,
            "inputs": json.dumps(inputs),
            "outputs": json.dumps(outputs),
            "probability": probability,
            "prediction": None if prediction is None else str(prediction),
        }


def _set_aside(segment: Segment, unread: list[bytes]) -> None:
    """What cannot be read is not thrown away."""
    with segment.path.with_suffix(BAD).open("ab") as file:
        for record in unread:
            file.write(record + b"\n")


SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("row", pa.int64()),
        ("prediction_id", pa.string()),
        ("asked_at", pa.timestamp("us", "UTC")),
        ("predicted_for", pa.timestamp("us", "UTC")),
        ("model", pa.string()),
        ("model_version", pa.int64()),
        ("path", pa.string()),
        ("keys", pa.string()),
        ("inputs", pa.string()),
        ("outputs", pa.string()),
        ("probability", pa.float64()),
        ("prediction", pa.string()),
    ]
)
