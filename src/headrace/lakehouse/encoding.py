"""Encoding of columns in Parquet: a dictionary if values repeat, none if nearly all values differ.

A dictionary of values that do not repeat would be built and then discarded as too large, which took three quarters of
the time of writing predictions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import ColumnProperties, WriterProperties

if TYPE_CHECKING:
    from headrace.lakehouse.rows import Rows

SAMPLE, ENOUGH = 10_000, 1_000  # rows that are looked at; with fewer it is not worth while
REPEAT = 0.5  # share of different values from which on a dictionary does not pay


def layout(rows: Rows) -> WriterProperties:
    """Of the files of these rows."""
    if not isinstance(rows, pa.Table) or rows.num_rows < ENOUGH:
        return WriterProperties(compression="SNAPPY")
    sample = rows.slice(0, SAMPLE)
    flat = {name: _repeats(sample.column(name)) for name in rows.column_names if not _nested(rows, name)}
    inner = [_repeats(part) for name in rows.column_names if _nested(rows, name) for part in _parts(sample[name])]
    default = sum(inner) * 2 >= len(inner)  # delta-rs cannot be told of one inside a struct alone
    return WriterProperties(
        compression="SNAPPY",
        default_column_properties=ColumnProperties(dictionary_enabled=default),
        column_properties={
            name: ColumnProperties(dictionary_enabled=repeats) for name, repeats in flat.items() if repeats != default
        },
    )


def _nested(rows: pa.Table, name: str) -> bool:
    return pa.types.is_nested(rows.schema.field(name).type)


def _parts(column: pa.ChunkedArray) -> list[pa.ChunkedArray]:
    """The innermost columns of a struct; a list or a map counts as one that repeats."""
    if not pa.types.is_struct(column.type):
        return []
    return [part for each in column.flatten() for part in (_parts(each) if pa.types.is_struct(each.type) else [each])]


def _repeats(column: pa.ChunkedArray) -> bool:
    if pa.types.is_nested(column.type) or pa.types.is_boolean(column.type):
        return True
    return len(column.unique()) < len(column) * REPEAT
