"""Types of columns: as declared, as Arrow, as DuckDB and as Delta keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.core.schema import Schema

INSTANT = pa.timestamp("us", tz="UTC")
ARROW: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamp_utc": INSTANT,
}
DUCKDB: Mapping[str, str] = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamp_utc": "TIMESTAMP WITH TIME ZONE",
}
NAMES = {each: name for name, each in ARROW.items()}


def arrow_types(schema: Schema | None) -> dict[str, pa.DataType]:
    """Declared columns with their Arrow types."""
    return {} if schema is None else {name: ARROW[declared] for name, declared in schema.columns.items()}


def type_name(found: pa.DataType) -> str:
    """A type as a user would declare it, or as Arrow writes it where it cannot be declared."""
    return NAMES.get(found, str(found))


def stored(found: pa.DataType) -> pa.DataType | None:
    """The type in which Delta keeps a column, without loss but for nanoseconds; None where it cannot.

    Unsigned integers become the next wider signed ones (the widest: int64; a value beyond it is refused at the write).
    """
    if pa.types.is_null(found):
        return pa.null()
    if pa.types.is_dictionary(found):
        return stored(found.value_type)
    if pa.types.is_timestamp(found):
        return pa.timestamp("us") if found.tz is None else INSTANT
    if pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found):
        inner = stored(found.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_struct(found):
        fields = [(each.name, stored(each.type)) for each in found]
        return None if any(inner is None for _, inner in fields) else pa.struct(fields)
    if pa.types.is_decimal(found):
        return pa.decimal128(found.precision, found.scale) if found.precision <= 38 else None
    if pa.types.is_map(found):
        return found
    for test, kept in KEPT:
        if test(found):
            return kept
    return NAMES.get(found) and found


KEPT = (
    (pa.types.is_uint8, pa.int16()),
    (pa.types.is_uint16, pa.int32()),
    (pa.types.is_uint32, pa.int64()),
    (pa.types.is_uint64, pa.int64()),
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_date, pa.date32()),
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_binary, pa.binary()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
)


def common(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both unchanged; None where text and numbers, say, would have to mix.

    An int64 beside a float64 counts as a float64: whether each value survives is checked when it is cast.
    """
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    pair = (one, other)
    if all(pa.types.is_integer(each) for each in pair):
        return max(pair, key=lambda each: each.bit_width)
    if all(pa.types.is_integer(each) or pa.types.is_floating(each) for each in pair):
        return pa.float64()
    if {pa.date32(), pa.timestamp("us")} == set(pair):
        return pa.timestamp("us")
    return None


def cast(array: pa.Array | pa.ChunkedArray, to: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """The values in another type, none of them changed (but for nanoseconds, cut to microseconds).

    A time without a zone becomes an instant as UTC, an instant becomes the clock time of UTC; text is read.

    Raises:
        pa.ArrowInvalid: a value does not fit.
        pa.ArrowNotImplementedError: values of these types cannot stand for each other.
    """
    if array.type.equals(to):
        return array
    if pa.types.is_timestamp(array.type) and pa.types.is_timestamp(to):
        return array.cast(to, safe=False)
    if pa.types.is_timestamp(to) and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise pa.ArrowNotImplementedError("a number is not a time")
    return array.cast(to)


def conform(table: pa.Table, types: Mapping[str, pa.DataType], *, what: str) -> pa.Table:
    """A table with the named columns cast, the others as Delta keeps them.

    Raises:
        DataError: a value does not fit, or a column's type cannot be kept.
    """
    arrays: list[pa.ChunkedArray] = []
    for field in table.schema:
        to = types.get(field.name) or stored(field.type)
        if to is None:
            raise DataError(f"{what}: column {field.name!r} is {field.type}, which a Delta table cannot hold.")
        try:
            arrays.append(cast(table[field.name], to))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"{what}: column {field.name!r} is not {type_name(to)}: {error}.") from None
    return pa.table(dict(zip(table.column_names, arrays, strict=True)))
