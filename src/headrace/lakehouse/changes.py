"""A table's change data feed: which rows each of its versions added or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError

from headrace.core.errors import DataError, RefusedError, UnavailableError
from headrace.lakehouse import log, scan
from headrace.lakehouse.columns import stored
from headrace.lakehouse.identifiers import column, quoted
from headrace.lakehouse.rows import fit, those_that_fit

if TYPE_CHECKING:
    from headrace.lakehouse.snapshot import Snapshot

FEED = "delta.enableChangeDataFeed"
KIND = "_change_type"
NEW = ("insert", "update_postimage")
OWN = (KIND, "_commit_version", "_commit_timestamp")  # the columns that the feed adds


def check(snapshot: Snapshot) -> None:
    """Refuses a table without a feed.

    Raises:
        RefusedError: it has none.
    """
    if not _has_feed(snapshot):
        raise RefusedError(
            f"{snapshot.name} does not keep which rows its versions change.",
            hint=f"Declare hr.Table({snapshot.name!r}, …, change_feed=True), then: headrace run refresh",
        )


def first(snapshot: Snapshot) -> int:
    """The first version that is in the feed of a table."""
    low, high = 0, snapshot.version
    while low < high:
        middle = (low + high) // 2
        found = snapshot.at(middle)
        low, high = (low, middle) if found is not None and _has_feed(found) else (middle + 1, high)
    return low


def added(snapshot: Snapshot, version: int) -> pa.Table:
    """The rows that a version added or changed, as they were after it; always in the same order.

    A version that widened a column rewrote the whole table, so its feed would give each row. A row whose values are the
    same as before is none that it changed.

    Args:
        snapshot: of the table, at that version or a later one.
        version: of the table.

    Raises:
        UnavailableError: they cannot be read: files were vacuumed, or the version was made without a feed.
    """
    made = log.entry(snapshot.place, version)
    if made is not None and made.widened:
        return _differing(snapshot, version)
    try:
        feed = pa.RecordBatchReader.from_stream(
            snapshot.table.load_cdf(starting_version=version, ending_version=version)
        ).read_all()
    except (DeltaError, OSError, pa.ArrowInvalid) as error:
        raise UnavailableError(
            f"what version {version} of {snapshot.name} changed cannot be read: {str(error).splitlines()[0][:200]}",
            hint="Its files were vacuumed, or it was made without a change feed.",
        ) from None
    kept = [name for name in feed.column_names if name not in OWN]
    with duckdb.connect(config={"enable_external_access": "false", "threads": "1"}) as connection:
        connection.register("feed", feed)
        return connection.sql(
            f"select {', '.join(column(name) for name in kept)} from feed where {KIND} in {NEW} order by all"
        ).to_arrow_table()


def _differing(snapshot: Snapshot, version: int) -> pa.Table:
    """The rows of a version that the one before did not have, told by their values."""
    now, before = snapshot.at(version), snapshot.at(version - 1)
    assert now is not None
    assert before is not None  # the log keeps every version
    try:
        types = {field.name: stored(field.type) or field.type for field in now.schema}
        there = fit(now.name, those_that_fit(before.to_arrow(), types), now.schema)
        with scan.connect([now], {"before": there}, threads=1) as connection:
            rows = connection.sql(f"from {quoted(now.name)} except all from before order by all").to_arrow_table()
    except (DataError, OSError, duckdb.IOException) as error:
        raise UnavailableError(
            f"what version {version} of {snapshot.name} changed cannot be read: {str(error).splitlines()[0][:200]}",
            hint="Its files, or those of the version before, were vacuumed.",
        ) from None
    return rows


def went_back(snapshot: Snapshot, version: int) -> bool:
    """Whether a version restored an earlier one: its rows come again."""
    found = log.entry(snapshot.place, version)
    return found is not None and found.operation == "RESTORE"


def _has_feed(snapshot: Snapshot) -> bool:
    return snapshot.table.metadata().configuration.get(FEED) == "true"
