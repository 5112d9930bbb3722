"""One raw file as Arrow batches: CSV, JSON lines or Parquet, plain or inside .gz or .zip.

Values come as they stand in the file: nothing is repaired here. What cannot be read is refused with file and line.
A CSV or JSON file is parsed whole in memory (types are told from all of its rows); Parquet streams.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import shutil
import tempfile
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NoReturn, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from headrace.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
PACKED = (".gz", ".zip")
POSSIBLE = ".csv, .jsonl, .parquet, each also as .gz or .zip"
BOMB_RATIO = 250  # text packs 5 to 20 times; deflate's limit, which only a trap reaches, is 1032
BOMB_BYTES = 256 * 2**20  # below this a high ratio does no harm


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read.

    Attributes:
        types: columns whose type is known beforehand; the others are told from the data.
        nulls: the texts that mean null in CSV, for text columns too. Quoted text is never null.
    """

    types: Mapping[str, pa.DataType]
    nulls: Sequence[str]


def content_digest(path: Path) -> str:
    """SHA-256 of the file as it lies there, packed or not."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def format_of(path: Path) -> str:
    """`csv`, `jsonl` or `parquet`, by the name.

    Raises:
        DataError: another ending.
    """
    name = path.name.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    found = [kind for ending, kind in FORMATS.items() if name.endswith(ending)]
    if not found and path.suffix.lower() == ".zip":
        found = [FORMATS[ending] for ending in FORMATS if _member(path).lower().endswith(ending)]
    if not found:
        raise DataError(f"{path}: the format cannot be told from the name.", hint=f"Headrace reads {POSSIBLE}.")
    return found[0]


@contextmanager
def read(path: Path, reading: Reading) -> Generator[pa.RecordBatchReader]:
    """The rows of a file.

    Raises:
        DataError: the format is not known; the file is damaged, empty or not UTF-8; a row has too few or too many
            fields; a value does not fit its known type; a column has no name or one that another has.
    """
    kind = format_of(path)
    with _unpacked(path, seekable=kind == "parquet") as stream:
        try:
            if kind == "parquet":
                reader = _parquet(stream)
            else:
                reader = _csv(stream, path, reading) if kind == "csv" else _jsonl(stream, path, reading)
            _check_names(path, reader.schema.names)
            yield reader
        except pa.ArrowInvalid as error:
            raise DataError(f"{path}: the file cannot be read as {kind}: {error}.") from error


# ---------------------------------------------------------------------------------------------- unpacking


class _Bounded(io.RawIOBase):
    """What is unpacked, as a stream that stops when it grows far beyond what data packs to."""

    def __init__(self, inner: BinaryIO, path: Path) -> None:
        self.inner, self.path = inner, path
        self.limit = max(path.stat().st_size * BOMB_RATIO, BOMB_BYTES)
        self.seen = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = self.inner.read(len(view))
        view[: len(data)] = data
        self.seen += len(data)
        if self.seen > self.limit:
            raise DataError(
                f"{self.path}: unpacks to more than {BOMB_RATIO} times its size, which data does not.",
                hint="If the file is sound, unpack it and declare the unpacked file.",
            )
        return len(data)


@contextmanager
def _unpacked(path: Path, *, seekable: bool) -> Generator[BinaryIO]:
    with ExitStack() as stack:
        ending = path.suffix.lower()
        try:
            if ending == ".gz":
                inner = stack.enter_context(gzip.open(path))
            elif ending == ".zip":
                archive = stack.enter_context(zipfile.ZipFile(path))
                inner = stack.enter_context(archive.open(_member(path)))
            else:
                yield stack.enter_context(path.open("rb"))
                return
            stream = cast("BinaryIO", io.BufferedReader(_Bounded(cast("BinaryIO", inner), path), 2**20))
            if seekable:
                spool = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(stream, spool, 2**20)
                spool.seek(0)
                stream = cast("BinaryIO", spool)
            yield stream
        except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError) as error:
            raise DataError(f"{path}: the file is damaged: {error}.") from error


def _member(path: Path) -> str:
    """The one file inside a zip; what macOS adds does not count."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: the file is damaged: {error}.") from error
    if len(names) != 1:
        raise DataError(f"{path}: holds {len(names)} files; a source reads one from each zip.", findings=names)
    return names[0]


# ---------------------------------------------------------------------------------------------- formats


def _csv(stream: BinaryIO, path: Path, reading: Reading) -> pa.RecordBatchReader:
    data = pa.py_buffer(stream.read())
    # Timestamps are told from the text and cast later: Arrow would insist on a zone, or on none, in each value.
    known = {name: each for name, each in reading.types.items() if not pa.types.is_timestamp(each)}
    try:
        table = _parse_csv(data, known, reading.nulls)
        if times := [field.name for field in table.schema if pa.types.is_time(field.type)]:
            table = _parse_csv(
                data, known | dict.fromkeys(times, pa.string()), reading.nulls
            )  # as written: Delta has no time of day
    except pa.ArrowInvalid:
        _malformed_csv(path, data, known, reading.nulls)
    _check_names(path, table.column_names)
    if odd := [field.name for field in table.schema if pa.types.is_binary(field.type)]:
        raise DataError(
            f"{path}: column {odd[0]!r} is not UTF-8 text.",
            hint="Convert the file, for example: iconv -f latin1 -t utf8.",
        )
    return table.to_reader()


