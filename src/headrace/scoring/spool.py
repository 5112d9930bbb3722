"""The spool of the inference log: records that are stored on this machine before an answer is sent, until they are ingested.

Each process appends to a segment of its own, `<pid>-<start>-<nnnnnn>.open`, and holds an flock on it for as long. A
segment that is old or large enough is sealed: renamed to `.sealed`, and never written again. The lock of a process that
died is free, so another process may take it and seal the segment.

A segment is a header, then frames: the record's length, the CRC-32 of the length, the CRC-32 of the record
(little-endian, four bytes each), and the record. A killed process leaves at most the beginning of one last frame, whose
record was never acknowledged; it is cut off. The checksum of the length distinguishes this end from a damaged frame,
after which there may be more frames. Anything else that is not a valid frame is damage, and is returned separately.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakSet

from headrace.core.errors import HeadraceError
from headrace.core.failpoints import reach
from headrace.core.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

OPEN, SEALED = ".open", ".sealed"
MARK = b"HRSPOOL1"
HEAD = struct.Struct("<III")
LENGTH = struct.Struct("<I")
LONGEST = 2**31  # bytes of one record
NO_FRAME = b"\xff"  # the beginning of none: what is left of it after a death is a torn end
RECOUNT = 0.1  # seconds between two looks at a full folder

_spools: WeakSet[Spool] = WeakSet()


class SpoolFullError(HeadraceError):
    """The spool cannot take a record: the disk is full or broken, or the spool has reached its limit. It was not kept."""


class TooLargeError(SpoolFullError):
    """Records are larger than all that the spool may have: they never fit."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a segment holds.

    Attributes:
        records: the whole ones, in the order in which they were appended.
        torn: bytes of a last one that was never finished.
        damaged: what else there is: frames that a disk lost or changed.
    """

    records: tuple[bytes, ...]
    torn: int
    damaged: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A sealed segment. Its name is never given again, on no host."""

    path: Path

    @property
    def name(self) -> str:
        """What identifies it."""
        return self.path.stem

    def size(self) -> int:
        """Bytes; none where it is gone."""
        return _size(self.path)

    def contents(self) -> Contents:
        """All that is in it."""
        return unframe(self.path.read_bytes())

    def records(self) -> Iterator[bytes]:
        """The whole records, in the order in which they were appended."""
        yield from self.contents().records

    def delete(self) -> None:
        """Removes it; without effect where that has been done."""
        self.path.unlink(missing_ok=True)

    @contextmanager
    def claimed(self) -> Generator[bool]:
        """Whether it is ours alone until the end of the block: False while another has it, or when it is gone."""
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)  # NFS locks only what may be written
        except FileNotFoundError:
            yield False
            return
        try:
            yield _lock(file) and _is(file, self.path)
        finally:
            os.close(file)


