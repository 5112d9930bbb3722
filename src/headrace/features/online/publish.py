"""Publishes from the lakehouse into an online store: for each key the latest row that was available at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from headrace.core.errors import ConflictError, DataError, DeclarationError
from headrace.features import point_in_time
from headrace.features.keys import EPOCH, MICROSECOND, microseconds
from headrace.features.online.base import OnlineTable
from headrace.features.online.encoding import encoded
from headrace.features.online.packing import CODES, Packing
from headrace.features.rows import WRITTEN
from headrace.lakehouse.columns import type_name
from headrace.lakehouse.declarations import key_of
from headrace.lakehouse.identifiers import column, quoted

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.features.online.base import OnlineStore
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot

EVENT, AT = "__event", "__at"
ATTEMPTS = 20  # each that fails, another publisher got through


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publication did.

    Attributes:
        rows: that were added or changed.
        mode: `all` of the table was looked at, only what came `since` the last time, or `nothing`, because the store
            stands at this moment or a later one already.
        as_of: the moment at which the store stands now; later than the one asked for where it stood there before.
        removed: rows of keys that the table has no longer.
    """

    table: str
    rows: int
    mode: str
    as_of: datetime
    removed: int = 0


def publish(
    lakehouse: Lakehouse, table: str, store: OnlineStore, *, as_of: datetime, version: int | None = None
) -> Published:
    """Publishes a feature table as of a moment.

    From then on the store answers a decision at `as_of` as the point-in-time join does. Only rows that became available
    since the last publication are looked at, unless the table's data changed: then all, so that deletions and corrections
    reach the store. The store never goes back: where it stands at a later moment it stays there, and takes over changed
    data as of that moment. May run in several processes at once.

    Columns that can be no feature (lists, structs, bytes) are left out.

    Args:
        lakehouse: where the table is.
        table: its name.
        store: to write.
        as_of: an instant.
        version: of the table; None for the latest.

    Raises:
        NotFoundError: no such table or version.
        DeclarationError: it is no feature table.
        DataError: a key's type cannot be kept online, or a time cannot be served. Nothing was written.
        ConflictError: other publishers came first again and again. Nothing was written.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"{as_of!r} has no time zone.")
    for _ in range(ATTEMPTS):
        snapshot, before = lakehouse.snapshot(table, version), store.table(table)
        described, time = _describe(snapshot, microseconds(as_of), before)
        stands = EPOCH + described.as_of * MICROSECOND
        if described == before:
            return Published(table=table, rows=0, mode="nothing", as_of=stands)
        try:
            if before is not None and _same_data(before, described):
                rows = _latest(lakehouse, snapshot, described, time, since=before.as_of)
                found = encoded(rows, described.keys, EVENT, Packing(described.columns))
                done, mode = store.update(table, described, found, expected=before), "since"
            else:
                rows = _latest(lakehouse, snapshot, described, time, since=None)
                found = encoded(rows, described.keys, EVENT, Packing(described.columns))
                done, mode = store.replace(table, described, found, expected=before), "all"
        except ConflictError:
            continue
        return Published(table=table, rows=done.rows, mode=mode, as_of=stands, removed=done.removed)
    raise ConflictError(
        f"{table}: other publishers came first {ATTEMPTS} times.", hint="Nothing was written; trying again is safe."
    )


def _same_data(one: OnlineTable, other: OnlineTable) -> bool:
    return (one.keys, one.columns, one.data_version, one.source) == (
        other.keys,
        other.columns,
        other.data_version,
        other.source,
    )


def _describe(snapshot: Snapshot, as_of: int, before: OnlineTable | None) -> tuple[OnlineTable, str]:
    """What the store will know of the table, and the table's column with the time."""
    properties = snapshot.properties
    if properties.get("headrace.kind") != "feature":
        raise DeclarationError(f"{snapshot.name!r} is no feature table.", hint="`headrace feature list` shows them.")
    keys, time = key_of(properties), properties["headrace.time"]
    schema = {field.name: type_name(field.type) for field in snapshot.schema}
    for name in keys:
        if schema[name] not in CODES:
            raise DataError(
                f"{snapshot.name}: key {name!r} is {schema[name]}, by which nothing can be looked up online.",
                hint=f"Cast it in the table's SQL; one of {', '.join(CODES)}.",
            )
    decimals = {field.name for field in snapshot.schema if pa.types.is_decimal(field.type)}
    kinds = {name: "float64" if name in decimals else kind for name, kind in schema.items()}  # as the matrix reads it
    described = OnlineTable(
        keys=tuple((name, schema[name]) for name in keys),
        columns=tuple(
            (name, kind) for name, kind in kinds.items() if kind in CODES and name not in (*keys, time, WRITTEN)
        ),
        as_of=as_of if before is None else max(as_of, before.as_of),
        data_version=snapshot.data_version,
        source=str(snapshot.table.metadata().id),
    )
    return described, time


def _latest(
    lakehouse: Lakehouse, snapshot: Snapshot, described: OnlineTable, time: str, *, since: int | None
) -> pa.Table:
    """The latest row of each key at a moment, by the join that finds it for training and batch scoring.

    Args:
        lakehouse: where the table is.
        snapshot: of the table.
        described: with the moment.
        time: the table's column with the time.
        since: only rows that became available after this, in microseconds.
    """
    available = f"cast({column(time)} as timestamptz)"
    after = "" if since is None else f"and {available} > make_timestamptz({since})"
    keys = [name for name, _ in described.keys]
    columns = [name for name, _ in described.columns]
    written = [WRITTEN] if WRITTEN in snapshot.schema.names else []
    rows = f"""(
        select {", ".join(column(name) for name in (*keys, *columns, *written))}, {available} as {EVENT}
        from {quoted(snapshot.name)}
        where {available} <= make_timestamptz({described.as_of}) {after}
    )"""
    decisions = f"""(
        select distinct {", ".join(column(name) for name in keys)}, make_timestamptz({described.as_of}) as {AT}
        from {rows}
    )"""
    lookup = point_in_time.JoinSpec(
        relation=rows,
        on={name: name for name in keys},
        time=EVENT,
        columns={name: name for name in (EVENT, *columns)},
        look_back=None,
        written=WRITTEN if written else None,
    )
    with lakehouse.connect({snapshot.name: snapshot.version}) as connection:
        found = point_in_time.join(connection, decisions, at=AT, lookups=[lookup], keep=keys)
    return found.filter(pc.field(EVENT).is_valid())  # a key with a null in it matches nothing
