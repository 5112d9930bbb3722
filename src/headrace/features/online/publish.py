"""From the lakehouse into an online store: of each key the latest row that had become available at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from headrace.core.errors import DeclarationError
from headrace.features.online.base import OnlineTable
from headrace.features.online.packing import EPOCH, MICROSECOND, Packing, key, microseconds
from headrace.features.rows import WRITTEN
from headrace.lakehouse.columns import type_name
from headrace.lakehouse.sql import column, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from headrace.features.online.base import OnlineStore
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publication did.

    Attributes:
        rows: that were written.
        mode: `all` of the table, only what came `since` the last time, or `nothing`, because a later moment stands there.
        as_of: the moment that stands there now.
    """

    table: str
    rows: int
    mode: str
    as_of: datetime


def publish(lakehouse: Lakehouse, table: str, store: OnlineStore, *, as_of: datetime) -> Published:
    """Publishes a feature table as of a moment.

    Only rows that became available since the last publication are looked at, unless the table's data changed: then all,
    so that deletions and corrections reach the store. An earlier moment than the one that stands there changes nothing.

    Raises:
        NotFoundError: no such table.
        DeclarationError: it is no feature table.
        DataError: a column's type cannot be kept online.
    """
    snapshot = lakehouse.snapshot(table)
    described, time = _describe(snapshot, as_of)
    before = store.table(table)
    if before is not None and before.as_of > described.as_of:
        stands = EPOCH + before.as_of * MICROSECOND
        return Published(table=table, rows=0, mode="nothing", as_of=stands)
    same = before is not None and (before.keys, before.columns, before.data_version) == (
        described.keys,
        described.columns,
        described.data_version,
    )
    since = before.as_of if same and before is not None else None
    rows = _rows(_latest(lakehouse, snapshot, described, time, since=since, as_of=as_of), described, time)
    if since is None:
        return Published(table=table, rows=store.replace(table, described, rows), mode="all", as_of=as_of)
    return Published(table=table, rows=store.update(table, described, rows), mode="since", as_of=as_of)


def _describe(snapshot: Snapshot, as_of: datetime) -> tuple[OnlineTable, str]:
    properties = snapshot.properties
    if properties.get("headrace.kind") != "feature":
        raise DeclarationError(f"{snapshot.name!r} is no feature table.", hint="`headrace feature list` shows them.")
    keys, time = properties["headrace.key"].split(","), properties["headrace.time"]
    schema = {field.name: _kind(field.type) for field in snapshot.schema}
    described = OnlineTable(
        keys=tuple((name, schema[name]) for name in keys),
        columns=tuple((name, kind) for name, kind in schema.items() if name not in (*keys, time, WRITTEN)),
        as_of=microseconds(as_of),
        data_version=snapshot.data_version,
    )
    return described, time


def _kind(found: pa.DataType) -> str:
    """The type in which a column is kept; a decimal as the float64 that the model's matrix makes of it."""
    return "float64" if pa.types.is_decimal(found) else type_name(found)


def _latest(
    lakehouse: Lakehouse,
    snapshot: Snapshot,
    described: OnlineTable,
    time: str,
    *,
    since: int | None,
    as_of: datetime,
) -> pa.Table:
    keys = [column(name) for name, _ in described.keys]
    wanted = ", ".join([*keys, column(time), *(column(name) for name, _ in described.columns)])
    after = "" if since is None else f"and {column(time)} > timestamptz '{(EPOCH + since * MICROSECOND).isoformat()}'"
    written = f", {WRITTEN} desc" if WRITTEN in snapshot.schema.names else ""
    with lakehouse.connect({snapshot.name: snapshot.version}) as connection:
        return connection.sql(
            f"""
            select {wanted}
            from {quoted(snapshot.name)}
            where {column(time)} <= timestamptz '{as_of.isoformat()}' {after}
                and {" and ".join(f"{each} is not null" for each in keys)}
            qualify row_number() over (partition by {", ".join(keys)} order by {column(time)} desc{written}) = 1
            """
        ).to_arrow_table()


def _rows(latest: pa.Table, described: OnlineTable, time: str) -> Iterator[tuple[bytes, int, bytes]]:
    packing = Packing(described.columns)
    keys = zip(*(latest.column(name).to_pylist() for name, _ in described.keys), strict=True)
    values = [latest.column(name).to_pylist() for name in packing.names]
    for place, (found, moment) in enumerate(zip(keys, latest.column(time).to_pylist(), strict=True)):
        row: list[Any] = [each[place] for each in values]
        known = key(described.keys, found)
        assert known is not None  # the query leaves keys with nulls out
        yield known, microseconds(moment), packing.pack(row)