def _parse_csv(
    data: pa.Buffer, types: Mapping[str, pa.DataType], nulls: Sequence[str], *, threads: bool = True
) -> pa.Table:
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(use_threads=threads),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict(types),
            null_values=list(nulls),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _malformed_csv(path: Path, data: pa.Buffer, types: Mapping[str, pa.DataType], nulls: Sequence[str]) -> NoReturn:
    """Reads again in one thread, where Arrow counts rows, to say which line is at fault."""
    try:
        _parse_csv(data, types, nulls, threads=False)
    except pa.ArrowInvalid as error:
        said = str(error)
    else:
        raise DataError(f"{path}: the file cannot be read as CSV.")
    if "Empty CSV" in said:
        raise DataError(f"{path}: the file is empty; a CSV file begins with the names of its columns.")
    row = re.search(r"Row #(\d+)", said)
    text = io.TextIOWrapper(io.BytesIO(data.to_pybytes()), encoding="utf-8-sig", errors="replace", newline="")
    rows = csv.reader(text)
    header = next(rows, [])
    place = f"{path}:{_line_of(rows, int(row[1]))}" if row else str(path)
    if column := re.search(r"In CSV column #(\d+).*conversion error to ([^:]+): (.*)", said, re.DOTALL):
        name = header[int(column[1])] if int(column[1]) < len(header) else column[1]
        raise DataError(
            f"{place}: column {name!r} is declared as {column[2]}: {column[3]}.",
            hint="Correct the value, add its text to nulls=, or declare schema=hr.Schema("
            f'{name if name.isidentifier() else "column"}="string").',
        )
    said = re.sub(r"^CSV parse error: (Row #\d+: )?", "", said)
    raise DataError(f"{place}: {said}", hint="Nothing was loaded.")


def _line_of(rows: Iterator[list[str]], number: int) -> int:
    """The line where the row of that number (the header is 1, blank lines do not count) begins."""
    line = cast("int", rows.line_num)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    seen = 1
    try:
        for row in rows:
            seen += bool(row)
            if seen == number:
                return line + 1
            line = cast("int", rows.line_num)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    except csv.Error:
        pass  # Python's reader stops at other faults than Arrow's; the last line it reached is near enough
    return line + 1


def _jsonl(stream: BinaryIO, path: Path, reading: Reading) -> pa.RecordBatchReader:
    data = stream.read()
    if not data.strip():
        return pa.schema([]).empty_table().to_reader()
    known = {name: each for name, each in reading.types.items() if not pa.types.is_timestamp(each)}
    try:
        table = pyarrow.json.read_json(
            io.BytesIO(data),
            read_options=pyarrow.json.ReadOptions(block_size=max(len(data), 1)),  # types are told from all rows at once
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema(list(known.items())) if known else None, newlines_in_values=False
            ),
        )
    except pa.ArrowInvalid as error:
        _malformed_jsonl(path, data, str(error))
    return _with_zones(table, data).to_reader()


def _with_zones(table: pa.Table, data: bytes) -> pa.Table:
    """Arrow reads `2024-01-01T05:00:00Z` in JSON as a time without a zone; it is an instant."""
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            values = (json.loads(line).get(field.name) for line in data.splitlines() if line.strip())
            if str(next((value for value in values if value), "")).endswith("Z"):
                instants = table.column(place).cast(pa.timestamp("us", "UTC"))
                table = table.set_column(place, field.name, instants)
    return table


def _malformed_jsonl(path: Path, data: bytes, said: str) -> NoReturn:
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            value = json.loads(line) if line.strip() else {}
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON: {error}.", hint="Write one object a line.") from None
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: {type(value).__name__}, not an object.", hint="Write one object a line.")
    changed = re.search(r"Column\(/(.*)\) changed from (\w+) to (\w+)", said)
    if changed:
        raise DataError(
            f"{path}: column {changed[1]!r} is {changed[2]} in one row and {changed[3]} in another.",
            hint="Write all its values with one type.",
        )
    raise DataError(f"{path}: {said}.")


def _parquet(stream: BinaryIO) -> pa.RecordBatchReader:
    file = pyarrow.parquet.ParquetFile(stream)
    return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(batch_size=65_536))


def _check_names(path: Path, names: Sequence[str]) -> None:
    if not all(name.strip() for name in names):
        raise DataError(f"{path}: column {names.index(next(n for n in names if not n.strip())) + 1} has no name.")
    lower = [name.lower() for name in names]
    if twice := sorted({name for name in names if lower.count(name.lower()) > 1}):
        raise DataError(
            f"{path}: column {twice[0]!r} is there twice.", hint="Names differ by more than the case of their letters."
        )
