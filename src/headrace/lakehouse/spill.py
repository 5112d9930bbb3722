"""Spill folders of queries that are larger than memory: one for each process, for its user only, deleted at its end.

A process that is killed cannot delete its folder. The next process does, and recognises it by a lock that nobody holds.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
import time
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from headrace.core.locks import hold

PREFIX = "headrace-spill-"
LOCK = "lock"
YOUNG = 60.0  # seconds in which a folder may be without its lock


@cache
def folder() -> Path:
    """This process's own; each connection has its own below."""
    parent = Path(tempfile.gettempdir())
    sweep(parent)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    held = ExitStack()
    held.enter_context(hold(made / LOCK))
    atexit.register(held.close)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def sweep(parent: Path) -> None:
    """Removes what this user's killed processes left."""
    with suppress(OSError), os.scandir(parent) as found:
        for each in found:
            if each.name.startswith(PREFIX):
                with suppress(OSError):
                    _sweep(Path(each.path), each.stat(follow_symlinks=False))


def _sweep(left: Path, about: os.stat_result) -> None:
    ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
    if ours and time.time() - about.st_mtime > YOUNG:
        with hold(left / LOCK):
            shutil.rmtree(left, ignore_errors=True)
