"""JSON as Arrow: an object a line, or one array of objects. Numbers that no number type holds stay as they are written."""

from __future__ import annotations

import io
import itertools
import json
import re
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import pyarrow as pa
import pyarrow.json

from headrace.core.errors import DataError
from headrace.lakehouse import spelling
from headrace.lakehouse.columns import cast as cast_column
from headrace.lakehouse.columns import settled, type_name
from headrace.lakehouse.reading import as_utf8, kept_as_text, left_out, unlike
from headrace.lakehouse.spelling import survives

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from headrace.lakehouse.reading import Guess, Reading

LONG = re.compile(spelling.LONG.encode())
SUSPICIOUS = re.compile(rb"\A\s*[^\s{]|\n\s*[^\s{]|\}\s*[^\s,\]}{]")  # a value that may stand outside of an object
BETWEEN = re.compile(r"[ \t\r\n]*")
DEEPEST = (
    60  # levels of objects and lists; Arrow's file format ends at 64, and its parser of JSON at the end of the stack
)
QUOTE = ord('"')
OTHER = bytes(set(range(256)) - set(b'{}[]"'))  # what says nothing about depth
STEPS = np.zeros(256, np.int8)
STEPS[[ord("{"), ord("[")]], STEPS[[ord("}"), ord("]")]] = 1, -1
HINT = "Write an array of objects, or one object a line."
Row = dict[str, Any]


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def table(data: bytes, path: Path, reading: Reading) -> tuple[pa.Table, tuple[Guess, ...]]:
    """The rows of a JSON file, and what was guessed.

    An empty object is null, for nothing tells its fields. A column that is declared as text takes values of every kind.
    Strings are days and moments where all of a column are, at whatever depth, by the rules for CSV.

    Raises:
        DataError: it is not JSON, or a value is no object; a column changes its type; a number inside of an object or list
            has more digits than a number type holds; a value does not fit its declared type.
    """
    text = as_utf8(data, path, reading)
    if not text.strip():
        return pa.table({}), (left_out(path),)
    if array := text.lstrip().startswith(b"["):
        _check_depth(text, path, DEEPEST + 1)
        text = b"\n".join(_items(text, path))
        if not text:
            return pa.table({}), ()
    else:
        _check_depth(text, path, DEEPEST)
    lost = _lost(text, path, reading.types) if LONG.search(text) else {}
    texts = {*lost, *(name for name, each in reading.types.items() if pa.types.is_string(each))}
    if lost:
        text = _as_text(text, path, texts)
    try:
        found = _parse(text, texts)
    except pa.ArrowInvalid as error:
        if not reading.types:
            _malformed(path, text, str(error))
        texts |= reading.types.keys()
        text = _as_text(text, path, texts)
        try:
            found = _parse(text, texts)
        except pa.ArrowInvalid as still:
            _malformed(path, text, str(still))
    found = _in_order(found.drop_columns(_missing(found, text, path, texts)), text, path)
    found = _declared(found, text, path, reading, array=array)
    guesses = [kept_as_text(name, spelling.DIGITS, example) for name, example in lost.items()]
    for place, field in enumerate(found.schema):
        if field.name in reading.types or field.name in lost:
            continue
        values, guessed = _with_times(found.column(place), field.name, reading)
        found = found.set_column(place, field.name, values)
        guesses += guessed
    return found, tuple(guesses)


def _check_depth(text: bytes, path: Path, deepest: int) -> None:
    """Refuses what stands deeper in each other than any reader of it can follow, before one tries.

    Raises:
        DataError: it does; says where.
    """
    plain = (
        text.replace(rb"\\", b"__").replace(rb"\"", b"__") if b"\\" in text else text
    )  # no quote is escaped any more
    marks = np.frombuffer(plain.translate(None, OTHER), np.uint8)
    quoted = np.logical_xor.accumulate(marks == QUOTE)
    steps = STEPS[marks]
    steps[quoted] = 0
    depths = np.cumsum(steps, dtype=np.int32)
    if len(depths) and depths.max() > deepest:
        places = np.flatnonzero(np.isin(np.frombuffer(plain, np.uint8), np.unique(marks)))
        line = text.count(b"\n", 0, int(places[np.argmax(depths > deepest)])) + 1
        raise DataError(
            f"{path}:{line}: objects or lists stand more than {DEEPEST} deep in each other.",
            hint="Keep what is so deep as text, in quotes.",
        )


def _missing(found: pa.Table, text: bytes, path: Path, texts: Collection[str]) -> list[str]:
    """Columns that were asked for and that no object has: Arrow makes them, of nulls."""
    doubtful = {name for name in texts if found[name].null_count == len(found)}
    doubtful = {name for name in doubtful if json.dumps(name, ensure_ascii=False).encode() not in text}
    if doubtful:  # a name may be written with escapes
        doubtful.difference_update(*(row.keys() for _, row in _objects(text, path)))
    return sorted(doubtful)


def _in_order(found: pa.Table, text: bytes, path: Path) -> pa.Table:
    """The columns in the order of the objects: Arrow puts those first that it is told of."""
    names: dict[str, None] = {}
    for _, row in _objects(text, path):
        names.update(dict.fromkeys(row))
        if len(names) >= found.num_columns:
            break
    return found.select([name for name in names if name in found.column_names])


