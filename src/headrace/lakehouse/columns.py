"""Types of columns: declared types, and their types in Arrow, DuckDB and Delta."""

# pyarrow.compute makes its functions when it is imported
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

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
DIGITS = {pa.int8(): 3, pa.int16(): 5, pa.int32(): 10, pa.int64(): 19}
MOST_DIGITS = 38  # of a decimal in Delta
MOST_WHOLE = 2**53  # up to which a float64 holds each whole number
NAMES = {each: name for name, each in ARROW.items()}


def arrow_types(schema: Schema | None) -> dict[str, pa.DataType]:
    """Declared columns with their Arrow types."""
    return {} if schema is None else {name: ARROW[declared] for name, declared in schema.columns.items()}


def arrow_type(name: str) -> pa.DataType:
    """The type of which `type_name` gives this name, where a key may be of it.

    Raises:
        KeyError: there is none.
    """
    decimal = re.fullmatch(r"decimal128\((\d+), (\d+)\)", name)
    return pa.decimal128(int(decimal[1]), int(decimal[2])) if decimal else ARROW[name]


def type_name(found: pa.DataType) -> str:
    """A type as a user would declare it, or as Arrow writes it where it cannot be declared."""
    return NAMES.get(found, str(found))


def stored(found: pa.DataType) -> pa.DataType | None:
    """The type in which Delta keeps a column, without loss but for nanoseconds; None where it cannot.

    Unsigned integers become the next wider signed ones (the widest: int64; a value beyond it is refused at the write).
    """
    if pa.types.is_null(found) or (pa.types.is_struct(found) and not found.num_fields):
        return pa.null()  # an empty object says as much as no object: Parquet has no type for it
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


def misnamed(found: pa.DataType) -> str:
    """What is wrong with the names of the fields of an object, at any depth; empty where nothing is.

    Delta and DuckDB tell fields apart by more than the case of their letters, and have no word for one without a name.
    """
    if pa.types.is_list(found):
        return misnamed(found.value_type)
    if pa.types.is_map(found):
        return misnamed(found.item_type) or misnamed(found.key_type)
    if not pa.types.is_struct(found):
        return ""
    names = [each.name for each in found]
    if not all(name.strip() for name in names):
        return "a field without a name"
    lower = [name.lower() for name in names]
    if twice := [name for name in names if lower.count(name.lower()) > 1]:
        return f"two fields {twice[0]!r}, which differ by the case of their letters at most"
    if odd := [name for name in names if "\0" in name]:
        return f"a field {odd[0]!r}, whose name holds a null character"
    return next(filter(None, (misnamed(each.type) for each in found)), "")


def settled(found: pa.DataType) -> pa.DataType:
    """The type with text wherever no value has told one: a column of nulls, the items of lists that are all empty."""
    if pa.types.is_null(found):
        return pa.string()
    if pa.types.is_list(found):
        return pa.list_(settled(found.value_type))
    if pa.types.is_struct(found):
        return pa.struct([(each.name, settled(each.type)) for each in found])
    return found


