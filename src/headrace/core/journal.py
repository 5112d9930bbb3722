"""A file of paid calls and their results: each is on disk before the next begins, whatever happens to the process."""

from __future__ import annotations

import json
import os
from threading import Lock
from typing import TYPE_CHECKING, cast

from headrace.core.errors import DataError, RefusedError
from headrace.core.failpoints import reach

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "calls.jsonl"


class Journal:
    """Results by key, in `calls.jsonl` of a folder: one line of JSON each, only ever appended.

    A line that was cut by the death of a process is removed when the journal is opened; what it was about is unknown then.
    One process writes at a time: the caller holds a lock of files. Several threads of that process may write.

    Args:
        folder: holds the file; is there.
        of: what the results depend on besides their keys; a journal of something else is not continued.

    Raises:
        RefusedError: the journal in the folder is of something else.
        DataError: a line of it, other than the last, cannot be read.
    """

    def __init__(self, folder: Path, of: str) -> None:
        self.file = folder / FILE
        self._results: dict[str, Mapping[str, object]] = {}
        self._writing = Lock()
        fresh = not self.file.exists()
        self._descriptor = os.open(
            self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            if fresh:
                _sync_folder(folder)
            self._read(of)
        except BaseException:
            self.close()
            raise

    def get(self, key: str) -> Mapping[str, object] | None:
        """The result of a call; None where it was not made, or died before its result was written."""
        return self._results.get(key)

    def put(self, key: str, result: Mapping[str, object]) -> None:
        """Writes a result; it is on disk when this returns."""
        with self._writing:
            self._append({"key": key, "result": dict(result)})
            self._results[key] = dict(result)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def _read(self, of: str) -> None:
        whole, end = self._entries(self.file.read_bytes().split(b"\n"))
        os.ftruncate(self._descriptor, end)
        if not whole:
            self._append({"of": of})
            return
        if whole[0].get("of") != of:
            raise RefusedError(
                f"{str(self.file)!r} is of other work, such as a tuning with other texts, examples or settings.",
                hint="Take another folder, or remove this one: the calls in it were paid for.",
            )
        for entry in whole[1:]:
            self._results[str(entry["key"])] = cast("Mapping[str, object]", entry["result"])

    def _entries(self, lines: list[bytes]) -> tuple[list[dict[str, object]], int]:
        """The entries of the file, and where the last whole one ends; what comes after the last line end is none."""
        entries: list[dict[str, object]] = []
        end = 0
        for number, line in enumerate(lines[:-1], start=1):
            try:
                entry = json.loads(line)
                _ = entry["of"] if number == 1 else (entry["key"], entry["result"])
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines) - 1 and not lines[-1]:
                    break
                raise DataError(
                    f"line {number} of {str(self.file)!r} cannot be read: {error}.",
                    hint="The file was changed by another program. Restore it, or take another folder.",
                ) from None
            entries.append(entry)
            end += len(line) + 1
        return entries, end

    def _append(self, entry: Mapping[str, object]) -> None:
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        reach("journal.append:before")
        while line:
            line = line[os.write(self._descriptor, line) :]
        os.fsync(self._descriptor)
        reach("journal.append:after")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
