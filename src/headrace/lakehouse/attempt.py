"""One attempt to write a change on one loaded version of a table: delta-rs creates, appends, overwrites or merges.

A new table begins as version 0 with its properties and without rows; for readers it does not exist until its first
rows are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable, Schema, TableFeatures, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from headrace.core.failpoints import reach
from headrace.lakehouse import app_transactions, scan
from headrace.lakehouse.commit_info import CommitInfo, commit_info
from headrace.lakehouse.encoding import layout
from headrace.lakehouse.identifiers import column, quoted
from headrace.lakehouse.rows import BatchStream, fitting, keyed, rewritten, stream
from headrace.lakehouse.widening import widened
from headrace.lakehouse.write_target import BORN
from headrace.lakehouse.writes import Append, Overwrite, Upsert

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.write_target import WriteTarget
    from headrace.lakehouse.writes import Change

CONFIGURATION = {
    "delta.logRetentionDuration": "interval 36500 days",  # old versions are read again to reproduce a model
    "delta.checkpointInterval": "20",  # each look for an app transaction reads the log after the last checkpoint anew
}
WALL_TIME = "timestampNtz"  # the table feature that times without a zone need
BATCH = 65_536  # rows of a table that is rewritten in wider types
MARK = "__headrace_delete"  # the column that distinguishes keys to delete from rows to write, inside one merge


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt to write a change on one loaded version of the table.

    Attributes:
        target: the table.
        id: what the commit is called in the log.
        numbers: for each id of an app transaction the number that it comes to.
        properties: table properties that hold from this version on.
        base: the version that was loaded; None if there is no table yet.
        current: the same as a snapshot; None if nothing was committed to the table yet.
    """

    target: WriteTarget
    id: str
    numbers: Mapping[str, int]
    properties: Mapping[str, str]
    base: DeltaTable | None
    current: Snapshot | None

    def write(self, change: Change) -> int | None:
        """Writes the change.

        Returns:
            The version that it made; None if another writer came first.

        Raises:
            DataError: the rows do not fit the table. Nothing was written.
        """
        name = self.target.name
        before = None if self.current is None else self.current.schema
        schema = fitting(
            name,
            change.rows.schema,
            before,
            whole=isinstance(change, Overwrite),
            without_values=lambda names: () if self.current is None else self.current.without_values(names),
        )
        wider = [] if before is None else widened(before, schema)
        merged, added = self._widened(change, schema) if wider else self._prepared(change, schema)
        reach(f"commit.computed:{name}")
        try:
            table = self._writable(schema)
            if table is None or not self._described(table, schema, widen=merged is not None):
                return None
            version = table.version() + 1
            info = commit_info(self.id, self._transactions(table, version), wider)
            if isinstance(change, Upsert) and merged is not None:
                _merge(table, merged, schema, change.key, info)
            if table.version() < version:  # no merge, or one that found nothing to do: then delta-rs commits nothing
                _add(
                    table,
                    added,
                    info,
                    layout(change.rows),
                    overwrite=self.current is None or isinstance(change, Overwrite) or bool(wider),
                )
        except CommitFailedError:
            return None
        except Exception:
            if added.failure is not None:
                raise added.failure from None
            raise
        finally:
            added.close()
        return version

    def _prepared(self, change: Change, schema: pa.Schema) -> tuple[pa.Table | None, BatchStream]:
        """The source of the merge, if there is something to merge with; and the rows that are written otherwise."""
        name = self.target.name
        if not isinstance(change, Upsert):
            return None, stream(name, change.rows, schema)
        rows = change.rows if isinstance(change.rows, pa.Table) else change.rows.read_all()
        written, deleted = keyed(name, rows, change.delete, change.key, schema)
        if self.current is None:
            return None, stream(name, written, schema)
        return _marked(written, deleted), stream(name, written.slice(0, 0), schema)

    def _widened(self, change: Change, schema: pa.Schema) -> tuple[None, BatchStream]:
        """The whole table in wider types, with the change in it: Delta cannot give a column another type by itself."""
        name, current = self.target.name, self.current
        assert current is not None
        if isinstance(change, Overwrite):
            return None, stream(name, change.rows, schema)
        if isinstance(change, Append):
            return None, rewritten(name, _remaining(current, None, ()), change.rows, schema)
        rows = change.rows if isinstance(change.rows, pa.Table) else change.rows.read_all()
        written, deleted = keyed(name, rows, change.delete, change.key, schema)
        gone = _marked(written, deleted).select(list(change.key))
        return None, rewritten(name, _remaining(current, gone, change.key), written, schema)

    def _writable(self, schema: pa.Schema) -> DeltaTable | None:
        """The version on which the change was computed, for writing; None if another process began the table first.

        It is loaded anew, for delta-rs moves the table that it writes to, and the snapshot has to stay where it is.
        """
        place = self.target.place
        if self.base is not None:
            return place.open(self.base.version())
        try:
            DeltaTable.create(
                place.url,
                Schema.from_arrow(schema),
                configuration={**CONFIGURATION, **self.properties},
                storage_options=dict(place.options) or None,
                raise_if_key_not_exists=False,
                **commit_info(self.id),
            )
        except DeltaError:
            if place.open() is None:
                raise
            return None
        return place.open(0)  # what `create` gives back may already be the version of somebody faster

    def _described(self, table: DeltaTable, schema: pa.Schema, *, widen: bool) -> bool:
        """Sets what the table must have before the rows come, each in a version of its own, and moves the table there.

        Returns whether these are the only versions that it moved by: then the change is still based on what it was
        computed on.
        """
        expected = table.version()
        present = table.metadata().configuration
        changed = {key: value for key, value in self.properties.items() if present.get(key) != value}
        if changed:
            table.alter.set_table_properties(changed, raise_if_not_exists=False, **commit_info(self.id))
            expected += 1
        if _has_wall_time(schema) and WALL_TIME not in (table.protocol().writer_features or ()):
            # delta-rs adds this feature itself when it creates, appends or overwrites, but not when it merges
            table.alter.add_feature(
                TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True, **commit_info(self.id)
            )
            expected += 1
        names = set(pa.schema(table.schema().to_arrow()).names) if widen else set(schema.names)
        new = [field for field in Schema.from_arrow(schema).fields if field.name not in names]
        if new:  # in their order; the merge itself would add them in any order
            table.alter.add_columns(new, **commit_info(self.id))
            expected += 1
        return table.version() == expected

    def _transactions(self, table: DeltaTable, version: int) -> list[Transaction]:
        transactions = app_transactions.of_commit(table, self.numbers, version)
        return transactions if self.current is not None else [*transactions, Transaction(BORN, version)]


