"""JSON as Arrow: one object a line, or one array of objects. Numbers that no number type holds are kept as text."""

from __future__ import annotations

import io
import itertools
import json
import re
from typing import TYPE_CHECKING, NoReturn, cast

import pyarrow as pa
import pyarrow.json

from headrace.core.errors import DataError
from headrace.lakehouse import spelling
from headrace.lakehouse.columns import cast as cast_column
from headrace.lakehouse.columns import settled, type_name
from headrace.lakehouse.json_text import (
    DEEPEST,
    array_items,
    check_depth,
    check_only_objects,
    objects,
    unrepresentable_numbers,
    values_as_text,
)
from headrace.lakehouse.reading import as_utf8, kept_as_text, left_out, unlike

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from headrace.lakehouse.reading import Guess, Reading

LONG = re.compile(spelling.LONG.encode())


def table(data: bytes, path: Path, reading: Reading) -> tuple[pa.Table, tuple[Guess, ...]]:
    """Reads the rows of a JSON file.

    An empty object is null, for nothing shows its fields. A column that is declared as text takes values of every kind.
    Strings are days and moments where all of a column are, at whatever depth, by the rules for CSV.

    Args:
        data: the content of the file.
        path: its path, for messages.
        reading: how to read it.

    Returns:
        The rows, and what was guessed.

    Raises:
        DataError: the file is not JSON, or a value is not an object; a column changes its type; a number inside of an object
            or list has more digits than a number type holds; a value does not fit its declared type.
    """
    text = as_utf8(data, path, reading)
    if not text.strip():
        return pa.table({}), (left_out(path),)
    if array := text.lstrip().startswith(b"["):
        check_depth(text, path, DEEPEST + 1)
        text = b"\n".join(array_items(text, path))
        if not text:
            return pa.table({}), ()
    else:
        check_depth(text, path, DEEPEST)
    lost = unrepresentable_numbers(text, path, reading.types) if LONG.search(text) else {}
    texts = {*lost, *(name for name, kind in reading.types.items() if pa.types.is_string(kind))}
    if lost:
        text = values_as_text(text, path, texts)
    try:
        rows = _parse(text, texts)
    except pa.ArrowInvalid as error:
        if not reading.types:
            _malformed(path, text, str(error))
        texts |= reading.types.keys()
        text = values_as_text(text, path, texts)
        try:
            rows = _parse(text, texts)
        except pa.ArrowInvalid as still:
            _malformed(path, text, str(still))
    rows = _in_order(rows.drop_columns(_missing(rows, text, path, texts)), text, path)
    rows = _declared(rows, text, path, reading, array=array)
    guesses = [kept_as_text(name, spelling.DIGITS, example) for name, example in lost.items()]
    for place, field in enumerate(rows.schema):
        if field.name in reading.types or field.name in lost:
            continue
        values, guessed = _with_times(rows.column(place), field.name, reading)
        rows = rows.set_column(place, field.name, values)
        guesses += guessed
    return rows, tuple(guesses)


def _missing(rows: pa.Table, text: bytes, path: Path, texts: Collection[str]) -> list[str]:
    """Requested columns that no object has: Arrow makes them, of nulls."""
    doubtful = {name for name in texts if rows[name].null_count == len(rows)}
    doubtful = {name for name in doubtful if json.dumps(name, ensure_ascii=False).encode() not in text}
    if doubtful:  # a name may be written with escapes
        doubtful.difference_update(*(row.keys() for _, row in objects(text, path)))
    return sorted(doubtful)


def _in_order(rows: pa.Table, text: bytes, path: Path) -> pa.Table:
    """The columns in the order of the objects: Arrow puts those first whose type is requested."""
    names: dict[str, None] = {}
    for _, row in objects(text, path):
        names.update(dict.fromkeys(row))
        if len(names) >= rows.num_columns:
            break
    return rows.select([name for name in names if name in rows.column_names])


def _declared(rows: pa.Table, text: bytes, path: Path, reading: Reading, *, array: bool) -> pa.Table:
    """The declared columns in their types: numbers as they were parsed where this loses nothing, all else by its text.

    Raises:
        DataError: a value is not of its declared type; says where.
    """
    long = bool(LONG.search(text))
    columns = {
        name: _number_as(rows[name], reading.types[name], long=long)
        for name in rows.column_names
        if not pa.types.is_string(reading.types.get(name, pa.string()))
    }
    slow = {name for name, values in columns.items() if values is None and not pa.types.is_string(rows[name].type)}
    if slow:
        texts = {field.name for field in rows.schema if pa.types.is_string(field.type)} | slow
        again = _parse(values_as_text(text, path, slow), texts)
        for name in slow:
            rows = rows.set_column(rows.column_names.index(name), name, again[name])
    for name, values in columns.items():
        typed = _converted(rows[name], name, text, path, reading, array=array) if values is None else values
        rows = rows.set_column(rows.column_names.index(name), name, typed)
    return rows


