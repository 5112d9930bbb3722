"""Conversion of rows for a table: to types that Delta supports, and to the columns of the table."""

from __future__ import annotations

import itertools
from queue import Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import Schema

from headrace.core.errors import DataError, NotFoundError
from headrace.lakehouse.columns import can_cast, cast, common, misnamed, stored, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

Rows: TypeAlias = "pa.Table | pa.RecordBatchReader"
HUGEINT = pa.decimal128(38, 0)  # what DuckDB makes of it in Arrow: each sum() of whole numbers
SHOWN = 5  # examples in a message
WHOLE = "A float64 holds whole numbers up to 2^53 (9,007,199,254,740,992) only."
AHEAD = 2  # batches that wait to be written


class BatchStream:
    """Batches on their way to delta-rs, made in a thread of their own.

    delta-rs pulls from a thread of its runtime, in which another table cannot be opened (it panics), and what makes the
    batches may well read one. And of an exception it keeps only the text: here it is kept whole, in `failure`.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        self.failure: BaseException | None = None
        self.reader = pa.RecordBatchReader.from_batches(schema, self._taken())
        self._queue: Queue[pa.RecordBatch | None] = Queue(maxsize=AHEAD)
        self._unwanted = Event()
        self._maker = Thread(target=self._make, args=(batches,), name="headrace-rows", daemon=True)

    def close(self) -> None:
        """Stops making batches; waits for the one that is being made."""
        self._unwanted.set()
        if self._maker.is_alive():
            self._maker.join()

    def _taken(self) -> Iterator[pa.RecordBatch]:
        self._maker.start()
        while (batch := self._queue.get()) is not None:
            yield batch
        if self.failure is not None:
            raise RuntimeError(str(self.failure))

    def _make(self, batches: Iterator[pa.RecordBatch]) -> None:
        try:
            for batch in batches:
                if not self._put(batch):
                    return
        except BaseException as failure:  # noqa: BLE001 - it is raised where the rows are written
            self.failure = failure
        self._put(None)

    def _put(self, batch: pa.RecordBatch | None) -> bool:
        while not self._unwanted.is_set():
            try:
                self._queue.put(batch, timeout=0.1)
            except Full:
                continue
            return True
        return False


def fitting(
    name: str,
    incoming: pa.Schema,
    current: pa.Schema | None,
    *,
    whole: bool,
    without_values: Callable[[Sequence[str]], Collection[str]] = lambda _: (),
) -> pa.Schema:
    """The columns and types in which rows are written.

    A column that comes narrower than the table has it takes the table's type; one that comes wider widens the table's.

    Args:
        name: the table.
        incoming: what the rows have.
        current: what the table has; None for a new table.
        whole: whether the rows replace all that is there; else columns that they lack are written as null.
        without_values: tells which of some columns hold no value yet; these take whatever type comes.

    Raises:
        DataError: a column whose type changed to one that does not hold the values of both, or that Delta cannot hold;
            two columns of one name.
    """
    there = {} if current is None else {field.name: stored(field.type) or field.type for field in current}
    _check_names(name, incoming.names, there)
    kept = {field.name: _kept(name, field, there.get(field.name)) for field in incoming}
    both = {column: common(there.get(column, pa.null()), found) for column, found in kept.items()}
    if clash := [column for column, found in both.items() if found is None]:
        both.update({column: kept[column] for column in without_values(clash)})
    changed = [
        f"{column}: was {type_name(there[column])}, now {type_name(kept[column])}"
        for column, found in both.items()
        if found is None
    ]
    if changed:
        raise DataError(
            f"{name}: the type of a column changed. Nothing was written.",
            findings=changed,
            hint="Cast the column to the type it had, or give the new one another name. "
            f"In dev the table can be made anew: headrace table drop {name}",
        )
    wanted = pa.schema(Schema.from_arrow(pa.schema(list(both.items()))).to_arrow())
    missing = [] if whole or current is None else [field for field in current if field.name not in wanted.names]
    return pa.schema([*wanted, *missing])


def fit(name: str, rows: pa.Table, schema: pa.Schema, *, hint: str = "") -> pa.Table:
    """Rows with exactly these columns, those that they lack as null.

    Args:
        name: of what is written, as a message calls it.
        rows: what is written.
        schema: in which columns and types.
        hint: the next step where a whole number does not fit a float64; default: to drop a table.

    Raises:
        DataError: a value does not fit.
    """
    hint = (
        hint or f"Keep these as text, or as whole numbers; in dev a table can be made anew: headrace table drop {name}"
    )
    columns = [
        fit_column(name, rows[field.name], field, hint=hint)
        if field.name in rows.column_names
        else pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def fit_column(
    name: str, values: pa.Array | pa.ChunkedArray, field: pa.Field, *, hint: str
) -> pa.Array | pa.ChunkedArray:
    """The values of one column in the type of a field; see `fit`.

    Raises:
        DataError: a value does not fit.
    """
    if isinstance(values.type, pa.ExtensionType):
        values = pa.chunked_array([chunk.storage for chunk in values.chunks], values.type.storage_type)
    try:
        return cast(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        beyond = _whole_to_float(values.type, field.type)
        raise DataError(
            f"{name}: column {field.name!r} does not fit {type_name(field.type)}: {error}. Nothing was written.",
            hint=f"{WHOLE} {hint}" if beyond else "",
        ) from None


def _whole_to_float(found: pa.DataType, to: pa.DataType) -> bool:
    """Whether a whole number becomes a float, at whatever depth."""
    if pa.types.is_struct(found) and pa.types.is_struct(to):
        types = {each.name: each.type for each in to}
        return any(each.name in types and _whole_to_float(each.type, types[each.name]) for each in found)
    if pa.types.is_list(found) and pa.types.is_list(to):
        return _whole_to_float(found.value_type, to.value_type)
    return pa.types.is_integer(found) and pa.types.is_floating(to)


def those_that_fit(rows: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Rows to compare with others of wider types: the named columns in these types, and without each row that has a value
    which they do not hold. Such a row is equal to none.
    """
    for name in set(types) & set(rows.column_names):
        rows = rows.filter(can_cast(rows[name], types[name]))
    columns = {name: cast(rows[name], types.get(name, rows[name].type)) for name in rows.column_names}
    return pa.table(columns)


