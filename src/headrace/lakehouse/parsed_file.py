"""A parsed file of a source: its rows as Arrow on disk, and their stream into the table with the file's name and digest."""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.ipc

from headrace.core.errors import DataError
from headrace.lakehouse.columns import conform
from headrace.lakehouse.rows import fit_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from headrace.lakehouse.reading import Guess

FILE = "_file"
DIGEST = "_digest"
OWN = (FILE, DIGEST)  # the columns that Headrace adds to each row


@dataclass(frozen=True, kw_only=True)
class ParsedFile:
    """A parsed file, kept as Arrow on disk until it is known that all files fit together.

    Attributes:
        name: the name that its rows carry.
        digest: the digest of its content, which its rows carry too.
        path: the Arrow file with its rows.
        schema: its columns.
        rows: how many rows it has.
        guesses: what was guessed when it was parsed.
    """

    name: str
    digest: str
    path: Path
    schema: pa.Schema
    rows: int
    guesses: tuple[Guess, ...]

    @property
    def spelled(self) -> dict[str, Guess]:
        """Columns that were kept as text though their values look like numbers."""
        return {guess.column: guess for guess in self.guesses if guess.column}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields its rows."""
        with pa.memory_map(str(self.path)) as mapped:
            reader = pyarrow.ipc.open_file(mapped)
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)


def write_arrow(
    path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, types: Mapping[str, pa.DataType], *, what: str
) -> tuple[pa.Schema, int]:
    """Writes batches to an Arrow file.

    Args:
        path: the file.
        batches: the rows.
        schema: the columns of the batches.
        types: declared types by column; the other columns get the type that Delta keeps them in.
        what: what the rows are, for the message of the error.

    Returns:
        The columns as they were written, and the number of rows.

    Raises:
        DataError: Arrow cannot keep them, for example because lists or structs are nested too deeply.
    """
    rows = 0
    try:
        written = conform(schema.empty_table(), types, what=what).schema
        with pyarrow.ipc.new_file(str(path), written) as sink:
            for batch in batches:
                sink.write_table(conform(pa.Table.from_batches([batch]), types, what=what))
                rows += batch.num_rows
    except (pa.ArrowInvalid, RecursionError) as error:
        raise DataError(f"{what}: the rows cannot be kept: {str(error).splitlines()[0]}.") from None
    return written, rows


def row_stream(
    name: str, parsed: Sequence[ParsedFile], types: Mapping[str, pa.DataType], *, first: Iterable[pa.RecordBatch] = ()
) -> pa.RecordBatchReader:
    """Returns the rows of all files as one stream, with the name and the digest of the file that each row came from.

    Args:
        name: the table, for messages.
        parsed: the files.
        types: the type of each column.
        first: rows that come before those of the files. Defaults to none.
    """
    schema = pa.schema([*types.items(), (FILE, pa.string()), (DIGEST, pa.string())])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in first:
            yield _shaped(name, batch, schema, {})
        for file in parsed:
            for batch in file.batches():
                yield _shaped(file.name, batch, schema, {FILE: file.name, DIGEST: file.digest})

    return pa.RecordBatchReader.from_batches(schema, batches())


def _shaped(name: str, batch: pa.RecordBatch, schema: pa.Schema, constants: Mapping[str, str]) -> pa.RecordBatch:
    arrays: list[pa.Array] = []
    for field in schema:
        if field.name in constants:
            arrays.append(pa.repeat(pa.scalar(constants[field.name], pa.string()), batch.num_rows))
        elif field.name in batch.schema.names:
            arrays.append(
                cast("pa.Array", fit_column(name, batch.column(field.name), field, hint="Declare it as text."))
            )
        else:
            arrays.append(pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
