"""Three-way merges: what the templates made once, what the project has now, and what the templates make today."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headrace.environments import git

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

Result = Literal["added", "updated", "merged", "removed", "left out", "conflict"]


@dataclass(frozen=True, kw_only=True)
class MergedFile:
    """What an update does to a file.

    Attributes:
        path: in the project.
        result: `added`, `updated` where the project had not changed it, `merged` where it had, `removed`; `left out` where
            nothing is done because the project has deleted it; `conflict`.
        reason: why it is a conflict or left out; else empty.
        before: its content; None where it is not there.
        after: its content afterwards; None where it is not there then.
    """

    path: str
    result: Result
    reason: str = ""
    before: bytes | None = None
    after: bytes | None = None

    @property
    def writes(self) -> bool:
        """Whether something is written or removed."""
        return self.before != self.after


def merge_files(
    folder: Path,
    base: Mapping[str, str],
    theirs: Mapping[str, str],
    *,
    tracked: Container[str],
    names: tuple[str, str],
) -> list[MergedFile]:
    """What becomes of each file that the templates make otherwise than before. Nothing is written.

    Args:
        folder: of the project.
        base: path → text, as the templates made it.
        theirs: path → text, as the templates make it now.
        tracked: the paths that git has: others could not be restored, and are left alone.
        names: of base and theirs in the markers of a conflict.
    """
    merged: list[MergedFile] = []
    for path in sorted({*base, *theirs}):
        old, new = (each[path].encode() if path in each else None for each in (base, theirs))
        if old != new and (found := _merge(folder, path, (old, new), tracked, names)) is not None:
            merged.append(found)
    return merged


def _merge(
    folder: Path,
    path: str,
    made: tuple[bytes | None, bytes | None],
    tracked: Container[str],
    names: tuple[str, str],
) -> MergedFile | None:
    old, new = made
    if reason := _in_the_way(folder, path, tracked):
        return None if new is None else MergedFile(path=path, result="conflict", reason=reason)
    ours = (folder / path).read_bytes() if (folder / path).exists() else None
    if ours == new:
        return None
    if ours is None:
        if old is None:
            return MergedFile(path=path, result="added", after=new)
        return MergedFile(path=path, result="left out", reason="it was deleted here")
    if ours == old:
        return MergedFile(path=path, result="removed" if new is None else "updated", before=ours, after=new)
    if new is None:
        reason = "it was changed here, and the template does not have it any more"
        return MergedFile(path=path, result="conflict", reason=reason, before=ours, after=ours)
    return _three_ways(path, ours, old or b"", new, names)


def _in_the_way(folder: Path, path: str, tracked: Container[str]) -> str:
    """Why a file cannot be written there; empty where it can."""
    for parent in reversed(Path(path).parents[:-1]):
        if (folder / parent).is_symlink() or ((folder / parent).exists() and not (folder / parent).is_dir()):
            return f"{parent} is no folder"
    place = folder / path
    if place.is_symlink() or (place.exists() and not place.is_file()):
        return "it is no plain file"
    if place.exists() and path not in tracked:
        return "it is not in git, so what it has could not be restored"
    return ""


def _three_ways(path: str, ours: bytes, old: bytes, new: bytes, names: tuple[str, str]) -> MergedFile:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        for name, content in (("ours", ours), ("base", old), ("theirs", new)):
            (place / name).write_bytes(content)
        merged = git.merge_file(place, "ours", "base", "theirs", names=("yours", *names))
    if merged is None:
        reason = "it is no text"
        return MergedFile(path=path, result="conflict", reason=reason, before=ours, after=ours)
    text, conflicts = merged
    reason = f"{conflicts} place{'s' if conflicts > 1 else ''} with markers" if conflicts else ""
    result: Result = "conflict" if conflicts else "merged"
    return MergedFile(path=path, result=result, reason=reason, before=ours, after=text)