def common(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both unchanged; None where text and numbers, say, would have to mix.

    An int64 beside a float64 counts as a float64: whether each value survives is checked when it is cast. A whole number
    beside a decimal becomes a decimal with room for both. A struct has the fields of both. A decimal is no float64, nor
    is the clock time of a place an instant.
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
    if all(pa.types.is_decimal(each) or pa.types.is_integer(each) for each in pair):
        return _common_decimal(one, other)
    if all(pa.types.is_struct(each) for each in pair):
        return _common_struct(one, other)
    if all(pa.types.is_list(each) for each in pair):
        inner = common(one.value_type, other.value_type)
        return None if inner is None else pa.list_(inner)
    return None


def _common_decimal(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    sizes = [(each.precision, each.scale) if pa.types.is_decimal(each) else (DIGITS[each], 0) for each in (one, other)]
    scale = max(scale for _, scale in sizes)
    precision = max(precision - scale for precision, scale in sizes) + scale
    return pa.decimal128(precision, scale) if precision <= MOST_DIGITS else None


def _common_struct(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    first, second = ({field.name: field.type for field in each} for each in (one, other))
    fields = {name: common(first.get(name, pa.null()), second.get(name, pa.null())) for name in {**first, **second}}
    if None in fields.values() or len({name.lower() for name in fields}) < len(fields):
        return None
    return pa.struct(list(fields.items()))


def widens(was: pa.DataType, now: pa.DataType) -> bool:
    """Whether a column may go from one type to another because the second holds every value of the first.

    The widenings are: a whole number to a longer one, to a float64 (of values up to 2^53) or to a decimal with room for
    it; float32 to float64; date to timestamp; a decimal to one with no fewer digits on either side of the point; a
    struct that gains fields, or whose fields widen; a list whose items widen.
    """
    return not was.equals(now) and common(was, now) == now


def keeps_text(was: pa.DataType, now: pa.DataType) -> bool:
    """Whether values are written the same in two types, so that what is known by its text, a key, stays the same."""
    return was.equals(now) or (pa.types.is_integer(was) and pa.types.is_integer(now))


def change_of_type(name: str, was: pa.DataType, now: pa.DataType) -> str:
    """A widening in words: `amount: int64 → float64`."""
    return f"{name}: {type_name(was)} → {type_name(now)}"


def cast(array: pa.Array | pa.ChunkedArray, to: pa.DataType, *, rounding: bool = False) -> pa.Array | pa.ChunkedArray:
    """The values in another type, none of them changed: casting back gives the same ones.

    A time without a zone becomes an instant as UTC, an instant becomes the clock time of UTC; nanoseconds are cut to
    microseconds, which is all that Delta keeps. Text is read as what it says.

    Args:
        array: the values.
        to: the type.
        rounding: whether a float64 may become the nearest float32, as where float32 was declared.

    Raises:
        pa.ArrowInvalid: a value does not fit, or would be another one.
        pa.ArrowNotImplementedError: values of these types cannot stand for each other.
    """
    if array.type.equals(to):
        return array
    if array.null_count == len(array):
        nulls = pa.nulls(len(array), to)
        return pa.chunked_array([nulls]) if isinstance(array, pa.ChunkedArray) else nulls
    if pa.types.is_struct(array.type) and pa.types.is_struct(to):
        return _cast_struct(array, to, rounding=rounding)
    if pa.types.is_timestamp(to) and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise pa.ArrowNotImplementedError("a number is not a time")
    made = _converted(array, to)
    if not _is_reading(array.type, to) and not (rounding and _rounds(array.type, to)):
        _check_same(array, made)
    elif (
        rounding and _rounds(array.type, to) and pc.any(pc.is_inf(pc.if_else(pc.is_finite(array), made, None))).as_py()
    ):
        raise pa.ArrowInvalid(f"a value is beyond {type_name(to)}")
    return made


def _converted(array: pa.Array | pa.ChunkedArray, to: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([_converted(chunk, to) for chunk in array.chunks], to)
    if pa.types.is_null(to):
        return pa.nulls(len(array))
    if (
        pa.types.is_struct(array.type)
        and pa.types.is_struct(to)
        and [each.name for each in array.type] == [each.name for each in to]
    ):
        parts = [_converted(part, each.type) for part, each in zip(array.flatten(), to, strict=True)]
        return pa.StructArray.from_arrays(parts, fields=list(to), mask=array.is_null())
    if _has_empty(array.type) and pa.types.is_list(array.type) and pa.types.is_list(to):
        items = _converted(array.values, to.value_type)
        return pa.ListArray.from_arrays(array.offsets, items, type=to, mask=array.is_null())
    cut = _are_times(array.type, to) and _items(array.type).unit == "ns"
    return array.cast(to, safe=not cut)  # a coarser unit is multiplied up, which has to be checked


def _is_reading(found: pa.DataType, to: pa.DataType) -> bool:
    """Whether the values stay what they are by the nature of the cast, so that there is nothing to compare."""
    if _are_times(found, to):
        return True
    if any(test(found) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        return True
    return pa.types.is_null(found) or pa.types.is_dictionary(found) or _has_empty(found)


def _are_times(*types: pa.DataType) -> bool:
    return all(pa.types.is_timestamp(_items(each)) for each in types)


def _items(found: pa.DataType) -> pa.DataType:
    """What is in a list, or in lists of lists; another type itself."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return _items(found.value_type) if any(test(found) for test in lists) else found


def _has_empty(found: pa.DataType) -> bool:
    """Whether an object without fields is in it, from which Arrow casts to nothing."""
    if pa.types.is_list(found):
        return _has_empty(found.value_type)
    return pa.types.is_struct(found) and (not found.num_fields or any(_has_empty(each.type) for each in found))


def _rounds(found: pa.DataType, to: pa.DataType) -> bool:
    return pa.types.is_floating(found) and pa.types.is_floating(to)


def _check_same(array: pa.Array | pa.ChunkedArray, made: pa.Array | pa.ChunkedArray) -> None:
    """Casting back gives the same values.

    Raises:
        pa.ArrowInvalid: it does not; says the first.
    """
    try:
        back = _converted(made, array.type)
        if back.equals(array) or _equal(back, array):
            return
        if pa.types.is_nested(array.type) or pa.types.is_null(made.type):
            raise pa.ArrowInvalid(f"{array.type} holds more than {made.type}")
        same = pc.fill_null(pc.equal(back, array), True)
        if pa.types.is_floating(array.type):
            same = pc.or_(same, pc.fill_null(pc.is_nan(array), False))
        if pc.all(same).as_py() is not False:
            return
    except (pa.ArrowNotImplementedError, pa.ArrowKeyError):
        return  # there is no way back, as from a list of another width: Arrow's own check has to do
    place = pc.index(same, False).as_py()
    raise pa.ArrowInvalid(f"{array[place]} would become {made[place]}")


def _equal(one: pa.Array | pa.ChunkedArray, other: pa.Array | pa.ChunkedArray) -> bool:
    """Whether two arrays of one type hold the same, where NaN is the same as NaN at whatever depth."""
    if isinstance(one, pa.ChunkedArray) or isinstance(other, pa.ChunkedArray):
        return all(_equal(*chunks) for chunks in zip(one.chunks, other.chunks, strict=True))
    if not pc.is_null(one).equals(pc.is_null(other)):
        return False
    kind = one.type
    if pa.types.is_floating(kind):
        same = pc.or_(pc.equal(one, other), pc.and_(pc.is_nan(one), pc.is_nan(other)))
        return pc.all(same).as_py() is not False
    if pa.types.is_struct(kind):
        return all(_equal(*parts) for parts in zip(one.flatten(), other.flatten(), strict=True))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pc.list_value_length(one).equals(pc.list_value_length(other)) and _equal(one.flatten(), other.flatten())
    return one.equals(other)


def _cast_struct(array: pa.Array | pa.ChunkedArray, to: pa.DataType, *, rounding: bool) -> pa.Array | pa.ChunkedArray:
    """Field by field; one that the struct did not have is null."""
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([_cast_struct(chunk, to, rounding=rounding) for chunk in array.chunks], to)
    there = {field.name for field in array.type}
    if lost := there - {field.name for field in to}:
        raise pa.ArrowNotImplementedError(f"there is no field {min(lost)!r} in {to}")
    values = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
    parts = [
        cast(values[field.name], field.type, rounding=rounding)
        if field.name in there
        else pa.nulls(len(array), field.type)
        for field in to
    ]
    return pa.StructArray.from_arrays(parts, fields=list(to), mask=array.is_null())


def can_cast(array: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray:
    """Which of the values `cast` takes: true or false for each. A null is taken."""
    if pa.types.is_integer(array.type) and pa.types.is_float64(to):  # where there may be many
        within = pc.and_(pc.greater_equal(array, -MOST_WHOLE), pc.less_equal(array, MOST_WHOLE))
        return pc.fill_null(within, True)
    return pa.chunked_array(_halves(array, to), pa.bool_())


def _halves(array: pa.ChunkedArray, to: pa.DataType) -> list[pa.Array]:
    """The same, by trying all of them, and each half where that fails."""
    try:
        cast(array, to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(array) == 1:
            return [pa.array([False])]
        half = len(array) // 2
        return [*_halves(array.slice(0, half), to), *_halves(array.slice(half), to)]
    return [pa.repeat(pa.scalar(True), len(array))]


def conform(table: pa.Table, types: Mapping[str, pa.DataType], *, what: str) -> pa.Table:
    """A table with the named columns cast, the others as Delta keeps them. A float32 that is named rounds.

    Raises:
        DataError: a value does not fit, or a column's type cannot be kept.
    """
    arrays: list[pa.ChunkedArray] = []
    for field in table.schema:
        to = types.get(field.name) or stored(field.type)
        odd = "" if to is None else misnamed(to)
        if to is None or odd:
            shown = field.name if field.name.isidentifier() else "column"
            raise DataError(
                f"{what}: column {field.name!r} is {field.type}, which a Delta table cannot hold.{odd and f' It has {odd}.'}",
                hint=f'Read it as text: schema=hr.Schema({shown}="string"), or write it in another type.',
            )
        try:
            arrays.append(cast(table[field.name], to, rounding=True))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            whole = pa.types.is_integer(field.type)
            shown = field.name if field.name.isidentifier() else "column"
            raise DataError(
                f"{what}: column {field.name!r} is not {type_name(to)}: {error}.",
                hint=f'Read it as text: schema=hr.Schema({shown}="string").'
                if whole and field.name not in types
                else "",
            ) from None
    return pa.table(dict(zip(table.column_names, arrays, strict=True)))
