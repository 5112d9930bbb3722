"""A lock between processes of one machine: an open file holds it, and the system releases it however its holder ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


def share(file: Path) -> int:
    """Holds a lock beside others who share it, until this process, or the program that it becomes, ends.

    Gives the descriptor that holds it, which stays open when another program takes the process's place.

    Raises:
        BlockingIOError: somebody holds it alone.
    """
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.set_inheritable(descriptor, True)
    return descriptor


@contextmanager
def hold(file: Path, *, wait: bool = False, shared: bool = False) -> Generator[None]:
    """Holds a lock; the file is made where there is none, and stays.

    A link in its place is not followed: the file may lie where others can write.

    Args:
        file: of the lock.
        wait: until whoever holds it lets go.
        shared: beside others who share it; default: alone.

    Raises:
        BlockingIOError: somebody else holds it, and it is not waited for.
    """
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
