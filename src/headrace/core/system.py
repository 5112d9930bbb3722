"""Properties of the operating system and the machine."""

from __future__ import annotations

import os
import sys

PRIVATE = 0o077  # the umask of every process of Headrace: what it writes is for whoever runs it


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


def let_spark_be_imported() -> None:
    """Spark's client, which MLflow imports where it is installed, takes a program that is no file, as that of `python -c`,
    for doctests of its own, and ends it unless it is told where Spark is.
    """
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is None and not hasattr(main, "__file__") and not hasattr(sys, "ps1"):
        os.environ.setdefault("SPARK_HOME", os.devnull)
