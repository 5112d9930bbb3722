"""A table as a sink: rows and the next offsets of their partitions in one version of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.core.errors import MovedError
from headrace.inference.streaming.sinks.recent_keys import MOST, RecentKeys
from headrace.lakehouse.identifiers import column, quoted
from headrace.lakehouse.writes import Append, Upsert

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from datetime import datetime

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change

COMPACT = 200  # writes between which small files add up
ASK = 10  # writes after which all recent keys are read once more, where other writers made them unknown
BACK = 4  # so many times the stretch of a batch before it: the moments of the next ones are not quite in order


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
        self._recent = RecentKeys()
        self._read_at = -ASK  # the write at which recent keys were read

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
        keys: Sequence[Hashable] = ()
        if rows is not None:
            rows, keys = _last_of_each(rows, self._key)
        reached = {each: max(end, self._at[each] or end) for each, end in ends.items()}
        offsets = {self._id(each): (self._at[each], end) for each, end in reached.items()}
        covered = False

        def change(snapshot: Snapshot | None) -> Change:
            nonlocal covered
            if rows is None or not rows.num_rows:
                covered = False
                return Append(snapshot.schema.empty_table() if snapshot else self._begun())
            if snapshot is None or self._within not in snapshot.schema.names:  # only begun
                covered = False
                return Append(rows)
            low, high = _bounds(rows[self._within])
            covered = self._covers(snapshot, low, high)
            if covered and self._recent.none_of(keys):
                return Append(rows)
            return Upsert(rows, key=self._key) if self._there(snapshot, rows, low, high) else Append(rows)

        try:
            done = self._lakehouse.advance(self.table, self._stream, change, offsets)
        except MovedError:
            self._at.clear()
            raise
        if covered and not done.already:
            self._recent.add(done.version, keys)
        self._at |= reached
        self._writes += 1
        if self._writes % COMPACT == 0:
            self._lakehouse.optimize(self.table)
            self._read_at = self._writes - ASK  # the rows are the same, in another version
        return {}

    def close(self) -> None:
        """See Sink."""

    def _begun(self) -> pa.Table:
        """A table of which nothing is known yet; the first rows bring the other columns."""
        return pa.schema([(name, pa.string()) for name in self._key]).empty_table()

    def _id(self, partition: int) -> str:
        return f"{self._stream}/{partition}"

    def _covers(self, snapshot: Snapshot, low: datetime | int, high: datetime | int) -> bool:
        """Whether recent keys are those of this version around a batch; they are read where that is worth it."""
        if self._recent.covers(snapshot.id, snapshot.version, low):
            return True
        if self._writes - self._read_at < ASK:
            return False
        self._read_at = self._writes
        try:
            start: Any = low - BACK * (high - low)  # pyright: ignore[reportOperatorIssue]  # both are of one kind
        except OverflowError:
            start = low
        names = ", ".join(column(name) for name in self._key)
        with self._lakehouse.connect({self.table: snapshot.version}) as connection:
            found = connection.sql(
                f"select {names} from {quoted(self.table)} where {column(self._within)} >= {_literal(start)} limit {MOST + 1}"
            ).to_arrow_table()
        if found.num_rows > MOST:
            self._recent.forget()
            return False
        self._recent.begin(snapshot.id, snapshot.version, start, _keys(found, self._key))
        return True

    def _there(self, snapshot: Snapshot, rows: pa.Table, low: datetime | int, high: datetime | int) -> bool:
        """Whether a row with one of these keys is in the table."""
        within = column(self._within)
        same = " and ".join(f"t.{column(name)} = n.{column(name)}" for name in self._key)
        with self._lakehouse.connect({self.table: snapshot.version}, arrow={"new": rows}) as connection:
            found = connection.sql(
                f"select 1 from {quoted(self.table)} t semi join new n on {same} "
                f"where t.{within} between {_literal(low)} and {_literal(high)} limit 1"
            ).fetchall()
        return bool(found)


def _bounds(values: pa.ChunkedArray) -> tuple[Any, Any]:
    """The lowest and the highest."""
    functions: Any = pc  # made when it is imported: no type says what there is
    found = functions.min_max(values).as_py()
    return found["min"], found["max"]


def _literal(value: datetime | int) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{'timestamp' if value.tzinfo is None else 'timestamptz'} '{value.isoformat()}'"


def _keys(rows: pa.Table, key: Sequence[str]) -> list[Hashable]:
    """The key of each row."""
    columns = [rows.column(name).to_pylist() for name in key]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _last_of_each(rows: pa.Table, key: Sequence[str]) -> tuple[pa.Table, Sequence[Hashable]]:
    """The last row of each key, in order; and the keys."""
    keys = _keys(rows, key)
    last = {each: place for place, each in enumerate(keys)}
    return (rows, keys) if len(last) == rows.num_rows else (rows.take(sorted(last.values())), list(last))
