"""What the operating system knows."""

from __future__ import annotations

import os


def release() -> str:
    """The version of Headrace that is installed."""
    from importlib.metadata import version

    return version("headrace")


def user() -> str:
    """Whom this process runs as: by the system's own record, not by a variable that anybody can set.

    In a container a process may run under a number that has no name; then it is that number.
    """
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return str(os.getuid())