class Spool:
    """Appends records to this process's segment.

    May be used by several threads, and before and after a fork: the child begins a segment of its own. A segment is
    sealed by the first `append` or `tick` after it is due and by `close`; a server calls `tick` about once a second, so
    that the last records before a quiet hour do not wait for the next one.

    A record is safe from the death of the process when `append` returns, and from loss of power with `fsync`.

    Args:
        folder: of the spool, made when needed. It may be shared by processes.
        max_bytes: a segment that would grow beyond this is sealed. A longer record has a segment of its own.
        max_age: seconds after its first record when a segment is due.
        fsync: waits until the disk has each record.
        limit_bytes: of all segments in the folder; None for no limit. Processes that append at the same time learn of
            each other's bytes when they begin a segment, and may exceed it by what they wrote meanwhile.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 8 * 2**20,
        max_age: float = 1.0,
        fsync: bool = False,
        limit_bytes: int | None = None,
    ) -> None:
        self.folder = folder
        self.max_bytes, self.max_age, self.fsync, self.limit_bytes = max_bytes, max_age, fsync, limit_bytes
        self._lock = Lock()
        self._file: int | None = None
        self._path = folder
        self._size = 0
        self._begun = 0.0  # when the segment's first record came
        self._number = 0
        self._refused = 1  # bytes that were not taken the last time
        self._others = 0  # bytes of all other segments in the folder, when last counted
        self._counted = 0.0
        _spools.add(self)

    def append(self, *records: bytes) -> None:
        """Takes records, in one write. Where it raises, none of them is in the spool, and those before them are.

        Raises:
            SpoolFullError: the disk has no room or failed, or `limit_bytes` are used.
            TooLargeError: they are more than `limit_bytes` themselves.
            ValueError: a record of 2 GiB or more.
        """
        for record in records:
            if len(record) >= LONGEST:
                raise ValueError(f"a record of {len(record):,} bytes; the longest is {LONGEST - 1:,}.")
        frames = b"".join([part for record in records for part in _frame(record)])
        if self.limit_bytes is not None and len(MARK) + len(frames) > self.limit_bytes:
            raise TooLargeError(
                f"records of {len(frames):,} bytes: the inference log may have {self.limit_bytes:,} in all.",
                hint="hr.Serve(max_log=…) is how many; or ask for fewer rows at a time.",
            )
        with self._lock:
            try:
                if self._is_due(len(frames)):
                    self._seal()
                if self._file is None:
                    self._begin()
                self._check_limit(len(frames))
                self._write(frames)
            except OSError as error:
                self._refused = len(frames)
                raise self._full(f"{error.strerror or error}") from error
            except SpoolFullError:
                self._refused = len(frames)
                raise

    def check(self) -> None:
        """Writes as much as was refused the last time, and takes it back.

        Raises:
            SpoolFullError: it would not be taken.
        """
        with self._lock:
            try:
                if self._is_due(self._refused):
                    self._seal()
                if self._file is None:
                    self._begin()
                self._check_limit(self._refused)
                self._write(NO_FRAME * self._refused)
                self._size -= self._refused
                self._cut()
            except OSError as error:
                raise self._full(f"{error.strerror or error}") from error

    def tick(self) -> None:
        """Seals the segment if it is old enough.

        Raises:
            SpoolFullError: it cannot be renamed. It stays open; its records are safe, and trying again is too.
        """
        with self._lock:
            if self._is_due(0):
                self._close()

    def close(self) -> None:
        """Seals the segment. The spool may be used again: it then begins another.

        Raises:
            SpoolFullError: as `tick`.
        """
        with self._lock:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ the segment

    def _is_due(self, more: int) -> bool:
        if self._file is None or self._size == len(MARK):
            return False
        return self._size + more > self.max_bytes or time.monotonic() - self._begun >= self.max_age

    def _begin(self) -> None:
        """Makes a segment that is locked from before anybody could take it for a dead process's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        while self._file is None:
            self._number += 1
            path = self.folder / f"{os.getpid()}-{new_id()}-{self._number:06d}{OPEN}"
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                # between these two somebody may have adopted the file, empty as it is: then it is left to them
                if _lock(file) and _is(file, path):
                    reach("spool.begun")
                    _write_all(file, MARK)
                    if self.fsync:
                        _sync_folder(self.folder)
                    self._file, self._path, self._size = file, path, len(MARK)
            except OSError:
                path.unlink(missing_ok=True)
                raise
            finally:
                if self._file is None:
                    os.close(file)
        self._count()

    def _write(self, frames: bytes) -> None:
        """Writes frames whole, or cuts off again what of them was written."""
        assert self._file is not None
        if self._size == len(MARK):
            self._begun = time.monotonic()
        try:
            _write_all(self._file, frames)
            if self.fsync:
                os.fdatasync(self._file)
            self._size += len(frames)
        except BaseException:  # also what a signal's handler raises between two writes
            self._cut()
            raise

    def _cut(self) -> None:
        """Takes the segment back to its last whole frame. One that cannot be cut gets no more frames: its end is torn."""
        assert self._file is not None
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._release()  # whoever ingests will adopt it

    def _close(self) -> None:
        try:
            self._seal()
        except OSError as error:
            raise self._full(f"{error.strerror or error}") from error

    def _seal(self) -> None:
        if self._file is None:
            return
        if self._size == len(MARK):
            self._path.unlink(missing_ok=True)
            self._release()
            return
        try:
            self._path.rename(self._path.with_suffix(SEALED))
        except FileNotFoundError:  # somebody removed it with all that was in it: no use in trying again
            self._release()
            raise
        reach("spool.sealed")
        if self.fsync:
            with suppress(OSError):  # the disk has the records; after a loss of power the old name may be back
                _sync_folder(self.folder)
        self._release()

    def _release(self) -> None:
        """Closes the file, and gives up its lock."""
        file, self._file = self._file, None
        assert file is not None
        os.close(file)

    # ------------------------------------------------------------------------------------------ the limit

    def _check_limit(self, more: int) -> None:
        if self.limit_bytes is None or self._others + self._size + more <= self.limit_bytes:
            return
        if time.monotonic() - self._counted >= RECOUNT:
            self._count()
        used = self._others + self._size
        if used + more > self.limit_bytes:
            raise self._full(f"its segments have {used:,} of {self.limit_bytes:,} bytes")

    def _count(self) -> None:
        if self.limit_bytes is not None:
            self._counted = time.monotonic()
            self._others = sum(_size(path) for path in _files(self.folder, OPEN, SEALED) if path != self._path)

    def _full(self, reason: str) -> SpoolFullError:
        return SpoolFullError(
            f"the inference log in {str(self.folder)!r} cannot be written: {reason}.",
            hint="Make room on the disk, and see that the log is ingested.",
        )

    # ------------------------------------------------------------------------------------------ forks

    def forget(self) -> None:
        """In a child process: leaves the segment to the parent. (Unlocking it here would unlock it there.)"""
        self._lock = Lock()  # a thread that is not here any more may have held the old one
        if self._file is not None:
            self._release()


