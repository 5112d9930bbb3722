"""The one writer: each change reaches a Delta table exactly once, whoever tries how often.

A commit carries an id. It is written as a Delta app transaction in the same version as the rows, and is looked for
before anything is computed. That alone would not do: delta-rs would move a losing writer's rows onto the winner's
version, where the same id may already be, or the same keys. So its own retries are off, and a writer that lost starts
again from loading the table.

The number of the transaction is kept per *epoch*. Restoring an older version takes rows away but not app transactions,
so each restore begins a new epoch and notes which version it went back to. An id counts as done if it is found in the
present epoch, or in the restored version by the same rule.

A new table begins as version 0 without a row, with its properties; until its first rows come it does not exist for
readers.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import pyarrow as pa
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    Schema,
    TableFeatures,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError

from headrace.core.errors import ConflictError, MovedError, RefusedError
from headrace.core.failpoints import reach
from headrace.core.system import user
from headrace.lakehouse import log, scan
from headrace.lakehouse.encoding import layout
from headrace.lakehouse.rows import BatchStream, Rows, fitting, keyed, rewritten, stream
from headrace.lakehouse.snapshot import Snapshot
from headrace.lakehouse.sql import column, quoted
from headrace.lakehouse.widening import widened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from headrace.lakehouse.storage import Place

EPOCH = "headrace.epoch"
BORN = "headrace.born"
CONFIGURATION = {
    "delta.logRetentionDuration": "interval 36500 days",  # old versions are read again to reproduce a model
    "delta.checkpointInterval": "20",  # the log after the last checkpoint is read anew for each app transaction asked for
}
NO_CLEANING = PostCommitHookProperties(cleanup_expired_logs=False)
ORPHANED = 24  # hours after which a file that no version names was left by a writer that died
WALL_TIME = "timestampNtz"  # the table feature that times without a zone need
BATCH = 65_536  # rows of a table that is rewritten in wider types
PATIENCE = 60.0  # seconds that one commit goes on against other writers
MARK = "__headrace_delete"  # the column that tells keys to delete from rows to write, inside one merge


@dataclass(frozen=True)
class Append:
    """Adds rows. Columns of the table that they lack are null; columns that it lacks are added.

    A column that is wider in them than in the table is widened there: then the table is rewritten in the same version.

    Attributes:
        properties: table properties that hold from this change on, beside those of the commit.
    """

    rows: Rows
    properties: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)


@dataclass(frozen=True)
class Overwrite:
    """The table becomes these rows and these columns. A column that stays keeps its type, or widens.

    Attributes:
        properties: as for `Append`.
    """

    rows: Rows
    properties: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)


@dataclass(frozen=True)
class Upsert:
    """Replaces the rows with these keys, whole, or adds them; and deletes others in the same version.

    Columns widen as for `Append`. Rows whose type alone changes are not replaced: their other columns stay as they are.

    Attributes:
        rows: no two of one key. Columns of the table that they lack become null in them.
        key: the columns that identify a row. Null equals null.
        delete: the keys of rows to delete; those that are not there are passed over. Further columns are ignored.
        properties: as for `Append`.
    """

    rows: Rows
    key: Sequence[str]
    delete: pa.Table | None = None
    properties: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)


Change = Append | Overwrite | Upsert


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A change that is in the table.

    Attributes:
        name: the table.
        version: the version that the change made; where there was nothing to change, the one found.
        data_version: the last version up to that one which changed rows or columns.
        rows_written: rows added or replaced; deleted ones do not count.
        already: the change had been made before, by an earlier run or another process; nothing was computed.
        widened: the columns whose type this version widened, in words.
    """

    name: str
    version: int
    data_version: int
    rows_written: int
    already: bool = False
    widened: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WriteTarget:
    """The table that is written."""

    name: str
    env: str
    place: Place

    def snapshot(self, version: int | None = None) -> Snapshot | None:
        """A version of it (None: the latest); None if nothing had ever been committed by then."""
        table = self.place.open(version)
        return None if table is None or is_unborn(table) else self.of(table)

    def of(self, table: DeltaTable) -> Snapshot:
        """A loaded version as a snapshot."""
        return Snapshot(name=self.name, env=self.env, place=self.place, table=table)


