"""Which folders of an index are open, so that nobody deletes one that is searched: a lock that each opener shares.

The system releases the lock however a process ends, and a child of it that was forked holds it as well.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

FILE = ".open"  # in the folder of a version


def hold(folder: Path) -> int | None:
    """Says that a folder is in use.

    Returns:
        A descriptor, until whose end `free` finds the folder in use; None where there is no such folder any more.
    """
    file = folder / FILE
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        if os.path.samestat(file.stat(), os.fstat(descriptor)):
            return descriptor
    except FileNotFoundError:
        pass
    os.close(descriptor)  # the folder was deleted meanwhile
    return None


def hold_for(owner: object, descriptor: int) -> None:
    """Lets a folder go when an object is not used any more."""
    weakref.finalize(owner, os.close, descriptor)


@contextmanager
def free(folder: Path) -> Generator[bool]:
    """Whether nobody has a folder open; if so, nobody opens it until this ends."""
    descriptor = os.open(folder / FILE, os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
