"""Committed trees, written out once into a cache and checked before every use.

The files are written from git's own objects, byte for byte, and not by `git archive`: it leaves out files
(`export-ignore`), changes others (`export-subst`, line ends, filters), and follows `.git/info/attributes`, which is no
part of any commit. Here the tree's hash identifies the code that runs.

This protects against mistakes, not against malice: a person who can write to the project's folder can write to `.git`
too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from headrace.core import processes
from headrace.core.errors import RefusedError
from headrace.environments import git

LINK, SUBMODULE = "120000", "160000"
ABANDONED = 3600  # seconds after which a half-written folder belongs to nobody


@dataclass(frozen=True)
class TreeEntry:
    """One file of a tree: mode as git writes it, and the id of its content."""

    mode: str
    blob: str


def checkout(repository: Path, tree: str, cache: Path) -> Path:
    """A folder with exactly what the tree contains.

    Any number of processes may ask at once. A folder that is there and differs in any file is replaced. Files are
    read-only; folders are not, so that `rm -r` works.

    Args:
        repository: a folder inside it.
        tree: the id of a tree object.
        cache: where the folder is kept, under the tree's id.

    Raises:
        RefusedError: an object is missing, or a link or a path leads out of the tree.
    """
    entries = _entries(repository, tree)
    target = cache / tree
    if holds(target, entries):
        return target
    _ready(cache)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given up by the kernel, also when this process is killed
        if not holds(target, entries):
            _replace(repository, entries, target)
    return target


def submodules(repository: Path, tree: str) -> list[str]:
    """The paths of a tree that are git submodules: a checkout has none of their files."""
    return [name for name, entry in _entries(repository, tree).items() if entry.mode == SUBMODULE]


def holds(folder: Path, entries: dict[str, TreeEntry]) -> bool:
    """Whether the folder contains these files with these contents, and no other; read from disk."""
    found: set[str] = set()
    if folder.is_symlink():
        return False
    for here, folders, files in os.walk(folder):
        for name in (*files, *(name for name in folders if (Path(here) / name).is_symlink())):
            path = Path(here) / name
            inside = path.relative_to(folder).as_posix()
            if inside not in entries or not _is(path, entries[inside]):
                return False
            found.add(inside)
    return found == {name for name, entry in entries.items() if entry.mode != SUBMODULE}


def _entries(repository: Path, tree: str) -> dict[str, TreeEntry]:
    entries: dict[str, TreeEntry] = {}
    for line in git.lines(repository, "ls-tree", "-r", "-z", "--full-tree", tree):
        about, _, name = line.partition("\t")
        mode, _, blob = about.split(" ")
        if any(part in {"", ".", "..", ".git"} for part in name.split("/")):
            raise RefusedError(f"the commit contains the path {name!r}, which leads out of its folder.")
        entries[name] = TreeEntry(mode, blob)
    return entries


def _is(path: Path, entry: TreeEntry) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:  # another process is replacing it
        return False
    if stat.S_ISLNK(mode):
        return entry.mode == LINK and _blob_id(os.fsencode(os.readlink(path)), entry.blob) == entry.blob  # noqa: PTH115  # pathlib tidies it
    if not stat.S_ISREG(mode) or entry.mode == LINK:
        return False
    return _blob_id(path.read_bytes(), entry.blob) == entry.blob


def _blob_id(content: bytes, like: str) -> str:
    """The id that git gives to this content, by the hash function that made `like`."""
    header = b"blob %d\0" % len(content)
    function = hashlib.sha256 if len(like) == 64 else lambda data: hashlib.sha1(data, usedforsecurity=False)
    return function(header + content).hexdigest()


def _ready(cache: Path) -> None:
    """Makes the cache, keeps git from seeing it, and removes what killed processes left."""
    cache.mkdir(parents=True, exist_ok=True)
    ignore = cache / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    for left in (*cache.glob(".new-*"), *cache.glob(".old-*")):
        try:
            abandoned = time.time() - left.stat().st_mtime > ABANDONED
        except FileNotFoundError:  # its owner was quicker
            continue
        if abandoned:
            shutil.rmtree(left, ignore_errors=True)


def _replace(repository: Path, entries: dict[str, TreeEntry], target: Path) -> None:
    """Puts the tree where it belongs, whole or not at all."""
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        _write(repository, entries, made)
        made.chmod(0o700)
        if target.is_dir() and not target.is_symlink():
            target.rename(made.with_name(f".old-{made.name}"))
            shutil.rmtree(made.with_name(f".old-{made.name}"), ignore_errors=True)
        else:
            target.unlink(missing_ok=True)
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(repository: Path, entries: dict[str, TreeEntry], folder: Path) -> None:
    """Files first, links last: nothing is ever written through a link."""
    links = {name: entry for name, entry in entries.items() if entry.mode == LINK}
    with processes.start(
        [*git.COMMAND, "cat-file", "--batch"],
        env=git.environment(),
        cwd=repository,
        stdin=processes.PIPE,
        stdout=processes.PIPE,
    ) as objects:
        for name, entry in entries.items():
            path = folder / name
            if entry.mode == SUBMODULE:
                path.mkdir(parents=True)
            elif entry.mode != LINK:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_object(objects, name, entry))
                path.chmod(0o500 if entry.mode == "100755" else 0o400)
        for name, entry in links.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(os.fsdecode(_object(objects, name, entry)))
        cast("IO[bytes]", objects.stdin).close()
    _no_way_out(folder, links)


def _object(objects: processes.Process, name: str, entry: TreeEntry) -> bytes:
    asked, answers = cast("IO[bytes]", objects.stdin), cast("IO[bytes]", objects.stdout)
    asked.write(f"{entry.blob}\n".encode())
    asked.flush()
    about = answers.readline().split()
    if len(about) != 3 or about[1] != b"blob":
        raise RefusedError(
            f"git has no content for {name!r} ({entry.blob}).",
            hint="Fetch the whole history, then try again: git fetch.",
        )
    content = answers.read(int(about[2]))
    answers.read(1)
    if _blob_id(content, entry.blob) != entry.blob:
        raise RefusedError(f"git's object for {name!r} ({entry.blob}) is damaged.", hint="git fsck")
    return content


def _no_way_out(folder: Path, links: dict[str, TreeEntry]) -> None:
    top = folder.resolve()
    for name in links:
        path = folder / name
        leads = path.readlink()
        if leads.is_absolute() or not path.resolve().is_relative_to(top):
            raise RefusedError(
                f"the commit contains the link {name!r} to {str(leads)!r}, which is outside the project.",
                hint="Commit the file itself instead of the link.",
            )
