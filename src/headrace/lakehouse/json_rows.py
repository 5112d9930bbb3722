"""JSON as Arrow: an object a line, or one array of objects. Numbers that no number type holds stay as they are written."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pyarrow as pa
import pyarrow.json

from headrace.core.errors import DataError
from headrace.lakehouse.columns import settled
from headrace.lakehouse.reading import Guess, as_utf8, left_out
from headrace.lakehouse.spelling import survives

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path
    from typing import Self

    from headrace.lakehouse.reading import Reading

LONG = re.compile(rb"[0-9](?:[.]?[0-9]){15,}|[eE][+-]?[0-9]{3,}")  # a number that a float64 may not hold
SUSPICIOUS = re.compile(rb"\A\s*[^\s{]|\n\s*[^\s{]|\}\s*[^\s,\]}{]")  # a value that may stand outside of an object
BETWEEN = re.compile(r"[ \t\r\n]*")
HINT = "Write an array of objects, or one object a line."
Row = dict[str, Any]


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def table(data: bytes, path: Path, reading: Reading) -> tuple[pa.Table, tuple[Guess, ...]]:
    """The rows of a JSON file, and what was guessed.

    An empty object is null, for nothing tells its fields. A column that is declared as text takes values of every kind.

    Raises:
        DataError: it is not JSON, or a value is no object; a column changes its type; a number inside of an object or list
            has more digits than a number type holds.
    """
    text = as_utf8(data, path, reading)
    if not text.strip():
        return pa.table({}), (left_out(path),)
    if text.lstrip().startswith(b"["):
        text = b"\n".join(_items(text, path))
        if not text:
            return pa.table({}), ()
    known = {name: each for name, each in reading.types.items() if not pa.types.is_timestamp(each)}
    texts = {name for name, each in known.items() if pa.types.is_string(each)}
    lost = _lost(text, path, set(known) - texts) if LONG.search(text) else {}
    if lost:
        text = _as_text(text, path, {*lost, *texts})
    try:
        found = _parse(text, known)
    except pa.ArrowInvalid as error:
        if not texts:
            _malformed(path, text, str(error))
        try:
            text = _as_text(text, path, texts)
            found = _parse(text, known)
        except pa.ArrowInvalid as still:
            _malformed(path, text, str(still))
    guesses = tuple(_guess(name, example) for name, example in lost.items() if name not in texts)
    return _with_zones(found, text), guesses


def _guess(name: str, example: str) -> Guess:
    shown = name if name.isidentifier() else "column"
    return Guess(
        about=f"text {name}",
        says=f"{name} is text, for {example} has more digits than a number keeps",
        fix=f'schema=hr.Schema({shown}="string") says so',
        column=name,
    )


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
    """A fraction that is written as it was read."""

    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __repr__(self) -> str:
        return self.text


def _parse(text: bytes, known: Mapping[str, pa.DataType]) -> pa.Table:
    _check(text)
    return _read(text, known)


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


def _check(text: bytes) -> None:
    """Only objects stand beside each other: Arrow ends the process at some other values, such as `null`.

    Raises:
        pa.ArrowInvalid: something else does.
    """
    if not SUSPICIOUS.search(text):
        return
    for line in text.split(b"\n"):
        try:
            value = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError) as error:
            raise pa.ArrowInvalid(str(error)) from None
        if not isinstance(value, dict):
            raise pa.ArrowInvalid("not an object")


def _objects(text: bytes, path: Path, **numbers: Any) -> Iterator[tuple[int, Row]]:
    """The objects with their lines.

    Raises:
        DataError: a line is none.
    """
    for line, written in enumerate(text.split(b"\n"), start=1):
        if not written.strip():
            continue
        try:
            value = json.loads(written, **numbers)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{line}: not JSON: {error}.", hint="Write one object a line.") from None
        if not isinstance(value, dict):
            raise DataError(f"{path}:{line}: {type(value).__name__}, not an object.", hint="Write one object a line.")
        yield line, cast("Row", value)


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
    """The same objects with the values of some columns as text, as they are written."""
    lines: list[bytes] = []
    for _, row in _objects(text, path, parse_float=_exact):
        for name in columns & row.keys():
            value = row[name]
            if value is not None and not isinstance(value, str):
                row[name] = repr(value) if isinstance(value, _exact) else json.dumps(value, ensure_ascii=False)
        lines.append(json.dumps(row, ensure_ascii=False).encode("utf-8", errors="surrogatepass"))
    return b"\n".join(lines)


def _with_zones(found: pa.Table, text: bytes) -> pa.Table:
    """Arrow reads `2024-01-01T05:00:00Z` in JSON as a time without a zone; it is an instant."""
    for place, field in enumerate(found.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            values = (json.loads(line).get(field.name) for line in text.split(b"\n") if line.strip())
            if str(next((value for value in values if value), "")).endswith("Z"):
                instants = found.column(place).cast(pa.timestamp("us", "UTC"))
                found = found.set_column(place, field.name, instants)
    return found


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