def stream(name: str, rows: Rows, schema: pa.Schema) -> BatchStream:
    """The same, a batch at a time."""
    return BatchStream(_fitted(name, _batches(rows), schema), schema)


def rewritten(name: str, stays: Iterator[pa.RecordBatch], rows: Rows, schema: pa.Schema) -> BatchStream:
    """All rows of a table whose types have widened: those that stay, and then the new ones."""
    return BatchStream(itertools.chain(_fitted(name, stays, schema), _fitted(name, _batches(rows), schema)), schema)


def _batches(rows: Rows) -> Iterable[pa.RecordBatch]:
    return rows.to_batches() if isinstance(rows, pa.Table) else rows


def _fitted(name: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from fit(name, pa.Table.from_batches([batch]), schema).to_batches()


def keyed(
    name: str, rows: pa.Table, delete: pa.Table | None, key: Sequence[str], schema: pa.Schema
) -> tuple[pa.Table, pa.Table | None]:
    """Rows to write and keys to delete, both with exactly the columns of a schema.

    Raises:
        DataError: two rows of one key (null equals null), a key both to write and to delete, a value that does not fit.
        NotFoundError: a key column is missing.
    """
    for part in [rows] if delete is None else [rows, delete]:
        for each in key:
            if each not in part.column_names:
                raise NotFoundError(f"key column of {name}", each, part.column_names)
    written = fit(name, rows, schema)
    deleted = None if delete is None else fit(name, delete.select(list(key)), schema)
    keys = pa.concat_tables([part.select(list(key)) for part in (written, deleted) if part is not None])
    counts = keys.group_by(list(key)).aggregate([([], "count_all")])
    twice = counts.filter(pc.field("count_all") > 1)
    if twice.num_rows:
        examples = twice.slice(0, SHOWN).select(list(key)).to_pylist()
        raise DataError(
            f"{name}: {twice.num_rows} keys ({', '.join(key)}) come more than once. Nothing was written.",
            findings=[", ".join(f"{column}={value!r}" for column, value in each.items()) for each in examples],
        )
    return written, deleted


def _check_names(name: str, incoming: Sequence[str], there: dict[str, pa.DataType]) -> None:
    """Delta and DuckDB tell columns apart without regard to case."""
    known = {column.lower(): column for column in there}
    for column in incoming:
        if known.setdefault(column.lower(), column) != column:
            raise DataError(f"{name}: columns {known[column.lower()]!r} and {column!r} differ only in case.")
    if len(set(incoming)) < len(incoming):
        twice = next(column for column in incoming if list(incoming).count(column) > 1)
        raise DataError(f"{name}: two columns are named {twice!r}.")
    if not incoming:
        raise DataError(f"{name}: rows without a column cannot be written.")
    if odd := [column for column in incoming if not column or "\0" in column]:
        wrong = "holds a null character" if odd[0] else "is empty"
        raise DataError(f"{name}: the name of column {list(incoming).index(odd[0]) + 1}, {odd[0]!r}, {wrong}.")


def _has_null_inside(found: pa.DataType) -> bool:
    """Whether a list or struct has a part of which nothing but nulls is known."""
    parts = [found.field(index).type for index in range(found.num_fields)]
    return any(pa.types.is_null(part) or _has_null_inside(part) for part in parts)


def _kept(name: str, field: pa.Field, there: pa.DataType | None) -> pa.DataType:
    """The type in which a column is kept. A column of nothing but nulls takes the type that the table has."""
    found = field.type.storage_type if isinstance(field.type, pa.ExtensionType) else field.type
    if pa.types.is_null(found):
        if there is None:
            raise DataError(
                f"{name}: column {field.name!r} holds only nulls, so its type is not known.",
                hint="Declare it in the schema, or cast it in the SQL: CAST(NULL AS INTEGER).",
            )
        return there
    if found.equals(HUGEINT) and there != HUGEINT:
        return pa.int64()
    kept = stored(found)
    odd = "" if kept is None else misnamed(kept)
    if kept is None or _has_null_inside(kept) or odd:
        reason = f" It has {odd}." if odd else ""
        raise DataError(f"{name}: column {field.name!r} is {found}, which a Delta table cannot hold.{reason}")
    return kept