def _has_wall_time(schema: pa.Schema) -> bool:
    """Whether a column holds, at whatever depth, times without a zone."""
    return any(str(pa.timestamp("us")) in str(kind) for kind in schema.types)


def _add(
    table: DeltaTable, rows: BatchStream, info: CommitInfo, properties: WriterProperties, *, overwrite: bool
) -> None:
    if overwrite:
        write_deltalake(
            table, rows.reader, mode="overwrite", schema_mode="overwrite", writer_properties=properties, **info
        )
    else:
        write_deltalake(table, rows.reader, mode="append", schema_mode="merge", writer_properties=properties, **info)


def _remaining(current: Snapshot, gone: pa.Table | None, key: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a version but for those of some keys, a batch at a time."""
    same = " AND ".join(f"t.{column(name)} IS NOT DISTINCT FROM g.{column(name)}" for name in key)
    where = f" WHERE NOT EXISTS (FROM gone AS g WHERE {same})" if gone is not None else ""
    with scan.connect([current], None if gone is None else {"gone": gone}) as connection:
        yield from connection.sql(f"SELECT t.* FROM {quoted(current.name)} AS t{where}").to_arrow_reader(BATCH)


def _marked(written: pa.Table, deleted: pa.Table | None) -> pa.Table:
    """Rows to write and keys to delete in one table, distinguished by the last column."""
    both = written if deleted is None else pa.concat_tables([written, deleted])
    marks = pa.array([False] * written.num_rows + [True] * (both.num_rows - written.num_rows), pa.bool_())
    return both.append_column(MARK, marks)


def _merge(table: DeltaTable, source: pa.Table, schema: pa.Schema, key: Sequence[str], info: CommitInfo) -> None:
    """Writes and deletes by key in one version."""
    values = {column(name): f"s.{column(name)}" for name in schema.names}
    (
        table.merge(source, _same_key(source, key), source_alias="s", target_alias="t", **info)
        .when_matched_delete(f"s.{column(MARK)}")
        .when_matched_update(values)
        .when_not_matched_insert(values, predicate=f"NOT s.{column(MARK)}")
        .execute()
    )


def _same_key(source: pa.Table, key: Sequence[str]) -> str:
    """The condition of a merge. Null equals null, which costs more and is only asked for where there is a null."""
    return " AND ".join(
        f"(t.{column(name)} {'IS NOT DISTINCT FROM' if source[name].null_count else '='} s.{column(name)})"
        for name in key
    )
