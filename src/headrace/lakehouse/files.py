"""One raw file as Arrow batches: CSV, JSON or Parquet, plain or inside .gz, .zst or .zip.

Every file of a user is read here, so that a value is the same on every path. Values are read as they are in the file:
nothing is repaired. A file that cannot be read is refused with file and line. A CSV or JSON file is parsed whole in
memory (types are detected from all of its rows); Parquet is streamed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tempfile
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet

from headrace.core.errors import DataError
from headrace.lakehouse import delimited, json_rows
from headrace.lakehouse.reading import Guess, Reading, check_names

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
}
PACKED = (".gz", ".zst", ".zip")
ENDINGS = (*FORMATS, *PACKED)
POSSIBLE = ".csv, .tsv, .jsonl, .json, .parquet, each also as .gz, .zst or .zip"
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)  # by packing
BOMB_RATIO = 250  # text packs 5 to 20 times; deflate's limit, which only a trap reaches, is 1032
BOMB_BYTES = 256 * 2**20  # below this a high ratio does no harm


@dataclass(frozen=True, kw_only=True)
class FileContent:
    """What a file holds.

    Attributes:
        batches: its rows.
        guesses: what the file does not say and the reader decided.
    """

    batches: pa.RecordBatchReader
    guesses: tuple[Guess, ...] = ()


def content_digest(path: Path) -> str:
    """SHA-256 of the file as it lies there, packed or not."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def format_of(path: Path) -> str:
    """`csv`, `json` or `parquet`, by the name.

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
def read(path: Path, reading: Reading) -> Generator[FileContent]:
    """The rows of a file. An empty text file has no rows and no columns.

    Raises:
        DataError: the format is not known; the file is damaged, or not text in its encoding; a row has too few or too many
            fields; a value does not fit its declared type; a column has no name or one that another has.
    """
    kind = format_of(path)
    with _unpacked(path, seekable=kind == "parquet") as stream:
        try:
            if kind == "parquet":
                content = FileContent(batches=_parquet(stream, path))
            else:
                of = delimited if kind == "csv" else json_rows
                table, guesses = of.table(stream.read(), path, reading)
                content = FileContent(batches=table.to_reader(), guesses=guesses)
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise _unreadable(path, kind, error) from None
        check_names(path, content.batches.schema.names)
        yield content


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
        try:
            data = self.inner.read(len(view))
        except DAMAGED as error:
            raise DataError(f"{self.path}: the file is damaged: {error}.") from error
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
        inner = _opened(path, stack)
        if path.suffix.lower() not in PACKED:
            yield inner
            return
        stream = cast("BinaryIO", io.BufferedReader(_Bounded(inner, path), 2**20))
        if seekable:
            spool = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(stream, spool, 2**20)
            spool.seek(0)
            stream = cast("BinaryIO", spool)
        yield stream


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    """The file, or what is packed in it."""
    try:
        match path.suffix.lower():
            case ".gz":
                return cast("BinaryIO", stack.enter_context(gzip.open(path)))
            case ".zst":
                packed = stack.enter_context(pa.OSFile(str(path)))
                return cast("BinaryIO", stack.enter_context(pa.CompressedInputStream(packed, "zstd")))
            case ".zip":
                archive = stack.enter_context(zipfile.ZipFile(path))
                return cast("BinaryIO", stack.enter_context(archive.open(_member(path))))
            case _:
                return stack.enter_context(path.open("rb"))
    except DAMAGED as error:
        raise DataError(f"{path}: the file cannot be opened: {error}.") from error


def _member(path: Path) -> str:
    """The one file inside a zip; what macOS adds does not count."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    except (*DAMAGED, UnicodeError, ValueError) as error:
        raise DataError(f"{path}: the file is damaged: {error}.") from error
    if len(names) != 1:
        raise DataError(f"{path}: holds {len(names)} files; a source reads one from each zip.", findings=names)
    return names[0]


# ---------------------------------------------------------------------------------------------- Parquet


def _parquet(stream: BinaryIO, path: Path) -> pa.RecordBatchReader:
    file = pyarrow.parquet.ParquetFile(stream)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in file.iter_batches(batch_size=65_536):
                batch.validate(full=True)  # Arrow takes text for UTF-8 unseen, and a table would have it for ever
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, "parquet", error) from None

    return pa.RecordBatchReader.from_batches(file.schema_arrow, batches())


def _unreadable(path: Path, kind: str, error: Exception) -> DataError:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return DataError(f"{path}: the file cannot be read as {kind}: {said[0].rstrip('.')}.")