def is_unborn(table: DeltaTable) -> bool:
    """Whether a table was only begun, and nothing was ever committed to it."""
    return not table.file_uris() and table.transaction_version(BORN) is None


def commit(
    target: WriteTarget,
    id: str,  # noqa: A002 - the id of the commit; every caller has one
    change: Callable[[Snapshot | None], Change | None],
    *,
    n: int = 1,
    properties: Mapping[str, str] | None = None,
) -> Commit:
    """Makes a change exactly once.

    Args:
        target: the table.
        id: what makes the change the same change when it is tried again.
        change: computes it from the latest snapshot (None: no such table yet). Called again, on the then latest
            snapshot, each time another writer came first. Giving None makes no version and leaves the id unused.
        n: for an id that goes on (a spool's segment, a partition's offset): the change is done if n or more is there.
        properties: table properties, `headrace.…`, to hold from this change on.

    Raises:
        DataError: rows that do not fit the table. Nothing was written.
        ConflictError: other writers came first for a minute. Nothing was written.
    """
    for _ in _attempts(target.name):
        found = target.place.open()
        if found is not None and (version := done_at(target.place, found, id, n)) is not None:
            return _told(target, version, already=True)
        current = None if found is None or is_unborn(found) else target.of(found)
        wanted = change(current)
        if wanted is None:
            return _nothing(target, current)
        both = {**(properties or {}), **wanted.properties}
        made = _Attempt(target=target, id=id, numbers={id: n}, properties=both, found=found, current=current).write(
            wanted
        )
        if made is not None:
            reach(f"commit.committed:{target.name}")
            return _told(target, made, already=False)
    raise AssertionError  # _attempts ends by raising


def advance(
    target: WriteTarget,
    id: str,  # noqa: A002 - as above
    change: Callable[[Snapshot | None], Change],
    offsets: Mapping[str, tuple[int | None, int]],
) -> Commit:
    """Makes a change exactly once that was computed from a stretch of each of several inputs, such as partitions of a topic.

    How far each input has come is kept in the same version as the rows. Where `commit` asks whether the change is done, this
    asks whether it is still its turn: a stretch that begins elsewhere than the last one ended would lose or double rows.

    Args:
        target: the table.
        id: what the commit is called in the log.
        change: computes it, as for `commit`.
        offsets: id of an input → where its stretch begins, None before the first; and where it ends. Where every one ends as
            it begins, nothing tells whether the change was made before.

    Raises:
        MovedError: an input has come to somewhere else meanwhile. Nothing was written.
        DataError, ConflictError: as `commit`.
    """
    assert offsets
    starts = {name: start for name, (start, _) in offsets.items()}
    ends = {name: end for name, (_, end) in offsets.items()}
    for _ in _attempts(target.name):
        found = target.place.open()
        there = {name: None if found is None else reached(target.place, found, name) for name in offsets}
        if found is not None and there == ends != starts:  # an attempt that looked as if it had failed
            return _told(target, found.version(), already=True)
        for name, start in starts.items():
            if there[name] != start:
                raise MovedError(
                    f"{target.name}: {name} has come to {there[name]}, and this change begins at {start}.",
                    hint="Another worker has taken it over. Nothing was written; it is read again from there.",
                )
        current = None if found is None or is_unborn(found) else target.of(found)
        wanted = change(current)
        properties = wanted.properties
        made = _Attempt(target=target, id=id, numbers=ends, properties=properties, found=found, current=current).write(
            wanted
        )
        if made is not None:
            reach(f"commit.committed:{target.name}")
            return _told(target, made, already=False)
    raise AssertionError