def segments(folder: Path) -> list[Segment]:
    """The sealed segments of a spool, the oldest first, after those of processes that died were sealed too."""
    for path in _files(folder, OPEN):
        _adopt(path)
    return [Segment(path=path) for path in sorted(_files(folder, SEALED), key=_order)]


def framed(record: bytes) -> bytes:
    """A record as it stands in a segment."""
    return b"".join(_frame(record))


def unframe(data: bytes) -> Contents:
    """The contents of a segment's bytes."""
    if not data.startswith(MARK):
        torn = MARK.startswith(data)
        return Contents(records=(), torn=len(data) if torn else 0, damaged=() if torn else (data,))
    records: list[bytes] = []
    damaged: list[bytes] = []
    torn, place = 0, len(MARK)
    while place < len(data):
        start = place + HEAD.size
        if start > len(data):
            torn = len(data) - place
            break
        length, check, expected = HEAD.unpack_from(data, place)
        if check != _check(length):  # where the next frame begins is not known any more
            damaged.append(data[place:])
            break
        if start + length > len(data):
            torn = len(data) - place
            break
        record = data[start : start + length]
        if zlib.crc32(record) == expected:
            records.append(record)
        else:
            damaged.append(record)
        place = start + length
    return Contents(records=tuple(records), torn=torn, damaged=tuple(damaged))


def _frame(record: bytes) -> tuple[bytes, bytes]:
    return HEAD.pack(len(record), _check(len(record)), zlib.crc32(record)), record


def _check(length: int) -> int:
    return zlib.crc32(LENGTH.pack(length))


def _adopt(path: Path) -> None:
    """Seals an open segment if its process is gone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if _lock(file) and _is(file, path):
            path.rename(path.with_suffix(SEALED))
    finally:
        os.close(file)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(file: int, path: Path) -> bool:
    """Whether an open file is still the one of this name: it may have been renamed before it could be locked."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _files(folder: Path, *endings: str) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix in endings]
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # ingested meanwhile
        return 0


def _order(path: Path) -> tuple[str, str, str]:
    """By the millisecond of its beginning, then by its number in the process."""
    start, _, number = path.stem.partition("-")[2].partition("-")
    return start[:12], number, path.stem


def _after_fork() -> None:
    for spool in list(_spools):
        spool.forget()


os.register_at_fork(after_in_child=_after_fork)
