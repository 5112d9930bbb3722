"""Rows as Python values, also for values that Python lacks: moments before the year 1, after 9999, or infinite."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

BEYOND = (OverflowError, ValueError)
LAST = {8: 2**63 - 1, 4: 2**31 - 1}  # bytes of a moment → the number by which DuckDB and PostgreSQL mean infinity


def rows_of(table: pa.Table) -> list[dict[str, object]]:
    """The rows; a moment that Python has no value for is text, `infinity` or such as `12024-01-01`."""
    columns = [_values(each) for each in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(values: pa.ChunkedArray) -> Sequence[object]:
    try:
        return values.to_pylist()
    except BEYOND:
        return [_value(each) for each in values]


def _value(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except BEYOND:
        pass
    if isinstance(scalar, pa.StructScalar):
        return {name: _value(scalar[name]) for name in scalar}
    if isinstance(scalar, pa.ListScalar):
        return [_value(each) for each in scalar.values]
    number = cast("int", getattr(scalar, "value", 0))
    if abs(number) == LAST[scalar.type.bit_width // 8]:
        return "infinity" if number > 0 else "-infinity"
    return str(scalar.cast(pa.string()))