def restore(target: WriteTarget, version: int) -> Commit:
    """Goes back to an earlier version, in a new version and a new epoch.

    Raises:
        RefusedError: files of that version are gone.
        ConflictError: other writers came first for a minute.
    """
    for _ in _attempts(target.name):
        table = target.place.open()
        if table is None or table.version() == version:
            return _told(target, version, already=True)
        _check_restorable(target, version)
        epoch, read = _epoch(table) + 1, table.version()
        transactions = [Transaction(EPOCH, epoch), Transaction(f"headrace.restored.{epoch}", version)]
        try:
            table.restore(version, **_terms("restore", transactions))
        except CommitFailedError:
            continue
        return _told(target, read + 1, already=False)
    raise AssertionError


def optimize(target: WriteTarget) -> int:
    """Rewrites many small files as few large ones; gives how many small ones there were.

    Raises:
        ConflictError: other writers came first for a minute.
    """
    for _ in _attempts(target.name):
        table = target.place.open()
        if table is None:
            return 0
        try:
            return int(table.optimize.compact(**_terms("optimize"))["numFilesRemoved"])
        except CommitFailedError:
            continue
    raise AssertionError


def vacuum(target: WriteTarget, keep_versions: Sequence[int], retention_hours: int) -> list[str]:
    """Deletes files that only old versions need; gives their paths."""
    for _ in _attempts(target.name):
        table = target.place.open()
        if table is None:
            return []
        try:
            return table.vacuum(
                retention_hours,
                dry_run=False,
                enforce_retention_duration=False,
                full=retention_hours >= ORPHANED,
                keep_versions=list(keep_versions) or None,
                **_terms("vacuum"),
            )
        except CommitFailedError:
            continue
    raise AssertionError


def reached(place: Place, table: DeltaTable, id: str) -> int | None:  # noqa: A002
    """The number that an id has come to, of the changes that are still in the table; None if there is none."""
    while True:
        epoch = _epoch(table)
        number = table.transaction_version(f"headrace.n.{epoch}.{id}")
        if number is not None or epoch == 0:
            return number
        restored = place.open(table.transaction_version(f"headrace.restored.{epoch}"))
        assert restored is not None
        table = restored


def done_at(place: Place, table: DeltaTable, id: str, n: int) -> int | None:  # noqa: A002
    """The version that made a change, if the change is still in the table."""
    while True:
        epoch = _epoch(table)
        reached = table.transaction_version(f"headrace.n.{epoch}.{id}")
        if reached is not None and reached >= n:
            return table.transaction_version(f"headrace.at.{epoch}.{id}")
        if epoch == 0:
            return None
        restored = place.open(table.transaction_version(f"headrace.restored.{epoch}"))
        assert restored is not None
        table = restored


# ---------------------------------------------------------------------------------------------- one attempt


class _Terms(TypedDict):
    """What every writing call of delta-rs is given."""

    commit_properties: CommitProperties
    post_commithook_properties: PostCommitHookProperties


