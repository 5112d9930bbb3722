"""A table's change data feed: which rows each of its versions added or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError

from headrace.core.errors import RefusedError, UnavailableError
from headrace.lakehouse import log
from headrace.lakehouse.sql import column

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

    Args:
        snapshot: of the table, at that version or a later one.
        version: of the table.

    Raises:
        UnavailableError: they cannot be read: files were vacuumed, or the version was made without a feed.
    """
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


def went_back(snapshot: Snapshot, version: int) -> bool:
    """Whether a version restored an earlier one: its rows come again."""
    found = log.entry(snapshot.place, version)
    return found is not None and found.operation == "RESTORE"


def _has_feed(snapshot: Snapshot) -> bool:
    return snapshot.table.metadata().configuration.get(FEED) == "true"