def _declared(found: pa.Table, text: bytes, path: Path, reading: Reading, *, array: bool) -> pa.Table:
    """The declared columns in their types: numbers as they were parsed where this loses nothing, all else by its text.

    Raises:
        DataError: a value is not of its declared type; says where.
    """
    long = bool(LONG.search(text))
    columns = {
        name: _number_as(found[name], reading.types[name], long=long)
        for name in found.column_names
        if not pa.types.is_string(reading.types.get(name, pa.string()))
    }
    slow = {name for name, values in columns.items() if values is None and not pa.types.is_string(found[name].type)}
    if slow:
        texts = {field.name for field in found.schema if pa.types.is_string(field.type)} | slow
        again = _parse(_as_text(text, path, slow), texts)
        for name in slow:
            found = found.set_column(found.column_names.index(name), name, again[name])
    for name, values in columns.items():
        made = _converted(found[name], name, text, path, reading, array=array) if values is None else values
        found = found.set_column(found.column_names.index(name), name, made)
    return found


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
        line = next(itertools.islice(_objects(text, path), error.place, None))[0]
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
        there = {field.name: field.type for field in known} if pa.types.is_struct(known) else {}
        names = [field.name for field in values.type]
        parts = [_timed(values.field(place), there.get(name, pa.null()), nulls) for place, name in enumerate(names)]
        return pa.StructArray.from_arrays(parts, names=names, mask=values.is_null())
    return values


def _items(text: bytes, path: Path) -> Iterator[bytes]:
    """The objects of an array, each as it is written but on one line.

    Raises:
        DataError: it is no array of objects.
    """
    written, decoder = text.decode(), json.JSONDecoder()
    place, number = _past(written, written.index("[") + 1), 1
    try:
        while not written.startswith("]", place):
            item, end = decoder.raw_decode(written, place)
            if not isinstance(item, dict):
                raise DataError(f"{path}: item {number} is {type(item).__name__}, not an object.", hint=HINT)
            yield written[place:end].replace("\n", " ").replace("\r", " ").encode()
            place, number = _past(written, end), number + 1
            if written.startswith(",", place):
                place = _past(written, place + 1)
            elif not written.startswith("]", place):
                raise json.JSONDecodeError("Expecting ',' delimiter", written, place)
        if rest := written[place + 1 :].strip():
            raise json.JSONDecodeError(f"Extra data {rest[:20]!r}", written, place + 1)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}.", hint=HINT) from None


def _past(text: str, place: int) -> int:
    """Behind the blanks that begin at a place."""
    found = BETWEEN.match(text, place)
    return place if found is None else found.end()


class _exact(float):  # noqa: N801 - stands for float
    """A fraction that remembers how it is written."""

    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made


def _parse(text: bytes, texts: Collection[str]) -> pa.Table:
    """The objects as Arrow, with every string as it is written: Arrow itself would read times, and lose their zones."""
    _check(text)
    types = dict.fromkeys(texts, pa.string())
    found = _read(text, types)
    timed = {field.name: _without_times(field.type) for field in found.schema if _has_times(field.type)}
    return _read(text, {**types, **timed}) if timed else found


def _read(text: bytes, types: Mapping[str, pa.DataType]) -> pa.Table:
    """The objects as Arrow tells them, in these types.

    Arrow (26) loses a null that begins the first list of a column, and so gives a list that is longer than its items,
    unless it knows the type of the column: then the objects are read again in the types that it told.
    """
    found = _arrow(text, pa.schema(list(types.items())) if types else None)
    try:
        found.validate(full=True)
    except pa.ArrowInvalid:
        again = _arrow(text, pa.schema([(each.name, settled(each.type)) for each in found.schema]))
        columns = [
            values if values.type == field.type else pa.chunked_array([pa.array(values.to_pylist(), field.type)])
            for values, field in zip(again.columns, found.schema, strict=True)
        ]
        return pa.Table.from_arrays(columns, schema=found.schema)
    return found


def _arrow(text: bytes, schema: pa.Schema | None) -> pa.Table:
    return pyarrow.json.read_json(
        io.BytesIO(text),
        read_options=pyarrow.json.ReadOptions(block_size=len(text)),  # types are told from all rows at once
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, newlines_in_values=False),
    )


def _has_times(found: pa.DataType) -> bool:
    return pa.types.is_timestamp(found) or any(_has_times(found.field(place).type) for place in range(found.num_fields))


def _without_times(found: pa.DataType) -> pa.DataType:
    """A type that Arrow told, with strings for times."""
    if pa.types.is_timestamp(found):
        return pa.string()
    if pa.types.is_list(found):
        return pa.list_(_without_times(found.value_type))
    if pa.types.is_struct(found):
        return pa.struct([(field.name, _without_times(field.type)) for field in found])
    return found


