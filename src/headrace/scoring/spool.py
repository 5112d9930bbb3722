"""The inference log before it reaches the lakehouse: append-only segments on local disk, one writer a segment.

    <host>-<pid>-<start>-<number>.open      being written; its writer holds a lock on it
    <host>-<pid>-<start>-<number>.sealed    whole; nobody writes it any more

A record is a frame: its length, the CRC-32 of its bytes, its bytes. `append` returns when the operating system has the
frame, so it survives the death of the process at any moment; with `fsync` it survives the loss of power too. A segment
whose writer died is adopted by whoever gets its lock, and a frame that was cut off at its end is left out.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from headrace.core.errors import HeadraceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

OPEN, SEALED = ".open", ".sealed"
HEAD = struct.Struct("<II")  # length and CRC-32 of what follows
MAX_BYTES = 8 * 2**20
MAX_AGE = 1.0  # seconds
LARGEST = 2**31


class SpoolFullError(HeadraceError):
    """The disk, or the space that was set aside, cannot take a record. Nothing of it was kept."""


class Spool:
    """Writes records. Safe to be used by several threads; each process has a spool of its own on the same folder.

    Args:
        folder: of the segments; made where there is none.
        max_bytes: a segment is sealed when it is larger.
        max_age: seconds after which a segment with records is sealed, at the next `append` or `tick`.
        fsync: wait for the disk at each append.
        limit_bytes: refuse records when all segments of the folder together are larger; None for no limit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = MAX_BYTES,
        max_age: float = MAX_AGE,
        fsync: bool = False,
        limit_bytes: int | None = None,
    ) -> None:
        self.folder, self.fsync = folder, fsync
        self.max_bytes, self.max_age, self.limit_bytes = max_bytes, max_age, limit_bytes
        self._lock = Lock()
        self._name = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"
        self._number = 0
        self._file: int | None = None
        self._path = folder
        self._size, self._began, self._others = 0, 0.0, 0

    def append(self, record: bytes) -> None:
        """Keeps a record.

        Raises:
            SpoolFullError: the disk is full, the limit is reached, or the folder cannot be written.
        """
        frame = HEAD.pack(len(record), zlib.crc32(record)) + record
        with self._lock:
            self._seal_if(due=self._due())
            if self._file is None:
                self._open()
            if self.limit_bytes is not None and self._others + self._size + len(frame) > self.limit_bytes:
                raise SpoolFullError(f"the inference log holds {self.limit_bytes:,} bytes, as much as it may.")
            self._write(frame)
            self._seal_if(due=self._size >= self.max_bytes)

    def tick(self) -> None:
        """Seals a segment that has waited long enough. To be called now and then when no record comes."""
        with self._lock:
            self._seal_if(due=self._due())

    def close(self) -> None:
        """Seals what there is."""
        with self._lock:
            self._seal_if(due=True)

    def _due(self) -> bool:
        return self._size > 0 and time.monotonic() - self._began >= self.max_age

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                self._number += 1
                path = self.folder / f"{self._name}-{self._number:08d}{OPEN}"
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists():  # not taken for an orphan between the two calls
                    break
                os.close(file)
        except OSError as error:
            raise SpoolFullError(
                f"the inference log in {str(self.folder)!r} cannot be written: {error.strerror}."
            ) from error
        self._file, self._path, self._size, self._began = file, path, 0, time.monotonic()
        self._others = sum(each.stat().st_size for each in _segments(self.folder) if each != path)

    def _write(self, frame: bytes) -> None:
        assert self._file is not None
        try:
            written = os.write(self._file, frame)
            if self.fsync:
                os.fdatasync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise SpoolFullError(
                f"the inference log in {str(self.folder)!r} cannot be written: {error.strerror}."
            ) from error
        if written < len(frame):
            os.ftruncate(self._file, self._size)
            raise SpoolFullError(
                f"the inference log in {str(self.folder)!r} is full: {written} of {len(frame)} bytes went in."
            )
        if self._size == 0:
            self._began = time.monotonic()
        self._size += written

    def _seal_if(self, *, due: bool) -> None:
        if not due or self._file is None:
            return
        if self._size:
            self._path.rename(self._path.with_suffix(SEALED))
        else:
            self._path.unlink(missing_ok=True)
        os.close(self._file)  # and with it the lock
        self._file, self._size = None, 0


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A segment that nobody writes, held by this process while it is in `taken`."""

    path: Path

    @property
    def name(self) -> str:
        """The same before and after it is sealed."""
        return self.path.stem

    def records(self) -> Iterator[bytes]:
        """The records in order; what was cut off at the end is left out."""
        data = self.path.read_bytes()
        place = 0
        while place + HEAD.size <= len(data):
            length, crc = HEAD.unpack_from(data, place)
            record = data[place + HEAD.size : place + HEAD.size + length]
            if len(record) < length or zlib.crc32(record) != crc:
                return
            yield record
            place += HEAD.size + length

    def delete(self) -> None:
        """To be called when the records are elsewhere."""
        self.path.unlink()


@contextmanager
def taken(folder: Path) -> Generator[Iterator[Segment]]:
    """The segments of a folder that nobody writes and nobody else has taken, each locked until the end."""
    files: list[int] = []
    try:
        yield _take(folder, files)
    finally:
        for file in files:
            os.close(file)


def _take(folder: Path, files: list[int]) -> Iterator[Segment]:
    for path in sorted(_segments(folder)):
        with suppress(FileNotFoundError, BlockingIOError):  # deleted, sealed or written by somebody else
            file = os.open(path, os.O_RDONLY)
            files.append(file)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file).st_ino:
                yield Segment(path=path)


def _segments(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in (OPEN, SEALED)] if folder.is_dir() else []
