"""Conditions on the metadata of an index, as a mask over its rows.

Both stores take the mask, so a condition means the same in each, and no value of a user becomes part of a text that a database reads.
"""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.core.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.llm.index.base import Mask

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
HINT = f"A value, a list of values, or a pair of an operator and a value: ('>=', 3). Operators: {', '.join(OPERATORS)}."


def mask(rows: pa.Table, where: Mapping[str, object] | None) -> Mask | None:
    """Which rows meet all conditions.

    A row whose value is null meets `None` and lists that hold None, and no other condition. NaN is equal to nothing.

    Args:
        rows: the metadata.
        where: column → a value, a list of values one of which it must be, or an operator and a value, `(">=", 3)`. None or
            nothing: all rows.

    Returns:
        One truth value a row; None for all of them.

    Raises:
        NotFoundError: no such column.
        DataError: a condition that is none, or a value that cannot be compared with the column.
    """
    if not where:
        return None
    found = np.ones(rows.num_rows, np.bool_)
    for name, condition in where.items():
        if name not in rows.column_names:
            raise NotFoundError(
                "column of the index to filter by", str(name), rows.column_names, hint="keep=[…] of hr.VectorIndex"
            )
        met = _met(name, rows[name], condition)
        found &= pc.fill_null(met, fill_value=False).to_numpy()
    return found


def _met(name: str, values: pa.ChunkedArray, condition: object) -> pa.ChunkedArray:
    if isinstance(condition, tuple):
        pair = cast("tuple[object, ...]", condition)
        if len(pair) != 2 or not isinstance(pair[0], str) or pair[0] not in OPERATORS:
            raise DataError(f"the condition {name}={condition!r} is none.", hint=HINT)
        if pair[1] is None and pair[0] in ("=", "!="):
            return pc.is_null(values) if pair[0] == "=" else pc.is_valid(values)
        return OPERATORS[pair[0]](values, _scalar(name, values.type, pair[1]))
    if isinstance(condition, list | set | frozenset):
        met = pa.chunked_array([pa.array(np.zeros(len(values), np.bool_))])
        for value in cast("list[object]", condition):
            met = pc.or_(met, pc.fill_null(_equal(name, values, value), fill_value=False))
        return met
    return _equal(name, values, condition)


def _equal(name: str, values: pa.ChunkedArray, value: object) -> pa.ChunkedArray:
    return pc.is_null(values) if value is None else pc.equal(values, _scalar(name, values.type, value))


def _scalar(name: str, kind: pa.DataType, value: object) -> pa.Scalar:
    """A value in a type that can be compared with a column's.

    Raises:
        DataError: there is none.
    """
    tests: list[tuple[Callable[[pa.DataType], bool], type | tuple[type, ...]]] = [
        (pa.types.is_boolean, bool),
        (pa.types.is_string, str),
        (pa.types.is_large_string, str),
        (pa.types.is_integer, (int, float)),
        (pa.types.is_floating, (int, float)),
        (pa.types.is_decimal, (int, Decimal)),
        (pa.types.is_timestamp, dt.datetime),
        (pa.types.is_date, dt.date),
        (pa.types.is_binary, bytes),
    ]
    possible = next((types for test, types in tests if test(kind)), None)
    odd = isinstance(value, bool) != pa.types.is_boolean(kind) or (
        pa.types.is_date(kind) and isinstance(value, dt.datetime)
    )
    if possible is None or not isinstance(value, possible) or odd:
        raise DataError(f"{name} is {kind}, and cannot be compared with {value!r}.", hint=HINT)
    try:
        if pa.types.is_integer(kind):  # 2.5 and 2**70 are between and beyond the values of the column
            whole = cast("int", value)
            return (
                pa.scalar(float(whole), pa.float64())
                if whole % 1 or abs(whole) >= 2**63
                else pa.scalar(int(whole), pa.int64())
            )
        if pa.types.is_floating(kind):
            return pa.scalar(float(cast("float", value)), pa.float64())
        if pa.types.is_timestamp(kind) and (cast("dt.datetime", value).tzinfo is None) != (
            cast("pa.TimestampType", kind).tz is None
        ):
            raise DataError(f"{name} is {kind}, and cannot be compared with {value!r}: one of them has no time zone.")
        return pa.scalar(value) if pa.types.is_decimal(kind) and isinstance(value, Decimal) else pa.scalar(value, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError) as error:
        raise DataError(f"{name} is {kind}, and cannot be compared with {value!r}: {error}.", hint=HINT) from None
