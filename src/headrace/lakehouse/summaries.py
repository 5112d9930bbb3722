"""What a list says of a table, kept in memory as long as the table's log has not changed.

A table in a folder is opened again once the folder of its log has another time of change, or is another folder. A time that is
too fresh to tell two commits apart is not relied on. In an object store, which has no such time, each look opens the table.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from headrace.lakehouse import log

if TYPE_CHECKING:
    from datetime import date, datetime

    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.storage import Place
    from headrace.lakehouse.write_target import WriteTarget

MOST = 10_000  # tables; the one that was looked at longest ago is forgotten
SETTLED = 2_000_000_000  # nanoseconds; file systems tell times apart by some milliseconds, or by two seconds (FAT)

Stamp = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class TableSummary:
    """What a list says of the latest version of a table.

    Attributes:
        name: `schema.table`.
        env: the environment whose table it is.
        version: its number.
        rows: the number of its rows.
        columns: the number of its columns.
        kind: what Headrace keeps it as; None where it was made by others.
        changed: when its rows or columns changed last; None where its history does not say.
        newest: the latest value in the column of its time; None where it has no such column, or no rows.
    """

    name: str
    env: str
    version: int
    rows: int
    columns: int
    kind: str | None
    changed: datetime | None
    newest: datetime | date | None


_lock = Lock()
_known: OrderedDict[str, tuple[Stamp, dict[str, object]]] = OrderedDict()


def stamp(place: Place) -> Stamp | None:
    """By what it is seen that a log has changed; None where that cannot be told without opening the table."""
    if place.folder is None:
        return None
    try:
        found = (place.folder / "_delta_log").stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def written(place: Place) -> int | None:
    """When the log of a table changed last, in nanoseconds since 1970; None where that cannot be told without opening it."""
    found = stamp(place)
    return None if found is None else found[-1]


def is_known(target: WriteTarget) -> bool:
    """Whether a table was opened before, and has not changed since."""
    return _kept(target.place.path, stamp(target.place)) is not None


def summary(target: WriteTarget, *, newest: bool) -> TableSummary | None:
    """What a list says of a table; None where it has no version with rows yet.

    Args:
        target: the table.
        newest: whether the latest value of its time is wanted, for which rows may have to be read.
    """
    path, at = target.place.path, stamp(target.place)
    kept = _kept(path, at) or {}
    wanted = {"newest"} if newest else set[str]()
    if not kept or not wanted <= kept.keys():
        snapshot = target.snapshot()
        if snapshot is None:
            return None
        kept = _looked_at(snapshot) if not kept else dict(kept)
        if newest:
            kept["newest"] = _newest(snapshot)
        _keep(path, at, kept)
    return TableSummary(**{"newest": None, **kept, "name": target.name, "env": target.env})  # pyright: ignore[reportArgumentType]


def _kept(path: str, at: Stamp | None) -> dict[str, object] | None:
    with _lock:
        found = _known.get(path)
        if found is None or at is None or found[0] != at:
            return None
        _known.move_to_end(path)
        return found[1]


def _keep(path: str, at: Stamp | None, values: dict[str, object]) -> None:
    if at is None or time.time_ns() - at[-1] < SETTLED:
        return
    with _lock:
        _known[path] = (at, values)
        _known.move_to_end(path)
        if len(_known) > MOST:
            _known.popitem(last=False)


def _looked_at(snapshot: Snapshot) -> dict[str, object]:
    entry = log.entry(snapshot.place, snapshot.data_version)
    return {
        "version": snapshot.version,
        "rows": snapshot.rows(),
        "columns": len(snapshot.schema),
        "kind": snapshot.properties.get("headrace.kind"),
        "changed": entry.at if entry else None,
    }


def _newest(snapshot: Snapshot) -> datetime | date | None:
    """The latest moment that its rows tell of, where the table has a time."""
    from headrace.lakehouse import scan
    from headrace.lakehouse.identifiers import column, quoted

    moment = snapshot.properties.get("headrace.time")
    if moment is None or moment not in snapshot.schema.names:
        return None
    with scan.connect([snapshot]) as connection:
        latest = connection.sql(f"select max({column(moment)}) as newest from {quoted(snapshot.name)}")
        return latest.to_arrow_table().column("newest")[0].as_py()
