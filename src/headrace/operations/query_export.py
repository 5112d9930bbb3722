"""The answer to a SELECT as a file: CSV that a spreadsheet does not execute, or Parquet with exact values."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from headrace.core.errors import DataError, LimitError
from headrace.operations.record import plain

if TYPE_CHECKING:
    from headrace.operations.sql import QueryResult

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet begins to calculate
BYTES = 2**28  # of an answer in memory
STRETCH = 10_000  # rows that are Python values at once


def as_csv(result: QueryResult) -> bytes:
    """The answer as CSV in UTF-8, with a line of column names.

    A text that a spreadsheet would take for a formula, since it begins with `=`, `+`, `-`, `@`, a tab or a carriage return,
    gets an apostrophe before it, as a column name does; numbers are as they are. A list or a structure is JSON. No value is
    an empty cell. Parquet has every value as it is.

    Raises:
        LimitError: it is too large for a file.
    """
    _check_size(result)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([_cell(name) for name in result.arrow.column_names])
    for begin in range(0, result.count, STRETCH):
        part = type(result)(arrow=result.arrow.slice(begin, STRETCH))
        writer.writerows([_cell(value) for value in row.values()] for row in part.rows())
    return file.getvalue().encode()


def as_parquet(result: QueryResult) -> bytes:
    """The answer as Parquet, compressed with Zstandard.

    Raises:
        DataError: Parquet has no such type, as that of an interval.
        LimitError: it is too large for a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_size(result)
    file = io.BytesIO()
    try:
        pq.write_table(result.arrow, file, compression="zstd")
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise DataError(
            f"the answer cannot be written as Parquet: {str(error).splitlines()[0]}",
            hint="Cast the column to text in the SELECT, or take CSV.",
        ) from None
    return file.getvalue()


def _check_size(result: QueryResult) -> None:
    if result.arrow.nbytes > BYTES:
        raise LimitError(
            f"the answer has {result.arrow.nbytes / 2**20:,.0f} MiB; a file is made of at most {BYTES / 2**20:,.0f}.",
            hint="Add a LIMIT, name fewer columns, or aggregate.",
        )


def _cell(value: object) -> object:
    if isinstance(value, dict | list):
        value = json.dumps(plain(value), ensure_ascii=False)
    elif value is not None and not isinstance(value, bool | int | float | str):
        value = plain(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    """Whether a text is a sign and a number and nothing else: a negative decimal is no formula."""
    return text.startswith(("+", "-")) and text[1:].replace(".", "", 1).isdecimal() and text.isascii()
