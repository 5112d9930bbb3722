"""A load from a user's `read` function: its Arrow batches replace the table if they differ from it."""

from __future__ import annotations

import inspect
import itertools
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa
import pyarrow.ipc

from headrace.core.errors import UserCodeError
from headrace.lakehouse.columns import arrow_types, type_name
from headrace.lakehouse.difference import same_rows
from headrace.lakehouse.parsed_file import OWN, write_arrow
from headrace.lakehouse.reading import check_names
from headrace.lakehouse.widening import beside_table
from headrace.lakehouse.writes import Overwrite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from headrace.lakehouse.declarations import Source
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.lakehouse.snapshot import Snapshot
    from headrace.lakehouse.writes import Change

EXHAUSTED = object()
T = TypeVar("T")


class FunctionLoad:
    """A load of what the `read` function of a source yields; it runs once, however often `change` is called.

    Args:
        lakehouse: where the table is.
        source: the declaration.
        scratch: a folder for the rows.

    Attributes:
        rows: how many rows came.
        new: how many files came, which is always 0; and so are `known` and, empty, `notes`.

    Raises:
        UserCodeError: the function raised, or yielded something other than Arrow batches.
        DataError: Arrow cannot keep the rows.
    """

    def __init__(self, lakehouse: Lakehouse, source: Source, scratch: Path) -> None:
        self.lakehouse, self.source = lakehouse, source
        self.types = arrow_types(source.schema)
        self.table = self._read(scratch / "yielded.arrow")
        self.notes: tuple[str, ...] = ()
        self.new = self.known = self.rows = 0

    def change(self, current: Snapshot | None) -> Change | None:
        """Computes the overwrite of the table; None if its rows are the same, in whatever order.

        Raises:
            DataError: the rows do not fit the table.
        """
        self.rows, table = 0, self.table
        if current is not None:
            where = str(self.source.where)
            table = beside_table(table, current, where=where, table=self.source.name, declared=self.types)
            if same_rows(self.lakehouse, current, table):
                return None
        self.rows = table.num_rows
        return Overwrite(table)

    def _read(self, path: Path) -> pa.Table:
        batches = _batches(self.source)
        first = next(batches, None)
        if first is None and not self.types:
            raise UserCodeError(
                f"{self.source.where}: the read function of {self.source.name!r} yielded nothing, so its columns are not known.",
                hint="Declare them with schema=hr.Schema(…), or yield one empty record batch.",
            )
        schema = pa.schema(list(self.types.items())) if first is None else first.schema
        check_names(f"{self.source.where}: {self.source.name}", schema.names)
        if taken := sorted(set(OWN) & set(schema.names)):
            raise UserCodeError(
                f"{self.source.where}: the read function of {self.source.name!r} gives the column {taken[0]!r}, by which "
                "Headrace knows the files of a table.",
                hint="Name it otherwise.",
            )
        empty = {field.name: pa.string() for field in schema if pa.types.is_null(field.type)}
        rest = batches if first is None else itertools.chain([first], batches)
        write_arrow(path, rest, schema, {**empty, **self.types}, what=f"{self.source.where}: {self.source.name}")
        return pyarrow.ipc.open_file(pa.memory_map(str(path))).read_all()


def _batches(source: Source) -> Iterator[pa.RecordBatch]:
    """What the function yields, one record batch at a time, all with the columns of the first.

    Raises:
        UserCodeError: it raised, or yielded something else.
    """
    read = cast("Callable[[], object]", source.read)
    yielded = _run(source, read)
    if isinstance(yielded, pa.Table | pa.RecordBatch):
        yielded = [yielded]
    if not isinstance(yielded, Iterable) or hasattr(yielded, "__dataframe__"):
        raise _misshapen(source, f"returned {type(yielded).__name__}, not Arrow record batches")
    parts = _run(source, lambda: iter(yielded))
    schema: pa.Schema | None = None
    while (part := cast("Any", _run(source, lambda: next(parts, EXHAUSTED)))) is not EXHAUSTED:
        for batch in part.to_batches() if isinstance(part, pa.Table) else [part]:
            if not isinstance(batch, pa.RecordBatch):
                raise _misshapen(source, f"yielded {type(batch).__name__}, not Arrow record batches")
            if schema is not None and not batch.schema.equals(schema):
                raise _misshapen(source, f"yielded columns ({_columns(batch.schema)}) after ({_columns(schema)})")
            schema = batch.schema
            yield batch


def _run(source: Source, step: Callable[[], T]) -> T:
    """One step of the user's code."""
    try:
        return step()
    except Exception as error:
        read = cast("Callable[[], object]", source.read)
        raise UserCodeError(
            f"{_raised_at(error, read)}: the read function of {source.name!r} raised {type(error).__name__}: {error}",
            hint="Nothing was written.",
        ) from error


def _misshapen(source: Source, what: str) -> UserCodeError:
    return UserCodeError(
        f"{_defined(cast('Callable[[], object]', source.read))}: the read function of {source.name!r} {what}.",
        hint="Yield pyarrow.RecordBatch, all with the same columns; for pandas: pa.RecordBatch.from_pandas(frame).",
    )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {type_name(field.type)}" for field in schema)


def _defined(function: Callable[..., object]) -> str:
    code = inspect.unwrap(function).__code__ if inspect.isfunction(inspect.unwrap(function)) else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def _raised_at(error: Exception, function: Callable[..., object]) -> str:
    """Returns `file:line` of the innermost frame of the user's own file, or of the function's definition."""
    inner = inspect.unwrap(function)
    own = inner.__code__.co_filename if inspect.isfunction(inner) else None
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == own]
    return f"{own}:{lines[-1]}" if lines else _defined(function)