def _check(text: bytes) -> None:
    """Only objects stand beside each other: Arrow ends the process at some other values, such as `null`.

    Raises:
        pa.ArrowInvalid: something else does.
    """
    if not SUSPICIOUS.search(text):
        return
    try:
        if any(not isinstance(value, dict) for _, value in _values(text)):
            raise pa.ArrowInvalid("not an object")
    except _NoJsonError as error:
        raise pa.ArrowInvalid(str(error)) from None


class _NoJsonError(ValueError):
    """A line is no JSON.

    Attributes:
        line: its number.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _values(text: bytes, **numbers: Any) -> Iterator[tuple[int, object]]:
    """The values with their lines, on which several may stand.

    Raises:
        _NoJsonError: something else does.
    """
    decoder = json.JSONDecoder(**numbers)
    for line, written in enumerate(text.split(b"\n"), start=1):
        try:
            values = written.decode().rstrip()
            place = _past(values, 0)
            while place < len(values):
                value, end = decoder.raw_decode(values, place)
                yield line, value
                place = _past(values, end)
        except (ValueError, RecursionError) as error:
            raise _NoJsonError(line, str(error)) from None


def _objects(text: bytes, path: Path, **numbers: Any) -> Iterator[tuple[int, Row]]:
    """The objects with their lines.

    Raises:
        DataError: a line is none.
    """
    try:
        for line, value in _values(text, **numbers):
            if not isinstance(value, dict):
                raise DataError(
                    f"{path}:{line}: {type(value).__name__}, not an object.", hint="Write one object a line."
                )
            yield line, cast("Row", value)
    except _NoJsonError as error:
        raise DataError(f"{path}:{error.line}: not JSON: {error}.", hint="Write one object a line.") from None


def _lost(text: bytes, path: Path, declared: Collection[str]) -> dict[str, str]:
    """Columns with a number that no number type holds, each with such a number.

    Raises:
        DataError: such a number stands inside of an object or list.
    """
    found: dict[str, str] = {}
    fractions: set[str] = set()
    whole: dict[str, str] = {}  # beyond float64, though an int64 holds it
    for line, row in _objects(text, path, parse_int=_Number, parse_float=_Number):
        for name, value in row.items():
            if name in declared:
                continue
            if isinstance(value, _Number):
                if not _kept(value):
                    found.setdefault(name, value)
                elif not value.lstrip("-").isdigit():
                    fractions.add(name)
                elif not survives(value, float(value)):
                    whole.setdefault(name, value)
            elif (inner := next((each for each in _inside(value) if not _kept(each)), None)) is not None:
                raise DataError(
                    f"{path}:{line}: {inner} in column {name!r} has more digits than a number keeps.",
                    hint="Write it as text, in quotes.",
                )
    return {name: value for name, value in whole.items() if name in fractions} | found


def _kept(number: str) -> bool:
    if number.lstrip("-").isdigit():
        return -(2**63) <= int(number) < 2**63
    return survives(number, float(number))


def _inside(value: object) -> Iterator[_Number]:
    if isinstance(value, _Number):
        yield value
    elif isinstance(value, dict):
        for each in cast("Row", value).values():
            yield from _inside(each)
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _inside(each)


def _as_text(text: bytes, path: Path, columns: Collection[str]) -> bytes:
    """The same objects with the values of some columns as text: numbers as they are written, others as JSON.

    Raises:
        DataError: a text holds half of a surrogate pair, which is no character.
    """
    lines: list[bytes] = []
    for line, row in _objects(text, path, parse_float=_exact):
        lines.extend([b""] * (line - 1 - len(lines)))  # so that lines keep their numbers
        for name in columns & row.keys():
            if row[name] is not None and not isinstance(row[name], str):
                row[name] = _written(row[name])
        try:
            lines.append(_written(row).encode())
        except UnicodeEncodeError as error:
            half = error.object[error.start : error.end]
            raise DataError(
                f"{path}:{line}: {half!r} is half of a surrogate pair, which is no character.",
                hint="Correct the value: a character beyond U+FFFF is written as both halves.",
            ) from None
        except RecursionError as error:
            raise DataError(f"{path}:{line}: objects or lists stand too deep in each other: {error}.") from None
    return b"\n".join(lines)


def _written(value: object) -> str:
    """A value as JSON, its numbers as they were read."""
    if isinstance(value, _exact):
        return value.text
    if isinstance(value, dict):
        fields = cast("Row", value).items()
        return (
            "{" + ", ".join([f"{json.dumps(key, ensure_ascii=False)}: {_written(each)}" for key, each in fields]) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join([_written(each) for each in cast("list[object]", value)]) + "]"
    return json.dumps(value, ensure_ascii=False)


def _malformed(path: Path, text: bytes, said: str) -> NoReturn:
    for _ in _objects(text, path):
        pass
    if changed := re.search(r"Column\(/(.*)\) changed from (\w+) to (\w+)", said):
        name = changed[1]
        shown = name if name.isidentifier() else "column"
        raise DataError(
            f"{path}: column {name!r} is {changed[2]} in one row and {changed[3]} in another.",
            hint=f'Write all its values with one type, or read them as text: schema=hr.Schema({shown}="string").',
        )
    raise DataError(f"{path}: {said}.")
