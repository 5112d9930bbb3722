"""A table as a sink: rows and the next offsets of their partitions in one version of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.errors import MovedError
from headrace.lakehouse.identifiers import column, quoted
from headrace.lakehouse.writes import Append, Upsert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change

COMPACT = 200  # writes between which small files add up


class DeltaSink:
    """See Sink.

    Args:
        lakehouse: of the environment.
        table: its name; made with the first rows.
        stream: which stream writes, and from which source: under this name the table keeps how far it has come.
        key: columns that tell its rows apart.
        within: a column by which rows of one key are near each other: only there is looked for rows to replace.
    """

    keeps_positions = True

    def __init__(self, lakehouse: Lakehouse, table: str, *, stream: str, key: Sequence[str], within: str) -> None:
        self.table = table
        self._lakehouse, self._stream, self._key, self._within = lakehouse, stream, tuple(key), within
        self._at: dict[int, int | None] = {}
        self._writes = 0

    def positions(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """See Sink."""
        found = self._lakehouse.reached(self.table, [self._id(each) for each in partitions])
        mine = {each: found[self._id(each)] for each in partitions}
        self._at |= mine
        return mine

    def settled(self, starts: Mapping[int, int]) -> set[tuple[int, int]]:
        """See Sink."""
        ahead = {each: start for each, start in starts.items() if (self._at.get(each) or 0) > start}
        if not ahead:
            return set()
        bounds = " or ".join(f'("partition" = {each} and "offset" >= {start})' for each, start in ahead.items())
        with self._lakehouse.connect({self.table: None}) as connection:
            rows = connection.sql(f'select "partition", "offset" from {quoted(self.table)} where {bounds}').fetchall()
        return {(int(partition), int(offset)) for partition, offset in rows}

    def write(self, rows: pa.Table | None, ends: Mapping[int, int]) -> Mapping[int, str]:
        """See Sink."""
        if unknown := [each for each in ends if each not in self._at]:
            self.positions(unknown)
        latest = None if rows is None else _last_of_each(rows, self._key)
        reached = {each: max(end, self._at[each] or end) for each, end in ends.items()}
        offsets = {self._id(each): (self._at[each], end) for each, end in reached.items()}

        def change(snapshot: Snapshot | None) -> Change:
            if latest is None:
                return Append(snapshot.schema.empty_table() if snapshot else self._begun())
            return self._change(snapshot, latest) if snapshot else Append(latest)

        try:
            self._lakehouse.advance(self.table, self._stream, change, offsets)
        except MovedError:
            self._at.clear()
            raise
        self._at |= reached
        self._writes += 1
        if self._writes % COMPACT == 0:
            self._lakehouse.optimize(self.table)
        return {}

    def close(self) -> None:
        """See Sink."""

    def _begun(self) -> pa.Table:
        """A table of which nothing is known yet; the first rows bring the other columns."""
        return pa.schema([(name, pa.string()) for name in self._key]).empty_table()

    def _id(self, partition: int) -> str:
        return f"{self._stream}/{partition}"

    def _change(self, snapshot: Snapshot, rows: pa.Table) -> Change:
        """An append, wherever no row has to give way."""
        return Upsert(rows, key=self._key) if self._there(snapshot, rows) else Append(rows)

    def _there(self, snapshot: Snapshot, rows: pa.Table) -> bool:
        """Whether a row with one of these keys is in the table."""
        if self._within not in snapshot.schema.names:  # only begun
            return False
        within = column(self._within)
        same = " and ".join(f"t.{column(name)} = n.{column(name)}" for name in self._key)
        near = rows[self._within].to_pylist()
        low, high = _literal(min(near)), _literal(max(near))
        with self._lakehouse.connect({self.table: snapshot.version}, arrow={"new": rows}) as connection:
            found = connection.sql(
                f"select 1 from {quoted(self.table)} t semi join new n on {same} "
                f"where t.{within} between {low} and {high} limit 1"
            ).fetchall()
        return bool(found)


def _literal(value: datetime | int) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{'timestamp' if value.tzinfo is None else 'timestamptz'} '{value.isoformat()}'"


def _last_of_each(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """The last row of each key, in order."""
    keys = zip(*(rows.column(name).to_pylist() for name in key), strict=True)
    last = {each: place for place, each in enumerate(keys)}
    return rows if len(last) == rows.num_rows else rows.take(sorted(last.values()))
