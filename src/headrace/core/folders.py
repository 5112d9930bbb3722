"""Sealed folders: one digest of every file name and content, and copies that follow no link."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from headrace.core.errors import DataError
from headrace.core.ids import digest

if TYPE_CHECKING:
    from collections.abc import Container

KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe that takes a file's place must not hold us


def folder_digest(folder: Path, *, without: Container[str] = ()) -> str:
    """A digest of every file and folder in a folder: its path, which it is, and a file's bytes.

    Nothing is left out: an empty folder, a hidden file and compiled Python count, and names are compared byte by byte.

    Args:
        folder: to read.
        without: names of files of the folder itself that do not count; one with a slash at its end, `notes/`, is a folder.

    Raises:
        DataError: something in it is neither a regular file nor a real folder, or is a file with another name outside:
            what is read there could change while nothing in the folder does.
        OSError: it is not there, or cannot be read.
    """
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise _strange(folder, folder, os.lstat(folder).st_mode)
    found: list[tuple[str, str, str]] = []
    names, files = Counter[tuple[int, int]](), dict[tuple[int, int], tuple[int, Path]]()
    for here, folders, inside, place in os.fwalk(folder, onerror=_raise, follow_symlinks=False):
        for name in (*folders, *inside):
            path = Path(here, name)
            told = PurePosixPath(path.relative_to(folder)).as_posix()
            top, slash, _ = told.partition("/")
            mode = os.stat(name, dir_fd=place, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                if f"{top}/" not in without:
                    found.append((told, "folder", ""))
                continue
            if not stat.S_ISREG(mode):
                raise _strange(folder, path, mode)
            with os.fdopen(os.open(name, OPEN, dir_fd=place), "rb") as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode):
                    raise _strange(folder, path, about.st_mode)
                names[about.st_dev, about.st_ino] += 1
                files[about.st_dev, about.st_ino] = about.st_nlink, path
                if (f"{top}/" if slash else name) not in without:
                    found.append((told, "file", hashlib.file_digest(file, "sha256").hexdigest()))
    for which, (links, path) in files.items():
        if links > names[which]:
            raise DataError(
                f"{str(path)!r} is also a file outside of {str(folder)!r}: it has {links} names.",
                hint="Put a copy of its own in its place; what is sealed shares nothing.",
            )
    return digest(sorted(found))


def copy_folder(source: Path, target: Path, *, without: Container[str] = ()) -> None:
    """Copies a folder; a link in it is copied as a link, which `folder_digest` refuses, and never followed.

    Args:
        source: to copy.
        target: made here.
        without: names in the folder itself that are left out.

    Raises:
        DataError: something in it cannot be copied, as a pipe or a device cannot.
    """

    def left_out(here: str, names: list[str]) -> list[str]:
        return [name for name in names if name in without] if Path(here) == source else []

    try:
        shutil.copytree(source, target, symlinks=True, ignore=left_out)
    except shutil.Error as error:
        told = [str(reason) for *_, reason in error.args[0]]
        raise DataError(f"{str(source)!r} cannot be copied: {told[0]}", findings=told[1:]) from error


def is_inside(folder: Path, name: str) -> bool:
    """Whether a name leads to something below a folder without leaving it on the way: no `..`, no link."""
    relative = PurePosixPath(name)
    if not relative.parts or relative.is_absolute() or ".." in relative.parts or "\0" in name:
        return False
    path = folder
    for part in relative.parts:
        path /= part
        if path.is_symlink():
            return False
    return True


def _raise(error: OSError) -> NoReturn:
    raise error


def _strange(folder: Path, path: Path, mode: int) -> DataError:
    return DataError(
        f"{str(path)!r} is {KINDS.get(stat.S_IFMT(mode), 'no folder')}; "
        f"only regular files and real folders can be {'sealed' if path == folder else f'in {str(folder)!r}'}.",
        hint="What it leads to could change while nothing here does. Put the file itself there, or make the folder again.",
    )
