"""Writes the files of an update into a project: all of them, also when it is interrupted.

First everything is written beside the files, into `.headrace/update`, which appears in one step; then each file is replaced. Whoever
comes after an interruption finds that folder and goes on.
"""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from headrace.core import failpoints
from headrace.core.errors import RefusedError
from headrace.scaffold.folder import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.core.ids import Json
    from headrace.scaffold.merge import MergedFile

PENDING = ".headrace/update"  # in the project: an update that is written and not yet in the files
LOCK = ".headrace/update.lock"
JOURNAL = "journal.json"
PART = ".headrace-part"  # the end of a file's name before it takes its place


def prepare(folder: Path, files: Sequence[MergedFile], report: Mapping[str, Json]) -> None:
    """Writes down what is to be done; nothing of it is in the project's files yet.

    Args:
        folder: of the project.
        files: what is written and removed.
        report: what `finish` returns.
    """
    pending = folder / PENDING
    for left in (pending, *pending.parent.glob(f"{pending.name}-*")):  # of a process that was killed: only one updates
        shutil.rmtree(left, ignore_errors=True)
    staged = pending.with_name(f"{pending.name}-{os.getpid()}")
    staged.mkdir()
    entries: list[dict[str, object]] = []
    for number, file in enumerate(files):
        if file.after is not None:
            _write(staged / str(number), file.after)
        entries.append({"path": file.path, "before": _digest(file.before), "after": _digest(file.after)})
    _write(staged / JOURNAL, json.dumps({"files": entries, "report": report}).encode())
    failpoints.reach("update.written:project")
    staged.rename(pending)
    failpoints.reach("update.prepared:project")


def is_pending(folder: Path) -> bool:
    """Whether an update was interrupted here."""
    return (folder / PENDING / JOURNAL).is_file()


def finish(folder: Path) -> dict[str, Any]:
    """Brings what `prepare` wrote into the files. What is there already is left as it is.

    Returns:
        The report.

    Raises:
        RefusedError: a file was changed since the update was interrupted; nothing is written.
    """
    pending = folder / PENDING
    told: dict[str, Any] = json.loads((pending / JOURNAL).read_bytes())
    there = {file["path"]: _digest(_content(folder / file["path"])) for file in told["files"]}
    changed = [file["path"] for file in told["files"] if there[file["path"]] not in (file["before"], file["after"])]
    if changed:
        raise RefusedError(
            "an update was interrupted here, and these files were changed since.",
            findings=changed,
            hint=f"Undo the changes, and this command goes on; or give the update up: git stash && rm -r {PENDING}",
        )
    for number, file in enumerate(told["files"]):
        if there[file["path"]] != file["after"]:
            _place(folder / file["path"], _content(pending / str(number)), program=file["path"] in PROGRAMS)
            failpoints.reach(f"update.placed:{file['path']}")
    (pending / JOURNAL).rename(pending / "done")
    shutil.rmtree(pending)
    return told["report"]


def _place(path: Path, content: bytes | None, *, program: bool) -> None:
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}{PART}")
    _write(part, content)
    mode = path.stat().st_mode if path.exists() else part.stat().st_mode | (0o700 if program else 0)
    part.chmod(mode)
    part.replace(path)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _digest(content: bytes | None) -> str | None:
    return None if content is None else sha256(content).hexdigest()
