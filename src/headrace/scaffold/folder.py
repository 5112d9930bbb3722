"""The files of a project on disk: written beside their place, and moved there at the end in one step."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.core import failpoints
from headrace.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

UNFINISHED = ".headrace-init-"  # and the process that makes a folder: its name meanwhile
PROGRAMS = ("ci/run",)  # files that can be started


def check_free(folder: Path) -> None:
    """Refuses a place where something is.

    Raises:
        ConfigError: there is a file, a link, or a folder that is not empty.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"{str(folder)!r} is there and is no folder.", hint="Choose another name.")
    if folder.is_dir() and (there := sorted(each.name for each in folder.iterdir())):
        raise ConfigError(
            f"the folder {str(folder)!r} is not empty: it has {there[0]!r}{' and more' if len(there) > 1 else ''}.",
            hint="Choose another name; nothing was written.",
        )


@contextmanager
def write(folder: Path, files: Mapping[str, str | bytes]) -> Generator[Path]:
    """Writes the files beside the folder, and moves them there when the block has ended without an error.

    Args:
        folder: that is made; it may be there if it is empty.
        files: path → content; texts are written as UTF-8.

    Yields:
        The folder with the files, before it is moved.

    Raises:
        ConfigError: something came to be there meanwhile.
    """
    remove_leftovers(folder)
    made = folder.parent / f".{folder.name}{UNFINISHED}{os.getpid()}"
    try:
        for name, content in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            if name in PROGRAMS:
                path.chmod(path.stat().st_mode | 0o700)
        failpoints.reach("init.written:project")
        yield made
        failpoints.reach("init.committed:project")
        check_free(folder)
        made.rename(folder)  # an empty folder is replaced
    finally:
        shutil.rmtree(made, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what a process that was killed has left beside the folder."""
    for each in folder.parent.glob(f".{folder.name}{UNFINISHED}*"):
        process = each.name.rpartition("-")[2]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(each, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
