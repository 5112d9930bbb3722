"""The Delta log, entry by entry: what each version did, and which versions changed data.

delta-rs's `history` is not used, because it returns operations and not whether rows changed, and finds
nothing in a folder whose name needs percent-encoding (delta-rs 1.6).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.core.ids import Json
    from headrace.lakehouse.storage import Place

WIDENED = "headrace.widened"  # what a commit says of columns whose type it widened

# These rewrite the table's metadata; neither rows nor columns change.
DESCRIBING = frozenset(
    {
        "SET TBLPROPERTIES",
        "ADD CONSTRAINT",
        "DROP CONSTRAINT",
        "ADD FEATURE",
        "UPDATE FIELD METADATA",
        "UPDATE TABLE METADATA",
    }
)


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """What one version did to a table.

    Attributes:
        version: its number.
        at: when it was committed.
        operation: Delta's name for it: WRITE, MERGE, OPTIMIZE, RESTORE, SET TBLPROPERTIES…
        changes_data: whether rows or columns may differ from the version before.
        rows_written: rows added or replaced; deleted ones do not count.
        id: the id that the commit was given, where Headrace made it.
        user: who made it, where Headrace did.
        widened: the columns whose type it widened, in words.
        information: all that the commit says about itself.
    """

    version: int
    at: datetime
    operation: str
    changes_data: bool
    rows_written: int
    id: str | None
    user: str | None
    widened: tuple[str, ...]
    information: Mapping[str, Json]


def entry(place: Place, version: int) -> LogEntry | None:
    """The log entry of a version, or None where the log no longer has it."""
    try:
        with place.files().open_input_stream(f"_delta_log/{version:020d}.json") as stream:
            lines = stream.read().splitlines()
    except FileNotFoundError:
        return None
    actions = [cast("dict[str, dict[str, Json]]", json.loads(line)) for line in lines if line.strip()]
    return _entry(version, actions)


def entries(place: Place, version: int) -> Iterator[LogEntry]:
    """The log backwards from a version, as far as it is kept."""
    for each in range(version, -1, -1):
        found = entry(place, each)
        if found is None:
            return
        yield found


def data_version(place: Place, version: int) -> int:
    """The last version, at or before the given one, that changed rows or columns."""
    last = version
    for each in entries(place, version):
        last = each.version
        if each.changes_data:
            break
    return last


def changed_at(place: Place, version: int) -> datetime:
    """When rows or columns last changed, at or before a version; of the oldest entry that is kept where none did."""
    at = datetime.fromtimestamp(0, UTC)
    for each in entries(place, version):
        at = each.at
        if each.changes_data:
            break
    return at


def _entry(version: int, actions: Sequence[Mapping[str, Mapping[str, Json]]]) -> LogEntry:
    information = next((each["commitInfo"] for each in actions if "commitInfo" in each), {})
    operation = str(information.get("operation", ""))
    metrics = information.get("operationMetrics")
    rewrites = any(each[kind].get("dataChange", True) for each in actions for kind in ("add", "remove") if kind in each)
    redefines = operation not in DESCRIBING and any("metaData" in each for each in actions)
    milliseconds = information.get("timestamp")
    return LogEntry(
        version=version,
        at=datetime.fromtimestamp((milliseconds if isinstance(milliseconds, int) else 0) / 1000, UTC),
        operation=operation,
        changes_data=rewrites or redefines,
        rows_written=_rows_written(metrics if isinstance(metrics, dict) else {}),
        id=_text(information.get("headrace.id")),
        user=_text(information.get("userName")),
        widened=tuple((_text(information.get(WIDENED)) or "").splitlines()),
        information=information,
    )


def _rows_written(metrics: Mapping[str, Json]) -> int:
    """Rows of a WRITE, or inserted and updated by a MERGE. Other writers give these counts as text, or not at all."""
    names = ("num_added_rows", "num_target_rows_inserted", "num_target_rows_updated")
    counts = [metrics.get(name) for name in names]
    return sum(int(count) for count in counts if isinstance(count, int | str))


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