def _number_as(values: pa.ChunkedArray, to: pa.DataType, *, long: bool) -> pa.ChunkedArray | None:
    """Numbers, or nothing but nulls, in a declared type; None where the text of each value has to say what it is."""
    if pa.types.is_null(values.type):
        return pa.chunked_array([pa.nulls(len(values), to)])
    whole, floating = pa.types.is_integer(values.type), pa.types.is_floating(values.type)
    if values.type.equals(to) and (whole or pa.types.is_boolean(to)):
        return values
    if not (whole or floating) or not (pa.types.is_integer(to) or pa.types.is_floating(to)):
        return None
    if long and floating and pa.types.is_integer(to):
        return None  # a whole number beyond an int64, or with more digits than a float64 keeps
    try:
        return cast("pa.ChunkedArray", cast_column(values, to, rounding=True))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _converted(
    values: pa.ChunkedArray, name: str, text: bytes, path: Path, reading: Reading, *, array: bool
) -> pa.ChunkedArray:
    to = reading.types[name]
    try:
        return spelling.convert(values, reading.dialect.nulls, to)
    except pa.ArrowNotImplementedError:
        raise DataError(f"{path}: column {name!r} is {type_name(to)}, which JSON has no text for.") from None
    except spelling.UnreadableError as error:
        line = next(itertools.islice(objects(text, path), error.place, None))[0]
        place = f"{path}: item {line}" if array else f"{path}:{line}"
        raise unlike(place, name, to, error.text) from None


def _with_times(values: pa.ChunkedArray, name: str, reading: Reading) -> tuple[pa.ChunkedArray, tuple[Guess, ...]]:
    """A column with its days and moments as such, at whatever depth."""
    if pa.types.is_string(values.type):
        column = spelling.times(values, reading.dialect.nulls)
        return column.values, ((kept_as_text(name, column.reason, column.example),) if column.reason else ())
    if not pa.types.is_nested(values.type):
        return values, ()
    known = reading.known.get(name, pa.null())
    return pa.chunked_array([_timed(values.combine_chunks(), known, reading.dialect.nulls)]), ()


def _timed(values: pa.Array, known: pa.DataType, nulls: Sequence[str]) -> pa.Array:
    """The same with the strings inside of it; those that are text in the table stay text."""
    if pa.types.is_string(values.type) and not pa.types.is_string(known):
        return cast("pa.Array", spelling.times(pa.chunked_array([values]), nulls).values.combine_chunks())
    if pa.types.is_list(values.type):
        inner = known.value_type if pa.types.is_list(known) else pa.null()
        items = _timed(values.values, inner, nulls)
        return pa.ListArray.from_arrays(values.offsets, items, mask=values.is_null())
    if pa.types.is_struct(values.type) and values.type.num_fields:
        fields = {field.name: field.type for field in known} if pa.types.is_struct(known) else {}
        names = [field.name for field in values.type]
        parts = [_timed(values.field(place), fields.get(name, pa.null()), nulls) for place, name in enumerate(names)]
        return pa.StructArray.from_arrays(parts, names=names, mask=values.is_null())
    return values


def _parse(text: bytes, texts: Collection[str]) -> pa.Table:
    """The objects as Arrow, with every string as it is written: Arrow itself would read times, and lose their zones."""
    check_only_objects(text)
    types = dict.fromkeys(texts, pa.string())
    rows = _read(text, types)
    timed = {field.name: _without_times(field.type) for field in rows.schema if _has_times(field.type)}
    return _read(text, {**types, **timed}) if timed else rows


def _read(text: bytes, types: Mapping[str, pa.DataType]) -> pa.Table:
    """The objects as Arrow reads them, in these types.

    Arrow (26) loses a null that begins the first list of a column, and so gives a list that is longer than its items,
    unless it knows the type of the column: then the objects are read again in the types that it inferred.
    """
    rows = _arrow(text, pa.schema(list(types.items())) if types else None)
    try:
        rows.validate(full=True)
    except pa.ArrowInvalid:
        again = _arrow(text, pa.schema([(field.name, settled(field.type)) for field in rows.schema]))
        columns = [
            values if values.type == field.type else pa.chunked_array([pa.array(values.to_pylist(), field.type)])
            for values, field in zip(again.columns, rows.schema, strict=True)
        ]
        return pa.Table.from_arrays(columns, schema=rows.schema)
    return rows


def _arrow(text: bytes, schema: pa.Schema | None) -> pa.Table:
    return pyarrow.json.read_json(
        io.BytesIO(text),
        read_options=pyarrow.json.ReadOptions(block_size=len(text)),  # types are inferred from all rows at once
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, newlines_in_values=False),
    )


def _has_times(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or any(_has_times(kind.field(place).type) for place in range(kind.num_fields))


def _without_times(kind: pa.DataType) -> pa.DataType:
    """A type that Arrow inferred, with strings for times."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_without_times(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _without_times(field.type)) for field in kind])
    return kind


def _malformed(path: Path, text: bytes, message: str) -> NoReturn:
    """Refuses a file that Arrow refuses, with its line where that is known."""
    for _ in objects(text, path):
        pass
    if changed := re.search(r"Column\(/(.*)\) changed from (\w+) to (\w+)", message):
        name = changed[1]
        shown = name if name.isidentifier() else "column"
        raise DataError(
            f"{path}: column {name!r} is {changed[2]} in one row and {changed[3]} in another.",
            hint=f'Write all its values with one type, or read them as text: schema=hr.Schema({shown}="string").',
        )
    raise DataError(f"{path}: {message}.")
