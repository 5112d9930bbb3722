"""Whether a version's copy for servers is what was promoted; its files are read again once one of them has changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from headrace.serving.manifest import version_folder

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.serving.manifest import Manifest, Served

MOST = 1_000  # copies that are remembered

_Files = tuple[tuple[str, int, int, int, int], ...]
_known: dict[Path, tuple[tuple[str, str], _Files]] = {}


def check_copy(file: Path, manifest: Manifest, served: Served) -> None:
    """Refuses a copy that is not whole, as `version_folder` does.

    Files of gigabytes are not read at each look: a copy that was whole is so as long as each of its files has the same
    inode, size, and times of change, of which nobody sets the last one.

    Raises:
        DataError: the folder is not there, or holds other files than those that were promoted.
    """
    folder, hashes = file.parent / served.folder, (served.logged_hash, served.copy_hash)
    files = _files(folder)
    if _known.get(folder) == (hashes, files):
        return
    version_folder(file, manifest, served)
    if len(_known) >= MOST:
        _known.clear()
    _known[folder] = (hashes, files)


def _files(folder: Path) -> _Files:
    found: list[tuple[str, int, int, int, int]] = []
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)  # noqa: PTH118 - of a walk
            at = os.stat(path, follow_symlinks=False)  # noqa: PTH116
            found.append((path, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns))
    return tuple(sorted(found))