def _terms(id: str, transactions: Sequence[Transaction] = (), widened: Sequence[str] = ()) -> _Terms:  # noqa: A002
    said = {"headrace.id": id, "userName": user(), **({log.WIDENED: "\n".join(widened)} if widened else {})}
    return {
        "commit_properties": CommitProperties(
            custom_metadata=said, max_commit_retries=0, app_transactions=list(transactions)
        ),
        "post_commithook_properties": NO_CLEANING,
    }


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """One attempt to write a change on one loaded version of the table."""

    target: WriteTarget
    id: str
    numbers: Mapping[str, int]
    properties: Mapping[str, str]
    found: DeltaTable | None
    current: Snapshot | None

    def write(self, change: Change) -> int | None:
        """Gives the version made, or None if another writer came first."""
        name = self.target.name
        there = None if self.current is None else self.current.schema
        schema = fitting(
            name,
            change.rows.schema,
            there,
            whole=isinstance(change, Overwrite),
            without_values=lambda names: () if self.current is None else self.current.without_values(names),
        )
        wider = [] if there is None else widened(there, schema)
        merged, added = self._widened(change, schema) if wider else self._prepared(change, schema)
        reach(f"commit.computed:{name}")
        try:
            table = self._base(schema)
            if table is None or not self._described(table, schema, widen=merged is not None):
                return None
            made = table.version() + 1
            terms = _terms(self.id, self._transactions(table, made), wider)
            if isinstance(change, Upsert) and merged is not None:
                _merge(table, merged, schema, change.key, terms)
            if table.version() < made:  # no merge, or one that found nothing to do: then delta-rs commits nothing
                _add(
                    table,
                    added,
                    terms,
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
        return made

    def _prepared(self, change: Change, schema: pa.Schema) -> tuple[pa.Table | None, BatchStream]:
        """What a merge is given, if there is something to merge with; and what is written otherwise."""
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
            return None, rewritten(name, _standing(current, None, ()), change.rows, schema)
        rows = change.rows if isinstance(change.rows, pa.Table) else change.rows.read_all()
        written, deleted = keyed(name, rows, change.delete, change.key, schema)
        gone = _marked(written, deleted).select(list(change.key))
        return None, rewritten(name, _standing(current, gone, change.key), written, schema)

    def _base(self, schema: pa.Schema) -> DeltaTable | None:
        """The version on which the change was computed, for writing; None if another process began the table first.

        It is loaded anew, for delta-rs moves the table that it writes to, and the snapshot has to stay where it is.
        """
        place = self.target.place
        if self.found is not None:
            return place.open(self.found.version())
        try:
            DeltaTable.create(
                place.url,
                Schema.from_arrow(schema),
                configuration={**CONFIGURATION, **self.properties},
                storage_options=dict(place.options) or None,
                raise_if_key_not_exists=False,
                **_terms(self.id),
            )
        except DeltaError:
            if place.open() is None:
                raise
            return None
        return place.open(0)  # what `create` gives back may already be the version of somebody faster

    def _described(self, table: DeltaTable, schema: pa.Schema, *, widen: bool) -> bool:
        """Sets what the table must have before the rows come, each in a version of its own, and moves the table there.

        Gives whether these are the only versions that it moved by: then the change still stands on what it was computed on.
        """
        expected = table.version()
        there = table.metadata().configuration
        wanted = {key: value for key, value in self.properties.items() if there.get(key) != value}
        if wanted:
            table.alter.set_table_properties(wanted, raise_if_not_exists=False, **_terms(self.id))
            expected += 1
        if _has_wall_time(schema) and WALL_TIME not in (table.protocol().writer_features or ()):
            # delta-rs adds this feature itself when it creates, appends or overwrites, but not when it merges
            table.alter.add_feature(
                TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True, **_terms(self.id)
            )
            expected += 1
        names = set(pa.schema(table.schema().to_arrow()).names) if widen else set(schema.names)
        new = [field for field in Schema.from_arrow(schema).fields if field.name not in names]
        if new:  # in their order; the merge itself would add them in any order
            table.alter.add_columns(new, **_terms(self.id))
            expected += 1
        return table.version() == expected

    def _transactions(self, table: DeltaTable, made: int) -> list[Transaction]:
        epoch = _epoch(table)
        mine = [
            Transaction(f"headrace.{what}.{epoch}.{id}", number)
            for id, n in self.numbers.items()  # noqa: A001
            for what, number in (("n", n), ("at", made))
        ]
        return mine if self.current is not None else [*mine, Transaction(BORN, made)]


def _has_wall_time(schema: pa.Schema) -> bool:
    """Whether a column holds, at whatever depth, times without a zone."""
    return any(str(pa.timestamp("us")) in str(each) for each in schema.types)


def _add(table: DeltaTable, rows: BatchStream, terms: _Terms, written: WriterProperties, *, overwrite: bool) -> None:
    if overwrite:
        write_deltalake(
            table, rows.reader, mode="overwrite", schema_mode="overwrite", writer_properties=written, **terms
        )
    else:
        write_deltalake(table, rows.reader, mode="append", schema_mode="merge", writer_properties=written, **terms)


def _standing(current: Snapshot, gone: pa.Table | None, key: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a version but for those of some keys, a batch at a time."""
    same = " AND ".join(f"t.{column(name)} IS NOT DISTINCT FROM g.{column(name)}" for name in key)
    where = f" WHERE NOT EXISTS (FROM gone AS g WHERE {same})" if gone is not None else ""
    with scan.connect([current], None if gone is None else {"gone": gone}) as connection:
        yield from connection.sql(f"SELECT t.* FROM {quoted(current.name)} AS t{where}").to_arrow_reader(BATCH)


def _marked(written: pa.Table, deleted: pa.Table | None) -> pa.Table:
    """Rows to write and keys to delete in one table, told apart by a last column."""
    both = written if deleted is None else pa.concat_tables([written, deleted])
    marks = pa.array([False] * written.num_rows + [True] * (both.num_rows - written.num_rows), pa.bool_())
    return both.append_column(MARK, marks)


def _merge(table: DeltaTable, source: pa.Table, schema: pa.Schema, key: Sequence[str], terms: _Terms) -> None:
    """Writes and deletes by key in one version."""
    values = {column(name): f"s.{column(name)}" for name in schema.names}
    (
        table.merge(source, _same_key(source, key), source_alias="s", target_alias="t", **terms)
        .when_matched_delete(f"s.{column(MARK)}")
        .when_matched_update(values)
        .when_not_matched_insert(values, predicate=f"NOT s.{column(MARK)}")
        .execute()
    )


def _same_key(source: pa.Table, key: Sequence[str]) -> str:
    """Null equals null, which costs more and is only said where there is a null to compare."""
    return " AND ".join(
        f"(t.{column(name)} {'IS NOT DISTINCT FROM' if source[name].null_count else '='} s.{column(name)})"
        for name in key
    )


# ---------------------------------------------------------------------------------------------- around it


def _attempts(name: str) -> Iterator[int]:
    """Counts attempts, waiting longer and longer (and never as long as the next writer) between them.

    Raises:
        ConflictError: a minute has gone by.
    """
    began = time.monotonic()
    chance = secrets.SystemRandom()
    attempt = 0
    while attempt == 0 or time.monotonic() - began < PATIENCE:
        yield attempt
        attempt += 1
        time.sleep(chance.uniform(0, min(1.0, 0.01 * 2**attempt)))
    raise ConflictError(
        f"{name}: other writers came first {attempt} times in {PATIENCE:.0f} s.",
        hint="Nothing was written, and trying again is safe.",
    )


def _told(target: WriteTarget, version: int, *, already: bool) -> Commit:
    made = log.entry(target.place, version)
    return Commit(
        name=target.name,
        version=version,
        data_version=log.data_version(target.place, version),
        rows_written=0 if made is None else made.rows_written,
        already=already,
        widened=() if made is None else made.widened,
    )


def _nothing(target: WriteTarget, current: Snapshot | None) -> Commit:
    version = -1 if current is None else current.version
    data_version = -1 if current is None else current.data_version
    return Commit(name=target.name, version=version, data_version=data_version, rows_written=0)


def _check_restorable(target: WriteTarget, version: int) -> None:
    """Refuses to go back to a version that lost files to vacuum.

    Raises:
        RefusedError: files are gone.
    """
    gone = target.place.missing(version)
    if gone:
        raise RefusedError(
            f"{target.name}: version {version} cannot be restored: {len(gone)} of its files were vacuumed.",
            findings=gone,
            hint="Nothing was changed. `headrace table history` shows the versions that there are.",
        )


def _epoch(table: DeltaTable) -> int:
    """How often the table was restored."""
    return table.transaction_version(EPOCH) or 0
